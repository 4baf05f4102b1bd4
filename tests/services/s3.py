"""The S3 server of most tests: moto, as a process of its own on loopback; it takes any credentials."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

_START_SECONDS = 60


@contextmanager
def running_s3(**settings: str) -> Iterator[str]:
    """Start a server and return its URL.

    :param settings: environment variables that moto knows, such as ``S3_UPLOAD_PART_MIN_SIZE``.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(command, env={**os.environ, **settings}, **quiet)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _listens(port):
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the S3 server did not start: {' '.join(command)}")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(10)


def options_of(url: str) -> dict[str, Any]:
    """Return what fsspec needs to open ``s3://…`` URLs on a server."""
    return {"key": "tests", "secret": "any", "client_kwargs": {"endpoint_url": url, "region_name": "us-east-1"}}


def client_of(url: str) -> Any:
    """Return a client of a server; it is to be closed."""
    import boto3

    keys = {"aws_access_key_id": "tests", "aws_secret_access_key": "any"}
    return boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    """Return the URL of a real S3 server on loopback; it takes any credentials."""
    with running_s3() as url:
        yield url


@pytest.fixture(scope="session")
def _s3_client(s3_url: str) -> Iterator[Any]:
    """Return a client of the server; making one takes longer than most tests."""
    client = client_of(s3_url)
    yield client
    client.close()


@pytest.fixture
def bucket(s3_url: str, _s3_client: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of an empty bucket that Airflow's connection ``aws_default`` opens."""
    extra = {"endpoint_url": s3_url, "region_name": "us-east-1"}
    connection = {"conn_type": "aws", "login": "tests", "password": "any", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    name = f"bucket-{uuid.uuid4().hex}"
    _s3_client.create_bucket(Bucket=name)
    return name


@pytest.fixture
def s3_options(s3_url: str) -> dict[str, Any]:
    """Return what fsspec needs to open ``s3://…`` URLs on the server of the tests."""
    return options_of(s3_url)
