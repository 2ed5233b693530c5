"""Works off a batch of queue messages one by one, and answers which of them must come back.

Invariant: one bad message never stops the others; only the messages named in the answer are delivered
again, and in the end to the dead-letter queue.
https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from chalice.app import SQSEvent, SQSRecord

from chalicelib.observability import count, logger

BatchAnswer = dict[str, list[dict[str, str]]]


def work_off(event: SQSEvent, work: Callable[[SQSRecord], object]) -> BatchAnswer:
    """Do `work` for each message; answer Lambda with those that failed."""
    failed = [record for record in event if not _done(record, work)]
    return {"batchItemFailures": [{"itemIdentifier": message_id(record)} for record in failed]}


def remaining_time(event: SQSEvent) -> timedelta:
    """Return how long Lambda lets this invocation run on."""
    context: Any = event.context  # Chalice's hints say a dict; it is Lambda's context object
    return timedelta(milliseconds=context.get_remaining_time_in_millis())


def _done(record: SQSRecord, work: Callable[[SQSRecord], object]) -> bool:
    log = logger()
    try:
        work(record)
    except Exception as exc:  # whatever it is, the message comes back, and ends in the dead-letter queue
        log.exception("a message failed", extra={"message_id": message_id(record)})
        count("MessageFailed", error=type(exc).__name__)
        return False
    return True


def message_id(record: SQSRecord) -> str:
    """Return what names a message in the answer to Lambda."""
    return str(record.to_dict()["messageId"])
