"""What is kept and for how long: of a list of points, which stay and which go, each with the reason.

It decides and deletes nothing. The rules are those of restic's `forget`: each of `hourly`, `daily`, `weekly`,
`monthly` and `yearly` keeps the newest point of each of the last n periods *that have a point*, so that a
pause in the backups erodes nothing. Periods are UTC; weeks are ISO 8601 weeks.

Points of a vault fall into pools, and a point displaces only points of its own pool: those that a schedule or
an RPO asked for; those asked for by hand; partial ones; suspect ones, which displace nothing at all.

Invariants: the newest good point not dated in the future is kept, always; a higher `min_keep` never keeps
less; deciding again over what was kept lets nothing more go; the order of the points does not matter; an
incomplete list lets nothing go; a point dated in the future, or one that failed, takes no other point's
place.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from chalicelib.plans.durations import render_duration

FAILED_POINTS_STAY = timedelta(days=1)
# A suspect point waits so long to be confirmed; a partial one is kept no longer once a whole one is newer.
FLAGGED_POINTS_STAY = timedelta(days=30)
MANUAL_POINTS = 5


class Pool(StrEnum):
    """Which other points a point is judged with."""

    SCHEDULED = "scheduled"
    MANUAL = "asked for by hand"
    PARTIAL = "partial"
    SUSPECT = "suspect"


WHOLE = (Pool.SCHEDULED, Pool.MANUAL)


@dataclass(frozen=True, slots=True)
class Keep:
    """How many hours, days, weeks, months and years keep their newest point."""

    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """Exactly one of `keep`, `count` and `age`; and `min_keep` newest good points whatever they say. Of those
    asked for by hand the newest `manual` are kept."""

    keep: Keep | None = None
    count: int | None = None
    age: timedelta | None = None
    min_keep: int = 1
    manual: int = MANUAL_POINTS


@dataclass(frozen=True, slots=True)
class Point:
    """What a decision needs to know of a recovery point in one vault; `pinned` says why it must stay for now.

    One that is kept until a moment, because it was asked for so, takes no other's place before that. A
    point that is still being made is neither good nor failed: pin it, or leave it out.
    """

    id: str
    at: datetime
    good: bool
    pinned: str | None = None
    pool: Pool = Pool.SCHEDULED
    kept_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """One point's fate and its reason."""

    id: str
    keep: bool
    reason: str


_PERIODS: dict[str, Callable[[datetime], str]] = {
    "hourly": lambda at: at.strftime("%Y-%m-%dT%H"),
    "daily": lambda at: at.strftime("%Y-%m-%d"),
    "weekly": lambda at: at.strftime("%G-W%V"),
    "monthly": lambda at: at.strftime("%Y-%m"),
    "yearly": lambda at: at.strftime("%Y"),
}


def decide_lifecycle(
    points: Sequence[Point], lifecycle: Lifecycle, now: datetime, *, complete: bool
) -> tuple[Verdict, ...]:
    """Judge every point of one rule in one vault, newest first; `complete` False says some may be missing
    from the list."""
    newest_first = sorted(points, key=lambda point: (point.at, point.id), reverse=True)
    if not complete:
        return tuple(
            Verdict(point.id, True, "the list of points is incomplete: nothing is let go")
            for point in newest_first
        )
    pools: dict[Pool, list[Point]] = {pool: [] for pool in Pool}
    for point in newest_first:
        if _counts(point, now):
            pools[point.pool].append(point)
    newest = max((point.at for pool in WHOLE for point in pools[pool]), default=None)
    partial = [point for point in pools[Pool.PARTIAL] if not _is_outdated(point, newest, now)]
    reasons = {
        **_reasons(pools[Pool.SCHEDULED], lifecycle, now, "good"),
        **_of_manual(pools[Pool.MANUAL], lifecycle),
        **_reasons(partial, lifecycle, now, "partial"),
        **_of_suspects(pools[Pool.SUSPECT], lifecycle, now),
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
    """Why points asked for by hand stay: they are counted by themselves."""
    wanted = lifecycle.manual
    return {
        point.id: [f"{number} of {wanted} asked for by hand (manual)"]
        for number, point in enumerate(manual[:wanted], 1)
    }


def _of_suspects(suspects: Sequence[Point], lifecycle: Lifecycle, now: datetime) -> dict[str, list[str]]:
    """Why suspect points stay: nothing takes their place while they wait; later they are judged as others."""
    waiting = [point for point in suspects if now - point.at < FLAGGED_POINTS_STAY]
    why = f"it is suspect, and waits {render_duration(FLAGGED_POINTS_STAY)} to be confirmed"
    left = [point for point in suspects if now - point.at >= FLAGGED_POINTS_STAY]
    return _reasons(left, lifecycle, now, "suspect") | {point.id: [why] for point in waiting}


def _verdict(point: Point, reasons: list[str], lifecycle: Lifecycle, now: datetime) -> Verdict:
    if point.pinned is not None:
        reasons = [point.pinned, *reasons]
    if point.at > now:
        reasons = [*reasons, "it is dated in the future: it waits for its time and counts for nothing before"]
    elif _is_kept_as_asked(point, now):
        reasons = [*reasons, f"kept until {point.kept_until:%Y-%m-%dT%H:%M:%SZ}, as it was asked for"]
    elif not point.good and now - point.at < FAILED_POINTS_STAY:
        reasons = [
            *reasons,
            f"it failed, and is left to be looked at for {render_duration(FAILED_POINTS_STAY)}",
        ]
    if reasons:
        return Verdict(point.id, True, "; ".join(reasons))
    if not point.good:
        return Verdict(point.id, False, f"it failed more than {render_duration(FAILED_POINTS_STAY)} ago")
    return Verdict(point.id, False, _why_not(point, lifecycle))


def _why_not(point: Point, lifecycle: Lifecycle) -> str:
    match point.pool:
        case Pool.SCHEDULED:
            return f"no longer kept by {describe(lifecycle)}"
        case Pool.MANUAL:
            return f"asked for by hand, and no longer kept by manual count {lifecycle.manual}"
        case pool:
            return f"it is {pool}, and no longer kept by {describe(lifecycle)}"


def _reasons(good: Sequence[Point], lifecycle: Lifecycle, now: datetime, which: str) -> dict[str, list[str]]:
    """Why each point of a pool stays, by id; what stays for no reason is not named."""
    reasons: dict[str, list[str]] = {}
    for point_id, reason in _claims(good, lifecycle, now):
        reasons.setdefault(point_id, []).append(reason)
    for number, point in enumerate(good[: max(1, lifecycle.min_keep)], 1):
        why = (
            f"{number} of the newest {lifecycle.min_keep} (min_keep)"
            if number > 1
            else f"the newest {which} point"
        )
        reasons.setdefault(point.id, []).insert(0, why)
    return reasons


def _claims(good: Sequence[Point], lifecycle: Lifecycle, now: datetime) -> Iterator[tuple[str, str]]:
    if lifecycle.count is not None:
        for number, point in enumerate(good[: lifecycle.count], 1):
            yield point.id, f"{number} of {lifecycle.count} (count)"
    if lifecycle.age is not None:
        for point in good:
            if now - point.at < lifecycle.age:
                yield point.id, f"younger than {render_duration(lifecycle.age)} (age)"
    if lifecycle.keep is not None:
        for name, wanted in kept_periods(lifecycle.keep):
            yield from _newest_of_each(good, name, wanted)


def _newest_of_each(good: Iterable[Point], name: str, wanted: int) -> Iterator[tuple[str, str]]:
    """Claim the newest point of each of the newest `wanted` periods that have one; `good` comes newest
    first."""
    seen: set[str] = set()
    for point in good:
        period = _PERIODS[name](point.at.astimezone(UTC))
        if period in seen:
            continue
        if len(seen) == wanted:
            return
        seen.add(period)
        yield point.id, f"{name} {len(seen)} of {wanted} ({period})"


def kept_periods(keep: Keep) -> list[tuple[str, int]]:
    """List the periods that keep something, shortest first, with how many they keep."""
    return [(field.name, getattr(keep, field.name)) for field in fields(keep) if getattr(keep, field.name)]


def describe(lifecycle: Lifecycle) -> str:
    """Return a lifecycle in a few words, for reasons and reports."""
    if lifecycle.count is not None:
        kept = f"count {lifecycle.count}"
    elif lifecycle.age is not None:
        kept = f"age {render_duration(lifecycle.age)}"
    else:
        kept = ", ".join(f"{name} {wanted}" for name, wanted in kept_periods(lifecycle.keep or Keep()))
    return f"{kept}, min_keep {lifecycle.min_keep}"
