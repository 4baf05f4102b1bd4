"""Storage policies and classes: on which kind of disk, or in which price class, files lie."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from airflow_dataflow.errors import NotFoundError
from airflow_dataflow.storage.backends import errors_explained

if TYPE_CHECKING:
    from airflow_dataflow.storage.directory import Directory
    from airflow_dataflow.storage.store import Store


@dataclass(frozen=True, kw_only=True)
class PolicyReport:
    """What became of a file or folder."""

    url: str
    """The file or folder."""
    policy: str
    """Name of the policy or storage class that it has now."""
    files_changed: int
    """Files that had another one before."""
    moving: bool
    """Whether their bytes move to where the policy wants them; ``False`` where somebody else has to see to it, such as
    the Mover of an HDFS cluster, or where nobody asked for it."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


def set_storage_policy(place: Directory, policy: str, *, satisfy: bool = True) -> PolicyReport:
    """Give a file, or a folder with all in it, a storage policy or class; doing it again changes nothing.

    :param place: the file or folder.
    :param policy: by the store's own name, e.g. HDFS's ``COLD`` or S3's ``STANDARD_IA``.
    :param satisfy: ask the store to move the bytes, where that is a request of its own.
    :raises NotFoundError: when nothing is there.
    :raises InvalidInputError: when the store has no such policy.
    :raises UnsupportedError: when it has no policies at all.
    """
    backend = place.backend
    with errors_explained("the storage policy", backend, place.root):
        try:
            changed = backend.set_storage_class(place.root, policy)
            moving = satisfy and backend.satisfy(place.root)
        except FileNotFoundError as error:
            raise NotFoundError(f"nothing at {place.url} that could have a storage policy") from error
    return PolicyReport(url=place.url, policy=policy, files_changed=changed, moving=moving)


def set_version_policy(
    store: Store, reference: str, policy: str, *, tier: str | None = None, satisfy: bool = True
) -> PolicyReport:
    """Give the files of a version on a tier a storage policy or class.

    :param reference: the version, e.g. ``support/dialogs@latest~1``.
    :param tier: name of the tier; the nearest that holds the version when ``None``.
    """
    manifest = store.manifest(reference)
    if tier is None:
        place = store.directory(manifest)
    else:
        place = store.place(store.tier(tier), manifest.dataset, manifest.version)
    return set_storage_policy(place, policy, satisfy=satisfy)
