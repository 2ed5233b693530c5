"""One backup of a lineage runs at a time; a newer due run supersedes one that has not begun.

A backup begins with its first act that changes anything: in the transaction of that act's intent it becomes
the one under way, on condition that no other is and, if it was due, that no newer one is. Until then it
waits, and is poked when the one under way ends.
"""

from dataclasses import dataclass

from chalicelib.catalog.recovery_point import Lineage
from chalicelib.catalog.store import services
from chalicelib.catalog.store.notices import begun, over, trouble_of
from chalicelib.catalog.store.services import LineageRecord
from chalicelib.catalog.store.writes import Write
from chalicelib.jobs.job import AnyJob, AnyRequest, JobKind, JobState
from chalicelib.plans.model import Kind


@dataclass(frozen=True, slots=True)
class Superseded:
    """A newer due run has replaced the job."""

    by: str


@dataclass(frozen=True, slots=True)
class Busy:
    """Another backup of the lineage is under way."""

    holder: str


@dataclass(frozen=True, slots=True)
class Free:
    """The job may begin; `superseded` due runs before it never did. It `mends` what has failed before it."""

    begin: Write
    superseded: int = 0
    mends: bool = False


def takes_turns(job: AnyJob) -> bool:
    """Return whether only one such job of a lineage runs at a time: true of backups, not of their parts."""
    return job.kind is JobKind.BACKUP and job.parent is None


def lineage_of(job: AnyJob | AnyRequest) -> Lineage:
    """Return the lineage of a backup's point."""
    return Lineage(job.plan, job.rule, Kind(job.method), job.service)


def standing(record: LineageRecord, job: AnyJob) -> Superseded | Busy | Free:
    """Return whether a backup that has not begun may begin. Pure."""
    due = job.work.due
    if due and record.due_job is not None and record.due_job != job.id:
        return Superseded(record.due_job)
    if record.running is not None and record.running != job.id:
        return Busy(record.running)
    return free(record, job)


def free(record: LineageRecord, job: AnyJob) -> Free:
    """Return how a backup begins when no other is in the way. Pure."""
    due = job.work.due
    begin, superseded = services.beginning(record, job.id, due=due), max(0, record.passed - 1) if due else 0
    return Free(begin, superseded, record.failing)


def opened(job: AnyJob, missed: str | None) -> Write:
    """Return the write for a backup that is opened, or that was missed. Pure."""
    if missed is not None:
        return services.missing(lineage_of(job), job.id, missed, supersedes=not job.work.unseen)
    work = job.work
    return services.opening(lineage_of(job), job.id, work.instances, job.created_at, due=work.due)


def enqueued(job: AnyJob, holder: str) -> Write:
    """Return the write that has a backup poked when the one under way ends. Pure."""
    return services.enqueueing(lineage_of(job), job.id, holder)


def not_begun(job: AnyJob) -> Write:
    """Return the write for a backup whose first act was refused. Pure."""
    return services.unbeginning(lineage_of(job), job.superseded + 1 if job.work.due else 0)


def ended(job: AnyJob) -> list[Write]:
    """Return the writes for a backup that ends; one that failed before it began was not superseded. Pure.

    That it failed, or that it succeeded after one that had failed, is noted to be told.
    """
    lineage, trouble, failed = lineage_of(job), trouble_of(lineage_of(job)), job.state is JobState.FAILED
    unbegun = failed and job.work.due and not job.begun
    writes = [services.ending(lineage, job.id, begun=job.begun, passed=-1 if unbegun else 0)]
    if failed:
        return [*writes, services.failing(lineage), begun(trouble, job.reason, job.updated_at, job.id)]
    if job.mends and job.state is JobState.COMPLETED:
        return [*writes, services.recovering(lineage), over(trouble, job.updated_at)]
    return writes


def superseded(job: AnyJob, by: str) -> str:
    """Return why a backup never began. Pure."""
    return f"superseded by {by}, which became due before this one ({job.nominal_at:%Y-%m-%d %H:%M} UTC) began"
