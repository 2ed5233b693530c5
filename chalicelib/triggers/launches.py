"""Instances that start and go, as EC2 and Auto Scaling report them: opens their launches and last backups."""

import json

from chalice.app import Blueprint, SQSEvent

from chalicelib.aws.events import InstanceEvent, instance_event
from chalicelib.triggers.batch import BatchAnswer, message_id, work_off
from chalicelib.wiring import farshore

blueprint = Blueprint(__name__)


# The packaged template puts the stack's own queue in place of this name.
@blueprint.on_sqs_message(queue="farshore-launches", batch_size=50, maximum_batching_window_in_seconds=1)
def launches(event: SQSEvent) -> BatchAnswer:
    """Open the launches and last backups that these events ask for."""
    found: dict[str, InstanceEvent | None] = {}
    answer = work_off(
        event, lambda record: found.update({message_id(record): instance_event(json.loads(record.body))})
    )
    told = {message: each for message, each in found.items() if each is not None}
    again = farshore().instance_events.notice(told) if told else set[str]()
    answer["batchItemFailures"] += [{"itemIdentifier": each} for each in sorted(again)]
    return answer
