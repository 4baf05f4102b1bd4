"""What the docs tell people to type works: recipes load, stores open, commands end with 0, Python and DAGs run."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from sqlalchemy import make_url

import airflow_dataflow
from airflow_dataflow.cleaning.clean import clean_dataset
from airflow_dataflow.cleaning.steps import steps_of
from airflow_dataflow.cli.main import build_parser, main
from airflow_dataflow.cli.store import read_store
from airflow_dataflow.demo.hadoop import HdfsCluster
from airflow_dataflow.demo.samples import SampleOptions, write_night
from airflow_dataflow.features.pipeline import build_extractors
from airflow_dataflow.ingest.ingest import ingest
from airflow_dataflow.recipe import load_recipe
from airflow_dataflow.transfer.topology import load_topology
from tests.services.tables import Tables
from tests.storage.hdfs.clusters import connection_to

REPOSITORY = Path(airflow_dataflow.__file__).parent.parent
PAGES = [
    page
    for page in (*REPOSITORY.glob("*.md"), *sorted((REPOSITORY / "docs").rglob("*.md")))
    if "Made by `make docs`" not in page.read_text()
]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PARSED_ONLY = {"demo", "doctor"}
"""Commands whose outcome depends on more than the page: they have tests of their own."""

pytestmark = [pytest.mark.airflow, pytest.mark.spark, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return language and text of the code blocks of a page."""
    return BLOCK.findall(page.read_text())


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder to run a page in: with raw files in ``landing``, and what the demo would have made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", "aws://key:not-a-secret@/?region_name=us-east-1")
    (tmp_path / "store.yaml").write_text(
        "catalog_url: sqlite:///catalog.db\ntiers: [{name: hot, class: hot, url: hot}]"
    )
    monkeypatch.setenv("DATAFLOW_STORE", "store.yaml")
    write_night(tmp_path / "landing", 1, SampleOptions(rows=(600, 0)))
    return tmp_path


@pytest.fixture
def shop(workspace: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open a shop: a table of orders that Airflow's connection ``shop`` reaches, and a store for its versions."""
    url = make_url(postgres_url)
    connection = {"conn_type": "postgres", "login": url.username, "password": url.password, "schema": url.database}
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps(connection | {"host": url.host, "port": url.port}))
    store = {"conn_type": "dataflow", "extra": yaml.safe_load((workspace / "store.yaml").read_text())}
    monkeypatch.setenv("AIRFLOW_CONN_DATAFLOW_DEFAULT", json.dumps(store))
    Tables(postgres_url).run(
        "CREATE TABLE orders (id int PRIMARY KEY, amount numeric(9,2), tags text[])",
        "INSERT INTO orders VALUES (1, 50, '{a,b}'), (2, 150, NULL)",
    )


@pytest.fixture
def warehouse(hdfs_cluster: HdfsCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open a cluster that Airflow's connection ``warehouse`` reaches."""
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", connection_to(hdfs_cluster))


class Reader:
    """A person who types what a page says."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, run_dag: Callable[..., Any]) -> None:
        self.folder = folder
        self.monkeypatch = monkeypatch
        self.run_dag = run_dag
        self.module = ModuleType("typed_from_the_docs")
        monkeypatch.setitem(sys.modules, self.module.__name__, self.module)

    def read(self, language: str, text: str) -> None:
        """Do what a block says, with a folder of ours for what lies in ``/data`` or ``/shared`` there."""
        text = re.sub(r"(?<![\w.])/data/landing", str(self.folder / "landing"), text)
        text = re.sub(r"(?<![\w.])/(data|shared)/", f"{self.folder}/data/", text)
        {"python": self.python, "yaml": self.yaml, "json": self.json, "bash": self.bash, "text": str}[language](text)

    def python(self, text: str) -> None:
        """Run Python, and the DAGs that it defines."""
        from airflow.sdk import DAG

        exec(compile(text, "docs", "exec", dont_inherit=True), vars(self.module))
        for value in list(vars(self.module).values()):
            if isinstance(value, DAG):
                assert self.run_dag(value).state == "success"

    def yaml(self, text: str) -> None:
        """Keep and check a recipe, the description of a store, or a topology."""
        content = yaml.safe_load(text)
        if "catalog_url" in content:
            Path("demo-store.yaml").write_text(text)
            read_store("demo-store.yaml")
            self.run_demo()
        elif "sites" in content:
            Path("topology.yaml").write_text(text)
            assert load_topology("topology.yaml").network().links
        else:
            Path("recipe.yaml").write_text(text)
            recipe = load_recipe("recipe.yaml")
            assert steps_of(recipe)
            assert build_extractors(recipe)

    def run_demo(self) -> None:
        """Make what the demo leaves behind, without Airflow."""
        if "demo" not in Path("demo-store.yaml").read_text():
            return
        store = read_store("demo-store.yaml")
        at = datetime(2026, 11, 23, 2, 15, tzinfo=UTC)
        ingest(store, str(self.folder / "landing"), "support/raw", at=at)
        recipe = load_recipe({"text": "body", "rules": [{"not_null": {}}]})
        clean_dataset(store, "support/raw@latest", "support/clean", recipe, at=at)

    def json(self, text: str) -> None:
        """Open the store of a connection."""
        from airflow_dataflow.hooks.dataflow import DataflowHook

        self.monkeypatch.setenv("AIRFLOW_CONN_DATAFLOW_DEFAULT", text)
        assert DataflowHook().store.tiers

    def bash(self, text: str) -> None:
        """Run our own commands, and see that ``make`` has its targets."""
        for line in text.splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["dataflow"]:
                parsed = build_parser().parse_args(words[1:])
                if parsed.command.name not in PARSED_ONLY:
                    assert main(words[1:]) == 0, line
            elif words[:1] == ["make"]:
                assert f"\n{words[1]}:" in (REPOSITORY / "Makefile").read_text(), line
            elif words[:1] == ["export"] and words[1].startswith(("DATAFLOW", "AIRFLOW_CONN_")):
                self.monkeypatch.setenv(*words[1].split("=", 1))


def test_there_are_pages_with_code() -> None:
    assert {language for page in PAGES for language, _ in blocks(page)} == {"python", "yaml", "json", "bash", "text"}


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.name)
def test_what_a_page_tells_people_to_type_works(
    page: Path,
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
    run_dag: Callable[..., Any],
    request: pytest.FixtureRequest,
) -> None:
    if "://shop@/" in page.read_text():
        request.getfixturevalue("shop")
    if "://warehouse@/" in page.read_text():
        request.getfixturevalue("warehouse")
    reader = Reader(workspace, monkeypatch, run_dag)
    for language, text in blocks(page):
        reader.read(language, text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []
