"""Extracting features of 200,000 documents (some 470 MB of text) costs a few times a copy of the same Parquet.

Works on the documents of ``clean_200k.py``: copies them with PyArrow, then extracts features, each in a child process
of its own, and prints the CPU seconds and the peak memory of all. A first night reads the documents twice, to fit and
to transform; a later night reads only new files, once. Exits 1 when a single extractor takes 60 CPU seconds or 2 GiB.

    python benchmarks/features_200k.py [--rows 200000] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from clean_200k import AT, ROWS, copy, cost_of, make, open_store

from airflow_dataflow.features.extract import extract_dataset
from airflow_dataflow.recipe import load_recipe

MOST_CPU_SECONDS = 60
MOST_BYTES = 2 << 30
EXTRACTORS: dict[str, dict[str, Any]] = {
    "hashed_tfidf": {},
    "text_statistics": {},
    "numeric": {"columns": ["latency_seconds", "price"], "scaling": "robust"},
}


def extract(folder: Path, name: str) -> str:
    """Extract the features of one extractor."""
    features = [{name: EXTRACTORS[name]}]
    recipe = load_recipe({"id": "message_id", "text": "body", "label": "intent", "features": features})
    target = f"bench/{name.replace('_', '-')}"
    made = extract_dataset(open_store(folder), "bench/raw@latest", target, recipe, at=AT)
    return f"{made.rows_out:,} rows, {made.total_bytes / 1e6:,.0f} MB of features"


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=ROWS, help=f"documents to make (default {ROWS:,})")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="features-200k-", dir=arguments.folder) as name:
        folder = Path(name)
        print(f"made {cost_of(make, folder, arguments.rows).note}")
        copied = cost_of(copy, folder)
        costs = {"copy": copied} | {extractor: cost_of(extract, folder, extractor) for extractor in EXTRACTORS}
    for label, cost in costs.items():
        times = cost.cpu_seconds / copied.cpu_seconds
        peak = cost.peak_bytes / 2**30
        print(
            f"{label:16} {cost.cpu_seconds:5.1f} CPU s, {times:4.1f} times the copy, peak {peak:.2f} GiB   {cost.note}"
        )
    return int(any(cost.cpu_seconds >= MOST_CPU_SECONDS or cost.peak_bytes >= MOST_BYTES for cost in costs.values()))


if __name__ == "__main__":
    sys.exit(main())
