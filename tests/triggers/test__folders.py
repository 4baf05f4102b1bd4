"""Listings that waits share."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from airflow_dataflow.triggers import _folders
from airflow_dataflow.triggers._folders import Watched, look_twice, wait_for_files
from airflow_dataflow.triggers._polls import Polls


@pytest.fixture
def looks(monkeypatch):
    """Return the folders that were listed, with the number of times."""
    listed = Counter()
    original = _folders.Folder._list

    def counted(self, fs):
        listed[(self.folder, self.whole)] += 1
        return original(self, fs)

    monkeypatch.setattr(_folders.Folder, "_list", counted)
    return listed


def wait(url, *, files=1, settle_seconds=0.05, poke_interval=0.3, **options):
    """Wait for so many complete files."""
    return wait_for_files(
        Watched(url=str(url), **options),
        lambda sight: [file.path for file in sight.complete] if len(sight.complete) >= files else None,
        settle_seconds=settle_seconds,
        poke_interval=poke_interval,
    )


def test_all_who_wait_near_each_other_share_each_listing(tmp_path, looks):
    (tmp_path / "day=1").mkdir()

    async def scenario():
        urls = [f"{tmp_path}/day=1/{number}.csv" for number in range(300)]
        urls += [f"{tmp_path}/day=1/{number}*.jsonl" for number in range(300)]
        urls += [f"{tmp_path}/day=1", f"{tmp_path}/*/299.csv"]
        waiting = [asyncio.create_task(wait(url)) for url in urls]
        await asyncio.sleep(1.0)
        for number in range(300):
            (tmp_path / "day=1" / f"{number}.csv").write_text("x")
            (tmp_path / "day=1" / f"{number}x.jsonl").write_text("x")
        found = await asyncio.gather(*waiting)
        assert [paths[0].rpartition("/")[2] for paths in found[:300]] == [f"{number}.csv" for number in range(300)]
        assert found[-1] == [f"{tmp_path}/day=1/299.csv"]
        assert Polls.here().running == {}

    asyncio.run(asyncio.wait_for(scenario(), 30))
    # Once a wait looks at the folder above, its listing serves all.
    assert looks[str(tmp_path), True] >= 3
    assert looks.total() < 20


def test_a_few_files_are_asked_for_without_listing_their_folder(tmp_path, looks):
    async def scenario():
        waiting = [asyncio.create_task(wait(f"{tmp_path}/{number}.bin", formats="any")) for number in range(3)]
        await asyncio.sleep(0.4)
        for number in range(3):
            (tmp_path / f"{number}.bin").write_text("x")
        await asyncio.gather(*waiting)

    asyncio.run(asyncio.wait_for(scenario(), 20))
    assert {whole for _, whole in looks} == {False}


def test_each_file_settles_by_itself(tmp_path):
    async def scenario():
        (tmp_path / "whole.csv").write_text("x")
        waiting = asyncio.create_task(wait(tmp_path, settle_seconds=0.5, poke_interval=0.1))
        with (tmp_path / "growing.csv").open("w") as file:
            while not waiting.done():
                file.write("x")
                file.flush()
                await asyncio.sleep(0.02)
        return await waiting

    assert asyncio.run(asyncio.wait_for(scenario(), 20)) == [f"{tmp_path}/whole.csv"]


@pytest.mark.parametrize(
    ("formats", "found"),
    [
        ("ingested", ["a.csv"]),
        ("any", ["a.csv", "b.orc", "c"]),
        ("orc", ["b.orc"]),
        ([".ORC", "csv"], ["a.csv", "b.orc"]),
    ],
)
def test_formats_tell_which_files_count(tmp_path, formats, found):
    for name in ("a.csv", "b.orc", "c", "_d.csv"):
        (tmp_path / name).write_text("x")
    sight = look_twice(Watched(url=str(tmp_path), formats=formats), 0.01)
    assert [file.path for file in sight.complete] == [f"{tmp_path}/{name}" for name in found]


def test_a_file_that_is_named_counts_whatever_its_name(tmp_path):
    (tmp_path / "_SUCCESS").write_text("")
    sight = look_twice(Watched(url=str(tmp_path / "_SUCCESS")), 0.01)
    assert [file.path for file in sight.complete] == [f"{tmp_path}/_SUCCESS"]


def test_waits_through_different_connections_share_nothing():
    one, other = Watched(url="s3://one@bucket/x"), Watched(url="s3://bucket/x", conn_id="other")
    assert (one.place, other.place) == (("s3://bucket", "one"), ("s3://bucket", "other"))
    assert Watched(url="/a").place == Watched(url="file:///b").place == ("", None)


@pytest.mark.s3
def test_a_refused_credential_ends_the_wait_with_an_explanation(bucket, monkeypatch):
    def refuse(*_):
        raise PermissionError("AccessDenied")

    monkeypatch.setattr("airflow_dataflow.storage.listing.list_files", refuse)
    with pytest.raises(PermissionError, match="bucket"):
        asyncio.run(asyncio.wait_for(wait(f"s3://{bucket}/landing"), 20))
