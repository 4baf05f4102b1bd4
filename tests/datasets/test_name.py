"""Names of datasets, version ids and references."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_dataflow.datasets.name import Reference, check_dataset_name, check_version_id, is_version_id
from airflow_dataflow.errors import InvalidInputError

VERSION = "20261123T021500Z-4f2a9c"
NAMES = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}(/[a-z0-9][a-z0-9_-]{0,20}){0,3}", fullmatch=True).filter(
    lambda name: not any(is_version_id(part.replace("t", "T").replace("z", "Z")) for part in name.split("/"))
)
MOMENTS = st.integers(0, 10**11).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
VERSIONS = st.builds("{:%Y%m%dT%H%M%SZ}-{:06x}".format, MOMENTS, st.integers(0, 0xFFFFFF))


@given(NAMES)
@example("support/dialogs")
@example("a")
@example("0/1/2")
@example("x" * 200)
def test_lower_case_parts_joined_by_slashes_are_a_name(name: str) -> None:
    assert check_dataset_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "", "/", "a/", "/a", "a//b", "A", "a b", ".", "..", "a/..", "../a", "_a", "-a", "a\n", "a\0b", "é", "a@b",
        "a\\b", "٣", "file:///a", "x" * 201, "20261123t021500z-4f2a9c", "a/20261123t021500z-4f2a9c/b",
    ],
)  # fmt: skip
def test_anything_else_is_no_name(name: str) -> None:
    with pytest.raises(InvalidInputError, match="invalid dataset name"):
        check_dataset_name(name)


@pytest.mark.parametrize(
    "version",
    [
        "", "latest", VERSION + "\n", VERSION.lower(), "20261123T021500Z-4F2A9C", "20261123T021500Z-4f2a9",
        "../" + VERSION, "20261323T021500Z-4f2a9c", "20260230T021500Z-4f2a9c",
        "20261123T251500Z-4f2a9c", "\u0662\u0660261123T021500Z-4f2a9c",
    ],
)  # fmt: skip
def test_only_a_moment_with_six_digits_is_a_version_id(version: str) -> None:
    assert not is_version_id(version)
    with pytest.raises(InvalidInputError, match="invalid version id"):
        check_version_id(version)
    assert check_version_id(VERSION) == VERSION


@given(NAMES, VERSIONS | st.none(), st.integers(0, 10**8))
def test_a_reference_is_read_as_it_was_printed(name: str, version: str | None, back: int) -> None:
    reference = Reference(name, version=version, back=0 if version else back)
    assert Reference.parse(str(reference)) == reference
    assert Reference.looks_like(str(reference))


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("a/b", Reference("a/b")),
        ("a/b@latest", Reference("a/b")),
        ("a/b@latest~0", Reference("a/b")),
        ("a/b@latest~12", Reference("a/b", back=12)),
        (f"a/b@{VERSION}", Reference("a/b", version=VERSION)),
    ],
)
def test_a_reference_is_fixed_or_counts_back_from_the_latest(text: str, reference: Reference) -> None:
    assert Reference.parse(text) == reference


@pytest.mark.parametrize(
    "text",
    ["", "@", "@latest", "a@", "a@newest", "a@latest~", "a@latest~-1", "a@latest~1x", "a@latest~²", "a@@latest",
     "a@latest@latest", f"a@{VERSION}~1", "../a@latest", "a@latest~99999999999999999999"],
)  # fmt: skip
def test_anything_else_is_no_reference(text: str) -> None:
    with pytest.raises(InvalidInputError, match="invalid"):
        Reference.parse(text)


@given(st.text())
def test_any_text_is_a_reference_or_a_clear_error(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except InvalidInputError:
        return
    assert Reference.parse(str(reference)) == reference


@pytest.mark.parametrize("text", ["a/b", "/a@b", "s3://bucket/a@latest", "./a@latest", "a b@latest", "A@latest"])
def test_what_could_be_a_path_does_not_look_like_a_reference(text: str) -> None:
    assert not Reference.looks_like(text)
