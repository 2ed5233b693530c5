"""Proves which job made a thing, by the catalog and by the mark that the creating call left on it. Pure.

Tags can be changed by others, and job ids are visible in the API, so both only find candidates. The
description of a snapshot cannot be changed after its creating call, and the mark in it is made of the job's
secret: a snapshot that has the mark of a job in the catalog, and began while that job was under way, was made
by that job. A forger can only copy a description that is visible already, and then it is too late.
"""

import re
from collections.abc import Iterable, Iterator

from chalicelib.aws.ec2 import Snapshot
from chalicelib.jobs.job import CLOCK_SKEW, AnyJob, job_of_mark
from chalicelib.jobs.work import BackupWork, CopyWork, copy_call, snapshot_call, volume_call

_POINT_ID = re.compile(r"rp-[0-9a-f]{32}")
_JOB_ID = re.compile(r"[a-z]+-[0-9a-f]{24}")


def point_ids(texts: Iterable[str | None]) -> set[str]:
    """Return the texts that may be ids of recovery points; those in others' tags can be anything."""
    return {text for text in texts if text is not None and _POINT_ID.fullmatch(text)}


def job_ids(texts: Iterable[str | None]) -> set[str]:
    """Return the texts that may be ids of jobs."""
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
    """Yield the calls of a job that may have made a snapshot whose description continues with `rest`."""
    match job.work:
        case BackupWork(instances=instances):
            yield from map(snapshot_call, instances)
            yield from (volume_call(snapshot.volume_id, instance) for instance in instances)
        case CopyWork() if rest:
            yield copy_call(rest[0])
