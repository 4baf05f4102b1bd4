"""One pack: frames, compressed in place, and after them what they are, so that another attempt knows it again."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from pydantic import ValidationError

from airflow_dataflow.storage.digest import Digest
from airflow_dataflow.storage.layout import FRAME_BYTES, Frame, Pack, frame_of, frame_sizes
from airflow_dataflow.transfer.compression import Compression, compressor, sample_of
from airflow_dataflow.transfer.packing_plan import PACK_BYTES, PackPlan

_SKIPPED = 0x184D2A5D
"""Magic number of a frame that Zstandard skips, so that its tools can read a pack whose frames are all compressed."""
_HEAD = struct.Struct("<II")
_TAIL = struct.Struct("<I4s")
_MAGIC = b"DFPK"
BUFFER_BYTES = PACK_BYTES + (64 << 10)
"""Memory that a pack takes while it is made."""


@dataclass(frozen=True)
class MadePack:
    """A pack that is ready to be stored."""

    data: memoryview
    """What is to be stored."""
    described: Pack
    """What the layout says of it."""


def make_pack(plan: PackPlan, buffer: bytearray, compression: Compression) -> MadePack:
    """Compress the bytes of a pack in the buffer that holds them, and describe it.

    :param plan: what lies in the first ``plan.bytes`` bytes of the buffer.
    :param buffer: :data:`BUFFER_BYTES` or more.
    :param compression: chooses the level.
    """
    view = memoryview(buffer)
    level = compression.level(sample_of(view[: plan.bytes]))
    if level is None:
        frames = frame_sizes(plan.bytes)
    else:
        with compression.core():
            began, cpu_began = time.monotonic(), time.thread_time()
            frames = _compress(view, plan.bytes, level)
            seconds, cpu_seconds = time.monotonic() - began, time.thread_time() - cpu_began
        compression.done(level, plan.bytes, sum(frames), seconds=seconds, cpu_seconds=cpu_seconds)
    return _sealed(plan, view, frames)


def _compress(view: memoryview, size: int, level: int) -> list[int]:
    """Compress frame after frame to where the last one ended, which is never after its own start."""
    shrinking, frames, end = compressor(level), [], 0
    for start in range(0, size, FRAME_BYTES):
        raw = view[start : min(start + FRAME_BYTES, size)]
        data = shrinking.compress(raw)
        kept = data if len(data) < len(raw) else raw
        view[end : end + len(kept)] = kept
        frames.append(len(kept))
        end += len(kept)
    return frames


def _sealed(plan: PackPlan, view: memoryview, frames: Sequence[int]) -> MadePack:
    end = sum(frames)
    digest = Digest()
    digest.update(view[:end])
    described = _described(view, frames)
    said = json.dumps({"content": plan.content, "frames": described, "digest": str(digest)}).encode()
    foot = _HEAD.pack(_SKIPPED, len(said) + _TAIL.size) + said + _TAIL.pack(len(said), _MAGIC)
    view[end : end + len(foot)] = foot
    digest.update(foot)
    pack = Pack(path=plan.path, bytes=plan.bytes, frames=described, digest=str(digest))
    return MadePack(view[: end + len(foot)], pack)


def _described(view: memoryview, sizes: Sequence[int]) -> tuple[Frame, ...]:
    ends = accumulate(sizes)
    return tuple(frame_of(view[end - size : end]) for size, end in zip(sizes, ends, strict=True))


def known_pack(plan: PackPlan, data: bytes) -> Pack | None:
    """Return the description of a pack that lies at the target, ``None`` when it is damaged or holds other bytes.

    :param data: all of it.
    """
    view = memoryview(data)
    try:
        length, magic = _TAIL.unpack(view[-_TAIL.size :])
        start = len(view) - _TAIL.size - length
        said = json.loads(bytes(view[start : start + length]))
        end = start - _HEAD.size
        digest = Digest()
        digest.update(view[: max(end, 0)])
        whole = magic == _MAGIC and (said["content"], said["digest"]) == (plan.content, str(digest))
        digest.update(view[max(end, 0) :])
        described = Pack(path=plan.path, bytes=plan.bytes, frames=said["frames"], digest=str(digest))
    except (struct.error, ValueError, KeyError, TypeError, ValidationError):
        return None
    return described if whole and described.offsets[-1] == end else None
