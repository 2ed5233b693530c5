"""Keeps recovery points whatever their lifecycle says, takes back what was let go, and has points count that
were doubted.

Invariant: what is taken back is held, too, or its lifecycle would let it go again at the next look.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from chalicelib.catalog.recovery_point import PointState, RecoveryPoint
from chalicelib.catalog.store import points, services
from chalicelib.catalog.store.points import PointStore
from chalicelib.catalog.store.table import Table
from chalicelib.catalog.store.writes import Write
from chalicelib.errors import Conflict
from chalicelib.retention.expire import undeleted

TRIES = 5


@dataclass(frozen=True, slots=True)
class Holds:
    """Holds and confirms points for operators. Each change is one transaction from the version read."""

    table: Table
    points: PointStore
    now: Callable[[], datetime]

    def hold(self, point_id: str, reason: str) -> RecoveryPoint:
        """Keep a point until its hold is taken away.

        Raises:
            NotFound: there is no such point.
            Conflict: it is deleted or failed, or others kept changing it.
        """
        return self._changed(point_id, lambda point: _hold(point, reason))

    def release(self, point_id: str) -> RecoveryPoint:
        """Let the lifecycle decide again.

        Raises:
            NotFound: there is no such point.
            Conflict: it is not held, or others kept changing it.
        """
        return self._changed(point_id, _release)

    def undelete(self, point_id: str) -> RecoveryPoint:
        """Make a point good again in every vault in which its grace is not over, and hold it.

        Raises:
            NotFound: there is no such point.
            Conflict: it is in its grace nowhere, or others kept changing it.
        """
        return self._changed(point_id, lambda point: _undelete(point, self.now()))

    def confirm(self, point_id: str, reason: str) -> RecoveryPoint:
        """Have a suspect point count as a good one from now on, and the next ones be measured by it.

        Raises:
            NotFound: there is no such point.
            Conflict: it is not suspect or cannot be restored, or others kept changing it.
        """
        return self._changed(point_id, lambda point: self._confirm(point, reason))

    def _confirm(self, point: RecoveryPoint, reason: str) -> list[Write]:
        if not point.is_suspect or not point.available_in():
            why = f"it is {point.state}" + ("" if point.is_suspect else " and not suspect")
            raise Conflict(why, operation="confirming", resource=point.id)
        return [points.confirming(point, reason), *services.confirming(point)]

    def _changed(self, point_id: str, change: Callable[[RecoveryPoint], list[Write]]) -> RecoveryPoint:
        for _ in range(TRIES):
            point = self.points.require(point_id)
            if not self.table.commit_outcome(change(point)):
                return self.points.get(point_id) or point
        raise Conflict("jobs keep changing it; ask again", operation="changing", resource=point_id)


def _hold(point: RecoveryPoint, reason: str) -> list[Write]:
    if point.state in (PointState.DELETED, PointState.FAILED):
        raise Conflict(
            f"it is {point.state}: there is nothing to keep", operation="holding", resource=point.id
        )
    if point.state is PointState.CREATING:
        why = "it is CREATING: ask again when it is made, or for the backup with `keep`"
        raise Conflict(why, operation="holding", resource=point.id)
    if not point.available_in() and not any(each.in_grace for each in point.artefacts.values()):
        raise Conflict("it is being deleted", operation="holding", resource=point.id)
    return [points.holding(point, reason)]


def _release(point: RecoveryPoint) -> list[Write]:
    if point.hold is None:
        raise Conflict("it is not held", operation="releasing", resource=point.id)
    return [points.holding(point, None)]


def _undelete(point: RecoveryPoint, now: datetime) -> list[Write]:
    in_grace = [artefact for artefact in point.artefacts.values() if artefact.in_grace]
    if not in_grace:
        why = f"it is {point.state}, and in no vault can it be taken back"
        raise Conflict(why, operation="taking back", resource=point.id)
    back = [undeleted(artefact) for artefact in in_grace]
    counted = [services.counting(point, artefact.vault, 1) for artefact in back]
    reason = f"taken back at {now:%Y-%m-%d %H:%M} UTC"
    return [*points.changing_all(point, back, now), points.holding(point, reason), *counted]
