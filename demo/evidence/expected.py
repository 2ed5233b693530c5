"""Computes what lifecycles must keep, with a calendar and without the app's code.

It takes the times at which backups were made and returns those that must still be there. Periods are days,
ISO weeks and months, in UTC.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

PERIODS: Mapping[str, Callable[[datetime], object]] = {
    "daily": lambda at: at.date(),
    "weekly": lambda at: at.isocalendar()[:2],
    "monthly": lambda at: (at.year, at.month),
}


def left(
    lifecycle: Mapping[str, Any], made: Collection[datetime], judged_at: datetime
) -> frozenset[datetime]:
    """Return what a lifecycle keeps of the backups made, when it was last applied at `judged_at`."""
    newest_first = sorted(made, reverse=True)
    kept = set(newest_first[: max(lifecycle.get("min_keep", 1), lifecycle.get("count", 0))])
    for name, wanted in lifecycle.get("keep", {}).items():
        last_of = {}
        for at in sorted(made):
            last_of[PERIODS[name](at)] = at
        kept.update(sorted(last_of.values(), reverse=True)[:wanted])
    if "age" in lifecycle:
        age = timedelta(days=int(lifecycle["age"].removesuffix("d")))
        kept.update(at for at in made if judged_at - at < age)
    return frozenset(kept)


def nights(first: datetime, before: datetime, *, weekday: int | None = None) -> list[datetime]:
    """Return `first` and the same time of every later day, before `before`; only of one weekday (Monday: 0)
    where that is given.
    """
    days = (before - first) // timedelta(days=1) + 1
    times = [first + timedelta(days=day) for day in range(days)]
    return [at for at in times if at < before and weekday in (None, at.weekday())]
