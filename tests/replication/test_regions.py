"""What a copy of snapshots decides. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.aws.ec2 import Snapshot
from chalicelib.catalog.recovery_point import RecoveryPoint, SnapshotRef, SnapshotSet
from chalicelib.catalog.store import points
from chalicelib.jobs.decision import Children, Do, Fail, Finish, Wait
from chalicelib.jobs.handler import Turn
from chalicelib.jobs.job import ADOPTION_GRACE, LOST_EVENT_AFTER, AnyJob, Budget
from chalicelib.jobs.removal import Removal
from chalicelib.replication.regions import (
    Adopt,
    Copy,
    Delete,
    Destination,
    DropShard,
    OpenParts,
    Release,
    SnapshotCopy,
    SnapshotCopyObservation,
    SnapshotCopyProgress,
    WriteManifest,
)
from tests.jobs.made import (
    HOUR,
    LONG_AGO,
    MINUTE,
    NONE,
    NOON,
    SECOND,
    Says,
    copy_job,
    failed,
    intended,
    part_of,
    point_in,
    refused,
)
from tests.replication.made import IN_DR, LOCK, NOTHING_TO_COPY, made, not_made, original

COPY = SnapshotCopy(NONE, lambda vault: Destination("eu-west-1", None, NONE, NONE))

ONE, TWO = SnapshotRef("snap-1", "vol-1", 1), SnapshotRef("snap-2", "vol-2", 1)
POINT = point_in("primary", content=SnapshotSet("eu-central-1", 2, (ONE, TWO)))
LARGE = point_in("primary", content=SnapshotSet("eu-central-1", 400, shards=40))
LARGE_IN_DR = point_in(
    "primary", "dr", content=SnapshotSet("eu-central-1", 400, shards=40)
)  # by another job's work
SOURCE, SHARDED = POINT.artefacts["primary"], LARGE.artefacts["primary"]
BOTH = {"snap-1": "copy-1", "snap-2": "copy-2"}
INTENT = intended("CopySnapshot of snap-1")


def _job(*, point: RecoveryPoint = POINT, job: Mapping[str, Any] | None = None, **progress: Any) -> AnyJob:
    """Return a copy that is so far; what it made, it made at noon. `job` is the engine's."""
    return copy_job(point, "snapshot", SnapshotCopyProgress(**{"made_at": NOON, **progress}), **(job or {}))


def _shown(id: str, state: str = "completed", **more: Any) -> Snapshot:
    return Snapshot(id, "vol-ffffffff", state, "", 1, **{"started_at": NOON, "tags": {}, **more})


def _copies(**states: str) -> dict[str, Snapshot]:
    """Show copies in these states: `one="pending"` is that of the first snapshot."""
    ids = {"one": "copy-1", "two": "copy-2"}
    return {ids[which]: _shown(ids[which], state) for which, state in states.items()}


def _candidate(id: str = "copy-1", source: str = "snap-1", **more: Any) -> Snapshot:
    described = f"{_job().mark(f'CopySnapshot of {source}')} {source} of eu-central-1, {POINT.id}"
    return _shown(id, "pending", **{"description": described, **more})


def _seen(
    point: RecoveryPoint = POINT, refs: tuple[SnapshotRef, ...] = (ONE, TWO), **more: Any
) -> SnapshotCopyObservation:
    return SnapshotCopyObservation(original(point), refs, **more)


def _large(*states: str, **more: Any) -> SnapshotCopyObservation:
    """Show a point of 40 parts of which so many are opened, in these states."""
    children = {f"copy-part{number}": state for number, state in enumerate(states)}
    return _seen(LARGE, (), children=Children(children, **more))


def _copying(ref: SnapshotRef, *, last: bool, locks: tuple[str, ...] = (LOCK,)) -> Do[Copy]:
    return Do(
        Copy(ref, "eu-central-1", last),
        Says(f"copying {ref.id} into dr"),
        intent=f"CopySnapshot of {ref.id}",
        budget=Budget("CopySnapshot", "eu-west-1"),
        locks=locks,
        slots=(f"eu-west-1/{ref.id}",),
    )


def _deleting(*ids: str, reason: str) -> Do[Delete]:
    return Do(Delete(ids), Says(reason), budget=Budget("DeleteSnapshot", "eu-west-1", len(ids)), deletes=True)


@pytest.mark.parametrize(
    ("job", "seen", "expected"),
    [
        pytest.param(_job(), _seen(), _copying(ONE, last=False), id="nothing is copied yet"),
        pytest.param(
            _job(copies={"snap-1": "copy-1"}),
            _seen(copies=_copies(one="pending")),
            _copying(TWO, last=True),
            id="the last one is copied while others are pending",
        ),
        pytest.param(
            _job(copies=BOTH),
            _seen(copies=_copies(one="completed", two="pending")),
            Wait(NOON + LOST_EVENT_AFTER, Says("1 of 2 copies are pending: copy-2")),
            id="a copy is pending",
        ),
        pytest.param(
            _job(copies=BOTH),
            _seen(copies=_copies(one="completed", two="completed")),
            Do(WriteManifest(SOURCE), "writing the manifest"),
            id="all copies are complete",
        ),
        pytest.param(
            _job(copies=BOTH, described=True),
            _seen(copies=_copies(one="completed", two="completed")),
            made(
                POINT,
                "2 snapshots",
                content=SnapshotSet("eu-west-1", 2, (replace(ONE, id="copy-1"), replace(TWO, id="copy-2"))),
            ),
            id="the manifest is written",
        ),
    ],
)
def test_the_way_forward(job: AnyJob, seen: SnapshotCopyObservation, expected: Any) -> None:
    assert COPY.decide(job, seen, NOON) == expected


@pytest.mark.parametrize(("point", "expected"), NOTHING_TO_COPY)
def test_there_is_nothing_to_copy(point: RecoveryPoint, expected: Any) -> None:
    assert COPY.decide(_job(), _seen(point), NOON) == expected


@pytest.mark.parametrize(
    ("job", "point"),
    [pytest.param(_job(), POINT, id="a copy"), pytest.param(part_of(_job(), 7), LARGE, id="a part")],
)
def test_a_copy_of_nothing_does_not_end_well(job: AnyJob, point: RecoveryPoint) -> None:
    assert COPY.decide(job, _seen(point, ()), NOON) == Fail(f"primary holds no snapshots of {POINT.id}")


@pytest.mark.parametrize(
    ("job", "candidates", "expected"),
    [
        pytest.param(
            _job(job={"intent": INTENT}),
            (),
            Wait(NOON + ADOPTION_GRACE, Says("CopySnapshot of snap-1 may have been called already")),
            id="it may not be visible yet",
        ),
        pytest.param(
            _job(job={"intent": intended("CopySnapshot of snap-1", ADOPTION_GRACE)}),
            (),
            _copying(ONE, last=False),
            id="it was not made",
        ),
        pytest.param(
            _job(job={"intent": INTENT}),
            (_candidate(),),
            Do(Adopt("snap-1", "copy-1", (), NOON), Says("found the copy of snap-1")),
            id="it was made",
        ),
        pytest.param(
            _job(job={"intent": INTENT}),
            (_candidate("copy-a", started_at=NOON + SECOND), _candidate("copy-b")),
            Do(Adopt("snap-1", "copy-b", ("copy-a",), NOON), Says("found")),
            id="it was made twice",
        ),
        pytest.param(
            _job(job={"intent": intended("CopySnapshot of snap-1", LONG_AGO)}),
            (_candidate(started_at=NOON - LONG_AGO),),
            Do(Adopt("snap-1", "copy-1", (), NOON), Says("found")),
            id="it shows late",
        ),
        pytest.param(
            _job(job={"intent": intended("CopySnapshot of snap-2")}),
            (),
            _copying(ONE, last=False),
            id="it was for another snapshot",
        ),
        pytest.param(
            _job(
                copies={"snap-1": "copy-1"},
                job={
                    "intent": intended("CopySnapshot of snap-2"),
                    "slots": (("eu-west-1", "snap-1", "slot#1"),),
                },
            ),
            (),
            Wait(NOON + ADOPTION_GRACE, Says("CopySnapshot of snap-2")),
            id="it is looked for before another's slot is given back",
        ),
    ],
)
def test_a_call_that_may_have_been_made(job: AnyJob, candidates: tuple[Snapshot, ...], expected: Any) -> None:
    seen = _seen(copies=_copies(one="completed"), candidates=candidates)
    assert COPY.decide(job, seen, NOON) == expected


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param({"description": f"farshore copy-1 {'f' * 32} snap-1 of x"}, id="another job's secret"),
        pytest.param({"description": f"farshore {_job().id} snap-1 of x"}, id="no secret"),
        pytest.param({"started_at": NOON - MINUTE}, id="it is older than the intent"),
        pytest.param({"source": "snap-2"}, id="a copy of another snapshot"),
        pytest.param({"source": "snap-10"}, id="a copy of one whose id begins alike"),
        pytest.param({"id": "copy-2"}, id="the job has recorded it as another's copy"),
        pytest.param({"id": "copy-3"}, id="the job has recorded it as one made twice"),
    ],
)
def test_what_cannot_come_from_the_call_is_not_adopted(forged: dict[str, Any]) -> None:
    job = _job(copies={"snap-2": "copy-2"}, spare=("copy-3",), job={"intent": INTENT})
    seen = _seen(candidates=(_candidate(**forged),))
    looking = Wait(NOON + ADOPTION_GRACE, Says("looking for its result"))
    assert COPY.decide(job, seen, NOON) == looking
    assert COPY.clean_up(failed(job), seen, NOON) == looking


@pytest.mark.parametrize(
    ("copies", "after", "expected"),
    [
        pytest.param(
            {**_copies(two="pending"), "copy-1": _shown("copy-1", "error", message="no key")},
            0 * MINUTE,
            Fail("EC2 could not copy snap-1 as copy-1: no key"),
            id="EC2 gives a reason",
        ),
        pytest.param(
            _copies(one="error", two="completed"),
            0 * MINUTE,
            Fail(Says("no reason given")),
            id="EC2 gives none",
        ),
        pytest.param(
            _copies(two="error"), 0 * MINUTE, Fail(Says("could not copy snap-2")), id="an error does not wait"
        ),
        pytest.param(
            _copies(one="completed"),
            ADOPTION_GRACE - SECOND,
            Wait(NOON + ADOPTION_GRACE, "copy-2 is not visible yet"),
            id="a copy is not visible yet",
        ),
        pytest.param(
            _copies(one="completed"),
            ADOPTION_GRACE,
            Fail("copy-2 disappeared before the copy was complete"),
            id="a copy is gone for good",
        ),
    ],
)
def test_copies_that_do_not_come_to_be(copies: dict[str, Snapshot], after: Any, expected: Any) -> None:
    assert COPY.decide(_job(copies=BOTH), _seen(copies=copies), NOON + after) == expected


def test_an_adopted_copy_that_is_gone_for_good_fails_the_copy() -> None:
    job = _job(copies={"snap-2": "copy-2"}, made_at=None, job={"intent": INTENT})
    do = COPY.decide(job, _seen(candidates=(_candidate(),)), NOON)
    assert isinstance(do, Do)
    job = job.went_on(COPY.act(job, do.action, Turn(NOON)).progress, NOON)
    seen = _seen(copies=_copies(two="completed"))
    assert COPY.decide(job, seen, NOON + SECOND) == Wait(NOON + ADOPTION_GRACE, Says("copy-1"))
    assert COPY.decide(job, seen, NOON + LONG_AGO) == Fail(Says("copy-1 disappeared"))


@pytest.mark.parametrize(
    ("held", "copies", "expected"),
    [
        pytest.param(("snap-1",), _copies(one="completed"), ("snap-1",), id="complete"),
        pytest.param(("snap-1",), _copies(one="error"), ("snap-1",), id="in error"),
        pytest.param(
            ("snap-1", "snap-2"), _copies(one="completed", two="error"), ("snap-1", "snap-2"), id="both"
        ),
        pytest.param(
            ("snap-1", "snap-2"), _copies(one="pending", two="completed"), ("snap-2",), id="one of two"
        ),
        pytest.param(("snap-1",), _copies(one="pending", two="completed"), None, id="pending"),
        pytest.param(("snap-1",), _copies(two="completed"), None, id="not visible yet"),
        pytest.param((), _copies(one="completed", two="pending"), None, id="given back before"),
    ],
)
def test_slots_are_given_back_when_their_copies_have_ended(
    held: tuple[str, ...], copies: dict[str, Snapshot], expected: tuple[str, ...] | None
) -> None:
    slots = tuple(("eu-west-1", source, f"slot#{number}") for number, source in enumerate(held))
    decided = COPY.decide(_job(copies=BOTH, job={"slots": slots}), _seen(copies=copies), NOON)
    if expected is None:
        assert isinstance(decided, Wait)
    else:
        assert decided == Do(Release(expected), "giving copy slots back")


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        pytest.param(
            {"spare": ("copy-8", "copy-9")},
            _deleting("copy-8", "copy-9", reason="deleting 2 copies that were made twice"),
            id="they are deleted by their recorded ids",
        ),
        pytest.param(
            {"spare": tuple(f"copy-{number}" for number in range(10, 22))},
            _deleting(*(f"copy-{number}" for number in range(10, 20)), reason="made twice"),
            id="ten at once",
        ),
        pytest.param(
            {"spare": ("copy-8", "copy-9"), "removal": Removal(removed=("copy-8",))},
            _deleting("copy-9", reason="deleting 1 copies"),
            id="one is deleted",
        ),
        pytest.param(
            {"spare": ("copy-9",), "removal": refused("copy-9")},
            Do(WriteManifest(SOURCE), Says("")),
            id="one that is refused holds up nothing",
        ),
        pytest.param(
            {"spare": ("copy-9",), "removal": refused("copy-9", ago=HOUR)},
            _deleting("copy-9", reason="made twice"),
            id="one that was refused is tried again",
        ),
    ],
)
def test_copies_made_twice(progress: dict[str, Any], expected: Any) -> None:
    seen = _seen(copies=_copies(one="completed", two="completed"))
    assert COPY.decide(_job(copies=BOTH, **progress), seen, NOON) == expected


@pytest.mark.parametrize(
    ("job", "seen", "expected"),
    [
        pytest.param(
            _job(), _seen(LARGE), _copying(ONE, last=False, locks=()), id="its parent holds the lock"
        ),
        pytest.param(
            _job(), _seen(LARGE_IN_DR), _copying(ONE, last=False, locks=()), id="the point is in the vault"
        ),
        pytest.param(
            _job(copies=BOTH),
            _seen(LARGE, copies=_copies(one="completed", two="completed")),
            Finish(
                "2 snapshots",
                (
                    points.adding_shard(
                        POINT.id, "dr", 7, (replace(ONE, id="copy-1"), replace(TWO, id="copy-2"))
                    ),
                ),
            ),
            id="it ends with the record of its shard",
        ),
    ],
)
def test_one_part_of_a_large_copy(job: AnyJob, seen: SnapshotCopyObservation, expected: Any) -> None:
    assert COPY.decide(part_of(job, 7), seen, NOON) == expected


@pytest.mark.parametrize(
    ("progress", "seen", "expected"),
    [
        pytest.param(
            {},
            _large(),
            Do(OpenParts(0, 30), "opened 0 of 40 parts", locks=(LOCK,)),
            id="as many as one transaction takes",
        ),
        pytest.param(
            {"parts_opened": 30},
            _large(*["OPEN"] * 30),
            Do(OpenParts(30, 10), "opened 30 of 40 parts", locks=(LOCK,)),
            id="the rest, while the first are under way",
        ),
        pytest.param(
            {"parts_opened": 40},
            _large(*["COMPLETED"] * 37, *["OPEN"] * 3),
            Wait(NOON + LOST_EVENT_AFTER, "3 of 40 parts are under way"),
            id="some are under way",
        ),
        pytest.param(
            {"parts_opened": 30},
            _large("OPEN", "FAILED", reasons={"copy-part1": "no key"}),
            Fail("copy-part1: no key"),
            id="one failed",
        ),
        pytest.param(
            {"parts_opened": 40},
            _large("COMPLETED", "CANCELLED"),
            Fail("copy-part1: it was not made"),
            id="one was cancelled",
        ),
        pytest.param(
            {"parts_opened": 40},
            _large(*["COMPLETED"] * 40),
            Do(WriteManifest(SHARDED), "writing the manifest"),
            id="all are made",
        ),
        pytest.param(
            {"parts_opened": 40, "described": True},
            _large(*["COMPLETED"] * 40),
            made(LARGE, "400 snapshots", content=SnapshotSet("eu-west-1", 400, shards=40)),
            id="the manifest is written",
        ),
    ],
)
def test_a_large_copy_is_made_in_parts(
    progress: dict[str, Any], seen: SnapshotCopyObservation, expected: Any
) -> None:
    assert COPY.decide(_job(point=LARGE, **progress), seen, NOON) == expected


@pytest.mark.parametrize(
    ("job", "seen", "expected"),
    [
        pytest.param(_job(), _seen(), not_made(POINT), id="nothing was made"),
        pytest.param(
            _job(copies=BOTH, spare=("copy-3",)),
            _seen(copies=_copies(one="completed", two="completed"), candidates=(_candidate("copy-4"),)),
            _deleting("copy-1", "copy-2", "copy-3", reason="cleaning up after: copy of"),
            id="what is recorded is deleted and nothing else",
        ),
        pytest.param(
            _job(job={"intent": INTENT}),
            _seen(candidates=(_candidate("copy-a"), _candidate("copy-b"))),
            Do(Adopt("snap-1", "copy-a", ("copy-b",), NOON), Says("cleaning up after")),
            id="what a lost answer made is recorded before it is deleted",
        ),
        pytest.param(
            _job(job={"intent": INTENT}),
            _seen(),
            Wait(NOON + ADOPTION_GRACE, Says("CopySnapshot of snap-1")),
            id="what may have been made is looked for",
        ),
        pytest.param(
            _job(job={"intent": intended("CopySnapshot of snap-1", LONG_AGO)}),
            _seen(),
            not_made(POINT),
            id="what was not made is not looked for any more",
        ),
        pytest.param(
            _job(copies=BOTH, removal=replace(refused("copy-1"), removed=("copy-2",))),
            _seen(),
            Wait(NOON + 2 * MINUTE, Says(f"copy of {POINT.id} into dr: it failed; could not remove 1")),
            id="what was refused waits",
        ),
        pytest.param(
            _job(copies=BOTH, removal=refused("copy-1")),
            _seen(),
            _deleting("copy-2", reason="cleaning up"),
            id="what was refused holds up nothing",
        ),
        pytest.param(
            _job(copies=BOTH, removal=replace(refused("copy-1", ago=HOUR), removed=("copy-2",))),
            _seen(),
            _deleting("copy-1", reason="cleaning up"),
            id="what was refused is tried again",
        ),
        pytest.param(
            _job(copies=BOTH, removal=Removal(removed=("copy-1", "copy-2"))),
            _seen(),
            not_made(POINT),
            id="all is removed",
        ),
        pytest.param(_job(), _seen(point_in()), not_made(point_in()), id="the original is gone, too"),
        pytest.param(
            _job(),
            _seen(IN_DR),
            Finish(Says("it failed")),
            id="the point is there by another job's work, which stays recorded",
        ),
        pytest.param(
            _job(copies=BOTH),
            _seen(IN_DR),
            _deleting("copy-1", "copy-2", reason="cleaning up"),
            id="the job's own copies go all the same",
        ),
        pytest.param(part_of(_job(), 7), _seen(), Finish(Says("it failed")), id="a part records nothing"),
    ],
)
def test_cleaning_up(job: AnyJob, seen: SnapshotCopyObservation, expected: Any) -> None:
    assert COPY.clean_up(failed(job), seen, NOON) == expected


@pytest.mark.parametrize(
    ("progress", "seen", "expected"),
    [
        pytest.param(
            {"parts_opened": 2},
            _seen(LARGE, (replace(ONE, id="copy-1"),)),
            _deleting("copy-1", reason="cleaning up"),
            id="what a part has made is deleted by its record",
        ),
        pytest.param(
            {"parts_opened": 2, "removal": Removal(removed=("copy-1",))},
            _seen(LARGE, (replace(ONE, id="copy-1"),)),
            Do(DropShard(0), Says("cleaning up"), deletes=True),
            id="the record goes last",
        ),
        pytest.param(
            {"parts_opened": 2, "removal": refused("copy-1")},
            _seen(LARGE, (replace(ONE, id="copy-1"),)),
            Do(DropShard(0), Says("cleaning up"), deletes=True),
            id="what is refused is named on the job, and holds up no other part",
        ),
        pytest.param(
            {"parts_opened": 2, "parts_cleaned": 1},
            _seen(LARGE, ()),
            Do(DropShard(1), Says("cleaning up"), deletes=True),
            id="a part that made nothing",
        ),
        pytest.param(
            {"parts_opened": 2, "parts_cleaned": 2}, _seen(LARGE, ()), not_made(LARGE), id="all is gone"
        ),
        pytest.param(
            {}, _seen(LARGE, (ONE,)), not_made(LARGE), id="no part was opened: no record is its own"
        ),
        pytest.param(
            {"parts_opened": 2},
            _seen(LARGE_IN_DR, (replace(ONE, id="copy-1"),)),
            Finish(Says("it failed")),
            id="the records are those of another job's copy, which is good",
        ),
    ],
)
def test_cleaning_up_after_a_large_copy(
    progress: dict[str, Any], seen: SnapshotCopyObservation, expected: Any
) -> None:
    assert COPY.clean_up(failed(_job(point=LARGE, **progress)), seen, NOON) == expected


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        pytest.param({}, (), id="nothing was made"),
        pytest.param(
            {"copies": BOTH, "spare": ("copy-3",), "removal": Removal(removed=("copy-1",))},
            ("copy-2", "copy-3"),
            id="what is recorded and not removed",
        ),
        pytest.param(
            {"parts_opened": 1, "removal": refused("copy-4")},
            ("copy-4", "part 1 of rp-00000000000000000000000000000000"),
            id="what was refused of a part, and the part that is not seen yet",
        ),
    ],
)
def test_what_is_left_is_named(progress: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert COPY.leftovers(failed(_job(**progress))) == expected
