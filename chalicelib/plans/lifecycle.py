"""Decides which of a list of points are kept and which are not, each with the reason. It deletes nothing.

The rules are those of restic's `forget`: each of `hourly`, `daily`, `weekly`, `monthly` and `yearly` keeps
the newest point of each of the last n periods *that have a point*, so a pause in the backups costs no points.
Periods are those of the rule's time zone; weeks are ISO 8601 weeks.

The points of a vault fall into pools, and a point displaces only points of its own pool: scheduled points
(also those of an RPO); points asked for by hand; partial ones; suspect ones, which displace nothing at all.

Invariants: the newest good point that is not dated in the future is always kept; a higher `min_keep` never
keeps less; deciding again over the points that were kept removes nothing more; the order of the points does
not matter; nothing is removed by an incomplete list; a point that is dated in the future, or that failed,
does not displace another.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from chalicelib.plans.declared import Declared, Fault, Maybe, worded
from chalicelib.plans.durations import Duration, in_words
from chalicelib.plans.values import Amount

FAILED_POINTS_STAY = timedelta(days=1)
# How long a suspect point is kept for someone to confirm it, and a partial one after a newer whole one.
FLAGGED_POINTS_STAY = timedelta(days=30)


class Pool(StrEnum):
    """The groups of points that are judged separately."""

    SCHEDULED = "scheduled"
    MANUAL = "asked for by hand"
    PARTIAL = "partial"
    SUSPECT = "suspect"


WHOLE = (Pool.SCHEDULED, Pool.MANUAL)


_AT_LEAST_ONE = "a mapping with at least one of hourly, daily, weekly, monthly and yearly, such as {daily: 7}"
_EXACTLY_ONE = (
    "a mapping with exactly one of keep, count and age, such as {count: 7} or {keep: {daily: 7, weekly: 5}}"
)


class Keep(Declared):
    """Of how many hours, days, weeks, months and years *that have a point* the newest one is kept."""

    hourly: Annotated[Maybe[Amount], Field(description="hours")] = None
    daily: Annotated[Maybe[Amount], Field(description="days")] = None
    weekly: Annotated[Maybe[Amount], Field(description="ISO 8601 weeks, Monday to Sunday")] = None
    monthly: Annotated[Maybe[Amount], Field(description="months")] = None
    yearly: Annotated[Maybe[Amount], Field(description="years")] = None

    @classmethod
    def ties(cls, given: Mapping[str, Any], context: Any) -> Iterator[Fault]:
        """Yield a fault when nothing would be kept."""
        if not given:
            yield (), _AT_LEAST_ONE


class Manual(Declared):
    """Which of the points that were asked for by hand are kept."""

    count: Annotated[Amount, Field(description="how many of the newest are kept")] = 5


class Lifecycle(Declared):
    """What is kept and for how long: exactly one of `keep`, `count`, `age`; and `min_keep` of the newest."""

    keep: Annotated[
        Maybe[Annotated[Keep, worded(_AT_LEAST_ONE, title="mapping")]],
        Field(description="the newest point of each of the last n periods *that have a point*"),
    ] = None
    count: Annotated[Maybe[Amount], Field(description="how many of the newest points are kept")] = None
    age: Annotated[
        Maybe[Annotated[timedelta, Duration(timedelta(minutes=1))]],
        Field(description="points younger than this"),
    ] = None
    min_keep: Annotated[
        Amount, Field(description="this many of the newest points are kept, whatever the other keys say")
    ] = 1
    manual: Annotated[
        Manual,
        Field(
            description="which points asked for by hand are kept (`POST /backups`)",
            examples=[{"count": 5}],
        ),
    ] = Field(default_factory=Manual)

    @classmethod
    def ties(cls, given: Mapping[str, Any], context: Any) -> Iterator[Fault]:
        """Yield a fault unless exactly one of `keep`, `count` and `age` is given."""
        if sum(key in given for key in ("keep", "count", "age")) != 1:
            yield (), _EXACTLY_ONE


LifecycleKey = Annotated[Lifecycle, worded(_EXACTLY_ONE, title="mapping")]


@dataclass(frozen=True, slots=True)
class Point:
    """What a decision needs to know of a recovery point in one vault; `pinned` says why it must stay for now.

    A point with `kept_until` displaces no other before that time. A point that is still being made is neither
    good nor failed: pin it, or leave it out of the list.
    """

    id: str
    at: datetime
    good: bool
    pinned: str | None = None
    pool: Pool = Pool.SCHEDULED
    kept_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether one point is kept, and why."""

    id: str
    keep: bool
    reason: str


@dataclass(frozen=True, slots=True)
class _Frame:
    """The terms by which points are judged."""

    lifecycle: Lifecycle
    now: datetime
    zone: tzinfo


_PERIODS: dict[str, Callable[[datetime], str]] = {
    "hourly": lambda at: at.strftime("%Y-%m-%dT%H"),
    "daily": lambda at: at.strftime("%Y-%m-%d"),
    "weekly": lambda at: at.strftime("%G-W%V"),
    "monthly": lambda at: at.strftime("%Y-%m"),
    "yearly": lambda at: at.strftime("%Y"),
}


def decide_lifecycle(
    points: Sequence[Point], lifecycle: Lifecycle, now: datetime, *, complete: bool, zone: tzinfo = UTC
) -> tuple[Verdict, ...]:
    """Return a verdict on every point of one rule in one vault, newest first.

    `complete` is False when points may be missing from the list. Periods are those of `zone`.
    """
    newest_first = sorted(points, key=lambda point: (point.at, point.id), reverse=True)
    if not complete:
        return tuple(
            Verdict(point.id, True, "the list of points is incomplete: nothing is deleted")
            for point in newest_first
        )
    pools: dict[Pool, list[Point]] = {pool: [] for pool in Pool}
    for point in newest_first:
        if _counts(point, now):
            pools[point.pool].append(point)
    newest = max((point.at for pool in WHOLE for point in pools[pool]), default=None)
    partial = [point for point in pools[Pool.PARTIAL] if not _is_outdated(point, newest, now)]
    frame = _Frame(lifecycle, now, zone)
    reasons = {
        **_reasons(pools[Pool.SCHEDULED], frame, "good"),
        **_of_manual(pools[Pool.MANUAL], lifecycle),
        **_reasons(partial, frame, "partial"),
        **_of_suspects(pools[Pool.SUSPECT], frame),
    }
    return tuple(_verdict(point, reasons.get(point.id, []), lifecycle, now) for point in newest_first)


def _counts(point: Point, now: datetime) -> bool:
    return point.good and point.at <= now and not _is_kept_as_asked(point, now)


def _is_kept_as_asked(point: Point, now: datetime) -> bool:
    return point.good and point.kept_until is not None and now < point.kept_until


def _is_outdated(partial: Point, newest_whole: datetime | None, now: datetime) -> bool:
    """Return whether a partial point has been superseded by a whole one for long enough."""
    superseded = newest_whole is not None and newest_whole > partial.at
    return superseded and now - partial.at >= FLAGGED_POINTS_STAY


def _of_manual(manual: Sequence[Point], lifecycle: Lifecycle) -> dict[str, list[str]]:
    """Return why points asked for by hand are kept, by id; they are counted separately."""
    wanted = lifecycle.manual.count
    return {
        point.id: [f"{number} of {wanted} asked for by hand (manual)"]
        for number, point in enumerate(manual[:wanted], 1)
    }


def _of_suspects(suspects: Sequence[Point], frame: _Frame) -> dict[str, list[str]]:
    """Return why suspect points are kept, by id.

    While they wait to be confirmed, nothing displaces them; after that they are judged as others.
    """
    waiting = [point for point in suspects if frame.now - point.at < FLAGGED_POINTS_STAY]
    why = f"it is suspect, and is kept for {in_words(FLAGGED_POINTS_STAY)} so that it can be confirmed"
    left = [point for point in suspects if frame.now - point.at >= FLAGGED_POINTS_STAY]
    return _reasons(left, frame, "suspect") | {point.id: [why] for point in waiting}


def _verdict(point: Point, reasons: list[str], lifecycle: Lifecycle, now: datetime) -> Verdict:
    if point.pinned is not None:
        reasons = [point.pinned, *reasons]
    if point.at > now:
        reasons = [*reasons, "it is dated in the future, and does not count until then"]
    elif _is_kept_as_asked(point, now):
        reasons = [*reasons, f"kept until {point.kept_until:%Y-%m-%dT%H:%M:%SZ}, as was asked for"]
    elif not point.good and now - point.at < FAILED_POINTS_STAY:
        reasons = [
            *reasons,
            f"it failed, and can be looked at for {in_words(FAILED_POINTS_STAY)}",
        ]
    if reasons:
        return Verdict(point.id, True, "; ".join(reasons))
    if not point.good:
        return Verdict(point.id, False, f"it failed more than {in_words(FAILED_POINTS_STAY)} ago")
    return Verdict(point.id, False, _why_not(point, lifecycle))


def _why_not(point: Point, lifecycle: Lifecycle) -> str:
    match point.pool:
        case Pool.SCHEDULED:
            return f"no longer kept by {describe(lifecycle)}"
        case Pool.MANUAL:
            return f"asked for by hand, and no longer kept by manual count {lifecycle.manual.count}"
        case pool:
            return f"it is {pool}, and no longer kept by {describe(lifecycle)}"


def _reasons(good: Sequence[Point], frame: _Frame, which: str) -> dict[str, list[str]]:
    """Return why each point of a pool is kept, by id; points that are not kept are left out."""
    reasons: dict[str, list[str]] = {}
    for point_id, reason in _claims(good, frame):
        reasons.setdefault(point_id, []).append(reason)
    lifecycle = frame.lifecycle
    for number, point in enumerate(good[: max(1, lifecycle.min_keep)], 1):
        why = (
            f"{number} of the newest {lifecycle.min_keep} (min_keep)"
            if number > 1
            else f"the newest {which} point"
        )
        reasons.setdefault(point.id, []).insert(0, why)
    return reasons


def _claims(good: Sequence[Point], frame: _Frame) -> Iterator[tuple[str, str]]:
    lifecycle = frame.lifecycle
    if lifecycle.count is not None:
        for number, point in enumerate(good[: lifecycle.count], 1):
            yield point.id, f"{number} of {lifecycle.count} (count)"
    if lifecycle.age is not None:
        for point in good:
            if frame.now - point.at < lifecycle.age:
                yield point.id, f"younger than {in_words(lifecycle.age)} (age)"
    if lifecycle.keep is not None:
        for name, wanted in kept_periods(lifecycle.keep):
            yield from _newest_of_each(good, name, wanted, frame.zone)


def _newest_of_each(good: Iterable[Point], name: str, wanted: int, zone: tzinfo) -> Iterator[tuple[str, str]]:
    """Yield the newest point of each of the newest `wanted` periods that have one, with the reason.

    `good` comes newest first.
    """
    seen: set[tuple[str, timedelta | None]] = set()
    for point in good:
        local = point.at.astimezone(zone)
        label = _PERIODS[name](local)
        # An hour that comes twice, when clocks go back, is two hours.
        period = label, local.utcoffset() if name == "hourly" else None
        if period in seen:
            continue
        if len(seen) == wanted:
            return
        seen.add(period)
        yield point.id, f"{name} {len(seen)} of {wanted} ({label})"


def kept_periods(keep: Keep) -> list[tuple[str, int]]:
    """Return the periods that keep something, shortest first, with how many they keep."""
    counts = ((name, getattr(keep, name)) for name in _PERIODS)
    return [(name, count) for name, count in counts if count]


def describe(lifecycle: Lifecycle) -> str:
    """Return a lifecycle in a few words, for reasons and reports."""
    if lifecycle.count is not None:
        kept = f"count {lifecycle.count}"
    elif lifecycle.age is not None:
        kept = f"age {in_words(lifecycle.age)}"
    else:
        kept = ", ".join(f"{name} {wanted}" for name, wanted in kept_periods(lifecycle.keep or Keep()))
    return f"{kept}, min_keep {lifecycle.min_keep}"
