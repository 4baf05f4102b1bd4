"""Personal data in texts is replaced by tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_dataflow.cleaning.rules.mask_pii import MaskPii, passes_luhn

EMAIL, CARD, ADDRESS, PHONE = "<EMAIL_ADDRESS>", "<CREDIT_CARD>", "<IP_ADDRESS>", "<PHONE_NUMBER>"


def masked(text: str | None) -> str | None:
    """Return a text after masking."""
    rows, _ = MaskPii(columns=("text",)).edit(pl.DataFrame({"text": pl.Series([text], dtype=pl.String)}), {})
    return rows["text"][0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to jane.doe+lists@mail.example.co.uk.", f"write to {EMAIL}."),
        ("(a@b.io)", f"({EMAIL})"),
        ("jörg@exämple.org; jane@x.museum", f"{EMAIL}; {EMAIL}"),
        ("@handle and a@b and x @ y.org", "@handle and a@b and x @ y.org"),
        ("pay 4111 1111 1111 1111 now", f"pay {CARD} now"),
        ("4111-1111-1111-1111", CARD),
        ("4111111111111111, 378282246310005", f"{CARD}, {CARD}"),
        ("amex 3782 822463 10005", f"amex {CARD}"),
        ("in 2024 4111 1111 1111 1111 123", f"in 2024 {CARD} 123"),
        ("22 4111 1111 1111 1111 12/27", f"22 {CARD} 12/27"),
        ("4111 1111 1111 1112", "4111 1111 1111 1112"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("from 192.168.0.1 and 255.255.255.255:80", f"from {ADDRESS} and {ADDRESS}:80"),
        ("256.1.1.1 or 1.2.3", "256.1.1.1 or 1.2.3"),
        ("2001:db8:85a3:0:0:8a2e:370:7334", ADDRESS),
        ("[2001:db8::8a2e:370:7334]:443", f"[{ADDRESS}]:443"),
        ("fe80::1 fd00::2:3", f"{ADDRESS} {ADDRESS}"),
        ("std::vector a::b 12:30:45 ::", "std::vector a::b 12:30:45 ::"),
        ("+49 30 1234567 or +1 (555) 123-4567", f"{PHONE} or {PHONE}"),
        ("555-123-4567, (555) 123-4567, 555.123.4567", f"{PHONE}, {PHONE}, {PHONE}"),
        ("030 1234567 and 020 7946 0958", f"{PHONE} and {PHONE}"),
        ("on 2026-11-23 at 10 000 000 for 1,234.56", "on 2026-11-23 at 10 000 000 for 1,234.56"),
        ("٠٣٠ ١٢٣٤٥٦٧", "٠٣٠ ١٢٣٤٥٦٧"),
        ("null\x00byte a@b.io 👍", f"null\x00byte {EMAIL} 👍"),
        ("", ""),
        (None, None),
    ],
)
def test_what_has_the_form_of_personal_data_is_replaced(text: str | None, expected: str | None) -> None:
    assert masked(text) == expected


def test_what_was_masked_is_counted_by_kind_and_column() -> None:
    rows = pl.DataFrame({"a": ["x@y.org, z@y.org", None, "1.2.3.4"], "b": ["x@y.org", "", "4111111111111111"]})
    _, counts = MaskPii(columns=("a", "b")).edit(rows, {})
    assert {key: count for key, count in counts.items() if count} == {
        ("email_address", "a"): 2,
        ("ip_address", "a"): 1,
        ("email_address", "b"): 1,
        ("credit_card", "b"): 1,
    }


def test_only_the_chosen_kinds_are_masked(build: Callable[..., Any]) -> None:
    rows = pl.DataFrame({"text": ["a@b.io 1.2.3.4"]})
    assert build("mask_pii", kinds=["ip_address"]).edit(rows, {})[0]["text"].to_list() == [f"a@b.io {ADDRESS}"]


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.text(alphabet="0123456789 .-+()@:/abcfz<>é", max_size=12),
            st.sampled_from(["4111 1111 1111 1111", "jane@example.org", "10.0.0.1", "fe80::1", "+49 30 1234567"]),
        ),
        max_size=6,
    ).map("".join)
)
def test_masking_again_changes_nothing(text: str) -> None:
    once = masked(text)
    assert masked(once) == once


@pytest.mark.parametrize(
    ("number", "valid"), [("4111111111111111", True), ("79927398713", True), ("79927398710", False), ("0", True)]
)
def test_the_luhn_check(number: str, valid: bool) -> None:
    assert passes_luhn(number) is valid


@settings(deadline=None)
@given(st.integers(min_value=10**12, max_value=10**19 - 1), st.data())
def test_the_luhn_check_finds_every_wrong_digit(number: int, data: st.DataObject) -> None:
    digits = str(number)[:-1]
    valid = next(digits + str(last) for last in range(10) if passes_luhn(digits + str(last)))
    place = data.draw(st.integers(0, len(valid) - 1))
    wrong = data.draw(st.sampled_from([digit for digit in "0123456789" if digit != valid[place]]))
    assert not passes_luhn(valid[:place] + wrong + valid[place + 1 :])


def test_the_quarantine_is_masked_too(workshop: Any) -> None:
    rows = pl.DataFrame({"text": ["a@b.io", "long enough to stay: c@d.io"]})
    rules = [{"text_length": {"min_chars": 10}}, "mask_pii"]
    cleaned = workshop.clean({"f": rows}, {"text": "text", "rules": rules})
    assert cleaned.data["text"].to_list() == [f"long enough to stay: {EMAIL}"]
    assert cleaned.rows("quarantine")["text"].to_list() == [EMAIL]
    assert cleaned.manifest.statistics["columns"]["text"]["email_address"] == 1


def test_later_rules_see_the_masked_text(workshop: Any) -> None:
    rows = pl.DataFrame({"text": ["mail a@b.io", "mail c@d.io"]})
    cleaned = workshop.clean({"f": rows}, {"text": "text", "rules": ["mask_pii", "exact_duplicates"]})
    assert cleaned.reasons == {"f:2": "exact_duplicate"}
