"""Checksums of stores: the published check values, in any cut of the bytes."""

from __future__ import annotations

import hashlib
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_dataflow.errors import MissingPackageError
from airflow_dataflow.storage import checksums
from airflow_dataflow.storage.checksums import checker, crc32c, crc64ecma, md5_of_parts

CHECK = b"123456789"
# https://reveng.sourceforge.io/crc-catalogue/all.htm gives what each CRC makes of the digits.
KNOWN = [
    "md5:25f9e794323b453885f5181f1b624d0b",
    "crc32:cbf43926",
    "crc32c:e3069283",
    "crc64nvme:ae8b14860a799888",
    "crc64ecma:995dc9bbdf1939fa",
]


@pytest.mark.parametrize("checksum", KNOWN)
def test_the_published_check_values_match_and_nothing_else_does(checksum: str) -> None:
    for data, equal in ((CHECK, True), (b"123456788", False), (b"", False)):
        made = checker(checksum)
        assert made is not None
        made.update(memoryview(data))
        assert made.matches() is equal


@given(st.binary(max_size=200), st.lists(st.integers(1, 50)), st.integers(1, 60))
def test_how_the_bytes_are_cut_makes_no_difference(data: bytes, cuts: list[int], part: int) -> None:
    digests = [hashlib.md5(data[start : start + part]).digest() for start in range(0, len(data), part)]
    whole = [f"md5:{hashlib.md5(data).hexdigest()}", f"crc32c:{crc32c(data):08x}", f"crc64ecma:{crc64ecma(data):016x}"]
    for checksum in [*whole, *([f"md5-parts:{md5_of_parts(digests)}:{part}"] if data else [])]:
        made, rest = checker(checksum), data
        assert made is not None
        for cut in cuts:
            made.update(rest[:cut])
            rest = rest[cut:]
        made.update(rest)
        assert made.matches()
        assert made.matches(), "asking changes nothing"
        made.update(b"x")
        assert not made.matches()


@given(st.binary(min_size=1, max_size=200), st.integers(1, 60), st.integers(1, 40), st.booleans())
def test_what_is_done_ahead_changes_nothing(data: bytes, cut: int, part: int, damaged: bool) -> None:
    digests = [hashlib.md5(data[start : start + part]).digest() for start in range(0, len(data), part)]
    made = checker(f"md5-parts:{md5_of_parts(digests)}:{part}")
    assert made is not None
    pieces = {start: data[start : start + cut] for start in range(0, len(data), cut)}
    for start in sorted(pieces, reverse=True):
        made.ahead(start, pieces[start])
    if damaged:
        pieces[0] = bytes([pieces[0][0] ^ 1]) + pieces[0][1:]
    for piece in pieces.values():
        made.update(piece)
    assert made.matches() is not damaged


@pytest.mark.parametrize(
    "checksum", [None, "", "md5:", "md5:x", f"md5:{'0' * 33}", "crc32:1", "sha1:00", "md5-parts:" + "0" * 32, "ETag:1"]
)
def test_a_checksum_of_another_kind_compares_nothing(checksum: str | None) -> None:
    assert checker(checksum) is None


def test_a_checksum_whose_package_is_missing_compares_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    checksums._crc.cache_clear()
    monkeypatch.setitem(sys.modules, "google_crc32c", None)
    assert checker("crc32c:e3069283") is None
    with pytest.raises(MissingPackageError, match="crc32c need a package"):
        crc32c(b"")
    checksums._crc.cache_clear()
