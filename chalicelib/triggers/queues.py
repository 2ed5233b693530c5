"""The jobs queue: each message pokes one job, which is advanced."""

from chalice.app import Blueprint, SQSEvent, SQSRecord

from chalicelib.aws.queue import job_of
from chalicelib.observability import logger
from chalicelib.triggers.batch import BatchAnswer, work_off

blueprint = Blueprint(__name__)


# The packaged template puts the stack's own queue in place of this name.
@blueprint.on_sqs_message(queue="farshore-jobs", batch_size=10)
def advance_jobs(event: SQSEvent) -> BatchAnswer:
    """Advance the jobs that the messages poke."""
    return work_off(event, _advance)


def _advance(record: SQSRecord) -> None:
    logger().debug("advance", extra={"job": job_of(record.body)})
