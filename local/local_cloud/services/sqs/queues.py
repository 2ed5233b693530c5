"""SQS event source mappings: batches of messages invoke functions, whose answers delete messages.

Follows https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html: a batch whose function
fails comes back after the queue's visibility timeout; with ReportBatchItemFailures only the messages named
do. moto keeps the queues and moves messages to their dead-letter queues. There is no polling: a call that
makes a message visible schedules an action on the timeline for that moment. A chain of invocations that goes
through a queue back to the same function is cut
(https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html).

moto: keeps queues and messages; nothing of its own takes messages to a function.
Added: the mappings, their batches and their partial answers, the recursion limit.
"""

import hashlib
import logging
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

from local_cloud.call import ACCOUNT, Call, Handler, PassOn
from local_cloud.control.clock import Clock
from local_cloud.control.strands import run_apart
from local_cloud.control.timeline import Timeline
from local_cloud.lambda_.functions import FunctionError, Functions
from local_cloud.lambda_.traces import Trace, read_trace
from local_cloud.passing import lock_of, moto_backend
from local_cloud.services.sqs.pace import delete_all, quicken

LOG = logging.getLogger(__name__)
JUST_AFTER = timedelta(milliseconds=1)
"""A message is visible after its moment, not at it."""
LONGEST_CHAIN = 16
"""Invocations of a function in one chain; AWS says "approximately 16"."""
TRACE = "AWSTraceHeader"


@dataclass(frozen=True, slots=True)
class SourceMapping:
    """A function fed from a queue."""

    queue_arn: str
    function: str
    batch_size: int = 10
    window: timedelta = timedelta(0)
    """How long Lambda gathers a batch after its first message."""
    reports_failures: bool = False
    most_at_once: int | None = None
    """The largest number of invocations at once that Lambda makes for it."""
    enabled: bool = True

    @property
    def id(self) -> str:
        """Return what names the mapping itself."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.queue_arn} {self.function}"))


class Queues:
    """The stand-in for SQS: feeds functions from queues."""

    service = "sqs"

    def __init__(self, clock: Clock, timeline: Timeline, functions: Functions) -> None:
        self._clock = clock
        self._timeline = timeline
        self._functions = functions
        self._mappings: dict[str, SourceMapping] = {}
        self._wakes: dict[str, datetime] = {}
        quicken()

    def handlers(self) -> Mapping[str, Handler]:
        """Observe every call that can make a message visible."""
        others = ("ChangeMessageVisibility", "ChangeMessageVisibilityBatch", "SetQueueAttributes")
        sending = dict.fromkeys(("SendMessage", "SendMessageBatch"), self._send)
        return {**sending, **dict.fromkeys(others, self._pass_and_wake)}

    def connect(self, mapping: SourceMapping) -> None:
        """Feed a function from a queue from now on."""
        self._mappings[mapping.queue_arn] = mapping
        self._wake(mapping.queue_arn)

    def mappings(self) -> list[SourceMapping]:
        """Return all mappings."""
        return list(self._mappings.values())

    def enable(self, mapping: SourceMapping, enabled: bool) -> SourceMapping:
        """Let a mapping feed its function, or stop it, from now on."""
        changed = replace(mapping, enabled=enabled)
        self.connect(changed)
        return changed

    def clear(self) -> None:
        """Forget every mapping."""
        self._mappings.clear()
        self._wakes.clear()

    def deliver(self, queue_arn: str, body: str, attributes: Mapping[str, str] | None = None) -> None:
        """Put a message on a queue, as another AWS service does; it is lost if there is no such queue."""
        _, _, _, region, account, name = queue_arn.split(":", 5)
        typed = {
            key: {"data_type": "String", "string_value": value} for key, value in (attributes or {}).items()
        }
        with lock_of("sqs"):
            backend = moto_backend("sqs")[account][region]
            if name not in backend.queues:
                LOG.warning("a message is lost: there is no queue %s", queue_arn)
                return
            backend.send_message(name, body, message_attributes=typed)
        self._wake(queue_arn)

    def _send(self, call: Call, pass_on: PassOn) -> None:
        """Keep the trace header of a call with the messages that it sends."""
        queue = moto_backend("sqs")[ACCOUNT][call.region].queues.get(queue_name(call))
        before = len(queue._messages) if queue else 0
        self._pass_and_wake(call, pass_on)
        if queue and (header := call.environ.get("HTTP_X_AMZN_TRACE_ID")):
            kept = {"StringValue": unquote(header), "DataType": "String"}
            for message in queue._messages[before:]:
                message.system_attributes.setdefault(TRACE, kept)

    def _pass_and_wake(self, call: Call, pass_on: PassOn) -> None:
        pass_on()
        name = queue_name(call)
        self._wake(f"arn:aws:sqs:{call.region}:{ACCOUNT}:{name}")

    def _wake(self, queue_arn: str, not_before: datetime | None = None) -> None:
        """Set the next look at a queue for when its next message becomes visible."""
        mapping = self._mappings.get(queue_arn)
        if mapping is None or not mapping.enabled or (due := next_visible_at(queue_arn)) is None:
            return
        due = max(due + mapping.window, not_before or due)
        planned = self._wakes.get(queue_arn)
        if planned is None or due < planned:
            self._wakes[queue_arn] = due
            self._timeline.at(due, lambda: self._look(queue_arn, due), f"messages on {queue_arn}")

    def _look(self, queue_arn: str, due: datetime) -> None:
        if self._wakes.get(queue_arn) != due:
            return  # an earlier look has been set since
        del self._wakes[queue_arn]
        mapping = self._mappings[queue_arn]
        if not mapping.enabled:
            return
        messages = receive(mapping)
        to_run = self._stop_loops(mapping, messages)
        if to_run:
            run_apart(lambda: remove(queue_arn, self._run(mapping, to_run)))
        self._wake(queue_arn, None if messages else self._clock.now() + timedelta(seconds=1))

    def _stop_loops(self, mapping: SourceMapping, messages: list[Any]) -> list[Any]:
        """Return the messages of a batch that the function may see; dead letters are made of the others."""
        try:
            function = self._functions.get(mapping.function)
        except FunctionError:
            return messages
        looping = [
            message
            for message in messages
            if not function.may_loop
            and (trace := trace_of(message))
            and trace.invocations_of(function.arn) >= LONGEST_CHAIN
        ]
        if looping:
            LOG.warning("%d messages would run %s in a loop", len(looping), function.name)
            bury(mapping.queue_arn, {message.id for message in looping})
        return [message for message in messages if message not in looping]

    def _run(self, mapping: SourceMapping, messages: list[Any]) -> list[Any]:
        """Run the function on a batch and return the messages that are done."""
        records = [record_of(mapping.queue_arn, message) for message in messages]
        causes = [trace for message in messages if (trace := trace_of(message))]
        try:
            answer = self._functions.invoke(mapping.function, {"Records": records}, causes=causes)
        except FunctionError as error:
            LOG.warning("%d messages of %s will come back: %s", len(messages), mapping.queue_arn, error)
            return []
        failed = (
            failed_ids(answer, {message.id for message in messages}) if mapping.reports_failures else set()
        )
        return [message for message in messages if message.id not in failed]


def next_visible_at(queue_arn: str) -> datetime | None:
    """Return when a queue's next message can be received; None if it is empty or gone."""
    _, _, _, region, account, name = queue_arn.split(":", 5)
    with lock_of("sqs"):
        queue = moto_backend("sqs")[account][region].queues.get(name)
        moments = [max(each.visible_at, each.delayed_until) for each in queue._messages] if queue else []
    if not moments:
        return None
    return datetime.fromtimestamp(max(min(moments), 0) / 1000, UTC) + JUST_AFTER


def receive(mapping: SourceMapping) -> list[Any]:
    """Receive a batch of moto's messages from a queue, for its visibility timeout."""
    _, _, _, region, account, name = mapping.queue_arn.split(":", 5)
    with lock_of("sqs"):
        backend = moto_backend("sqs")[account][region]
        timeout = int(backend.get_queue(name).visibility_timeout)
        messages: list[Any] = backend.receive_message(name, mapping.batch_size, 0, timeout, ["All"])
    return messages


def remove(queue_arn: str, messages: list[Any]) -> None:
    """Delete messages that are done."""
    _, _, _, region, account, name = queue_arn.split(":", 5)
    with lock_of("sqs"):
        delete_all(moto_backend("sqs")[account][region].get_queue(name), messages)


def bury(queue_arn: str, ids: Collection[str]) -> None:
    """Move messages to their queue's dead-letter queue, or drop them if it has none."""
    _, _, _, region, account, name = queue_arn.split(":", 5)
    with lock_of("sqs"):
        queue = moto_backend("sqs")[account][region].get_queue(name)
        for message in [one for one in queue._messages if one.id in ids]:
            queue.delete_message(message.receipt_handle)
            if queue.dead_letter_queue is not None:
                message.change_visibility(0)
                queue.dead_letter_queue.add_message(message)


def queue_name(call: Call) -> str:
    """Return the name of the queue that a call is about."""
    return str(call.params.get("QueueUrl", "")).rpartition("/")[2]


def trace_of(message: Any) -> Trace | None:
    """Return the trace of the call that sent a message."""
    header = message.system_attributes.get(TRACE, {}).get("StringValue")
    return read_trace(header) if header else None


def failed_ids(answer: Any, ids: set[str]) -> set[str]:
    """Read a partial batch response: which messages failed.

    No failures listed is success; an answer that is malformed, or names none of the batch's messages, fails
    the whole batch, as the page above says.
    """
    if not answer:
        return set()
    try:
        failures = answer["batchItemFailures"] or []
        failed = {failure["itemIdentifier"] for failure in failures}
    except (KeyError, TypeError):
        return ids
    return failed if failed <= ids else ids


def record_of(queue_arn: str, message: Any) -> dict[str, Any]:
    """Return a message as Lambda's event shows it (https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html)."""
    return {
        "messageId": message.id,
        "receiptHandle": message.receipt_handle,
        "body": message.body,
        "attributes": {
            "ApproximateReceiveCount": str(message.approximate_receive_count),
            "SentTimestamp": str(message.sent_timestamp),
            "SenderId": str(message.sender_id),
            "ApproximateFirstReceiveTimestamp": str(message.approximate_first_receive_timestamp),
            **{name: value["StringValue"] for name, value in message.system_attributes.items()},
        },
        "messageAttributes": {
            name: {"stringValue": value.get("string_value"), "dataType": value.get("data_type")}
            for name, value in message.message_attributes.items()
        },
        "md5OfBody": hashlib.md5(message.body.encode(), usedforsecurity=False).hexdigest(),
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": queue_arn.split(":")[3],
    }
