"""A double of Aliyun OSS for the tests: no server that speaks its protocol can be had.

The protocol's own half is checked or made here, after Aliyun's documentation: signatures of version 1, ``x-oss-``
headers, names of storage classes, the error of a forbidden overwrite. The store behind it, with its uploads, listings,
copies and archives, is moto, another implementation than ours. What both have wrong, no test finds.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import re
import threading
import uuid
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import boto3
import pytest

KEY, SECRET = "tests-key", "tests-secret"
CLASSES = {
    "Standard": "STANDARD",
    "IA": "STANDARD_IA",
    "Archive": "GLACIER",
    "ColdArchive": "DEEP_ARCHIVE",
    "DeepColdArchive": "GLACIER_IR",
}
_FROM_S3 = {there: here for here, there in CLASSES.items()}
_SIGNED_PARAMETERS = {"continuation-token", "delete", "partNumber", "restore", "uploadId", "uploads"}
_NOT_FORWARDED = {"authorization", "connection", "date", "host", "x-oss-range-behavior", "x-oss-forbid-overwrite"}
_EMPTY = re.compile(
    "(?<=[?&])(continuation-token|delimiter|fetch-owner|key-marker|prefix|start-after|upload-id-marker)=(&|$)"
)
"""Parameters without a value, which OSS takes for absent."""
_ANYBODY = "AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=any"
"""The server behind wants requests signed, and takes any signature."""
_FORBID = "x-oss-forbid-overwrite"


def signature(method: str, path: str, query: str, headers: Mapping[str, str]) -> str:
    """Return the signature of version 1 that Aliyun's documentation prescribes for a request."""
    lower = {name.lower(): value for name, value in headers.items()}
    parameters = sorted(item for item in parse_qsl(query, keep_blank_values=True) if item[0] in _SIGNED_PARAMETERS)
    resource = unquote(path) + ("?" if parameters else "")
    resource += "&".join(f"{name}={value}" if value else name for name, value in parameters)
    own = "".join(f"{name}:{lower[name]}\n" for name in sorted(lower) if name.startswith("x-oss-"))
    first = [method, lower.get("content-md5", ""), lower.get("content-type", ""), lower.get("date", "")]
    text = "\n".join([*first, own + resource])
    return base64.b64encode(hmac.new(SECRET.encode(), text.encode(), hashlib.sha1).digest()).decode()


class _Double(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store = ""
    """Host and port of the S3 server behind."""

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        expected = f"OSS {KEY}:{signature(self.command, url.path, url.query, dict(self.headers))}"
        if self.headers.get("Authorization") != expected:
            self._answer(403, {}, _error("SignatureDoesNotMatch", "The signature does not match."))
            return
        status, headers, content = self._ask(body)
        if status == 412 and self.headers.get(_FORBID) == "true":
            status, content = 409, _error("FileAlreadyExists", "The object you specified already exists.")
        self._answer(status, headers, content)

    def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        headers = {_to_s3(name): value for name, value in self.headers.items() if name.lower() not in _NOT_FORWARDED}
        if "x-amz-storage-class" in headers:
            headers["x-amz-storage-class"] = CLASSES[headers["x-amz-storage-class"]]
        if self.headers.get(_FORBID) == "true" and not urlsplit(self.path).query.startswith("uploads"):
            headers["If-None-Match"] = "*"
        body = body.replace(b"<JobParameters>", b"<GlacierJobParameters>").replace(
            b"</JobParameters>", b"</GlacierJobParameters>"
        )
        headers |= {"Content-Length": str(len(body)), "Authorization": _ANYBODY}
        connection = http.client.HTTPConnection(self.store, timeout=60)
        connection.request(self.command, _EMPTY.sub("", self.path), body, headers)
        answer = connection.getresponse()
        found = {_from_s3(name): value for name, value in answer.getheaders()}
        if "x-oss-storage-class" in found:
            found["x-oss-storage-class"] = _FROM_S3[found["x-oss-storage-class"]]
        content = answer.read()
        connection.close()
        if "xml" in found.get("content-type", "") and answer.status < 300:
            content = _as_oss_says_it(content)
        return answer.status, found, content

    def _answer(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        self.send_response(status)
        length = headers.get("content-length") if self.command == "HEAD" else None
        for name, value in headers.items():
            if name not in ("content-length", "connection", "transfer-encoding", "server", "date"):
                self.send_header(name, value)
        self.send_header("x-oss-request-id", uuid.uuid4().hex)
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _handle  # noqa: N815 - names of the standard library

    def log_message(self, *_args: Any) -> None: ...


def _to_s3(name: str) -> str:
    return re.sub("^x-oss-", "x-amz-", name.lower())


def _from_s3(name: str) -> str:
    return re.sub("^x-amz-", "x-oss-", name.lower())


def _as_oss_says_it(content: bytes) -> bytes:
    text = re.sub(r' xmlns="[^"]*"', "", content.decode())
    text = re.sub(r"<StorageClass>(\w+)<", lambda match: f"<StorageClass>{_FROM_S3[match[1]]}<", text)
    text = text.replace("</Contents>", "<Type>Normal</Type></Contents>")
    for name in ("NextKeyMarker", "NextUploadIdMarker"):
        if "<ListMultipartUploadsResult" in text and f"<{name}>" not in text and f"<{name}/>" not in text:
            text = text.replace("</ListMultipartUploadsResult>", f"<{name}></{name}></ListMultipartUploadsResult>")
    return text.encode()


def _error(code: str, message: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


@pytest.fixture(scope="session")
def oss_url(s3_url: str) -> Iterator[str]:
    """Return the URL of the double."""
    handler = type("Double", (_Double,), {"store": s3_url.removeprefix("http://")})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def oss_options(oss_url: str) -> dict[str, Any]:
    """Return what fsspec needs to open ``oss://…`` URLs on the double."""
    return {"endpoint": oss_url, "key": KEY, "secret": SECRET}


@pytest.fixture
def oss_bucket(s3_url: str) -> str:
    """Return the name of an empty bucket."""
    name = f"bucket-{uuid.uuid4().hex}"
    client = boto3.client("s3", endpoint_url=s3_url, aws_access_key_id="tests", aws_secret_access_key="any")
    client.create_bucket(Bucket=name)
    client.close()
    return name
