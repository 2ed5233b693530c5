"""Decides whether a rule is due now: returns the run, made unique by its nominal time, and opens no job.

Invariant: called again with that run as the last one, it returns nothing until the next is due. Missed runs
are therefore made up for by one run, the latest, and never by a burst.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from chalicelib.plans.rules import Rule
from chalicelib.plans.schedule import EPOCH, Schedule

TICK = timedelta(minutes=5)
# Two ticks of the default schedule: when one tick is late, the run does not count as late.
GRACE = timedelta(minutes=10)
MOST_COUNTED = 1_000
_FIRST_LOOK = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class DueRun:
    """A run to open: its nominal time, whether it is late, and how many runs before it were missed."""

    nominal_at: datetime
    late: bool
    missed: int


def due_run(
    schedule: Schedule, last_run: datetime, now: datetime, *, grace: timedelta = GRACE
) -> DueRun | None:
    """Return the latest run in `(last_run, now]`; it is late when `grace` has passed since.

    `last_run` is the nominal time of the rule's last run or, when it never ran, the time the plan was stored:
    runs before that do not count as missed. `missed` counts up to `MOST_COUNTED`.
    """
    nominal_at = _latest(schedule, last_run, now)
    if nominal_at is None:
        return None
    missed = sum(1 for _ in islice(schedule.between(last_run, nominal_at), MOST_COUNTED + 1)) - 1
    return DueRun(nominal_at, late=now - nominal_at > grace, missed=missed)


def due_by_rpo(
    rpo: timedelta, newest_point_at: datetime | None, tick: timedelta, now: datetime
) -> DueRun | None:
    """Return a run when the newest point would be older than `rpo` at the next tick, `tick` from `now`.

    `newest_point_at` is the nominal time of the newest good point or of a backup under way; None when there
    is neither, and then a run is due at once. The nominal time is `now` rounded down to the grid of ticks, so
    a repeated tick returns the same run.
    """
    if newest_point_at is not None and newest_point_at + rpo > now + tick:
        return None
    nominal_at = EPOCH + ((now - EPOCH) // tick) * tick
    if newest_point_at is not None and newest_point_at >= nominal_at:
        return None
    late = newest_point_at is not None and newest_point_at + rpo < now - tick
    return DueRun(nominal_at, late=late, missed=0)


def next_try(rule: Rule, nominal_at: datetime, tries: int, now: datetime) -> datetime | None:
    """Return when a run due at `nominal_at` that failed now, after `tries` other tries, is tried again.

    None when there were enough tries, or when the next run is due earlier, or when the rule follows an RPO:
    its next run becomes due by itself.
    """
    if rule.times is None or rule.retry is None or tries >= rule.attempts:
        return None
    at = now + rule.retry.pause * 2**tries
    following = rule.times.next_after(nominal_at)
    return at if following is None or at < following else None


def _latest(schedule: Schedule, after: datetime, now: datetime) -> datetime | None:
    """Return the latest instant in `(after, now]`, found by looking back in growing windows.

    A long pause therefore costs no more than a short one.
    """
    window = _FIRST_LOOK
    while after < now:
        start = max(after, now - min(window, now - after))
        latest = max(schedule.between(start, now), default=None)
        if latest is not None or start == after:
            return latest
        window *= 8
    return None
