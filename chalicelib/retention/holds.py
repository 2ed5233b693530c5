"""Holds, undeletes and confirms recovery points for operators.

A held point is kept whatever its lifecycle says; a confirmed one is no longer suspect. Invariant: what is
undeleted is also held, or its lifecycle would let it go again the next time.
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
        """Keep a point until its hold is released.

        Raises:
            NotFound: there is no such point.
            Conflict: it is deleted or failed, or others kept changing it.
        """
        return self._changed(point_id, lambda point: _hold(point, reason))

    def release(self, point_id: str) -> RecoveryPoint:
        """Release the hold: the lifecycle decides again.

        Raises:
            NotFound: there is no such point.
            Conflict: it is not held, or others kept changing it.
        """
        return self._changed(point_id, _release)

    def undelete(self, point_id: str) -> RecoveryPoint:
        """Undelete a point in every vault in which its grace is not over, and hold it.

        Raises:
            NotFound: there is no such point.
            Conflict: it is in its grace in no vault, or others kept changing it.
        """
        return self._changed(point_id, lambda point: _undelete(point, self.now()))

    def confirm(self, point_id: str, reason: str) -> RecoveryPoint:
        """Make a suspect point count as good, and compare the sizes of later ones with its size.

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
        raise Conflict("jobs keep changing it; try again", operation="changing", resource=point_id)


def _hold(point: RecoveryPoint, reason: str) -> list[Write]:
    if point.state in (PointState.DELETED, PointState.FAILED):
        raise Conflict(
            f"it is {point.state}: there is nothing to keep", operation="holding", resource=point.id
        )
    if point.state is PointState.CREATING:
        why = "it is CREATING: try again when it is made, or request the backup with `keep`"
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
        why = f"it is {point.state}, and can be undeleted in no vault"
        raise Conflict(why, operation="undeleting", resource=point.id)
    back = [undeleted(artefact) for artefact in in_grace]
    counted = [services.counting(point, artefact.vault, 1) for artefact in back]
    reason = f"undeleted at {now:%Y-%m-%d %H:%M} UTC"
    return [*points.changing_all(point, back, now), points.holding(point, reason), *counted]
