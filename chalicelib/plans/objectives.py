"""What a service was promised, and what it has: achieved RPO counts verified points only."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import islice, pairwise
from typing import Annotated

from pydantic import Field

from chalicelib.plans.declared import Declared, Maybe
from chalicelib.plans.durations import Duration
from chalicelib.plans.schedule import Schedule

# So many runs of a schedule are looked at: four years of days, which a leap year is among.
_RUNS_LOOKED_AT = 1_500
_Objective = Annotated[timedelta, Duration(timedelta(minutes=1), timedelta(days=3_650))]


class Objectives(Declared):
    """What is promised, to set beside what is achieved."""

    rpo: Annotated[
        Maybe[_Objective], Field(description="how old the newest verified recovery point may be")
    ] = None
    rto: Annotated[Maybe[_Objective], Field(description="how long a restore may take")] = None


def achieved_rpo(points: Iterable[tuple[datetime, bool]], now: datetime) -> timedelta | None:
    """Return how much would be lost now: the age of the newest verified point, given as (its time, verified).

    None when there is no verified point; a point dated in the future proves nothing and is passed over.
    """
    newest = max((at for at, verified in points if verified and at <= now), default=None)
    return None if newest is None else now - newest


def longest_gap(schedule: Schedule, now: datetime) -> timedelta:
    """Return the longest that two runs of a schedule are apart, of those to come that are looked at."""
    runs = [now, *islice(schedule.after(now), _RUNS_LOOKED_AT)]
    return max((later - earlier for earlier, later in pairwise(runs)), default=timedelta.max)
