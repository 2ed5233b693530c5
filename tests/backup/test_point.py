"""What a backup is measured by: the whole points before it that nothing is doubted of. Pure."""

from dataclasses import replace
from typing import Any

import pytest

from chalicelib.backup.point import suspicion
from chalicelib.catalog.recovery_point import PointState, RecoveryPoint
from chalicelib.plans.expect import Expect
from chalicelib.plans.model import Kind
from tests.jobs.made import HOUR, NOON, point_in


def _point(size: int, hours: int, artefact: dict[str, Any] | None = None, **more: Any) -> RecoveryPoint:
    point = point_in("primary", hours=hours, kind=Kind.SERVICE, **(artefact or {}))
    return replace(point, size_bytes=size, **more)


LARGE = _point(10_000, 9)
IN_GRACE = {"state": PointState.EXPIRED, "let_go_at": NOON + HOUR}


@pytest.mark.parametrize(
    ("lineage", "doubted"),
    [
        pytest.param((), False, id="it is the first"),
        pytest.param((LARGE,), True, id="it is far smaller"),
        pytest.param((_point(20, 1), LARGE), False, id="smaller ones were good"),
        pytest.param((_point(20, 1, suspect="small"), LARGE), True, id="the one before is suspect"),
        pytest.param(
            (*(_point(20, hours, suspect="small") for hours in range(1, 8)), LARGE), True, id="a week of them"
        ),
        pytest.param((_point(20, 1, suspect="small", confirmed="yes"), LARGE), False, id="confirmed"),
        pytest.param(
            (_point(10_000, 1), _point(20, 2, suspect="small", confirmed="yes"), *[LARGE] * 5),
            False,
            id="what is older than a confirmed one measures nothing",
        ),
        pytest.param((_point(20, 1, left_out=("vol-1",)), LARGE), True, id="a partial one measures nothing"),
        pytest.param((_point(20, 1, {"state": PointState.FAILED}), LARGE), True, id="nor one that failed"),
        pytest.param((_point(10_000, 1, IN_GRACE),), True, id="one in its grace measures"),
        pytest.param(
            (_point(10_000, 1, {**IN_GRACE, "by_request": True}),), False, id="not if an operator let it go"
        ),
    ],
)
def test_what_it_is_measured_by(lineage: tuple[RecoveryPoint, ...], doubted: bool) -> None:
    assert bool(suspicion(Expect(), 20, lineage)) is doubted
