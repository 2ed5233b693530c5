"""Advance a job: the one way any job moves. Poking a job is always safe, at any moment and any number of
times.

    lease -> observe -> decide -> (record the intent) -> act -> record -> observe ... -> park or finish

It never waits: what takes time ends in a completion event or a delayed message, which pokes the job again.
What is to be done is decided by a pure function of each kind; this module knows no kind. A worker that dies
leaves a lease that runs out, intents that say what it may have done, and artefacts that carry the job's tag;
the next one goes on from there.
"""

import random
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from chalicelib.catalog.job import Decision, Do, Finish, Job, JobId, JobKind, JobRequest, JobState, Wait
from chalicelib.catalog.recovery_point import PointState
from chalicelib.catalog.store import JobStore, Lease, Lineage, PointStore
from chalicelib.errors import LeaseHeld, Permanent, QuotaReached, Retryable, Throttled
from chalicelib.observability import count, logger

# A shorter wait ends with a delayed message; a longer one is left to reconcile, which comes round as often
# as this.
RECONCILED_EVERY = timedelta(minutes=5)

# How long a message may be under way before reconcile takes it for lost.
POKE_MAY_TAKE = timedelta(minutes=1)

FIRST_BACKOFF = timedelta(seconds=5)
LONGEST_BACKOFF = timedelta(minutes=15)
GIVE_UP_AFTER_ATTEMPTS = 24
# Progress is stored with the next intent, at the end of the turn, or after this: what a dead worker did since
# then is found again or done again, and every act can be.
SAVED_EVERY = timedelta(seconds=5)
# A worker stops taking steps this long before its lease ends.
LAST_SECONDS = timedelta(seconds=5)
GIVE_UP_AFTER_DEAD_WORKERS = 10
# A quota is waited for without end, and looked at again after at most 5 s * 2^6; what frees it pokes the job.
LONGEST_QUOTA_BACKOFF = 6


class Method(Protocol):
    """How one kind of job is done, e.g. a backup by snapshot. `decide` and `give_up` are pure."""

    def observe(self, job: Job) -> Any:
        """Return what the world shows of this job: artefacts by their tag, commands, uploads."""

    def decide(self, job: Job, seen: Any, now: datetime) -> Decision[Any]:
        """Return what to do next, and why."""

    def act(self, job: Job, action: Any, until: datetime) -> Mapping[str, Any]:
        """Carry out an action, stopping before `until`; return what to lay over the job's progress."""

    def give_up(self, job: Job, reason: str, now: datetime) -> Finish:
        """Return how the job ends when it cannot even clean up."""


class Pokes(Protocol):
    """Where pokes are sent: the jobs queue."""

    def poke(self, job_id: str, delay: timedelta = timedelta(0)) -> None:
        """Have the job advanced after `delay` (at most 15 minutes)."""

    def poke_all(self, job_ids: Any) -> None:
        """Have the jobs advanced."""


# A tick may have to open thousands of jobs, and each is a conditional write of its own.
OPENED_AT_ONCE = 16


@dataclass(slots=True)
class Turn:
    """One worker's turn at one job: what it holds, and the job as it stands by now."""

    lease: Lease
    job: Job
    method: Method
    saved_at: datetime


@dataclass(frozen=True, slots=True)
class Engine:
    """What advancing needs: the catalog, the queue, the clock, and every method by (kind, method name)."""

    jobs: JobStore
    points: PointStore
    queue: Pokes
    now: Callable[[], datetime]
    methods: Mapping[tuple[JobKind, str], Method]

    def open(self, requests: tuple[JobRequest, ...]) -> tuple[Job, ...]:
        """Open jobs and poke the new ones; a request that was opened before changes nothing.

        Returns: the jobs in the order of the requests, whether new or not.
        """
        opened = tuple(request.opened(self.now()) for request in requests)
        if len(opened) <= OPENED_AT_ONCE:
            are_new = [self.jobs.open(job) for job in opened]
        else:
            with ThreadPoolExecutor(OPENED_AT_ONCE) as pool:
                are_new = list(pool.map(self.jobs.open, opened))
        new = [job.id for job, is_new in zip(opened, are_new, strict=True) if is_new]
        if new:
            self.queue.poke_all(new)
        return opened

    def advance(self, job_id: str, until: datetime) -> None:
        """Advance the job as far as it goes now; return before `until`, which ends the lease.

        Raises:
            LeaseHeld: another worker is at it.
        """
        lease = self.jobs.lease(job_id, now=self.now(), until=until)
        if lease is None:
            return
        job = replace(lease.job, state=JobState.RUNNING)
        if lease.in_vain >= GIVE_UP_AFTER_DEAD_WORKERS and "error" not in job.progress:
            job = job.progressed({"error": f"{lease.in_vain} workers died over this job"}, self.now())
        turn = Turn(lease, job, self.methods[job.kind, job.method], saved_at=self.now())
        if lease.in_vain >= 2 * GIVE_UP_AFTER_DEAD_WORKERS:  # they died cleaning up, too
            self._finish(turn, turn.method.give_up(job, str(job.progress["error"]), self.now()))
            return
        while self._goes_on(turn):
            continue

    def _goes_on(self, turn: "Turn") -> bool:
        """Take one step; say whether another one can follow at once."""
        try:
            now = self.now()
            decision = turn.method.decide(turn.job, turn.method.observe(turn.job), now)
            match decision:
                case Wait():
                    self._park(turn, decision)
                    return False
                case Finish():
                    self._finish(turn, decision)
                    return False
                case Do() if now >= turn.lease.until - LAST_SECONDS:
                    self._park(turn, Wait(now, decision.reason))
                    return False
            self._act(turn, decision)
        except Retryable as error:
            self._back_off(turn, error)
            return False
        except Permanent as error:
            return self._fail(turn, error)
        return True

    def _act(self, turn: "Turn", decision: Do[Any]) -> None:
        """Record the intent, act, take the result down."""
        turn.job = replace(turn.job, reason=decision.reason)
        before = turn.job.intents
        if decision.intent:
            turn.job = turn.job.intended(decision.intent, self.now())
            self._save(turn)
        try:
            changes = turn.method.act(turn.job, decision.action, turn.lease.until)
        except (QuotaReached, Throttled, Permanent):  # refused: not made, unlike perhaps one before it
            turn.job = replace(turn.job, intents=before)
            raise
        turn.job = turn.job.progressed(changes, self.now())
        if self.now() - turn.saved_at >= SAVED_EVERY:
            self._save(turn)

    def _save(self, turn: "Turn") -> None:
        turn.lease = self.jobs.save(turn.lease, turn.job)
        turn.saved_at = self.now()

    def _fail(self, turn: "Turn", error: Permanent) -> bool:
        """Record the first permanent error, for `decide` to clean up after; end the job at the second."""
        if "error" not in turn.job.progress:
            turn.job = turn.job.progressed({"error": str(error)}, self.now())
            return True
        reason = f"{turn.job.progress['error']}; and cleaning up failed: {error}"
        self._finish(turn, turn.method.give_up(turn.job, reason, self.now()))
        return False

    def _back_off(self, turn: "Turn", error: Retryable) -> None:
        """Look again later, each time a little later and never at the same moment as the others.

        A backoff with jitter (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/);
        only a reached quota may be waited for without end.
        """
        attempts = turn.job.attempts + 1
        if isinstance(error, QuotaReached):
            attempts = min(attempts, max(turn.job.attempts, LONGEST_QUOTA_BACKOFF))
        if attempts > GIVE_UP_AFTER_ATTEMPTS:
            gave_up = Permanent(f"gave up after {attempts} attempts: {error}")
            if self._fail(turn, gave_up):
                self._park(turn, Wait(self.now(), str(gave_up)))
            return
        longest = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(attempts, 10))
        delay = FIRST_BACKOFF + (longest - FIRST_BACKOFF) * random.random()  # noqa: S311 - jitter, not a secret
        turn.job = replace(turn.job, attempts=attempts)
        self._park(turn, Wait(self.now() + delay, f"will try again: {error}"))

    def _park(self, turn: "Turn", wait: Wait) -> None:
        """Store the job and have it poked at the end of the wait, unless an event does so before."""
        now = self.now()
        delay = max(wait.until - now, timedelta(0))
        job = replace(turn.job, reason=wait.reason, updated_at=now)
        self.jobs.park(turn.lease, job, now + delay + POKE_MAY_TAKE)
        if delay < RECONCILED_EVERY:
            self.queue.poke(job.id, delay)

    def _finish(self, turn: "Turn", finish: Finish) -> None:
        """Record the point, open what follows, then end the job: in this order, so that a repeat loses
        nothing."""
        now = self.now()
        if finish.point is not None:
            self.points.settle(finish.point)
            if finish.point.state is PointState.AVAILABLE:
                point = finish.point
                self.points.note_newest(Lineage(point.plan, point.rule, point.service, point.created_at))
        self.open(finish.opens)
        job = replace(turn.job, state=finish.state, reason=finish.reason, updated_at=now)
        self.jobs.finish(turn.lease, job, now)
        facts = {"job": job.id, "job_kind": str(job.kind), "state": str(job.state), "reason": job.reason}
        logger().info("job over", extra={**facts, "farshore_service": job.service})
        count("JobsOver", kind=str(job.kind), state=str(job.state))

    def reconcile(self, overdue: tuple[JobId, ...]) -> None:
        """Poke the jobs that should have moved by now."""
        if overdue:
            self.queue.poke_all(overdue)
            count("OverdueJobs", len(overdue))


def poke_after(error: LeaseHeld) -> timedelta:
    """Return when to poke again a job that another worker is at: soon, so that no event is overlooked."""
    return min(max(error.retry_after, timedelta(seconds=5)), timedelta(seconds=30))
