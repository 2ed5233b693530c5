"""Due runs: missed ones are caught up by one late run; an RPO needs no cron."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.plans.due import MOST_COUNTED, DueRun, due_by_rpo, due_run
from chalicelib.plans.schedule import Schedule

HOURLY = Schedule.parse("cron(0 * * * ? *)")
TICK = timedelta(minutes=5)
NOW = datetime(2026, 11, 22, 12, 2, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-11-22T{text}Z")


@pytest.mark.parametrize(
    ("last_run", "now", "expected"),
    [
        (at("11:00"), at("11:59"), None),
        (at("11:00"), at("12:00"), DueRun(at("12:00"), late=False, missed=0)),
        (at("11:00"), at("12:10"), DueRun(at("12:00"), late=False, missed=0)),
        (at("11:00"), at("12:11"), DueRun(at("12:00"), late=True, missed=0)),
        (at("08:00"), at("12:30"), DueRun(at("12:00"), late=True, missed=3)),
        (at("08:00"), at("12:02"), DueRun(at("12:00"), late=False, missed=3)),
        (at("11:37"), at("11:40"), None),
        (at("11:37"), at("12:00"), DueRun(at("12:00"), late=False, missed=0)),
        (at("12:00"), at("12:00"), None),
        (at("13:00"), at("12:00"), None),
    ],
)
def test_due_run(last_run: datetime, now: datetime, expected: DueRun | None) -> None:
    assert due_run(HOURLY, last_run, now) == expected


def test_long_pause_is_caught_up_by_one_run_and_its_count_is_bounded() -> None:
    minutely = Schedule.parse("cron(* * * * ? *)")
    run = due_run(minutely, datetime(1990, 1, 1, tzinfo=UTC), NOW)
    assert run == DueRun(NOW, late=False, missed=MOST_COUNTED)


def test_yearly_run_missed_months_ago_is_still_caught_up() -> None:
    yearly = Schedule.parse("cron(0 3 1 2 ? *)")
    run = due_run(yearly, datetime(2024, 2, 1, 3, tzinfo=UTC), NOW)
    assert run == DueRun(datetime(2026, 2, 1, 3, tzinfo=UTC), late=True, missed=1)


def test_rule_that_begins_in_the_future_is_not_due() -> None:
    assert due_run(Schedule.parse("cron(0 0 * * ? 2030)"), datetime(2026, 1, 1, tzinfo=UTC), NOW) is None


schedules = st.sampled_from(
    [HOURLY, Schedule.parse("rate(7 minutes)"), Schedule.parse("cron(30 2 * * ? *)", "Europe/Berlin")]
)
moments = st.integers(0, 8 * 24 * 60).map(
    lambda minutes: datetime(2026, 3, 25, tzinfo=UTC) + timedelta(minutes=minutes)
)


@given(schedules, moments, moments)
def test_run_that_was_opened_is_not_due_again(schedule: Schedule, last_run: datetime, now: datetime) -> None:
    run = due_run(schedule, last_run, now)
    if run is None:
        assert not list(schedule.between(last_run, now))
    else:
        assert [*schedule.between(last_run, now)][-1] == run.nominal_at
        assert run.missed == min(MOST_COUNTED, len([*schedule.between(last_run, now)]) - 1)
        assert due_run(schedule, run.nominal_at, now) is None


@given(schedules, moments)
def test_ticking_every_five_minutes_opens_every_run_of_a_sparser_schedule_once(
    schedule: Schedule, start: datetime
) -> None:
    last, opened = start, []
    for tick in range(1, 12 * 30):
        run = due_run(schedule, last, start + tick * TICK)
        if run is not None:
            assert not run.late
            opened.append(run.nominal_at)
            last = run.nominal_at
    assert opened == list(schedule.between(start, start + (12 * 30 - 1) * TICK))


@pytest.mark.parametrize(
    ("newest", "now", "expected"),
    [
        (None, at("12:02"), DueRun(at("12:00"), late=False, missed=0)),
        (at("11:20"), at("12:00"), None),
        (at("11:05"), at("11:59"), None),
        (at("11:05"), at("12:00"), DueRun(at("12:00"), late=False, missed=0)),
        (at("11:00"), at("11:55"), DueRun(at("11:55"), late=False, missed=0)),
        (at("10:30"), at("12:00"), DueRun(at("12:00"), late=True, missed=0)),
        (at("12:30"), at("12:00"), None),
    ],
)
def test_due_by_rpo(newest: datetime | None, now: datetime, expected: DueRun | None) -> None:
    assert due_by_rpo(timedelta(hours=1), newest, TICK, now) == expected


@pytest.mark.parametrize("rpo", [timedelta(minutes=5), timedelta(minutes=7), timedelta(hours=1)])
def test_rpo_no_shorter_than_the_tick_is_met_when_backups_take_no_time(rpo: timedelta) -> None:
    newest = at("00:00")
    for tick in range(1, 200):
        now = at("00:00") + tick * TICK
        assert now - newest <= rpo
        run = due_by_rpo(rpo, newest, TICK, now)
        if run is not None:
            newest = run.nominal_at
            assert due_by_rpo(rpo, newest, TICK, now) is None


def test_repeated_tick_names_the_same_run() -> None:
    first = due_by_rpo(timedelta(hours=1), None, TICK, at("12:01:13"))
    assert first is not None
    assert first == due_by_rpo(timedelta(hours=1), None, TICK, at("12:04:59"))
