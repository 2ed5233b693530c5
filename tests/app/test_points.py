"""The record of a recovery point, written by two jobs at one moment."""

from datetime import UTC, datetime
from typing import Any

import pytest

from chalicelib.catalog.recovery_point import Artefact, PointId, PointState, RecoveryPoint
from chalicelib.catalog.store import PointStore, Table
from chalicelib.plans.model import Kind
from local.stage import HOME_REGION
from tests.app.deployment import Deployment

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


class OvertakenTable(Table):
    """A table on which another worker is faster: it stores its artefact before a point's state is."""

    overtaking: tuple[PointStore, Artefact] | None = None

    def update(self, pk: str, sk: str, expression: str, **rest: Any) -> Any:
        """Let the other one in, once."""
        if "#state" in expression and self.overtaking is not None:
            (store, artefact), self.overtaking = self.overtaking, None
            store.put_artefact(pk.removeprefix("point#"), artefact)
        return super().update(pk, sk, expression, **rest)


@pytest.fixture
def client(app: Deployment) -> Any:
    return app.cloud.client("dynamodb", HOME_REGION)


def test_a_point_that_lives_on_in_another_vault_is_not_forgotten(app: Deployment, client: Any) -> None:
    (name,) = client.list_tables()["TableNames"]
    table = OvertakenTable(client, name)
    store, other = PointStore(table, lambda: NOW), PointStore(Table(client, name), lambda: NOW)
    primary = Artefact("primary", PointState.AVAILABLE)
    point = RecoveryPoint(
        id=PointId("rp-1"),
        service="s",
        plan="p",
        rule="r",
        kind=Kind.SNAPSHOT,
        state=PointState.AVAILABLE,
        nominal_at=NOW,
        created_at=NOW,
        source={},
        artefacts={"primary": primary},
    )
    store.create(point)
    table.overtaking = (other, Artefact("dr", PointState.AVAILABLE))
    store.put_artefact(point.id, Artefact("primary", PointState.DELETED))
    item = table.get("point#rp-1", "point")
    assert item is not None
    assert (item["state"], "expires_at" in item) == ("AVAILABLE", False)
