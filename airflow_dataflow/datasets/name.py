"""Names of datasets and references to their versions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from airflow_dataflow.errors import InvalidInputError

_PART = r"[a-z0-9][a-z0-9_-]*"
_NAME = re.compile(rf"{_PART}(/{_PART})*")
_VERSION = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{6}")
_SELECTOR = re.compile(r"latest(~(?P<back>[0-9]{1,9}))?")
_LONGEST_NAME = 200


def check_dataset_name(name: str) -> str:
    """Return ``name`` when it is a valid dataset name.

    :param name: parts of lower-case letters, digits, ``_`` and ``-``, joined by ``/``, e.g. ``support/dialogs``.
    :raises InvalidInputError: when it is not; nothing outside a dataset's folder can be named.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"invalid dataset name {name!r}: use lower-case letters, digits, '_' and '-', in parts joined by '/', "
            "each starting with a letter or digit, e.g. 'support/dialogs'"
        )
    if len(name) > _LONGEST_NAME:
        raise InvalidInputError(f"invalid dataset name {name[:40]!r}…: {len(name)} characters, {_LONGEST_NAME} at most")
    if any(_VERSION.fullmatch(part.replace("t", "T").replace("z", "Z")) for part in name.split("/")):
        raise InvalidInputError(f"invalid dataset name {name!r}: a part looks like a version id")
    return name


def is_dataset_name(text: str) -> bool:
    """Tell whether ``text`` has the form of a dataset name."""
    return _NAME.fullmatch(text) is not None


def check_version_id(version: str) -> str:
    """Return ``version`` when it is a valid version id such as ``20261123T021500Z-4f2a9c``.

    :raises InvalidInputError: when it is not.
    """
    if not is_version_id(version):
        raise InvalidInputError(f"invalid version id {version!r}: expected something like '20261123T021500Z-4f2a9c'")
    return version


def is_version_id(text: str) -> bool:
    """Tell whether ``text`` has the form of a version id, and names a moment that was or will be."""
    if _VERSION.fullmatch(text) is None:
        return False
    try:
        datetime.strptime(text[:16], "%Y%m%dT%H%M%S%z")
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class Reference:
    """A version of a dataset, fixed (``name@20261123T021500Z-4f2a9c``) or relative (``name@latest~1``)."""

    dataset: str
    """Name of the dataset."""
    version: str | None = None
    """Version id of a fixed reference, ``None`` for a relative one."""
    back: int = 0
    """How many versions before the latest; 0 is the latest. Ignored for a fixed reference."""

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read ``name``, ``name@latest``, ``name@latest~N`` or ``name@<version id>``.

        :raises InvalidInputError: when ``text`` is none of these.
        """
        name, _, selector = text.partition("@")
        check_dataset_name(name)
        if not selector:
            if text.endswith("@"):
                raise InvalidInputError(f"invalid reference {text!r}: nothing after '@'")
            return cls(name)
        relative = _SELECTOR.fullmatch(selector)
        if relative:
            return cls(name, back=int(relative["back"] or 0))
        if is_version_id(selector):
            return cls(name, version=selector)
        raise InvalidInputError(
            f"invalid reference {text!r}: after '@' comes 'latest', 'latest~1' or a version id "
            "such as '20261123T021500Z-4f2a9c'"
        )

    @staticmethod
    def looks_like(text: str) -> bool:
        """Tell whether ``text`` has the form ``name@…``; a URL or a path with ``://`` or a leading ``/`` has not."""
        name, at, _ = text.partition("@")
        return bool(at) and is_dataset_name(name)

    def __str__(self) -> str:
        if self.version is not None:
            return f"{self.dataset}@{self.version}"
        return f"{self.dataset}@latest~{self.back}" if self.back else f"{self.dataset}@latest"
