"""The record of a recovery point, written by two jobs at one moment."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from chalicelib.catalog.recovery_point import Artefact, Lineage, PointState, RecoveryPoint
from chalicelib.catalog.store import PointStore, Table, points
from chalicelib.catalog.store.writes import Write, one_for_each_item
from chalicelib.plans.model import Kind
from stage import HOME_REGION
from tests.support.deployment import Deployment

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
LINEAGE = Lineage("p", "r", Kind.SNAPSHOT, "s")
POINT = RecoveryPoint(
    id=LINEAGE.point_id("one"),
    service="s",
    plan="p",
    rule="r",
    kind=Kind.SNAPSHOT,
    state=PointState.AVAILABLE,
    nominal_at=NOW,
    created_at=NOW,
    source={},
    artefacts={"primary": Artefact("primary", PointState.AVAILABLE)},
)


@pytest.fixture
def table(app: Deployment) -> Table:
    client: Any = app.cloud.client("dynamodb", HOME_REGION)
    (name,) = client.list_tables()["TableNames"]
    table = Table(client, name)
    assert table.commit([points.settling(POINT, NOW)]) == ()
    return table


def _read(table: Table) -> RecoveryPoint:
    point = PointStore(table).get(POINT.id)
    assert point is not None
    return point


def test_a_point_changes_only_from_the_version_it_was_read_at(table: Table) -> None:
    read = _read(table)
    assert table.commit([points.changing(read, Artefact("dr", PointState.AVAILABLE), NOW)]) == ()
    late = points.changing(read, Artefact("primary", PointState.DELETED), NOW)
    assert table.commit([late]) == (late,)
    assert _read(table).available_in() == ("primary", "dr")


def test_a_point_that_lives_on_in_another_vault_is_not_forgotten(table: Table) -> None:
    table.commit([points.changing(_read(table), Artefact("dr", PointState.AVAILABLE), NOW)])
    table.commit([points.changing(_read(table), Artefact("primary", PointState.DELETED), NOW)])
    assert _read(table).state is PointState.AVAILABLE
    table.commit([points.changing(_read(table), Artefact("dr", PointState.DELETED), NOW)])
    assert _read(table).state is PointState.DELETED


def test_a_point_whose_last_artefact_is_missing_is_failed_and_not_forgotten(table: Table) -> None:
    table.commit([points.changing(_read(table), Artefact("primary", PointState.MISSING), NOW)])
    assert _read(table).state is PointState.FAILED
    assert "expires_at" not in (table.get(f"points#{LINEAGE.key}", POINT.id) or {})
    table.commit([points.changing(_read(table), Artefact("primary", PointState.DELETED), NOW)])
    assert "expires_at" in (table.get(f"points#{LINEAGE.key}", POINT.id) or {})


def test_an_artefact_that_a_job_needs_is_not_let_go(table: Table) -> None:
    assert table.commit([points.pinning(POINT.id, "primary", "copy-1")]) == ()
    read = _read(table)
    expired = replace(read.artefacts["primary"], state=PointState.EXPIRED)
    let_go = points.changing(read, expired, NOW, unpinned=("primary",))
    assert table.commit([let_go]) == (let_go,)
    table.commit([points.unpinning(POINT.id, "primary", "copy-1")])
    assert table.commit([points.changing(_read(table), expired, NOW, unpinned=("primary",))]) == ()


def test_an_artefact_that_was_let_go_cannot_be_needed_any_more(table: Table) -> None:
    expired = Artefact("primary", PointState.EXPIRED)
    table.commit([points.changing(_read(table), expired, NOW, unpinned=("primary",))])
    pin = points.pinning(POINT.id, "primary", "copy-1")
    assert table.commit([pin]) == (pin,)


def test_a_point_that_is_settled_is_not_settled_again(table: Table) -> None:
    failed = points.settling(replace(POINT, state=PointState.FAILED, artefacts={}), NOW)
    assert table.commit([failed]) == (failed,)
    assert _read(table).state is PointState.AVAILABLE


def test_two_changes_of_one_item_are_one_that_names_no_path_twice() -> None:
    one = Write(("a", "b"), sets={"x": 1, "y": 1}, adds={"n": 1, "v": {"p"}}, drops=("z", "e"))
    other = Write(("a", "b"), sets={"x": 2, "e": 2}, adds={"n": 2, "v": {"q"}}, drops=("z", "y"))
    (both,) = one_for_each_item([one, other])
    assert both.sets == {"x": 2, "e": 2}
    assert both.adds == {"n": 3, "v": {"p", "q"}}
    assert both.drops == ("z", "y")
