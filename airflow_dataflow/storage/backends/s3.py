"""S3 and what speaks its protocol: an upload is visible when it is complete, conditional puts keep the first.

Servers differ in what they honour. Two things are made to hold on all of them: a file that must not replace another
(see :meth:`S3Backend.create`), and a copy whose source must not change meanwhile (see :meth:`S3Backend.copy`).
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from io import BytesIO
from typing import Any, BinaryIO
from urllib.parse import urlencode

from s3fs import S3File

from airflow_dataflow.datasets.manifest import MANIFEST_NAME
from airflow_dataflow.errors import DataflowError, InvalidInputError, TransferError, did_you_mean
from airflow_dataflow.storage.backends import ArchiveState, Backend
from airflow_dataflow.storage.backends._s3_client import S3Requests
from airflow_dataflow.storage.backends._s3_errors import diagnosis, explanation
from airflow_dataflow.storage.backends._s3_objects import SmallObjects
from airflow_dataflow.storage.backends._s3_parts import MOST_PARTS, S3Upload, etag_of, part_bytes, put, read_pinned
from airflow_dataflow.storage.backends._s3_stamps import bare, checksum_in_head, checksum_in_stamp, etag_in, stamp_with
from airflow_dataflow.storage.parts import DamagedError, Parts

RESTORE_SPEEDS = ("Bulk", "Standard", "Expedited")
"""How fast Amazon restores from an archive, cheapest first."""

_PART_BYTES = 8 << 20
_PARTS_OF_ONE_SIZE = 1000
_PART_GROWTH = 1.5
_KEYS_AT_ONCE = 1000
_REQUESTS_AT_ONCE = 8
_ARCHIVES = ("GLACIER", "DEEP_ARCHIVE")
_NO_SUCH_CLASS = ("InvalidStorageClass", "InvalidArgument")
_HEADERS = ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType", "Metadata")
_ENCRYPTION = ("ServerSideEncryption", "SSEKMSKeyId", "BucketKeyEnabled")


class _Upload(S3File):  # type: ignore[misc]
    """A file in the making, whose parts grow with it, so that their number never runs out."""

    blocksize: int

    def _upload_chunk(self, final: bool = False) -> bool:  # noqa: FBT001, FBT002 - fsspec's signature
        goes_on = bool(super()._upload_chunk(final))
        if self.parts and len(self.parts) % _PARTS_OF_ONE_SIZE == 0:
            self.blocksize = int(self.blocksize * _PART_GROWTH)
        return goes_on


class S3Backend(Backend):
    """Buckets behind s3fs. There are no locks: concurrent writers of one version write the same bytes."""

    has_folders = False
    copies_inside = True
    small_files_at_once = 16
    storage_classes = (
        "STANDARD",
        "STANDARD_IA",
        "ONEZONE_IA",
        "INTELLIGENT_TIERING",
        "GLACIER_IR",
        "GLACIER",
        "DEEP_ARCHIVE",
    )
    """Amazon's; other servers may have other names, and are asked."""
    copy_at_once_bytes = 1 << 30
    """Largest file that one request copies; the protocol allows 5 GiB, but then few servers answer in time."""
    copy_part_bytes = 256 << 20
    """Size of the parts in which larger files are copied."""

    _new_files: Mapping[str, str] = {}
    """What requests that make a file say of it."""

    # writing ----------------------------------------------------------------------------------

    def write_as(self, storage_class: str) -> None:
        """Give new files and copies a storage class that can be read at once."""
        self._check_storage_class(storage_class)
        if storage_class in _ARCHIVES:
            raise InvalidInputError(
                f"files of the class {storage_class!r} cannot be read back to verify them: write them in a class such "
                "as 'STANDARD_IA', and archive them afterwards by SetStoragePolicyOperator or a rule of the bucket"
            )
        self._new_files = {"StorageClass": storage_class}

    def _open(self, path: str, *, exclusive: bool, expected_bytes: int) -> Any:
        # The file may be larger than expected, and the last part is smaller than the others.
        size = max(_PART_BYTES, -(-expected_bytes // (MOST_PARTS - 1)))
        mode = "xb" if exclusive else "wb"
        options = {"s3_additional_kwargs": dict(self._new_files), "requester_pays": self.fs.requester_pays}
        return _Upload(self.fs, path, mode, size, autocommit=False, **options)

    def _publish(self, file: Any, path: str, *, exclusive: bool) -> None:
        try:
            if file.offset is None:
                # Nothing was sent yet: one request instead of the three that a multipart upload takes.
                self._put(path, file.buffer.getvalue(), exclusive=exclusive)
                file.closed = True
            elif exclusive:
                self._complete_as_first(file, path)
            else:
                file.close()
                file.commit()
        except OSError as error:
            if exclusive and diagnosis(error)[0] == "PreconditionFailed":
                raise FileExistsError(f"{path} exists already") from error
            raise

    def _put(self, path: str, data: bytes, *, exclusive: bool) -> None:
        small = not self._new_files and SmallObjects.of(self.fs)
        with suppress(DamagedError):
            if small and small.put(*_bucket_and_key(path), data, exclusive=exclusive):
                return
        self.fs.pipe_file(path, data, mode="create" if exclusive else "overwrite", **self._new_files)

    def _complete_as_first(self, file: Any, path: str) -> None:
        """Complete an upload of parts unless the file is there; look before and after on servers that do not.

        Two such uploads that end within one request of each other may then both seem to be the first.
        """
        file.close()
        if self.fs.exists(path):
            raise FileExistsError(f"{path} exists already")
        which = {"Bucket": file.bucket, "Key": file.key}
        parts: dict[str, Any] = {"UploadId": file.mpu["UploadId"], "MultipartUpload": {"Parts": file.parts}}
        made = self.fs.call_s3("complete_multipart_upload", **which, **parts, IfNoneMatch="*")
        file.mpu = None
        # Some servers do not say what they have made.
        etag = bare(made["ETag"]) or etag_of([bare(part["ETag"]) for part in parts["MultipartUpload"]["Parts"]])
        if bare(self.fs.call_s3("head_object", **which)["ETag"]) != etag:
            raise FileExistsError(f"{path} was replaced by another writer at the same moment")

    def put(self, path: str, data: bytes | memoryview) -> str | bool:
        """Write a small object by one request; its ETag proves that it arrived, unless the server encrypts it."""
        etag = put(self.fs, path, data, self._new_files)
        return False if etag is None else stamp_with(etag)

    def part_bytes(self, size: int) -> int:
        """Return 16 MiB, or more where there would be too many parts."""
        return part_bytes(size)

    def begin_upload(self, path: str, *, size: int, part_bytes: int) -> S3Upload:
        """Begin an upload of parts."""
        return S3Upload.begin(S3Requests.of(self.fs), path, Parts(size, part_bytes), self._new_files)

    def resume_upload(self, path: str, handle: str) -> S3Upload | None:
        """Return an upload that the server still has."""
        return S3Upload.resume(S3Requests.of(self.fs), path, handle)

    def make_folder(self, path: str) -> None:
        """Do nothing: there are no folders, and a bucket that is missing is an error rather than a wish."""

    # reading ----------------------------------------------------------------------------------

    def open(self, path: str, *, block_size: int) -> BinaryIO:
        """Open a file for reading; a small one is read at once."""
        data = SmallObjects.of(self.fs).get(*_bucket_and_key(path))
        return super().open(path, block_size=block_size) if data is None else BytesIO(data)

    def read_range(self, path: str, start: int, length: int, *, pin: str | None = None) -> bytes:
        """Return bytes of an object on the condition that its ETag is that of ``pin``."""
        return read_pinned(self.fs, path, start, length, etag_in(pin))

    def stamp_in(self, info: Mapping[str, Any]) -> str | None:
        """Return the ETag, in the same form for each request that tells it."""
        return stamp_with(info["ETag"]) if info.get("ETag") else None

    def stamp(self, path: str) -> str | None:
        """Return the ETag, which is another for another content."""
        return self.stamp_in(self.fs.info(path))

    def checksum_in(self, stamp: str) -> str | None:
        """Take an ETag that looks like an MD5 digest for one."""
        return checksum_in_stamp(stamp)

    def checksum(self, path: str) -> str | None:
        """Return the MD5 digest that the ETag is, or the checksum that the object was sent with."""
        return checksum_in_head(S3Requests.of(self.fs), path)

    # copying ----------------------------------------------------------------------------------

    def copy(self, source: str, target: str) -> None:
        """Copy on the server's side, with headers and tags; large files in parts, several at once.

        Parts of two states of a file are never put together: they are asked for by its ETag, and as some servers
        ignore that, the file's ETag is compared again before the copy becomes visible.
        """
        self._copy(source, target, self._new_files)

    def _copy(self, source: str, target: str, options: Mapping[str, str]) -> None:
        bucket, key = _bucket_and_key(target)
        origin = dict(zip(("Bucket", "Key"), _bucket_and_key(source), strict=True))
        found = self.fs.call_s3("head_object", **origin)
        kept = {name: found[name] for name in _ENCRYPTION if name in found and source == target}
        if found["ContentLength"] <= self.copy_at_once_bytes or not self._copies_parts_of(source):
            pin = {"CopySource": origin, "CopySourceIfMatch": found["ETag"]}
            self.fs.call_s3("copy_object", Bucket=bucket, Key=key, **pin, **kept, **options)
            return
        kept |= {name: found[name] for name in _HEADERS if name in found}
        tags = self.fs.call_s3("get_object_tagging", **origin)["TagSet"] if found.get("TagCount") else []
        if tags:
            kept["Tagging"] = urlencode([(tag["Key"], tag["Value"]) for tag in tags])
        began = self.fs.call_s3("create_multipart_upload", Bucket=bucket, Key=key, **kept, **options)
        upload = {"Bucket": bucket, "Key": key, "UploadId": began["UploadId"]}
        try:
            self._copy_parts(origin, found, upload)
        except BaseException:
            # What cannot be aborted now, the sweep finds.
            with suppress(OSError):
                self.fs.call_s3("abort_multipart_upload", **upload)
            raise
        if tags and not self.fs.call_s3("head_object", Bucket=bucket, Key=key).get("TagCount"):
            # Some servers take no tags with an upload of parts.
            self.fs.call_s3("put_object_tagging", Bucket=bucket, Key=key, Tagging={"TagSet": tags})

    def _copies_parts_of(self, source: str) -> bool:
        """Tell whether the parts of a file are copied from that file, whatever its name is.

        Ceph decodes the name of the source twice, so that it takes ``a b`` for ``a+b``, be it another file or none.
        """
        return self._is_amazon or not set(source) & set("+%")

    @property
    def _is_amazon(self) -> bool:
        return ".amazonaws." in str(self.fs.s3.meta.endpoint_url)

    def _copy_parts(self, origin: Mapping[str, str], found: Mapping[str, Any], upload: Mapping[str, str]) -> None:
        size, etag = found["ContentLength"], found["ETag"]
        step = max(self.copy_part_bytes, -(-size // MOST_PARTS))

        def copy_part(start: int) -> dict[str, Any]:
            number = start // step + 1
            part = {"PartNumber": number, "CopySourceRange": f"bytes={start}-{min(start + step, size) - 1}"}
            made = self.fs.call_s3(
                "upload_part_copy", **upload, **part, CopySource=dict(origin), CopySourceIfMatch=etag
            )
            return {"PartNumber": number, "ETag": made["CopyPartResult"]["ETag"]}

        with ThreadPoolExecutor(_REQUESTS_AT_ONCE, thread_name_prefix="s3-copy") as pool:
            parts = list(pool.map(copy_part, range(0, size, step)))
        if bare(self.fs.call_s3("head_object", **origin)["ETag"]) != bare(etag):
            raise TransferError(f"{origin['Bucket']}/{origin['Key']} changed while it was being copied")
        self.fs.call_s3("complete_multipart_upload", **upload, MultipartUpload={"Parts": parts})

    # storage classes and archives -------------------------------------------------------------

    def storage_class(self, path: str) -> str | None:
        """Return the storage class of a file, ``None`` for a folder."""
        info = self.fs.info(path)
        return None if info["type"] == "directory" else str(info.get("StorageClass") or "STANDARD")

    def set_storage_class(self, path: str, name: str) -> int:
        """Copy files onto themselves with another storage class; headers, tags and encryption stay as they are.

        Manifests stay out of archives, so that versions can be found and the catalog be rebuilt.
        """
        self._check_storage_class(name)
        todo = [
            found
            for found, now in self._classes(path)
            if now != name and not (name in _ARCHIVES and posixpath.basename(found) == MANIFEST_NAME)
        ]

        def change(found: str) -> None:
            try:
                self._copy(found, found, {"StorageClass": name})
            except OSError as error:
                if diagnosis(error)[0] not in _NO_SUCH_CLASS:
                    raise
                raise self._no_such_class(name) from error

        with ThreadPoolExecutor(_REQUESTS_AT_ONCE, thread_name_prefix="s3-class") as pool:
            return len(list(pool.map(change, todo)))

    def _classes(self, path: str) -> list[tuple[str, str]]:
        """Return the files at and below ``path`` with their storage classes."""
        bucket, prefix = _split(path)
        listed = self._listed("list_objects_v2", "Contents", Bucket=bucket, Prefix=prefix)
        found = [(f"{bucket}/{item['Key']}", item.get("StorageClass") or "STANDARD") for item in listed]
        if not found:
            found = [(path, self.storage_class(path) or "STANDARD")]
        return found

    def _check_storage_class(self, name: str) -> None:
        if name not in self.storage_classes and self._is_amazon:
            raise self._no_such_class(name)

    def _no_such_class(self, name: str) -> InvalidInputError:
        return InvalidInputError(f"no storage class named {name!r} here{did_you_mean(name, self.storage_classes)}")

    def archive_state(self, path: str) -> ArchiveState:
        """Ask for the state of a restore; where there was none, a read of one byte tells archives by Amazon's rules
        from mere names of storage classes.
        """
        bucket, key = _bucket_and_key(path)
        found = self.fs.call_s3("head_object", Bucket=bucket, Key=key)
        restore = found.get("Restore", "")
        if "true" in restore.partition(",")[0]:
            return "restoring"
        if restore or not _may_be_archived(found):
            return "readable"
        try:
            self.fs.cat_file(path, start=0, end=1)
        except OSError as error:
            code = diagnosis(error)[0]
            if code == "InvalidObjectState":
                return "archived"
            if code != "InvalidRange":  # which a file without any bytes answers
                raise
        return "readable"

    def restore(self, path: str, *, days: int, speed: str) -> None:
        """Ask for a readable copy; asking again prolongs its life.

        :param days: days that the copy stays; files in the archive tiers of ``INTELLIGENT_TIERING`` stay readable.
        :param speed: ``Bulk`` (hours to days, cheapest), ``Standard`` (hours) or ``Expedited`` (minutes, not from
            ``DEEP_ARCHIVE``).
        :raises UnsupportedError: when the server cannot restore.
        """
        if days < 1:
            raise InvalidInputError(f"a restored file stays for at least 1 day, got days={days}")
        if speed not in RESTORE_SPEEDS:
            raise InvalidInputError(f"no restore speed {speed!r}{did_you_mean(speed, RESTORE_SPEEDS)}")
        bucket, key = _bucket_and_key(path)
        found = self.fs.call_s3("head_object", Bucket=bucket, Key=key)
        if not _may_be_archived(found) or "true" in found.get("Restore", "").partition(",")[0]:
            return
        request: dict[str, Any] = {"GlacierJobParameters": {"Tier": speed}}
        if "ArchiveStatus" not in found:
            request["Days"] = days
        try:
            self.fs.call_s3("restore_object", Bucket=bucket, Key=key, RestoreRequest=request)
        except OSError as error:
            code = diagnosis(error)[0]
            if code == "NotImplemented" and self.archive_state(path) == "readable":
                return
            if code not in ("RestoreAlreadyInProgress", "InvalidObjectState"):
                raise

    # upkeep -----------------------------------------------------------------------------------

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
        if self._new_files and diagnosis(error)[0] in _NO_SUCH_CLASS:
            return self._no_such_class(self._new_files["StorageClass"])
        return explanation(error, what, path.partition("/")[0]) or super().explain(error, what, path)


def _split(folder: str) -> tuple[str, str]:
    """Return the bucket and what the keys of everything in the folder begin with."""
    bucket, key = _bucket_and_key(folder)
    return bucket, f"{key}/" if key else ""


def _bucket_and_key(path: str) -> tuple[str, str]:
    bucket, _, key = path.partition("/")
    return bucket, key


def _may_be_archived(found: Mapping[str, Any]) -> bool:
    return found.get("StorageClass") in _ARCHIVES or "ArchiveStatus" in found


BACKEND = S3Backend
