"""Which queue a job is poked on, and whose worker takes its next step. Pure.

Recovery points are deleted by a function and a role of their own: the worker that makes points cannot delete
one. Jobs whose kind deletes are advanced there from beginning to end; a job of another kind is handed over
for the steps that delete what it made itself.
"""

from enum import StrEnum
from typing import Any

from chalicelib.jobs.decision import Do
from chalicelib.jobs.job import AnyJob, JobKind


class JobQueue(StrEnum):
    """The queues of jobs; each has a worker with a role of its own."""

    JOBS = "jobs"
    DELETIONS = "deletions"


DELETING = (JobKind.EXPIRE, JobKind.INVENTORY)


def queue_of(job_id: str) -> JobQueue:
    """Return the queue of a job, by the kind that its id begins with."""
    return _of_kind(job_id.partition("-")[0])


def queue_for(job: AnyJob, do: Do[Any]) -> JobQueue:
    """Return the queue whose worker may take this step."""
    return JobQueue.DELETIONS if do.deletes else _of_kind(job.kind)


def _of_kind(kind: str) -> JobQueue:
    return JobQueue.DELETIONS if kind in DELETING else JobQueue.JOBS
