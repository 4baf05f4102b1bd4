"""What a night has to do: which records of earlier nights stay, and which files are new."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from airflow_dataflow.datasets.manifest import SourceFile
from airflow_dataflow.ingest.files import DUPLICATE, Arrival, Content
from airflow_dataflow.ingest.options import Missing


@dataclass(frozen=True)
class Plan:
    """The records of a night's version, before anything is written."""

    kept: list[tuple[SourceFile, str]]
    """Records of earlier nights that stay, each with the path that its content has now."""
    new: list[Arrival]
    """Files to record, duplicates included, in the order of their names."""
    changes: bool
    """Whether that differs from what the newest version holds."""


def plan_night(previous: Mapping[SourceFile, Content], arrivals: Sequence[Arrival], missing: Missing) -> Plan:
    """Compare the landing folder with the newest version.

    :param previous: the newest version's records, with their content.
    :param arrivals: all files of the landing folder; those to write are staged.
    :param missing: what to do with rows of content that is gone.
    """
    before = {one: content for one, content in previous.items() if one.reason != DUPLICATE}
    holders = defaultdict(list)
    for arrival in arrivals:
        holders[arrival.content].append(arrival.file.name)
    names = {arrival.file.name for arrival in arrivals}
    staged = {arrival.content for arrival in arrivals if arrival.staged}
    refused = {content for one, content in before.items() if one.reason}
    refused |= {arrival.content for arrival in arrivals if arrival.staged and arrival.staged.reason}
    # A file that cannot be read replaces nothing: the rows of its last good state stay until a good one comes.
    replaced = {arrival.file.name for arrival in arrivals if arrival.content not in refused}

    kept = []
    for one, content in before.items():
        if not one.digest or content in staged:
            continue
        if content in holders:
            kept.append((one, one.path if one.path in holders[content] else holders[content][0]))
        elif one.path not in replaced and (missing == "keep" or one.path in names):
            kept.append((one, one.path))
    known = {(before[one], path) for one, path in kept}
    new = [arrival for arrival in arrivals if arrival.staged or (arrival.content, arrival.file.name) not in known]
    state_before = sorted(one.digest or one.path for one in before)
    state_now = sorted(
        [one.digest for one, _ in kept] + [arrival.digest or arrival.file.name for arrival in new if arrival.staged]
    )
    reads_any = any(arrival.staged and arrival.digest for arrival in new)
    return Plan(kept=kept, new=new, changes=reads_any or state_before != state_now)
