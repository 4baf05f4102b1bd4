"""The faulty link does the harm that it says, to those whom it says, and counts it."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.services.faulty_proxy import Fault, FaultyProxy

BODY = bytes(range(256)) * 4096

pytestmark = pytest.mark.s3


@pytest.fixture
def client(link: FaultyProxy) -> Iterator[Any]:
    """Return a client behind the link that never tries again, and believes what arrives."""
    config = Config(
        retries={"max_attempts": 0},
        read_timeout=5,
        connect_timeout=5,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    keys = {"aws_access_key_id": "tests", "aws_secret_access_key": "any"}
    client = boto3.client("s3", endpoint_url=link.url, region_name="us-east-1", config=config, **keys)
    yield client
    client.close()


def _get(client: Any, bucket: str) -> bytes:
    with warnings.catch_warnings():
        # An answer that breaks off leaves its connection to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        return client.get_object(Bucket=bucket, Key="x")["Body"].read()


def test_a_quiet_link_passes_everything_on_unchanged(link: FaultyProxy, client: Any, link_bucket: str) -> None:
    client.put_object(Bucket=link_bucket, Key="x", Body=BODY)
    client.put_object(Bucket=link_bucket, Key="empty", Body=b"")
    assert _get(client, link_bucket) == BODY
    assert client.head_object(Bucket=link_bucket, Key="empty")["ContentLength"] == 0
    assert [item["Key"] for item in client.list_objects_v2(Bucket=link_bucket)["Contents"]] == ["empty", "x"]
    client.delete_object(Bucket=link_bucket, Key="x")
    assert (link.count("PUT"), link.count("GET", r"/x$"), link.count("HEAD", "/empty")) == (2, 1, 1)
    assert (link.bytes_up, not link.done) == (len(BODY), True)


@pytest.mark.parametrize(
    ("kind", "code"),
    [("500", "InternalError"), ("503", "SlowDown"), ("429", "TooManyRequests"), ("expired", "ExpiredToken"),
     ("full", "QuotaExceeded"), ("bad_digest", "BadDigest")],
)  # fmt: skip
def test_an_answer_of_the_link_stands_for_one_of_the_server(
    link: FaultyProxy, client: Any, link_bucket: str, kind: Any, code: str
) -> None:
    link.inject(Fault(kind=kind, times=2))
    with pytest.raises(ClientError, match=code):
        client.put_object(Bucket=link_bucket, Key="x", Body=BODY)
    with pytest.raises(ClientError):
        client.head_object(Bucket=link_bucket, Key="x")
    client.put_object(Bucket=link_bucket, Key="x", Body=BODY)
    assert _get(client, link_bucket) == BODY
    assert link.done == {kind: 2}


@pytest.mark.parametrize(("kind", "arrived"), [("reset_before", 0), ("reset_in_request", 0), ("reset_after", 1)])
def test_a_reset_breaks_an_upload_before_or_after_the_server_has_it(
    link: FaultyProxy, client: Any, link_bucket: str, kind: Any, arrived: int
) -> None:
    link.inject(Fault(kind=kind, method="PUT"))
    with pytest.raises(BotoCoreError):
        client.put_object(Bucket=link_bucket, Key="x", Body=BODY)
    assert client.list_objects_v2(Bucket=link_bucket)["KeyCount"] == arrived
    assert link.done == {kind: 1}


@pytest.mark.parametrize("kind", ["reset_in_answer", "half_answer"])
def test_a_download_breaks_off_in_the_middle(link: FaultyProxy, client: Any, link_bucket: str, kind: Any) -> None:
    client.put_object(Bucket=link_bucket, Key="x", Body=BODY)
    link.inject(Fault(kind=kind, target="/x$", times=1))
    with pytest.raises((BotoCoreError, OSError)):
        _get(client, link_bucket)
    assert _get(client, link_bucket) == BODY
    assert link.done == {kind: 1}


@pytest.mark.parametrize("kind", ["flip_request", "flip_answer"])
def test_one_bit_of_a_body_is_another_and_the_same_one_for_the_same_seed(
    link: FaultyProxy, client: Any, link_bucket: str, kind: Any
) -> None:
    found = []
    for _ in range(2):
        link.clear(seed=7)
        link.inject(Fault(kind=kind, target="/x$"))
        client.put_object(Bucket=link_bucket, Key="x", Body=BODY)
        found.append(_get(client, link_bucket))
        assert link.done == {kind: 1}
    assert found[0] == found[1]
    differ = [one ^ other for one, other in zip(found[0], BODY, strict=True) if one != other]
    assert [bits.bit_count() for bits in differ] == [1]


def test_a_wrong_checksum_comes_with_the_right_bytes(link: FaultyProxy, client: Any, link_bucket: str) -> None:
    link.inject(Fault(kind="wrong_etag", method="PUT"))
    made = client.put_object(Bucket=link_bucket, Key="x", Body=BODY)
    assert (
        made["ETag"].strip('"')
        != hashlib.md5(BODY).hexdigest()
        == client.head_object(Bucket=link_bucket, Key="x")["ETag"].strip('"')
    )
    assert link.done == {"wrong_etag": 1}


def test_a_link_that_is_down_refuses_connections_until_its_time_is_over(
    link: FaultyProxy, client: Any, link_bucket: str
) -> None:
    link.inject(Fault(kind="down", seconds=0.5, times=1))
    for _ in range(3):
        with pytest.raises(BotoCoreError):
            client.put_object(Bucket=link_bucket, Key="x", Body=BODY)
    link.up()
    client.put_object(Bucket=link_bucket, Key="x", Body=BODY)
    assert link.done == {"down": 1}
    link.down()
    with pytest.raises(BotoCoreError):
        client.head_object(Bucket=link_bucket, Key="x")


def test_the_seed_chooses_the_same_requests_in_any_order(link: FaultyProxy, client: Any, link_bucket: str) -> None:
    keys = [f"k{number}" for number in range(40)]

    def put(key: str) -> bool:
        try:
            client.put_object(Bucket=link_bucket, Key=key, Body=b"1234")
        except ClientError:
            return False
        return True

    def refused(order: list[str]) -> set[str]:
        link.clear(seed=3)
        link.inject(Fault(kind="503", share=0.3))
        with ThreadPoolExecutor(4) as pool:
            return {key for key, done in zip(order, pool.map(put, order), strict=True) if not done}

    first = refused(keys)
    assert first == refused(keys[::-1])
    assert 5 <= len(first) <= 20


def test_something_else_can_happen_right_before_a_request(link: FaultyProxy, client: Any, link_bucket: str) -> None:
    happened = []
    link.inject(Fault(kind="act", act=lambda: happened.append(link.count("PUT")), skip=1, times=1))
    for _ in range(3):
        client.put_object(Bucket=link_bucket, Key="x", Body=b"1")
    assert (happened, link.done["act"]) == ([2], 1)
