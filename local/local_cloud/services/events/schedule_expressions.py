"""When EventBridge rules on a schedule fire: `rate(...)` and `cron(...)`, in UTC.

Grammar: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html. Of cron's
fields it reads values, names, lists, ranges, steps, `*` and `?`; `L`, `W` and `#` are refused by name.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

RATE = re.compile(r"rate\((\d+) (minute|minutes|hour|hours|day|days)\)")
CRON = re.compile(r"cron\(([^()]+)\)")
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
NextAfter = Callable[[datetime], datetime | None]


def next_after(expression: str) -> NextAfter:
    """Return the function from a time to the next firing after it; None when there is none.

    Raises:
        ValueError: the expression is not one EventBridge takes.
    """
    if match := RATE.fullmatch(expression):
        return rate(int(match[1]), match[2])
    if match := CRON.fullmatch(expression):
        return Cron.parse(match[1]).next_after
    raise ValueError(f"{expression!r} is neither rate(...) nor cron(...)")


def rate(count: int, unit: str) -> NextAfter:
    """Read a rate; one takes the singular, more take the plural."""
    if count < 1 or (count == 1) == unit.endswith("s"):
        raise ValueError(f"rate({count} {unit}): write 'rate(1 minute)' or 'rate(5 minutes)'")
    step = count * timedelta(**{unit.removesuffix("s") + "s": 1})
    return lambda after: after + step


@dataclass(frozen=True, slots=True)
class Cron:
    """The values each field allows; a day field of None is `?`."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int] | None
    months: frozenset[int]
    weekdays: frozenset[int] | None
    years: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> "Cron":
        """Read the six fields."""
        fields = text.split()
        if len(fields) != 6:
            raise ValueError(f"cron({text}) has {len(fields)} fields; it takes six")
        if (fields[2] == "?") == (fields[4] == "?"):
            raise ValueError(f"cron({text}): exactly one of day-of-month and day-of-week must be '?'")
        return cls(
            minutes=values(fields[0], 0, 59),
            hours=values(fields[1], 0, 23),
            days=None if fields[2] == "?" else values(fields[2], 1, 31),
            months=values(fields[3], 1, 12, MONTHS),
            weekdays=None if fields[4] == "?" else values(fields[4], 1, 7, WEEKDAYS),
            years=values(fields[5], 1970, 2199),
        )

    def next_after(self, after: datetime) -> datetime | None:
        """Return the first minute after `after` that matches."""
        moment = after.replace(second=0, microsecond=0) + timedelta(minutes=1)
        while moment.year <= max(self.years):
            if not self._matches_day(moment):
                moment = moment.replace(hour=0, minute=0) + timedelta(days=1)
            elif moment.hour not in self.hours:
                moment = moment.replace(minute=0) + timedelta(hours=1)
            elif moment.minute not in self.minutes:
                moment += timedelta(minutes=1)
            else:
                return moment
        return None

    def _matches_day(self, moment: datetime) -> bool:
        weekday = moment.isoweekday() % 7 + 1
        return (
            moment.year in self.years
            and moment.month in self.months
            and (self.days is None or moment.day in self.days)
            and (self.weekdays is None or weekday in self.weekdays)
        )


def values(field: str, low: int, high: int, names: tuple[str, ...] = ()) -> frozenset[int]:
    """Read one field: a list of values, ranges and steps."""
    allowed: set[int] = set()
    for item in field.split(","):
        span, slash, step = item.partition("/")
        first, dash, last = span.partition("-")
        start = low if first == "*" else number(first, low, high, names)
        stop = number(last, low, high, names) if dash else (high if slash or first == "*" else start)
        if start > stop or (slash and (not step.isdecimal() or int(step) < 1)):
            raise ValueError(f"{item!r} is not a range or step of cron")
        allowed.update(range(start, stop + 1, int(step) if slash else 1))
    return frozenset(allowed)


def number(text: str, low: int, high: int, names: tuple[str, ...]) -> int:
    """Read a number or a name, within its bounds."""
    if text.upper() in names:
        return names.index(text.upper()) + low
    if not text.isdecimal() or not low <= int(text) <= high:
        raise ValueError(f"{text!r} is not between {low} and {high}; L, W and # are not read here")
    return int(text)
