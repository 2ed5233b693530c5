"""What a service was promised, and what it has. The achieved RPO counts verified points only."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import islice, pairwise
from typing import Annotated

from pydantic import Field

from chalicelib.plans.declared import Declared, Maybe
from chalicelib.plans.durations import Duration
from chalicelib.plans.schedule import Schedule

# How many runs of a schedule are looked at: four years of days, which always include a leap year.
_RUNS_LOOKED_AT = 1_500
_Objective = Annotated[timedelta, Duration(timedelta(minutes=1), timedelta(days=3_650))]


class Objectives(Declared):
    """What is promised, to compare with what is achieved."""

    rpo: Annotated[
        Maybe[_Objective], Field(description="the greatest age of the newest verified recovery point")
    ] = None
    rto: Annotated[Maybe[_Objective], Field(description="the longest time a restore may take")] = None


def achieved_rpo(points: Iterable[tuple[datetime, bool]], now: datetime) -> timedelta | None:
    """Return how much would be lost now: the age of the newest verified point; `points` are (time, verified).

    None when there is no verified point; points dated in the future prove nothing and are ignored.
    """
    newest = max((at for at, verified in points if verified and at <= now), default=None)
    return None if newest is None else now - newest


def longest_gap(schedule: Schedule, now: datetime) -> timedelta:
    """Return the longest time between two of the coming runs of a schedule."""
    runs = [now, *islice(schedule.after(now), _RUNS_LOOKED_AT)]
    return max((later - earlier for earlier, later in pairwise(runs)), default=timedelta.max)
