"""What must be kept, worked out by brute force and with nothing of the app's.

Each point is asked about by itself: how many periods with a point lie behind its own? Pools, ages and the
guards are written here a second time, from docs/plan.md.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

MONTH = timedelta(days=30)
PERIODS: Mapping[str, Callable[[datetime], object]] = {
    "hourly": lambda at: (at.date(), at.hour),
    "daily": lambda at: at.date(),
    "weekly": lambda at: at.isocalendar()[:2],
    "monthly": lambda at: (at.year, at.month),
    "yearly": lambda at: at.year,
}


@dataclass(frozen=True, slots=True)
class Fact:
    """What is true of a point that is whole in a vault; `pool` is scheduled, manual, partial or suspect."""

    id: str
    at: datetime
    pool: str
    held: bool
    keep_until: datetime | None


@dataclass(frozen=True, slots=True)
class Wish:
    """A lifecycle as a plan writes it, but with an age in hours."""

    keep: Mapping[str, int]
    count: int
    age_hours: int
    min_keep: int
    manual: int


def must_stay(facts: Iterable[Fact], wish: Wish, now: datetime) -> set[str]:
    """Return the points that a lifecycle must keep of those that are there."""
    there = list(facts)
    asked = {fact.id for fact in there if fact.keep_until is not None and now < fact.keep_until}
    counted = [fact for fact in there if fact.at <= now and fact.id not in asked]
    stay = asked | {fact.id for fact in there if fact.held or fact.at > now}
    stay |= _by_lifecycle([fact for fact in counted if fact.pool == "scheduled"], wish, now)
    by_hand = [fact for fact in counted if fact.pool == "manual"]
    stay |= {fact.id for fact in by_hand if _newer(fact, by_hand) < wish.manual}
    stay |= _by_lifecycle([fact for fact in counted if _is_wanted(fact, counted, now)], wish, now)
    suspects = [fact for fact in counted if fact.pool == "suspect"]
    stay |= {fact.id for fact in suspects if now - fact.at < MONTH}
    stay |= _by_lifecycle([fact for fact in suspects if now - fact.at >= MONTH], wish, now)
    return stay


def _is_wanted(fact: Fact, counted: list[Fact], now: datetime) -> bool:
    """Return whether a partial point may still stay: it is young, or nothing whole is newer."""
    whole_is_newer = any(each.pool in ("scheduled", "manual") and each.at > fact.at for each in counted)
    return fact.pool == "partial" and (now - fact.at < MONTH or not whole_is_newer)


def _by_lifecycle(pool: list[Fact], wish: Wish, now: datetime) -> set[str]:
    at_least = max(1, wish.min_keep, wish.count)
    return {
        fact.id
        for fact in pool
        if _newer(fact, pool) < at_least
        or now - fact.at < timedelta(hours=wish.age_hours)
        or any(_stands_for_one_of(fact, pool, name, number) for name, number in wish.keep.items())
    }


def _stands_for_one_of(fact: Fact, pool: list[Fact], name: str, number: int) -> bool:
    """Return whether a point is the newest of its period, with fewer than `number` later periods."""
    period = PERIODS[name]
    same = [each for each in pool if period(each.at) == period(fact.at)]
    later = {period(each.at) for each in pool if each.at > fact.at} - {period(fact.at)}
    return _newer(fact, same) == 0 and len(later) < number


def _newer(fact: Fact, among: list[Fact]) -> int:
    return sum((each.at, each.id) > (fact.at, fact.id) for each in among)
