"""Counts of what cleaning found, one tree for each source file; the trees of several files add up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from airflow_dataflow.cleaning.steps import STEP, Step, parameters_of
from airflow_dataflow.datasets.manifest import Rows

Tally = dict[str, Any]
"""``{"rows": {"in", "out"}, "missing": {column: n}, "rules": {key: {statistic: {name: n}}}}``."""

EMPTY: Tally = {"rows": {"in": 0, "out": 0}, "missing": {}, "rules": {}}


def tally_of(counts: pl.DataFrame | None, steps: Sequence[Step]) -> Tally:
    """Return the tree of one file from the counts of its batches, ``None`` for a file without rows."""
    if counts is None:
        return EMPTY
    sums = counts.group_by(STEP, "statistic", "name").agg(pl.col("count").sum())
    tree: Tally = {}
    for index, statistic, name, count in sums.sort(STEP, "statistic", "name").iter_rows():
        leaf = {statistic: {name: count}}
        tree = add(tree, leaf if index is None else {"rules": {steps[index].key: leaf}})
    return add(EMPTY, tree)


def total(tallies: Iterable[Tally]) -> Tally:
    """Add up the trees of several files."""
    whole = EMPTY
    for tally in tallies:
        whole = add(whole, tally)
    return whole


def add(left: Mapping[str, Any], right: Mapping[str, Any]) -> Tally:
    """Add two trees of numbers, branch by branch."""
    result = dict(left)
    for name, value in right.items():
        known = result.get(name)
        if known is None:
            result[name] = value
        else:
            result[name] = add(known, value) if isinstance(value, Mapping) else known + value
    return result


def rows_of(tally: Tally) -> Rows:
    """Return the row counts of a tree, with every rejected row under its reason."""
    reasons: dict[str, int] = {}
    for counts in tally["rules"].values():
        reasons = add(reasons, counts.get("rejected", {}))
    return Rows(
        rows_in=tally["rows"]["in"],
        rows_out=tally["rows"]["out"],
        rows_quarantined=sum(reasons.values()),
        quarantined_by_reason=dict(sorted(reasons.items())),
    )


def statistics_of(tally: Tally, steps: Sequence[Step]) -> dict[str, Any]:
    """Return what a manifest says of a cleaning: for each rule what it saw and did, for each column what it lacked."""
    rules = []
    rows = tally["rows"]["in"]
    columns: dict[str, dict[str, int]] = {column: {"missing": count} for column, count in tally["missing"].items()}
    for step in steps:
        counts = tally["rules"].get(step.key, {})
        rejected = counts.get("rejected", {})
        found = {statistic: by_column for statistic, by_column in counts.items() if statistic != "rejected"}
        rules.append(
            {
                "key": step.key,
                "rule": step.name,
                "parameters": parameters_of(step.rule),
                "rows_in": rows,
                "rejected": rejected,
                "counts": found,
                "state": dict(step.state),
            }
        )
        rows -= sum(rejected.values())
        for statistic, by_column in found.items():
            for column, count in by_column.items():
                columns[column] = add(columns.get(column, {}), {statistic: count})
    return {"rules": rules, "columns": columns}
