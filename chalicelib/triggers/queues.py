"""The jobs queue: each message pokes one job, which is then advanced."""

from datetime import datetime, timedelta

from chalice.app import Blueprint, SQSEvent, SQSRecord

from chalicelib.aws.queue import job_of
from chalicelib.errors import LeaseHeld
from chalicelib.jobs.engine import poke_after
from chalicelib.triggers.batch import BatchAnswer, remaining_time, work_off
from chalicelib.wiring import farshore

blueprint = Blueprint(__name__)

# A worker returns this long before Lambda would end the function.
RETURNS_BEFORE = timedelta(seconds=5)


# The packaged template replaces this name with the stack's own queue. One message per invocation, so that a
# long read delays no other job.
@blueprint.on_sqs_message(queue="farshore-jobs", batch_size=1)
def advance_jobs(event: SQSEvent) -> BatchAnswer:
    """Advance the jobs that the messages poke."""
    until = farshore().now() + remaining_time(event) - RETURNS_BEFORE
    return work_off(event, lambda record: _advance(record, until))


def _advance(record: SQSRecord, until: datetime) -> None:
    app, job_id = farshore(), job_of(record.body)
    try:
        app.engine.advance(job_id, until)
    except LeaseHeld as held:
        app.queue.poke(job_id, poke_after(held))
