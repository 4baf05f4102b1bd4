"""Replace personal data in texts by tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import polars as pl

from airflow_dataflow.cleaning.rule import ColumnsRule, Content, Counts, State
from airflow_dataflow.recipe import Recipe

Kind = Literal["email_address", "credit_card", "ip_address", "phone_number"]

_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_HEX = r"[0-9a-fA-F]{1,4}"
# Addresses of the internet (2000::/3), of private networks (fc00::/7) and of links (fe80::/10). Any other text with
# colons, such as std::vector or a time, is none.
_IPV6_START = r"(?:[23][0-9a-fA-F]{3}|[fF][cCdD][0-9a-fA-F]{2}|[fF][eE][89abAB][0-9a-fA-F])"
_IPV6 = rf"{_IPV6_START}(?:(?::{_HEX}){{7}}\b|(?::{_HEX}){{0,6}}::(?:{_HEX}(?::{_HEX}){{0,5}}\b)?)"

# The syntax is that of Rust's regular expressions; the one for cards is also one of Python's.
PATTERNS: dict[Kind, str] = {
    "email_address": r"[\p{L}\p{N}._%+-]+@(?:[\p{L}\p{N}-]+\.)+\p{L}{2,}",
    "credit_card": r"\b(?:[2-6][0-9]{12,18}|[2-6][0-9]{3}(?:[ -][0-9]{4}){3}|3[0-9]{3}[ -][0-9]{6}[ -][0-9]{4,5})\b",
    "ip_address": rf"\b(?:{_OCTET}\.){{3}}{_OCTET}\b|\b{_IPV6}",
    # With a country code; in North America; with a trunk prefix 0.
    "phone_number": r"\+[1-9](?:[ ().-]{0,2}[0-9]){7,14}\b"
    r"|(?:\([0-9]{3}\) ?|\b[0-9]{3}[ .-])[0-9]{3}[ .-][0-9]{4}\b"
    r"|\b0[0-9]{2,4}[ /-][0-9]{3,4}[ -]?[0-9]{3,5}\b",
}
_CARD = re.compile(PATTERNS["credit_card"])


@dataclass(frozen=True, kw_only=True)
class MaskPii(ColumnsRule):
    """Replace e-mail addresses, card numbers, IP addresses and phone numbers by tokens such as ``<EMAIL_ADDRESS>``.

    A card number is 13 to 19 digits, written together or in the usual groups, that pass the Luhn check of
    ISO/IEC 7812-1; a phone number has a country code, the North American form or a trunk prefix. The quarantine is
    masked as well. Patterns find what has a form; names of people have none.
    """

    edits_quarantine: ClassVar[bool] = True

    kinds: tuple[Kind, ...] = get_args(Kind)
    """What to mask, in this order."""

    @property
    def edits(self) -> tuple[str, ...]:
        """The columns."""
        return self.columns

    @property
    def content(self) -> Content:
        """Text."""
        return "text"

    def default_columns(self, recipe: Recipe) -> tuple[str, ...]:
        """Return the recipe's text."""
        return (recipe.text,) if recipe.text else ()

    def edit(self, rows: pl.DataFrame, state: State) -> tuple[pl.DataFrame, Counts]:  # noqa: ARG002 - nothing is fitted
        """Mask, and count what was masked."""
        counts: Counts = {}
        for column in self.columns:
            if rows.schema[column] != pl.String:
                continue
            texts = rows[column]
            for kind in self.kinds:
                texts, counts[kind, column] = _masked(texts, kind)
            rows = rows.with_columns(texts)
        return rows, counts


def _masked(texts: pl.Series, kind: Kind) -> tuple[pl.Series, int]:
    pattern, token = PATTERNS[kind], f"<{kind.upper()}>"
    where = texts.str.contains(pattern).arg_true()
    if not len(where):
        return texts, 0
    found = texts.gather(where)
    if kind == "credit_card":
        cards = [_without_cards(text, token) for text in found]
        masked, count = pl.Series([text for text, _ in cards]), sum(count for _, count in cards)
    else:
        masked, count = found.str.replace_all(pattern, token), int(found.str.count_matches(pattern).sum())
    return texts.clone().scatter(where, masked), count


def _without_cards(text: str, token: str) -> tuple[str, int]:
    parts, kept, position = [], 0, 0
    while match := _CARD.search(text, position):
        if passes_luhn(match[0]):
            parts += [text[kept : match.start()], token]
            kept = position = match.end()
        else:
            # The number before a card may look like its first group.
            position = match.start() + 1
    return "".join([*parts, text[kept:]]), len(parts) // 2


def passes_luhn(number: str) -> bool:
    """Tell whether the digits of ``number`` pass the Luhn check, which finds single wrong digits."""
    digits = [int(character) for character in number if character.isdigit()]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
