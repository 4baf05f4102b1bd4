"""``dataflow demo`` as a person runs it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from airflow_dataflow.datasets.catalog.catalog import Catalog
from airflow_dataflow.demo import hadoop_files
from airflow_dataflow.demo.home import Home
from airflow_dataflow.demo.tiers import local_tiers
from airflow_dataflow.storage.store import Store
from tests.services.packages import skip_without_packages

pytestmark = [pytest.mark.e2e, pytest.mark.spark, pytest.mark.timeout(600)]

DATAFLOW = Path(sys.executable).with_name("dataflow")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "home"


@pytest.fixture(scope="module")
def report(home: Path) -> str:
    """Return what two nights print."""
    done = subprocess.run([DATAFLOW, "demo", "--home", home], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_row_of_both_nights_is_accounted_for(report: str) -> None:
    sums = re.findall(r"came in +([\d,]+)((?:.*\n)+?) kept +=\s+([\d,]+)", report)
    assert len(sums) == 2
    for rows_in, lost, kept in sums:
        reasons = [_number(count) for count in re.findall(r"- ([\d,]+)", lost)]
        assert len(reasons) >= 5
        assert _number(rows_in) - sum(reasons) == _number(kept)


def test_the_second_night_reads_the_three_new_files_only(report: str) -> None:
    comparison = report[report.index("What the second night did not do again") :]
    assert re.search(r"ingest +3 +4 +1,500 ", comparison)
    assert re.search(r"clean +3 +3 ", comparison)


def test_the_model_is_good_but_not_perfect(report: str) -> None:
    scores = [float(score) for score in re.findall(r"test rows: .*macro_f1 ([\d.]+)", report)]
    assert len(scores) == 2
    assert all(0.85 < score < 0.99 for score in scores), scores


def test_every_version_of_the_report_is_whole_and_where_the_report_says(report: str, home: Path) -> None:
    store = _store(home)
    for dataset in store.catalog.datasets():
        second, first = store.catalog.manifests(dataset)
        for version, tier in ((second, "hot"), (first, "warm")):
            assert [replica.tier for replica in store.verify(version)] == [tier]
            assert re.search(rf"{dataset} +{version.version} +[\d,]+ +{tier} ", report)


def test_the_objects_that_were_published_are_kept_in_the_home(report: str, home: Path) -> None:
    store = _store(home)
    published = store.catalog.published("support/model")
    assert published is not None
    folder = home / "s3" / "published" / "support" / "model" / published.version
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == {
        "_manifest.json", *(entry.path for entry in published.files)
    }  # fmt: skip


def test_the_web_ui_stays_until_ctrl_c_and_leaves_no_process_behind(report: str, home: Path) -> None:
    with _started("--ui", "--home", str(home)) as process:
        text = _read_until(process, "user ")
        (url,) = re.findall(r"^Airflow: (\S+)", text, re.MULTILINE)
        (user, password) = re.findall(r"user (\S+), password (\S+);", text)[0]
        answer = httpx.post(f"{url}/auth/token", json={"username": user, "password": password}, trust_env=False)
        assert answer.is_success, answer.text
        services = psutil.Process(process.pid).children(recursive=True)
        assert len(services) >= 5
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert _still_running(services) == []


def test_a_demo_that_is_told_to_end_while_it_starts_leaves_no_process_behind(home: Path, tmp_path: Path) -> None:
    with _started("--home", str(tmp_path / "home")) as process:
        _read_until(process, "▸ Starting")
        services = psutil.Process(process.pid).children(recursive=True)
        assert services
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
    assert _still_running(services) == []


@pytest.mark.hdfs
def test_hdfs_ends_with_the_demo_and_has_its_files_again_when_the_home_is_used_again(tmp_path: Path) -> None:
    with skip_without_packages():
        hadoop_files.jars()
    home = str(tmp_path / "home")
    with _started("--ui", "--tiers", "hdfs", "--home", home) as process:
        pages = _hdfs_of(process)
        where = httpx.put(f"{pages}/webhdfs/v1/dataflow/kept?op=CREATE", trust_env=False).headers["location"]
        httpx.put(where, content=b"until tomorrow", trust_env=False, timeout=60).raise_for_status()
        services = psutil.Process(process.pid).children(recursive=True)
        assert sum(service.name() == "java" for service in services) >= 2
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert _still_running(services) == []
    with _started("--ui", "--home", home) as process:
        pages = _hdfs_of(process)
        read = httpx.get(f"{pages}/webhdfs/v1/dataflow/kept?op=OPEN", follow_redirects=True, trust_env=False)
        assert read.content == b"until tomorrow"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


def _hdfs_of(process: subprocess.Popen[str]) -> str:
    """Return the address of the web pages of the demo's HDFS, once all has started."""
    (pages,) = re.findall(r"HDFS runs at \S+, its web pages at (\S+)", _read_until(process, "user "))
    return str(pages)


def _store(home: Path) -> Store:
    return Store(local_tiers(Home(home)), Catalog(Home(home).catalog_url))


@contextmanager
def _started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        # A shell lets the jobs that it starts in the background ignore Ctrl-C; these hear it.
        ["env", "--default-signal=INT", DATAFLOW, "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def _read_until(process: subprocess.Popen[str], start: str) -> str:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith(start):
            return "".join(lines)
    raise AssertionError("".join(lines))


def _still_running(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def test_a_misspelt_column_is_refused_within_seconds_and_starts_nothing(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("text,category\nhello,1\n")
    command = [DATAFLOW, "demo", "--home", tmp_path / "home", "--input", file, "--text", "txt", "--label", "category"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr == "error: mine.csv has no text column 'txt'; did you mean 'text'?\n"
    assert not (tmp_path / "home").exists()


def _number(text: str) -> int:
    return int(text.replace(",", ""))
