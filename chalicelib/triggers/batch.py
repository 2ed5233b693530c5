"""Processes a batch of queue messages one by one, and returns those that must be delivered again.

Invariant: a message that fails never stops the others. Only the messages in the answer are delivered again,
and finally moved to the dead-letter queue.
https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from chalice.app import SQSEvent, SQSRecord

from chalicelib.observability import MESSAGE_FAILED, count, logger

BatchAnswer = dict[str, list[dict[str, str]]]


def work_off(event: SQSEvent, work: Callable[[SQSRecord], object]) -> BatchAnswer:
    """Do `work` for each message; return those that failed, as Lambda expects it."""
    failed = [record for record in event if not _done(record, work)]
    return {"batchItemFailures": [{"itemIdentifier": message_id(record)} for record in failed]}


def remaining_time(event: SQSEvent) -> timedelta:
    """Return how long Lambda lets this invocation continue."""
    context: Any = event.context  # Chalice's hints say a dict; it is Lambda's context object
    return timedelta(milliseconds=context.get_remaining_time_in_millis())


def _done(record: SQSRecord, work: Callable[[SQSRecord], object]) -> bool:
    log = logger()
    try:
        work(record)
    except Exception as exc:  # any error: the message is delivered again, finally to the dead-letter queue
        log.exception("a message failed", extra={"message_id": message_id(record)})
        count(MESSAGE_FAILED, error=type(exc).__name__)
        return False
    return True


def message_id(record: SQSRecord) -> str:
    """Return the id of a message, for the answer to Lambda."""
    return str(record.to_dict()["messageId"])
