"""Operators that copy data to where others use it; the work itself is :mod:`airflow_dataflow.transfer`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowFailException, Asset, AssetAlias, BaseOperator

from airflow_dataflow.assets import VERSIONS_ALIAS, dataset_asset
from airflow_dataflow.datasets.name import Reference
from airflow_dataflow.errors import ArchivedError, InvalidInputError
from airflow_dataflow.hooks.database import database_uri, database_url, is_database, split_table
from airflow_dataflow.hooks.dataflow import DataflowHook
from airflow_dataflow.hooks.storage import directory, split_conn_id, storage_options, uri, with_conn_id
from airflow_dataflow.operators._context import announce, task_progress, task_reader
from airflow_dataflow.operators._errors import fail_at_once_on_terminal_errors
from airflow_dataflow.operators._journal import task_control, task_journal
from airflow_dataflow.triggers.storage import FileRestoreTrigger, RestoreTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_dataflow.progress import Progress
    from airflow_dataflow.storage.store import Store
    from airflow_dataflow.transfer.journal import Journal
    from airflow_dataflow.transfer.limits import Control
    from airflow_dataflow.transfer.options import TransferOptions
    from airflow_dataflow.transfer.report import TransferReport


class TransferOperator(BaseOperator):
    """Copy versions of datasets, or any files, to a URL, or load a version into a table of a database.

    Versions arrive at ``<target>/<dataset>/<version>/``, every file verified by its digest and the manifest last, and
    count as published from then on. A retry is safe, and sends only what is missing: what has arrived is written down,
    part by part, in the catalog, or without a store in the task's state.

    A table takes all rows of a version in one transaction; a retry replaces them, or in the mode ``append`` finds that
    they are there.

    :param source: reference of a version (``support/model@latest``), or URL or path of a file, a folder or a pattern
        such as ``s3://bucket/raw/*.csv``; or several of one kind (templated).
    :param target: URL or path to copy to, or a table such as ``postgresql://connection@/schema.table`` or
        ``mysql://connection@/table`` (templated).
    :param source_conn_id: Airflow connection that opens ``source`` when that is a URL; the one in the URL, or the
        default of its provider, when absent (templated).
    :param target_conn_id: the same for ``target`` (templated).
    :param from_snapshot: whether a folder is copied as it is at one moment, from a snapshot that is removed in the end;
        HDFS has them where an administrator allows them.
    :param options: how to load a table, by the names of :class:`~airflow_dataflow.transfer.load.LoadOptions`, e.g.
        ``{"mode": "upsert", "key": ["id"]}`` (templated).
    :param transfer_options: how to copy, by the names of
        :class:`~airflow_dataflow.transfer.options.TransferOptions`, e.g. ``{"mirror": True, "verify": "full"}``
        (templated).
    :param limits_variable: name of an Airflow Variable that is read every few seconds while the task runs; its JSON,
        e.g. ``{"bytes_per_second": "20MB", "parts_at_once": 4}``, goes before the options. Without ``parts_at_once``
        anywhere, a task with more than one ``pool_slots`` has as many parts in flight (templated).
    :param wait_for_restore: whether files and versions in an archive are asked for, and waited for in Airflow's
        triggerer; otherwise the task fails.
    :param restore_days: how long the restored files stay readable.
    :param restore_speed: how fast and dear: ``Bulk``, ``Standard`` or ``Expedited`` (templated).
    :param wait_timeout: how long to wait for a restore; archives take minutes to two days.
    :param poke_interval: seconds between two looks at a restore.
    :param dataflow_conn_id: Airflow connection of the store that holds the versions, and the journal (templated).
    """

    template_fields: Sequence[str] = (
        "source",
        "target",
        "source_conn_id",
        "target_conn_id",
        "options",
        "transfer_options",
        "limits_variable",
        "restore_speed",
        "dataflow_conn_id",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"options": "json", "transfer_options": "json"}
    _control: Control | None = None

    def __init__(
        self,
        *,
        source: str | Sequence[str],
        target: str,
        source_conn_id: str | None = None,
        target_conn_id: str | None = None,
        from_snapshot: bool = False,
        options: Mapping[str, Any] | None = None,
        transfer_options: Mapping[str, Any] | None = None,
        limits_variable: str | None = None,
        wait_for_restore: bool = True,
        restore_days: int = 7,
        restore_speed: str = "Bulk",
        wait_timeout: timedelta = timedelta(days=3),
        poke_interval: float = 300.0,
        dataflow_conn_id: str = DataflowHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("outlets", [AssetAlias(VERSIONS_ALIAS)])
        super().__init__(**kwargs)
        self.source = source
        self.target = target
        self.source_conn_id = source_conn_id
        self.target_conn_id = target_conn_id
        self.from_snapshot = from_snapshot
        self.options = options
        self.transfer_options = transfer_options
        self.limits_variable = limits_variable
        self.wait_for_restore = wait_for_restore
        self.restore_days = restore_days
        self.restore_speed = restore_speed
        self.wait_timeout = wait_timeout
        self.poke_interval = poke_interval
        self.dataflow_conn_id = dataflow_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Copy, and return the report."""
        hook = DataflowHook(self.dataflow_conn_id)
        with fail_at_once_on_terminal_errors():
            options = self._transfer_options()
            self._control = task_control(context, options, self.limits_variable)
            if all(Reference.looks_like(source) for source in self._sources):
                sources, report = self._send_versions(hook, context, options)
                datasets = [Reference.parse(source).dataset for source in sources]
                inputs = [dataset_asset(dataset, self.dataflow_conn_id).uri for dataset in datasets]
            else:
                sources, report = self._sources, self._send_files(hook, context, options)
                inputs = [uri(source, self.source_conn_id) for source in sources]
        target = self._target_uri()
        self.log.info("%s has %s files of %s: %s", target, report.files, ", ".join(sources), report)
        if not options.dry_run:
            extra = {"source": sources, **report.to_dict()}
            announce(self, context, hook, Asset(uri=target), extra=extra, inputs=inputs)
        return report.to_dict()

    def on_kill(self) -> None:
        """End the transfer within seconds; the next attempt goes on where it was."""
        if self._control is not None:
            self._control.stop()

    @property
    def _sources(self) -> list[str]:
        return [self.source] if isinstance(self.source, str) else list(self.source)

    def _transfer_options(self) -> TransferOptions:
        from airflow_dataflow.registry import make
        from airflow_dataflow.transfer.options import TransferOptions

        return make(TransferOptions, "transfer", self.transfer_options or {})

    def _target_uri(self) -> str:
        if not is_database(self.target):
            return uri(self.target, self.target_conn_id)
        dialect, conn_id, table = split_table(self.target, self.target_conn_id)
        return database_uri(database_url(dialect, conn_id), table)

    def _send_versions(
        self, hook: DataflowHook, context: Context, options: TransferOptions
    ) -> tuple[list[str], TransferReport]:
        references = [hook.store.manifest(source).reference for source in self._sources]
        with hook.store.read_by(task_reader(context)) as store:
            try:
                if is_database(self.target):
                    return references, self._load(store, references, task_progress(context))
                return references, self._publish(store, references, context, options)
            except ArchivedError:
                if not self.wait_for_restore or options.dry_run:
                    raise
                self._defer_until_restored(store, references, task_progress(context))
                raise  # nothing is to be waited for, and yet it could not be read

    def _send_files(self, hook: DataflowHook, context: Context, options: TransferOptions) -> TransferReport:
        try:
            return self._copy(hook.find_store(), context, options)
        except ArchivedError:
            if not self.wait_for_restore or options.dry_run:
                raise
            self._defer_until_readable()
            raise  # nothing is to be waited for, and yet it could not be read

    def _defer_until_readable(self) -> None:
        """Ask for all archived files of the sources, and wait for them."""
        from airflow_dataflow.transfer.restore import ArchivedFiles

        sources = [with_conn_id(*split_conn_id(source, self.source_conn_id)) for source in self._sources]
        files = ArchivedFiles({source: directory(source) for source in sources})
        count = files.ask(days=self.restore_days, speed=self.restore_speed)
        self.log.info("%s files lie in an archive and were asked for", f"{count:,}")
        if count:
            trigger = FileRestoreTrigger(sources=sources, poke_interval=self.poke_interval)
            self.defer(trigger=trigger, method_name="execute_restored", timeout=self.wait_timeout)

    def _defer_until_restored(self, store: Store, references: Sequence[str], progress: Progress) -> None:
        """Ask for all versions, and wait for the first one that cannot be read yet; the others come after it."""
        from airflow_dataflow.storage.restore import restore_version

        for report in [
            restore_version(store, reference, days=self.restore_days, speed=self.restore_speed, progress=progress)
            for reference in references
        ]:
            self.log.info("%s on tier %s: %s", report.version, report.tier, report)
            if not report.complete:
                trigger = RestoreTrigger(
                    reference=report.version,
                    tier=report.tier,
                    dataflow_conn_id=self.dataflow_conn_id,
                    poke_interval=self.poke_interval,
                    resume=True,
                )
                self.defer(trigger=trigger, method_name="execute_restored", timeout=self.wait_timeout)

    def execute_restored(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Go on after a restore."""
        if isinstance(event, dict) and "error" in event:
            raise AirflowFailException(event["error"])
        return self.execute(context)

    def _load(self, store: Store, references: Sequence[str], progress: Progress) -> TransferReport:
        from airflow_dataflow.registry import make
        from airflow_dataflow.transfer.load import LoadOptions, load_version

        if len(references) != 1:
            raise InvalidInputError(f"a table takes one version at a time, got {references}")
        dialect, conn_id, table = split_table(self.target, self.target_conn_id)
        options = make(LoadOptions, "load", self.options or {})
        url = database_url(dialect, conn_id)
        return load_version(store, references[0], url, table or "", options=options, progress=progress)

    def _publish(
        self, store: Store, references: Sequence[str], context: Context, options: TransferOptions
    ) -> TransferReport:
        from airflow_dataflow.transfer.publish import publish

        target, conn_id = split_conn_id(self.target, self.target_conn_id)
        with self._journal(context, store, references, options) as journal:
            return publish(
                store,
                references,
                target,
                storage_options=storage_options(target, conn_id),
                options=options,
                journal=journal,
                control=self._control,
                progress=task_progress(context),
            )

    def _copy(self, store: Store | None, context: Context, options: TransferOptions) -> TransferReport:
        from airflow_dataflow.transfer.copy import copy_path

        if any(Reference.looks_like(source) for source in self._sources):
            raise InvalidInputError(
                f"references such as 'name@latest' and URLs cannot go together, got {self._sources}"
            )
        sources = [split_conn_id(source, self.source_conn_id) for source in self._sources]
        target, target_conn_id = split_conn_id(self.target, self.target_conn_id)
        with self._journal(context, store, [with_conn_id(*source) for source in sources], options) as journal:
            return copy_path(
                sources[0][0] if isinstance(self.source, str) else [url for url, _ in sources],
                target,
                source_options=[storage_options(url, conn_id) for url, conn_id in sources],
                target_options=storage_options(target, target_conn_id),
                from_snapshot=self.from_snapshot,
                options=options,
                journal=journal,
                control=self._control,
                progress=task_progress(context),
            )

    def _journal(
        self, context: Context, store: Store | None, sources: Sequence[str], options: TransferOptions
    ) -> AbstractContextManager[Journal]:
        target = with_conn_id(*split_conn_id(self.target, self.target_conn_id))
        return task_journal(context, store, sources=sources, target=target, options=options, control=self._control)
