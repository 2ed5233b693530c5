"""Receives AWS's completion events (snapshots, copies, volumes, commands, instances) and pokes their jobs."""

import json

from chalice.app import Blueprint, SQSEvent

from chalicelib.aws.events import Subject, subjects_of
from chalicelib.triggers.batch import BatchAnswer, message_id, work_off
from chalicelib.wiring import farshore

blueprint = Blueprint(__name__)


# The packaged template replaces this name with the stack's own queue.
@blueprint.on_sqs_message(queue="farshore-events", batch_size=100, maximum_batching_window_in_seconds=2)
def completions(event: SQSEvent) -> BatchAnswer:
    """Poke the jobs that wait for these events."""
    found: dict[str, list[Subject]] = {}
    answer = work_off(
        event, lambda record: found.update({message_id(record): subjects_of(json.loads(record.body))})
    )
    failed = farshore().completions.poke(found)
    answer["batchItemFailures"] += [{"itemIdentifier": each} for each in sorted(failed)]
    return answer
