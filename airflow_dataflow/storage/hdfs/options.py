"""Where the NameNodes of an HDFS cluster are, and who talks to them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

from airflow_dataflow.errors import InvalidInputError, did_you_mean

RPC_PORT = 8020
HTTP_PORT, HTTPS_PORT = 9870, 9871
_PATIENCE_SECONDS = {False: 3.0, True: 60.0}


@dataclass(frozen=True, kw_only=True)
class HdfsConnection:
    """What opens a file system of the schemes ``hdfs`` and ``webhdfs``."""

    host: str | None = None
    """Host of the URL: a NameNode or a nameservice. Where ``namenodes`` are given, it has to be one of theirs."""
    port: int | None = None
    """Port of the URL: that of Hadoop's protocol for ``hdfs``, that of WebHDFS for ``webhdfs``; the usual one when
    ``None``."""
    namenodes: tuple[str, ...] = ()
    """WebHDFS of each NameNode, e.g. ``("http://nn1:9870", "http://nn2:9870")``; from the URL when empty."""
    rpc: tuple[str, ...] | None = None
    """Address of Hadoop's protocol of each NameNode, e.g. ``("nn1:8020", "nn2:8020")``, for hdfs-native. The NameNodes
    are asked for it when ``None``; when empty, all data goes through WebHDFS."""
    nameservice: str | None = None
    """Name of the cluster in URLs, such as ``hdfs://warehouse/data``; the first NameNode's address when ``None``."""
    user: str | None = None
    """Whom to act as; the user of this process when ``None``."""
    password: str | None = field(default=None, repr=False)
    """Password for HTTP's basic authentication, e.g. at a gateway; none when ``None``."""
    kerberos: bool = False
    """Whether to authenticate with the Kerberos ticket of this process."""
    verify: bool | str = True
    """Whether to verify the servers' TLS certificates; a path names the authorities to trust."""
    cert: str | None = None
    """Path of the client's TLS certificate; none when ``None``."""
    key: str | None = field(default=None, repr=False)
    """Path of the key of ``cert``; in the same file when ``None``."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """HTTP headers of each WebHDFS request."""
    cookies: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Cookies of each WebHDFS request."""
    patience_seconds: float | None = None
    """How long a request waits for a NameNode that is active; ``None`` means a minute where there are several, which a
    failover takes, and three seconds where there is but one."""

    def __post_init__(self) -> None:
        for name in ("namenodes", "rpc"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise InvalidInputError(f"{name!r} of an HDFS file system is a list of addresses, got {value!r}")
            if value is not None:
                object.__setattr__(self, name, tuple(item.rstrip("/") for item in value))

    @classmethod
    def make(cls, options: Mapping[str, Any]) -> Self:
        """Make it from what a person or a connection gave.

        :raises InvalidInputError: for an unknown option, with the closest one.
        """
        known = [item.name for item in dataclasses.fields(cls)]
        for name in options:
            if name not in known:
                raise InvalidInputError(f"an HDFS file system has no option {name!r}{did_you_mean(name, known)}")
        return cls(**options)

    def complete(self, scheme: str) -> Self:
        """Return the same with the addresses that follow from the URL.

        :raises InvalidInputError: when nothing names a NameNode, or the URL names another cluster than the options.
        """
        if not self.namenodes and not self.host:
            raise InvalidInputError(
                f"{scheme}:///… names no NameNode: write {scheme}://host/…, or give a connection that has one"
            )
        if not self.namenodes:
            web_port = self.port if scheme == "webhdfs" and self.port else HTTP_PORT
            rpc = (f"{self.host}:{self.port or RPC_PORT}",) if scheme == "hdfs" and self.rpc is None else self.rpc
            return dataclasses.replace(self, namenodes=(f"http://{self.host}:{web_port}",), rpc=rpc)
        known = {self.nameservice, *(urlsplit(url).hostname for url in self.namenodes)}
        known |= {address.rpartition(":")[0] for address in self.rpc or ()}
        if self.host and self.host not in known:
            raise InvalidInputError(
                f"the URL names the NameNode or nameservice {self.host!r}, but the connection those of "
                f"{', '.join(sorted(name for name in known if name))}: leave the host of the URL out, as in "
                f"{scheme}:///path, or name the nameservice in the connection's extra 'nameservice'"
            )
        return self

    def authority(self, scheme: str) -> str:
        """Return what stands between ``://`` and the path in URLs of this cluster."""
        if self.host:
            return f"{self.host}:{self.port}" if self.port else self.host
        if self.nameservice:
            return self.nameservice
        web = urlsplit(self.namenodes[0])
        if scheme == "webhdfs":
            return web.netloc
        return self.rpc[0] if self.rpc else str(web.hostname)

    @property
    def patience(self) -> float:
        """Seconds that a request waits for an active NameNode."""
        if self.patience_seconds is not None:
            return self.patience_seconds
        return _PATIENCE_SECONDS[len(self.namenodes) > 1]
