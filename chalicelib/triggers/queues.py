"""The jobs queue: each message pokes one job, which is advanced."""

from datetime import datetime, timedelta

from chalice.app import Blueprint, SQSEvent, SQSRecord

from chalicelib.aws.queue import job_of
from chalicelib.catalog.advance import poke_after
from chalicelib.errors import LeaseHeld
from chalicelib.triggers.batch import BatchAnswer, remaining_time, work_off
from chalicelib.wiring import farshore

blueprint = Blueprint(__name__)

# A lease ends this long before Lambda would end the function.
LEASE_MARGIN = timedelta(seconds=10)


# The packaged template puts the stack's own queue in place of this name.
@blueprint.on_sqs_message(queue="farshore-jobs", batch_size=10)
def advance_jobs(event: SQSEvent) -> BatchAnswer:
    """Advance the jobs that the messages poke."""
    until = farshore().now() + remaining_time(event) - LEASE_MARGIN
    return work_off(event, lambda record: _advance(record, until))


def _advance(record: SQSRecord, until: datetime) -> None:
    app, job_id = farshore(), job_of(record.body)
    try:
        app.engine.advance(job_id, until)
    except LeaseHeld as held:
        app.queue.poke(job_id, poke_after(held))
