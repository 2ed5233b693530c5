"""What a plan lets go once it is stored: which points, whether that is much, and what stays behind. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from chalicelib.catalog.recovery_point import Lineage, Origin, PointState, RecoveryPoint
from chalicelib.catalog.store.services import LineageRecord
from chalicelib.plans.lifecycle import Keep, Lifecycle, Manual
from chalicelib.plans.model import Kind, Plan, SnapshotRule
from chalicelib.plans.rules import CopyTo
from chalicelib.plans.selection import Selection
from chalicelib.retention import forecast
from chalicelib.retention.forecast import Forecaster, RemainingPoints, is_much, losses_of, remaining_points
from tests.jobs.made import HOUR, NOON, point_in

DAY = timedelta(days=1)
MANY = Manual(count=50)


def _rule(count: int, name: str = "r", *vaults: str, **more: Any) -> SnapshotRule:
    copies = tuple(CopyTo(vault=vault) for vault in vaults)
    return SnapshotRule(name=name, lifecycle=Lifecycle(count=count, **more), rpo=HOUR, copies=copies)


def _plan(*rules: SnapshotRule) -> Plan:
    return Plan(name="p", service="s", selection=Selection(tags={"app": ("x",)}), rules=rules)


def _points(number: int, *vaults: str, first: int = 0, **more: Any) -> tuple[RecoveryPoint, ...]:
    """Return so many points, the newest `first` hours old."""
    hours = range(first, first + number)
    return tuple(replace(point_in(*(vaults or ("primary",)), hours=n), **more) for n in hours)


def _lost(
    found: Sequence[RecoveryPoint], rule: SnapshotRule, before: SnapshotRule | None
) -> list[tuple[str, bool]]:
    return [(loss.vault, loss.newly) for loss in losses_of(found, rule, before, DAY, NOON)]


def test_what_a_stricter_lifecycle_lets_go_is_told_with_its_reason() -> None:
    points = _points(4)
    losses = tuple(losses_of(points, _rule(2), _rule(9), DAY, NOON))
    assert [(loss.point, loss.made) for loss in losses] == [(p.id, p.created_at) for p in points[2:]]
    assert {loss.reason for loss in losses} == {"no longer kept by count 2, min_keep 1"}


@pytest.mark.parametrize(("zone", "lost"), [("UTC", 22), ("Asia/Tokyo", 13)])
def test_days_of_a_lifecycle_are_those_of_its_rules_zone(zone: str, lost: int) -> None:
    points = {hours: point_in("primary", hours=hours) for hours in (0, 13, 22)}
    rule = SnapshotRule(name="r", lifecycle=Lifecycle(keep=Keep(daily=2)), rpo=HOUR, timezone=zone)
    losses = losses_of(tuple(points.values()), rule, None, DAY, NOON)
    assert [loss.point for loss in losses] == [points[lost].id]


def test_a_plan_whose_zone_changes_keeps_something_else() -> None:
    assert _rule(2).retention != _rule(2).model_copy(update={"timezone": "Asia/Tokyo"}).retention


def test_what_the_stored_plan_lets_go_too_is_told_and_is_not_new() -> None:
    assert _lost(_points(4), _rule(2), _rule(3)) == [("primary", True), ("primary", False)]
    assert _lost(_points(4), _rule(2), None) == [("primary", True)] * 2, "without a plan all was kept"


def test_what_is_let_go_already_or_failed_is_no_loss() -> None:
    gone = [
        point.with_artefact(replace(point.artefacts["primary"], state=state, let_go_at=NOON + HOUR))
        for point, state in zip(_points(2), (PointState.EXPIRED, PointState.FAILED), strict=True)
    ]
    old = [replace(point, created_at=point.created_at - DAY) for point in gone]
    assert _lost([*old, *_points(3)[2:]], _rule(1), _rule(9)) == []


def test_a_vault_that_is_no_longer_named_loses_nothing() -> None:
    assert _lost(_points(3, "primary", "dr"), _rule(1), _rule(9, "r", "dr")) == [("primary", True)] * 2


@pytest.mark.parametrize(
    ("points", "count", "much"),
    [
        pytest.param(_points(8), 6, False, id="a quarter"),
        pytest.param(_points(7), 5, True, id="more than a quarter"),
        pytest.param(
            (*_points(4), *_points(8, first=50, origin=Origin.REQUEST)),
            3,
            False,
            id="a quarter of its pool",
        ),
        pytest.param(
            (*_points(3), *_points(8, first=50, suspect="small")), 2, True, id="suspect ones do not count"
        ),
    ],
)
def test_more_than_a_quarter_is_much(points: tuple[RecoveryPoint, ...], count: int, much: bool) -> None:
    losses = tuple(losses_of(points, _rule(count, manual=MANY), _rule(100, manual=MANY), DAY, NOON))
    assert is_much(losses, points) is much


def test_edits_in_a_row_add_up_until_one_is_much() -> None:
    points = _points(100)
    much = [
        is_much(losses_of(points, _rule(count), _rule(before), DAY, NOON), points)
        for before, count in ((100, 80), (80, 60), (60, 60), (60, 90))
    ]
    assert much == [False, True, False, False]


def _record(rule: str = "r", service: str = "s", **counts: int) -> LineageRecord:
    return LineageRecord(Lineage("p", rule, Kind.SNAPSHOT, service), counts)


def test_what_a_plan_says_nothing_of_stays_behind() -> None:
    records = (
        _record("r", "s", primary=3, dr=2),
        _record("old", "s", primary=4, dr=0),
        _record("old", "t", primary=1),
        _record("older", "s", primary=0),
    )
    old = RemainingPoints("old", Kind.SNAPSHOT, 2, {"primary": 5})
    assert remaining_points(records, _plan(_rule(1, "r", "dr"))) == (old,)
    assert remaining_points(records, _plan(_rule(1))) == (
        old,
        RemainingPoints("r", Kind.SNAPSHOT, 1, {"dr": 2}),
    )
    assert remaining_points(records, None) == (
        old,
        RemainingPoints("r", Kind.SNAPSHOT, 1, {"dr": 2, "primary": 3}),
    )


class Catalog:
    """As many services as there are, each with some points; it counts what is read."""

    def __init__(self, records: Sequence[LineageRecord], points: int) -> None:
        self.records, self.points, self.read = records, points, list[str]()

    def lineages(self, plan: str) -> Sequence[LineageRecord]:
        """List the lineages."""
        return self.records

    def of_lineage(self, lineage: Lineage) -> tuple[RecoveryPoint, ...]:
        """List a lineage's points."""
        self.read.append(lineage.rule)
        return _points(self.points)


def _forecast(catalog: Any, plan: Plan, stored: Plan) -> forecast.Forecast:
    return Forecaster(catalog, catalog, DAY, lambda: NOON).of(plan, stored)


def test_what_is_read_is_bounded_and_changed_rules_come_first() -> None:
    services = range(forecast.MOST_LINEAGES - 10)
    records = [_record(rule, f"s{n}", primary=4) for n in services for rule in ("same", "strict")]
    catalog = Catalog(records, 4)
    plan = _plan(_rule(9, "same"), _rule(2, "strict"))
    found = _forecast(catalog, plan, _plan(_rule(9, "same"), _rule(9, "strict")))
    assert len(catalog.read) == forecast.MOST_LINEAGES
    assert catalog.read.count("strict") == len(services)
    assert found.unread == len(records) - forecast.MOST_LINEAGES
    assert found.confirm == 2 * len(services)


def test_a_service_with_one_point_is_not_read() -> None:
    catalog = Catalog([_record("r", f"s{n}", primary=1) for n in range(10_000)], 1)
    found = _forecast(catalog, _plan(_rule(1)), _plan(_rule(9)))
    assert (catalog.read, found.unread, found.confirm) == ([], 0, 0)
