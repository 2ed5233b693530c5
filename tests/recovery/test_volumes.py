"""What a restore of volumes decides. Pure."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from chalicelib.aws.ec2 import Volume
from chalicelib.catalog.recovery_point import SnapshotRef
from chalicelib.jobs.decision import Children, Do, Fail, Finish, Wait
from chalicelib.jobs.job import ADOPTION_GRACE, LOST_EVENT_AFTER, AnyJob, Budget, JobKind, JobRequest
from chalicelib.jobs.work import VolumeRestoreWork
from chalicelib.recovery.volumes import (
    Create,
    Note,
    OpenParts,
    VolumeProgress,
    VolumeRestore,
    VolumeRestoreObservation,
)
from tests.jobs.made import JUST_NOW, LONG_AGO, NONE, NOON, SECOND, Says, failed, job_of, part_of

RESTORE = VolumeRestore(NONE, NONE)
ONE, TWO = SnapshotRef("snap-1", "vol-1", 1), SnapshotRef("snap-2", "vol-2", 1)
BOTH = {"snap-1": "vol-a", "snap-2": "vol-b"}


def _job(**progress: Any) -> AnyJob:
    """Return a restore that is so far; what it made, it made at noon."""
    work = VolumeRestoreWork("rp-1", "primary", "eu-central-1", "eu-central-1a")
    request = JobRequest(
        JobKind.RESTORE, "volume", "s", "p", "r", NOON, ("rp-1",), work, "a test asks for it"
    )
    return job_of(request, VolumeProgress(**{"made_at": NOON, **progress}))


def _seen(**states: str) -> VolumeRestoreObservation:
    """Show volumes in these states: `a="creating"` is vol-a."""
    volumes = {
        f"vol-{name}": Volume(f"vol-{name}", state, "eu-central-1a", 1, "gp3", {}, None)
        for name, state in states.items()
    }
    return VolumeRestoreObservation((ONE, TWO), volumes)


def _seen_unseen(volume: str, snapshot: str) -> VolumeRestoreObservation:
    """Show a volume that was made of a snapshot and recorded nowhere."""
    made = Volume(volume, "available", "eu-central-1a", 1, "gp3", {}, snapshot, created_at=NOON)
    return VolumeRestoreObservation((ONE, TWO), {volume: made})


def _creating(ref: SnapshotRef, said: str, *, last: bool) -> Do[Create]:
    return Do(Create(ref, last), said, budget=Budget("CreateVolume", "eu-central-1"))


@pytest.mark.parametrize(
    ("made", "seen", "expected"),
    [
        pytest.param(
            {},
            _seen(),
            _creating(ONE, "making volume 1 of 2, of snap-1", last=False),
            id="nothing is made yet",
        ),
        pytest.param(
            {"snap-1": "vol-a"},
            _seen(a="error"),
            _creating(TWO, "making volume 2 of 2, of snap-2", last=True),
            id="the last one is made before any is judged",
        ),
        pytest.param(
            {"snap-2": "vol-b"},
            _seen(b="available"),
            _creating(ONE, "making volume 1 of 2, of snap-1", last=True),
            id="the last one need not be the last of the point",
        ),
        pytest.param(
            BOTH,
            _seen(a="creating", b="available"),
            Wait(NOON + LOST_EVENT_AFTER, "waiting for vol-a"),
            id="a volume is being made",
        ),
        pytest.param(
            BOTH,
            _seen(a="available", b="in-use"),
            Finish("restored vol-a, vol-b"),
            id="all are available, or attached already",
        ),
    ],
)
def test_the_way_forward(made: Mapping[str, str], seen: VolumeRestoreObservation, expected: Any) -> None:
    assert RESTORE.decide(_job(made=made), seen, NOON) == expected


@pytest.mark.parametrize(
    ("seen", "after", "expected"),
    [
        pytest.param(
            _seen(a="error", b="creating"),
            JUST_NOW,
            Fail("EC2 could not make vol-a"),
            id="an error does not wait",
        ),
        pytest.param(
            _seen(a="deleting", b="deleted"),
            JUST_NOW,
            Fail("EC2 could not make vol-a, vol-b"),
            id="EC2 takes away what it cannot decrypt",
        ),
        pytest.param(
            _seen(a="available"),
            ADOPTION_GRACE - SECOND,
            Wait(NOON + ADOPTION_GRACE - SECOND + LOST_EVENT_AFTER, "waiting for vol-b"),
            id="a volume is not visible yet",
        ),
        pytest.param(
            _seen(a="available"),
            ADOPTION_GRACE,
            Fail("EC2 could not make vol-b"),
            id="a volume is gone for good",
        ),
        pytest.param(
            _seen(a="creating", b="creating"),
            LONG_AGO,
            Wait(NOON + LONG_AGO + LOST_EVENT_AFTER, "waiting for vol-a, vol-b"),
            id="volumes that take long are waited for",
        ),
    ],
)
def test_volumes_that_do_not_come_to_be(seen: VolumeRestoreObservation, after: Any, expected: Any) -> None:
    assert RESTORE.decide(_job(made=BOTH), seen, NOON + after) == expected


@pytest.mark.parametrize(
    "job", [pytest.param(_job(), id="a restore"), pytest.param(part_of(_job(), 0), id="a part of one")]
)
def test_a_restore_of_nothing_does_not_end_well(job: AnyJob) -> None:
    assert RESTORE.decide(job, VolumeRestoreObservation(), NOON) == Fail("primary holds no snapshots of rp-1")


@pytest.mark.parametrize(
    ("opened", "children", "expected"),
    [
        pytest.param(
            0, Children(), Do(OpenParts(0, 30), "opened 0 of 40 parts"), id="as many as fit at once"
        ),
        pytest.param(
            30,
            Children({"part-0": "OPEN"}),
            Do(OpenParts(30, 10), "opened 30 of 40 parts"),
            id="the rest, while the first are under way",
        ),
        pytest.param(
            40,
            Children({"part-0": "COMPLETED", "part-1": "OPEN"}),
            Wait(NOON + LOST_EVENT_AFTER, "1 of 40 parts are under way"),
            id="some are under way",
        ),
        pytest.param(
            30,
            Children({"part-0": "OPEN", "part-1": "FAILED"}, {"part-1": "no key"}),
            Fail("part-1: no key"),
            id="one failed",
        ),
        pytest.param(
            40, Children({"part-1": "CANCELLED"}), Fail("part-1: it was not made"), id="one was cancelled"
        ),
        pytest.param(
            40,
            Children({"part-0": "COMPLETED", "part-1": "COMPLETED"}),
            Finish(Says("restored 40 parts")),
            id="all are made",
        ),
    ],
)
def test_a_large_restore_is_made_in_parts(opened: int, children: Children, expected: Any) -> None:
    seen = VolumeRestoreObservation(parts=40, children=children)
    assert RESTORE.decide(_job(parts_opened=opened), seen, NOON) == expected


@pytest.mark.parametrize(
    ("made", "seen", "ago", "expected"),
    [
        pytest.param(
            {},
            _seen(),
            JUST_NOW,
            Wait(NOON + ADOPTION_GRACE, "it failed; looking for volumes whose answer was lost"),
            id="a volume may have been made unseen",
        ),
        pytest.param(
            {"snap-1": "vol-a"},
            _seen_unseen("vol-b", "snap-2"),
            LONG_AGO,
            Do(Note(BOTH), "noting the volumes that were made"),
            id="one made unseen is noted",
        ),
        pytest.param(
            {},
            _seen_unseen("vol-x", "snap-x"),
            LONG_AGO,
            Do(Note({}), "noting the volumes that were made"),
            id="one of another snapshot is not",
        ),
        pytest.param(
            BOTH, _seen(), JUST_NOW, Do(Note(BOTH), "noting the volumes that were made"), id="all are known"
        ),
    ],
)
def test_volumes_made_unseen_are_looked_for(
    made: Mapping[str, str], seen: VolumeRestoreObservation, ago: timedelta, expected: Any
) -> None:
    assert RESTORE.clean_up(failed(_job(made=made)), seen, NOON + ago) == expected


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        pytest.param({}, "it failed", id="nothing was made"),
        pytest.param(
            BOTH, "it failed; made before that and left there: vol-a, vol-b", id="volumes stay, and are named"
        ),
    ],
)
def test_cleaning_up(made: Mapping[str, str], expected: str) -> None:
    job = failed(_job(made=made, looked=True))
    assert RESTORE.clean_up(job, _seen(), NOON) == Finish(expected)
    assert RESTORE.leftovers(job) == tuple(made.values())
    assert RESTORE.abandon(job, NOON) == ()
