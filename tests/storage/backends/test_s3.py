"""S3: what is said when a store refuses, is busy or gone, and what a killed upload leaves behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from airflow_dataflow.errors import (
    AccessDeniedError,
    ArchivedError,
    NotFoundError,
    TransferError,
    is_terminal,
)
from airflow_dataflow.storage.directory import Directory
from tests.killing import killed_at
from tests.storage.versions import open_store

LATER = datetime.now(UTC) + timedelta(days=1)
LARGE = bytes(range(256)) * (4096 * 21)
pytestmark = pytest.mark.s3


def write(directory: Directory, path: str, data: bytes, **options: Any) -> None:
    """Write a file."""
    with directory.create(path, **options) as writer:
        for start in range(0, len(data), 7 << 20):
            writer.write(data[start : start + (7 << 20)])


@pytest.fixture
def directory(bucket: str, s3_options: dict[str, Any]) -> Directory:
    return Directory.from_url(f"s3://{bucket}/tier", s3_options)


# a store that answers as we tell it ------------------------------------------------------------


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # clients ask before they send a body, and an older protocol has no answer
    status, code = 200, ""

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = f"<Error><Code>{self.code}</Code><Message>said the server</Message></Error>".encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _answer  # noqa: N815 - names of the standard library

    def log_message(self, *_args: Any) -> None: ...


@pytest.fixture
def answering(s3_options: dict[str, Any]) -> Iterator[Callable[[int, str], Directory]]:
    """Return a function that starts a server with one answer to everything, and opens a folder on it."""
    servers = []

    def start(status: int, code: str) -> Directory:
        handler = type("Answer", (_Answer,), {"status": status, "code": code})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return _open(f"http://127.0.0.1:{server.server_port}", s3_options)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def _open(endpoint: str, options: dict[str, Any]) -> Directory:
    quick = {"config_kwargs": {"retries": {"max_attempts": 0}, "connect_timeout": 2, "read_timeout": 5}}
    client = {**options["client_kwargs"], "endpoint_url": endpoint}
    directory = Directory.from_url("s3://archive/tier", {**options, **quick, "client_kwargs": client})
    directory.fs.retries = 1
    return directory


ANSWERS = [
    (403, "AccessDenied", AccessDeniedError, "bucket 'archive' refuses a/x .*check the connection's credentials"),
    (403, "InvalidAccessKeyId", AccessDeniedError, "bucket 'archive' refuses a/x .*check the connection's credentials"),
    (403, "SignatureDoesNotMatch", AccessDeniedError, "bucket 'archive' refuses a/x"),
    (400, "ExpiredToken", AccessDeniedError, "bucket 'archive' refuses a/x"),
    (404, "NoSuchBucket", NotFoundError, r"no bucket 'archive' \(a/x\): create it, or correct the URL"),
    (503, "SlowDown", TransferError, "trouble with a/x in bucket 'archive': .*SlowDown.*said the server"),
    (500, "InternalError", TransferError, "trouble with a/x in bucket 'archive'"),
    (502, "", TransferError, "trouble with a/x in bucket 'archive'"),
    (429, "TooManyRequests", TransferError, "trouble with a/x in bucket 'archive'"),
    (409, "ConditionalRequestConflict", TransferError, "trouble with a/x in bucket 'archive'"),
]


@pytest.mark.parametrize(
    ("status", "code", "error", "message"), ANSWERS, ids=[answer[1] or "502" for answer in ANSWERS]
)
@pytest.mark.parametrize("data", [b"small", LARGE], ids=["small", "large"])
def test_an_answer_to_a_writer_says_whether_to_try_again(
    answering, status: int, code: str, error: type[Exception], message: str, data: bytes
) -> None:
    with pytest.raises(error, match=message) as caught:
        write(answering(status, code), "a/x", data)
    assert is_terminal(caught.value) is (error is not TransferError)


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (403, "AccessDenied", AccessDeniedError),
        (404, "NoSuchBucket", NotFoundError),
        (500, "InternalError", TransferError),
        (503, "SlowDown", TransferError),
    ],
)
def test_an_answer_to_a_reader_says_whether_to_try_again(
    answering, status: int, code: str, error: type[Exception]
) -> None:
    directory = answering(status, code)
    for act in (lambda: directory.read("a/x"), lambda: directory.exists("a/x"), directory.files, directory.folders):
        with pytest.raises(error, match="bucket 'archive'"):
            act()


def test_an_archived_object_has_to_be_restored_first(answering) -> None:
    message = "a/x in bucket 'archive' is archived: have it restored by RestoreDatasetOperator"
    with pytest.raises(ArchivedError, match=message):
        write(answering(403, "InvalidObjectState"), "a/x", b"x")


def test_a_server_that_is_gone_is_worth_another_try(s3_options: dict[str, Any]) -> None:
    directory = _open("http://127.0.0.1:9", s3_options)
    for act in (lambda: write(directory, "a/x", b"x"), lambda: directory.read("a/x"), directory.files):
        with pytest.raises(TransferError, match="in bucket 'archive'"):
            act()


def test_credentials_that_are_nowhere_are_asked_for(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    directory = Directory.from_url("s3://archive/x", {"client_kwargs": {"endpoint_url": s3_url}})
    with pytest.raises(AccessDeniedError, match=r"bucket 'archive' refuses a/x .*check the connection's"):
        write(directory, "a/x", b"x")


def test_a_missing_bucket_is_named_and_never_made(s3_options: dict[str, Any]) -> None:
    directory = Directory.from_url("s3://no-such-bucket/tier", s3_options)
    for data in (b"small", LARGE):
        with pytest.raises(NotFoundError, match="no bucket 'no-such-bucket'"):
            write(directory, "a/x", data)
    with pytest.raises(NotFoundError, match="no bucket 'no-such-bucket'"):
        directory.read("a/x")
    assert not directory.fs.exists("no-such-bucket")


# uploads --------------------------------------------------------------------------------------


def test_an_upload_grows_its_parts_with_the_file(directory: Directory) -> None:
    with directory.backend.create(f"{directory.root}/a", expected_bytes=10**12) as file:
        assert file.blocksize * 10_000 >= 10**12
    with directory.backend.create(f"{directory.root}/a") as file:
        assert file.blocksize == 8 << 20


def _upload(url: str, options: dict[str, Any]) -> None:
    write(Directory.from_url(url, options), "a/large.bin", LARGE)


def test_a_killed_upload_is_invisible_and_swept_after_the_grace(
    directory: Directory, s3_options: dict[str, Any], tmp_path: Path
) -> None:
    steps = 0
    while killed_at(steps + 1, _upload, directory.url, s3_options):
        steps += 1
        assert directory.files() == {}
    assert steps >= 7, "three writes, and a request to begin, for each of the parts, and to end"
    assert directory.digest("a/large.bin")[1] == len(LARGE)

    bucket = directory.root.partition("/")[0]
    store = open_store(tmp_path, cold=(directory.url, s3_options))
    # To this server every upload began in 2010; only the parts of one have their own time.
    without_parts = store.sweep(grace=timedelta(hours=1))
    unfinished = directory.fs.list_multipart_uploads(bucket)
    assert len(unfinished) > len(without_parts)
    assert store.sweep(grace=timedelta(hours=1)) == []
    assert store.sweep(grace=timedelta(hours=1), now=LATER) == [f"{directory.root}/a/large.bin"] * len(unfinished)
    assert directory.fs.list_multipart_uploads(bucket) == []


def test_an_upload_beside_the_tier_is_not_the_business_of_the_sweep(
    directory: Directory, s3_options: dict[str, Any]
) -> None:
    other = Directory.from_url(f"{directory.url}-other", s3_options)
    with other.create("large.bin") as writer:
        writer.write(LARGE)
        assert directory.remove_unfinished(LATER) == []
    assert other.size("large.bin") == len(LARGE)
