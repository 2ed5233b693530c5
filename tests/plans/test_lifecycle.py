"""Lifecycle: what stays, what goes, and why."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.plans.lifecycle import Keep, Lifecycle, Point, Verdict, decide_lifecycle, describe

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)  # a Sunday


def point(text: str, *, good: bool = True, pinned: str | None = None) -> Point:
    return Point(text, datetime.fromisoformat(text).replace(tzinfo=UTC), good, pinned)


def points(*texts: str) -> list[Point]:
    return [point(text) for text in texts]


def kept(found: Iterable[Verdict]) -> list[str]:
    return [verdict.id for verdict in found if verdict.keep]


def decide(
    given_points: Sequence[Point], lifecycle: Lifecycle, *, complete: bool = True
) -> dict[str, Verdict]:
    verdicts = decide_lifecycle(given_points, lifecycle, NOW, complete=complete)
    return {verdict.id: verdict for verdict in verdicts}


FORTY_DAYS = [
    Point(day.strftime("%m-%d"), day, True)
    for day in (NOW - timedelta(days=number, hours=10) for number in range(40))
]


@pytest.mark.parametrize(
    ("lifecycle", "expected"),
    [
        (Lifecycle(count=3), ["11-22", "11-21", "11-20"]),
        (Lifecycle(count=3, min_keep=5), ["11-22", "11-21", "11-20", "11-19", "11-18"]),
        (Lifecycle(age=timedelta(days=2)), ["11-22", "11-21"]),
        (Lifecycle(age=timedelta(hours=58)), ["11-22", "11-21"]),
        (Lifecycle(age=timedelta(hours=59)), ["11-22", "11-21", "11-20"]),
        (Lifecycle(age=timedelta(hours=1)), ["11-22"]),
        (Lifecycle(age=timedelta(hours=1), min_keep=2), ["11-22", "11-21"]),
        (Lifecycle(keep=Keep(daily=3)), ["11-22", "11-21", "11-20"]),
        # ISO weeks end on Sunday: 22, 15 and 8 November are the newest of theirs.
        (Lifecycle(keep=Keep(weekly=3)), ["11-22", "11-15", "11-08"]),
        (Lifecycle(keep=Keep(monthly=2)), ["11-22", "10-31"]),
        (Lifecycle(keep=Keep(monthly=12)), ["11-22", "10-31"]),
        (Lifecycle(keep=Keep(yearly=2)), ["11-22"]),
        (Lifecycle(keep=Keep(daily=2, weekly=2, monthly=2)), ["11-22", "11-21", "11-15", "10-31"]),
    ],
)
def test_forty_daily_points(lifecycle: Lifecycle, expected: list[str]) -> None:
    assert kept(decide_lifecycle(FORTY_DAYS, lifecycle, NOW, complete=True)) == expected


def test_newest_point_of_each_period_is_the_one_kept() -> None:
    found = decide(
        points("2026-11-22T09:05", "2026-11-22T09:40", "2026-11-22T08:59"), Lifecycle(keep=Keep(hourly=2))
    )
    assert kept(found.values()) == ["2026-11-22T09:40", "2026-11-22T08:59"]


def test_pause_in_the_backups_erodes_nothing() -> None:
    old = points("2026-01-03", "2026-01-02", "2026-01-01")
    assert kept(decide(old, Lifecycle(keep=Keep(daily=2))).values()) == ["2026-01-03", "2026-01-02"]


def test_weeks_are_iso_weeks_over_the_turn_of_the_year() -> None:
    # 28 December 2025 ends the ISO week 52; 31 December and 2 January share the week 1 of 2026.
    found = decide(points("2026-01-02", "2025-12-31", "2025-12-28"), Lifecycle(keep=Keep(weekly=2)))
    assert kept(found.values()) == ["2026-01-02", "2025-12-28"]


def test_periods_are_utc_whatever_offset_a_time_has() -> None:
    late = datetime.fromisoformat("2026-11-22T00:30+02:00")
    early = datetime.fromisoformat("2026-11-21T21:00+00:00")
    found = decide([Point("late", late, True), Point("early", early, True)], Lifecycle(keep=Keep(daily=5)))
    assert kept(found.values()) == ["late"]


def test_newest_point_is_kept_even_when_expired() -> None:
    found = decide(points("2020-01-01", "2019-01-01"), Lifecycle(age=timedelta(days=1)))
    assert found["2020-01-01"] == Verdict("2020-01-01", True, "the newest good point")
    assert found["2019-01-01"] == Verdict("2019-01-01", False, "no longer kept by age 1 day, min_keep 1")


def test_incomplete_list_lets_nothing_go() -> None:
    found = decide([*FORTY_DAYS, point("2020-01-01", good=False)], Lifecycle(count=1), complete=False)
    assert len(kept(found.values())) == 41
    assert found["11-01"].reason == "the list of points is incomplete: nothing is deleted"


def test_pinned_point_is_kept_with_its_reason() -> None:
    pinned = point("2026-11-01", pinned="copy to dr is in progress")
    found = decide([*points("2026-11-22"), pinned], Lifecycle(count=1))
    assert found["2026-11-01"] == Verdict("2026-11-01", True, "copy to dr is in progress")


def test_failed_point_stays_a_day_and_takes_no_place() -> None:
    found = decide(
        [
            point("2026-11-22T11:00", good=False),
            point("2026-11-21T12:00", good=False),
            point("2026-11-20T12:00"),
            point("2026-11-19T12:00"),
        ],
        Lifecycle(count=2),
    )
    assert kept(found.values()) == ["2026-11-22T11:00", "2026-11-20T12:00", "2026-11-19T12:00"]
    assert found["2026-11-22T11:00"].reason == "it failed, and can be looked at for 1 day"
    assert found["2026-11-21T12:00"].reason == "it failed more than 1 day ago"


def test_failed_points_alone_do_not_protect_each_other() -> None:
    assert not kept(decide([point("2026-11-01", good=False)], Lifecycle(count=9, min_keep=9)).values())


def test_points_dated_in_the_future_push_no_other_out() -> None:
    forged = points("2027-01-01", "2027-01-02", "2027-02-01")
    real = points("2026-11-22", "2026-11-21", "2026-11-20")
    found = decide([*forged, *real], Lifecycle(keep=Keep(daily=2)))
    assert kept(found.values()) == ["2027-02-01", "2027-01-02", "2027-01-01", "2026-11-22", "2026-11-21"]
    assert "dated in the future" in found["2027-01-01"].reason


def test_every_reason_a_point_is_kept_for_is_said() -> None:
    found = decide(FORTY_DAYS, Lifecycle(keep=Keep(daily=7, weekly=2), min_keep=2))
    assert found["11-22"].reason == (
        "the newest good point; daily 1 of 7 (2026-11-22); weekly 1 of 2 (2026-W47)"
    )
    assert found["11-21"].reason == "2 of the newest 2 (min_keep); daily 2 of 7 (2026-11-21)"
    assert found["11-15"].reason == "weekly 2 of 2 (2026-W46)"
    assert found["11-10"].reason == "no longer kept by daily 7, weekly 2, min_keep 2"


def test_no_points_need_no_verdict() -> None:
    assert decide_lifecycle([], Lifecycle(count=1), NOW, complete=True) == ()


def test_lifecycle_is_described_in_a_few_words() -> None:
    assert (
        describe(Lifecycle(keep=Keep(hourly=24, yearly=1), min_keep=2)) == "hourly 24, yearly 1, min_keep 2"
    )
    assert describe(Lifecycle(count=7)) == "count 7, min_keep 1"


amounts = st.integers(1, 5)
PERIODS = ("hourly", "daily", "weekly", "monthly", "yearly")
lifecycles = st.one_of(
    st.dictionaries(st.sampled_from(PERIODS), amounts, min_size=1).map(
        lambda keep: Lifecycle(keep=Keep(**keep))
    ),
    st.integers(1, 8).map(lambda count: Lifecycle(count=count)),
    st.integers(1, 400).map(lambda days: Lifecycle(age=timedelta(days=days))),
)
lists = st.lists(
    st.tuples(st.integers(-40 * 24, 500 * 24), st.booleans(), st.sampled_from([None, None, None, "held"])),
    max_size=25,
).map(
    lambda rows: [
        Point(f"p{number}", NOW - timedelta(hours=hours), good, pinned)
        for number, (hours, good, pinned) in enumerate(rows)
    ]
)


def deciding(given_points: Sequence[Point], lifecycle: Lifecycle) -> set[str]:
    return set(kept(decide_lifecycle(given_points, lifecycle, NOW, complete=True)))


@given(lists, lifecycles)
def test_newest_good_point_is_always_kept(given_points: list[Point], lifecycle: Lifecycle) -> None:
    good = [each for each in given_points if each.good and each.at <= NOW]
    if good:
        assert max(good, key=lambda each: (each.at, each.id)).id in deciding(given_points, lifecycle)


@given(lists, lifecycles)
def test_every_point_gets_one_verdict_with_a_reason(given_points: list[Point], lifecycle: Lifecycle) -> None:
    verdicts = decide_lifecycle(given_points, lifecycle, NOW, complete=True)
    assert sorted(verdict.id for verdict in verdicts) == sorted(each.id for each in given_points)
    assert all(verdict.reason for verdict in verdicts)


@given(lists, lifecycles, st.integers(1, 10), st.integers(0, 10))
def test_keeping_is_monotone_in_min_keep(
    given_points: list[Point], lifecycle: Lifecycle, fewer: int, more: int
) -> None:
    less = deciding(given_points, lifecycle.model_copy(update={"min_keep": fewer}))
    assert less <= deciding(given_points, lifecycle.model_copy(update={"min_keep": fewer + more}))


@given(lists, amounts, amounts)
def test_keeping_is_monotone_in_each_period(given_points: list[Point], daily: int, more: int) -> None:
    less = deciding(given_points, Lifecycle(keep=Keep(daily=daily, monthly=2)))
    assert less <= deciding(given_points, Lifecycle(keep=Keep(daily=daily + more, monthly=2)))


@given(lists, lifecycles)
def test_deciding_again_lets_nothing_more_go(given_points: list[Point], lifecycle: Lifecycle) -> None:
    first = deciding(given_points, lifecycle)
    assert deciding([each for each in given_points if each.id in first], lifecycle) == first


@given(lists, lifecycles, st.randoms())
def test_order_of_the_points_does_not_matter(
    given_points: list[Point], lifecycle: Lifecycle, random: Random
) -> None:
    shuffled = list(given_points)
    random.shuffle(shuffled)
    expected = decide_lifecycle(given_points, lifecycle, NOW, complete=True)
    assert decide_lifecycle(shuffled, lifecycle, NOW, complete=True) == expected


@given(lists, lifecycles, lists)
def test_failed_and_future_points_push_no_other_out(
    given_points: list[Point], lifecycle: Lifecycle, others: list[Point]
) -> None:
    intruders = [replace(each, id=f"i{each.id}", good=each.at > NOW) for each in others]
    alone = deciding(given_points, lifecycle)
    assert alone <= deciding([*given_points, *intruders], lifecycle)


@given(lists, lifecycles)
def test_pinned_points_are_always_kept(given_points: list[Point], lifecycle: Lifecycle) -> None:
    assert {each.id for each in given_points if each.pinned} <= deciding(given_points, lifecycle)


@given(st.integers(1, 60), st.integers(1, 6), st.integers(1, 4))
def test_deleting_day_by_day_leaves_what_one_look_back_would(days: int, daily: int, weekly: int) -> None:
    lifecycle = Lifecycle(keep=Keep(daily=daily, weekly=weekly))
    held: list[Point] = []
    for number in range(days):
        now = NOW + timedelta(days=number)
        held.append(Point(f"d{number}", now, True))
        staying = set(kept(decide_lifecycle(held, lifecycle, now, complete=True)))
        held = [each for each in held if each.id in staying]
    everything = [Point(f"d{number}", NOW + timedelta(days=number), True) for number in range(days)]
    end = NOW + timedelta(days=days)
    assert {each.id for each in held} == set(
        kept(decide_lifecycle(everything, lifecycle, end, complete=True))
    )


@pytest.mark.parametrize(
    ("zone", "stay"),
    [
        ("UTC", ["2026-11-22T08:30", "2026-11-21T23:30"]),
        ("Europe/Berlin", ["2026-11-22T08:30", "2026-11-21T22:30"]),
        ("America/New_York", ["2026-11-22T08:30", "2026-11-21T23:30"]),
    ],
)
def test_days_are_those_of_the_rules_zone(zone: str, stay: list[str]) -> None:
    found = decide_lifecycle(
        points("2026-11-22T08:30", "2026-11-21T23:30", "2026-11-21T22:30"),
        Lifecycle(keep=Keep(daily=2)),
        NOW,
        complete=True,
        zone=ZoneInfo(zone),
    )
    assert kept(found) == stay


def test_an_hour_that_comes_twice_is_two() -> None:
    twice = points("2026-10-25T01:30", "2026-10-25T00:30", "2026-10-24T23:30")
    found = decide_lifecycle(
        twice, Lifecycle(keep=Keep(hourly=2)), NOW, complete=True, zone=ZoneInfo("Europe/Berlin")
    )
    assert [(each.keep, "2026-10-25T02" in each.reason) for each in found] == [
        (True, True),
        (True, True),
        (False, False),
    ]
