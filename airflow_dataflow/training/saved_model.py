"""Give a model that Spark has saved a form that depends on the model alone: no random names, no times of day."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path

import pyarrow.parquet as pq

_PART = re.compile(r"part-(\d+)-[0-9a-f-]{36}(?:-c\d+)?(\..+)")
_MILLISECONDS = 1000


def normalise_model(folder: Path, at: datetime) -> None:
    """Make the files of a saved model of Spark ML reproducible, in place; Spark reads them as before.

    Spark names part files and stages by random numbers and writes the time of saving into the metadata. Checksums
    (``.crc``) and marks of success go too: a version has digests and a manifest.

    :param folder: what ``model.save`` has written.
    :param at: moment that the version belongs to; becomes the time of saving.
    """
    for path in sorted(folder.rglob("*")):
        if path.name == "_SUCCESS" or path.suffix == ".crc":
            path.unlink()
        elif (part := _PART.fullmatch(path.name)) is not None:
            path.rename(stable_path := path.with_name(f"part-{part[1]}{part[2]}"))
            if stable_path.suffix == ".parquet":
                normalise_table(stable_path)
    metadata = sorted(folder.rglob("metadata/part-*"))
    texts = {path: path.read_text(encoding="utf-8") for path in metadata}
    names = {json.loads(text)["uid"]: number for number, text in enumerate(texts.values())}
    stable = {uid: f"{uid.rpartition('_')[0]}_{number:012x}" for uid, number in names.items()}
    for path, text in texts.items():
        for uid, name in stable.items():
            text = text.replace(uid, name)  # noqa: PLW2901 - step by step
        content = json.loads(text) | {"timestamp": int(at.timestamp()) * _MILLISECONDS}
        path.write_text(
            json.dumps(content, separators=(",", ":"), sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    for path in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        for uid, name in stable.items():
            if uid in path.name:
                path.rename(path.with_name(path.name.replace(uid, name)))


def normalise_table(path: Path) -> None:
    """Write a Parquet file of Spark's again, so that its bytes depend on its content and schema alone.

    Spark's writer lists the encodings of a column in the order of a Java hash set, which differs from process to
    process. Spark's own description of the schema, with its vector and matrix types, stays in the file.
    """
    pq.write_table(pq.read_table(path).combine_chunks(), path, compression="snappy")
