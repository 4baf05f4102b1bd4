"""Where commands find the store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_dataflow.cli.store import place, read_store
from airflow_dataflow.datasets.manifest import Manifest
from airflow_dataflow.errors import InvalidInputError, NotFoundError

HOT = {"name": "hot", "class": "hot", "url": "hot"}


def test_a_yaml_file_describes_a_store(tmp_path: Path) -> None:
    path = tmp_path / "store.yaml"
    path.write_text(
        f"catalog_url: sqlite:///{tmp_path}/catalog.db\n"
        "tiers:\n"
        f"  - {{name: archive, class: cold, url: {tmp_path}/archive, storage_class: STANDARD_IA}}\n"
        f"  - {{name: fast, class: hot, url: {tmp_path}/fast, storage_options: {{auto_mkdir: true}}}}\n"
    )
    store = read_store(path)
    assert [(tier.name, tier.storage_options, tier.storage_class) for tier in store.tiers] == [
        ("fast", {"auto_mkdir": True}, None),
        ("archive", {}, "STANDARD_IA"),
    ]
    assert store.catalog.datasets() == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("just text", "is not a mapping with the keys catalog_url, tiers"),
        ({"catalog_url": "sqlite://", "tears": []}, "unknown key 'tears'; did you mean 'tiers'?"),
        ({"tiers": [HOT]}, "has no 'catalog_url'"),
        ({"catalog_url": "sqlite://", "tiers": "hot"}, "'tiers' is not a list"),
        ({"catalog_url": "sqlite://", "tiers": [HOT, {"name": "cold"}]}, "tier 2 has no 'class'"),
        ({"catalog_url": "sqlite://", "tiers": [HOT | {"class": "hit"}]}, "did you mean 'hot'?"),
        ("{", "cannot be read"),
    ],
)
def test_a_wrong_file_is_refused_with_what_is_wrong(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "store.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(InvalidInputError) as error:
        read_store(path)
    assert message in str(error.value)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(NotFoundError, match=r"no store file 'nowhere\.yaml'"):
        read_store(Path("nowhere.yaml"))


def test_the_environment_names_the_store_when_the_option_does_not(
    dataflow: Callable[..., Any], store_file: Path, version: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAFLOW_STORE", str(store_file))
    assert "support/raw" in dataflow("datasets", "list").out


@pytest.mark.airflow
def test_the_airflow_connection_is_the_store_when_nothing_else_is_named(
    dataflow: Callable[..., Any], store_file: Path, version: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {"conn_type": "dataflow", "extra": json.loads(store_file.read_text())}
    monkeypatch.setenv("AIRFLOW_CONN_DATAFLOW_DEFAULT", json.dumps(connection))
    assert "support/raw" in dataflow("datasets", "list").out
    outcome = dataflow("datasets", "list", "--conn-id", "elsewhere")
    assert outcome.code == 2
    assert "'elsewhere' is not defined" in outcome.error


def test_a_url_without_a_connection_uses_the_environment() -> None:
    assert place("s3://bucket/key@home") == ("s3://bucket/key@home", {})
    assert place("/data/a@b") == ("/data/a@b", {})


def test_a_url_with_a_connection_takes_its_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {"conn_type": "aws", "login": "key", "password": "secret", "extra": {"region_name": "eu-central-1"}}
    monkeypatch.setenv("AIRFLOW_CONN_BUCKETS", json.dumps(connection))
    url, options = place("s3://buckets@bucket/key")
    assert url == "s3://bucket/key"
    assert options


def test_a_store_file_is_opened_without_loading_airflow(store_file: Path, version: Manifest) -> None:
    code = (
        "import sys; from airflow_dataflow.cli.main import main; "
        "code = main(['datasets', 'list']); sys.exit(code or 'airflow' in sys.modules)"
    )
    environment = {**os.environ, "DATAFLOW_STORE": str(store_file)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
