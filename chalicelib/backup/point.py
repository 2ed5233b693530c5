"""The recovery point that a backup job makes: where it lies, what its artefacts are tagged with, how it
begins, and what follows it. Pure."""

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
from chalicelib.jobs.job import AnyRequest, Job, JobState
from chalicelib.jobs.work import BackupWork, copy_method, copy_request, expire_request
from chalicelib.plans.due import next_try
from chalicelib.plans.expect import Expect, why_suspect
from chalicelib.plans.model import Kind, Rule
from chalicelib.plans.values import PRIMARY
from chalicelib.vaults.layout import point_folder

BackupJob = Job[BackupWork, Any]


def folder_of(job: BackupJob) -> str:
    """Return the folder in which the point lies, in every vault."""
    return point_folder(job.service, job.rule, job.nominal_at, job.work.recovery_point)


def tags_of(job: BackupJob) -> dict[str, str]:
    """Return the tags that each of the point's artefacts carries from its creating call on."""
    return point_tags(job.work.recovery_point, job.id, job.service, job.plan, job.rule)


def point_without_artefacts(
    job: BackupJob, state: PointState, source: Mapping[str, Any], reason: str = ""
) -> RecoveryPoint:
    """Return the job's point in `state`: being made, or failed, or to be completed with its artefacts."""
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
    """Return the record of a point that is made."""
    arrived = services.arriving(point, point.artefacts[PRIMARY])
    return (points.settling(point, now), *arrived, services.flagging(point))


def failure_writes(job: BackupJob, source: Mapping[str, Any], rule: Rule, now: datetime) -> tuple[Write, ...]:
    """Return the record of a backup that failed: a point that is never mistaken for one to restore from, and
    when it is tried again. One that was ended before it began leaves nothing.
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
    """Return what the point's manifest tells of how it was asked for."""
    terms = job.work.terms
    return {"origin": terms.origin.value, "note": terms.note, "keep_until": keep_until(job)}


def keep_until(job: BackupJob) -> datetime | None:
    """Return until when the point is kept because it was asked for so; counted from the request."""
    keep = job.work.terms.keep
    return job.nominal_at + keep if keep is not None else None


def suspicion(expect: Expect, size_bytes: int, lineage: Sequence[RecoveryPoint]) -> str:
    """Return why a backup of this size is suspect, "" when it is not; `lineage` comes newest first.

    It is measured by the whole points before it that nothing is doubted of, and by none older than the last
    one that an operator confirmed.
    """
    before: list[int] = []
    for point in lineage:
        if not point.is_flagged and any(_measures(each) for each in point.artefacts.values()):
            before.append(point.size_bytes)
            if point.confirmed is not None:
                break
    return why_suspect(expect, size_bytes, before)


def _measures(artefact: Artefact) -> bool:
    by_lifecycle = artefact.in_grace and not artefact.by_request
    return artefact.state is PointState.AVAILABLE or by_lifecycle


def follow_ups(
    job: BackupJob, point: RecoveryPoint, rule: Rule, vault_kinds: Mapping[str, str], now: datetime
) -> tuple[AnyRequest, ...]:
    """Return the jobs that follow a finished backup; the same ones however often it is asked.

    A vault that the settings no longer name gets a copy job, too, which fails and says so: a good backup must
    not fail for it.
    """
    copies = tuple(
        copy_request(point, copy.vault, copy_method(point.kind, vault_kinds.get(copy.vault, "s3")))
        for copy in rule.copies
    )
    lineage = Lineage(job.plan, job.rule, point.kind, job.service)
    return (*copies, expire_request(lineage, now, f"after {point.id}"))
