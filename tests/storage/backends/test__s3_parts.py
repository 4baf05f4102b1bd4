"""Parts on S3: proofs of arrival, publications whose answer is lost, checksums, and expired credentials."""

from __future__ import annotations

import hashlib

import pytest
from botocore.exceptions import ClientError

from airflow_dataflow.errors import AccessDeniedError
from airflow_dataflow.storage.backends import errors_explained
from airflow_dataflow.storage.backends._s3_client import S3Requests
from airflow_dataflow.storage.backends._s3_parts import arrived, etag_of, part_bytes
from airflow_dataflow.storage.checksums import checker
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.parts import LostUploadError, Upload
from airflow_dataflow.testing.contents import LARGE, MIB, digest

PART = 8 * MIB
PARTS = [LARGE[start : start + PART] for start in range(0, len(LARGE), PART)]


def begin(folder: Directory, path: str) -> Upload:
    """Begin an upload of 21 MiB in parts of 8 MiB."""
    return folder.backend.begin_upload(folder.path(path), size=len(LARGE), part_bytes=PART)


def test_a_publication_whose_answer_was_lost_is_no_error_the_second_time(folder: Directory) -> None:
    upload = begin(folder, "a")
    tokens = [upload.put(number, data) for number, data in enumerate(PARTS)]
    for _ in range(2):
        upload.publish(tokens)
    assert folder.digest("a") == digest(LARGE)


def test_parts_that_the_server_lost_are_to_be_sent_again(folder: Directory) -> None:
    upload = begin(folder, "a")
    tokens = [upload.put(number, data) for number, data in enumerate(PARTS)]
    with pytest.raises(LostUploadError, match="begin it again"):
        upload.publish([hashlib.md5(b"other").hexdigest(), *tokens[1:]])
    assert folder.files() == {}
    upload.discard()
    assert folder.backend.resume_upload(folder.path("a"), upload.handle) is None


def test_objects_are_checked_by_what_the_server_knows_of_them(folder: Directory) -> None:
    upload = begin(folder, "large")
    upload.publish([upload.put(number, data) for number, data in enumerate(PARTS)])
    folder.backend.put(folder.path("small"), LARGE[:MIB])
    for path, data in (("small", LARGE[:MIB]), ("large", LARGE)):
        made = checker(folder.backend.checksum(folder.path(path)))
        if made is None or not made.is_sure:
            assert path == "large", "an ETag of an object in one part is its digest"
            continue
        made.update(data)
        assert made.matches()


def test_an_etag_proves_what_arrived_unless_the_server_encrypts() -> None:
    md5 = hashlib.md5(b"x").hexdigest()
    other = hashlib.md5(b"y").hexdigest()
    assert arrived({"ETag": f'"{md5}"'}, md5)
    assert not arrived({"ETag": f'"{other}"'}, md5)
    assert arrived({"ETag": f'"{other}"', "SSEKMSKeyId": "key"}, md5)


def test_parts_grow_where_there_would_be_too_many() -> None:
    assert part_bytes(1) == part_bytes(10_000 * 16 * MIB) == 16 * MIB
    assert part_bytes(10_000 * 16 * MIB + 1) == 17 * MIB
    assert -(-(5 << 40) // part_bytes(5 << 40)) <= 10_000


def test_the_etag_of_parts_is_known_before_they_are_put_together() -> None:
    digests = [hashlib.md5(data).hexdigest() for data in (b"x", b"y")]
    expected = hashlib.md5(b"".join(bytes.fromhex(value) for value in digests)).hexdigest()
    assert etag_of(digests) == f"{expected}-2"
    assert etag_of(["no digest", *digests]) == ""


@pytest.mark.s3
@pytest.mark.parametrize("code", ["ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"])
def test_expired_credentials_say_what_to_renew(s3_options, bucket: str, code: str) -> None:
    folder = Directory.from_url(f"s3://{bucket}", s3_options)
    error = ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 403}}, "UploadPart")
    with (
        pytest.raises(AccessDeniedError, match="renew the session token"),
        errors_explained("a", folder.backend, f"{bucket}/a"),
    ):
        raise error


def test_requests_are_made_by_one_client_for_each_file_system(folder: Directory) -> None:
    assert S3Requests.of(folder.fs) is S3Requests.of(folder.fs)
