"""What S3 and its clients say when something is wrong, in words that say what to do."""

from __future__ import annotations

from typing import Any

from airflow_dataflow.errors import (
    AccessDeniedError,
    ArchivedError,
    DataflowError,
    InvalidInputError,
    NotFoundError,
    StorageFullError,
    TransferError,
    UnsupportedError,
)
from airflow_dataflow.storage.parts import DamagedError

_DENIED = frozenset({"AccessDenied", "AuthorizationHeaderMalformed", "InvalidToken", "NoCredentials"})
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
_FULL = frozenset({"QuotaExceeded", "InsufficientStorage", "XMinioStorageFull"})
DAMAGED = frozenset({"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch"})
"""What servers say of bytes that arrived changed."""
_BUSY = frozenset(
    {
        "Connection",
        "ConditionalRequestConflict",
        "IncompleteBody",
        "InternalError",
        "OperationAborted",
        "RequestTimeout",
        "SlowDown",
        "Throttling",
        "TooManyRequests",
    }
)
_OTHER_403_AND_5XX = _FULL | {"InvalidObjectState", "NotImplemented", "RequestTimeTooSkewed"}


def explanation(error: BaseException, what: str, bucket: str) -> DataflowError | None:  # noqa: PLR0911 - a table
    """Return an error that says what to do, ``None`` when ``error`` has nothing to do with S3.

    :param error: what s3fs raised.
    :param what: name of the file that was being read or written, as a person knows it.
    :param bucket: the bucket that it is in.
    """
    code, detail = diagnosis(error)
    where = f"{what} in bucket {bucket!r}"
    if code == "NoSuchBucket":
        return NotFoundError(f"no bucket {bucket!r} ({what}): create it, or correct the URL")
    if code in _DENIED | _EXPIRED:
        return AccessDeniedError(f"bucket {bucket!r} refuses {what} ({detail}): {_remedy(code)}")
    if code == "Certificate":
        return InvalidInputError(
            f"the server of bucket {bucket!r} has a certificate that is not trusted ({detail}): correct the endpoint, "
            "or name the authority that signed it in the environment variable AWS_CA_BUNDLE"
        )
    if code == "InvalidObjectState":
        return ArchivedError(
            f"{where} is archived: have it restored by RestoreDatasetOperator, wait with RestoreSensor, then read it"
        )
    if code in _FULL:
        return StorageFullError(f"no space left for {where} ({detail}): delete something, or raise the quota")
    if code in ("PreconditionFailed", "NoSuchUpload") and not isinstance(error, FileExistsError):
        return TransferError(f"{where} changed while it was being read or written")
    if code == "RequestTimeTooSkewed":
        return TransferError(f"{where} is refused, since the clocks of this machine and of the server differ: set them")
    if code in _BUSY | DAMAGED:
        return (DamagedError if code in DAMAGED else TransferError)(f"trouble with {where}: {detail}")
    if code == "NotImplemented":
        return UnsupportedError(f"the server of bucket {bucket!r} cannot do what is wanted of {what} ({detail})")
    return None


def diagnosis(error: BaseException | None) -> tuple[str | None, str]:
    """Return what went wrong, from the chain of causes of an error of s3fs, and what was said.

    :returns: S3's error code, or ``"Connection"``, ``"Certificate"`` or ``"NoCredentials"``; ``None`` when nothing in
        the chain comes from S3.
    """
    from botocore.exceptions import ClientError, FlexibleChecksumError, NoCredentialsError, PartialCredentialsError
    from s3fs.utils import FileExpired

    kinds: list[tuple[str, tuple[type[BaseException], ...]]] = [
        ("NoCredentials", (NoCredentialsError, PartialCredentialsError)),
        ("BadDigest", (FlexibleChecksumError,)),
        ("PreconditionFailed", (FileExpired,)),
        ("Certificate", _certificate_errors()),
        ("Connection", _connection_errors()),
    ]
    while error is not None:
        if isinstance(error, ClientError):
            return _code(error.response), str(error)
        for code, types in kinds:
            if isinstance(error, types):
                return code, str(error) or type(error).__name__
        error = error.__cause__
    return None, ""


def _remedy(code: str | None) -> str:
    if code not in _EXPIRED:
        return "check the connection's credentials and what they may do"
    return (
        "the credentials have expired; renew the session token of the connection, or let it assume a role, which "
        "renews itself; a retry then goes on where this ended"
    )


def is_missing(error: BaseException) -> bool:
    """Tell whether an error says that there is no such object; answers to HEAD say no more than their status."""
    return diagnosis(error)[0] in ("NoSuchKey", "404")


def _code(response: dict[str, Any]) -> str:
    code = str(response.get("Error", {}).get("Code", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code == "ObjectNotInActiveTierError":  # the word for it when an archived file is copied
        return "InvalidObjectState"
    if code in _OTHER_403_AND_5XX or code in _EXPIRED:
        return code
    if status == 501 or code == "501":  # noqa: PLR2004 - HTTP's "not implemented"
        return "NotImplemented"
    if status in (401, 403):
        return "AccessDenied"
    if status == 429 or "Throttl" in code:  # noqa: PLR2004 - HTTP's "too many requests"
        return "Throttling"
    return "InternalError" if status >= 500 else code  # noqa: PLR2004 - HTTP's trouble at the server


def _certificate_errors() -> tuple[type[BaseException], ...]:
    import ssl

    import aiohttp
    from botocore import exceptions

    return (ssl.SSLCertVerificationError, aiohttp.ClientConnectorCertificateError, exceptions.SSLError)


def _connection_errors() -> tuple[type[BaseException], ...]:
    import aiohttp
    from botocore import exceptions
    from s3fs.core import S3_RETRYABLE_ERRORS

    return (
        *S3_RETRYABLE_ERRORS,
        aiohttp.ClientError,
        ConnectionError,
        TimeoutError,
        exceptions.ConnectionError,
        exceptions.HTTPClientError,
        exceptions.IncompleteReadError,
    )
