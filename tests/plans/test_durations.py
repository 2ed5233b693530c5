"""Durations: one number, one unit, within bounds."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.plans.durations import LONGEST, in_words, parse_duration, render_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("1h", 3_600),
        ("30d", 2_592_000),
        ("007d", 604_800),
        ("36500d", 3_153_600_000),
    ],
)
def test_duration_is_read(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "1", "h", "1 h", "1h30m", "-1h", "1.5h", "1w", "1H", "PT1H", "1h\n", "٣h", "9" * 30 + "d"]
)
def test_anything_else_is_refused_with_the_forms_that_are_right(text: str) -> None:
    with pytest.raises(ValueError, match="90s, 15m, 1h or 30d"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["0s", "36501d", "999999999999d"])
def test_duration_out_of_bounds_is_refused_with_the_bounds(text: str) -> None:
    with pytest.raises(ValueError, match="from 1s to 36500d"):
        parse_duration(text)


@given(st.integers(min_value=1, max_value=int(LONGEST.total_seconds())))
def test_what_is_rendered_is_read_back(seconds: int) -> None:
    duration = timedelta(seconds=seconds)
    assert parse_duration(render_duration(duration)) == duration


@pytest.mark.parametrize(
    ("duration", "words"),
    [
        (timedelta(seconds=1), "1 second"),
        (timedelta(seconds=90), "90 seconds"),
        (timedelta(minutes=90), "90 minutes"),
        (timedelta(hours=1), "1 hour"),
        (timedelta(days=30), "30 days"),
        (timedelta(days=3_650), "3,650 days"),
    ],
)
def test_messages_say_durations_as_people_do(duration: timedelta, words: str) -> None:
    assert in_words(duration) == words
