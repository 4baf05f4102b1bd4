"""Operators that bring data into the store and keep it in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator

from airflow_dataflow.datasets.name import Reference
from airflow_dataflow.errors import InvalidInputError
from airflow_dataflow.hooks.database import database_uri, database_url, is_database, split_table
from airflow_dataflow.hooks.dataflow import DataflowHook
from airflow_dataflow.hooks.storage import directory, split_conn_id, storage_options, uri
from airflow_dataflow.operators._context import task_progress, task_reader
from airflow_dataflow.operators._dataset import DatasetOperator
from airflow_dataflow.operators._errors import fail_at_once_on_terminal_errors
from airflow_dataflow.triggers.storage import RestoreTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_dataflow.datasets.manifest import Manifest
    from airflow_dataflow.progress import Progress
    from airflow_dataflow.storage.restore import RestoreReport
    from airflow_dataflow.storage.store import Store
    from airflow_dataflow.transfer.limits import Control


class IngestDatasetOperator(DatasetOperator):
    """Read the files of a landing folder, or a table of a database, and make a version that holds their rows.

    Files that the newest version of ``target`` has read before are carried over unread: a night over a folder in which
    nothing has changed takes one listing, and reads no file. Rows and files that cannot be
    read go to the version's quarantine with their reason. A retry is safe: it returns the version that an earlier
    attempt finished. Without anything new it returns the newest version.

    A table is read as it is at one moment; with the option ``watermark`` only the rows above the last one are read, and
    those of earlier nights carried over.

    :param source: URL or path of a folder, a file or a pattern such as ``s3://aws_default@bucket/landing/*.csv``, or a
        list of these; or a table such as ``postgresql://connection@/schema.table`` or ``mysql://connection@/table``
        (templated).
    :param target: dataset to add a version to (templated).
    :param source_conn_id: Airflow connection that opens ``source``; the one in the URL, or the default of its provider,
        when absent (templated).
    :param query: one SELECT statement, or the name of a file ``*.sql`` with it, in place of a table; ``source`` is
        ``postgresql://connection@/`` then (templated).
    :param options: how to read, by the names of :class:`~airflow_dataflow.ingest.options.IngestOptions`, e.g.
        ``{"missing": "drop"}``, for a database of :class:`~airflow_dataflow.ingest.table_options.TableOptions`, e.g.
        ``{"watermark": "id"}`` (templated).
    """

    template_fields: Sequence[str] = ("source", "target", "source_conn_id", "query", "options", "dataflow_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"options": "json", "query": "sql"}
    template_ext: Sequence[str] = (".sql",)

    def __init__(
        self,
        *,
        source: str | Sequence[str],
        target: str,
        source_conn_id: str | None = None,
        query: str | None = None,
        options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.target = target
        self.source_conn_id = source_conn_id
        self.query = query
        self.options = options

    def make_version(self, store: Store, *, at: datetime, progress: Progress) -> Manifest:
        """Read the files or the table."""
        if isinstance(self.source, str) and is_database(self.source):
            return self._ingest_table(store, self.source, at=at, progress=progress)
        if self.query is not None:
            raise InvalidInputError(f"a query needs a database as its source, got {self.source!r}")
        from airflow_dataflow.ingest.ingest import ingest
        from airflow_dataflow.ingest.landing import Place
        from airflow_dataflow.ingest.options import IngestOptions
        from airflow_dataflow.registry import make

        places = []
        for url in self._sources:
            plain, conn_id = split_conn_id(url, self.source_conn_id)
            places.append(Place(plain, storage_options(plain, conn_id)))
        options = make(IngestOptions, "ingest", self.options or {})
        return ingest(store, places, self.target, at=at, options=options, progress=progress)

    @property
    def _sources(self) -> Sequence[str]:
        return [self.source] if isinstance(self.source, str) else self.source

    def _ingest_table(self, store: Store, source: str, *, at: datetime, progress: Progress) -> Manifest:
        from airflow_dataflow.ingest.table import ingest_table
        from airflow_dataflow.ingest.table_options import TableOptions
        from airflow_dataflow.registry import make

        dialect, conn_id, table = split_table(source, self.source_conn_id)
        return ingest_table(
            store,
            database_url(dialect, conn_id),
            table,
            self.target,
            at=at,
            query=self.query,
            options=make(TableOptions, "ingest", self.options or {}),
            progress=progress,
        )

    def lineage_inputs(self, manifest: Manifest) -> list[str]:  # noqa: ARG002 - the files count, not the version
        """Return the URIs of the landing folders, or of the table."""
        if not isinstance(self.source, str) or not is_database(self.source):
            return [uri(one, self.source_conn_id) for one in self._sources]
        dialect, conn_id, table = split_table(self.source, self.source_conn_id)
        return [database_uri(database_url(dialect, conn_id), table)]


class RebalanceTiersOperator(BaseOperator):
    """Move all but the newest versions of datasets to the warm tier, and all but the newest there to the coldest.

    A move copies, verifies, changes the catalog and only then deletes. A retry is safe: it finishes what a killed
    attempt began, and goes on inside of large files.

    :param datasets: names of the datasets; all of the store when ``None`` (templated).
    :param hot_versions: how many versions of each dataset stay where they are.
    :param warm_versions: how many of the next ones lie on the first tier of class ``warm``; a store without such a tier
        has none.
    :param dataflow_conn_id: Airflow connection of the store (templated).
    """

    template_fields: Sequence[str] = ("datasets", "dataflow_conn_id")
    _control: Control | None = None

    def __init__(
        self,
        *,
        datasets: Sequence[str] | None = None,
        hot_versions: int = 1,
        warm_versions: int = 1,
        dataflow_conn_id: str = DataflowHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.datasets = datasets
        self.hot_versions = hot_versions
        self.warm_versions = warm_versions
        self.dataflow_conn_id = dataflow_conn_id

    def execute(self, context: Context) -> list[str]:
        """Move the versions and return the references of those that were moved."""
        from airflow_dataflow.transfer.limits import Control
        from airflow_dataflow.transfer.rebalance import rebalance

        self._control = Control()
        hook = DataflowHook(self.dataflow_conn_id)
        with fail_at_once_on_terminal_errors(), hook.store.read_by(task_reader(context)) as store:
            moves = rebalance(
                store,
                self.datasets,
                hot_versions=self.hot_versions,
                warm_versions=self.warm_versions,
                control=self._control,
                progress=task_progress(context),
            )
        self.log.info("moved %d versions, %s bytes", len(moves), f"{sum(move.bytes for move in moves):,}")
        return [move.version for move in moves]

    def on_kill(self) -> None:
        """End the move within seconds; the next attempt goes on where it was."""
        if self._control is not None:
            self._control.stop()


class SweepDatasetsOperator(BaseOperator):
    """Remove what killed tasks have left behind, unfinished versions and uploads, and forget old reads.

    A retry is safe: what is gone is gone.

    :param grace: how long an unfinished version may go without a change before it counts as abandoned; longer than the
        longest pause of a task that is still running.
    :param keep_reads: how long the catalog remembers who has read which version; placement learns from it.
    :param dataflow_conn_id: Airflow connection of the store (templated).
    """

    template_fields: Sequence[str] = ("dataflow_conn_id",)

    def __init__(
        self,
        *,
        grace: timedelta = timedelta(days=1),
        keep_reads: timedelta = timedelta(days=400),
        dataflow_conn_id: str = DataflowHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.grace = grace
        self.keep_reads = keep_reads
        self.dataflow_conn_id = dataflow_conn_id

    def execute(self, context: Context) -> list[str]:  # noqa: ARG002 - Airflow's signature
        """Remove them and return the URLs of folders and the paths of files."""
        from airflow_dataflow.transfer.abandoned import sweep_transfers

        with fail_at_once_on_terminal_errors():
            store = DataflowHook(self.dataflow_conn_id).store
            removed = [*sweep_transfers(store, directory, grace=self.grace), *store.sweep(grace=self.grace)]
            forgotten = store.catalog.forget_reads(self.keep_reads)
        self.log.info("removed %d unfinished versions and uploads, forgot %d old reads", len(removed), forgotten)
        return removed


class RestoreDatasetOperator(BaseOperator):
    """Ask a tier to make the archived files of a version readable, and wait for them in Airflow's triggerer.

    Tiers without archives, such as HDFS and local folders, have nothing to do. A retry is safe: what was asked for
    before is not asked for again.

    :param reference: the version, e.g. ``support/dialogs@latest~30`` (templated).
    :param tier: name of the tier whose copy is restored; the one that readers get, which is the nearest, when ``None``
        (templated).
    :param days: how long the files stay readable.
    :param speed: how fast and dear: ``Bulk``, ``Standard`` or ``Expedited`` (templated).
    :param wait: whether the task ends when all files can be read; otherwise it ends at once, for ``RestoreSensor``.
    :param wait_timeout: how long to wait; archives take minutes to two days.
    :param poke_interval: seconds between two looks.
    :param dataflow_conn_id: Airflow connection of the store (templated).
    """

    template_fields: Sequence[str] = ("reference", "tier", "speed", "dataflow_conn_id")

    def __init__(
        self,
        *,
        reference: str,
        tier: str | None = None,
        days: int = 7,
        speed: str = "Bulk",
        wait: bool = True,
        wait_timeout: timedelta = timedelta(days=3),
        poke_interval: float = 300.0,
        dataflow_conn_id: str = DataflowHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.reference = reference
        self.tier = tier
        self.days = days
        self.speed = speed
        self.wait = wait
        self.wait_timeout = wait_timeout
        self.poke_interval = poke_interval
        self.dataflow_conn_id = dataflow_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Ask for the files, and return how many there are and how many were asked for; the triggerer waits."""
        from airflow_dataflow.storage.restore import restore_version

        with fail_at_once_on_terminal_errors():
            report = restore_version(
                DataflowHook(self.dataflow_conn_id).store,
                self.reference,
                tier=self.tier,
                days=self.days,
                speed=self.speed,
                progress=task_progress(context),
            )
        self.log.info("%s on tier %s: %s", report.version, report.tier, report)
        if self.wait and not report.complete:
            self._defer_until_readable(report)
        return report.to_dict()

    def _defer_until_readable(self, report: RestoreReport) -> None:
        trigger = RestoreTrigger(
            reference=report.version,
            tier=report.tier,
            dataflow_conn_id=self.dataflow_conn_id,
            poke_interval=self.poke_interval,
            result=report.to_dict(),
        )
        self.defer(trigger=trigger, method_name="execute_complete", timeout=self.wait_timeout)

    def execute_complete(self, context: Context, event: Any = None) -> None:  # noqa: ARG002 - Airflow's signature
        """End the task after an event that did not end it already: an error that a retry cannot change."""
        if isinstance(event, dict) and "error" in event:
            raise AirflowFailException(event["error"])

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after the waiting; a retry after a timeout asks for what is still missing, and waits again."""
        from airflow.sdk.exceptions import TaskDeferralTimeout

        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout as error:
            raise TaskDeferralTimeout(
                f"waited {self.wait_timeout} for the restore of {self.reference}: archives take minutes to two days, "
                "by storage class and speed; raise 'wait_timeout', or ask for a faster 'speed'"
            ) from error


class SetStoragePolicyOperator(BaseOperator):
    """Give a file, a folder with all in it, or a version of a dataset a storage policy (HDFS) or storage class (S3).

    A retry is safe: what has the policy is left alone. HDFS moves the blocks afterwards, by its storage policy
    satisfier where the cluster runs one, else by the Mover that an administrator starts.

    :param target: URL such as ``hdfs://webhdfs_default@namenode/raw/2025``, or reference of a version, e.g.
        ``support/dialogs@latest~30`` (templated).
    :param policy: by the store's own name, e.g. ``COLD`` or ``ALL_SSD`` on HDFS, ``STANDARD_IA`` on S3 (templated).
    :param tier: tier on which the version lies, for a reference; the nearest that holds it when ``None`` (templated).
    :param satisfy: whether to ask HDFS to move the blocks.
    :param target_conn_id: Airflow connection that opens a URL; the one in the URL, or the default of its provider, when
        absent (templated).
    :param dataflow_conn_id: Airflow connection of the store, for a reference (templated).
    """

    template_fields: Sequence[str] = ("target", "policy", "tier", "target_conn_id", "dataflow_conn_id")

    def __init__(
        self,
        *,
        target: str,
        policy: str,
        tier: str | None = None,
        satisfy: bool = True,
        target_conn_id: str | None = None,
        dataflow_conn_id: str = DataflowHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.target = target
        self.policy = policy
        self.tier = tier
        self.satisfy = satisfy
        self.target_conn_id = target_conn_id
        self.dataflow_conn_id = dataflow_conn_id

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Set the policy, and return how many files changed and whether their bytes move."""
        from airflow_dataflow.storage.policy import set_storage_policy, set_version_policy

        with fail_at_once_on_terminal_errors():
            if Reference.looks_like(self.target):
                store = DataflowHook(self.dataflow_conn_id).store
                report = set_version_policy(store, self.target, self.policy, tier=self.tier, satisfy=self.satisfy)
            else:
                place = directory(self.target, self.target_conn_id)
                report = set_storage_policy(place, self.policy, satisfy=self.satisfy)
        where = "move" if report.moving else "stay until a mover runs"
        self.log.info("%s: %d files became %s; their bytes %s", report.url, report.files_changed, report.policy, where)
        return report.to_dict()
