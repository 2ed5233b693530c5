"""The recovery point that a backup job makes: where it lies, what its artefacts are tagged with, how it
begins, and what follows it. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from chalicelib.catalog.recovery_point import Lineage, PointId, PointState, RecoveryPoint, point_tags
from chalicelib.jobs.job import AnyRequest, Job
from chalicelib.jobs.work import BackupWork, copy_request, expire_request
from chalicelib.plans.model import Kind, Rule
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
    )


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


def copy_method(kind: Kind, vault_kind: str) -> str:
    """Return how a point of `kind` gets into a vault of `vault_kind` (`s3` or `libcloud`)."""
    if kind is Kind.SNAPSHOT:
        return "snapshot"
    return "object" if vault_kind == "s3" else "segments"
