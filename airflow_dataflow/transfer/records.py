"""Lines in which a journal is written: each says how far a file is, or only which parts it has got since."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import xxhash

from airflow_dataflow.transfer.journal import FileProgress

_PARTS_A_LINE = 100
"""Some logs have room for short lines only."""


# ASCII, so that nothing in a path can end a line or be refused by a database.
_encoder = json.JSONEncoder(separators=(",", ":"))


class Recorder:
    """Makes the lines for what has changed, so that a file of 10,000 parts is not written anew for each of them."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, dict[int, tuple[str, str]]]] = {}

    def knows(self, files: Mapping[str, FileProgress]) -> None:
        """Take files for written, as an earlier attempt has left them."""
        for path, progress in files.items():
            if progress.target_stamp is None:
                self._known[path] = (_check(_head(progress)), dict(progress.parts))

    def lines(self, files: Mapping[str, FileProgress]) -> list[str]:
        """Return the lines that are to be appended, and take them for written."""
        found: list[str] = []
        for path, progress in files.items():
            if progress.target_stamp is None:
                found += self._lines(path, progress)
            else:  # nobody asks for its parts any more
                self._known.pop(path, None)
                found.append(_dump({"path": path, **_head(progress), "parts": {}}))
        return found

    def _lines(self, path: str, progress: FileProgress) -> Iterator[str]:
        parts = dict(progress.parts)  # at one moment: other threads go on adding to it
        head = _head(progress)
        check = _check(head)
        written, known = self._known.get(path, (None, {}))
        if check != written or not known.keys() <= parts.keys():
            known = {}
            yield _dump({"path": path, **head, "parts": {}})
        new = [(number, part) for number, part in parts.items() if known.get(number) != part]
        for start in range(0, len(new), _PARTS_A_LINE):
            yield _dump({"path": path, "of": check, "parts": dict(new[start : start + _PARTS_A_LINE])})
        self._known[path] = (check, parts)


def replay(lines: Iterable[str]) -> dict[str, FileProgress]:
    """Return what lines say, the later ones counting.

    Lines that are no records, such as one that a kill has cut, say nothing.
    """
    heads: dict[str, dict[str, Any]] = {}
    parts: dict[str, dict[int, tuple[str, str]]] = {}
    for line in lines:
        try:
            record = json.loads(line)
            path = record["path"]
            new = {int(number): (str(token), str(digest)) for number, (token, digest) in record["parts"].items()}
            if "of" not in record:
                heads[path] = {name: record[name] for name in _HEAD}
                parts[path] = new
            elif path in heads and _check(heads[path]) == record["of"]:
                # Parts of an upload whose own line is lost would be mixed with those of another.
                parts[path].update(new)
        except (ValueError, LookupError, TypeError, AttributeError):
            continue
    return {path: FileProgress(**head, parts=parts[path]) for path, head in heads.items()}


def lines_of(files: Mapping[str, FileProgress]) -> list[str]:
    """Return the shortest lines that say all of it."""
    return Recorder().lines(files)


_HEAD = ("source_stamp", "bytes", "target_stamp", "part_bytes", "handle")


def _head(progress: FileProgress) -> dict[str, Any]:
    return {name: getattr(progress, name) for name in _HEAD}


def _check(head: Mapping[str, Any]) -> str:
    return xxhash.xxh3_64_hexdigest(_dump(head).encode())


def _dump(value: Any) -> str:
    return _encoder.encode(value)
