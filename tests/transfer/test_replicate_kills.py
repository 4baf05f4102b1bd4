"""Replication by processes at the sites, and by processes that are killed: nothing half, nothing twice."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from airflow_dataflow.datasets.catalog.links import link_rates_of
from airflow_dataflow.datasets.manifest import Manifest
from airflow_dataflow.errors import TransferError
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.staging import STAGING_NAME, Staging
from airflow_dataflow.storage.store import Store
from airflow_dataflow.transfer import sending
from airflow_dataflow.transfer.replicate import ReplicationOptions, plan_for, replicate
from tests.killing import at_once, killed_at, steps_of
from tests.storage.versions import open_store, settled, tree, visible
from tests.transfer.replicas import CHAIN, DATASET, PART, SIZE, make, sites


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "PART_BYTES", PART)


@pytest.fixture
def made(store: Store) -> Manifest:
    """Return the only version of the store."""
    return make(store)


# kills ----------------------------------------------------------------------------------------


def _replicate(folder: Path, out: str, *at: str, links: Any = CHAIN, **options: Any) -> dict[str, Any]:
    sending.PART_BYTES = PART
    store = open_store(folder)
    report = replicate(
        store, f"{DATASET}@latest", sites(Path(out), links), options=ReplicationOptions(at=at, **options)
    )
    report.check()
    return report.to_dict()


def test_a_process_killed_at_any_step_shows_nothing_half_and_a_retry_sends_nothing_twice(tmp_path: Path) -> None:
    made = make(open_store(tmp_path))
    links = [("hub", "a"), ("a", "b")]
    states = set()

    def kill(step: int) -> bool:
        return killed_at(step, _kill_me, tmp_path, str(tmp_path / f"out{step}"))

    for step in steps_of(kill, first=20, every=45):
        out = tmp_path / f"out{step}"
        seen = {name: visible(Directory.from_url(str(out / name))) for name in "ab"}
        assert all(found in ([], [made.reference]) for found in seen.values())
        report = _replicate(tmp_path, str(out), links=links)
        for done in report["sites"]:
            assert done["bytes_sent"] + done["bytes_resumed"] + done["bytes_skipped"] == SIZE
            assert (done["bytes_skipped"] > 0) == bool(seen[done["site"]])
            assert settled(tree(out / done["site"])) == settled(tree(tmp_path / "hot"))
            states.add("whole" if done["bytes_skipped"] else "resumed" if done["bytes_resumed"] else "begun")
    assert {"resumed", "whole"} <= states


def _kill_me(folder: Path, out: str) -> None:
    _replicate(folder, out, links=[("hub", "a"), ("a", "b")])


@pytest.mark.s3
def test_a_process_killed_at_s3_sites_resumes_by_part(
    tmp_path: Path, link_bucket: str, behind_options: dict[str, Any]
) -> None:
    made = make(open_store(tmp_path))
    resumed = set()

    def kill(step: int) -> bool:
        return killed_at(step, _replicate_to_s3, tmp_path, f"s3://{link_bucket}/{step}", behind_options)

    for step in steps_of(kill, first=40, every=50):
        url = f"s3://{link_bucket}/{step}"
        for name in "st":
            assert visible(Directory.from_url(f"{url}/{name}", behind_options)) in ([], [made.reference])
        for done in _replicate_to_s3(tmp_path, url, behind_options)["sites"]:
            assert done["bytes_sent"] + done["bytes_resumed"] + done["bytes_skipped"] == SIZE
            assert visible(Directory.from_url(f"{url}/{done['site']}", behind_options)) == [made.reference]
            resumed.add(done["bytes_resumed"])
        assert [path for path in Directory.from_url(url, behind_options).files() if STAGING_NAME in path] == []
    assert len(resumed) > 1


def _replicate_to_s3(folder: Path, url: str, options: dict[str, Any]) -> dict[str, Any]:
    sending.PART_BYTES = PART
    places = {name: {"url": f"{url}/{name}", "storage_options": options} for name in "st"}
    topology = sites(folder, [("hub", "s"), ("s", "t")], **places)
    report = replicate(open_store(folder), f"{DATASET}@latest", topology)
    report.check()
    return report.to_dict()


@pytest.mark.parametrize("at", ["a", "b"])
def test_parts_that_a_site_has_are_not_sent_again(tmp_path: Path, at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both a site that passes parts on, and one that writes them where they belong."""
    store, links = open_store(tmp_path), [("hub", "a"), ("a", "b")]
    made = make(store, {"data/large.bin": os.urandom(10 * PART)})
    if at == "b":
        _replicate(tmp_path, str(tmp_path), "a", links=links)
    left, original = [4], sending.Senders.fetch

    def fetch(self: Any, piece: Any, **options: Any) -> Any:
        if not left[0]:
            raise TransferError("the link breaks")
        left[0] -= 1
        return original(self, piece, **options)

    options = ReplicationOptions(at=(at,))
    with monkeypatch.context() as patch:
        patch.setattr(sending.Senders, "fetch", fetch)
        broken = replicate(store, made.reference, sites(tmp_path, links), options=options)
    assert [str(error) for error in broken.errors.values()] == ["the link breaks"]
    report = replicate(store, made.reference, sites(tmp_path, links), options=options)
    report.check()
    # Of four parts that came, those in flight when the link broke may not have been written.
    assert report.total.bytes_resumed >= broken.total.bytes_sent > 0
    assert report.total.bytes_sent + report.total.bytes_resumed == made.total_bytes
    assert settled(tree(tmp_path / at)) == settled(tree(tmp_path / "hot"))


# processes at the sites -----------------------------------------------------------------------


def _at(folder: Path, out: str, at: str) -> dict[str, Any]:
    return _replicate(folder, out, at)


def test_a_process_at_each_site_does_its_own_part(tmp_path: Path) -> None:
    made = make(open_store(tmp_path))
    reports = at_once(*((_at, (tmp_path, str(tmp_path), name)) for name in "cba"))
    assert [[done["site"] for done in report["sites"]] for report in reports] == [["c"], ["b"], ["a"]]
    assert [report["sites"][0]["source"] for report in reports] == ["b", "a", "hub"]
    for name in "abc":
        assert settled(tree(tmp_path / name)) == settled(tree(tmp_path / "hot"))
    store = open_store(tmp_path)
    assert len(store.catalog.replicas(DATASET, made.version)) == 4


def test_a_process_that_is_killed_at_its_site_and_starts_again_keeps_those_below_waiting_only(tmp_path: Path) -> None:
    made = make(open_store(tmp_path))
    for step in (60, 110, 160):
        out = tmp_path / str(step)
        with ThreadPoolExecutor(1) as pool:
            below = pool.submit(_at, tmp_path, str(out), "b")
            killed = killed_at(step, _at, tmp_path, str(out), "a")
            assert visible(Directory.from_url(str(out / "a"))) == ([] if killed else [made.reference])
            _at(tmp_path, str(out), "a")
            assert below.result(120)["sites"][0]["source"] == "a"
        for name in "ab":
            assert settled(tree(out / name)) == settled(tree(tmp_path / "hot"))
            assert not (out / name / STAGING_NAME).exists()


def test_a_process_at_a_site_measures_its_link_and_one_for_all_sites_does_not(store: Store, tmp_path: Path) -> None:
    made = make(store, {"data/large.bin": os.urandom(2 << 20)})
    replicate(store, made.reference, sites(tmp_path, [("hub", "b")])).check()
    assert link_rates_of(store.catalog) == []
    replicate(store, made.reference, sites(tmp_path), options=ReplicationOptions(at=("a",))).check()
    (rate,) = link_rates_of(store.catalog)
    assert (rate.source, rate.target, rate.bytes) == ("hub", "a", 2 << 20)
    assert 0 < rate.seconds < 60


def test_what_is_measured_while_processes_start_does_not_give_them_different_trees(
    store: Store, made: Manifest, tmp_path: Path
) -> None:
    links = [("hub", "a"), ("hub", "b"), ("a", "b")]
    options = ReplicationOptions(at=("a",))
    before = plan_for(store, made.reference, sites(tmp_path, links), options)[1]
    replicate(store, made.reference, sites(tmp_path, links), options=options).check()
    assert plan_for(store, made.reference, sites(tmp_path, links), options)[1] == before


def test_a_site_whose_sender_never_begins_goes_on_with_the_one_above_it(tmp_path: Path) -> None:
    make(open_store(tmp_path))
    report = _replicate(tmp_path, str(tmp_path), "c", patience_seconds=0.3)
    assert report["sites"][0]["source"] == "hub"
    assert settled(tree(tmp_path / "c")) == settled(tree(tmp_path / "hot"))


def test_a_site_that_says_that_it_has_failed_is_not_waited_for(
    store: Store, made: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "_LOOK_SECONDS", 0.1)
    Staging(Directory.from_url(str(tmp_path / "a")), DATASET, made.version).mark_failed()
    report = replicate(store, made.reference, sites(tmp_path), options=ReplicationOptions(at=("b",)))
    assert report.sites[0].source == "hub"
    replicate(store, made.reference, sites(tmp_path)).check()
    assert not (tmp_path / "a" / STAGING_NAME).exists()
