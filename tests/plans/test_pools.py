"""Pools: a point takes no place of one in another pool."""

from datetime import UTC, datetime, timedelta

from chalicelib.plans.lifecycle import Lifecycle, Manual, Point, Pool, decide_lifecycle

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
TWO = Lifecycle(count=2, manual=Manual(count=3))


def point(id: str, days: float, pool: Pool = Pool.SCHEDULED, keep_days: float | None = None) -> Point:
    """Return a point of some days ago; `keep_days` says for how many more it is kept."""
    until = NOW + timedelta(days=keep_days) if keep_days is not None else None
    return Point(id, NOW - timedelta(days=days), True, None, pool, until)


def verdicts(*points: Point, lifecycle: Lifecycle = TWO) -> dict[str, tuple[bool, str]]:
    found = decide_lifecycle(points, lifecycle, NOW, complete=True)
    return {each.id: (each.keep, each.reason) for each in found}


def kept(*points: Point, lifecycle: Lifecycle = TWO) -> set[str]:
    return {id for id, (keep, _) in verdicts(*points, lifecycle=lifecycle).items() if keep}


SCHEDULED = [point(f"s{days}", days) for days in range(5, 9)]


def test_what_is_asked_for_by_hand_is_counted_by_itself() -> None:
    by_hand = [point(f"m{days}", days, Pool.MANUAL) for days in range(4)]
    found = verdicts(*SCHEDULED, *by_hand)
    assert {id for id, (keep, _) in found.items() if keep} == {"s5", "s6", "m0", "m1", "m2"}
    assert found["m1"] == (True, "2 of 3 asked for by hand (manual)")
    assert found["m3"] == (False, "asked for by hand, and no longer kept by manual count 3")
    assert found["s5"] == (True, "the newest good point; 1 of 2 (count)")


def test_min_keep_does_not_count_what_was_asked_for_by_hand() -> None:
    by_hand = [point(f"m{days}", days, Pool.MANUAL) for days in range(3)]
    lifecycle = Lifecycle(age=timedelta(days=1), min_keep=3)
    assert {"s5", "s6", "s7"} <= kept(*SCHEDULED, *by_hand, lifecycle=lifecycle)


def test_what_is_kept_as_asked_takes_no_place_before_its_time_is_up() -> None:
    asked = [point(f"k{days}", days, Pool.MANUAL, keep_days=1) for days in range(3)]
    by_hand = [point(f"m{days}", days, Pool.MANUAL) for days in range(3, 7)]
    found = verdicts(*asked, *by_hand)
    assert {id for id, (keep, _) in found.items() if keep} == {"k0", "k1", "k2", "m3", "m4", "m5"}
    assert found["k0"] == (True, "kept until 2026-11-23T12:00:00Z, as was asked for")
    over = [point(f"k{days}", days, Pool.MANUAL, keep_days=0) for days in range(3)]
    assert kept(*over, *by_hand) == {"k0", "k1", "k2"}


def test_suspect_points_displace_nothing_not_even_each_other() -> None:
    suspects = [point(f"x{days}", days, Pool.SUSPECT) for days in range(5)]
    found = verdicts(*SCHEDULED, *suspects)
    assert {"s5", "s6", "x0", "x1", "x2", "x3", "x4"} == {id for id, (keep, _) in found.items() if keep}
    assert found["x4"] == (True, "it is suspect, and is kept for 30 days so that it can be confirmed")


def test_suspect_points_that_nobody_confirms_are_judged_among_themselves_after_a_month() -> None:
    suspects = [point(f"x{days}", days, Pool.SUSPECT) for days in (1, 31, 32, 33)]
    found = verdicts(*SCHEDULED, *suspects)
    assert {id for id, (keep, _) in found.items() if keep} == {"s5", "s6", "x1", "x31", "x32"}
    assert found["x33"] == (False, "it is suspect, and no longer kept by count 2, min_keep 1")


def test_partial_points_displace_no_whole_one_and_go_once_a_whole_one_has_been_newer_for_a_month() -> None:
    partial = [point(f"p{days}", days, Pool.PARTIAL) for days in (0, 1, 2)]
    assert kept(*SCHEDULED, *partial) == {"s5", "s6", "p0", "p1"}
    old = point("p40", 40, Pool.PARTIAL)
    assert kept(point("s1", 1), old) == {"s1"}
    assert kept(point("s1", 1), point("p29", 29, Pool.PARTIAL)) == {"s1", "p29"}
    assert kept(point("s50", 50), old) == {"s50", "p40"}, "nothing whole is newer"
    assert kept(point("x1", 1, Pool.SUSPECT), old) == {"x1", "p40"}, "a suspect point is no whole one"


def test_a_partial_point_that_is_pinned_stays() -> None:
    pinned = Point("p40", NOW - timedelta(days=40), True, "held: audit", Pool.PARTIAL)
    assert verdicts(point("s1", 1), pinned)["p40"] == (True, "held: audit")
