"""The queue of pokes: a poke names a job that should be advanced, and nothing else.

Losing, doubling or reordering pokes does no harm: `reconcile` pokes what should have moved, and poking is
always safe.
"""

import json
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

from chalicelib.aws.batches import in_batches
from chalicelib.aws.errors import calling
from chalicelib.errors import Unavailable

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
BATCH = 10
LONGEST_DELAY = timedelta(minutes=15)


class PokeQueue:
    """Sends pokes to the jobs queue at `url`."""

    def __init__(self, client: "SQSClient", url: str) -> None:
        self._client = client
        self._url = url

    def poke(self, job_id: str, delay: timedelta = timedelta()) -> None:
        """Have a job advanced after `delay`, cut to the 15 minutes that SQS can hold a message."""
        with calling("SendMessage", job_id):
            self._client.send_message(
                QueueUrl=self._url, MessageBody=_body(job_id), DelaySeconds=_seconds(delay)
            )

    def poke_all(self, job_ids: Iterable[str], delay: timedelta = timedelta()) -> None:
        """Have many jobs advanced, ten to a request.

        Raises:
            Unavailable: SQS did not take some of them; the others are sent.
        """
        refused = list[str]()
        for batch in in_batches(job_ids, BATCH):
            with calling("SendMessageBatch", self._url):
                answer = self._client.send_message_batch(
                    QueueUrl=self._url,
                    Entries=[
                        {"Id": str(n), "MessageBody": _body(job_id), "DelaySeconds": _seconds(delay)}
                        for n, job_id in enumerate(batch)
                    ],
                )
            refused += [batch[int(failed["Id"])] for failed in answer.get("Failed", ())]
        if refused:
            raise Unavailable(
                "SQS did not take these pokes", operation="SendMessageBatch", resource=", ".join(refused)
            )


def job_of(body: str) -> str:
    """Read the job's id from a poke's body.

    Raises:
        ValueError: it is no poke of ours.
    """
    match json.loads(body):
        case {"job": str(job_id)}:
            return job_id
        case _:
            raise ValueError(f"not a poke: {body[:200]!r}")


def _body(job_id: str) -> str:
    return json.dumps({"job": job_id})


def _seconds(delay: timedelta) -> int:
    return int(min(max(delay, timedelta()), LONGEST_DELAY).total_seconds())
