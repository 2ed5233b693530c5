"""Pokes reach the queue, ten to a request, none lost without a word."""

from datetime import timedelta
from json import JSONDecodeError

import pytest

from chalicelib.aws.clients import Clients
from chalicelib.aws.queue import PokeQueue, job_of
from chalicelib.errors import NotFound
from local_cloud.cloud import Cloud
from tests.aws.conftest import HOME


@pytest.fixture
def url(cloud: Cloud) -> str:
    return str(cloud.client("sqs", HOME).create_queue(QueueName="jobs")["QueueUrl"])


@pytest.fixture
def queue(clients: Clients, url: str) -> PokeQueue:
    return PokeQueue(clients.sqs(), {"jobs": url}, lambda job_id: "jobs")


def waiting(cloud: Cloud, url: str) -> list[str]:
    """Take what can be received now."""
    receive = cloud.client("sqs", HOME).receive_message
    bodies = list[str]()
    while messages := receive(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        bodies += [message["Body"] for message in messages]
    return [job_of(body) for body in bodies]


def test_a_poke_names_its_job(cloud: Cloud, queue: PokeQueue, url: str) -> None:
    queue.poke("job-1")
    assert waiting(cloud, url) == ["job-1"]


def test_many_pokes_go_ten_to_a_request(cloud: Cloud, queue: PokeQueue, url: str) -> None:
    jobs = [f"job-{n}" for n in range(23)]
    cloud.calls.clear()
    queue.poke_all(iter(jobs))
    assert cloud.calls.by_operation()["sqs"] == {"SendMessageBatch": 3}
    assert sorted(waiting(cloud, url)) == sorted(jobs)


def test_poking_nobody_sends_nothing(cloud: Cloud, queue: PokeQueue, url: str) -> None:
    cloud.calls.clear()
    queue.poke_all([])
    assert "sqs" not in cloud.calls.by_operation()


@pytest.mark.parametrize(
    ("delay", "held"),
    [
        (timedelta(seconds=90), timedelta(seconds=90)),
        (timedelta(days=2), timedelta(minutes=15)),
        (timedelta(seconds=-5), timedelta()),
    ],
)
def test_a_poke_waits_as_long_as_sqs_can_hold_it(
    cloud: Cloud, queue: PokeQueue, url: str, delay: timedelta, held: timedelta
) -> None:
    queue.poke("job-1", delay)
    if held:
        cloud.advance(held - timedelta(seconds=20))
        assert waiting(cloud, url) == []
        cloud.advance(timedelta(seconds=21))
    assert waiting(cloud, url) == ["job-1"]


def test_a_missing_queue_is_named(clients: Clients, cloud: Cloud) -> None:
    missing = f"{cloud.aws.url}/123456789012/no-such-queue"
    with pytest.raises(NotFound):
        PokeQueue(clients.sqs(), {"jobs": missing}, lambda job_id: "jobs").poke("job-1")


@pytest.mark.parametrize("body", ["[]", '{"job": 3}', '{"jobs": "x"}'])
def test_a_body_that_is_no_poke_is_refused(body: str) -> None:
    with pytest.raises(ValueError, match="not a poke"):
        job_of(body)


def test_a_body_that_is_no_json_is_refused() -> None:
    with pytest.raises(JSONDecodeError):
        job_of("{")
