"""Small objects on S3 in one request each, through obstore where it is installed.

s3fs asks for an object before it reads it, and spends most of its time in Python; obstore does neither. What obstore
cannot do as the file system was told to do it (proxies, signers, encryption and the like), and whatever goes wrong,
is left to s3fs, so that errors and retries are the same with and without it.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from airflow_dataflow.storage.backends._s3_client import FileSystemCredentials
from airflow_dataflow.storage.backends._s3_errors import DAMAGED
from airflow_dataflow.storage.parts import DamagedError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem
    from obstore.store import S3Credential, S3Store

log = logging.getLogger(__name__)

SMALL_BYTES = 512 << 10
"""What is asked for at once when an object is opened; a larger one costs this much in vain."""

_CLIENT_OPTIONS = frozenset({"endpoint_url", "region_name", "aws_access_key_id", "aws_secret_access_key"})
_CONFIG_OPTIONS = frozenset({"retries", "connect_timeout", "read_timeout", "max_pool_connections"})
_ASK_AGAIN = timedelta(minutes=5)
"""How long credentials are used that the session may replace at any time."""
_RETRIES = 2
"""More is left to the other client, whose errors say more."""
_TROUBLES = 3
"""After so many failures in a row the other client is asked at once, since the server may never understand this one."""


class SmallObjects:
    """The objects of one file system.

    :param fs: an s3fs file system.
    """

    def __init__(self, fs: AbstractFileSystem) -> None:
        self._fs = fs
        self._stores: dict[str, S3Store] = {}
        self._chances = _TROUBLES if importlib.util.find_spec("obstore") is not None and _is_plain(fs) else 0

    @property
    def works(self) -> bool:
        """Whether it is worth a try."""
        return self._chances > 0

    @classmethod
    def of(cls, fs: AbstractFileSystem) -> SmallObjects:
        """Return the objects of a file system; connections are kept as long as it lives."""
        # Kept on the file system itself: others that are equal to it come and go.
        found: SmallObjects = vars(fs).get("_dataflow_small_objects") or cls(fs)
        fs._dataflow_small_objects = found  # noqa: SLF001 - the name is ours
        return found

    def get(self, bucket: str, key: str) -> bytes | None:
        """Return an object's bytes, ``None`` when it is not small, or not to be had in this way.

        :raises FileNotFoundError: when it is not there.
        """
        if not self.works:
            return None
        import obstore

        try:
            found = obstore.get(self._store(bucket), key, options={"range": (0, SMALL_BYTES)})
            data = bytes(found.bytes()) if found.meta["size"] <= SMALL_BYTES else None
        except FileNotFoundError as error:
            if "<Code>NoSuchKey</Code>" not in str(error):
                return None
            raise FileNotFoundError(f"{bucket}/{key}") from None
        except Exception as error:  # noqa: BLE001 - s3fs says what is wrong, if anything is
            self._trouble(error)
            return None
        self._chances = _TROUBLES
        return data

    def get_range(self, bucket: str, key: str, start: int, length: int) -> tuple[bytes, str] | None:
        """Return bytes of an object and its ETag, ``None`` when they are not to be had in this way."""
        if not self.works:
            return None
        import obstore

        try:
            found = obstore.get(self._store(bucket), key, options={"range": (start, start + length)})
            data, etag = bytes(found.bytes()), str(found.meta["e_tag"])
        except FileNotFoundError:
            return None
        except Exception as error:  # noqa: BLE001 - another client says what is wrong, if anything is
            self._trouble(error)
            return None
        self._chances = _TROUBLES
        return data, etag

    def put(self, bucket: str, key: str, data: bytes | memoryview, *, exclusive: bool) -> str | None:
        """Write an object whole, and return its ETag; ``None`` if nothing was written.

        :raises FileExistsError: when ``exclusive`` and it is there.
        :raises DamagedError: when the server says that it arrived damaged.
        """
        if not self.works:
            return None
        import obstore

        try:
            mode: Literal["create", "overwrite"] = "create" if exclusive else "overwrite"
            made = obstore.put(self._store(bucket), key, data, mode=mode, use_multipart=False)
        except Exception as error:  # noqa: BLE001 - s3fs says what is wrong, if anything is
            if exclusive and "<Code>PreconditionFailed</Code>" in str(error):
                raise FileExistsError(f"{bucket}/{key} exists already") from None
            for code in DAMAGED:
                if f"<Code>{code}</Code>" in str(error):
                    raise DamagedError(f"{bucket}/{key} arrived damaged, says the server ({code})") from None
            self._trouble(error)
            return None
        self._chances = _TROUBLES
        return str(made["e_tag"])

    def _trouble(self, error: Exception) -> None:
        # A name that obstore does not take, and a range of an empty object, say nothing about the next request.
        if not isinstance(error, ValueError) and "InvalidRange" not in str(error):
            self._chances -= 1
            log.debug("a small object takes another way, after %s", type(error).__name__)

    def _store(self, bucket: str) -> S3Store:
        if bucket not in self._stores:
            from obstore.store import S3Store

            meta = self._fs.s3.meta
            self._stores[bucket] = S3Store(
                bucket,
                endpoint=meta.endpoint_url,
                region=meta.region_name or "us-east-1",
                virtual_hosted_style_request=False,
                credential_provider=self._credentials,
                client_options={"allow_http": meta.endpoint_url.startswith("http://"), "timeout": timedelta(minutes=1)},
                retry_config={"max_retries": _RETRIES},
            )
        return self._stores[bucket]

    def _credentials(self) -> S3Credential:
        frozen = FileSystemCredentials(self._fs).get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + _ASK_AGAIN,
        }


def _is_plain(fs: AbstractFileSystem) -> bool:
    """Tell whether requests to the file system need nothing but an endpoint, a region and credentials."""
    special = fs.anon or fs.requester_pays or fs.version_aware or fs.s3_additional_kwargs or fs.kwargs
    known = set(fs.client_kwargs) <= _CLIENT_OPTIONS and set(fs.config_kwargs) <= _CONFIG_OPTIONS
    own_authority = "AWS_CA_BUNDLE" in os.environ and fs.s3.meta.endpoint_url.startswith("https:")
    return known and not special and not own_authority
