"""S3 and what speaks its protocol: an upload is visible when it is complete, conditional puts keep the first."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from airflow_dataflow.errors import (
    AccessDeniedError,
    DataflowError,
    InvalidInputError,
    NotFoundError,
    TransferError,
)
from airflow_dataflow.storage.backends import Backend

_PART_BYTES = 8 << 20
_MOST_PARTS = 10_000
_KEYS_AT_ONCE = 1000
_DENIED = frozenset({"AccessDenied", "AuthorizationHeaderMalformed", "ExpiredToken", "InvalidToken", "NoCredentials"})
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
_OTHER_403_AND_5XX = frozenset({"InvalidObjectState", "NotImplemented", "501"})


class S3Backend(Backend):
    """Buckets behind s3fs. There are no locks: concurrent writers of one version write the same bytes."""

    def _open(self, path: str, *, exclusive: bool, expected_bytes: int) -> Any:
        block_size = max(_PART_BYTES, -(-expected_bytes // (_MOST_PARTS - 1)))
        return self.fs.open(path, "xb" if exclusive else "wb", block_size=block_size, autocommit=False)

    def _publish(self, file: Any, path: str, *, exclusive: bool) -> None:
        try:
            if file.offset is None:
                # Nothing was sent yet: one request instead of the three that a multipart upload takes.
                self.fs.pipe_file(path, file.buffer.getvalue(), mode="create" if exclusive else "overwrite")
                file.closed = True
            else:
                file.close()
                file.commit()
        except OSError as error:
            if exclusive and _diagnosis(error)[0] == "PreconditionFailed":
                raise FileExistsError(f"{path} exists already") from error
            raise

    def make_folder(self, path: str) -> None:
        """Do nothing: there are no folders, and a bucket that is missing is an error rather than a wish."""

    def remove_all(self, path: str) -> None:
        """Delete every key below ``path``; s3fs would take brackets in it for a pattern, and hide what was refused."""
        bucket, prefix = _split(path)
        keys = [found["Key"] for found in self._listed("list_objects_v2", "Contents", Bucket=bucket, Prefix=prefix)]
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            batch = [{"Key": key} for key in keys[start : start + _KEYS_AT_ONCE]]
            answer = self.fs.call_s3("delete_objects", Bucket=bucket, Delete={"Objects": batch, "Quiet": True})
            for refused in answer.get("Errors", ()):
                raise PermissionError(f"{refused['Code']}: {refused['Key']} was not deleted")

    def remove_unfinished(self, root: str, before: datetime) -> list[str]:
        """Abort the uploads below ``root`` that got no part since ``before``; their parts cost money until then."""
        bucket, prefix = _split(root)
        removed = []
        for upload in self._listed("list_multipart_uploads", "Uploads", Bucket=bucket, Prefix=prefix):
            which = {"Bucket": bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]}
            parts = self._listed("list_parts", "Parts", **which)
            if max([upload["Initiated"], *(part["LastModified"] for part in parts)]) < before:
                self.fs.call_s3("abort_multipart_upload", **which)
                removed.append(f"{bucket}/{upload['Key']}")
        return removed

    def _listed(self, method: str, field: str, **which: str) -> Iterator[dict[str, Any]]:
        page: dict[str, Any] = {"IsTruncated": True}
        while page["IsTruncated"]:
            markers = {name.removeprefix("Next"): value for name, value in page.items() if name.startswith("Next")}
            page = self.fs.call_s3(method, **which, **markers)
            yield from page.get(field, ())

    def explain(self, error: Exception, what: str, path: str) -> DataflowError | None:
        """Tell a missing bucket, a refused credential and trouble on the way from each other."""
        bucket = path.partition("/")[0]
        code, detail = _diagnosis(error)
        if code == "NoSuchBucket":
            return NotFoundError(f"no bucket {bucket!r} ({what}): create it, or correct the URL")
        if code in _DENIED:
            return AccessDeniedError(
                f"bucket {bucket!r} refuses {what} ({detail}): check the connection's credentials and what they may do"
            )
        if code == "InvalidObjectState":
            return InvalidInputError(f"{what} in bucket {bucket!r} is archived: restore it before reading it")
        if code == "PreconditionFailed" and not isinstance(error, FileExistsError):
            return TransferError(f"{what} in bucket {bucket!r} changed while it was being read or written")
        if code in _BUSY:
            return TransferError(f"trouble with {what} in bucket {bucket!r}: {detail}")
        return super().explain(error, what, path)


def _split(folder: str) -> tuple[str, str]:
    """Return the bucket and what the keys of everything in the folder begin with."""
    bucket, _, key = folder.partition("/")
    return bucket, f"{key}/" if key else ""


def _diagnosis(error: BaseException | None) -> tuple[str | None, str]:
    """Return S3's error code, ``"Connection"`` or ``"NoCredentials"`` from the chain of causes, and what was said."""
    from botocore.exceptions import (
        ClientError,
        NoCredentialsError,
        PartialCredentialsError,
    )
    from s3fs.utils import FileExpired

    while error is not None:
        if isinstance(error, ClientError):
            return _code(error.response), str(error)
        if isinstance(error, NoCredentialsError | PartialCredentialsError):
            return "NoCredentials", str(error)
        if isinstance(error, FileExpired):
            return "PreconditionFailed", str(error)
        if isinstance(error, _connection_errors()):
            return "Connection", str(error) or type(error).__name__
        error = error.__cause__
    return None, ""


def _code(response: dict[str, Any]) -> str:
    code = str(response.get("Error", {}).get("Code", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _OTHER_403_AND_5XX:
        return code
    if status in (401, 403):
        return "AccessDenied"
    if status == 429 or "Throttl" in code:  # noqa: PLR2004 - HTTP's "too many requests"
        return "Throttling"
    return "InternalError" if status >= 500 else code  # noqa: PLR2004 - HTTP's trouble at the server


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


BACKEND = S3Backend
