"""Operators that copy data to where others use it; the work itself is :mod:`airflow_dataflow.transfer`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import Asset, AssetAlias, BaseOperator

from airflow_dataflow.assets import VERSIONS_ALIAS, dataset_asset
from airflow_dataflow.datasets.name import Reference
from airflow_dataflow.errors import InvalidInputError
from airflow_dataflow.hooks.database import database_uri, database_url, is_database, split_table
from airflow_dataflow.hooks.dataflow import DataflowHook
from airflow_dataflow.hooks.storage import split_conn_id, storage_options, uri
from airflow_dataflow.operators._context import announce, task_progress, task_reader
from airflow_dataflow.operators._errors import fail_at_once_on_terminal_errors

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_dataflow.progress import Progress
    from airflow_dataflow.storage.store import Store
    from airflow_dataflow.transfer.report import TransferReport


class TransferOperator(BaseOperator):
    """Copy versions of datasets, or any files, to a URL, or load a version into a table of a database.

    Versions arrive at ``<target>/<dataset>/<version>/``, every file verified by its digest and the manifest last, and
    count as published from then on. A retry is safe: what has arrived whole is left alone.

    A table takes all rows of a version in one transaction; a retry replaces them, or in the mode ``append`` finds that
    they are there.

    :param source: reference of a version (``support/model@latest``), several of them, or the URL or path of a file, a
        folder or a pattern such as ``s3://bucket/raw/*.csv`` (templated).
    :param target: URL or path to copy to, or a table such as ``postgresql://connection@/schema.table`` or
        ``mysql://connection@/table`` (templated).
    :param source_conn_id: Airflow connection that opens ``source`` when that is a URL; the one in the URL, or the
        default of its provider, when absent (templated).
    :param target_conn_id: the same for ``target`` (templated).
    :param from_snapshot: whether a folder is copied as it is at one moment, from a snapshot that is removed in the end;
        HDFS has them where an administrator allows them.
    :param options: how to load a table, by the names of :class:`~airflow_dataflow.transfer.load.LoadOptions`, e.g.
        ``{"mode": "upsert", "key": ["id"]}`` (templated).
    :param dataflow_conn_id: Airflow connection of the store that holds the versions (templated).
    """

    template_fields: Sequence[str] = (
        "source",
        "target",
        "source_conn_id",
        "target_conn_id",
        "options",
        "dataflow_conn_id",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"options": "json"}

    def __init__(
        self,
        *,
        source: str | Sequence[str],
        target: str,
        source_conn_id: str | None = None,
        target_conn_id: str | None = None,
        from_snapshot: bool = False,
        options: Mapping[str, Any] | None = None,
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
        self.dataflow_conn_id = dataflow_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Copy, and return the report."""
        hook = DataflowHook(self.dataflow_conn_id)
        sources = [self.source] if isinstance(self.source, str) else list(self.source)
        with fail_at_once_on_terminal_errors():
            if all(Reference.looks_like(source) for source in sources):
                sources = [hook.store.manifest(source).reference for source in sources]
                inputs = [
                    dataset_asset(Reference.parse(source).dataset, self.dataflow_conn_id).uri for source in sources
                ]
                with hook.store.read_by(task_reader(context)) as store:
                    deliver = self._load if is_database(self.target) else self._publish
                    report = deliver(store, sources, task_progress(context))
            else:
                inputs = [uri(source, self.source_conn_id) for source in sources]
                report = self._copy(sources, task_progress(context))
        target = self._target_uri()
        self.log.info("%s has %s files of %s: %s", target, report.files, ", ".join(sources), report)
        extra = {"source": sources, **report.to_dict()}
        announce(self, context, hook, Asset(uri=target), extra=extra, inputs=inputs)
        return report.to_dict()

    def _target_uri(self) -> str:
        if not is_database(self.target):
            return uri(self.target, self.target_conn_id)
        dialect, conn_id, table = split_table(self.target, self.target_conn_id)
        return database_uri(database_url(dialect, conn_id), table)

    def _load(self, store: Store, references: Sequence[str], progress: Progress) -> TransferReport:
        from airflow_dataflow.registry import make
        from airflow_dataflow.transfer.load import LoadOptions, load_version

        if len(references) != 1:
            raise InvalidInputError(f"a table takes one version at a time, got {references}")
        dialect, conn_id, table = split_table(self.target, self.target_conn_id)
        options = make(LoadOptions, "load", self.options or {})
        url = database_url(dialect, conn_id)
        return load_version(store, references[0], url, table or "", options=options, progress=progress)

    def _publish(self, store: Store, references: Sequence[str], progress: Progress) -> TransferReport:
        from airflow_dataflow.transfer.publish import publish

        target, conn_id = split_conn_id(self.target, self.target_conn_id)
        options = storage_options(target, conn_id)
        return publish(store, references, target, storage_options=options, progress=progress)

    def _copy(self, sources: Sequence[str], progress: Progress) -> TransferReport:
        from airflow_dataflow.transfer.copy import copy_path

        if len(sources) != 1:
            raise InvalidInputError(f"several sources have to be references such as 'name@latest', got {sources}")
        source, source_conn_id = split_conn_id(sources[0], self.source_conn_id)
        target, target_conn_id = split_conn_id(self.target, self.target_conn_id)
        return copy_path(
            source,
            target,
            source_options=storage_options(source, source_conn_id),
            target_options=storage_options(target, target_conn_id),
            from_snapshot=self.from_snapshot,
            progress=progress,
        )
