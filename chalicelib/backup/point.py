"""The recovery point that a backup job makes: where it lies, what its artefacts are tagged with, how it
begins."""

from collections.abc import Mapping
from typing import Any

from chalicelib.catalog.job import Job
from chalicelib.catalog.recovery_point import PointId, PointState, RecoveryPoint, point_tags
from chalicelib.catalog.store import PointStore
from chalicelib.plans.model import Kind
from chalicelib.vaults.layout import point_folder


def folder_of(job: Job) -> str:
    """Return the folder in which the point lies, in every vault."""
    return point_folder(job.service, job.rule, job.nominal_at, job.work["recovery_point"])


def tags_of(job: Job) -> dict[str, str]:
    """Return the tags that each of the point's artefacts carries from its creating call on."""
    return point_tags(job.work["recovery_point"], job.id, job.service, job.plan, job.rule)


def made_before(points: PointStore, job: Job) -> RecoveryPoint | None:
    """Return the job's point if the catalog has it as made: from then on nothing of it is to be thrown away,
    whatever befalls the job."""
    point = points.get(job.work["recovery_point"])
    return point if point and point.state not in (PointState.CREATING, PointState.FAILED) else None


def point_without_artefacts(
    job: Job, state: PointState, source: Mapping[str, Any], reason: str = ""
) -> RecoveryPoint:
    """Return the job's point in `state`: being made, or failed, or to be completed with its artefacts."""
    return RecoveryPoint(
        id=PointId(job.work["recovery_point"]),
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
