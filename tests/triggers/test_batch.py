"""A batch of messages is worked off whole, and just those that failed are told."""

from typing import Any

import pytest
from chalice.app import SQSEvent, SQSRecord

from chalicelib.errors import Throttled
from chalicelib.triggers.batch import work_off


def batch(*bodies: str) -> SQSEvent:
    """Make the event Lambda would give: every message has an id of its own."""
    records = [
        {"messageId": f"message-{n}", "receiptHandle": f"receipt-{n}", "body": body}
        for n, body in enumerate(bodies)
    ]
    context: Any = None
    return SQSEvent({"Records": records}, context)


def failed(answer: dict[str, list[dict[str, str]]]) -> list[str]:
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def test_one_bad_message_does_not_stop_the_others() -> None:
    done = list[str]()

    def work(record: SQSRecord) -> None:
        if record.body == "bad":
            raise Throttled("slow down")
        done.append(record.body)

    assert failed(work_off(batch("a", "bad", "b", "bad"), work)) == ["message-1", "message-3"]
    assert done == ["a", "b"]


def test_a_batch_that_went_well_asks_for_nothing() -> None:
    assert work_off(batch("a", "b"), lambda _: None) == {"batchItemFailures": []}


@pytest.mark.parametrize("reason", [ValueError("odd"), KeyError("job"), OSError("disk")])
def test_a_message_that_met_a_bug_comes_back_and_is_logged(
    reason: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(_: SQSRecord) -> None:
        raise reason

    assert failed(work_off(batch("a"), work)) == ["message-0"]
    told = capsys.readouterr().out
    assert '"message_id":"message-0"' in told
    assert "MessageFailed" in told
