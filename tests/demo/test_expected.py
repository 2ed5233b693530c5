"""The demo's own calendar, by which it judges what the app left."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from demo.evidence.expected import left, nights


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


NIGHTS = nights(at("2026-10-20T02:00"), at("2026-11-22T06:00"))


@pytest.mark.parametrize(
    ("lifecycle", "days"),
    [
        ({"count": 2}, ["11-21", "11-22"]),
        ({"count": 1, "min_keep": 3}, ["11-20", "11-21", "11-22"]),
        ({"age": "2d"}, ["11-21", "11-22"]),
        ({"keep": {"daily": 2}}, ["11-21", "11-22"]),
        ({"keep": {"weekly": 3}}, ["11-08", "11-15", "11-22"]),
        ({"keep": {"monthly": 3}}, ["10-31", "11-22"]),
        ({"keep": {"daily": 1, "monthly": 2}, "min_keep": 2}, ["10-31", "11-21", "11-22"]),
    ],
)
def test_a_lifecycle_leaves_what_a_calendar_says(lifecycle: dict[str, Any], days: list[str]) -> None:
    kept = left(lifecycle, NIGHTS, at("2026-11-22T06:00"))
    assert [f"{night:%m-%d}" for night in sorted(kept)] == days


def test_an_age_is_reached_to_the_second() -> None:
    judged_at = NIGHTS[0] + timedelta(days=1)
    assert left({"age": "1d"}, NIGHTS[:1], judged_at - timedelta(seconds=1)) == {NIGHTS[0]}
    assert left({"age": "1d", "min_keep": 0}, NIGHTS[:1], judged_at) == frozenset()


def test_the_last_backup_stays_however_old() -> None:
    assert left({"age": "1d"}, NIGHTS[:3], at("2027-06-01T00:00")) == {NIGHTS[2]}


def test_nights_begin_with_the_first_and_end_before_the_end() -> None:
    first = at("2026-11-20T01:00")
    assert nights(first, first + timedelta(days=2)) == [first, first + timedelta(days=1)]
    assert nights(first, first) == []
    sundays = nights(first, first + timedelta(days=15), weekday=6)
    assert [f"{night:%m-%d}" for night in sundays] == ["11-22", "11-29"]
