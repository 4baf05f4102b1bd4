"""What a night did, for a person: read from manifests, the catalog and Airflow, nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from airflow_dataflow.datasets.manifest import MANIFEST_NAME, Manifest
from airflow_dataflow.demo.watch import Run
from airflow_dataflow.storage.store import Store

_BAR_WIDTH = 30
_REPORTS = "report.html"


@dataclass(frozen=True)
class Night:
    """A run and the versions that it made, in the order of its tasks."""

    title: str
    run: Run
    versions: dict[str, Manifest]
    """Version by the task that made it."""
    gate: str
    """What the quality gate said."""

    def version(self, statistic: str) -> Manifest | None:
        """Return the version whose statistics have this entry, ``None`` when the run made none."""
        return next((version for version in self.versions.values() if statistic in version.statistics), None)

    @property
    def raw(self) -> Manifest | None:
        """The version that was made from files, not from another version."""
        return next((version for version in self.versions.values() if not version.parents), None)

    @property
    def evaluation(self) -> Manifest | None:
        """The version that judges the model."""
        return self.version("model")

    @property
    def data(self) -> dict[str, Manifest]:
        """The versions that were made file by file, and hand rows on to each other: raw, clean, features."""
        return {task: version for task, version in self.versions.items() if version.sources}

    @property
    def rows_in(self) -> int:
        """Rows that came in."""
        return next((version.rows_in for version in self.data.values()), 0)

    @property
    def rows_kept(self) -> int:
        """Rows that are left at the end."""
        return [0, *(version.rows_out for version in self.data.values())][-1]


def show_night(console: Console, store: Store, night: Night) -> None:
    """Print the report of a night."""
    console.print()
    console.rule(f"[bold]{escape(night.title)}[/]")
    for section in (_files, _rows, _columns, _features, _metrics):
        section(console, store, night)
    _places(console, store, night)
    _seconds(console, night.run)
    _links(console, store, night)


def _files(console: Console, store: Store, night: Night) -> None:  # noqa: ARG001 - all sections have one signature
    raw = night.raw
    if raw is None:
        return
    table = _table("files", "[r]bytes", "[r]rows", "[r]kept", "[r]bad rows", "")
    for source in raw.sources:
        if source.reason is not None:
            note = f"[red]refused:[/] {escape(source.reason)}"
        else:
            note = "[dim]known, not read again[/]" if source.carried_from else "[green]read[/]"
        counts = [f"{number:,}" for number in (source.bytes, source.rows_in, source.rows_out, source.rows_quarantined)]
        table.add_row(escape(source.path), *counts, note)
    console.print(table)


def _rows(console: Console, store: Store, night: Night) -> None:  # noqa: ARG001 - all sections have one signature
    """Print the sum that every row appears in: what came in, less each reason, is what was kept."""
    if not night.data:
        return
    table = _table("where the rows went", "[r]rows", "quarantined by")
    table.add_row("came in", f"{night.rows_in:,}", "")
    for task, version in night.data.items():
        for reason, count in sorted(version.quarantined_by_reason.items(), key=lambda item: -item[1]):
            table.add_row(f"  {escape(reason)}", f"- {count:,}", escape(task))
    table.add_row("[bold]kept[/]", f"[bold]= {night.rows_kept:,}[/]", "")
    console.print(table)


def _columns(console: Console, store: Store, night: Night) -> None:  # noqa: ARG001 - all sections have one signature
    """Print what cleaning found and changed in columns: masked personal data, missing and imputed values, outliers."""
    clean = night.version("rules")
    columns = {} if clean is None else clean.statistics.get("columns", {})
    found = [
        (name, ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in counts.items() if count))
        for name, counts in columns.items()
    ]
    table = _table("column", "what cleaning found (personal data is masked)")
    for name, words in found:
        if words:
            table.add_row(escape(name), words)
    if table.row_count:
        console.print(table)


def _features(console: Console, store: Store, night: Night) -> None:  # noqa: ARG001 - all sections have one signature
    version = night.version("features")
    if version is None:
        return
    names = version.statistics["features"]["columns"]
    split = version.statistics.get("rows_by_split", {})
    rows = ", ".join(f"{count:,} for {name}" for name, count in sorted(split.items(), key=lambda item: -item[1]))
    console.print(f"[bold]{len(names)} features[/] ({escape(', '.join(names))}); rows: {rows}\n")


def _metrics(console: Console, store: Store, night: Night) -> None:  # noqa: ARG001 - all sections have one signature
    evaluation = night.evaluation
    if evaluation is None:
        return
    report = evaluation.statistics.get("classification_report", {})
    if report:
        table = _table("class", "[r]precision", "[r]recall", "[r]F1", "", "[r]support")
        for name, scores in report["classes"].items():
            table.add_row(escape(name), *_scores(scores))
        table.add_section()
        for name in ("macro", "weighted"):
            table.add_row(f"[bold]{name} average[/]", *_scores(report[name]))
        console.print(table)
    metrics = ", ".join(f"[bold]{name} {value:.4f}[/]" for name, value in main_metrics(evaluation).items())
    console.print(f"on {evaluation.rows_in:,} test rows: {metrics}")
    console.print(f"gate: {escape(night.gate)}\n")


def _scores(scores: dict[str, Any]) -> list[str]:
    numbers = [f"{scores[name]:.3f}" for name in ("precision", "recall", "f1")]
    return [*numbers, _bar(scores["f1"], 1.0, 12), f"{scores.get('support', ''):,}"]


def _places(console: Console, store: Store, night: Night) -> None:
    """Print where every version of the night's datasets lies now, the earlier ones included."""
    table = _table("dataset", "version", "[r]bytes", "lies on", "published to")
    for dataset in dict.fromkeys(version.dataset for version in night.versions.values()):
        for version in store.catalog.manifests(dataset):
            replicas = store.catalog.replicas(version.dataset, version.version)
            tiers = ", ".join(replica.tier for replica in replicas if replica.tier is not None)
            targets = ", ".join(_base(replica.url, version) for replica in replicas if replica.tier is None)
            table.add_row(dataset, version.version, f"{version.total_bytes:,}", tiers, f"[green]{escape(targets)}[/]")
    console.print(table)
    for tier in store.tiers:
        console.print(f"tier {tier.name}: {tier.directory.url}/<dataset>/<version>", soft_wrap=True)
    console.print()


def _base(url: str, version: Manifest) -> str:
    return url.removesuffix(f"/{version.dataset}/{version.version}")


def _seconds(console: Console, run: Run) -> None:
    table = _table("task", "[r]seconds", "")
    longest = max((run.task_seconds(task.task_id) for task in run.tasks), default=0.0)
    for task in run.tasks:
        seconds = run.task_seconds(task.task_id)
        table.add_row(escape(task.task_id), f"{seconds:.1f}", _bar(seconds, longest, _BAR_WIDTH))
    table.add_row("[bold]the whole run[/]", f"[bold]{run.seconds:.1f}[/]", "")
    console.print(table)


def _links(console: Console, store: Store, night: Night) -> None:
    for version in night.versions.values():
        if any(entry.path == _REPORTS for entry in version.files):
            console.print(f"report of {version.reference}: {store.directory(version).url}/{_REPORTS}", soft_wrap=True)


def show_comparison(console: Console, first: Night, second: Night) -> None:
    """Print what the second night read and what it took over from the first."""
    console.print()
    console.rule("[bold]What the second night did not do again[/]")
    table = _table(
        "stage", "[r]files read", "[r]files taken over", "[r]rows of the files read", "[r]rows in the version"
    )
    for task, version in second.data.items():
        read = [source for source in version.sources if source.carried_from is None]
        new_rows = sum(source.rows_in for source in read)
        counts = (len(read), len(version.sources) - len(read), new_rows, version.rows_out)
        table.add_row(escape(task), *(f"{count:,}" for count in counts))
    console.print(table)
    table = _table("", f"[r]{first.title}", f"[r]{second.title}")
    for name, value in _key_figures(first).items():
        table.add_row(name, value, _key_figures(second).get(name, ""))
    console.print(table)


def show_tiers(console: Console, store: Store) -> None:
    """Print what lies on each tier, as the tiers themselves tell it."""
    console.print()
    console.rule("[bold]What lies where[/]")
    table = _table("tier", "place", "[r]versions", "[r]files", "[r]bytes", "")
    held = [(tier, tier.directory.files()) for tier in store.tiers]
    most = max(sum(files.values()) for _, files in held)
    for tier, files in held:
        versions = sum(path.rpartition("/")[2] == MANIFEST_NAME for path in files)
        total = sum(files.values())
        counts = (f"{versions:,}", f"{len(files):,}", f"{total:,}")
        table.add_row(tier.name, escape(tier.directory.url), *counts, _bar(total, most, _BAR_WIDTH))
    console.print(table)


def _key_figures(night: Night) -> dict[str, str]:
    figures = {
        "rows in": f"{night.rows_in:,}",
        "rows kept": f"{night.rows_kept:,}",
        "rows quarantined": f"{sum(version.rows_quarantined for version in night.data.values()):,}",
    }
    evaluation = night.evaluation
    for name, value in {} if evaluation is None else main_metrics(evaluation).items():
        figures[name] = f"{value:.4f}"
    figures["seconds"] = f"{night.run.seconds:.1f}"
    return figures


def main_metrics(version: Manifest) -> dict[str, float]:
    """Return a version's metrics without those that a person needs only when these surprise.

    The micro averages of a classification equal its accuracy.
    """
    metrics: dict[str, float] = version.statistics.get("metrics", {})
    return {
        name: value
        for name, value in metrics.items()
        if not name.startswith("micro_") and not name.endswith(("_precision", "_recall"))
    }


def _bar(value: float, most: float, width: int) -> str:
    length = round(width * value / most) if most else 0
    return f"[cyan]{'█' * length}[/][dim]{'·' * (width - length)}[/]"


def _table(*columns: str) -> Table:
    """Return a table; a column whose name begins with ``[r]`` holds numbers."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="dim")
    for name in columns:
        table.add_column(
            name.removeprefix("[r]"), justify="right" if name.startswith("[r]") else "left", overflow="fold"
        )
    return table
