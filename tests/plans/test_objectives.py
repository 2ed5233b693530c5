"""Achieved objectives: what is proven counts, nothing else."""

from datetime import UTC, datetime, timedelta

from chalicelib.plans.objectives import achieved_rpo

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def ago(hours: int) -> datetime:
    return NOW - timedelta(hours=hours)


def test_achieved_rpo_is_the_age_of_the_newest_verified_point() -> None:
    assert achieved_rpo([(ago(9), True), (ago(3), True), (ago(5), True)], NOW) == timedelta(hours=3)


def test_unverified_points_prove_nothing() -> None:
    assert achieved_rpo([(ago(1), False), (ago(4), True)], NOW) == timedelta(hours=4)
    assert achieved_rpo([(ago(1), False)], NOW) is None


def test_points_of_the_future_prove_nothing() -> None:
    assert achieved_rpo([(ago(-1), True), (ago(2), True)], NOW) == timedelta(hours=2)


def test_no_points_are_no_objective_met() -> None:
    assert achieved_rpo([], NOW) is None
