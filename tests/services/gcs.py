"""A Google Cloud Storage server of the tests: gcp-storage-emulator from PyPI, on loopback; see ``gcs_emulator``."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_START_SECONDS = 60


@pytest.fixture(scope="session")
def gcs_url() -> Iterator[str]:
    """Return the URL of a server that speaks Google's protocol; it takes any credentials."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, str(Path(__file__).with_name("gcs_emulator.py")), str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(url):
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the server for Google Cloud Storage did not start: {' '.join(command)}")
            time.sleep(0.1)
        yield url
    finally:
        server.kill()
        server.wait(10)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.fixture
def gcs_options(gcs_url: str) -> dict[str, Any]:
    """Return what fsspec needs to open ``gs://…`` URLs on the server of the tests."""
    return {"endpoint_url": gcs_url, "token": "anon", "project": "tests"}


@pytest.fixture
def gcs_bucket(gcs_url: str) -> str:
    """Return the name of an empty bucket."""
    name = f"bucket-{uuid.uuid4().hex}"
    body = f'{{"name": "{name}"}}'.encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{gcs_url}/storage/v1/b?project=tests", body, headers, method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200
    return name
