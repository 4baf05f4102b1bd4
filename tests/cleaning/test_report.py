"""The report is one safe page."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import polars as pl

from airflow_dataflow.cleaning.report import render
from airflow_dataflow.datasets.manifest import Rows

EVIL = "<script>alert('x')</script>&\"'"


class Page(HTMLParser):
    """Collects the text and checks that tags are closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.seen: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        if tag != "meta":
            self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.tags.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "


def test_it_says_what_was_rejected_and_learned(workshop: Any) -> None:
    rows = pl.DataFrame({"text": ["good text", None, "x", "x", "mail a@b.io"], "price": [1.0, 2.0, None, 4.0, 5.0]})
    rules = ["not_null", "mask_pii", {"text_length": {"min_chars": 2}}, {"impute": {"columns": ["price"]}}]
    cleaned = workshop.clean({"f": rows}, {"text": "text", "rules": rules})
    page = Page(cleaned.directory.read("report.html").decode())
    assert page.tags == []
    text = re.sub(r"\s+", " ", page.text)
    for expected in ("rows in 5 kept 2 in quarantine 3", "text_length text_too_short 2 40.0%", "email address 1"):
        assert expected in text
    assert "impute price 3" in text


def test_nothing_of_the_data_becomes_markup_and_nothing_is_loaded(workshop: Any) -> None:
    rows = pl.DataFrame({EVIL: ["a", None], "n": [1, 2]})
    rules = [{"not_null": {"columns": [EVIL]}}, {"impute": {"columns": ["n"], "strategy": "constant", "value": 7}}]
    cleaned = workshop.clean({"f": rows}, {"rules": rules})
    page = cleaned.directory.read("report.html").decode()
    assert "<script" not in page
    assert f"missing_{EVIL}" in Page(page).text
    assert not re.search(r"https?:|src=|href=|url\(|@import", page)


def test_a_report_without_rules_or_rows_is_whole() -> None:
    page = Page(render("nothing", Rows(), {"rules": [], "columns": {}}))
    assert page.tags == []
    assert "none" in page.text
