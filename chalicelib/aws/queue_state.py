"""What SQS shows of a queue."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.aws.errors import translated_errors

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


@dataclass(frozen=True, slots=True)
class QueueState:
    """A queue, and about how many messages wait in it, are being worked off, or are delayed."""

    arn: str
    waiting: int
    in_flight: int
    delayed: int


class Queues:
    """The queues of a stage, by the last word of their names; `url` is that of one of them."""

    def __init__(self, client: "SQSClient", url: str) -> None:
        self._client = client
        self._beginning = url.rpartition("-")[0]

    def name(self, queue: str) -> str:
        """Return the name of a queue."""
        return f"{self._beginning.rpartition('/')[2]}-{queue}"

    def state(self, queue: str) -> QueueState:
        """Return how a queue is.

        Raises:
            NotFound: there is no such queue.
        """
        with translated_errors("GetQueueAttributes", self.name(queue), self._client.meta.region_name):
            found = self._client.get_queue_attributes(
                QueueUrl=f"{self._beginning}-{queue}",
                AttributeNames=[
                    "QueueArn",
                    "ApproximateNumberOfMessages",
                    "ApproximateNumberOfMessagesNotVisible",
                    "ApproximateNumberOfMessagesDelayed",
                ],
            )["Attributes"]
        return QueueState(
            found["QueueArn"],
            int(found["ApproximateNumberOfMessages"]),
            int(found["ApproximateNumberOfMessagesNotVisible"]),
            int(found["ApproximateNumberOfMessagesDelayed"]),
        )
