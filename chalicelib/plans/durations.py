"""Durations as plans and settings write them: one whole number and one unit, `90s`, `15m`, `1h`, `30d`.

Invariant: `parse_duration(render_duration(d)) == d` for every whole-second duration within the bounds. A day
is 24 hours and never a calendar day.
"""

import re
from datetime import timedelta

DURATION = "a duration is a whole number and one of s, m, h, d, such as 90s, 15m, 1h or 30d"
LONGEST = timedelta(days=36_500)
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_GRAMMAR = re.compile(r"([0-9]{1,12})([smhd])")


def parse_duration(
    text: str, *, least: timedelta = timedelta(seconds=1), most: timedelta = LONGEST
) -> timedelta:
    """Read a duration between `least` and `most`, both included.

    Raises:
        ValueError: its text says what would be right.
    """
    found = _GRAMMAR.fullmatch(text)
    if found is None:
        raise ValueError(DURATION)
    seconds = int(found[1]) * _UNITS[found[2]]
    if not least.total_seconds() <= seconds <= most.total_seconds():
        raise ValueError(f"a duration from {render_duration(least)} to {render_duration(most)}")
    return timedelta(seconds=seconds)


def render_duration(duration: timedelta) -> str:
    """Write a duration in the largest unit that divides it; parts of a second are left out."""
    seconds = int(duration.total_seconds())
    unit = next(unit for unit in "dhms" if seconds % _UNITS[unit] == 0)
    return f"{seconds // _UNITS[unit]}{unit}"
