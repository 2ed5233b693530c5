"""What may be deleted by request: not the newest good point, and a suspect, partial or absent one is none."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.catalog.recovery_point import RecoveryPoint
from chalicelib.errors import Conflict
from chalicelib.retention.deletion import DeletionContext, deletion_request, guard
from tests.jobs.made import NOON, point_in

OLD, NEW = point_in("primary", "dr", hours=2), point_in("primary", "dr", hours=1)
SUSPECT: dict[str, Any] = {"suspect": "20 bytes"}


def _refusal(point: RecoveryPoint, *others: RecoveryPoint, missing: Collection[str] = ()) -> str | None:
    context = DeletionContext((point, *others), {"primary", "dr"}, missing)
    try:
        deletion_request(point, context, NOON)
    except Conflict as refused:
        return refused.why
    return None


@pytest.mark.parametrize(
    "flag", [pytest.param(SUSPECT, id="suspect"), pytest.param({"left_out": ("vol-1",)}, id="partial")]
)
def test_a_flagged_point_may_go_though_it_is_the_newest_and_guards_no_other(flag: dict[str, Any]) -> None:
    assert _refusal(replace(NEW, **flag), OLD) is None
    assert "newest good point" in str(_refusal(OLD, replace(NEW, **flag)))


def test_a_suspect_point_that_is_confirmed_is_guarded_as_others_are() -> None:
    confirmed = replace(NEW, **SUSPECT, confirmed="it is right")
    assert "newest good point" in str(_refusal(confirmed, OLD))
    assert _refusal(OLD, confirmed) is None


def test_a_point_that_is_not_there_may_go_only_when_it_is_there_nowhere() -> None:
    assert guard(NEW, DeletionContext((NEW, OLD), None)) is not None
    assert _refusal(NEW, OLD, missing={"primary", "dr"}) is None
    assert "newest good point" in str(_refusal(NEW, OLD, missing={"primary"}))
