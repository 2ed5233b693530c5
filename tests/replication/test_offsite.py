"""What a copy of a service backup into another cloud decides. Pure."""

from dataclasses import replace
from typing import Any

import pytest

from chalicelib.catalog.recovery_point import PointState, RecoveryPoint, Segments
from chalicelib.jobs.decision import Do, Fail, Finish
from chalicelib.jobs.job import AnyJob
from chalicelib.replication.offsite import SegmentCopy, SegmentCopyProgress, SendSegments, WriteManifest
from chalicelib.vaults.layout import MIB, Segment
from tests.jobs.made import MINUTE, NONE, NOON, Says, copy_job, failed, point_in
from tests.replication.made import FILE, IN_DR, LOCK, NOTHING_TO_COPY, made, not_made, original

COPY = SegmentCopy(NONE, NONE, NONE, NONE, NONE)
POINT = replace(point_in("primary", **FILE), size_bytes=40 * MIB)
EXPIRED = point_in("primary", **FILE, state=PointState.EXPIRED)
SOURCE = POINT.artefacts["primary"]
PLAN = (Segment(1, 0, 16 * MIB), Segment(2, 16 * MIB, 16 * MIB), Segment(3, 32 * MIB, 8 * MIB))
DESCRIBED = SegmentCopyProgress(3, NOON - MINUTE)


def _job(progress: SegmentCopyProgress) -> AnyJob:
    return copy_job(POINT, "segments", progress)


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        pytest.param(
            SegmentCopyProgress(),
            Do(SendSegments(SOURCE, PLAN), "sending segment 1 of 3", locks=(LOCK,)),
            id="nothing is sent yet",
        ),
        pytest.param(
            SegmentCopyProgress(sent=2),
            Do(SendSegments(SOURCE, PLAN[2:]), "sending segment 3 of 3", locks=(LOCK,)),
            id="two segments of three are sent",
        ),
        pytest.param(
            SegmentCopyProgress(sent=3),
            Do(WriteManifest(SOURCE), "writing the manifest"),
            id="all segments are sent",
        ),
        pytest.param(
            DESCRIBED,
            made(
                POINT,
                "41,943,040 bytes in 3 segments",
                content=Segments(segment_count=3, sha256="a5", parts_sha256="b6"),
                verified_at=NOON - MINUTE,
            ),
            id="the manifest is written",
        ),
    ],
)
def test_the_way_forward(progress: SegmentCopyProgress, expected: Any) -> None:
    assert COPY.decide(_job(progress), original(POINT), NOON) == expected


def test_a_copy_that_is_not_there_any_more_is_not_recorded() -> None:
    seen = replace(original(POINT), fault="dr:primary/data has disappeared since it was read back")
    assert COPY.decide(_job(DESCRIBED), seen, NOON) == Fail(
        "dr:primary/data has disappeared since it was read back"
    )


@pytest.mark.parametrize(("point", "expected"), NOTHING_TO_COPY)
@pytest.mark.parametrize("progress", [SegmentCopyProgress(), DESCRIBED], ids=["new", "described"])
def test_there_is_nothing_to_copy(point: RecoveryPoint, progress: SegmentCopyProgress, expected: Any) -> None:
    assert COPY.decide(_job(progress), original(point), NOON) == expected


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        pytest.param(POINT, not_made(POINT), id="the lifecycle finds what it left"),
        pytest.param(EXPIRED, not_made(EXPIRED), id="the original was let go"),
        pytest.param(point_in(), not_made(point_in()), id="there is no original"),
        pytest.param(
            IN_DR, Finish(Says("it failed")), id="the point is there by another job's work, which stays"
        ),
    ],
)
def test_cleaning_up(point: RecoveryPoint, expected: Finish) -> None:
    job = failed(_job(SegmentCopyProgress(sent=2)))
    assert COPY.clean_up(job, original(point), NOON) == expected
    assert COPY.leftovers(job) == ()
