"""In which order the engine decides: what a job has to end for goes before what its kind would do next.

The catalog and the queue are one small stand-in here, which notes what is asked of it; the engine's
transactions have stories of their own, against the local cloud.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from chalicelib.catalog.store.writes import Write
from chalicelib.errors import Conflict, FarshoreError, Unavailable
from chalicelib.jobs.backoff import GIVE_UP_AFTER_ATTEMPTS
from chalicelib.jobs.decision import Children, Cleaning, Decision, Do, Fail, Finish, Wait
from chalicelib.jobs.engine import (
    CHILDREN_LOOK,
    CLEANING_ENDS_AFTER,
    GIVE_UP_AFTER_DEAD_WORKERS,
    POKE_MAY_TAKE,
    Engine,
)
from chalicelib.jobs.job import AnyJob, Failure, JobId, JobKind, JobState
from chalicelib.jobs.opening import Opener
from chalicelib.jobs.queues import JobQueue
from chalicelib.jobs.store import Lease
from tests.jobs.made import HOUR, JUST_NOW, MINUTE, NONE, NOON, SECOND, Says, copy_job, point_in

LATER = NOON + timedelta(days=9)
DAY = timedelta(days=1)
FAILURE = Failure("no key", JobState.FAILED, NOON)
CANCELLED = Failure("enough", JobState.CANCELLED, NOON)


class _Kind:
    """A kind of job that decides what a row says, and notes that it was asked."""

    def __init__(
        self, notes: list[str], decides: Decision[Any] | FarshoreError, cleans: Cleaning[Any], sees: bool
    ) -> None:
        self.notes, self.decides, self.cleans, self.sees = notes, decides, cleans, sees

    def observe(self, job: AnyJob, children: Children) -> None:
        if not self.sees:
            self.notes.append("see nothing")
            raise Unavailable("no answer")

    def decide(self, job: AnyJob, seen: None, now: datetime) -> Decision[Any]:
        self.notes.append("decide")
        if isinstance(self.decides, FarshoreError):
            raise self.decides
        return self.decides

    def clean_up(self, job: AnyJob, seen: None, now: datetime) -> Cleaning[Any]:
        self.notes.append("clean up")
        return self.cleans

    def leftovers(self, job: AnyJob) -> tuple[str, ...]:
        return ("snap-1",)

    def abandon(self, job: AnyJob, now: datetime) -> tuple[Write, ...]:
        return (Write(("points", "rp-1"), sets={"state": "FAILED"}),)


class _Catalog:
    """The job store, the table and the queue of one job: notes what is stored, in order."""

    def __init__(self, job: AnyJob, children: Children, dead_workers: int) -> None:
        self.job, self.of_job, self.dead_workers = job, children, dead_workers
        self.notes: list[str] = []
        self.told: list[str] = []
        self.poked: list[str | None] = []
        self.wake_at = NOON

    def lease(self, job_id: str, *, now: datetime, until: datetime) -> Lease:
        return Lease(self.job, "token", until, self.dead_workers)

    def children(self, job_id: str) -> Children:
        return self.of_job

    def saving(self, lease: Lease, job: AnyJob) -> Write:
        return self._stored(job, f"save {job.failure.outcome if job.failure else ''}")

    def parking(self, lease: Lease, job: AnyJob, wake_at: datetime) -> Write:
        self.wake_at = wake_at
        return self._stored(job, "park")

    def finishing(self, lease: Lease, job: AnyJob, now: datetime) -> list[Write]:
        return [self._stored(job, f"end {job.state}")]

    def _stored(self, job: AnyJob, note: str) -> Write:
        return Write(("job", note), put={"job": job})

    def commit(self, writes: Sequence[Write]) -> tuple[Write, ...]:
        assert len(self.notes) < 9, f"the job goes round in circles: {self.notes}"
        for write in writes:
            match write.key, write.put:
                case ("job", note), {"job": job}:
                    self.job = job
                    self.notes.append(note)
                case ("points", _), None:
                    self.notes.append("abandon")
        return ()

    def cancel(self, job_id: str, reason: str) -> bool:
        self.notes.append(f"cancel {job_id}")
        self.told.append(reason)
        return True

    def poke(self, job_id: str, delay: timedelta = JUST_NOW, queue: str | None = None) -> None:
        self.poked.append(queue)

    def poke_at(self, by_delay: object) -> None:
        """Poke nobody."""


def _job(**more: Any) -> AnyJob:
    return copy_job(point_in(), "object", None, **{"pins": (), "reason": "a test asks", **more})


def _advanced(
    job: AnyJob,
    *,
    after: timedelta = JUST_NOW,
    children: Children | None = None,
    decides: Decision[Any] | FarshoreError | None = None,
    cleans: Cleaning[Any] | None = None,
    dead_workers: int = 0,
    sees: bool = True,
    on: JobQueue = JobQueue.JOBS,
) -> _Catalog:
    """Advance a job once, so long after noon, and return what was stored of it."""
    now, catalog = NOON + after, _Catalog(job, children or Children(), dead_workers)
    kind: Any = _Kind(catalog.notes, decides or Wait(LATER, "pending"), cleans or Finish("no key"), sees)
    parts: Any = catalog
    kinds = {(job.kind, job.method): kind}
    engine = Engine(
        parts,
        parts,
        NONE,
        NONE,
        NONE,
        parts,
        lambda: now,
        kinds,
        Opener(parts, parts, NONE, parts, lambda: now, kinds),
    )
    engine.advance(job.id, now + 5 * MINUTE, on)
    return catalog


FAILS = ["save FAILED", "clean up", "end FAILED"]
IS_CANCELLED = ["save CANCELLED", "clean up", "end CANCELLED"]


@pytest.mark.parametrize(
    ("job", "after", "expected"),
    [
        pytest.param(_job(), JUST_NOW, ["decide", "park"], id="it goes on"),
        pytest.param(_job(), DAY - SECOND, ["decide", "park"], id="its deadline is near"),
        pytest.param(_job(), DAY, FAILS, id="its deadline is over"),
        pytest.param(_job(cancel="enough"), JUST_NOW, IS_CANCELLED, id="it is cancelled"),
        pytest.param(
            _job(cancel="enough"),
            DAY,
            IS_CANCELLED,
            id="a cancel goes before the deadline",
        ),
        pytest.param(_job(failure=FAILURE), JUST_NOW, ["clean up", "end FAILED"], id="it has failed"),
        pytest.param(
            _job(failure=FAILURE, cancel="enough"),
            JUST_NOW,
            ["clean up", "end FAILED"],
            id="a failure is not taken back by a cancel",
        ),
        pytest.param(
            _job(failure=CANCELLED, deadline=NOON),
            HOUR,
            ["clean up", "end CANCELLED"],
            id="a cancel is not taken back by the deadline",
        ),
        pytest.param(
            _job(failure=FAILURE),
            CLEANING_ENDS_AFTER - SECOND,
            ["clean up", "end FAILED"],
            id="its time for cleaning is nearly over",
        ),
        pytest.param(
            _job(failure=FAILURE),
            CLEANING_ENDS_AFTER,
            ["end FAILED", "abandon"],
            id="its time for cleaning is over",
        ),
    ],
)
def test_what_goes_first(job: AnyJob, after: timedelta, expected: list[str]) -> None:
    assert _advanced(job, after=after).notes == expected


@pytest.mark.parametrize(
    ("job", "after", "states", "expected"),
    [
        pytest.param(
            _job(children=2),
            JUST_NOW,
            {"part-1": "OPEN"},
            ["decide", "park"],
            id="parts of a job that goes on are its kind's affair",
        ),
        pytest.param(
            _job(children=3, failure=FAILURE),
            JUST_NOW,
            {"part-1": "COMPLETED", "part-2": "OPEN", "part-3": "OPEN"},
            ["cancel part-2", "cancel part-3", "park"],
            id="parts that are not over are ended first",
        ),
        pytest.param(
            _job(children=2, failure=FAILURE),
            JUST_NOW,
            {"part-1": "COMPLETED", "part-2": "FAILED"},
            ["clean up", "end FAILED"],
            id="all parts are over",
        ),
        pytest.param(
            _job(children=1, cancel="enough"),
            JUST_NOW,
            {"part-1": "OPEN"},
            ["save CANCELLED", "cancel part-1", "park"],
            id="a cancel is recorded before it reaches the parts",
        ),
        pytest.param(
            _job(children=1, failure=FAILURE),
            2 * CLEANING_ENDS_AFTER,
            {"part-1": "OPEN"},
            ["cancel part-1", "park"],
            id="the end of cleaning waits for the parts, which all end",
        ),
        pytest.param(
            _job(children=1, failure=FAILURE),
            2 * CLEANING_ENDS_AFTER - SECOND,
            {"part-1": "CANCELLED"},
            ["clean up", "end FAILED"],
            id="what the parts took does not shorten its time for cleaning",
        ),
        pytest.param(
            _job(children=1, failure=FAILURE),
            2 * CLEANING_ENDS_AFTER,
            {"part-1": "CANCELLED"},
            ["end FAILED", "abandon"],
            id="its time for cleaning is over",
        ),
    ],
)
def test_a_job_with_parts(job: AnyJob, after: timedelta, states: dict[str, str], expected: list[str]) -> None:
    assert _advanced(job, after=after, children=Children(states)).notes == expected


@pytest.mark.parametrize(
    ("decides", "expected"),
    [
        pytest.param(Finish("2 snapshots"), ["decide", "end COMPLETED"], id="it is done"),
        pytest.param(
            Fail("no key"),
            ["decide", *FAILS],
            id="a failure is recorded before any cleaning",
        ),
        pytest.param(
            Conflict("no such key"),
            ["decide", *FAILS],
            id="an error for good is a failure",
        ),
        pytest.param(Unavailable("no answer"), ["decide", "park"], id="an error that passes is waited out"),
    ],
)
def test_what_a_kind_decides(decides: Any, expected: list[str]) -> None:
    assert _advanced(_job(), decides=decides).notes == expected


def test_an_error_that_does_not_pass_is_a_failure_in_the_end() -> None:
    catalog = _advanced(_job(attempts=GIVE_UP_AFTER_ATTEMPTS), decides=Unavailable("no answer"))
    assert catalog.notes == ["decide", "save FAILED", "park"]
    assert catalog.job.reason == Says("no answer")


def test_a_cleaning_that_has_to_wait_is_gone_on_with_later() -> None:
    catalog = _advanced(_job(failure=FAILURE), cleans=Wait(LATER, "an AMI uses it"))
    assert catalog.notes == ["clean up", "park"]
    assert (catalog.job.state, catalog.job.failure) == (JobState.RUNNING, FAILURE)
    assert catalog.wake_at == LATER + POKE_MAY_TAKE


@pytest.mark.parametrize(
    ("job", "after", "expected"),
    [
        pytest.param(_job(), JUST_NOW, ["see nothing", "park"], id="it goes on"),
        pytest.param(_job(), DAY, ["save FAILED", "see nothing", "park"], id="its deadline is over"),
        pytest.param(
            _job(cancel="enough"), JUST_NOW, ["save CANCELLED", "see nothing", "park"], id="it is cancelled"
        ),
        pytest.param(_job(failure=FAILURE), JUST_NOW, ["see nothing", "park"], id="it has failed"),
        pytest.param(
            _job(failure=FAILURE),
            CLEANING_ENDS_AFTER,
            ["end FAILED", "abandon"],
            id="its time for cleaning is over",
        ),
    ],
)
def test_a_job_whose_world_cannot_be_seen(job: AnyJob, after: timedelta, expected: list[str]) -> None:
    assert _advanced(job, after=after, sees=False).notes == expected


@pytest.mark.parametrize(
    ("job", "dead_workers", "expected"),
    [
        pytest.param(_job(), GIVE_UP_AFTER_DEAD_WORKERS - 1, ["decide", "park"], id="some died over it"),
        pytest.param(_job(), GIVE_UP_AFTER_DEAD_WORKERS, FAILS, id="too many died over it"),
        pytest.param(
            _job(cancel="enough"),
            GIVE_UP_AFTER_DEAD_WORKERS,
            FAILS,
            id="that goes before a cancel",
        ),
        pytest.param(
            _job(failure=FAILURE),
            GIVE_UP_AFTER_DEAD_WORKERS,
            ["clean up", "end FAILED"],
            id="it had failed before",
        ),
        pytest.param(
            _job(failure=FAILURE),
            2 * GIVE_UP_AFTER_DEAD_WORKERS,
            ["end FAILED", "abandon"],
            id="they died cleaning up, too",
        ),
        pytest.param(
            _job(),
            2 * GIVE_UP_AFTER_DEAD_WORKERS,
            ["save FAILED", "end FAILED", "abandon"],
            id="they died over recording the failure",
        ),
    ],
)
def test_a_job_over_which_workers_die(job: AnyJob, dead_workers: int, expected: list[str]) -> None:
    assert _advanced(job, dead_workers=dead_workers).notes == expected


def test_a_job_whose_cleaning_kills_its_workers_waits_for_no_part() -> None:
    job, dead_workers = _job(children=1, failure=FAILURE), 2 * GIVE_UP_AFTER_DEAD_WORKERS
    catalog = _advanced(job, children=Children({"part-1": "OPEN"}), dead_workers=dead_workers)
    assert catalog.notes == ["end FAILED", "abandon"]


@pytest.mark.parametrize(
    ("job", "after", "expected"),
    [
        pytest.param(
            _job(),
            DAY,
            Failure(
                "not done by its deadline, 2026-11-02 12:00 UTC; last: a test asks",
                JobState.FAILED,
                NOON + DAY,
            ),
            id="the deadline, and what was last",
        ),
        pytest.param(
            _job(cancel="enough"),
            HOUR,
            Failure("enough", JobState.CANCELLED, NOON + HOUR),
            id="what the operator said",
        ),
        pytest.param(_job(failure=FAILURE, cancel="enough"), HOUR, FAILURE, id="the first reason stays"),
    ],
)
def test_the_failure_that_is_recorded(job: AnyJob, after: timedelta, expected: Failure) -> None:
    assert _advanced(job, after=after).job.failure == expected


def test_of_two_failures_the_first_is_the_jobs() -> None:
    assert _job().failed("no key", NOON).failed("nor a lock", LATER, JobState.CANCELLED).failure == FAILURE


def test_what_could_not_be_cleaned_up_is_named() -> None:
    ended = _advanced(_job(failure=FAILURE), after=CLEANING_ENDS_AFTER).job
    assert ended.reason == "no key; could not clean up, these are left: snap-1"
    assert ended.left == ("snap-1",)


def test_parts_are_told_what_they_end_for_and_are_looked_at_again() -> None:
    children = Children({"part-1": "OPEN", "part-2": "OPEN"})
    job = _job(children=2, failure=FAILURE)
    catalog = _advanced(job, children=children)
    assert catalog.told == [f"{job.id} ends: no key"] * 2
    assert catalog.job.reason == "no key; waiting for 2 parts to end"
    assert catalog.wake_at == NOON + CHILDREN_LOOK + POKE_MAY_TAKE


MAKES, DELETES = Do("copy it", "copying"), Do("delete it", "deleting", deletes=True)
SOON = Wait(NOON + MINUTE, "pending")


@pytest.mark.parametrize(
    ("job", "decides", "on", "poked"),
    [
        pytest.param(_job(), DELETES, JobQueue.JOBS, "deletions", id="a copy that was made twice"),
        pytest.param(_job(failure=FAILURE), DELETES, JobQueue.JOBS, "deletions", id="a copy that failed"),
        pytest.param(_job(), MAKES, JobQueue.DELETIONS, "jobs", id="it goes on when all is deleted"),
        pytest.param(_job(kind=JobKind.EXPIRE), MAKES, JobQueue.JOBS, "deletions", id="its kind deletes"),
        pytest.param(_job(), SOON, JobQueue.JOBS, "jobs", id="who waits stays with the worker"),
        pytest.param(_job(failure=FAILURE), SOON, JobQueue.DELETIONS, "deletions", id="there as well"),
    ],
)
def test_a_job_is_handed_to_the_worker_that_may_take_its_step(
    job: AnyJob, decides: Any, on: JobQueue, poked: str
) -> None:
    catalog = _advanced(job, decides=decides, cleans=decides, on=on)
    assert catalog.notes == ["clean up" if job.failure else "decide", "park"]
    assert catalog.poked == [poked]


def test_a_job_that_deletes_is_not_even_looked_at_by_the_worker_that_makes() -> None:
    catalog = _advanced(_job(id=JobId("expire-1"), kind=JobKind.EXPIRE), decides=DELETES)
    assert (catalog.notes, catalog.poked) == ([], [None])
