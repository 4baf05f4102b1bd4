"""A store whose warm tier is on HDFS."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airflow_dataflow.datasets.catalog.catalog import Catalog
from airflow_dataflow.demo.hadoop import HdfsCluster
from airflow_dataflow.storage.policy import set_version_policy
from airflow_dataflow.storage.rebuild import rebuild
from airflow_dataflow.storage.store import Store
from airflow_dataflow.storage.tier import Tier
from airflow_dataflow.testing.contents import write
from airflow_dataflow.transfer.rebalance import copy_version, rebalance
from tests.storage.hdfs.clusters import SCHEMES, folder_on
from tests.storage.versions import DATASET, FIRST, SECOND, check_catalog, make_version, visible

pytestmark = [pytest.mark.hdfs, pytest.mark.parametrize("scheme", SCHEMES)]


def test_versions_move_to_hdfs_and_are_verified_and_swept_there(
    hdfs_cluster: HdfsCluster, tmp_path: Path, scheme: str
) -> None:
    warm = folder_on(hdfs_cluster, scheme)
    options = dict(warm.fs.storage_options)
    tiers = [
        Tier(name="hot", tier_class="hot", url=str(tmp_path / "hot")),
        Tier(name="warm", tier_class="warm", url=warm.url, storage_options=options),
    ]
    store = Store(tiers, Catalog(f"sqlite:///{tmp_path}/catalog.db"))
    old, new = make_version(store, FIRST), make_version(store, SECOND)
    assert [(move.version, move.target) for move in rebalance(store)] == [(old.reference, "warm")]
    assert rebalance(store) == []
    copy_version(store, new.reference, "warm")
    assert sorted(visible(warm)) == sorted([old.reference, new.reference])
    check_catalog(store)
    assert set_version_policy(store, old.reference, "WARM").files_changed == len(old.files) + 1
    write(warm, f"{DATASET}/20261121T021500Z-bbbbbb/data/0.bin", b"what a killed process left")
    swept = store.sweep(grace=timedelta(0), now=datetime.now(UTC) + timedelta(days=1))
    assert [url.rpartition("/")[2] for url in swept] == ["20261121T021500Z-bbbbbb"]
    rebuilt = Store(tiers, Catalog(f"sqlite:///{tmp_path}/rebuilt.db"))
    rebuild(rebuilt)
    assert sorted(manifest.reference for manifest in rebuilt.catalog.manifests(DATASET)) == [
        old.reference,
        new.reference,
    ]
    check_catalog(rebuilt)
