"""What a copy of a service backup into another S3 vault decides. Pure."""

from dataclasses import replace
from typing import Any

import pytest

from chalicelib.catalog.recovery_point import PointState, RecoveryPoint
from chalicelib.jobs.decision import Do, Fail, Finish, Wait
from chalicelib.jobs.job import AnyJob
from chalicelib.jobs.removal import Removal
from chalicelib.replication.objects import (
    Abort,
    BeginUpload,
    CopyObject,
    ObjectCopy,
    ObjectCopyProgress,
    ReadBack,
    WriteManifest,
)
from tests.jobs.made import HOUR, MINUTE, NONE, NOON, Says, copy_job, failed, point_in, refused
from tests.replication.made import FILE, IN_DR, LOCK, NOTHING_TO_COPY, STORED, made, not_made, original

LARGEST = 1_000
COPY = ObjectCopy(NONE, NONE, NONE, NONE, largest_copy=LARGEST)
POINT = replace(point_in("primary", **FILE), size_bytes=LARGEST)
LARGE = replace(POINT, size_bytes=LARGEST + 1)
SOURCE = POINT.artefacts["primary"]
READ: dict[str, Any] = {"whole": True, "parts": 2, "parts_read": 2}


def _job(**progress: Any) -> AnyJob:
    return copy_job(POINT, "object", ObjectCopyProgress(**progress))


@pytest.mark.parametrize(
    ("point", "progress", "expected"),
    [
        pytest.param(
            POINT,
            {},
            Do(CopyObject(SOURCE, LARGEST), "copying 1,000 bytes inside S3", locks=(LOCK,)),
            id="the largest that S3 copies in one call",
        ),
        pytest.param(
            LARGE,
            {},
            Do(BeginUpload("primary/data"), "beginning the upload", locks=(LOCK,)),
            id="a larger one",
        ),
        pytest.param(
            LARGE,
            {"upload": "u1"},
            Do(CopyObject(SOURCE, LARGEST + 1), Says("copying 1,001 bytes"), locks=(LOCK,)),
            id="its upload is begun, or gone on with",
        ),
        pytest.param(
            POINT, {"whole": True}, Do(ReadBack(SOURCE), "reading the copy back"), id="the copy is whole"
        ),
        pytest.param(
            POINT,
            {"whole": True, "parts": 2, "parts_read": 1},
            Do(ReadBack(SOURCE), "reading the copy back"),
            id="one part of two is read",
        ),
        pytest.param(POINT, READ, Do(WriteManifest(SOURCE), "writing the manifest"), id="all parts are read"),
        pytest.param(
            POINT,
            {**READ, "described": True, "etag": "e2", "verified_at": NOON - MINUTE},
            made(
                POINT,
                "1,000 bytes",
                content=replace(STORED, etag="e2"),
                verified_at=NOON - MINUTE,
            ),
            id="the manifest is written",
        ),
    ],
)
def test_the_way_forward(point: RecoveryPoint, progress: dict[str, Any], expected: Any) -> None:
    assert COPY.decide(_job(**progress), original(point), NOON) == expected


def test_a_copy_that_is_not_there_any_more_is_not_recorded() -> None:
    seen = replace(original(POINT), fault="dr:primary/data has disappeared since it was read back")
    assert COPY.decide(_job(**READ, described=True), seen, NOON) == Fail(
        "dr:primary/data has disappeared since it was read back"
    )


@pytest.mark.parametrize(("point", "expected"), NOTHING_TO_COPY)
@pytest.mark.parametrize("progress", [{}, {"upload": "u1"}, READ], ids=["new", "begun", "read back"])
def test_there_is_nothing_to_copy(point: RecoveryPoint, progress: dict[str, Any], expected: Any) -> None:
    assert COPY.decide(_job(**progress), original(point), NOON) == expected


@pytest.mark.parametrize(
    ("point", "progress", "expected"),
    [
        pytest.param(POINT, {}, not_made(POINT), id="nothing was begun"),
        pytest.param(
            LARGE,
            {"upload": "u1"},
            Do(Abort("primary/data", "u1"), "aborting the upload"),
            id="an upload is thrown away",
        ),
        pytest.param(
            LARGE,
            {"upload": "u1", "removal": refused("u1")},
            Wait(NOON + 2 * MINUTE, Says(f"copy of {POINT.id} into dr: it failed; could not remove 1")),
            id="one that was refused waits",
        ),
        pytest.param(
            LARGE,
            {"upload": "u1", "removal": refused("u1", ago=HOUR)},
            Do(Abort("primary/data", "u1"), "aborting the upload"),
            id="one that was refused is tried again",
        ),
        pytest.param(
            LARGE, {"upload": "u1", "removal": Removal(removed=("u1",))}, not_made(LARGE), id="it is gone"
        ),
        pytest.param(
            LARGE, {"upload": "u1", "whole": True}, not_made(LARGE), id="an object is left to the lifecycle"
        ),
        pytest.param(
            point_in("primary", **FILE, state=PointState.EXPIRED),
            {"upload": "u1"},
            Do(Abort("primary/data", "u1"), "aborting the upload"),
            id="the original was let go meanwhile",
        ),
        pytest.param(
            IN_DR,
            {},
            Finish(Says("it failed")),
            id="the point is there by another job's work, which stays",
        ),
    ],
)
def test_cleaning_up(point: RecoveryPoint, progress: dict[str, Any], expected: Any) -> None:
    assert COPY.clean_up(failed(_job(**progress)), original(point), NOON) == expected


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        pytest.param({}, (), id="nothing was begun"),
        pytest.param({"upload": "u1"}, ("u1",), id="an upload"),
        pytest.param({"upload": "u1", "whole": True}, (), id="an upload that became an object"),
        pytest.param({"upload": "u1", "removal": Removal(removed=("u1",))}, (), id="an upload thrown away"),
    ],
)
def test_what_is_left_is_named(progress: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert COPY.leftovers(failed(_job(**progress))) == expected
