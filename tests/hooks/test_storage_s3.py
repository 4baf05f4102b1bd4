"""S3 through Airflow's connections: every kind of credentials, and what is said when they do not do."""

from __future__ import annotations

import json
import logging
import socket
import ssl
import threading
import traceback
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from fsspec.asyn import sync

from airflow_dataflow.errors import (
    AccessDeniedError,
    InvalidInputError,
    NotFoundError,
    StorageFullError,
    TransferError,
    is_terminal,
)
from airflow_dataflow.hooks.storage import directory, storage_options
from airflow_dataflow.storage.backends._s3_objects import SmallObjects
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.tier import Tier
from airflow_dataflow.testing.contents import LARGE, write
from tests.services.ceph import CephS3

Connect = Callable[..., None]
ONCE = {"config_kwargs": {"retries": {"max_attempts": 0}, "connect_timeout": 2, "read_timeout": 5}}


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Return a function that defines the connection ``s3``."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    def define(*, login: str | None = None, password: str | None = None, **extra: Any) -> None:
        extra.setdefault("region_name", "us-east-1")
        connection = {"conn_type": "aws", "login": login, "password": password, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_S3", json.dumps(connection))

    return define


def uses(folder: Directory) -> dict[str, Callable[[], Any]]:
    """Return every way in which a folder is used."""
    return {
        "write": lambda: write(folder, "a/x", b"x"),
        "write in parts": lambda: write(folder, "a/x", LARGE),
        "read": lambda: folder.read("a/x"),
        "look": lambda: folder.exists("a/x"),
        "list": folder.files,
        "list folders": folder.folders,
        "copy": lambda: folder.copy("a/x", folder, "a/y"),
        "remove": lambda: folder.remove("a/x"),
        "remove all": folder.remove_all,
        "clean up": lambda: folder.remove_unfinished(folder.changed_at()),
    }


USES = list(uses(Directory.from_url("/")))


def told(error: BaseException, caplog: pytest.LogCaptureFixture) -> str:
    """Return all that a person may see of an error: its text, its causes, the log."""
    return "".join(traceback.format_exception(error)) + caplog.text


# credentials ----------------------------------------------------------------------------------


@pytest.mark.ceph
def test_keys_of_a_connection_open_a_bucket(connect: Connect, ceph_s3: CephS3, ceph_bucket: str) -> None:
    connect(login=ceph_s3.key, password=ceph_s3.secret, endpoint_url=ceph_s3.url)
    folder = directory(f"s3://s3@{ceph_bucket}/tier")
    write(folder, "a", b"x")
    assert folder.files() == {"a": 1}


@pytest.mark.ceph
def test_the_endpoint_may_be_that_of_the_service_alone(connect: Connect, ceph_s3: CephS3, ceph_bucket: str) -> None:
    service = {"s3": {"endpoint_url": ceph_s3.url}}
    connect(login=ceph_s3.key, password=ceph_s3.secret, service_config=service)
    assert directory(f"s3://s3@{ceph_bucket}/tier").files() == {}


@pytest.mark.ceph
def test_a_profile_opens_a_bucket(
    connect: Connect, ceph_s3: CephS3, ceph_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = tmp_path / "credentials"
    keys = f"aws_access_key_id = {ceph_s3.key}\naws_secret_access_key = {ceph_s3.secret}\n"
    credentials.write_text(f"[default]\naws_access_key_id = no\naws_secret_access_key = no\n\n[archive]\n{keys}")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    connect(profile_name="archive", endpoint_url=ceph_s3.url)
    assert directory(f"s3://s3@{ceph_bucket}/tier").files() == {}
    connect(profile_name="default", endpoint_url=ceph_s3.url)
    with pytest.raises(AccessDeniedError, match="check the connection's credentials"):
        directory(f"s3://s3@{ceph_bucket}/tier").files()


@pytest.mark.s3
def test_a_role_is_assumed(connect: Connect, s3_url: str, bucket: str) -> None:
    role = {"role_arn": "arn:aws:iam::123456789012:role/archivist", "service_config": {"sts": {"endpoint_url": s3_url}}}
    connect(login="tests", password="any", endpoint_url=s3_url, **role)
    folder = directory(f"s3://s3@{bucket}/tier")
    write(folder, "a", b"x")
    assert folder.read("a") == b"x"
    signed_by = sync(folder.fs.loop, folder.fs.s3._request_signer._credentials.get_frozen_credentials)
    assert signed_by.access_key.startswith("ASIA"), "the keys of a role"
    assert SmallObjects.of(folder.fs)._credentials()["access_key_id"] == signed_by.access_key


@pytest.mark.ceph
def test_a_connection_without_credentials_is_anonymous(
    connect: Connect, ceph_s3: CephS3, ceph_bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    connect(endpoint_url=ceph_s3.url)
    with pytest.raises(AccessDeniedError, match=f"bucket '{ceph_bucket}' refuses"):
        directory(f"s3://s3@{ceph_bucket}/tier").files()


# refusals -------------------------------------------------------------------------------------


@pytest.mark.ceph
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("wrong", ["secret", "key"])
def test_wrong_credentials_are_named_and_never_shown(
    connect: Connect, ceph_s3: CephS3, ceph_bucket: str, caplog: pytest.LogCaptureFixture, wrong: str, use: str
) -> None:
    caplog.set_level(logging.DEBUG)
    login = ceph_s3.key if wrong == "secret" else "no-such-key"
    connect(login=login, password="hidden-secret", endpoint_url=ceph_s3.url)
    folder = directory(f"s3://s3@{ceph_bucket}/tier")
    with pytest.raises(AccessDeniedError, match=rf"bucket '{ceph_bucket}' refuses .*check the connection's") as caught:
        uses(folder)[use]()
    assert is_terminal(caught.value)
    assert "hidden-secret" not in told(caught.value, caplog)


@pytest.mark.ceph
@pytest.mark.parametrize("use", USES)
def test_a_bucket_of_somebody_else_stays_closed(ceph_s3: CephS3, ceph_bucket: str, use: str) -> None:
    write(Directory.from_url(f"s3://{ceph_bucket}/tier", ceph_s3.options), "a/x", b"theirs")
    others = {**ceph_s3.options, "key": ceph_s3.other_key, "secret": ceph_s3.other_secret}
    folder = Directory.from_url(f"s3://{ceph_bucket}/tier", others)
    with pytest.raises(AccessDeniedError, match=f"bucket '{ceph_bucket}' refuses"):
        uses(folder)[use]()
    mine = Directory.from_url(f"s3://{ceph_bucket}/tier", ceph_s3.options)
    assert mine.read("a/x") == b"theirs"


@pytest.mark.ceph
@pytest.mark.parametrize("size", [2 << 20, 21 << 20], ids=["small", "in parts"])
def test_a_full_quota_is_a_full_store(ceph_s3: CephS3, size: int) -> None:
    limited = {**ceph_s3.options, "key": ceph_s3.other_key, "secret": ceph_s3.other_secret}
    bucket = f"bucket-{uuid.uuid4().hex}"
    folder = Directory.from_url(f"s3://{bucket}/tier", limited)
    folder.fs.call_s3("create_bucket", Bucket=bucket)
    with pytest.raises(StorageFullError, match=f"no space left for a in bucket '{bucket}' .*QuotaExceeded") as caught:
        write(folder, "a", b"x" * size)
    assert is_terminal(caught.value)
    assert folder.files() == {}


@pytest.mark.ceph
@pytest.mark.parametrize("use", sorted({*USES} - {"look", "copy", "remove", "remove all"}))
def test_a_bucket_that_is_missing_is_named(ceph_s3: CephS3, use: str) -> None:
    folder = Directory.from_url("s3://no-such-bucket/tier", ceph_s3.options)
    with pytest.raises(NotFoundError, match=r"no bucket 'no-such-bucket' .*: create it, or correct the URL"):
        uses(folder)[use]()


@pytest.mark.parametrize("use", USES)
def test_a_host_that_does_not_answer_is_worth_another_try(
    connect: Connect, caplog: pytest.LogCaptureFixture, use: str
) -> None:
    caplog.set_level(logging.DEBUG)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        connect(login="tests", password="hidden-secret", endpoint_url=f"http://127.0.0.1:{port}", **ONCE)
        folder = directory("s3://s3@archive/tier")
        folder.fs.retries = 1
        with pytest.raises(TransferError, match=f"in bucket 'archive': .*127.0.0.1:{port}") as caught:
            uses(folder)[use]()
    assert not is_terminal(caught.value)
    assert "hidden-secret" not in told(caught.value, caplog)


@pytest.fixture
def untrusted_url(tmp_path: Path) -> Iterator[str]:
    """Return the URL of a server whose certificate nobody has signed but itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now, number = datetime.now(UTC), x509.random_serial_number()
    made = x509.CertificateBuilder(name, name, key.public_key(), number, now, now + timedelta(days=1))
    signed = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    pem = signed.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    pem += key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "server.pem").write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.handle_error = lambda *_: None  # a client that hangs up is what is wanted
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"https://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_certificate_that_nobody_trusts_is_refused_for_good(connect: Connect, untrusted_url: str) -> None:
    connect(login="tests", password="hidden-secret", endpoint_url=untrusted_url, **ONCE)
    folder = directory("s3://s3@archive/tier")
    for use in ("write", "read", "list"):
        with pytest.raises(InvalidInputError, match=r"has a certificate that is not trusted .*AWS_CA_BUNDLE") as caught:
            uses(folder)[use]()
        assert "hidden-secret" not in str(caught.value)


def test_a_host_that_does_not_exist_is_named(connect: Connect) -> None:
    connect(login="tests", password="any", endpoint_url="http://no-such-host.invalid", **ONCE)
    folder = directory("s3://s3@archive/tier")
    folder.fs.retries = 1
    with pytest.raises(TransferError, match=r"no-such-host\.invalid"):
        folder.files()


@pytest.mark.ceph
def test_secrets_are_in_no_description_of_what_opens_a_bucket(connect: Connect, ceph_s3: CephS3, ceph_bucket: str):
    connect(login=ceph_s3.key, password=ceph_s3.secret, endpoint_url=ceph_s3.url)
    options = storage_options(f"s3://s3@{ceph_bucket}/tier")
    folder = Directory.from_url(f"s3://{ceph_bucket}/tier", options)
    tier = Tier(name="cold", tier_class="cold", url=folder.url, storage_options=ceph_s3.options)
    shown = [
        options,
        folder,
        folder.url,
        folder.fs,
        folder.backend,
        vars(folder),
        tier,
        tier.directory,
        tier.directory.fs,
    ]
    assert ceph_s3.secret not in "".join(f"{item!r}{item}" for item in shown)
