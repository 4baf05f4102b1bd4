"""The page of an evaluation."""

from __future__ import annotations

from html.parser import HTMLParser

import polars as pl

from airflow_dataflow.training.evaluate import evaluate_predictions
from airflow_dataflow.training.report import render_report

VOID = {"meta", "rect"}


class Page(HTMLParser):
    """Collects tags, and the text of cells and of squares."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.texts.append(data.strip())


def _page(pairs, classes):
    predictions = pl.DataFrame(pairs, schema=["label", "prediction"], orient="row")
    evaluation = evaluate_predictions(predictions, classes)
    return render_report(
        evaluation="support/evaluation@20261123T021500Z-123456",
        model="support/model@20261123T021500Z-abcdef",
        recipe={"trainer": "logistic_regression", "parameters": {"regularisation": 0.01}},
        rows=len(pairs),
        metrics=evaluation.metrics,
        report=evaluation.report,
        confusion=evaluation.confusion,
    )


def test_names_from_the_data_cannot_become_markup():
    page = _page([("<script>alert(1)</script>", "<b>&"), ("<b>&", "<b>&")], ["<b>&"])
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "<b>" not in page


def test_a_page_needs_nothing_from_elsewhere_and_runs_nothing():
    page = Page(_page([("a", "b"), ("b", "b")], ["a", "b"]))
    assert page.links == []
    assert "script" not in page.tags
    assert "url(" not in "".join(page.texts)


def test_many_classes_have_a_line_each_and_the_matrix_a_square_per_pair():
    names = [f"class_{number:02}" for number in range(77)]
    pairs = [(name, name) for name in names] * 3 + [(names[0], names[1])] * 2
    text = _page(pairs, names)
    page = Page(text)
    assert all(name in page.texts for name in names)
    assert page.tags.count("rect") == 78
    assert f"{names[0]} predicted as {names[1]}: 2 rows" in page.texts
    assert len(text) < 100_000
    assert text.index("class_00</td>") < text.index("class_40</td>")  # the hardest come first


def test_perfect_predictions_are_said_to_be_so():
    assert "every prediction is right" in _page([("a", "a"), ("b", "b")], ["a", "b"])


def test_a_regression_shows_its_errors_alone():
    page = _page([(1.0, 1.5), (2.0, 2.5)], None)
    assert "rmse" in page
    assert "0.5" in page
    assert "Confusion" not in page
