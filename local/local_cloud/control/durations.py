"""Durations as people write them to the control server: `500ms`, `90s`, `15m`, `1h`, `30d`."""

import re
from datetime import timedelta

UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
DURATION = re.compile(r"(\d+)(ms|s|m|h|d)")


def parse_duration(text: object) -> timedelta:
    """Read a duration.

    Raises:
        ValueError: the text is no duration; the message says what would be right.
    """
    match = DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write a number and a unit, like 90s, 15m, 1h or 30d")
    try:
        return int(match[1]) * UNITS[match[2]]
    except OverflowError as error:
        raise ValueError(f"{text!r} is longer than time") from error
