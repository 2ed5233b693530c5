"""What copies of every kind are decided from, and how they end. Pure."""

from typing import Any

import pytest

from chalicelib.catalog.recovery_point import Artefact, DueCopy, PointState, RecoveryPoint, StoredFile
from chalicelib.catalog.store import points, services
from chalicelib.jobs.decision import Fail, Finish
from chalicelib.plans.model import Kind
from chalicelib.replication.point_copy import FIRST_PAUSE, Original
from tests.jobs.made import NOON, Says, point_in

POINT_ID = point_in().id
LOCK = f"copy of {POINT_ID} into dr"
STORED = StoredFile(key="primary/data", etag="e1", sha256="a5", parts_sha256="b6")
FILE: dict[str, Any] = {"kind": Kind.SERVICE, "content": STORED}
IN_DR = point_in("primary", "dr", **FILE)  # by another job's work

NOTHING_TO_COPY = [
    pytest.param(IN_DR, Finish(f"{POINT_ID} is in dr already"), id="the copy is there already"),
    pytest.param(
        point_in("primary", state=PointState.EXPIRED),
        Fail("the original is EXPIRED in primary"),
        id="the original was let go",
    ),
    pytest.param(point_in(), Fail("the original is missing in primary"), id="there is no original"),
]


def original(point: RecoveryPoint) -> Original:
    """Return the original as a job sees it."""
    source = point.in_vault("primary")
    return Original(point, source if source and source.state is PointState.AVAILABLE else None)


def made(point: RecoveryPoint, how: str, **artefact: Any) -> Finish:
    """Return the end of a copy that is in its vault: its artefact is recorded, and counted."""
    copy = Artefact("dr", PointState.AVAILABLE, folder="primary/", **artefact)
    said = Says(f"{point.id} is in dr: {how}")
    return Finish(said, (points.changing(point, copy, NOON), *services.arriving(point, copy)))


def not_made(point: RecoveryPoint) -> Finish:
    """Return the end of a failed copy: that is recorded, and where the lifecycle finds what it left."""
    why = f"copy of {point.id} into dr: it failed"
    folder = "primary/" if "primary" in point.artefacts else ""
    record = Artefact("dr", PointState.FAILED, folder=folder, reason=why, was_made=False)
    if "primary" not in point.available_in():
        return Finish(why, (points.changing(point, record, NOON),))
    again = points.expecting(point, "dr", DueCopy(1, NOON + FIRST_PAUSE))
    return Finish(why, (points.changing(point, record, NOON), again, services.awaiting(point, "dr", 1)))
