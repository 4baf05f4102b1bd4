"""The demo's folder: everything it makes lies there, and nothing without our mark is ever removed."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from airflow_dataflow.demo.options import TierKind
from airflow_dataflow.errors import InvalidInputError

_MARKER = ".airflow-dataflow-demo"
_SECRETS = "secrets.json"
_TEMPLATES = "templates"
_OWN = "own"
_KEPT = (_MARKER, _SECRETS, _TEMPLATES, _OWN)
_LOCK_WAIT_SECONDS = 15.0


class Home:
    """A folder that one demo at a time uses.

    :param folder: where; made when absent.
    :param templates: folder for empty Airflow databases; inside this one when ``None``.
    """

    def __init__(self, folder: Path, templates: Path | None = None) -> None:
        self.folder = folder.absolute()
        self.templates = templates or self.folder / _TEMPLATES
        self.airflow = self.folder / "airflow"
        self.logs = self.folder / "logs"
        self.landing = self.folder / "landing"
        self.tiers = self.folder / "tiers"
        self.objects = self.folder / "s3"
        self.hdfs = self.folder / "hdfs"
        self.tiers_file = self.folder / "tiers.txt"
        self.port_file = self.folder / "port"
        self.catalog_url = f"sqlite:///{self.folder / 'catalog.db'}"
        self.lock_descriptor: int | None = None
        """Open while the home is in use; inherited by every service, so that an orphan keeps the home locked."""

    @contextmanager
    def in_use(self, *, clean: bool) -> Iterator[None]:
        """Use the home, alone.

        :param clean: start with an empty folder; secrets, the empty Airflow database and the home for own files stay.
        :raises InvalidInputError: when the folder holds something else, or another demo uses it.
        """
        self.lock_descriptor = self._claim()
        try:
            self._lock(self.lock_descriptor)
            if clean:
                self._clean()
            for folder in (self.airflow, self.logs, self.landing, self.tiers):
                folder.mkdir(exist_ok=True)
            yield
        finally:
            os.close(self.lock_descriptor)
            self.lock_descriptor = None

    def for_own_files(self) -> Home:
        """Return a home inside this one, which is never emptied: what became of a person's own files stays.

        :raises InvalidInputError: when the folder holds something else.
        """
        os.close(self._claim())
        return Home(self.folder / _OWN, self.templates)

    def _claim(self) -> int:
        """Put our mark into the folder, and return it open."""
        marker = self.folder / _MARKER
        if self.folder.exists() and not marker.exists() and any(self.folder.iterdir()):
            raise InvalidInputError(
                f"{str(self.folder)!r} holds files that are not the demo's; choose an empty or new folder with --home"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        return os.open(marker, os.O_RDWR | os.O_CREAT, 0o600)

    def _lock(self, descriptor: int) -> None:
        deadline = time.monotonic() + _LOCK_WAIT_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(0.2)
                    continue
                owner = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
                raise InvalidInputError(
                    f"process {owner} runs a demo in {str(self.folder)!r}; stop it, or choose another with --home"
                ) from None
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            return

    def _clean(self) -> None:
        for path in self.folder.iterdir():
            if path.name in _KEPT:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def tier_kind(self, wanted: TierKind | None) -> TierKind:
        """Return which tiers the home has; a new one gets those that are wanted.

        :param wanted: those that a person asked for; the home's own, or folders, when ``None``.
        :raises InvalidInputError: when its versions lie on others than those that are wanted.
        """
        known: TierKind | None = None
        if self.tiers_file.exists():
            known = "hdfs" if self.tiers_file.read_text() == "hdfs" else "local"
        if known and wanted and known != wanted:
            raise InvalidInputError(
                f"the versions in {str(self.folder)!r} lie on the tiers {known!r}, not {wanted!r}: "
                "leave --tiers out, or choose another folder with --home"
            )
        kind = known or wanted or "local"
        self.tiers_file.write_text(kind)
        return kind

    @property
    def database(self) -> Path:
        """Airflow's SQLite database."""
        return self.airflow / "airflow.db"

    def needs_migration(self, airflow_version: str) -> bool:
        """Tell whether the database has to be migrated for an Airflow release; an absent one is copied if possible."""
        template = self._database_template(airflow_version)
        if not self.database.exists() and template.exists():
            shutil.copyfile(template, self.database)
            self._migration_stamp.write_text(airflow_version)
        return not self._migration_stamp.exists() or self._migration_stamp.read_text() != airflow_version

    def keep_migrated_database(self, airflow_version: str) -> None:
        """Remember that the database was migrated; keep a copy for clean starts to come when it was empty before."""
        if not self._migration_stamp.exists():
            template = self._database_template(airflow_version)
            template.parent.mkdir(parents=True, exist_ok=True)
            partial = template.with_suffix(".partial")
            shutil.copyfile(self.database, partial)
            partial.replace(template)
        self._migration_stamp.write_text(airflow_version)

    @property
    def _migration_stamp(self) -> Path:
        return self.airflow / "migrated-for"

    def _database_template(self, airflow_version: str) -> Path:
        return self.templates / f"airflow-{airflow_version}.db"

    def secrets(self) -> dict[str, str]:
        """Return Airflow's keys and log-in password, made at the first call and readable by the owner only."""
        path = self.folder / _SECRETS
        if not path.exists():
            keys = {
                "jwt": secrets.token_urlsafe(64),
                "api": secrets.token_urlsafe(64),
                "fernet": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
                "password": secrets.token_urlsafe(9),
            }
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                json.dump(keys, file)
        loaded: dict[str, str] = json.loads(path.read_text())
        return loaded
