"""Parses EventBridge's cron expressions, six fields, into the local times they name. No time zones here.

Source: Amazon EventBridge User Guide, "Cron expressions reference" (eb-cron-expressions.html), whose example
`0/30 20-2 ? * MON-FRI *` shows that a range may wrap; the days are then those of each run itself. Where the
page does not say, this follows Quartz: `W` stays within its month, `LW` is the month's last weekday, and
both stand alone in their field, as `L` and `#` do.

Invariant: a `Cron` names at least one date between 1970 and 2199; `local_times` is ascending, and its cost
depends on the times it yields, not on the years it skips.
"""

import calendar
import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_TERM = re.compile(
    r"(?P<first>\*|[0-9]{1,4}|[A-Z]{3})(-(?P<last>[0-9]{1,4}|[A-Z]{3}))?(/(?P<step>[0-9]{1,4}))?"
)


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the grammar: its name, its range and the names that its values may have."""

    name: str
    least: int
    most: int
    names: tuple[str, ...] = ()

    @property
    def bounds(self) -> str:
        """The field's range, as the reference writes it."""
        named = f" or {self.names[0]}-{self.names[-1]}" if self.names else ""
        return f"{self.least}-{self.most}{named}"

    def refuse(self, text: str, why: str = "") -> ValueError:
        """Return the error that names the field and its range."""
        return ValueError(f"field {self.name}: {text!r} is not within {self.bounds}{why and f'; {why}'}")

    def number(self, text: str) -> int:
        """Return the number that a value means; the value is a number or a name."""
        numeral = text.isascii() and text.isdecimal()
        value = self.names.index(text) + 1 if text in self.names else int(text) if numeral else -1
        if not self.least <= value <= self.most:
            raise self.refuse(text)
        return value

    def numbers(self, text: str) -> tuple[int, ...]:
        """Return the numbers of a list of values, ranges, `*` and steps, ascending, each once."""
        return tuple(sorted({number for term in text.split(",") for number in self._term(term)}))

    def _term(self, text: str) -> list[int]:
        found = _TERM.fullmatch(text)
        if found is None or (found["first"] == "*" and found["last"]):
            raise self.refuse(text, "write a value, a range a-b, *, a step a/n, or a list of these")
        every = found["first"] == "*"
        first = self.least if every else self.number(found["first"])
        last = self.number(found["last"]) if found["last"] else first
        if every or (found["step"] and not found["last"]):
            last = self.most
        step = int(found["step"] or 1)
        if not 1 <= step <= self.most:
            raise self.refuse(text, f"a step is from 1 to {self.most}")
        return self._count(first, last, step, text)

    def _count(self, first: int, last: int, step: int, text: str) -> list[int]:
        """Return the numbers from `first` to `last`; where `last` is less, the range wraps around."""
        if last < first and self is YEAR:
            raise self.refuse(text, "a range of years runs upwards")
        size = self.most - self.least + 1
        return [
            self.least + (first - self.least + up) % size for up in range(0, (last - first) % size + 1, step)
        ]


MINUTES = Field("minutes", 0, 59)
HOURS = Field("hours", 0, 23)
DAY_OF_MONTH = Field("day-of-month", 1, 31)
MONTH = Field("month", 1, 12, _MONTHS)
DAY_OF_WEEK = Field("day-of-week", 1, 7, _DAYS)
YEAR = Field("year", 1970, 2199)
_FIELDS = (MINUTES, HOURS, DAY_OF_MONTH, MONTH, DAY_OF_WEEK, YEAR)


@dataclass(frozen=True, slots=True)
class DaysOfMonth:
    """Days of the month, by number."""

    days: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LastDay:
    """`L`, or `LW`: the last weekday."""

    weekday: bool


@dataclass(frozen=True, slots=True)
class NearestWeekday:
    """`15W`: the weekday closest to that day, in the same month."""

    day: int


@dataclass(frozen=True, slots=True)
class DaysOfWeek:
    """Days of the week, 1 = Sunday; `L` alone is the week's last day, Saturday."""

    days: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NthDayOfWeek:
    """`3#2` is the second Tuesday; with `nth` None it is `3L`, the last Tuesday."""

    day: int
    nth: int | None


Days = DaysOfMonth | LastDay | NearestWeekday | DaysOfWeek | NthDayOfWeek


@dataclass(frozen=True, slots=True)
class Cron:
    """A parsed expression: the local times that it names."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: Days
    months: tuple[int, ...]
    years: tuple[int, ...]

    def local_times(self, start: datetime) -> Iterator[datetime]:
        """Yield every naive local time not before `start`, ascending, to the end of 2199."""
        for day in self.dates(start.date()):
            for hour in self.hours:
                for minute in self.minutes:
                    local = datetime.combine(day, time(hour, minute))
                    if local >= start:
                        yield local

    def dates(self, start: date) -> Iterator[date]:
        """Yield every date not before `start`, ascending, to the end of 2199."""
        for year in self.years[bisect_left(self.years, start.year) :]:
            for month in self.months:
                if (year, month) < (start.year, start.month):
                    continue
                for day in days_in(self.days, year, month):
                    found = date(year, month, day)
                    if found >= start:
                        yield found


def parse_cron(fields: str) -> Cron:
    """Parse the six fields between the parentheses of `cron(...)`; names may have any case.

    Raises:
        ValueError: its text names the field, the value and the range.
    """
    texts = fields.upper().split()
    if len(texts) != len(_FIELDS):
        raise ValueError(
            f"cron() has six fields, minutes hours day-of-month month day-of-week year, not {len(texts)}; "
            'every day at 02:15 is "cron(15 2 * * ? *)"'
        )
    minutes, hours, day_of_month, month, day_of_week, year = texts
    cron = Cron(
        minutes=MINUTES.numbers(minutes),
        hours=HOURS.numbers(hours),
        days=_days(day_of_month, day_of_week),
        months=MONTH.numbers(month),
        years=YEAR.numbers(year),
    )
    if next(cron.dates(date(YEAR.least, 1, 1)), None) is None:
        raise ValueError("there is no such date: the fields day-of-month, month and year exclude each other")
    return cron


def _days(day_of_month: str, day_of_week: str) -> Days:
    match day_of_month == "?", day_of_week == "?":
        case True, False:
            return _days_of_week(day_of_week)
        case False, True:
            return _days_of_month(day_of_month)
    raise ValueError("exactly one of the fields day-of-month and day-of-week is ?, the other says the days")


def _days_of_month(text: str) -> Days:
    if text in ("L", "LW"):
        return LastDay(weekday=text == "LW")
    if text.endswith("W"):
        return NearestWeekday(DAY_OF_MONTH.number(text[:-1]))
    return DaysOfMonth(DAY_OF_MONTH.numbers(text))


def _days_of_week(text: str) -> Days:
    if text == "L":
        return DaysOfWeek((DAY_OF_WEEK.most,))
    if text.endswith("L"):
        return NthDayOfWeek(DAY_OF_WEEK.number(text[:-1]), None)
    if "#" in text:
        day, _, nth = text.partition("#")
        if nth not in ("1", "2", "3", "4", "5"):
            raise DAY_OF_WEEK.refuse(text, "after # comes 1 to 5, and it stands alone in its field")
        return NthDayOfWeek(DAY_OF_WEEK.number(day), int(nth))
    return DaysOfWeek(DAY_OF_WEEK.numbers(text))


def days_in(days: Days, year: int, month: int) -> list[int]:
    """Return the days of one month that `days` names, ascending."""
    first, length = calendar.monthrange(year, month)
    match days:
        case DaysOfMonth(numbers):
            return [number for number in numbers if number <= length]
        case LastDay(weekday):
            back = max(0, _weekday(first, length) - calendar.FRIDAY) if weekday else 0
            return [length - back]
        case NearestWeekday(day):
            return [_nearest_weekday(first, length, day)] if day <= length else []
        case DaysOfWeek(numbers):
            return [day for day in range(1, length + 1) if _number(first, day) in numbers]
        case NthDayOfWeek(number, nth):
            found = [day for day in range(1, length + 1) if _number(first, day) == number]
            return found[-1:] if nth is None else found[nth - 1 : nth]


def _weekday(first: int, day: int) -> int:
    """Return the weekday of a day, 0 = Monday, from the weekday of the month's first day."""
    return (first + day - 1) % 7


def _number(first: int, day: int) -> int:
    """Return EventBridge's number of a day's weekday, 1 = Sunday."""
    return (_weekday(first, day) + 1) % 7 + 1


def _nearest_weekday(first: int, length: int, day: int) -> int:
    match _weekday(first, day):
        case calendar.SATURDAY:
            return day - 1 if day > 1 else day + 2
        case calendar.SUNDAY:
            return day + 1 if day < length else day - 2
        case _:
            return day
