"""Reading and writing the catalog."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from airflow_dataflow.datasets.catalog.tables import VERSION_TABLE, replicas, versions
from airflow_dataflow.datasets.manifest import Manifest
from airflow_dataflow.datasets.name import Reference
from airflow_dataflow.errors import AccessDeniedError, InvalidInputError, NotFoundError, StorageFullError, did_you_mean

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine

_MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK_WAIT_SECONDS = 60


@dataclass(frozen=True)
class Replica:
    """One copy of a version."""

    dataset: str
    """Name of the dataset."""
    version: str
    """Version id."""
    location: str
    """Tier name, or for a publication its target URL."""
    tier: str | None
    """Tier name; ``None`` for a publication, which is a copy outside the store."""
    url: str
    """URL of the version's folder there."""


class Catalog:
    """The database that lists versions and replicas.

    An empty database gets its tables at the first use; one of an older release is refused until
    :meth:`upgrade` (``dataflow catalog upgrade``) has run.

    :param url: SQLAlchemy URL, e.g. ``sqlite:////data/catalog.db`` or ``postgresql+psycopg://user@host/db``.
    """

    def __init__(self, url: str | sa.URL) -> None:
        self._url = sa.make_url(url)

    @cached_property
    def engine(self) -> Engine:
        """The engine, with the tables in place."""
        engine = self._connect()
        with _errors_explained(self._shown):
            current = _schema_version(engine)
            if current is None:
                _migrate(engine)
                return engine
        newest = _newest_schema_version()
        if current < newest:
            raise InvalidInputError(
                f"catalog {self._shown} has schema {current}, this release needs {newest}: "
                "run 'dataflow catalog upgrade'"
            )
        if current > newest:
            raise InvalidInputError(
                f"catalog {self._shown} has schema {current} of a later release, this one knows {newest}: "
                "install the release that the others use"
            )
        return engine

    @property
    def _shown(self) -> str:
        return self._url.render_as_string(hide_password=True)

    def _connect(self) -> Engine:
        if self._url.get_backend_name() != "sqlite":
            return sa.create_engine(self._url, pool_pre_ping=True)
        options: dict[str, Any] = {"connect_args": {"timeout": _LOCK_WAIT_SECONDS}}
        if self._url.database not in (None, "", ":memory:"):
            Path(str(self._url.database)).parent.mkdir(parents=True, exist_ok=True)
            # A file costs nothing to open, and a connection that is not kept cannot be inherited by a forked task.
            options["poolclass"] = sa.NullPool
        engine = sa.create_engine(self._url, **options)
        sa.event.listen(engine, "connect", _configure_sqlite)
        return engine

    def upgrade(self) -> str:
        """Bring the tables to this release's schema and return its revision."""
        self.__dict__.pop("engine", None)
        engine = self._connect()
        try:
            with _errors_explained(self._shown):
                _migrate(engine)
        finally:
            engine.dispose()
        return _newest_schema_version()

    def _rows(self, statement: sa.Select[Any]) -> list[sa.Row[Any]]:
        with _errors_explained(self._shown), self.engine.connect() as connection:
            return list(connection.execute(statement).all())

    def _write(self, work: Callable[[Connection], object]) -> None:
        """Do ``work`` in one transaction, and once more when another process has inserted the same row meanwhile."""
        for last in (False, True):
            try:
                with _errors_explained(self._shown), self.engine.begin() as connection:
                    work(connection)
            except IntegrityError:
                if last:
                    raise
            else:
                return

    # versions ---------------------------------------------------------------------------------

    def add(self, manifest: Manifest, replica: Replica) -> None:
        """Record a version and a copy of it; what was recorded of them before is replaced."""
        described = {
            "kind": manifest.kind,
            "fingerprint": manifest.fingerprint,
            "rows_in": manifest.rows_in,
            "rows_out": manifest.rows_out,
            "rows_quarantined": manifest.rows_quarantined,
            "bytes": manifest.total_bytes,
            "files": len(manifest.files),
            "manifest": manifest.to_bytes().decode(),
        }
        key = {"dataset": manifest.dataset, "version": manifest.version}

        def work(connection: Connection) -> None:
            _put(connection, versions, key, described)
            _put_replica(connection, replica)

        self._write(work)

    def manifests(self, dataset: str) -> list[Manifest]:
        """Return the manifests of a dataset's versions, newest first."""
        rows = self._rows(
            sa.select(versions.c.manifest).where(versions.c.dataset == dataset).order_by(versions.c.version.desc())
        )
        return [Manifest.from_bytes(row.manifest.encode(), f"catalog row of {dataset}") for row in rows]

    def datasets(self) -> list[str]:
        """Return the names of all datasets, sorted."""
        return [
            row.dataset for row in self._rows(sa.select(versions.c.dataset).distinct().order_by(versions.c.dataset))
        ]

    def find(self, dataset: str, fingerprint: str) -> Manifest | None:
        """Return the newest version with this fingerprint, ``None`` when there is none."""
        rows = self._rows(
            sa.select(versions.c.manifest)
            .where(versions.c.dataset == dataset, versions.c.fingerprint == fingerprint)
            .order_by(versions.c.version.desc())
            .limit(1)
        )
        return Manifest.from_bytes(rows[0].manifest.encode(), f"catalog row of {dataset}") if rows else None

    def resolve(self, reference: Reference | str) -> Manifest:
        """Return the version that a reference names now.

        :raises NotFoundError: when there is no such dataset or version.
        """
        wanted = Reference.parse(reference) if isinstance(reference, str) else reference
        statement = sa.select(versions.c.manifest).where(versions.c.dataset == wanted.dataset)
        if wanted.version is not None:
            statement = statement.where(versions.c.version == wanted.version)
        else:
            statement = statement.order_by(versions.c.version.desc()).offset(wanted.back).limit(1)
        rows = self._rows(statement)
        if rows:
            return Manifest.from_bytes(rows[0].manifest.encode(), f"catalog row of {wanted}")
        known = self.datasets()
        if wanted.dataset not in known:
            raise NotFoundError(f"no dataset named {wanted.dataset!r}{did_you_mean(wanted.dataset, known)}")
        ids = [manifest.version for manifest in self.manifests(wanted.dataset)]
        raise NotFoundError(f"no version {wanted} among the {len(ids)} of that dataset; newest: {', '.join(ids[:3])}")

    def remove(self, dataset: str, version: str) -> None:
        """Forget a version and its copies; the files are the caller's affair."""

        def work(connection: Connection) -> None:
            connection.execute(replicas.delete().where(_is(replicas, dataset, version)))
            connection.execute(versions.delete().where(_is(versions, dataset, version)))

        self._write(work)

    # replicas ---------------------------------------------------------------------------------

    def replicas(self, dataset: str, version: str) -> list[Replica]:
        """Return the copies of a version, publications included, sorted by location."""
        rows = self._rows(sa.select(replicas).where(_is(replicas, dataset, version)).order_by(replicas.c.location))
        return [_replica(row) for row in rows]

    def put_replica(self, replica: Replica) -> None:
        """Record a copy of a known version, checked just now."""
        self._write(lambda connection: _put_replica(connection, replica))

    def remove_replica(self, replica: Replica) -> None:
        """Forget a copy."""
        here = _is(replicas, replica.dataset, replica.version)
        statement = replicas.delete().where(here, replicas.c.location == replica.location)
        self._write(lambda connection: connection.execute(statement))

    def copies(self) -> set[tuple[str, str, str]]:
        """Return dataset, version and tier of every copy on a tier."""
        return {
            (row.dataset, row.version, row.tier)
            for row in self._rows(sa.select(replicas).where(replicas.c.tier.is_not(None)))
        }

    def forget(self, copies: Set[tuple[str, str, str]]) -> None:
        """Forget copies on tiers, and their versions where no other copy and no publication is left.

        :param copies: dataset, version and tier of each copy.
        """

        def work(connection: Connection) -> None:
            for dataset, version, tier in copies:
                connection.execute(replicas.delete().where(_is(replicas, dataset, version), replicas.c.tier == tier))
                others = sa.exists().where(_is(replicas, dataset, version))
                connection.execute(versions.delete().where(_is(versions, dataset, version), ~others))

        self._write(work)

    def published(self, dataset: str) -> Manifest | None:
        """Return the newest version that was copied outside the store, ``None`` when none was."""
        joined = versions.join(
            replicas,
            sa.and_(replicas.c.dataset == versions.c.dataset, replicas.c.version == versions.c.version),
        )
        rows = self._rows(
            sa.select(versions.c.manifest)
            .select_from(joined)
            .where(versions.c.dataset == dataset, replicas.c.tier.is_(None))
            .order_by(versions.c.version.desc())
            .limit(1)
        )
        return Manifest.from_bytes(rows[0].manifest.encode(), f"catalog row of {dataset}") if rows else None


def _put_replica(connection: Connection, replica: Replica) -> None:
    key = {"dataset": replica.dataset, "version": replica.version, "location": replica.location}
    described = {"tier": replica.tier, "url": replica.url, "verified_at": datetime.now(UTC).replace(tzinfo=None)}
    _put(connection, replicas, key, described)


def _put(connection: Connection, table: sa.Table, key: dict[str, Any], described: dict[str, Any]) -> None:
    """Replace a row, or insert it."""
    here = sa.and_(*(table.c[name] == value for name, value in key.items()))
    if not connection.execute(table.update().where(here).values(described)).rowcount:
        connection.execute(table.insert().values(**key, **described))


def _is(table: sa.Table, dataset: str, version: str) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.dataset == dataset, table.c.version == version)


def _replica(row: sa.Row[Any]) -> Replica:
    return Replica(dataset=row.dataset, version=row.version, location=row.location, tier=row.tier, url=row.url)


@contextmanager
def _errors_explained(catalog: str) -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        name = getattr(error.orig, "sqlite_errorname", "")
        if name == "SQLITE_FULL":
            raise StorageFullError(f"no space left for catalog {catalog}: delete something, or move it") from error
        if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN")):
            raise AccessDeniedError(
                f"catalog {catalog} cannot be written ({error.orig}): let this user write its folder"
            ) from error
        raise


def _configure_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _schema_version(engine: Engine) -> str | None:
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table(VERSION_TABLE):
            return None
        return connection.execute(sa.select(sa.column("version_num")).select_from(sa.table(VERSION_TABLE))).scalar()


def _newest_schema_version() -> str:
    return max(path.name.split("_")[0] for path in (_MIGRATIONS / "versions").glob("[0-9]*.py"))


def _migrate(engine: Engine) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("path_separator", "os")
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
    except DBAPIError:
        # Two processes that meet an empty database both create the tables; the one that comes second has lost nothing.
        if _schema_version(engine) != _newest_schema_version():
            raise
