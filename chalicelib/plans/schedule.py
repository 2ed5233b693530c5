"""When a rule is due: EventBridge's `cron()` and `rate()` in a time zone, as instants in UTC.

Source: Amazon EventBridge Scheduler User Guide, "Schedule types" (schedule-types.html). One rule differs:
where a clock goes forward, EventBridge Scheduler leaves a skipped time out; a backup must not be left out, so
it runs once, at the instant the old offset gives (02:30 runs at 03:30 on the new clock), as RFC 5545, section
3.3.5 reads such times. Where a clock goes back, a repeated time runs the first time only, as in EventBridge
Scheduler.

Invariant: every nominal local time maps to exactly one instant; two that map to the same instant are one run.
`between` is ascending, and its windows `(after, until]` neither overlap nor leave a gap.
"""

import difflib
import heapq
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from itertools import takewhile
from zoneinfo import ZoneInfo, available_timezones

from chalicelib.plans.cron import Cron, parse_cron

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RATE = re.compile(r"([0-9]{1,9}) (minute|hour|day)(s?)")
_UNITS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}
_LONGEST_RATE = timedelta(days=36_500)
# The longest that a zone ever skipped is a whole day (Pacific/Apia, 30 December 2011); with some margin.
_LONGEST_SKIP = timedelta(hours=25)
_LONGEST_ABBREVIATION = 5
_HELP = 'write "cron(minutes hours day-of-month month day-of-week year)" or "rate(n minutes|hours|days)"'


@dataclass(frozen=True, slots=True)
class Rate:
    """Every `interval` before and after `anchor`, in elapsed time: changes of the clocks do not matter."""

    interval: timedelta
    anchor: datetime

    def instants(self, after: datetime) -> Iterator[datetime]:
        """Yield the instants later than `after`, ascending, without end."""
        instant = self.anchor + ((after - self.anchor) // self.interval + 1) * self.interval
        while True:
            yield instant
            instant += self.interval


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule as written, and parsed; make it with `Schedule.parse`."""

    expression: str
    timezone: str
    pattern: Cron | Rate

    @classmethod
    def parse(cls, expression: str, timezone: str = "UTC", *, anchor: datetime = EPOCH) -> "Schedule":
        """Parse `cron(...)` or `rate(...)`; a rate counts from `anchor`, so editing a plan does not shift it.

        Raises:
            ValueError: its text says what would be right.
        """
        zone_named(timezone)
        return cls(expression, timezone, _pattern(expression, anchor))

    def between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Yield the instants in `(after, until]`, ascending, in UTC."""
        return takewhile(lambda instant: instant <= until, self.after(after))

    def next_after(self, instant: datetime) -> datetime | None:
        """Return the first instant later than `instant`; None when the years of the schedule are past."""
        return next(self.after(instant), None)

    def after(self, after: datetime) -> Iterator[datetime]:
        """Yield the instants later than `after`, ascending, in UTC; those of a rate have no end."""
        match self.pattern:
            case Rate() as rate:
                return rate.instants(after)
            case Cron() as cron:
                return _in_order(cron, ZoneInfo(self.timezone), after)


def zone_named(name: str) -> ZoneInfo:
    """Return a time zone of the IANA database.

    Raises:
        ValueError: it is unknown; the text names the closest names.
    """
    if name == "UTC" or name in _zone_names():
        return ZoneInfo(name)
    folded = {zone.lower(): zone for zone in _zone_names()}
    near = difflib.get_close_matches(name.lower(), folded, n=1)
    hint = f"; did you mean {folded[near[0]]}?" if near else ""
    if len(name) <= _LONGEST_ABBREVIATION and name.lower() not in folded:
        hint = "; abbreviations such as PST are none: name a city of the zone, America/Los_Angeles"
    raise ValueError(f"not a time zone of the IANA database, such as UTC or Europe/Berlin{hint}")


@cache
def _zone_names() -> frozenset[str]:
    """Return the names of all zones, read once: the database is a directory of some 600 files."""
    return frozenset(available_timezones()) - {"localtime", "Factory"}


@lru_cache(maxsize=1024)
def _pattern(expression: str, anchor: datetime) -> Cron | Rate:
    kind, _, rest = expression.strip().partition("(")
    if not rest.endswith(")"):
        raise ValueError(_HELP)
    match kind:
        case "cron":
            return parse_cron(rest[:-1])
        case "rate":
            return Rate(_interval(rest[:-1]), anchor)
    raise ValueError(_HELP)


def _interval(text: str) -> timedelta:
    found = _RATE.fullmatch(text)
    count = int(found[1]) if found else 0
    if found is None or count == 0 or (count == 1) == bool(found[3]):
        raise ValueError("rate() takes a number and its unit: rate(1 hour), rate(5 minutes), rate(7 days)")
    if count * _UNITS[found[2]].total_seconds() > _LONGEST_RATE.total_seconds():
        raise ValueError(f"rate() is at most rate({_LONGEST_RATE.days} days)")
    return count * _UNITS[found[2]]


def _in_order(cron: Cron, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """Yield the instants of local times that are later than `after`, ascending, each once.

    The instant of a skipped local time comes after those of the local times that follow it, so it is held
    back until the first real one has passed it.
    """
    held: list[datetime] = []
    latest = after
    for local in cron.local_times(_start(zone, after)):
        instant = local.replace(tzinfo=zone).astimezone(UTC)
        heapq.heappush(held, instant)
        if instant.astimezone(zone).replace(tzinfo=None) != local:
            continue
        while held and held[0] <= instant:
            due = heapq.heappop(held)
            if due > latest:
                latest = due
                yield due
    for due in sorted(held):
        if due > latest:
            latest = due
            yield due


def _start(zone: ZoneInfo, after: datetime) -> datetime:
    """Return the earliest local time whose instant may be later than `after`.

    Where a clock skipped time, this is before the reading of `after` itself.
    """
    local = after.astimezone(zone)
    before = (after - _LONGEST_SKIP).astimezone(zone)
    skipped = (local.utcoffset() or timedelta()) - (before.utcoffset() or timedelta())
    return local.replace(tzinfo=None, fold=0) - max(skipped, timedelta())
