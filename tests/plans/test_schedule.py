"""Schedules in time zones: each nominal local time runs exactly once, whatever the clocks on the wall do."""

import re
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.plans.schedule import Schedule

# Zones and a date on which each changed its clocks; Apia and Kwajalein left out a whole day.
CHANGES = [
    ("Europe/Berlin", date(2026, 3, 29)),
    ("Europe/Berlin", date(2026, 10, 25)),
    ("America/New_York", date(2026, 3, 8)),
    ("America/New_York", date(2026, 11, 1)),
    ("Australia/Lord_Howe", date(2026, 4, 5)),
    ("Australia/Lord_Howe", date(2026, 10, 4)),
    ("Asia/Beirut", date(2026, 3, 29)),
    ("America/Havana", date(2026, 11, 1)),
    ("Atlantic/Azores", date(2026, 3, 29)),
    ("Africa/Casablanca", date(2026, 3, 22)),
    ("Pacific/Apia", date(2011, 12, 30)),
    ("Pacific/Kwajalein", date(1993, 8, 21)),
    ("Asia/Kathmandu", date(2026, 6, 1)),
    ("UTC", date(2026, 6, 1)),
]
ZONES = sorted({zone for zone, _ in CHANGES})


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def runs(expression: str, zone: str, after: str, until: str) -> list[str]:
    found = Schedule.parse(expression, zone).between(at(after), at(until))
    return [instant.astimezone(ZoneInfo(zone)).isoformat(timespec="minutes") for instant in found]


def test_local_time_is_kept_when_the_offset_changes() -> None:
    found = Schedule.parse("cron(15 2 * * ? *)", "Europe/Berlin").between(
        at("2026-10-23T12:00Z"), at("2026-10-26T12:00Z")
    )
    assert list(found) == [at("2026-10-24T00:15Z"), at("2026-10-25T00:15Z"), at("2026-10-26T01:15Z")]


def test_skipped_time_runs_once_shifted_by_what_the_clock_skipped() -> None:
    assert runs("cron(30 2 * * ? *)", "Europe/Berlin", "2026-03-28T12:00Z", "2026-03-30T12:00Z") == [
        "2026-03-29T03:30+02:00",
        "2026-03-30T02:30+02:00",
    ]


def test_repeated_time_runs_the_first_time_only() -> None:
    assert runs("cron(30 2 * * ? *)", "Europe/Berlin", "2026-10-24T12:00Z", "2026-10-26T12:00Z") == [
        "2026-10-25T02:30+02:00",
        "2026-10-26T02:30+01:00",
    ]


def test_half_an_hour_is_skipped_and_repeated_on_lord_howe() -> None:
    assert runs("cron(15 2 * * ? *)", "Australia/Lord_Howe", "2026-10-03T00:00Z", "2026-10-04T12:00Z") == [
        "2026-10-04T02:45+11:00"
    ]
    assert runs("cron(45 1 * * ? *)", "Australia/Lord_Howe", "2026-04-04T12:00Z", "2026-04-05T12:00Z") == [
        "2026-04-05T01:45+11:00"
    ]


def test_skipped_hour_and_the_hour_after_it_are_one_run_of_an_hourly_schedule() -> None:
    found = runs("cron(0 * * * ? *)", "Europe/Berlin", "2026-03-29T00:30Z", "2026-03-29T03:00Z")
    assert found == ["2026-03-29T03:00+02:00", "2026-03-29T04:00+02:00", "2026-03-29T05:00+02:00"]


def test_repeated_hour_is_one_run_of_an_hourly_schedule() -> None:
    found = runs("cron(0 * * * ? *)", "Europe/Berlin", "2026-10-24T22:30Z", "2026-10-25T02:00Z")
    assert found == [
        "2026-10-25T01:00+02:00",
        "2026-10-25T02:00+02:00",
        "2026-10-25T03:00+01:00",
    ]


def test_skipped_times_come_in_the_order_of_their_instants() -> None:
    found = runs("cron(0,20,40 2,3 * * ? *)", "Europe/Berlin", "2026-03-28T12:00Z", "2026-03-29T12:00Z")
    assert found == ["2026-03-29T03:00+02:00", "2026-03-29T03:20+02:00", "2026-03-29T03:40+02:00"]
    found = runs("cron(5/20 2,3 * * ? *)", "Australia/Lord_Howe", "2026-10-03T12:00Z", "2026-10-04T12:00Z")
    assert found == sorted(set(found))
    assert len(found) == 6


def test_day_that_a_zone_left_out_runs_on_the_day_after_it() -> None:
    found = runs("cron(0 10 30 12 ? 2011)", "Pacific/Apia", "2011-12-01T00:00Z", "2012-01-31T00:00Z")
    assert found == ["2011-12-31T10:00+14:00"]


def test_midnight_that_does_not_exist_runs_once() -> None:
    assert runs("cron(0 0 * * ? *)", "Asia/Beirut", "2026-03-28T12:00Z", "2026-03-30T12:00Z") == [
        "2026-03-29T01:00+03:00",
        "2026-03-30T00:00+03:00",
    ]


def test_backups_do_not_stop_for_weeks_around_a_change() -> None:
    found = list(
        Schedule.parse("cron(30 2 * * ? *)", "America/New_York").between(
            at("2026-01-01T00:00Z"), at("2027-01-01T00:00Z")
        )
    )
    assert len(found) == 365
    assert max(later - earlier for earlier, later in pairwise(found)) <= timedelta(hours=25)


def expected_instant(local: datetime, zone: ZoneInfo) -> datetime:
    """Look at the clock each minute: for the first reading of `local`, else count on from the last one
    before."""
    start = local.replace(tzinfo=UTC) - timedelta(hours=26)
    minutes = [start + timedelta(minutes=minute) for minute in range(52 * 60)]
    readings = [instant.astimezone(zone).replace(tzinfo=None) for instant in minutes]
    if local in readings:
        return minutes[readings.index(local)]
    before = next(n for n, reading in enumerate(readings) if reading < local < readings[n + 1])
    return minutes[before] + (local - readings[before])


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(CHANGES), st.integers(-1, 1), st.integers(0, 23), st.integers(0, 59))
def test_a_local_time_near_a_change_runs_once_at_the_instant_a_clock_watcher_would_find(
    change: tuple[str, date], days: int, hour: int, minute: int
) -> None:
    zone, day = change[0], change[1] + timedelta(days=days)
    schedule = Schedule.parse(f"cron({minute} {hour} {day.day} {day.month} ? {day.year})", zone)
    local = datetime.fromisoformat(f"{day}T{hour:02}:{minute:02}")
    everything = schedule.between(at("1970-01-01T00:00Z"), at("2199-01-01T00:00Z"))
    assert list(everything) == [expected_instant(local, ZoneInfo(zone))]


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(ZONES), st.integers(0, 23), st.integers(0, 59), st.sampled_from([1993, 2011, 2026, 2028])
)
def test_every_nominal_time_of_a_year_runs_exactly_once(zone: str, hour: int, minute: int, year: int) -> None:
    schedule = Schedule.parse(f"cron({minute} {hour} * * ? {year})", zone)
    found = list(schedule.between(at("1970-01-01T00:00Z"), at("2199-01-01T00:00Z")))
    days = (date(year + 1, 1, 1) - date(year, 1, 1)).days
    left_out = (zone, year) in {("Pacific/Apia", 2011), ("Pacific/Kwajalein", 1993)}
    assert len(found) == days - left_out, "two nominal times at one instant are one run"
    local_days = [instant.astimezone(ZoneInfo(zone)).date() for instant in found]
    assert len(set(local_days)) >= days - left_out - 1


expressions = st.sampled_from(
    [
        "cron(0 * * * ? *)",
        "cron(*/7 1-4 * * ? *)",
        "cron(30 2 ? * SUN *)",
        "cron(0 0 L * ? *)",
        "cron(17 23,0,1 29-2 * ? *)",
        "rate(1 hour)",
        "rate(7 minutes)",
        "rate(2 days)",
    ]
)


@settings(max_examples=100, deadline=None)
@given(
    expressions,
    st.sampled_from(CHANGES),
    st.lists(st.integers(-72 * 60, 72 * 60), min_size=2, max_size=6),
)
def test_adjoining_windows_are_ordered_disjoint_and_together_the_whole(
    expression: str, change: tuple[str, date], minutes: list[int]
) -> None:
    schedule = Schedule.parse(expression, change[0])
    middle = at(f"{change[1]}T12:00Z")
    edges = sorted(middle + timedelta(minutes=minute) for minute in minutes)
    whole = list(schedule.between(edges[0], edges[-1]))
    parts = [list(schedule.between(after, until)) for after, until in pairwise(edges)]
    assert whole == [instant for part in parts for instant in part]
    assert whole == sorted(set(whole))
    assert all(edges[0] < instant <= edges[-1] for instant in whole)


@settings(max_examples=60, deadline=None)
@given(expressions, st.sampled_from(CHANGES), st.integers(-72 * 60, 72 * 60))
def test_next_after_is_the_first_of_what_follows(
    expression: str, change: tuple[str, date], minute: int
) -> None:
    schedule = Schedule.parse(expression, change[0])
    instant = at(f"{change[1]}T12:00Z") + timedelta(minutes=minute)
    following = schedule.next_after(instant)
    assert following is not None
    assert instant < following
    assert list(schedule.between(instant, following)) == [following]


def test_schedule_whose_years_are_over_has_no_next() -> None:
    schedule = Schedule.parse("cron(0 0 1 1 ? 2025)")
    assert schedule.next_after(at("2026-01-01T00:00Z")) is None
    assert list(schedule.between(at("2026-01-01T00:00Z"), at("2199-01-01T00:00Z"))) == []


def test_rare_date_is_found_far_ahead() -> None:
    schedule = Schedule.parse("cron(0 0 29 2 ? *)", "Europe/Berlin")
    assert schedule.next_after(at("2096-03-01T00:00Z")) == at("2104-02-28T23:00Z")
    assert Schedule.parse("cron(0 0 1 1 ? 2199)").next_after(at("1970-01-01T00:00Z")) == at(
        "2199-01-01T00:00Z"
    )


def test_rate_counts_elapsed_time_from_its_anchor() -> None:
    assert runs("rate(8 hours)", "Europe/Berlin", "2026-03-28T23:00Z", "2026-03-29T16:00Z") == [
        "2026-03-29T01:00+01:00",
        "2026-03-29T10:00+02:00",
        "2026-03-29T18:00+02:00",
    ]
    anchored = Schedule.parse("rate(5 days)", anchor=at("2026-11-22T09:30Z"))
    assert anchored.next_after(at("2026-11-22T09:29Z")) == at("2026-11-22T09:30Z")
    assert anchored.next_after(at("2026-11-22T09:30Z")) == at("2026-11-27T09:30Z")
    assert anchored.next_after(at("2026-11-10T00:00Z")) == at("2026-11-12T09:30Z")


@pytest.mark.parametrize("expression", ["rate(1 minute)", "rate(1 hour)", "rate(1 day)", "rate(36500 days)"])
def test_rate_is_read(expression: str) -> None:
    assert Schedule.parse(expression).expression == expression


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("rate(1 hours)", r"rate\(1 hour\)"),
        ("rate(5 minute)", r"rate\(5 minutes\)"),
        ("rate(0 minutes)", "takes a number"),
        ("rate(-1 hours)", "takes a number"),
        ("rate(1.5 hours)", "takes a number"),
        ("rate(1 week)", "takes a number"),
        ("rate(5minutes)", "takes a number"),
        ("rate()", "takes a number"),
        ("rate(36501 days)", r"at most rate\(36500 days\)"),
        ("rate(999999999 days)", "at most"),
        ("at(2026-11-22T00:00:00)", r'write "cron\('),
        ("0 * * * ? *", r'write "cron\('),
        ("cron(0 * * * ? *", r'write "cron\('),
        ("cron 0 * * * ? *)", r'write "cron\('),
        ("@daily", r'write "cron\('),
        ("", r'write "cron\('),
    ],
)
def test_what_is_no_schedule_is_refused_with_what_would_be(expression: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Schedule.parse(expression)


@pytest.mark.parametrize(
    ("zone", "says"),
    [
        ("Europe/Berln", "did you mean Europe/Berlin?"),
        ("europe/berlin", "did you mean Europe/Berlin?"),
        ("New_York", "did you mean America/New_York?"),
        ("Berlin", "did you mean Europe/Berlin?"),
        ("", "such as UTC or Europe/Berlin"),
        ("+02:00", "such as UTC or Europe/Berlin"),
        ("../../etc/passwd", "such as UTC or Europe/Berlin"),
        ("/usr/share/zoneinfo/UTC", "such as UTC or Europe/Berlin"),
        ("Mars/Olympus_Mons", "such as UTC or Europe/Berlin"),
        ("localtime", "such as UTC or Europe/Berlin"),
        ("Europe", "such as UTC or Europe/Berlin"),
        ("a\0b", "such as UTC or Europe/Berlin"),
    ],
)
def test_unknown_time_zone_is_refused_with_the_nearest(zone: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        Schedule.parse("cron(0 0 * * ? *)", zone)
