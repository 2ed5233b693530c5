"""What a service was promised, and what it has: achieved RPO counts verified points only."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Objectives:
    """The oldest the newest verified point may be (`rpo`), and the longest a restore may take (`rto`)."""

    rpo: timedelta | None = None
    rto: timedelta | None = None


def achieved_rpo(points: Iterable[tuple[datetime, bool]], now: datetime) -> timedelta | None:
    """Return how much would be lost now: the age of the newest verified point, given as (its time, verified).

    None when there is no verified point; a point dated in the future proves nothing and is passed over.
    """
    newest = max((at for at, verified in points if verified and at <= now), default=None)
    return None if newest is None else now - newest
