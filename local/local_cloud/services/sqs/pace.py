"""Makes some of moto's inner loops for SQS, and the deletion of a batch, cost a fraction.

For each message that it returns, moto counts the whole queue three times, reads the clock twice for each
waiting message, and for each deletion rebuilds the queue. With a few thousand messages in a queue, that is
most of the time of a simulated minute. With few messages, most of the time goes into a general deep copy of
the message and a receipt handle made letter by letter.
"""

from collections.abc import Collection
from typing import Any

from moto.core.utils import unix_time, unix_time_millis
from moto.moto_api._internal import mock_random
from moto.sqs import models
from moto.sqs.models import Message, Queue, SQSBackend

from local_cloud.moto_pace import LOWER_CASE


def quicken() -> None:
    """Replace moto's loops with the faster ones."""
    # setattr, since mypy takes no assignment to a method
    setattr(Queue, "messages", property(visible_messages))  # noqa: B010
    setattr(SQSBackend, "is_message_valid_based_on_retention_period", is_retained)  # noqa: B010
    setattr(Message, "__deepcopy__", copied)  # noqa: B010
    vars(models)["generate_receipt_handle"] = receipt_handle


def visible_messages(self: Any) -> list[Any]:
    """Return the messages that can be received now, as moto's property of this name does."""
    now = unix_time_millis()
    return [each for each in self._messages if each.visible_at < now and each.delayed_until <= now]


def is_retained(self: Any, queue_name: str, message: Any) -> bool:
    """Return whether a message is younger than its queue's retention, as moto's method of this name does."""
    retained_seconds: float = self.get_queue(queue_name).message_retention_period
    return bool(retained_seconds + message.sent_timestamp / 1000 > unix_time())


def delete_all(queue: Any, messages: Collection[Any]) -> None:
    """Delete messages that were received from one of moto's queues; those that are gone stay so."""
    ids = {message.id for message in messages}
    kept = []
    for message in queue._messages:
        if message.id not in ids:
            kept.append(message)
            continue
        queue.pending_messages.discard(message)
        queue.deleted_messages.update(message.all_receipt_handles)
    queue._messages = kept


def copied(self: Any, _: dict[int, Any]) -> Any:
    """Copy a message; nothing changes an attribute of one, but it may be given others."""
    twin = object.__new__(type(self))
    vars(twin).update(vars(self))
    twin.message_attributes = dict(self.message_attributes)
    twin.system_attributes = dict(self.system_attributes)
    twin._old_receipt_handles = list(self._old_receipt_handles)
    return twin


def receipt_handle() -> str:
    """Return a receipt handle, as moto's function that makes one does."""
    return mock_random.randbytes(185).translate(LOWER_CASE).decode()
