"""Publishing: whole or invisible, resumed by file, verified, and recorded."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from airflow_dataflow.datasets.catalog.catalog import Replica
from airflow_dataflow.datasets.manifest import MANIFEST_NAME, Manifest
from airflow_dataflow.errors import CorruptDataError, InvalidInputError, NotFoundError, TransferError, is_terminal
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.store import Store
from airflow_dataflow.transfer.options import TransferOptions
from airflow_dataflow.transfer.publish import publish
from airflow_dataflow.transfer.report import TransferReport
from tests.killing import at_once, killed_at, steps_of
from tests.storage.versions import DATASET, FIRST, SECOND, make_version, open_store, settled, tree, visible


def _publish(folder: Path, target: str, options: dict[str, Any]) -> dict[str, Any]:
    return publish(open_store(folder), [f"{DATASET}@latest"], target, storage_options=options).to_dict()


@pytest.fixture
def made(store: Store) -> Manifest:
    """Return the only version of the store."""
    return make_version(store, FIRST)


def test_a_version_arrives_as_it_is_and_is_recorded(store: Store, made: Manifest, tmp_path: Path) -> None:
    report = publish(store, [f"{DATASET}@latest"], f"file://{tmp_path}/public")
    assert tree(tmp_path / "public") == tree(tmp_path / "hot")
    assert (report.bytes_sent, report.files) == (made.total_bytes, len(made.files))
    assert (report.bytes_resumed, report.bytes_skipped, report.parts_retried) == (0, 0, 0)
    url = f"file://{tmp_path}/public/{DATASET}/{made.version}"
    public = Replica(dataset=DATASET, version=made.version, location=url, tier=None, url=url)
    assert public in store.catalog.replicas(DATASET, made.version)
    assert store.catalog.published(DATASET) == made
    assert store.directory(made).root.startswith(f"{tmp_path}/hot")


def test_a_published_file_is_not_the_store_s_own(store: Store, made: Manifest, tmp_path: Path) -> None:
    publish(store, [made.reference], str(tmp_path / "public"))
    path = f"{DATASET}/{made.version}/data/0.bin"
    (tmp_path / "public" / path).write_bytes(b"somebody edits it")
    assert store.verify(made)


def test_several_versions_are_published_in_one_go(store: Store, tmp_path: Path) -> None:
    both = [make_version(store, at) for at in (FIRST, SECOND)]
    report = publish(store, [made.reference for made in both], str(tmp_path / "public"))
    assert report.bytes_sent == sum(made.total_bytes for made in both)
    assert sorted(visible(Directory.from_url(str(tmp_path / "public")))) == [made.reference for made in both]


def test_publishing_again_copies_nothing(store: Store, made: Manifest, tmp_path: Path) -> None:
    publish(store, [made.reference], str(tmp_path / "public"))
    before = tree(tmp_path / "public")
    report = publish(store, [made.reference], str(tmp_path / "public"))
    assert (report.bytes_sent, report.bytes_skipped, report.files) == (0, made.total_bytes, len(made.files))
    assert tree(tmp_path / "public") == before


def test_progress_ends_at_the_size_of_the_version(store: Store, made: Manifest, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int, str]] = []
    publish(store, [made.reference], str(tmp_path / "public"), progress=lambda *report: seen.append(report))
    assert [done for _, done, _, _ in seen] == sorted(done for _, done, _, _ in seen)
    assert seen[-1] == (f"copy {made.reference}", made.total_bytes, made.total_bytes, "bytes")


# kills ----------------------------------------------------------------------------------------


def test_a_process_killed_at_any_step_publishes_nothing_half_and_a_retry_resumes(tmp_path: Path) -> None:
    made = make_version(open_store(tmp_path), FIRST)
    states = set()

    def kill(step: int) -> bool:
        return killed_at(step, _publish, tmp_path, str(tmp_path / f"public{step}"), {})

    for step in steps_of(kill, every=2):
        public = tmp_path / f"public{step}"
        seen = visible(Directory.from_url(str(public)))
        assert seen in ([], [made.reference])
        report = _publish(tmp_path, str(public), {})
        assert settled(tree(public)) == settled(tree(tmp_path / "hot"))
        assert report["bytes_sent"] + report["bytes_resumed"] + report["bytes_skipped"] == made.total_bytes
        assert (report["bytes_skipped"] > 0) == bool(seen)
        states.add("visible" if seen else "resumed" if report["bytes_resumed"] else "begun")
    assert states == {"begun", "resumed", "visible"}


@pytest.mark.s3
def test_a_process_killed_while_publishing_to_s3_resumes_by_file(
    tmp_path: Path, bucket: str, s3_options: dict[str, Any]
) -> None:
    made = make_version(open_store(tmp_path), FIRST)
    resumed = set()

    def kill(step: int) -> bool:
        return killed_at(step, _publish, tmp_path, f"s3://{bucket}/{step}", s3_options)

    for step in steps_of(kill, first=3, every=3):
        public = Directory.from_url(f"s3://{bucket}/{step}", s3_options)
        there = sum(public.files().values())
        seen = visible(public)
        assert seen in ([], [made.reference])
        report = _publish(tmp_path, f"s3://{bucket}/{step}", s3_options)
        assert visible(public) == [made.reference]
        assert report["bytes_sent"] == (0 if seen else made.total_bytes - there)
        assert report["bytes_sent"] + report["bytes_resumed"] + report["bytes_skipped"] == made.total_bytes
        resumed.add(report["bytes_resumed"])
    assert {0, made.total_bytes} <= resumed
    locations = [replica.location for replica in open_store(tmp_path).catalog.replicas(DATASET, made.version)]
    assert f"s3://{bucket}/3/{DATASET}/{made.version}" in locations


@pytest.mark.s3
def test_processes_that_publish_one_version_at_once_publish_one(
    tmp_path: Path, bucket: str, s3_options: dict[str, Any]
) -> None:
    made = make_version(open_store(tmp_path), FIRST)
    reports = at_once(*[(_publish, (tmp_path, f"s3://{bucket}/public", s3_options))] * 3)
    assert {report["files"] for report in reports} == {len(made.files)}
    assert visible(Directory.from_url(f"s3://{bucket}/public", s3_options)) == [made.reference]


def test_two_processes_that_publish_into_one_folder_take_turns(tmp_path: Path) -> None:
    made = make_version(open_store(tmp_path), FIRST)
    answers = at_once(*[(_publish, (tmp_path, str(tmp_path / "public"), {}))] * 3)
    assert all(isinstance(answer, dict) or answer.startswith("BusyError: another process") for answer in answers)
    assert any(isinstance(answer, dict) for answer in answers)
    assert visible(Directory.from_url(str(tmp_path / "public"))) == [made.reference]


# what goes wrong ------------------------------------------------------------------------------


@pytest.fixture
def altered(monkeypatch: pytest.MonkeyPatch):
    """Return a function that lets somebody alter the next files of a folder between writing and reading back."""

    def alter(folder: str, times: int) -> None:
        original = Directory.digest
        left = iter(range(times))

        def digest(self: Directory, relative: str) -> tuple[str, int]:
            if folder in self.url and self.exists(relative) and next(left, None) is not None:
                content = self.read(relative)
                with self.create(relative) as writer:
                    writer.write(content[:-1] + b"?")
            return original(self, relative)

        monkeypatch.setattr(Directory, "digest", digest)

    return alter


PLACES = ["local", pytest.param("s3", marks=pytest.mark.s3)]


@pytest.fixture(params=PLACES)
def public(request: pytest.FixtureRequest, tmp_path: Path) -> Directory:
    """Return an empty place outside the store."""
    if request.param == "local":
        return Directory.from_url(str(tmp_path / "public"))
    bucket, options = request.getfixturevalue("bucket"), request.getfixturevalue("s3_options")
    return Directory.from_url(f"s3://{bucket}/public", options)


def _to(public: Directory, store: Store, made: Manifest, options: TransferOptions | None = None) -> TransferReport:
    access = {key: value for key, value in public.fs.storage_options.items() if key != "use_listings_cache"}
    return publish(store, [made.reference], public.url, storage_options=access, options=options)


def test_a_file_that_arrived_changed_is_sent_again(
    store: Store, made: Manifest, public: Directory, altered, caplog: pytest.LogCaptureFixture
) -> None:
    altered("/public", times=1)
    report = _to(public, store, made, TransferOptions(verify="full"))
    assert (report.parts_retried, report.bytes_sent) == (1, made.total_bytes)
    assert "reads back as" in caplog.text
    assert visible(public) == [made.reference]


def test_a_file_that_always_arrives_changed_stops_the_transfer(
    store: Store, made: Manifest, public: Directory, altered
) -> None:
    altered("/public", times=10**6)
    with pytest.raises(TransferError, match=r"/public/.* reads back as .* but .* were sent") as caught:
        _to(public, store, made, TransferOptions(verify="full"))
    assert not is_terminal(caught.value)
    assert MANIFEST_NAME not in {path.rpartition("/")[2] for path in public.files()}
    assert store.catalog.published(DATASET) is None


def test_a_published_file_that_was_damaged_is_repaired(store: Store, made: Manifest, public: Directory) -> None:
    _to(public, store, made)
    folder = public.child(f"{DATASET}/{made.version}")
    entry = made.files[0]
    with folder.create(entry.path) as writer:
        writer.write(b"?" * entry.bytes)
    report = _to(public, store, made)
    assert report.bytes_sent == entry.bytes
    assert report.bytes_skipped == made.total_bytes - entry.bytes
    assert visible(public) == [made.reference]


def test_another_content_under_the_same_version_is_never_touched(
    store: Store, made: Manifest, public: Directory
) -> None:
    folder = public.child(f"{DATASET}/{made.version}")
    other = made.model_copy(update={"statistics": {"made": "elsewhere"}})
    with folder.create(MANIFEST_NAME) as writer:
        writer.write(other.to_bytes())
    with pytest.raises(InvalidInputError, match=r"already holds another content of .* choose another place"):
        _to(public, store, made)
    assert list(folder.files()) == [MANIFEST_NAME]
    assert store.catalog.published(DATASET) is None


def test_a_damaged_source_is_not_published(store: Store, made: Manifest, public: Directory, tmp_path: Path) -> None:
    source = tmp_path / "hot" / DATASET / made.version / "data" / "0.bin"
    source.write_bytes(source.read_bytes()[:-1] + b"?")
    with pytest.raises(CorruptDataError, match=r"/hot/.*/data/0\.bin has .* but its manifest says .* another copy"):
        _to(public, store, made)
    assert visible(public) == []
    assert "data/0.bin" not in public.child(f"{DATASET}/{made.version}").files()


def test_a_source_that_is_gone_is_named(store: Store, made: Manifest, public: Directory, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "hot" / DATASET / made.version / "data")
    with pytest.raises(NotFoundError, match=r"no file 'data/.\.bin' in .*/hot/"):
        _to(public, store, made)
    assert visible(public) == []


@pytest.mark.s3
def test_a_missing_bucket_is_named(store: Store, made: Manifest, s3_options: dict[str, Any]) -> None:
    with pytest.raises(NotFoundError, match=r"no bucket 'nowhere'.*create it, or correct the URL"):
        publish(store, [made.reference], "s3://nowhere/public", storage_options=s3_options)


@pytest.mark.parametrize(
    "url", ["sftp://user:hunter2@host/x", "s3://key:hunter2@bucket/x", "https://host/x?sig=hunter2"]
)
def test_a_url_with_credentials_is_refused_without_repeating_them(store: Store, made: Manifest, url: str) -> None:
    with pytest.raises(InvalidInputError, match="must not carry credentials") as caught:
        publish(store, [made.reference], url)
    assert "hunter2" not in str(caught.value)


def test_secrets_are_not_recorded_or_logged(
    store: Store, made: Manifest, tmp_path: Path, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> None:
    caplog.set_level("DEBUG", logger="airflow_dataflow")
    bucket, options = request.getfixturevalue("bucket"), request.getfixturevalue("s3_options")
    publish(store, [made.reference], f"s3://{bucket}/x", storage_options={**options, "secret": "hunter2"})
    assert store.catalog.published(DATASET) == made
    assert "hunter2" not in caplog.text
    assert b"hunter2" not in (tmp_path / "catalog.db").read_bytes()


def test_a_place_whose_url_is_too_long_to_record_is_refused_before_anything_is_sent(
    store: Store, made: Manifest, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInputError, match="the catalog keeps 250"):
        publish(store, [made.reference], str(tmp_path / ("x" * 250)))
    assert not (tmp_path / ("x" * 250)).exists()


def test_an_unknown_version_is_named(store: Store, made: Manifest, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no dataset named 'support/dialog'; did you mean"):
        publish(store, ["support/dialog@latest"], str(tmp_path / "public"))
