"""EventBridge's cron grammar, field by field."""

from datetime import date, datetime, time
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.plans.cron import days_in, parse_cron


def local(year: int, month: int, day: int) -> datetime:
    return datetime.combine(date(year, month, day), time())


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        # The examples of the cron expressions reference.
        ("0 10 * * ? *", ["2026-11-22T10:00", "2026-11-23T10:00"]),
        ("15 12 * * ? *", ["2026-11-22T12:15", "2026-11-23T12:15"]),
        ("0 18 ? * MON-FRI *", ["2026-11-23T18:00", "2026-11-24T18:00"]),
        ("0 8 1 * ? *", ["2026-12-01T08:00", "2027-01-01T08:00"]),
        ("0/15 * * * ? *", ["2026-11-22T00:00", "2026-11-22T00:15", "2026-11-22T00:30"]),
        ("0/10 * ? * MON-FRI *", ["2026-11-23T00:00", "2026-11-23T00:10"]),
        ("0/5 8-17 ? * MON-FRI *", ["2026-11-23T08:00", "2026-11-23T08:05"]),
        (
            "0/30 20-2 ? * MON-FRI *",
            [f"2026-11-23T{at}" for at in ("00:00", "00:30", "01:00", "01:30", "02:00", "02:30", "20:00")],
        ),
        # Steps and lists.
        ("1/20 0 * * ? *", ["2026-11-22T00:01", "2026-11-22T00:21", "2026-11-22T00:41", "2026-11-23T00:01"]),
        ("*/30 0 * * ? *", ["2026-11-22T00:00", "2026-11-22T00:30", "2026-11-23T00:00"]),
        (
            "10-20/5 0 * * ? *",
            ["2026-11-22T00:10", "2026-11-22T00:15", "2026-11-22T00:20", "2026-11-23T00:10"],
        ),
        (
            "5,5,1-2 0 * * ? *",
            ["2026-11-22T00:01", "2026-11-22T00:02", "2026-11-22T00:05", "2026-11-23T00:01"],
        ),
        ("0 0 1 jan,Jul ? *", ["2027-01-01T00:00", "2027-07-01T00:00", "2028-01-01T00:00"]),
        ("0 0 1 1 ? 2027/10", ["2027-01-01T00:00", "2037-01-01T00:00"]),
        ("0 0 1 1 ? 2199", ["2199-01-01T00:00"]),
        ("0 0 1 1 ? 1970", []),
        # Ranges that wrap.
        ("0 22-1/2 * * ? *", ["2026-11-22T00:00", "2026-11-22T22:00", "2026-11-23T00:00"]),
        ("0 0 ? * FRI-MON *", ["2026-11-22T00:00", "2026-11-23T00:00", "2026-11-27T00:00"]),
        (
            "0 0 30-1 DEC-JAN ? *",
            ["2026-12-01T00:00", "2026-12-30T00:00", "2026-12-31T00:00", "2027-01-01T00:00"],
        ),
        # Sunday is 1, Saturday is 7.
        ("0 0 ? * 1 *", ["2026-11-22T00:00", "2026-11-29T00:00"]),
        ("0 0 ? * 7 *", ["2026-11-28T00:00", "2026-12-05T00:00"]),
        ("0 0 ? * SUN,SAT *", ["2026-11-22T00:00", "2026-11-28T00:00", "2026-11-29T00:00"]),
        # L, W and #.
        ("0 0 L * ? *", ["2026-11-30T00:00", "2026-12-31T00:00", "2027-01-31T00:00", "2027-02-28T00:00"]),
        ("0 0 L 2 ? *", ["2027-02-28T00:00", "2028-02-29T00:00"]),
        ("0 0 LW * ? *", ["2026-11-30T00:00", "2026-12-31T00:00", "2027-01-29T00:00", "2027-02-26T00:00"]),
        ("0 0 ? * L *", ["2026-11-28T00:00", "2026-12-05T00:00"]),
        ("0 0 ? * 6L *", ["2026-11-27T00:00", "2026-12-25T00:00"]),
        ("0 0 ? * FRIL *", ["2026-11-27T00:00", "2026-12-25T00:00"]),
        ("0 0 3W * ? *", ["2026-12-03T00:00", "2027-01-04T00:00"]),  # 3 January 2027 is a Sunday
        ("0 0 1W * ? *", ["2026-12-01T00:00", "2027-01-01T00:00", "2027-02-01T00:00"]),
        ("0 0 1W 5 ? *", ["2027-05-03T00:00"]),  # 1 May 2027 is a Saturday: not back into April
        ("0 0 31W 1 ? *", ["2027-01-29T00:00"]),  # 31 January 2027 is a Sunday: not on into February
        ("0 0 ? * 3#2 *", ["2026-12-08T00:00", "2027-01-12T00:00"]),
        ("0 0 ? * MON#5 *", ["2026-11-30T00:00", "2027-03-29T00:00"]),
        # Leap years.
        ("0 0 29 2 ? *", ["2028-02-29T00:00", "2032-02-29T00:00"]),
        ("0 0 29 2 ? 2096-2104", ["2096-02-29T00:00", "2104-02-29T00:00"]),
        ("0 0 31 * ? *", ["2026-12-31T00:00", "2027-01-31T00:00", "2027-03-31T00:00"]),
    ],
)
def test_local_times(fields: str, expected: list[str]) -> None:
    found = list(islice(parse_cron(fields).local_times(local(2026, 11, 22)), max(1, len(expected))))
    assert [time.isoformat(timespec="minutes") for time in found] == expected


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ("0 25 * * ? *", "field hours: '25' is not within 0-23"),
        ("60 * * * ? *", "field minutes: '60' is not within 0-59"),
        ("0 0 0 * ? *", "field day-of-month: '0' is not within 1-31"),
        ("0 0 32 * ? *", "field day-of-month: '32' is not within 1-31"),
        ("0 0 1 13 ? *", "field month: '13' is not within 1-12 or JAN-DEC"),
        ("0 0 1 JANUARY ? *", "field month: 'JANUARY' is not within 1-12 or JAN-DEC"),
        ("0 0 ? * 0 *", "field day-of-week: '0' is not within 1-7 or SUN-SAT"),
        ("0 0 ? * 8 *", "field day-of-week: '8' is not within 1-7 or SUN-SAT"),
        ("0 0 1 1 ? 1969", "field year: '1969' is not within 1970-2199"),
        ("0 0 1 1 ? 2200", "field year: '2200' is not within 1970-2199"),
        ("0 0 1 1 ? 2030-2026", "a range of years runs upwards"),
        ("0/0 * * * ? *", "a step is from 1 to 59"),
        ("0/60 * * * ? *", "a step is from 1 to 59"),
        ("/5 * * * ? *", "write a value, a range"),
        ("*-5 * * * ? *", "write a value, a range"),
        ("1,,2 * * * ? *", "write a value, a range"),
        ("-1 * * * ? *", "write a value, a range"),
        ("? * * * ? *", "field minutes: '?'"),
        ("L * * * ? *", "field minutes: 'L'"),
        ("0 0 1-5W * ? *", "field day-of-month: '1-5'"),
        ("0 0 1,L * ? *", "field day-of-month: 'L'"),
        ("0 0 L-3 * ? *", "field day-of-month: 'L-3'"),
        ("0 0 W * ? *", "field day-of-month: ''"),
        ("0 0 ? * 3#6 *", "after # comes 1 to 5"),
        ("0 0 ? * 3#1,6#3 *", "stands alone"),
        ("0 0 ? * 3W *", "field day-of-week: '3W'"),
        ("0 0 ? * 2,6L *", "field day-of-week: '2,6'"),
        ("0 0 * * * *", "exactly one of the fields day-of-month and day-of-week is ?"),
        ("0 0 1 * MON *", "exactly one of the fields day-of-month and day-of-week is ?"),
        ("0 0 ? * ? *", "exactly one of the fields day-of-month and day-of-week is ?"),
        ("0 0 * * ?", "six fields, .* not 5"),
        ("0 0 0 * * ? *", "six fields, .* not 7"),
        ("", "six fields, .* not 0"),
        ("0 0 31 2 ? *", "there is no such date"),
        ("0 0 30 2 ? *", "there is no such date"),
        ("0 0 30W 2 ? *", "there is no such date"),
        ("0 0 31 4,6,9,11 ? *", "there is no such date"),
        ("0 0 29 2 ? 2100", "there is no such date"),
        ("0 0 ? 2 SUN#5 2026-2031", "there is no such date"),
    ],
)
def test_what_is_not_in_the_grammar_is_refused_and_said(fields: str, says: str) -> None:
    with pytest.raises(ValueError, match=says.replace("?", r"\?")):
        parse_cron(fields)


def weekday_number(day: date) -> int:
    return day.isoweekday() % 7 + 1


@given(st.dates(date(1970, 1, 1), date(2199, 12, 31)), st.integers(1, 7))
def test_every_date_is_named_by_its_own_weekday_alone(day: date, number: int) -> None:
    named = day.day in days_in(parse_cron(f"0 0 ? * {number} *").days, day.year, day.month)
    assert named == (weekday_number(day) == number)


@given(st.dates(date(1970, 1, 1), date(2199, 12, 31)))
def test_every_date_is_named_by_its_ordinal_weekday(day: date) -> None:
    cron = parse_cron(f"0 0 ? * {weekday_number(day)}#{(day.day - 1) // 7 + 1} *")
    assert days_in(cron.days, day.year, day.month) == [day.day]


@given(st.integers(1, 31), st.integers(1970, 2199), st.integers(1, 12))
def test_nearest_weekday_is_a_weekday_at_most_two_days_off(day: int, year: int, month: int) -> None:
    for found in days_in(parse_cron(f"0 0 {day}W * ? *").days, year, month):
        assert date(year, month, found).isoweekday() <= 5
        assert abs(found - day) <= (2 if day in (1, 28, 29, 30, 31) else 1)


@given(st.lists(st.integers(0, 59), min_size=1), st.lists(st.integers(0, 23), min_size=1))
def test_lists_name_exactly_their_values(minutes: list[int], hours: list[int]) -> None:
    cron = parse_cron(f"{','.join(map(str, minutes))} {','.join(map(str, hours))} 1 1 ? 2027")
    found = [(time.hour, time.minute) for time in cron.local_times(local(2027, 1, 1))]
    assert found == sorted({(hour, minute) for hour in hours for minute in minutes})
