"""What a notice says: the service, the plan, the rule, the reason and what to do; a fleet in one message."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from chalicelib.aws.topic import LONGEST_SUBJECT, Topic
from chalicelib.catalog.store.notices import About, Notice, Trouble
from chalicelib.jobs.notices import SERVICES_NAMED, message_of

AT = datetime(2026, 11, 22, 2, 15, tzinfo=UTC)
# https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
MOST_BYTES = 256 * 1024
LATER = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)


def failing(service: str = "orders-db", over_at: datetime | None = None) -> Notice:
    trouble = Trouble(About.BACKUP, "orders", service, "nightly", "service")
    return Notice(trouble, AT, "the disk is full", "backup-1", over_at, is_told=False, wake_at=AT)


def test_a_failure_says_where_why_and_what_to_do() -> None:
    message = message_of([failing()], "prod")
    assert message.subject == "Farshore prod: orders-db: its backup fails"
    assert message.text.splitlines()[:3] == [
        "orders-db: its backup fails (plan orders, rule nightly (service)).",
        "",
        "- orders-db: at 2026-11-22 02:15 UTC: the disk is full",
    ]
    assert "GET /jobs/backup-1" in message.text
    [service] = message.document["services"]
    assert (message.document["event"], service["job"], service["reason"]) == (
        "backup-failed",
        "backup-1",
        "the disk is full",
    )


def test_a_recovery_says_since_when_and_what_it_had_been() -> None:
    message = message_of([failing(over_at=LATER)], "prod")
    assert message.document["event"] == "backup-recovered"
    assert "since 2026-11-22 04:00 UTC. At 2026-11-22 02:15 UTC it was: the disk is full" in message.text


def test_a_missed_rpo_is_of_no_rule() -> None:
    trouble = Trouble(About.RPO, "orders", "orders-db")
    message = message_of([Notice(trouble, AT, "old", "", None, is_told=False, wake_at=AT)], "prod")
    assert "(plan orders)" in message.text
    assert message.document["rule"] is None
    assert "GET /status?service=orders-db" in message.text


def test_a_large_fleet_fits_in_one_message() -> None:
    trouble = Trouble(About.BACKUP, "p" * 100, "s" * 256, "r" * 60, "service")
    many = [Notice(trouble, AT, "ö" * 1000, "j" * 40, None, is_told=False, wake_at=AT)] * 10_000
    message = message_of(many, "prod")
    assert message.document["more"] == 10_000 - SERVICES_NAMED
    assert "10000 services" in message.subject
    client = Recorded()
    Topic(client, "arn").publish(message.subject, message.text, message.document)
    assert len(client.requests[0]["Message"].encode()) < MOST_BYTES


class Recorded:
    """A client that keeps what it is asked to publish."""

    def __init__(self) -> None:
        self.requests: list[Any] = []

    def publish(self, **request: Any) -> None:
        self.requests.append(request)


@pytest.mark.parametrize(("subject", "published"), [("a\nb ü", "a?b ?"), ("x" * 200, "x" * LONGEST_SUBJECT)])
def test_a_subject_is_what_sns_takes(subject: str, published: str) -> None:
    client = Recorded()
    Topic(client, "arn").publish(subject, "text", {"event": "x"}, event="x")
    [request] = client.requests
    assert request["Subject"] == published
    assert json.loads(request["Message"]) == {"default": '{"event": "x"}', "email": "text"}
