"""Whose a thing is: told by the catalog, and by the mark that the call which made it has left on it. Pure.

A tag can be changed by whoever may tag, and a job's id is shown by the API; both only find candidates. The
description of a snapshot cannot be changed after its creating call, and its mark is made of the job's secret:
what carries the mark of a job that the catalog remembers, and began while that job was under way, was made by
it. Whoever copies a description that is there to be read comes too late.
"""

import re
from collections.abc import Iterable, Iterator

from chalicelib.aws.ec2 import Snapshot
from chalicelib.jobs.job import CLOCK_SKEW, AnyJob, job_of_mark
from chalicelib.jobs.work import BackupWork, CopyWork, copy_call, snapshot_call, volume_call

_POINT_ID = re.compile(r"rp-[0-9a-f]{32}")
_JOB_ID = re.compile(r"[a-z]+-[0-9a-f]{24}")


def point_ids(texts: Iterable[str | None]) -> set[str]:
    """Return those texts that can be ids of recovery points; what an outsider writes can be anything."""
    return {text for text in texts if text is not None and _POINT_ID.fullmatch(text)}


def job_ids(texts: Iterable[str | None]) -> set[str]:
    """Return those texts that can be ids of jobs."""
    return {text for text in texts if text is not None and _JOB_ID.fullmatch(text)}


def made_by(job: AnyJob, snapshot: Snapshot) -> bool:
    """Return whether a snapshot was made by a call of this job, which is over.

    Its description has the mark of one, and it began between the job's opening and its end.
    """
    words = snapshot.description.split(" ")
    in_time = job.created_at - CLOCK_SKEW <= snapshot.started_at <= job.updated_at + CLOCK_SKEW
    if job_of_mark(snapshot.description) != job.id or not in_time:
        return False
    return any(" ".join(words[:3]) == job.mark(call) for call in _calls(job, snapshot, words[3:]))


def _calls(job: AnyJob, snapshot: Snapshot, rest: list[str]) -> Iterator[str]:
    """Yield the calls of a job that can have made a snapshot whose description goes on with `rest`."""
    match job.work:
        case BackupWork(instances=instances):
            yield from map(snapshot_call, instances)
            yield from (volume_call(snapshot.volume_id, instance) for instance in instances)
        case CopyWork() if rest:
            yield copy_call(rest[0])
