"""Deletes one recovery point because an operator asks for it, guarded as the lifecycle is. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from chalicelib.catalog.job import Job, JobKind, JobRequest
from chalicelib.catalog.recovery_point import PointState, RecoveryPoint
from chalicelib.errors import Conflict
from chalicelib.plans.model import Rule
from chalicelib.retention.expire import pins


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a point stands in: its lineage's points, the service's unfinished jobs, the vaults its rule keeps
    points in (None: the rule is gone, and every vault counts).
    """

    lineage: Sequence[RecoveryPoint]
    unfinished: Sequence[Job]
    kept_in: Collection[str] | None


def kept_in(rule: Rule | None) -> Collection[str] | None:
    """Return the vaults that a rule keeps points in; None for a rule that is gone."""
    return None if rule is None else {"primary", *(copy.vault for copy in rule.copies)}


def deletion_request(point: RecoveryPoint, around: Surroundings, now: datetime) -> JobRequest:
    """Return the request that deletes `point` in every vault.

    Raises:
        Conflict: it is the newest good point of its lineage in a vault that its rule keeps points in, a job
        needs
            it, or it is gone.
    """
    refusal = _refusal(point, around)
    if refusal:
        raise Conflict(refusal, operation="deleting", resource=point.id)
    return JobRequest(
        kind=JobKind.EXPIRE,
        method="lifecycle",
        service=point.service,
        plan=point.plan,
        rule=point.rule,
        nominal_at=now,
        key=("delete", point.id, now.isoformat()),
        work={"judged": [[point.id, vault, False, "deleted by request"] for vault in _left_in(point)]},
        reason=f"deletion of {point.id}",
    )


def _refusal(point: RecoveryPoint, around: Surroundings) -> str | None:
    if point.state in (PointState.DELETED, PointState.CREATING):
        return f"it is {point.state}"
    if not _left_in(point):
        return f"it is {point.state} and lies in no vault: there is nothing to delete"
    pinned = pins(around.unfinished).get(point.id)
    if pinned:
        return pinned
    newer = [each for each in around.lineage if each.created_at > point.created_at and each.id != point.id]
    if point.available_in() and not any(each.available_in() for each in newer):
        return "it is the newest good point of its lineage, which is never deleted"
    for vault in point.available_in():
        guarded = around.kept_in is None or vault in around.kept_in
        if guarded and not any(vault in each.available_in() for each in newer):
            return f"it is the newest good point of its lineage in {vault}, which is never deleted"
    return None


def _left_in(point: RecoveryPoint) -> list[str]:
    return sorted(name for name, each in point.artefacts.items() if each.state is not PointState.DELETED)
