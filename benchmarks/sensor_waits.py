"""One triggerer holds 5,000 waits for objects in less than 1 GiB, and each ends within two polls.

Airflow's ``TriggerRunner`` runs so many ``ObjectTrigger`` in a process of its own: exact keys and patterns, on several
prefixes of an S3 server. Then the objects come, and each wait should end within two polls of its object's arrival::

    python benchmarks/sensor_waits.py --waits 5000
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import boto3
import httpx

from airflow_dataflow.demo.processes import reserve_port, wait_until

BUCKET = "waits"


def key(number: int, prefixes: int) -> str:
    """Return the key of the object that a wait is for."""
    return f"landing/prefix={number % prefixes}/part-{number:05}-of-many.csv"


def url(number: int, prefixes: int) -> str:
    """Return what a wait is for: every other one for a pattern, the rest for an exact key."""
    exact = f"s3://aws_default@{BUCKET}/{key(number, prefixes)}"
    return exact.replace("of-many", "*") if number % 2 else exact


async def hold(waits: int, prefixes: int, poke_interval: float, settle_seconds: float) -> None:
    """Run the triggers as a triggerer does, print a line when all wait, and one per wait that ends."""
    from aiobotocore.client import AioBaseClient
    from airflow.executors.workloads import RunTrigger
    from airflow.jobs.triggerer_job_runner import TriggerRunner
    from airflow.models.trigger import Trigger

    requests: Counter[str] = Counter()
    call = AioBaseClient._make_api_call  # noqa: SLF001 - where every request passes

    async def counted(self: Any, operation: str, arguments: Any) -> Any:
        requests[operation] += 1
        return await call(self, operation, arguments)

    AioBaseClient._make_api_call = counted  # noqa: SLF001
    runner = TriggerRunner()
    path = "airflow_dataflow.triggers.storage.ObjectTrigger"
    for number in range(waits):
        options = {"url": url(number, prefixes), "poke_interval": poke_interval, "settle_seconds": settle_seconds}
        runner.to_create.append(RunTrigger(id=number, classpath=path, encrypted_kwargs=Trigger.encrypt_kwargs(options)))
    await runner.create_triggers()
    await asyncio.sleep(3 * poke_interval)
    cpu, begun = time.process_time(), time.monotonic()
    polls, idle = 3, requests.copy()
    await asyncio.sleep(polls * poke_interval)
    report = {
        "idle_cpu_fraction": (time.process_time() - cpu) / (time.monotonic() - begun),
        "idle_requests_per_poll": (requests - idle).total() / polls,
    }
    print(json.dumps(report), flush=True)
    ended = count(1)
    while True:
        while runner.events:
            entry = runner.events.popleft()
            print(json.dumps([entry.trigger_id, time.time()]), flush=True)
            if next(ended) == waits:
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
                print(json.dumps({"peak_bytes": peak, "cpu_seconds": time.process_time()}), flush=True)
                return
        await asyncio.sleep(0.02)


def serve(home: Path) -> tuple[subprocess.Popen[bytes], dict[str, str]]:
    """Start an S3 server with an empty bucket; return it, and the environment of a process that uses it."""
    port = reserve_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    endpoint = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return httpx.get(endpoint).status_code < 500
        except httpx.TransportError:
            return False

    if not wait_until(answers, 60):
        raise SystemExit("the S3 server did not start")
    extra = {"endpoint_url": endpoint, "region_name": "us-east-1"}
    connection = {"conn_type": "aws", "login": "any", "password": "any", "extra": extra}
    environment = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        "S3_ENDPOINT": endpoint,
    }
    return server, {**os.environ, **environment}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Hold the waits, let the objects come, and return what was seen."""
    with TemporaryDirectory() as home:
        server, environment = serve(Path(home))
        client = boto3.client("s3", endpoint_url=environment["S3_ENDPOINT"], aws_access_key_id="any",
                              aws_secret_access_key="any", region_name="us-east-1")  # fmt: skip
        client.create_bucket(Bucket=BUCKET)
        command = [sys.executable, __file__, "--hold", *sys.argv[1:]]
        holder = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        try:
            lines = (json.loads(line) for line in holder.stdout or () if line.startswith(("{", "[")))
            report, came = next(lines), {}
            with ThreadPoolExecutor(1) as reader:
                # Read all the time: a process whose output nobody takes stands still.
                rest = reader.submit(list, lines)
                for number in range(arguments.waits):
                    client.put_object(Bucket=BUCKET, Key=key(number, arguments.prefixes), Body=b"id\n1\n")
                    came[number] = time.time()
                *ends, usage = rest.result()
            ended = dict(ends)
            report |= usage
        finally:
            holder.kill()
            server.kill()
            holder.wait()
            server.wait()
    polls = sorted((ended[number] - came[number]) / arguments.poke_interval for number in came)
    report["polls_until_fired"] = {
        name: round(polls[int(share * (len(polls) - 1))], 2)
        for name, share in (("median", 0.5), ("p99", 0.99), ("most", 1))
    }
    return report


def main() -> None:
    """Read the arguments, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--waits", type=int, default=5000, help="number of waits")
    parser.add_argument("--prefixes", type=int, default=20, help="number of prefixes that they are on")
    parser.add_argument("--poke-interval", type=float, default=10.0, help="seconds between two looks")
    parser.add_argument("--settle-seconds", type=float, default=2.0, help="how long an object may not have changed")
    parser.add_argument("--hold", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.hold:
        asyncio.run(hold(arguments.waits, arguments.prefixes, arguments.poke_interval, arguments.settle_seconds))
        return
    report = measure(arguments)
    print(f"waits                          {arguments.waits:,} on {arguments.prefixes} prefixes")
    print(f"requests per poll while idle   {report['idle_requests_per_poll']:.0f}")
    print(f"of one core while idle         {report['idle_cpu_fraction']:.1%}")
    print(f"CPU seconds in all             {report['cpu_seconds']:.0f}")
    print(f"peak memory                    {report['peak_bytes'] / 2**20:,.0f} MiB")
    print(f"polls from arrival to the end  {report['polls_until_fired']}")
    slow, large = report["polls_until_fired"]["most"] > 2, report["peak_bytes"] >= 1 << 30
    raise SystemExit(1 if slow or large else 0)


if __name__ == "__main__":
    main()
