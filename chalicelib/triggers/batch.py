"""Works off a batch of queue messages one by one, and answers which of them must come back.

Invariant: one bad message never stops the others; only the messages named in the answer are delivered
again, and in the end to the dead-letter queue.
https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting
"""

from collections.abc import Callable

from chalice.app import SQSEvent, SQSRecord

from chalicelib.observability import count, logger

BatchAnswer = dict[str, list[dict[str, str]]]


def work_off(event: SQSEvent, work: Callable[[SQSRecord], None]) -> BatchAnswer:
    """Do `work` for each message; answer Lambda with those that failed."""
    failed = [record for record in event if not _done(record, work)]
    return {"batchItemFailures": [{"itemIdentifier": _message_id(record)} for record in failed]}


def _done(record: SQSRecord, work: Callable[[SQSRecord], None]) -> bool:
    log = logger()
    try:
        work(record)
    except Exception as exc:  # whatever it is, the message comes back, and ends in the dead-letter queue
        log.exception("a message failed", extra={"message_id": _message_id(record)})
        count("MessageFailed", error=type(exc).__name__)
        return False
    return True


def _message_id(record: SQSRecord) -> str:
    return str(record.to_dict()["messageId"])
