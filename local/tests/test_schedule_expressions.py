"""When scheduled rules fire: tables of cron and rate, no cloud."""

from datetime import UTC, datetime

import pytest

from local_cloud.services.events.schedule_expressions import next_after

NOON = datetime(2030, 1, 31, 12, 0, 30, tzinfo=UTC)  # a Thursday


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("cron(0/5 * * * ? *)", "2030-01-31 12:05"),
        ("cron(0 * * * ? *)", "2030-01-31 13:00"),
        ("cron(15 2 * * ? *)", "2030-02-01 02:15"),
        ("cron(0 0 29 2 ? *)", "2032-02-29 00:00"),
        ("cron(0 9 ? * MON-FRI *)", "2030-02-01 09:00"),
        ("cron(0 9 ? * 1 *)", "2030-02-03 09:00"),
        ("cron(0,30 8-10 ? jan,MAR TUE *)", "2030-03-05 08:00"),
        ("cron(10/20 12 * * ? 2030-2031)", "2030-01-31 12:10"),
        ("cron(0 0 1 1 ? 2029)", None),
        ("rate(5 minutes)", "2030-01-31 12:05"),
        ("rate(1 day)", "2030-02-01 12:00"),
    ],
)
def test_a_schedule_fires_next_at(expression: str, expected: str | None) -> None:
    following = next_after(expression)(NOON)
    assert (following and f"{following:%Y-%m-%d %H:%M}") == expected


@pytest.mark.parametrize(
    "expression",
    [
        "cron(0 25 * * ? *)",
        "cron(0 0 * * * *)",
        "cron(0 0 ? * ? *)",
        "cron(0 0 * * ?)",
        "cron(0 0 L * ? *)",
        "cron(5-1 * * * ? *)",
        "cron(*/0 * * * ? *)",
        "rate(0 minutes)",
        "rate(1 minutes)",
        "rate(5 minute)",
        "every day",
    ],
)
def test_what_eventbridge_does_not_take_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        next_after(expression)
