"""The recovery point of a backup job: its folder, its tags, its records and the jobs that follow it. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from chalicelib.catalog.recovery_point import (
    Artefact,
    Lineage,
    PointId,
    PointState,
    RecoveryPoint,
    point_tags,
)
from chalicelib.catalog.store import points, services
from chalicelib.catalog.store.services import Retry
from chalicelib.catalog.store.writes import Write
from chalicelib.jobs.job import AnyJob, AnyRequest, Job, JobState
from chalicelib.jobs.work import BackupWork, CopyMethods, copy_method, copy_request, expire_request
from chalicelib.plans.due import next_try
from chalicelib.plans.expect import Expect, why_suspect
from chalicelib.plans.model import Kind, Rule
from chalicelib.plans.values import PRIMARY
from chalicelib.vaults.layout import point_folder

BackupJob = Job[BackupWork, Any]


def folder_of(job: BackupJob) -> str:
    """Return the point's folder, the same in every vault."""
    return point_folder(job.service, job.rule, job.nominal_at, job.work.recovery_point)


def tags_of(job: BackupJob) -> dict[str, str]:
    """Return the tags with which each of the point's artefacts is created."""
    return point_tags(job.work.recovery_point, job.id, job.service, job.plan, job.rule)


def point_without_artefacts(
    job: BackupJob, state: PointState, source: Mapping[str, Any], reason: str = ""
) -> RecoveryPoint:
    """Return the job's point in `state`, without artefacts: being made, failed, or to be completed."""
    terms = job.work.terms
    return RecoveryPoint(
        id=PointId(job.work.recovery_point),
        service=job.service,
        plan=job.plan,
        rule=job.rule,
        kind=Kind(job.method),
        state=state,
        nominal_at=job.nominal_at,
        created_at=job.created_at,
        source=source,
        reason=reason,
        hold=(terms.note or "asked for with keep: true") if terms.held else None,
        origin=terms.origin,
        note=terms.note,
        keep_until=keep_until(job),
        left_out=job.work.left_out,
    )


def record_of(point: RecoveryPoint, now: datetime) -> tuple[Write, ...]:
    """Return the writes that record a finished point."""
    arrived = services.arriving(point, point.artefacts[PRIMARY])
    return (points.settling(point, now), *arrived, services.flagging(point))


def failure_writes(job: BackupJob, source: Mapping[str, Any], rule: Rule, now: datetime) -> tuple[Write, ...]:
    """Return the writes for a backup that failed: a point that cannot be restored, and when to try again.

    A backup that ended before it began leaves no record.
    """
    if job.failure is None:
        return ()
    if job.failure.outcome is JobState.CANCELLED and not job.begun:
        return (points.forgetting(job.work.recovery_point),)
    reason = job.failure.reason
    failed = points.settling(point_without_artefacts(job, PointState.FAILED, source, reason), now)
    at = next_try(rule, job.nominal_at, job.work.tries, now) if job.work.due else None
    if at is None or job.failure.outcome is JobState.CANCELLED:
        return (failed,)
    lineage = Lineage(job.plan, job.rule, Kind(job.method), job.service)
    return failed, services.retrying(lineage, Retry(job.id, job.nominal_at, job.work.tries, at, reason))


def described(job: BackupJob) -> dict[str, Any]:
    """Return the part of the point's manifest that says how it was requested."""
    terms = job.work.terms
    return {"origin": terms.origin.value, "note": terms.note, "keep_until": keep_until(job)}


def keep_until(job: BackupJob) -> datetime | None:
    """Return until when the request wants the point kept; counted from the request."""
    keep = job.work.terms.keep
    return job.nominal_at + keep if keep is not None else None


def suspicion(expect: Expect, size_bytes: int, lineage: Sequence[RecoveryPoint]) -> str:
    """Return why a backup of this size is suspect, or "" when it is not; `lineage` comes newest first.

    It is compared with the good points before it, none of them older than the last one that an operator
    confirmed.
    """
    before: list[int] = []
    for point in lineage:
        if not point.is_flagged and any(_measures(each) for each in point.artefacts.values()):
            before.append(point.size_bytes)
            if point.confirmed is not None:
                break
    return why_suspect(expect, size_bytes, before)


def why_without_data(launch: AnyJob | None, lineage: Sequence[RecoveryPoint]) -> str:
    """Return why what an instance has is not its service's data: its launch did not bring it.

    "" where that is not so, or where an operator has confirmed a point since.
    """
    if launch is None or not launch.state.final or not launch.work.on_launch.restore:
        return ""
    progress = launch.progress
    is_first = progress.moves_identity  # there was nothing to bring
    if progress.restored_at is not None or is_first:
        return ""
    if any(point.confirmed is not None and point.created_at > launch.updated_at for point in lineage):
        return ""
    return f"{launch.work.instance_id} was launched without the service's data ({launch.id}: {launch.reason})"


def _measures(artefact: Artefact) -> bool:
    by_lifecycle = artefact.in_grace and not artefact.by_request
    return artefact.state is PointState.AVAILABLE or by_lifecycle


def follow_ups(
    job: BackupJob, point: RecoveryPoint, rule: Rule, methods: CopyMethods, now: datetime
) -> tuple[AnyRequest, ...]:
    """Return the jobs that follow a finished backup; repeated calls return the same ones.

    A vault that the settings no longer name gets a copy job, too, which fails with that reason: a good backup
    must not fail because of it.
    """
    copies = tuple(
        copy_request(point, copy.vault, copy_method(methods, point.kind, copy.vault)) for copy in rule.copies
    )
    lineage = Lineage(job.plan, job.rule, point.kind, job.service)
    return (*copies, expire_request(lineage, now, f"after {point.id}"))
