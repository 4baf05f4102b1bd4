"""The demo from the first step to the last: files, services, nights, reports."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from airflow_dataflow.datasets.manifest import Manifest
from airflow_dataflow.datasets.name import Reference
from airflow_dataflow.demo.api import AirflowApi, TaskState
from airflow_dataflow.demo.home import Home
from airflow_dataflow.demo.options import DemoOptions
from airflow_dataflow.demo.own_file import OwnFile, check_own_file
from airflow_dataflow.demo.report import Night, main_metrics, show_comparison, show_night, show_tiers
from airflow_dataflow.demo.samples import write_night
from airflow_dataflow.demo.services import USER, Services
from airflow_dataflow.demo.tiers import check_hdfs
from airflow_dataflow.demo.watch import Failure, Run, watch
from airflow_dataflow.errors import JobFailedError, MissingPackageError, NotFoundError
from airflow_dataflow.storage.store import Store
from airflow_dataflow.training.java import find_java_home
from airflow_dataflow.training.submission import find_spark_home

DAG_ID = "nightly_dataset_refresh"
_DAG_SECONDS = 60.0
_WIDTH_OF_FILES = 130


def run_demo(options: DemoOptions, console: Console | None = None) -> int:
    """Run the demo.

    :param console: where to print; the process's standard output when ``None``.
    :returns: 0 when every night succeeded, 1 otherwise.
    :raises TerminalError: when the options, or the file that they name, are wrong, or something is not installed;
        nothing was started then.
    """
    console = console or _console()
    own_file = None if options.input is None else check_own_file(options)
    check_machine()
    if options.tiers == "hdfs":
        with console.status("looking for Hadoop, which is downloaded once"):
            check_hdfs()
    dags = dags_folder()
    home = Home(options.home) if own_file is None else Home(options.home).for_own_files()
    with home.in_use(clean=own_file is None and not options.ui):
        kind = home.tier_kind(options.tiers)
        if kind == "hdfs":
            check_hdfs()
        # The nights are triggered one after the other; only a person in the web UI meets the DAG's own schedule.
        schedule = {"AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": str(options.ui)}
        services = Services(home, dags, settings=schedule, port=options.port, tiers=kind)
        try:
            with services.running():
                return 0 if Demo(options, services, console).run(own_file) else 1
        except JobFailedError as error:
            console.print(f"[bold red]The demo failed:[/] {escape(str(error))}")
            return 1


def _console() -> Console:
    """Return the process's standard output, also while something redirects ``sys.stdout``."""
    plain = Console(file=sys.__stdout__, highlight=False)
    return plain if plain.is_terminal else Console(file=sys.__stdout__, highlight=False, width=_WIDTH_OF_FILES)


def check_machine() -> None:
    """Look for what the nights need beyond Python, before anybody waits for it.

    :raises MissingPackageError: when Java, Spark or the S3 server is missing.
    """
    find_java_home()
    find_spark_home()
    if find_spec("moto") is None:
        raise MissingPackageError("the demo's S3 server is not installed: run pip install 'airflow-dataflow[demo]'")


def dags_folder() -> Path:
    """Return where the demo's DAG lies: in an installed package, else in the repository beside it."""
    package = Path(__file__).parent.parent
    for folder in (package / "example_dags", package.parent / "dags"):
        if (folder / f"{DAG_ID}.py").exists():
            return folder
    raise NotFoundError(f"no {DAG_ID}.py beside the package {package}: install the package again")


class Demo:
    """What happens while the services run.

    :param options: what to do.
    :param services: started, with Airflow's components or without.
    :param console: where to print.
    """

    def __init__(self, options: DemoOptions, services: Services, console: Console) -> None:
        self.options = options
        self.services = services
        self.home = services.home
        self.console = console
        self.store = services.open_store()
        self._begun = time.monotonic()

    def run(self, own_file: OwnFile | None) -> bool:
        """Start Airflow, run the nights and tell whether they succeeded."""
        if own_file is None and not any(self.home.landing.iterdir()):
            self._step("Raw input for the first night: support messages, and all that is wrong with them")
            self._show_files(write_night(self.home.landing, 1))
        hdfs = self.services.hdfs
        self._step("Starting Airflow and an S3 server" if hdfs is None else "Starting Airflow, an S3 server and HDFS")
        with self.console.status("about half a minute"):
            self.services.start_airflow()
        self.console.print(f"  Airflow runs at {self.services.url}, the S3 server at {self.services.s3_url}")
        if hdfs is not None:
            host, port = hdfs.web_addresses[0]
            self.console.print(f"  HDFS runs at {hdfs.rpc_url}, its web pages at http://{host}:{port}")
        succeeded = True
        if own_file is not None:
            succeeded = self.own_night(own_file)
        elif not self.options.ui:
            succeeded = self.sample_nights(2 if hdfs is None else 3)
        if self.options.ui:
            self._stay()
        return succeeded

    def sample_nights(self, count: int) -> bool:
        """Run a night on the samples, let new files arrive, run another night, and compare the first two.

        A third night brings a version to each of three tiers.
        """
        nights: list[Night] = []
        for number in range(1, count + 1):
            if number > 1:
                self._step("A day later new files have arrived")
                self._show_files(write_night(self.home.landing, number))
            night = self._night(f"Night {number}", {})
            if night is None:
                return False
            nights.append(night)
            if number == 2:  # noqa: PLR2004 - the second night is the first that can be compared
                show_comparison(self.console, *nights)
        show_tiers(self.console, self.store)
        self._step(f"All nights are over. Everything lies in {self.home.folder}")
        return True

    def own_night(self, own_file: OwnFile) -> bool:
        """Run a night on a person's own file."""
        dataset, folder = own_file.land(self.home.landing)
        self._step(f"{own_file.path.name} becomes the dataset {dataset}")
        return self._night(own_file.path.name, _own_conf(own_file, dataset, folder)) is not None

    def _stay(self) -> None:
        self.console.print(f"\nAirflow: [bold]{self.services.url}[/]")
        self.console.print(f"user [bold]{USER}[/], password [bold]{escape(self.services.password)}[/]; Ctrl-C stops it")
        with suppress(KeyboardInterrupt):
            while True:
                self.services.check()
                time.sleep(1)

    # steps ------------------------------------------------------------------------------------

    def _step(self, words: str) -> None:
        self.console.print(
            f"\n[bold cyan]▸[/] [bold]{escape(words)}[/] [dim]({time.monotonic() - self._begun:.0f} s)[/]"
        )

    def _show_files(self, files: list[Path]) -> None:
        for file in files:
            self.console.print(f"  {file.name:<28} {file.stat().st_size:>12,} bytes")

    def _night(self, title: str, conf: Mapping[str, Any]) -> Night | None:
        with self.services.api() as api:
            api.wait_for_dag(DAG_ID, seconds=_DAG_SECONDS, check=self.services.check)
            run_id = api.trigger(DAG_ID, conf)
            self._step(f"{title}: Airflow runs {DAG_ID}")
            narrator = _Narrator(api, self.store, run_id)
            run = watch(api, DAG_ID, run_id, console=self.console, describe=narrator.tell, check=self.services.check)
        if run.state != "success":
            self._show_failures(run)
            return None
        night = Night(title, run, narrator.versions, narrator.gate)
        show_night(self.console, self.store, night)
        return night

    def _show_failures(self, run: Run) -> None:
        for failure in run.failures or (Failure("run", "no task failed, but the run did", ""),):
            self.console.print(f"\n[bold red]{failure.task_id} failed:[/] {escape(failure.message)}", soft_wrap=True)
            if failure.log:
                self.console.print(f"its log: {failure.log}", soft_wrap=True)


class _Narrator:
    """Says in a few words what a task has done, and remembers the versions that a run has made."""

    def __init__(self, api: AirflowApi, store: Store, run_id: str) -> None:
        self.versions: dict[str, Manifest] = {}
        self.gate = ""
        self._api = api
        self._store = store
        self._run_id = run_id

    def tell(self, task: TaskState) -> str:
        """Describe a finished task."""
        result = self._api.result(DAG_ID, self._run_id, task.task_id) if task.state == "success" else None
        if isinstance(result, dict) and "bytes_sent" in result:
            return f"{result['files']} files, {result['bytes_sent']:,} bytes sent"
        if not isinstance(result, str) or not Reference.looks_like(result):
            return self._api.last_words(DAG_ID, self._run_id, task)
        if result in (version.reference for version in self.versions.values()):
            # A task that hands on what another has made is the gate.
            self.gate = self._api.last_words(DAG_ID, self._run_id, task)
            return self.gate
        self.versions[task.task_id] = self._store.manifest(result)
        return _words(self.versions[task.task_id])


def _words(version: Manifest) -> str:
    metrics = main_metrics(version)
    if metrics:
        return ", ".join(f"{name} {value:.3f}" for name, value in metrics.items())
    words = f"{version.rows_in:,} rows in, {version.rows_out:,} kept, {version.rows_quarantined:,} quarantined"
    carried = sum(source.carried_from is not None for source in version.sources)
    return f"{words}; {len(version.sources) - carried} files read, {carried} taken over" if carried else words


def _own_conf(own_file: OwnFile, dataset: str, folder: Path) -> dict[str, Any]:
    """Return the values of the DAG's params for a person's own file; any model may be published."""
    gate = {"metric": "accuracy", "min_value": 0.0}
    return {"source": folder.as_uri(), "dataset": dataset, "recipe": own_file.recipe, "gate": gate}
