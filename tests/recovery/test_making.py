"""Which volumes a job has made without hearing of it. Pure."""

from datetime import datetime, timedelta

import pytest

from chalicelib.aws.ec2 import Volume
from chalicelib.catalog.recovery_point import SnapshotRef
from chalicelib.jobs.job import ADOPTION_GRACE
from chalicelib.recovery.making import made_unseen, state_of
from tests.jobs.made import NOON, SECOND, copy_job, point_in

REFS = (SnapshotRef("snap-1", "vol-1", 1), SnapshotRef("snap-2", "vol-2", 1))


def _volume(id: str, snapshot: str, created_at: datetime | None = NOON) -> Volume:
    return Volume(id, "available", "eu-central-1a", 1, "gp3", {}, snapshot, created_at=created_at)


@pytest.mark.parametrize(
    ("tagged", "expected"),
    [
        pytest.param(
            [_volume("vol-b", "snap-2")], {"snap-2": "vol-b"}, id="one of a snapshot that is wanted"
        ),
        pytest.param([_volume("vol-b", "snap-1")], {}, id="one of a snapshot whose volume is known"),
        pytest.param([_volume("vol-b", "snap-9")], {}, id="one of another snapshot"),
        pytest.param(
            [_volume("vol-b", "snap-2", NOON - timedelta(minutes=1))], {}, id="one older than the job"
        ),
        pytest.param([_volume("vol-b", "snap-2", None)], {}, id="one whose age is not shown"),
        pytest.param([_volume("vol-b", "snap-2"), _volume("vol-c", "snap-2")], {}, id="two: one is forged"),
    ],
)
def test_a_tag_alone_proves_no_volume(tagged: list[Volume], expected: dict[str, str]) -> None:
    job = copy_job(point_in("primary"), "object", None)
    assert made_unseen(job, REFS, {"snap-1": "vol-a"}, tagged) == expected


@pytest.mark.parametrize(
    ("volume", "after", "expected"),
    [
        (_volume("vol-a", "snap-1"), ADOPTION_GRACE, "available"),
        (None, ADOPTION_GRACE - SECOND, "not visible yet"),
        (None, ADOPTION_GRACE, "gone"),
    ],
)
def test_a_volume_that_is_not_shown_is_gone_after_a_while(
    volume: Volume | None, after: timedelta, expected: str
) -> None:
    assert state_of(volume, NOON, NOON + after) == expected
