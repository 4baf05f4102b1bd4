"""One partition for each object that arrived."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from types import SimpleNamespace

import pytest
from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowFailException

from airflow_dataflow.errors import InvalidInputError
from airflow_dataflow.operators.arrivals import AnnounceObjectsOperator, object_url, partition_key

ARRIVALS, OBJECTS = Asset("arrivals"), Asset("objects")
BEGIN = datetime(2026, 11, 23, tzinfo=UTC)


class Airflow:
    """The events of both assets, and runs of the operator."""

    def __init__(self):
        self.events = {ARRIVALS.name: [], OBJECTS.name: []}
        self.numbers = count(1)
        self.max_active_runs = 1
        self.triggering = None

    def store(self, asset, extra, key=None):
        number = next(self.numbers)
        self.events[asset.name].append(
            SimpleNamespace(id=number, timestamp=BEGIN + timedelta(seconds=number), extra=extra, partition_key=key)
        )

    def arrive(self, *names, folder="s3://bucket/in", **more):
        """Store the event of each object, as the watcher makes them."""
        for name in names:
            payload = {"url": f"{folder}/{name}", "name": name, "id": f"{hash(name) % 16**16:016x}"} | more
            self.store(ARRIVALS, {"from_trigger": True, "payload": payload})

    def __getitem__(self, asset):
        return Inlet(self.events[asset.name])

    def run(self, *, fails=False):
        """Run the operator for the newest arrival, and return the keys of the partitions that it made."""
        outlet = SimpleNamespace(extra={}, keys=[])
        outlet.add_partitions = outlet.keys.extend
        context = {
            "outlet_events": {OBJECTS: outlet},
            "inlet_events": self,
            "triggering_asset_events": {ARRIVALS: self.events[ARRIVALS.name][-1:]},
            "dag": SimpleNamespace(dag_id="announces", max_active_runs=self.max_active_runs),
        }
        task = AnnounceObjectsOperator(task_id="announce", arrivals=ARRIVALS, objects=OBJECTS)
        assert task.execute(context) == len(outlet.keys)
        if not fails:
            for key in reversed(outlet.keys):
                self.store(OBJECTS, outlet.extra, key)
        return [key.rpartition("@")[0] for key in outlet.keys]


class Inlet:
    """The events of one asset, as Airflow hands them out."""

    def __init__(self, events):
        self.events = list(events)

    def after(self, moment):
        return Inlet(event for event in self.events if event.timestamp >= datetime.fromisoformat(moment))

    def ascending(self, *, ascending):
        assert not ascending
        return Inlet(reversed(self.events))

    def limit(self, number):
        return Inlet(self.events[:number])

    def __iter__(self):
        return iter(self.events)


@pytest.fixture
def airflow():
    """Return an Airflow without events."""
    return Airflow()


def test_the_first_run_takes_the_event_that_started_it_and_later_ones(airflow):
    airflow.arrive("too-old", "a")
    assert airflow.run() == ["a"]
    airflow.arrive("b", "c")
    assert airflow.run() == ["b", "c"]
    assert airflow.run() == []


def test_events_that_airflow_left_out_of_a_run_come_with_the_next_one(airflow):
    airflow.arrive("a")
    airflow.run()
    airflow.arrive(*(f"{number:04}" for number in range(2500)))
    assert airflow.run() == [f"{number:04}" for number in range(2500)]


def test_an_event_that_comes_twice_starts_nothing_twice(airflow):
    airflow.arrive("a")
    airflow.run()
    names = [f"{number:04}" for number in range(1500)]
    airflow.arrive(*names)
    airflow.run()
    airflow.arrive(*names[-100:], "new", *names[-100:-50])
    assert airflow.run() == ["new"]


def test_a_run_that_failed_has_announced_nothing(airflow):
    airflow.arrive("a")
    airflow.run()
    airflow.arrive("b")
    assert airflow.run(fails=True) == ["b"]
    airflow.arrive("c")
    assert airflow.run() == ["b", "c"]


def test_events_of_others_are_left_alone(airflow):
    airflow.arrive("a")
    airflow.run()
    airflow.store(ARRIVALS, {})
    airflow.store(ARRIVALS, {"payload": "text"})
    airflow.store(ARRIVALS, None)
    assert airflow.run() == []


def test_runs_at_once_are_refused(airflow):
    airflow.arrive("a")
    airflow.max_active_runs = 16
    with pytest.raises(AirflowFailException, match="set max_active_runs=1"):
        airflow.run()


@pytest.mark.parametrize(
    ("name", "folder", "url"),
    [
        ("day=1/a.csv", "s3://bucket/in", "s3://bucket/in/day=1/a.csv"),
        ("x" * 400, "s3://bucket/in", "s3://bucket/in/" + "x" * 400),
        ("ä b@c.csv", "file:///in", "file:///in/%C3%A4%20b%40c.csv"),
    ],
)
def test_a_run_knows_the_url_of_its_object(airflow, name, folder, url):
    airflow.arrive("first")
    airflow.run()
    airflow.arrive("other", folder=folder)
    airflow.arrive(name, folder=folder, url=url)
    airflow.run()
    event = next(one for one in airflow.events["objects"] if one.partition_key.endswith(_id(airflow, url)))
    assert len(event.partition_key) <= 250
    run = SimpleNamespace(run_id="run", partition_key=event.partition_key)
    assert object_url(run, {OBJECTS: [event]}) == url


def _id(airflow, url):
    return next(one.extra["payload"]["id"] for one in airflow.events["arrivals"] if one.extra["payload"]["url"] == url)


def test_a_run_for_no_object_says_so():
    with pytest.raises(InvalidInputError, match="run 'manual' was not started for an object"):
        object_url(SimpleNamespace(run_id="manual", partition_key=None), {})


def test_a_key_ends_with_the_arrival():
    assert partition_key("a@b/c.csv", "0" * 16) == "a@b/c.csv@" + "0" * 16
