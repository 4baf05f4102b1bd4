"""Local file systems: what a copy shares, what it costs, and when a file counts as untouched."""

from __future__ import annotations

import errno
import itertools
import os
import uuid
from pathlib import Path

import pytest

from airflow_dataflow.datasets.catalog.catalog import Catalog
from airflow_dataflow.datasets.manifest import Rows
from airflow_dataflow.errors import StorageFullError
from airflow_dataflow.storage.backends import Backend, backend_of, open_url
from airflow_dataflow.storage.store import Store
from airflow_dataflow.storage.tier import Tier
from airflow_dataflow.transfer.rebalance import rebalance
from tests.services.mounts import NotMountedError, mounted
from tests.storage.versions import DATASET, FIRST, SECOND, check_catalog, make_version, tree, visible

MIB = 1 << 20
WITH_REFLINKS = pytest.mark.parametrize("kind", ["xfs", "btrfs"])


@pytest.fixture
def backend() -> Backend:
    fs, _ = open_url("/")
    return backend_of(fs)


@pytest.fixture
def disk(kind: str, request: pytest.FixtureRequest) -> Path:
    """Return a new folder on a file system of that kind."""
    folder = request.getfixturevalue(f"{kind}_folder") / uuid.uuid4().hex
    folder.mkdir()
    return folder


# sharing --------------------------------------------------------------------------------------


@pytest.mark.mounts
@WITH_REFLINKS
def test_a_shared_file_takes_no_space_and_has_a_life_of_its_own(disk: Path, backend: Backend) -> None:
    content = os.urandom(32 * MIB)
    with backend.create(str(disk / "a")) as file:
        file.write(content)
    os.sync()
    before = backend.free_bytes(str(disk))
    assert backend.share(str(disk / "a"), str(disk / "deep" / "b"))
    os.sync()
    assert before is not None
    assert before - (backend.free_bytes(str(disk)) or 0) < MIB
    with (disk / "a").open("r+b") as file:
        file.write(b"damaged")
    assert (disk / "deep" / "b").read_bytes() == content


@pytest.mark.mounts
@pytest.mark.parametrize("kind", ["ext4"])
def test_a_file_is_shared_under_a_second_name_where_there_are_no_reflinks(disk: Path, backend: Backend) -> None:
    (disk / "a").write_bytes(b"content")
    assert backend.share(str(disk / "a"), str(disk / "b"))
    assert (disk / "a").stat().st_ino == (disk / "b").stat().st_ino


@pytest.mark.mounts
@pytest.mark.parametrize("kind", ["xfs", "btrfs", "ext4"])
def test_nothing_is_shared_between_two_disks_and_a_copy_is_made(disk: Path, tmp_path: Path, backend: Backend) -> None:
    content = os.urandom(5 * MIB)
    (disk / "a").write_bytes(content)
    assert not backend.share(str(disk / "a"), str(tmp_path / "b"))
    assert tree(tmp_path) == {}
    backend.copy(str(disk / "a"), str(tmp_path / "b"))
    assert (tmp_path / "b").read_bytes() == content


def test_what_the_kernel_will_not_copy_goes_through_this_process(
    tmp_path: Path, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object) -> int:
        raise OSError(errno.EXDEV, "said the kernel")

    content = os.urandom(3 * MIB)
    (tmp_path / "a").write_bytes(content)
    monkeypatch.setattr(backend, "share", lambda *_paths: False)
    monkeypatch.setattr(os, "copy_file_range", refuse)
    backend.copy(str(tmp_path / "a"), str(tmp_path / "b"))
    assert tree(tmp_path) == {"a": content, "b": content}


def test_what_is_not_there_cannot_be_shared_and_leaves_nothing(tmp_path: Path, backend: Backend) -> None:
    with pytest.raises(FileNotFoundError):
        backend.share(str(tmp_path / "a"), str(tmp_path / "b"))
    assert tree(tmp_path) == {}


def test_a_file_with_as_many_names_as_it_may_have_is_copied(
    tmp_path: Path, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object) -> None:
        raise OSError(errno.EMLINK, "too many links")

    (tmp_path / "a").write_bytes(b"content")
    monkeypatch.setattr(Path, "hardlink_to", refuse)
    backend.copy(str(tmp_path / "a"), str(tmp_path / "b"))
    assert (tmp_path / "a").stat().st_ino != (tmp_path / "b").stat().st_ino
    assert tree(tmp_path) == {"a": b"content", "b": b"content"}


# untouched ------------------------------------------------------------------------------------


@pytest.mark.parametrize("act", ["rewrite", "truncate", "chmod", "forge"])
def test_a_file_that_anybody_touched_is_in_doubt(tmp_path: Path, backend: Backend, act: str) -> None:
    file, manifest = tmp_path / "a", tmp_path / "manifest"
    file.write_bytes(b"content")
    _write_later(manifest, file)
    assert backend.is_untouched(str(file), str(manifest))
    _write_later(tmp_path / "later", manifest)
    old = file.stat()
    if act == "chmod":
        file.chmod(0o600)
    elif act == "truncate":
        os.truncate(file, 3)
    else:
        file.write_bytes(b"CONTENT")
    if act == "forge":
        os.utime(file, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert not backend.is_untouched(str(file), str(manifest))


def test_what_is_not_there_is_in_doubt(tmp_path: Path, backend: Backend) -> None:
    (tmp_path / "a").write_bytes(b"content")
    assert not backend.is_untouched(str(tmp_path / "a"), str(tmp_path / "manifest"))
    assert not backend.is_untouched(str(tmp_path / "manifest"), str(tmp_path / "a"))


def _write_later(file: Path, other: Path) -> None:
    """Write a file until its time is later: clocks of file systems tick every few milliseconds."""
    file.write_bytes(b"later")
    while file.stat().st_mtime_ns <= other.stat().st_ctime_ns:
        file.write_bytes(b"later")


# moves between tiers --------------------------------------------------------------------------


def _store(disk: Path, tmp_path: Path) -> Store:
    tiers = [Tier(name=name, tier_class=name, url=str(disk / name)) for name in ("hot", "cold")]
    return Store(tiers, Catalog(f"sqlite:///{tmp_path}/catalog.db"))


@pytest.mark.mounts
@WITH_REFLINKS
def test_a_move_between_tiers_of_one_disk_reads_nothing_that_was_verified_before(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = _store(disk, tmp_path)
    old, new = (make_version(store, at) for at in (FIRST, SECOND))
    read: list[str] = []
    original = type(store.hot.directory).digest
    monkeypatch.setattr(
        type(store.hot.directory), "digest", lambda self, path: (read.append(path), original(self, path))[1]
    )
    assert [move.version for move in rebalance(store)] == [old.reference]
    assert read == []
    monkeypatch.undo()
    assert visible(store.hot.directory) == [new.reference]
    assert visible(store.tier("cold").directory) == [old.reference]
    check_catalog(store)


@pytest.mark.mounts
@pytest.mark.parametrize("kind", ["xfs", "btrfs", "ext4"])
def test_a_move_between_tiers_of_one_disk_finds_damage_of_the_same_size(disk: Path, tmp_path: Path) -> None:
    store = _store(disk, tmp_path)
    old, _ = (make_version(store, at) for at in (FIRST, SECOND))
    damaged = disk / "hot" / DATASET / old.version / "data" / "0.bin"
    before = damaged.stat()
    damaged.write_bytes(b"?" * before.st_size)
    os.utime(damaged, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(ValueError, match=r"data/0\.bin has .* but its manifest says"):
        rebalance(store)
    assert visible(store.tier("cold").directory) == []
    assert [replica.tier for replica in store.catalog.replicas(DATASET, old.version)] == ["hot"]


@pytest.mark.mounts
@pytest.mark.parametrize(("source", "target"), list(itertools.permutations(["xfs", "btrfs", "ext4"], 2)))
def test_a_move_between_two_disks_reads_back_what_it_wrote(
    source: str, target: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folders = {name: request.getfixturevalue(f"{name}_folder") / uuid.uuid4().hex for name in (source, target)}
    tiers = [
        Tier(name="hot", tier_class="hot", url=str(folders[source])),
        Tier(name="cold", tier_class="cold", url=str(folders[target])),
    ]
    store = Store(tiers, Catalog(f"sqlite:///{tmp_path}/catalog.db"))
    old, _ = (make_version(store, at) for at in (FIRST, SECOND))
    assert [move.version for move in rebalance(store)] == [old.reference]
    check_catalog(store)


# space ----------------------------------------------------------------------------------------


@pytest.mark.mounts
@pytest.mark.parametrize("kind", ["ext4", "btrfs"])
def test_a_full_tier_is_named_leaves_nothing_and_takes_the_version_when_there_is_room(
    kind: str, tmp_path: Path
) -> None:
    try:
        with mounted(kind, (120 if kind == "btrfs" else 20) * MIB) as disk:
            _fill_and_try_again(disk, tmp_path)
    except NotMountedError as error:
        pytest.skip(str(error))


def _fill_and_try_again(disk: Path, tmp_path: Path) -> None:
    store = Store([Tier(name="hot", tier_class="hot", url=str(disk / "hot"))], Catalog(f"sqlite:///{tmp_path}/c.db"))
    (disk / "room").write_bytes(os.urandom(4 * MIB))
    os.sync()
    with pytest.raises(OSError, match="No space"):
        _fill(disk / "filler")
    (disk / "room").unlink()
    os.sync()
    with pytest.raises(StorageFullError, match=r"no space left while writing .*delete something"):
        _make_large(store)
    assert tree(disk / "hot") == {}
    (disk / "filler").unlink()
    os.sync()
    assert _make_large(store) == store.manifest(DATASET).reference
    assert visible(store.hot.directory) == [store.manifest(DATASET).reference]


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while file.write(os.urandom(MIB)):
            os.fsync(file.fileno())


def _make_large(store: Store) -> str:
    with store.draft(DATASET, at=FIRST, fingerprint="4f2a9c") as draft:
        with draft.create("data/0.bin") as writer:
            for _ in range(8):
                writer.write(os.urandom(MIB))
        return draft.commit(Rows()).reference


def test_the_capacity_is_that_of_the_file_system_and_needs_no_folder(tmp_path: Path, backend: Backend) -> None:
    status = os.statvfs(tmp_path)
    assert backend.capacity_bytes(str(tmp_path / "not" / "there")) == status.f_blocks * status.f_frsize
    free = backend.free_bytes(str(tmp_path / "not" / "there"))
    assert free is not None
    assert 0 < free < status.f_blocks * status.f_frsize
