"""Plans: which files go where, found out by one listing of each side."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from airflow_dataflow.errors import InvalidInputError, NotFoundError
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.transfer.options import TransferOptions
from airflow_dataflow.transfer.plan import Plan, plan_paths, plan_version
from tests.storage.versions import FIRST, make_version, open_store


def _fill(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(path.encode())


def _plan(*sources: Path, target: Path, into: bool = False, **options: Any) -> Plan:
    places = {str(source): Directory.from_url(str(source)) for source in sources}
    return plan_paths(places, Directory.from_url(str(target)), into=into, options=TransferOptions(**options))


def _ways(plan: Plan) -> dict[str, str]:
    """Return the path of each file at the target, and of what goes there."""
    return {job.key: f"{job.source.root}/{job.source_path}" for job in plan.jobs}


def test_several_sources_go_below_one_folder(tmp_path: Path) -> None:
    _fill(tmp_path, "one/a", "one/deep/b", "two/c.csv", "two/d.txt", "three/e")
    plan = _plan(tmp_path / "one", tmp_path / "two" / "*.csv", tmp_path / "three" / "e", target=tmp_path / "to")
    assert _ways(plan) == {
        f"{tmp_path}/to/a": f"{tmp_path}/one/a",
        f"{tmp_path}/to/deep/b": f"{tmp_path}/one/deep/b",
        f"{tmp_path}/to/c.csv": f"{tmp_path}/two/c.csv",
        f"{tmp_path}/to/e": f"{tmp_path}/three/e",
    }
    assert plan.total_bytes == len("one/a" + "one/deep/b" + "two/c.csv" + "three/e")


def test_two_files_for_one_path_are_refused(tmp_path: Path) -> None:
    _fill(tmp_path, "one/a", "two/a")
    with pytest.raises(InvalidInputError, match=r"/one and .*/two both have a file 'a'"):
        _plan(tmp_path / "one", tmp_path / "two", target=tmp_path / "to")


def test_a_source_that_is_named_twice_counts_once(tmp_path: Path) -> None:
    _fill(tmp_path, "one/a")
    assert len(_plan(tmp_path / "one", tmp_path / "one", target=tmp_path / "to").jobs) == 1


def test_what_the_target_has_is_known_with_its_stamp(tmp_path: Path) -> None:
    _fill(tmp_path, "from/a", "from/b", "to/a", "to/own")
    known = {job.target_path: job.there for job in _plan(tmp_path / "from", target=tmp_path / "to").jobs}
    assert known["b"] is None
    there = known["a"]
    assert there is not None
    assert (there.bytes, there.stamp) == (len("from/a") - 2, Directory.from_url(str(tmp_path / "to")).stamp("a"))


def test_jobs_pin_the_state_that_was_listed(tmp_path: Path) -> None:
    _fill(tmp_path, "from/a")
    (job,) = _plan(tmp_path / "from", target=tmp_path / "to").jobs
    assert job.stamp == job.source.stamp("a")
    (tmp_path / "from" / "a").write_bytes(b"another")
    assert job.stamp != job.source.stamp("a")


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    _fill(tmp_path, "from/deep/a", "from/b")
    (tmp_path / "from" / "link").symlink_to(tmp_path / "from" / "deep")
    (tmp_path / "from" / "deep" / "up").symlink_to(tmp_path / "from")
    assert sorted(job.target_path for job in _plan(tmp_path / "from", target=tmp_path / "to").jobs) == [
        "b",
        "deep/a",
        "link/a",
    ]


def test_a_folder_of_many_files_is_asked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fill(
        tmp_path, *(f"{side}/{folder}/{number}" for side in ("from", "to") for folder in "ab" for number in range(50))
    )
    asked: Counter[str] = Counter()
    for name in ("stat", "scandir"):
        original = getattr(os, name)

        def count(path: Any = ".", *args: Any, _name: str = name, _original: Any = original, **options: Any) -> Any:
            asked[f"{_name} {path}"] += 1
            return _original(path, *args, **options)

        monkeypatch.setattr(os, name, count)
    plan = _plan(tmp_path / "from", target=tmp_path / "to")
    monkeypatch.undo()
    assert len(plan.jobs) == 100
    assert all(job.there is not None for job in plan.jobs)
    assert {name: count for name, count in asked.items() if name.startswith("scandir")} == {
        f"scandir {tmp_path}/{folder}": 1 for folder in ("from", "from/a", "from/b", "to", "to/a", "to/b")
    }
    assert not [name for name in asked if name.rpartition("/")[2].isdecimal()]


@pytest.mark.s3
def test_a_prefix_of_many_files_takes_one_request_a_page_and_no_more(
    bucket: str, s3_options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [Directory.from_url(f"s3://{bucket}/{name}", s3_options) for name in ("from", "to")]
    for place in places:
        for number in range(20):
            place.put(f"{number}", b"x")
    requests: list[str] = []
    fs = places[0].fs
    original = fs._call_s3

    async def call(method: str, *args: Any, **options: Any) -> Any:
        requests.append(method)
        return await original(method, *args, **options)

    monkeypatch.setattr(fs, "_call_s3", call)
    plan = plan_paths({"from": places[0]}, places[1], into=False, options=TransferOptions())
    assert len(plan.jobs) == 20
    assert len([job for job in plan.jobs if job.there and job.stamp and job.inside]) == 20
    assert len(requests) <= 4


def test_a_version_is_planned_by_its_manifest(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    made = make_version(store, FIRST)
    source, target = store.directory(made), Directory.from_url(str(tmp_path / "to"))
    gone = made.files[0].path
    source.remove(gone)
    _fill(Path(target.root), made.files[1].path, "own")
    plan = plan_version(made, source, target, share=True)
    assert [(job.target_path, job.expected) for job in plan.jobs] == [(entry.path, entry) for entry in made.files]
    assert [job.there is not None for job in plan.jobs] == [False, True, False]
    assert all(job.inside for job in plan.jobs)
    assert not any(job.inside for job in plan_version(made, source, target, share=False).jobs)
    assert plan.jobs[0].stamp is None


def test_a_source_that_names_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="/nothing' names no file"):
        _plan(tmp_path / "nothing", target=tmp_path / "to")
