"""The folder of an application: where it lies, and that it is gone afterwards."""

from __future__ import annotations

import os
import tempfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_dataflow.datasets.catalog.catalog import Catalog
from airflow_dataflow.datasets.manifest import Rows, fingerprint_of
from airflow_dataflow.errors import AccessDeniedError, BusyError
from airflow_dataflow.storage.store import Store
from airflow_dataflow.storage.tier import Tier
from airflow_dataflow.training.work_folder import bring_in, take_over, work_folder
from tests.training.versions import AT, make_features, tables


@pytest.fixture
def store_at(tmp_path, monkeypatch):
    """Return a function that makes a store whose hot tier is a folder of the given name."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))

    def make(name):
        return Store([Tier(name="hot", tier_class="hot", url=str(tmp_path / name))], Catalog("sqlite://"))

    return make


@pytest.fixture
def private(tmp_path):
    """Return the folder for work that has no place in the store."""
    return tmp_path / "tmp" / f"airflow-dataflow-{os.getuid()}"


def _draft(store):
    return store.draft("support/model", at=AT, fingerprint=fingerprint_of(["model"]))


def test_it_lies_in_the_unfinished_version_and_goes_before_the_commit(store_at):
    store = store_at("hot tier")
    with _draft(store) as draft:
        with work_folder(draft) as folder:
            assert folder.is_relative_to(draft.directory.root)
            (folder / "deep").mkdir()
            (folder / "deep" / "link").symlink_to("/etc/hostname")
        assert not folder.exists()
        draft.commit(Rows())
    assert store.directory(draft.manifest).files().keys() == {"_manifest.json"}


@pytest.mark.parametrize("name", ["hot [1]", "a,b", "{x}", "50%", "a*"])
def test_a_path_that_spark_would_misread_is_avoided(store_at, private, name):
    with _draft(store_at(name)) as draft:
        with work_folder(draft) as folder:
            assert folder.parent == private / f"support.model@{draft.version}"
            with pytest.raises(BusyError):
                work_folder(draft).__enter__()
        assert list(private.iterdir()) == []
        draft.commit(Rows())


def test_what_a_killed_attempt_left_there_is_removed(store_at, private):
    with _draft(store_at("a,b")) as draft:
        rubbish = private / f"support.model@{draft.version}" / "_work-old" / "half"
        rubbish.parent.mkdir(parents=True)
        rubbish.touch()
        with work_folder(draft):
            assert not rubbish.exists()
        draft.commit(Rows())


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_not_entered(store_at, private):
    private.mkdir()
    os.chown(private, 12345, 12345)
    with _draft(store_at("a,b")) as draft:
        with pytest.raises(AccessDeniedError, match="belongs to another user; set TMPDIR"):
            work_folder(draft).__enter__()
        draft.commit(Rows())


def test_files_are_linked_where_they_lie_here_and_copied_otherwise(store, bucket, s3_options, tmp_path):
    far = Tier(name="far", tier_class="hot", url=f"s3://{bucket}/hot", storage_options=s3_options)
    for number, place in enumerate([store, Store([far], Catalog("sqlite://"))]):
        manifest = make_features(place, tables())
        wanted = tmp_path / str(number) / "deep" / "file"
        bring_in(place.directory(manifest), {wanted: manifest.files[0]})
        assert wanted.is_symlink() == (place is store)
        assert wanted.stat().st_size == manifest.files[0].bytes


def test_outputs_become_files_of_the_version_with_the_rows_of_tables(store, tmp_path):
    (tmp_path / "out" / "predictions").mkdir(parents=True)
    pq.write_table(pa.table({"a": [1, 2, 3]}), tmp_path / "out" / "predictions" / "test.parquet")
    (tmp_path / "out" / "model").write_text("a model")
    with _draft(store) as draft:
        take_over(draft, tmp_path / "out")
        manifest = draft.commit(Rows())
    assert {entry.path: entry.rows for entry in manifest.files} == {"model": None, "predictions/test.parquet": 3}
