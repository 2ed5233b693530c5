"""Durations as plans and settings write them: one whole number and one unit, `90s`, `15m`, `1h`, `30d`.

Invariant: `parse_duration(render_duration(d)) == d` for every whole-second duration within the bounds. A day
is 24 hours and never a calendar day. Messages to people say "90 minutes" (`in_words`), documents `90m`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic_core import core_schema

_WRITTEN = "a whole number and one of s, m, h, d, such as 90s, 15m, 1h or 30d"
LONGEST = timedelta(days=36_500)
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_WORDS = {"s": "second", "m": "minute", "h": "hour", "d": "day"}
_GRAMMAR = re.compile(r"([0-9]{1,12})([smhd])")


@dataclass(frozen=True, slots=True)
class Duration:
    """The type of a key that is a duration from `least` to `most`, both included."""

    least: timedelta = timedelta(seconds=1)
    most: timedelta = LONGEST

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        """Return pydantic's schema: it reads a text or a timedelta and writes a text."""
        return core_schema.no_info_plain_validator_function(
            self._read, serialization=core_schema.plain_serializer_function_ser_schema(render_duration)
        )

    def __get_pydantic_json_schema__(self, schema: Any, handler: Callable[[Any], Any]) -> dict[str, Any]:
        """Return the JSON schema of the key."""
        return {
            "type": "string",
            "pattern": f"^{_GRAMMAR.pattern}$",
            "title": f"duration, {self._bounds}",
            "errorMessage": self._words,
        }

    @property
    def _bounds(self) -> str:
        return f"{render_duration(self.least)} to {render_duration(self.most)}"

    @property
    def _words(self) -> str:
        return f"a duration from {self._bounds}: {_WRITTEN}"

    def _read(self, value: object) -> timedelta:
        text = render_duration(value) if isinstance(value, timedelta) else str(value)
        try:
            return parse_duration(text, least=self.least, most=self.most)
        except ValueError:
            raise ValueError(self._words) from None


def parse_duration(
    text: str, *, least: timedelta = timedelta(seconds=1), most: timedelta = LONGEST
) -> timedelta:
    """Return the duration that a text states, between `least` and `most`, both included.

    Raises:
        ValueError: its text says what would be right.
    """
    found = _GRAMMAR.fullmatch(text)
    if found is None:
        raise ValueError(f"a duration is {_WRITTEN}")
    seconds = int(found[1]) * _UNITS[found[2]]
    if not least.total_seconds() <= seconds <= most.total_seconds():
        raise ValueError(f"a duration from {render_duration(least)} to {render_duration(most)}")
    return timedelta(seconds=seconds)


def render_duration(duration: timedelta) -> str:
    """Return a duration as text, in the largest unit that divides it; fractions of a second are dropped."""
    count, unit = _counted(duration)
    return f"{count}{unit}"


def in_words(duration: timedelta) -> str:
    """Return a duration as people say it: "90 minutes", "1 hour"; fractions of a second are dropped."""
    count, unit = _counted(duration)
    return f"{count:,} {_WORDS[unit]}{'' if count == 1 else 's'}"


def _counted(duration: timedelta) -> tuple[int, str]:
    seconds = int(duration.total_seconds())
    unit = next(unit for unit in "dhms" if seconds % _UNITS[unit] == 0)
    return seconds // _UNITS[unit], unit
