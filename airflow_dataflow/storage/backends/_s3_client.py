"""Requests to S3 from the thread that needs them, through botocore's own client.

s3fs sends everything through one thread, in pieces that Python puts together; a part of some MiB takes a quarter of the
CPU when the thread that holds it sends it. The client is set up as that of the file system is, with its credentials.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore.config import Config
from botocore.credentials import Credentials, ReadOnlyCredentials
from fsspec.asyn import sync

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_CONNECTIONS = 64
_CONNECT_SECONDS, _READ_SECONDS = 20, 60
_making = threading.Lock()


class S3Requests:
    """What makes requests for one file system; connections are kept as long as it lives.

    Nothing is tried again here: those who know how much is at stake do it.

    :param fs: an s3fs file system.
    """

    def __init__(self, fs: AbstractFileSystem) -> None:
        self._fs = fs
        # What the file system adds to requests is known when it has a client of its own.
        fs.connect()
        self._client = _client(fs)

    @classmethod
    def of(cls, fs: AbstractFileSystem) -> S3Requests:
        """Return the requests of a file system."""
        # Kept on the file system itself: others that are equal to it come and go.
        with _making:
            found: S3Requests = vars(fs).get("_dataflow_requests") or cls(fs)
            fs._dataflow_requests = found  # noqa: SLF001 - the name is ours
            return found

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Make a request, with what the file system adds to all requests of its kind.

        :param method: e.g. ``"upload_part"``.
        :raises botocore.exceptions.BotoCoreError: when there is no answer, or half of one.
        :raises botocore.exceptions.ClientError: when the answer is an error.
        """
        act = getattr(self._client, method)
        answer: dict[str, Any] = act(**self._fs._get_s3_method_kwargs(act, parameters))  # noqa: SLF001
        return answer


class FileSystemCredentials(Credentials):  # type: ignore[misc]
    """Those that s3fs signs with, however it got them, and whenever it gets others.

    :param fs: an s3fs file system.
    """

    def __init__(self, fs: AbstractFileSystem) -> None:
        # Each request asks for a frozen copy; what is kept here is never used.
        super().__init__("", "", method="s3fs")
        self._fs = fs

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Return the credentials of this moment."""
        return sync(self._fs.loop, self._frozen)

    async def _frozen(self) -> ReadOnlyCredentials:
        client = await self._fs.set_session()
        return await client._request_signer._credentials.get_frozen_credentials()  # noqa: SLF001 - s3fs shows no others


class _OnlyThese:
    """The place where botocore looks for credentials."""

    def __init__(self, credentials: Credentials | None) -> None:
        self._credentials = credentials

    def load_credentials(self) -> Credentials | None:
        return self._credentials


def _client(fs: AbstractFileSystem) -> Any:
    own = {
        "retries": {"total_max_attempts": 1},
        "max_pool_connections": _CONNECTIONS,
        "connect_timeout": _CONNECT_SECONDS,
        "read_timeout": _READ_SECONDS,
        # Each part carries an MD5 digest, which all servers check; another checksum would cost as much again.
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
    }
    given = {name: value for name, value in fs._prepare_config_kwargs().items() if name in Config.OPTION_DEFAULTS}  # noqa: SLF001
    # A body whose digest is signed need not be hashed once more for the signature.
    places = {"payload_signing_enabled": False, **(given.pop("s3", None) or {})}
    if fs.anon:
        from botocore import UNSIGNED

        given["signature_version"] = UNSIGNED
    given |= {"retries": own["retries"]}
    keys = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token", "config")
    options = {"use_ssl": fs.use_ssl, **{key: value for key, value in fs.client_kwargs.items() if key not in keys}}
    if fs.endpoint_url:
        options.setdefault("endpoint_url", fs.endpoint_url)
    session = botocore.session.Session(**fs.kwargs)
    session.register_component("credential_provider", _OnlyThese(None if fs.anon else FileSystemCredentials(fs)))
    return session.create_client("s3", config=Config(**{**own, **given, "s3": places}), **options)
