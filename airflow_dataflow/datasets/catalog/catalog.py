"""Reading and writing the catalog."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence, Set
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from airflow_dataflow.datasets.catalog.database import Database
from airflow_dataflow.datasets.catalog.reads import Purpose, Read
from airflow_dataflow.datasets.catalog.rows import (
    Holding,
    Replica,
    is_version,
    manifests_from,
    now,
    parts_of,
    put,
    put_manifest,
    put_replica,
    read_from,
    read_rows,
    replica_from,
)
from airflow_dataflow.datasets.catalog.tables import reads, replicas, versions
from airflow_dataflow.datasets.manifest import Manifest
from airflow_dataflow.datasets.name import Reference
from airflow_dataflow.errors import NotFoundError, did_you_mean

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine

__all__ = ["Catalog", "Holding", "Replica"]

_SHOWN = 3


class Catalog:
    """The database that lists versions and replicas, and who reads them.

    An empty database gets its tables at the first use; one of an older release is refused until
    :meth:`upgrade` (``dataflow catalog upgrade``) has run. Several processes may write at once; each method is one
    transaction.

    :param url: SQLAlchemy URL, e.g. ``sqlite:////data/catalog.db`` or ``postgresql+psycopg://user@host/db``.
    :raises InvalidInputError: when it is none.
    """

    def __init__(self, url: str | sa.URL) -> None:
        self.database = Database(url)

    @property
    def engine(self) -> Engine:
        """The engine, with the tables in place."""
        self.database.transact(lambda _connection: None)
        return self.database.engine

    def upgrade(self) -> str:
        """Bring the tables to this release's schema and return its revision."""
        return self.database.upgrade()

    def release(self) -> None:
        """Close connections that nobody uses at the moment; call it before long work."""
        self.database.release()

    # versions ---------------------------------------------------------------------------------

    def add(self, manifest: Manifest, replica: Replica) -> None:
        """Record a version and a copy of it; what was recorded of them before is replaced."""
        self.add_all([(manifest, replica)])

    def add_all(self, found: Iterable[tuple[Manifest, Replica]]) -> None:
        """Record several versions with a copy each, all or none."""
        # All writers take rows in one order, so that none waits for another that waits for it.
        ordered = sorted(found, key=lambda item: (item[1].dataset, item[1].version, item[1].location))

        def work(connection: Connection) -> None:
            for manifest, replica in ordered:
                put_manifest(connection, manifest)
                put_replica(connection, replica)

        self.database.transact(work)

    def manifests(self, dataset: str) -> list[Manifest]:
        """Return the manifests of a dataset's versions, newest first."""
        return self._manifests(sa.select(versions).where(versions.c.dataset == dataset))

    def newest(self, dataset: str, *, besides: str | None = None) -> Manifest | None:
        """Return the newest version of a dataset, ``None`` when there is none.

        :param besides: fingerprint of work whose version does not count.
        """
        statement = sa.select(versions).where(versions.c.dataset == dataset)
        if besides is not None:
            statement = statement.where(versions.c.fingerprint != besides)
        return self._newest(statement)

    def references(self, dataset: str | None = None) -> list[str]:
        """Return the fixed references of all versions, or of those of one dataset: by dataset, newest first."""
        statement = sa.select(versions.c.dataset, versions.c.version)
        if dataset is not None:
            statement = statement.where(versions.c.dataset == dataset)
        rows = self.database.rows(statement.order_by(versions.c.dataset, versions.c.version.desc()))
        return [f"{row.dataset}@{row.version}" for row in rows]

    def datasets(self) -> list[str]:
        """Return the names of all datasets, sorted."""
        statement = sa.select(versions.c.dataset).distinct().order_by(versions.c.dataset)
        return [row.dataset for row in self.database.rows(statement)]

    def find(self, dataset: str, fingerprint: str) -> Manifest | None:
        """Return the newest version with this fingerprint, ``None`` when there is none."""
        known = sa.and_(versions.c.dataset == dataset, versions.c.fingerprint == fingerprint)
        return self._newest(sa.select(versions).where(known))

    def resolve(self, reference: Reference | str) -> Manifest:
        """Return the version that a reference names now.

        :raises NotFoundError: when there is no such dataset or version.
        """
        wanted = Reference.parse(reference) if isinstance(reference, str) else reference
        statement = sa.select(versions).where(versions.c.dataset == wanted.dataset)
        if wanted.version is not None:
            statement = statement.where(versions.c.version == wanted.version)
        found = self._newest(statement, back=wanted.back)
        if found is not None:
            return found
        known = self.datasets()
        if wanted.dataset not in known:
            raise NotFoundError(f"no dataset named {wanted.dataset!r}{did_you_mean(wanted.dataset, known)}")
        ids = [known.partition("@")[2] for known in self.references(wanted.dataset)]
        newest = ", ".join(ids[:_SHOWN])
        raise NotFoundError(f"no version {wanted} among the {len(ids)} of that dataset; newest: {newest}")

    def remove(self, dataset: str, version: str) -> None:
        """Forget a version and its copies; the files are the caller's affair."""

        def work(connection: Connection) -> None:
            connection.execute(versions.delete().where(is_version(versions, dataset, version)))

        self.database.transact(work)

    def _newest(self, statement: sa.Select[Any], *, back: int = 0) -> Manifest | None:
        chosen = statement.order_by(versions.c.version.desc()).limit(1)
        # Without an offset where none is needed: databases plan that better.
        return next(iter(self._manifests(chosen.offset(back) if back else chosen)), None)

    def _manifests(self, chosen: sa.Select[Any]) -> list[Manifest]:
        return list(manifests_from(self.database.rows(parts_of(chosen))))

    # replicas ---------------------------------------------------------------------------------

    def replicas(self, dataset: str, version: str) -> list[Replica]:
        """Return the copies of a version, publications included, sorted by location."""
        statement = sa.select(replicas).where(is_version(replicas, dataset, version)).order_by(replicas.c.location)
        return [replica_from(row) for row in self.database.rows(statement)]

    def put_replica(self, replica: Replica) -> None:
        """Record a copy of a known version, checked just now."""
        self.database.transact(lambda connection: put_replica(connection, replica))

    def verified(self, replica: Replica) -> bool:
        """Record that a copy was checked just now.

        :returns: whether the catalog still knows the copy; one that was moved away meanwhile stays forgotten.
        """
        statement = replicas.update().where(_is_replica(replica)).values(verified_at=now())
        return self.database.transact(lambda connection: connection.execute(statement).rowcount) > 0

    def remove_replica(self, replica: Replica) -> None:
        """Forget a copy."""
        statement = replicas.delete().where(_is_replica(replica))
        self.database.transact(lambda connection: connection.execute(statement))

    def holdings(self, dataset: str | None = None) -> list[Holding]:
        """Return what lies on tiers, one item for each copy: by dataset, newest version first.

        :param dataset: name of the dataset; all datasets when ``None``.
        """
        same = sa.and_(replicas.c.dataset == versions.c.dataset, replicas.c.version == versions.c.version)
        statement = (
            sa.select(versions.c.dataset, versions.c.version, replicas.c.tier, versions.c.bytes, versions.c.files)
            .select_from(versions.join(replicas, same))
            .where(replicas.c.tier.is_not(None))
            .order_by(versions.c.dataset, versions.c.version.desc(), replicas.c.tier)
        )
        if dataset is not None:
            statement = statement.where(versions.c.dataset == dataset)
        return [
            Holding(dataset=row.dataset, version=row.version, tier=row.tier, bytes=row.bytes, files=row.files)
            for row in self.database.rows(statement)
        ]

    def copies(self) -> set[tuple[str, str, str]]:
        """Return dataset, version and tier of every copy on a tier."""
        statement = sa.select(replicas.c.dataset, replicas.c.version, replicas.c.tier)
        rows = self.database.rows(statement.where(replicas.c.tier.is_not(None)))
        return {(row.dataset, row.version, row.tier) for row in rows}

    def forget(self, copies: Set[tuple[str, str, str]]) -> None:
        """Forget copies on tiers, and their versions where no other copy and no publication is left.

        :param copies: dataset, version and tier of each copy.
        """

        def work(connection: Connection) -> None:
            for dataset, version, tier in sorted(copies):
                here = is_version(replicas, dataset, version)
                connection.execute(replicas.delete().where(here, replicas.c.tier == tier))
                others = sa.exists().where(here)
                connection.execute(versions.delete().where(is_version(versions, dataset, version), ~others))

        self.database.transact(work)

    def published(self, dataset: str) -> Manifest | None:
        """Return the newest version that was copied outside the store, ``None`` when none was."""
        outside = sa.exists().where(
            replicas.c.dataset == versions.c.dataset,
            replicas.c.version == versions.c.version,
            replicas.c.tier.is_(None),
        )
        return self._newest(sa.select(versions).where(versions.c.dataset == dataset, outside))

    # reads ------------------------------------------------------------------------------------

    def record_reads(self, found: Sequence[Read]) -> None:
        """Remember reads; one that is remembered already counts once."""

        def work(connection: Connection) -> None:
            for row in read_rows(found):
                key = {"id": row.pop("id")}
                put(connection, reads, key, row)

        if found:
            self.database.transact(work)

    def reads(
        self,
        dataset: str | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        purposes: Collection[Purpose] | None = None,
        limit: int | None = None,
    ) -> list[Read]:
        """Return who has read versions, the last read first.

        :param dataset: name of the dataset; all datasets when ``None``.
        :param since: leave out earlier reads; none when ``None``.
        :param until: leave out this moment and later ones; none when ``None``.
        :param purposes: e.g. ``{"use", "publish"}`` to leave out moves and checks; all when ``None``.
        :param limit: the last so many reads; all when ``None``.
        """
        statement = sa.select(reads).order_by(reads.c.read_at.desc(), reads.c.id.desc()).limit(limit)
        if dataset is not None:
            statement = statement.where(reads.c.dataset == dataset)
        if since is not None:
            statement = statement.where(reads.c.read_at >= _plain(since))
        if until is not None:
            statement = statement.where(reads.c.read_at < _plain(until))
        if purposes is not None:
            statement = statement.where(reads.c.purpose.in_(sorted(purposes)))
        return [read_from(row) for row in self.database.rows(statement)]

    def forget_reads(self, older_than: timedelta) -> int:
        """Forget old reads and return how many.

        :param older_than: counted back from now, or from the last read where that is earlier: a clock that jumps ahead
            for a moment costs no history.
        """

        def work(connection: Connection) -> int:
            last = connection.execute(sa.select(sa.func.max(reads.c.read_at))).scalar()
            if last is None:
                return 0
            limit = min(last, now()) - older_than
            return connection.execute(reads.delete().where(reads.c.read_at < limit)).rowcount

        return self.database.transact(work)


def _is_replica(replica: Replica) -> sa.ColumnElement[bool]:
    here = is_version(replicas, replica.dataset, replica.version)
    return sa.and_(here, replicas.c.location == replica.location)


def _plain(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)
