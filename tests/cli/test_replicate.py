"""``dataflow replicate``: the plan, the work, and what went wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_dataflow.datasets.manifest import MANIFEST_NAME, Manifest
from airflow_dataflow.storage.store import Store

Dataflow = Callable[..., Any]


@pytest.fixture
def topology(tmp_path: Path) -> Path:
    """Return a file that describes five sites: the example with the tree of cost 11."""
    sites = {"1": {"tier": "hot"}, **{name: {"url": str(tmp_path / name)} for name in "2345"}}
    prices = {("1", "2"): 5, ("2", "3"): 3, ("2", "4"): 4, ("3", "4"): 1, ("4", "5"): 2}
    links = [{"between": list(pair), "price_per_gb": price} for pair, price in prices.items()]
    path = tmp_path / "topology.yaml"
    path.write_text(yaml.safe_dump({"sites": sites, "links": links}))
    return path


def test_a_dry_run_prints_the_tree_and_its_arithmetic(
    dataflow: Dataflow, store_file: Path, version: Manifest, topology: Path, tmp_path: Path
) -> None:
    command = ("replicate", "support/raw@latest", "--topology", topology, "--objective", "cost", "--dry-run")
    outcome = dataflow(*command, "--store", store_file)
    assert outcome.code == 0, outcome.error
    assert "cost: 5 (1-2) + 3 (2-3) + 1 (3-4) + 2 (4-5) = 11 per GB" in outcome.out
    outcome = dataflow(*command, "--store", store_file, "--format", "json")
    plan = outcome.json["plan"]
    assert (outcome.json["reference"], plan["method"], plan["figures"]["price_per_gb"]) == (
        version.reference,
        "minimum spanning tree",
        11,
    )
    assert [(edge["source"], edge["target"]) for edge in plan["edges"]] == [
        ("1", "2"),
        ("2", "3"),
        ("3", "4"),
        ("4", "5"),
    ]
    assert not (tmp_path / "2").exists()


def test_the_version_goes_to_the_sites_that_are_named(
    dataflow: Dataflow, store: Store, store_file: Path, version: Manifest, topology: Path, tmp_path: Path
) -> None:
    command = ("replicate", "support/raw@latest", "--topology", topology, "--source", "1", "--to", "2", "--to", "4")
    outcome = dataflow(*command, "--store", store_file, "--format", "json")
    assert outcome.code == 0, outcome.error
    assert [(done["site"], done["source"], done["state"]) for done in outcome.json["sites"]] == [
        ("2", "1", "whole"),
        ("4", "2", "whole"),
    ]
    assert (outcome.json["bytes_sent"], outcome.json["parts_retried"]) == (14, 0)
    assert (tmp_path / "4" / "support" / "raw" / version.version / MANIFEST_NAME).exists()
    assert not (tmp_path / "3").exists()
    assert len(store.catalog.replicas("support/raw", version.version)) == 3


def test_one_site_s_part_is_done_alone_and_a_relay_may_pass_on(
    dataflow: Dataflow, store_file: Path, version: Manifest, topology: Path, tmp_path: Path
) -> None:
    command = (
        "replicate",
        version.reference,
        "--topology",
        topology,
        "--to",
        "3",
        "--relay",
        "2",
        "--store",
        store_file,
    )
    for at, other in (("2", "3"), ("3", "4")):
        outcome = dataflow(*command, "--at", at, "--store", store_file, "--format", "json")
        assert outcome.code == 0, outcome.error
        assert [done["site"] for done in outcome.json["sites"]] == [at]
        assert not (tmp_path / other).exists()


def test_a_site_that_fails_ends_with_1_and_a_whole_answer(
    dataflow: Dataflow, store_file: Path, version: Manifest, topology: Path, tmp_path: Path
) -> None:
    (tmp_path / "3").write_text("no folder")
    outcome = dataflow(
        "replicate", version.reference, "--topology", topology, "--store", store_file, "--format", "json"
    )
    assert outcome.code == 1
    states = {done["site"]: done["state"] for done in outcome.json["sites"]}
    assert states == {"2": "whole", "3": "failed", "4": "whole", "5": "whole"}
    (failed,) = [done for done in outcome.json["sites"] if done["state"] == "failed"]
    assert failed["error"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--to", "6"), "no site named '6'"),
        (("--to", "5"), "no links lead from '1' to 5 by way of the other targets"),
        (("--at", "1"), "site '1' receives nothing by this plan"),
        (("--patience-seconds", "0"), "patience_seconds must be more than 0"),
    ],
)
def test_bad_input_ends_with_2(
    dataflow: Dataflow, store_file: Path, version: Manifest, topology: Path, more: tuple[str, ...], message: str
) -> None:
    outcome = dataflow("replicate", version.reference, "--topology", topology, *more, "--store", store_file)
    assert (outcome.code, message in outcome.error) == (2, True), outcome.error


@pytest.mark.s3
@pytest.mark.airflow
def test_a_site_is_opened_by_the_connection_that_its_url_or_entry_names(
    dataflow: Dataflow,
    store_file: Path,
    version: Manifest,
    tmp_path: Path,
    bucket: str,
    s3_options: dict[str, Any],
) -> None:
    from airflow_dataflow.storage.directory import Directory

    sites = {
        "hub": {"tier": "hot"},
        "in-url": {"url": f"s3://aws_default@{bucket}/in-url"},
        "in-entry": {"url": f"s3://{bucket}/in-entry", "conn_id": "aws_default"},
    }
    path = tmp_path / "topology.json"
    path.write_text(json.dumps({"sites": sites}))
    outcome = dataflow("replicate", version.reference, "--topology", path, "--store", store_file, "--format", "json")
    assert outcome.code == 0, outcome.error
    for name in ("in-url", "in-entry"):
        folder = Directory.from_url(f"s3://{bucket}/{name}/support/raw/{version.version}", s3_options)
        assert folder.read("data/a.bin") == b"one row"
    assert "aws_default@" not in json.dumps(outcome.json["sites"])
