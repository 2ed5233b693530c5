"""Deletes one recovery point at an operator's request, with the same guard as lifecycles have."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from chalicelib.catalog.recovery_point import Artefact, PointState, RecoveryPoint
from chalicelib.catalog.store import PlanStore, PointStore
from chalicelib.errors import Conflict
from chalicelib.jobs.engine import Engine
from chalicelib.jobs.job import AnyRequest, JobId
from chalicelib.jobs.work import Release, release_request
from chalicelib.retention.artefacts import ArtefactStore


@dataclass(frozen=True, slots=True)
class DeletionContext:
    """What decides whether a point may be deleted: all points of its lineage, the vaults in which its rule
    keeps points (None: the rule is gone, and every vault counts), and the vaults where it was not found."""

    lineage: Sequence[RecoveryPoint]
    kept_in: Collection[str] | None
    missing_from: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Deletions:
    """Opens deletions at an operator's request."""

    engine: Engine
    plans: PlanStore
    points: PointStore
    artefacts: ArtefactStore
    now: Callable[[], datetime]

    def open(self, point_id: str) -> tuple[JobId, ...]:
        """Open the deletion of a point in every vault.

        If it seems to be the newest good one, the vaults are checked: a point that is not there may go.

        Raises:
            NotFound: there is no such point.
            Conflict: see `deletion_request`.
        """
        point = self.points.require(point_id)
        stored = self.plans.get(point.plan)
        rule = stored.plan.rule(point.rule) if stored else None
        lineage = self.points.of_lineage(point.lineage)
        context = DeletionContext(lineage, kept_in=rule.vaults if rule else None)
        if guard(point, context) is not None:
            context = replace(context, missing_from=self.artefacts.missing_from(point))
        return self.engine.open([deletion_request(point, context, self.now())])


def deletion_request(point: RecoveryPoint, context: DeletionContext, now: datetime) -> AnyRequest:
    """Return the request that deletes `point` in every vault. Pure.

    Raises:
        Conflict: it is the newest good point of its lineage in a vault that its rule keeps points in, a job
            needs it, or it is gone.
    """
    refusal = _refusal(point, context)
    if refusal:
        raise Conflict(refusal, operation="deleting", resource=point.id)
    releases = (Release(point.id, vault, "deleted by request") for vault in _left_in(point))
    return release_request(point, releases, now)


def _refusal(point: RecoveryPoint, context: DeletionContext) -> str | None:
    if point.state in (PointState.DELETED, PointState.CREATING):
        return f"it is {point.state}"
    if not _left_in(point):
        return f"it is {point.state} and is in no vault: there is nothing to delete"
    if point.hold is not None:
        return f"it is held: {point.hold}"
    for holders in point.pins.values():
        first = min(holders)
        return f"{first.partition('-')[0]} {first} of it is under way"
    return guard(point, context)


def guard(point: RecoveryPoint, context: DeletionContext) -> str | None:
    """Return why a point must not be deleted: it is the newest good one, as far as is known. Pure.

    A point that is suspect, partial or missing does not count as good.
    """
    if point.is_flagged:
        return None
    good_in = [vault for vault in point.available_in() if vault not in context.missing_from]
    newer = [each for each in context.lineage if each.created_at > point.created_at and each.id != point.id]
    newer = [each for each in newer if not each.is_flagged]
    if good_in and not any(each.available_in() for each in newer):
        return "it is the newest good point of its lineage, which is never deleted"
    for vault in good_in:
        guarded = context.kept_in is None or vault in context.kept_in
        if guarded and not any(vault in each.available_in() for each in newer):
            return f"it is the newest good point of its lineage in {vault}, which is never deleted"
    return None


def _left_in(point: RecoveryPoint) -> list[str]:
    return sorted(name for name, each in point.artefacts.items() if not _is_gone(each))


def _is_gone(artefact: Artefact) -> bool:
    return artefact.state is PointState.DELETED or not (artefact.was_made or artefact.folder)
