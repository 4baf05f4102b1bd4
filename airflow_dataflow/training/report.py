"""The report of an evaluation: one page of HTML without anything from elsewhere, so that it opens years later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

_TEMPLATE = Path(__file__).with_name("report.html.jinja")
_SHOWN_CONFUSIONS = 15


@dataclass(frozen=True)
class _Cell:
    row: int
    column: int
    label: str
    prediction: str
    rows: int
    share: float


def render_report(
    *,
    evaluation: str,
    model: str,
    recipe: Mapping[str, Any],
    rows: int,
    metrics: Mapping[str, float],
    report: Mapping[str, Any],
    confusion: pl.DataFrame | None,
) -> str:
    """Return the page.

    :param evaluation: reference of the version that the page belongs to.
    :param model: reference of the model.
    :param recipe: trainer and parameters of the model.
    :param rows: number of rows that were judged.
    :param metrics: single numbers by name.
    :param report: scores per class, and averages; those of a regression are not looked at.
    :param confusion: rows by label and prediction; ``None`` for a regression.
    """
    # Only a report needs it.
    from jinja2 import Environment

    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        _TEMPLATE.read_text(encoding="utf-8")
    )
    classes = report.get("classes", {})
    cells = [] if confusion is None else _cells(confusion, list(classes))
    wrong = sorted((cell for cell in cells if cell.row != cell.column), key=lambda cell: -cell.rows)
    return template.render(
        evaluation=evaluation,
        model=model,
        trainer=recipe.get("trainer", ""),
        parameters=recipe.get("parameters", {}),
        rows=rows,
        metrics=metrics,
        classes=sorted(classes.items(), key=lambda item: (item[1]["f1"], item[0])),
        averages={name: report[name] for name in ("micro", "macro", "weighted") if name in report},
        names=list(classes),
        cells=cells,
        confusions=wrong[:_SHOWN_CONFUSIONS],
    )


def _cells(confusion: pl.DataFrame, names: Sequence[str]) -> list[_Cell]:
    place = {name: number for number, name in enumerate(names)}
    rows = confusion.with_columns((pl.col("rows") / pl.col("rows").sum().over("label")).alias("share"))
    return [
        _Cell(place[label], place[prediction], label, prediction, count, share)
        for label, prediction, count, share in rows.iter_rows()
    ]
