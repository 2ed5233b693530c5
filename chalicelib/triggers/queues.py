"""The queues of jobs: each message pokes one job, which is then advanced."""

from datetime import datetime, timedelta

from chalice.app import Blueprint, SQSEvent, SQSRecord

from chalicelib.aws.queue import job_of
from chalicelib.errors import LeaseHeld
from chalicelib.jobs.engine import poke_after
from chalicelib.jobs.queues import JobQueue
from chalicelib.triggers.batch import BatchAnswer, remaining_time, work_off
from chalicelib.wiring import farshore

blueprint = Blueprint(__name__)

# A worker returns this long before Lambda would end the function.
RETURNS_BEFORE = timedelta(seconds=5)


# The packaged template replaces these names with the stack's own queues. One message per invocation, so that
# a long read delays no other job.
@blueprint.on_sqs_message(queue="farshore-jobs", batch_size=1)
def advance_jobs(event: SQSEvent) -> BatchAnswer:
    """Advance the jobs that the messages poke."""
    return _advance_all(event, JobQueue.JOBS)


@blueprint.on_sqs_message(queue="farshore-deletions", batch_size=1)
def advance_deletions(event: SQSEvent) -> BatchAnswer:
    """Advance the jobs that delete, and those that are handed over to delete."""
    return _advance_all(event, JobQueue.DELETIONS)


def _advance_all(event: SQSEvent, queue: JobQueue) -> BatchAnswer:
    until = farshore().now() + remaining_time(event) - RETURNS_BEFORE
    return work_off(event, lambda record: _advance(record, until, queue))


def _advance(record: SQSRecord, until: datetime, queue: JobQueue) -> None:
    app, job_id = farshore(), job_of(record.body)
    try:
        app.engine.advance(job_id, until, queue)
    except LeaseHeld as held:
        app.queue.poke(job_id, poke_after(held), queue)
