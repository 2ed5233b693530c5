"""Advance a job: the one way any job moves. Poking a job is always safe, at any moment and any number of
times.

    lease -> observe -> decide -> (record the intent) -> act -> record -> observe ... -> park or finish

It never waits: what takes time ends in a completion event or a delayed message, which pokes the job again.
What is
to be done is decided by a pure function of each kind; this module knows no kind. A worker that dies leaves
a lease
that runs out, intents that say what it may have done, and artefacts that carry the job's tag; the next one
goes on
from there.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from chalicelib.catalog.job import Decision, Do, Finish, Job, JobKind, JobRequest, JobState, Wait
from chalicelib.catalog.recovery_point import PointState
from chalicelib.catalog.store import JobStore, Lease, Lineage, PointStore
from chalicelib.errors import LeaseHeld, Permanent, QuotaReached, Retryable, Throttled

# A shorter wait ends with a delayed message; a longer one is left to reconcile, which comes round as often
# as this.
RECONCILED_EVERY = timedelta(minutes=5)

# How long a message may be under way before reconcile takes it for lost.
POKE_MAY_TAKE = timedelta(minutes=1)

FIRST_BACKOFF = timedelta(seconds=5)
LONGEST_BACKOFF = timedelta(minutes=15)
GIVE_UP_AFTER_ATTEMPTS = 24


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
        new = [job.id for job in opened if self.jobs.open(job)]
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
            return None
        method = self.methods[lease.job.kind, lease.job.method]
        job = replace(lease.job, state=JobState.RUNNING)
        while True:
            try:
                decision = method.decide(job, method.observe(job), self.now())
            except Retryable as error:
                return self._back_off(lease, job, error)
            except Permanent as error:
                if "error" in job.progress:
                    return self._finish(
                        lease, job, method.give_up(job, str(job.progress["error"]), self.now())
                    )
                job = job.progressed({"error": str(error)}, self.now())
                continue
            match decision:
                case Wait():
                    return self._park(lease, job, decision)
                case Finish():
                    return self._finish(lease, job, decision)
                case Do() if self.now() >= until - timedelta(seconds=5):
                    return self._park(lease, job, Wait(self.now(), decision.reason))
                case Do():
                    job = replace(job, reason=decision.reason)
            try:
                lease, job = self._act(lease, job, method, decision)
            except Retryable as error:
                made_not = isinstance(error, QuotaReached | Throttled)
                job = job.without_intent(decision.intent) if made_not else job
                return self._back_off(lease, job, error)

    def _act(self, lease: Lease, job: Job, method: Method, decision: Do[Any]) -> tuple[Lease, Job]:
        """Record the intent, act, record the result. A permanent error is recorded for `decide` to clean up
        after."""
        if decision.intent:
            job = job.intended(decision.intent, self.now())
            lease = self.jobs.save(lease, job)
        try:
            changes = method.act(job, decision.action, lease.until)
        except Permanent as error:
            if "error" in job.progress:
                changes = {"clean_up_error": str(error)}
            else:
                job = job.without_intent(decision.intent)
                changes = {"error": str(error)}
        job = job.progressed(changes, self.now())
        return self.jobs.save(lease, job), job

    def _back_off(self, lease: Lease, job: Job, error: Retryable) -> None:
        """Look again later, each time a little later and never at the same moment as the others.

        A full-jitter backoff (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/);
        only a
        reached quota may be waited for without end.
        """
        attempts = job.attempts + (0 if isinstance(error, QuotaReached) else 1)
        if attempts > GIVE_UP_AFTER_ATTEMPTS and "error" not in job.progress:
            job = job.progressed({"error": f"gave up after {attempts} attempts: {error}"}, self.now())
            return self._park(lease, job, Wait(self.now(), job.reason))
        longest = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(attempts, 10))
        delay = FIRST_BACKOFF + (longest - FIRST_BACKOFF) * random.random()  # noqa: S311 - jitter, not a secret
        job = replace(job, attempts=attempts)
        return self._park(lease, job, Wait(self.now() + delay, f"will try again: {error}"))

    def _park(self, lease: Lease, job: Job, wait: Wait) -> None:
        """Store the job and have it poked at the end of the wait, unless an event does so before."""
        now = self.now()
        delay = max(wait.until - now, timedelta(0))
        self.jobs.park(lease, replace(job, reason=wait.reason, updated_at=now), now + delay + POKE_MAY_TAKE)
        if delay < RECONCILED_EVERY:
            self.queue.poke(job.id, delay)

    def _finish(self, lease: Lease, job: Job, finish: Finish) -> None:
        """Record the point, open what follows, then end the job: in this order, so that a repeat loses
        nothing."""
        now = self.now()
        if finish.point is not None:
            self.points.settle(finish.point)
            if finish.point.state is PointState.AVAILABLE:
                point = finish.point
                self.points.note_newest(Lineage(point.plan, point.rule, point.service, point.created_at))
        self.open(finish.opens)
        self.jobs.finish(lease, replace(job, state=finish.state, reason=finish.reason, updated_at=now), now)

    def reconcile(self) -> int:
        """Poke every job that should have moved by now; return how many."""
        now = self.now()
        overdue = list(self.jobs.overdue(now))
        if overdue:
            self.queue.poke_all(overdue)
        return len(overdue)


def poke_after(error: LeaseHeld) -> timedelta:
    """Return when to poke again a job that another worker is at: soon, so that no event is overlooked."""
    return min(max(error.retry_after, timedelta(seconds=5)), timedelta(seconds=30))
