"""``dataflow transfer``: versions and files from anywhere to anywhere."""

from __future__ import annotations

import signal
import threading
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_dataflow.cli.output import Answer
from airflow_dataflow.cli.store import database, has_store_file, open_store, place
from airflow_dataflow.datasets.name import Reference
from airflow_dataflow.errors import InvalidInputError
from airflow_dataflow.progress import Progress

if TYPE_CHECKING:
    from airflow_dataflow.storage.directory import Directory
    from airflow_dataflow.storage.store import Store
    from airflow_dataflow.transfer.journal import Journal
    from airflow_dataflow.transfer.limits import Control, Limits
    from airflow_dataflow.transfer.options import TransferOptions
    from airflow_dataflow.transfer.report import TransferReport


def transfer(arguments: Namespace, progress: Progress) -> Answer:
    """Copy versions to a tier, publish them to a URL, load one into a table, or copy files between URLs."""
    options = transfer_options(arguments)
    references = [Reference.looks_like(source) for source in arguments.source]
    if any(references) and not all(references):
        raise InvalidInputError(f"references and URLs cannot go together, got {', '.join(arguments.source)}")
    send = _send_versions if all(references) else _send_files
    with _control(arguments, options) as control:
        return Answer(send(arguments, options, control, progress).to_dict())


def transfer_options(arguments: Namespace) -> TransferOptions:
    """Return the options that the arguments say."""
    from airflow_dataflow.transfer.limits import bytes_of
    from airflow_dataflow.transfer.options import TransferOptions

    compress: Any = arguments.compress
    if compress.lstrip("-").isdecimal():
        compress = int(compress)
    return TransferOptions(
        verify=arguments.verify,
        compress=compress,
        pack=arguments.pack,
        mirror=arguments.mirror,
        most_removed_fraction=arguments.most_removed,
        skip=arguments.skip,
        dry_run=arguments.dry_run,
        bytes_per_second=None if arguments.limit is None else bytes_of(arguments.limit),
        parts_at_once=arguments.parts_at_once,
    )


def _send_versions(
    arguments: Namespace, options: TransferOptions, control: Control, progress: Progress
) -> TransferReport:
    from airflow_dataflow.transfer.load import LoadOptions, load_version
    from airflow_dataflow.transfer.publish import publish

    store, target = open_store(arguments), arguments.target
    references = [store.manifest(source).reference for source in arguments.source]
    if target in [tier.name for tier in store.tiers]:
        return _copy_versions(
            store, references, arguments=arguments, options=options, control=control, progress=progress
        )
    if (found := database(target)) is not None:
        if len(references) != 1:
            raise InvalidInputError(f"a table takes one version at a time, got {', '.join(references)}")
        how = LoadOptions(mode=arguments.mode, key=tuple(arguments.key))
        return load_version(store, references[0], *found, options=how, progress=progress)
    url, access = place(target)
    with _journal(arguments, references, options, control, store) as journal:
        return publish(
            store,
            references,
            url,
            storage_options=access,
            options=options,
            journal=journal,
            control=control,
            progress=progress,
        )


def _copy_versions(
    store: Store,
    references: Sequence[str],
    *,
    arguments: Namespace,
    options: TransferOptions,
    control: Control,
    progress: Progress,
) -> TransferReport:
    from airflow_dataflow.transfer.rebalance import copy_version
    from airflow_dataflow.transfer.report import TransferReport

    total = TransferReport()
    for reference in references:
        with _journal(arguments, [reference], options, control, store) as journal:
            total += copy_version(
                store,
                reference,
                arguments.target,
                options=options,
                journal=journal,
                control=control,
                progress=progress,
            )
    return total


def _send_files(arguments: Namespace, options: TransferOptions, control: Control, progress: Progress) -> TransferReport:
    from airflow_dataflow.transfer.copy import copy_path

    places, (target, access) = [place(source) for source in arguments.source], place(arguments.target)
    store = open_store(arguments) if has_store_file(arguments) else None
    with _journal(arguments, arguments.source, options, control, store) as journal:
        return copy_path(
            [url for url, _ in places] if len(places) > 1 else places[0][0],
            target,
            source_options=[source_access for _, source_access in places],
            target_options=access,
            options=options,
            journal=journal,
            control=control,
            progress=progress,
        )


# journal --------------------------------------------------------------------------------------


@contextmanager
def _journal(
    arguments: Namespace,
    sources: Sequence[str],
    options: TransferOptions,
    control: Control,
    store: Store | None,
) -> Iterator[Journal]:
    """Hold the journal: in the catalog of a store, else in a file of this user."""
    from airflow_dataflow.transfer.catalog_journal import CatalogJournal
    from airflow_dataflow.transfer.file_journal import FileJournal, journal_folder
    from airflow_dataflow.transfer.identity import transfer_id, without_password
    from airflow_dataflow.transfer.journal import NoJournal

    if options.dry_run:
        yield NoJournal()
        return
    named = [source if Reference.looks_like(source) else _absolute(source) for source in sources]
    target = without_password(_target(arguments, store))
    transfer = transfer_id(named, target, options)
    with (
        FileJournal(journal_folder(), transfer, target)
        if store is None
        else CatalogJournal(store.catalog, transfer, target, sleep=control.sleep)
    ) as journal:
        if not arguments.resume:
            from airflow_dataflow.transfer.abandoned import discard

            discard(journal, target, open_place)
        yield journal


def _target(arguments: Namespace, store: Store | None) -> str:
    """Return the URL of the target; a tier's is the one that the sweep opens with the tier's credentials."""
    if Reference.looks_like(arguments.source[0]) and store is not None:
        for tier in store.tiers:
            if tier.name == arguments.target:
                return tier.directory.url
    return _absolute(arguments.target)


def _absolute(url: str) -> str:
    if "://" in url:
        return url
    # Path forgets the last slash, which says that a file goes below the target and not to it.
    return str(Path(url).absolute()) + ("/" if url.endswith("/") else "")


def open_place(url: str) -> Directory:
    """Open a URL with the credentials that commands have for it."""
    from airflow_dataflow.storage.directory import Directory

    return Directory.from_url(*place(url))


# control --------------------------------------------------------------------------------------


@contextmanager
def _control(arguments: Namespace, options: TransferOptions) -> Iterator[Control]:
    """Steer a transfer by its arguments, and stop it at Ctrl-C before the command ends."""
    from airflow_dataflow.transfer.limits import Control

    limits = None if arguments.limits_file is None else limits_of_file(Path(arguments.limits_file))
    control = Control(limits, base=options.limits)
    if limits is not None:
        limits()  # a mistake in it is found before anything is sent
    if threading.current_thread() is not threading.main_thread():
        yield control
        return

    def interrupt(number: int, frame: Any) -> None:
        control.stop()
        signal.default_int_handler(number, frame)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield control
    finally:
        signal.signal(signal.SIGINT, before)


def limits_of_file(path: Path) -> Callable[[], Limits]:
    """Return a function that reads limits from a YAML or JSON file."""

    def read() -> Limits:
        import yaml

        from airflow_dataflow.transfer.limits import Limits

        try:
            return Limits.parse(yaml.safe_load(path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise InvalidInputError(f"limits file {str(path)!r} cannot be read: {error}") from error

    return read
