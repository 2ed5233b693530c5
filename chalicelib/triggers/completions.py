"""What AWS says has ended (snapshots, copies, volumes, commands, instances): pokes the job concerned."""

import json

from chalice.app import Blueprint, SQSEvent, SQSRecord

from chalicelib.observability import logger
from chalicelib.triggers.batch import BatchAnswer, work_off

blueprint = Blueprint(__name__)


# The packaged template puts the stack's own queue in place of this name.
@blueprint.on_sqs_message(queue="farshore-events", batch_size=100, maximum_batching_window_in_seconds=2)
def completions(event: SQSEvent) -> BatchAnswer:
    """Poke the jobs that wait for what these events tell."""
    return work_off(event, _poke)


def _poke(record: SQSRecord) -> None:
    logger().debug("event", extra={"detail_type": json.loads(record.body)["detail-type"]})
