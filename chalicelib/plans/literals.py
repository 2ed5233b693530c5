"""Numbers and mappings as a text has them, and how deep it may nest: what JSON and YAML share here."""

import math
from typing import Any, NoReturn

DEEPEST = 32
TOO_DEEP = f"mappings and lists nest at most {DEEPEST} deep"
_LONGEST_NUMBER = 40


class Refused(ValueError):
    """A text that is refused; the message says why."""


class Repeating(dict[str, Any]):
    """A mapping that was written with some keys more than once."""

    repeated: tuple[str, ...] = ()


def refuse_number(text: str) -> NoReturn:
    """Refuse a number that cannot be kept."""
    raise Refused(f"{text[:_LONGEST_NUMBER]} is no number that can be kept: write one, or a text in quotes")


def integer_of(text: str) -> int:
    """Return a whole number.

    Raises:
        Refused: it is too long.
    """
    if len(text) > _LONGEST_NUMBER:
        raise Refused(f"a number has at most {_LONGEST_NUMBER} digits: {text[:_LONGEST_NUMBER]}...")
    return int(text)


def float_of(text: str) -> float:
    """Return a number.

    Raises:
        Refused: it is too large.
    """
    number = float(text)
    if not math.isfinite(number):
        raise Refused(f"{text[:_LONGEST_NUMBER]} is larger than any number here")
    return number


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a mapping of pairs, a `Repeating` one where a key stands more than once."""
    mapping = dict(pairs)
    if len(mapping) == len(pairs):
        return mapping
    repeating, seen, twice = Repeating(mapping), set[str](), dict[str, None]()
    for key, _ in pairs:
        if key in seen:
            twice[key] = None
        seen.add(key)
    repeating.repeated = tuple(twice)
    return repeating
