"""The queues of pokes. A poke names a job that should be advanced, and nothing else.

Losing, doubling or reordering pokes does no harm: `reconcile` pokes jobs that should have moved, and poking
is always safe.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

from chalicelib.aws.batches import in_batches
from chalicelib.aws.errors import translated_errors
from chalicelib.errors import Unavailable

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
BATCH = 10
IN_PARALLEL = 8
LONGEST_DELAY = timedelta(minutes=15)


class PokeQueue:
    """Sends pokes to the queues at `urls`, by their names; `queue_of` returns the queue of a job."""

    def __init__(self, client: "SQSClient", urls: Mapping[str, str], queue_of: Callable[[str], str]) -> None:
        self._client = client
        self._urls = urls
        self._queue_of = queue_of

    def poke(self, job_id: str, delay: timedelta = timedelta(), queue: str | None = None) -> None:
        """Have a job advanced after `delay`; more than the 15 minutes that SQS can hold a message is cut.

        With `queue`, that queue's worker advances it, and not that of the job's own.
        """
        url = self._urls[queue or self._queue_of(job_id)]
        with translated_errors("SendMessage", job_id):
            self._client.send_message(QueueUrl=url, MessageBody=_body(job_id), DelaySeconds=_seconds(delay))

    def poke_all(self, job_ids: Iterable[str], delay: timedelta = timedelta()) -> None:
        """Have many jobs advanced, ten to a request.

        Raises:
            Unavailable: SQS did not take some of them; the others are sent.
        """
        self.poke_at({delay: list(job_ids)})

    def poke_at(self, by_delay: Mapping[timedelta, Iterable[str]]) -> None:
        """Have many jobs advanced, each after its delay.

        Raises:
            Unavailable: SQS did not take some of them; the others are sent.
        """
        by_url: dict[str, list[tuple[str, timedelta]]] = {}
        for delay, job_ids in by_delay.items():
            for job_id in job_ids:
                by_url.setdefault(self._urls[self._queue_of(job_id)], []).append((job_id, delay))
        batches = [(url, batch) for url, pokes in by_url.items() for batch in in_batches(pokes, BATCH)]
        if len(batches) <= 1:
            refused = [job_id for batch in batches for job_id in self._send(*batch)]
        else:
            with ThreadPoolExecutor(IN_PARALLEL) as pool:
                refused = [
                    job_id for each in pool.map(self._send, *zip(*batches, strict=True)) for job_id in each
                ]
        if refused:
            raise Unavailable(
                "SQS did not take these pokes", operation="SendMessageBatch", resource=", ".join(refused)
            )

    def _send(self, url: str, pokes: Sequence[tuple[str, timedelta]]) -> list[str]:
        """Send up to ten pokes to one queue; return the jobs whose pokes SQS refused."""
        with translated_errors("SendMessageBatch", url):
            answer = self._client.send_message_batch(
                QueueUrl=url,
                Entries=[
                    {"Id": str(n), "MessageBody": _body(job_id), "DelaySeconds": _seconds(delay)}
                    for n, (job_id, delay) in enumerate(pokes)
                ],
            )
        return [pokes[int(failed["Id"])][0] for failed in answer.get("Failed", ())]


def job_of(body: str) -> str:
    """Return the job's id from the body of a poke.

    Raises:
        ValueError: the body is not a poke.
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
