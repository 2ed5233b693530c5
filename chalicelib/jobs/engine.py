"""Advance a job: the one way any job moves. Poking a job is always safe, at any moment, any number of times.

    lease -> observe -> decide -> (record the intent) -> act -> commit -> observe ... -> park or finish

It never waits: what takes time ends in a completion event or a delayed message, which pokes the job again.
What is to be done is decided by pure functions of each kind; this module knows no kind.

Invariants: a failure is recorded before anything is cleaned up, and a job that is being cleaned up never goes
forward again. What a step leaves behind is one transaction, conditional on the lease and on what was decided
from; when it is refused, the job is read and decided again.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import random
from typing import Any

from chalicelib.aws.queue import PokeQueue
from chalicelib.catalog.store import points
from chalicelib.catalog.store.services import ServiceStore
from chalicelib.catalog.store.table import Table
from chalicelib.catalog.store.writes import AS_GOOD, Role, Write
from chalicelib.errors import (
    Conflict,
    FarshoreError,
    LeaseHeld,
    Permanent,
    QuotaReached,
    Retryable,
    Throttled,
)
from chalicelib.jobs import claims, lineages
from chalicelib.jobs.backoff import pause_after
from chalicelib.jobs.claims import Claims
from chalicelib.jobs.decision import Children, Decision, Do, Fail, Finish, Step, Wait
from chalicelib.jobs.handler import Handlers, JobHandler, Turn
from chalicelib.jobs.job import AnyJob, AnyRequest, Budget, Intent, JobId, JobState
from chalicelib.jobs.leftovers import leaving
from chalicelib.jobs.lineages import Busy, Free, Superseded
from chalicelib.jobs.opening import Opener, whole_seconds
from chalicelib.jobs.pacing import Pacer
from chalicelib.jobs.store import JobStore, Lease
from chalicelib.observability import count, logger
from chalicelib.plans.due import TICK

# A tick looks ahead as far as the next one, so that what is due between them moves on time.
# How long a message may be under way before a tick takes it for lost.
POKE_MAY_TAKE = timedelta(minutes=1)
# Progress that needs no transaction is stored with the next commit, or after this: what a dead worker did
# since then is found again or done again, and every act can be.
SAVED_EVERY = timedelta(seconds=5)
# A lease outlives its worker, which Lambda ends, by the difference that clocks may have.
LEASE_OUTLIVES = timedelta(seconds=10)
# A worker takes no step in its last seconds: the longest call without a loop of its own waits 35 s.
LAST_SECONDS = timedelta(seconds=40)
SHORTEST_TURN = timedelta(seconds=5)
GIVE_UP_AFTER_DEAD_WORKERS = 10
# What cannot be removed in this time is named on the job and left to the inventory.
CLEANING_ENDS_AFTER = timedelta(days=1)
CHILDREN_LOOK = timedelta(minutes=10)
LINE_LOOK = timedelta(minutes=10)
LOCK_LOOK = timedelta(minutes=1)
REDECIDED_AT_MOST = 10


@dataclass(slots=True)
class Work:
    """One worker's turn at one job: what it holds, and the job as it stands by now."""

    lease: Lease
    job: AnyJob
    handler: JobHandler
    until: datetime
    began_at: datetime
    saved_at: datetime
    redecided: int = 0
    turn: Free | None = None
    begins: bool = False


class Stale(Exception):
    """A commit was refused because the job or a record it was decided from has changed."""


class Unstored(Exception):
    """A commit came to nothing, or its answer was lost."""

    def __init__(self, error: Retryable) -> None:
        super().__init__(str(error))
        self.error = error


class Unclaimed(Exception):
    """A lock is another job's."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass(frozen=True, slots=True)
class Engine:
    """What advancing needs: the catalog, the queue, the clock, the account's pace and every handler."""

    table: Table
    jobs: JobStore
    services: ServiceStore
    claims: Claims
    pacer: Pacer
    queue: PokeQueue
    now: Callable[[], datetime]
    handlers: Handlers
    opener: Opener

    def open(self, requests: Sequence[AnyRequest]) -> tuple[JobId, ...]:
        """Open jobs and poke the new ones, each when its turn comes; one that is open or over stays as it is.

        Returns: the jobs' ids in the order of the requests, whether new or not.

        Raises:
            Conflict: an artefact that a job needs is not there any more.
        """
        return self.opener.open(requests)

    # advancing

    def advance(self, job_id: str, until: datetime) -> None:
        """Advance the job as far as it goes now; return before `until`, at which this worker is ended.

        Raises:
            LeaseHeld: another worker is at it.
        """
        now = self.now()
        lease = self.jobs.lease(job_id, now=now, until=until + LEASE_OUTLIVES)
        if lease is None:
            return
        job = replace(lease.job, state=JobState.RUNNING)
        work = Work(lease, job, self.handlers[job.kind, job.method], until, began_at=now, saved_at=now)
        while self._goes_on(work):
            continue

    def _goes_on(self, work: Work) -> bool:
        """Take one step; say whether another one can follow at once."""
        if work.job.state.final:
            return False
        try:
            return self._attempt(work)
        except Unclaimed as refusal:
            if self._reread(work):
                self._wait_for_lock(work, refusal.name)
            return False
        except Unstored as loss:
            if self._reread(work):
                self._back_off(work, loss.error)
            return False
        except Stale:
            return self._reread(work) and self._decides_again(work)

    def _attempt(self, work: Work) -> bool:
        """Take one step, or what an error asks for instead."""
        try:
            return self._step(work)
        except Retryable as error:
            self._back_off(work, error)
        except Permanent as error:
            if work.job.failure is None:
                self._fail(work, str(error))
                return True
            self._back_off(work, error)
        return False

    def _step(self, work: Work) -> bool:
        children = self.jobs.children(work.job.id) if work.job.children else Children()
        now = self.now()
        decision: Decision[Any] | None = self._decided_unseen(work, children, now)
        if decision is None:
            seen = work.handler.observe(work.job, children)
            now = self.now()  # never older than what was observed
            decision = self._decided(work, seen, now)
        match decision:
            case Wait() as wait:
                self._park(work, wait)
                return False
            case Finish() as finish:
                self._finish(work, finish)
                return False
            case Fail(reason=reason, outcome=outcome):
                self._fail(work, reason, outcome)
                return True
            case Do() as do if now >= work.until - LAST_SECONDS and now >= work.began_at + SHORTEST_TURN:
                self._park(work, Wait(now, do.reason))
                return False
            case Do() as do:
                return self._act(work, do, now)

    def _decided_unseen(self, work: Work, children: Children, now: datetime) -> Finish | Wait | Fail | None:
        """Return what the record and the clock alone decide: a job ends though its world cannot be seen."""
        job, dead = work.job, work.lease.abandoned
        if job.failure is None:
            if dead >= GIVE_UP_AFTER_DEAD_WORKERS:
                return Fail(f"{dead} workers died over this job")
            if job.cancel is not None:
                return Fail(job.cancel, JobState.CANCELLED)
            if now >= job.deadline:
                last = f"not done by its deadline, {job.deadline:%Y-%m-%d %H:%M} UTC; last: {job.reason}"
                return Fail(last)
            return self._before_it_begins(work, now)
        if dead >= 2 * GIVE_UP_AFTER_DEAD_WORKERS:  # they died cleaning up, too
            return self._abandonment(work, now)
        if children.unfinished:  # each ends by itself, within its own time for cleaning
            return self._end_children(job, children, now)
        time_for_parts = CLEANING_ENDS_AFTER if job.children else timedelta(0)
        if now >= job.failure.at + time_for_parts + CLEANING_ENDS_AFTER:
            return self._abandonment(work, now)
        return None

    def _before_it_begins(self, work: Work, now: datetime) -> Wait | Fail | None:
        """Let a backup that has not begun wait for the one of its lineage that is under way."""
        job = work.job
        if job.begun or not lineages.takes_turns(job):
            return None
        match self._standing(job):
            case Superseded(by=by):
                return Fail(lineages.superseded(job, by), JobState.CANCELLED)
            case Busy(holder=holder):
                self.table.commit([lineages.enqueued(job, holder)])
                return Wait(now + LINE_LOOK, f"waiting for {holder}, a backup of the same, to end")
            case Free() as turn:
                work.turn = turn
                return None

    def _standing(self, job: AnyJob) -> Superseded | Busy | Free:
        record = self.services.of_lineage(lineages.lineage_of(job))
        stands = lineages.standing(record, job)
        if isinstance(stands, Busy) and self._is_over(stands.holder):
            return lineages.free(record, job)
        return stands

    @staticmethod
    def _decided(work: Work, seen: Any, now: datetime) -> "Decision[Any]":
        if work.job.failure is not None:
            return work.handler.clean_up(work.job, seen, now)
        return work.handler.decide(work.job, seen, now)

    def _act(self, work: Work, do: Do[Any], now: datetime) -> bool:
        """Wait for the job's turn, record the intent with its claims, act, commit what came of it."""
        work.job = replace(work.job, reason=do.reason)
        if do.budget is not None and not self._has_turn(work, do, now):
            return False
        begun, begin = _beginning(work, do)
        work.begins = bool(begin)
        held, claiming = self._claiming(begun, begin, do, now)
        if do.intent or do.first or claiming:
            work.job = replace(held, intent=Intent(do.intent, now) if do.intent else work.job.intent)
            self._commit(work, [*do.first, *claiming])
        self._check_lease(work)
        try:
            step = work.handler.act(work.job, do.action, Turn(work.until))
        except (QuotaReached, Throttled, Permanent) as refusal:  # not made: nothing is held for it
            self._take_back(work, do)
            if do.budget is None or not isinstance(refusal, Throttled):
                raise
            self._slow_down(work, do.budget, refusal)
            return False
        work.job = work.job.called(do.budget)
        return self._record(work, step)

    def _take_back(self, work: Work, do: Do[Any]) -> None:
        """Give back what was claimed for a call that was refused."""
        job, freed = _given_back(work.job, do.locks, do.slots)
        if work.begins:  # nothing was made: the next due run may take its place
            freed.append(lineages.not_begun(job))
            job = replace(job, begun=False, superseded=0)
        work.job = replace(job, intent=None, permit=None)
        if freed:
            self._commit(work, freed)
            self._poke_waiting(freed)

    def _slow_down(self, work: Work, budget: Budget, refusal: Throttled) -> None:
        """Let all calls on the bucket wait after a throttle; take a new turn, later each time."""
        now = self.now()
        self.pacer.slow_down(budget, now)
        count("Throttled", operation=budget.operation, region=budget.region)
        permit = self.pacer.reserve(budget, now)
        jitter = random()  # noqa: S311 - not a secret
        pause = pause_after(refusal, work.job.attempts, jitter, cleaning=True)
        attempts, until = (pause.attempts, now + pause.delay) if pause else (work.job.attempts, now)
        work.job = replace(work.job, permit=permit, attempts=attempts)
        self._park(work, Wait(max(permit.at, until), _trying_again(work.job, refusal)))

    def _has_turn(self, work: Work, do: Do[Any], now: datetime) -> bool:
        """Return whether the job may call now; if not, it is parked until its turn."""
        budget, permit = do.budget, work.job.permit
        if budget is None:
            return True
        if permit is not None and permit.budget.covers(budget):
            held = self.pacer.held_until(budget)  # a turn that is new was given after any hold
            at = max(permit.at, held) if held is not None else permit.at
        else:
            permit = self.pacer.reserve(budget, now)
            at = permit.at
        work.job = replace(work.job, permit=permit)
        if at <= now:
            return True
        self._park(
            work, Wait(at, f"{do.reason}, when EC2 lets it: {budget.operation} in {budget.region} is paced")
        )
        return False

    def _claiming(
        self, job: AnyJob, begins: Sequence[Write], do: Do[Any], now: datetime
    ) -> tuple[AnyJob, list[Write]]:
        """Return the job with the locks and slots that an act needs, and the writes that claim them."""
        writes = [*begins, *(claims.locking(name, job.id, now) for name in do.locks if name not in job.locks)]
        locks = tuple(dict.fromkeys((*job.locks, *do.locks)))
        slots, held = list(job.slots), {f"{region}/{purpose}" for region, purpose, _ in job.slots}
        for wanted in do.slots:
            if wanted in held:
                continue
            region, purpose = wanted.split("/", 1)
            slot = self.claims.free_slot(region)
            if slot is None:
                self.claims.enqueue(region, job.id, job.created_at)
                why = f"all copy slots of {region} are taken"
                raise QuotaReached(why, operation="CopySnapshot", resource=purpose, region=region)
            writes.append(claims.acquiring(region, slot, purpose, job.id, now))
            slots.append((region, purpose, slot))
        return replace(job, locks=locks, slots=tuple(slots)), writes

    def _record(self, work: Work, step: Step[Any]) -> bool:
        """Record what an act has led to: in one transaction where it holds more than progress.

        Returns: whether another step can follow at once.
        """
        now = self.now()
        work.job = work.job.went_on(step.progress, now)
        if not step.must_be_committed and step.rest is None:
            if now - work.saved_at >= SAVED_EVERY:
                self._commit(work, [])
            return True
        children, opening = self.opener.jobs_of(step.children, now, work.job)
        work.job = replace(work.job, children=work.job.children + len(children))
        work.job, freed = _given_back(work.job, step.unlocks, step.freed)
        writes = [*step.writes, *opening, *freed]
        if step.rest:
            self._park(work, Wait(now + step.rest.span, step.rest.reason), writes)
        else:
            self._commit(work, writes)
        self.opener.poke_new(((child.id, child.permit) for child in children), now)
        self._poke_waiting(freed)
        return step.rest is None

    def _commit(self, work: Work, writes: Sequence[Write]) -> None:
        """Save the job and `writes` in one transaction, under the lease.

        Raises:
            Stale: the job or a record is not as it was decided from; nothing was written.
            Unclaimed: another job holds a lock.
            Unstored: the table did not take it; the job in memory is not what is stored.
        """
        self._store(work, [self.jobs.saving(work.lease, work.job), *writes])
        work.job = replace(work.job, version=work.job.version + 1)
        work.saved_at = self.now()

    def _store(self, work: Work, writes: Sequence[Write]) -> None:
        left = list(writes)
        while refused := self._refused(left):
            gone = [write.key for write in refused if write.role in AS_GOOD]
            lost = [write.key for write in refused if write.role is Role.RELEASE]
            if lost:
                logger().warning("not held any more", extra={"job": work.job.id, "claims": lost})
            if not all(write.role in (Role.OPEN, *AS_GOOD) for write in refused):
                locks = [name for write in refused if write.put and (name := claims.lock_named_by(write))]
                raise Unclaimed(locks[0]) if locks else Stale
            known = {write.belongs_to for write in refused}
            left = [
                write
                for write in left
                if write.key not in gone and not (write.belongs_to and write.belongs_to in known)
            ]

    def _refused(self, writes: Sequence[Write]) -> tuple[Write, ...]:
        try:
            return self.table.commit(writes)
        except Retryable as error:
            raise Unstored(error) from error

    def _reread(self, work: Work) -> bool:
        """Read the job as it is after a commit that failed; say whether it is still ours to go on with."""
        job = self.jobs.reread(work.lease)
        if job is None or job.state.final:
            return False  # another worker's by now, or over
        work.job = replace(job, state=JobState.RUNNING)
        return True

    def _decides_again(self, work: Work) -> bool:
        """Return whether to decide again at once: a few times, then later."""
        work.redecided += 1
        if work.redecided <= REDECIDED_AT_MOST:
            return True
        self._park(work, Wait(self.now() + LOCK_LOOK, "others are at the same records; will look again"))
        return False

    def _check_lease(self, work: Work) -> None:
        """Check that the lease holds before a call that is made under it.

        Raises:
            LeaseHeld: its time is up; another worker may be at the job.
        """
        if self.now() >= work.lease.until:
            raise LeaseHeld(work.job.id, timedelta(0))

    # ends of a turn

    def _park(self, work: Work, wait: Wait, writes: Sequence[Write] = ()) -> None:
        """Store the job, with `writes`, and have it poked at the end of the wait, unless an event does so
        before.

        A poke that is under way serves as well: were each turn to send its own, every turn that an event or a
        tick adds would go on for ever.
        """
        now = self.now()
        delay = whole_seconds(wait.until - now)
        pokes = delay < TICK and not work.job.is_poked_by(now + delay, now)
        poked_at = now + delay if pokes else work.job.poked_at
        work.job = replace(work.job, reason=wait.reason, updated_at=now, poked_at=poked_at)
        self._store(work, [self.jobs.parking(work.lease, work.job, now + delay + POKE_MAY_TAKE), *writes])
        if pokes:
            self.queue.poke(work.job.id, delay)

    def _wait_for_lock(self, work: Work, name: str) -> None:
        """Wait for a lock that another job holds; take it from one that is over."""
        holder = self.claims.lock_holder(name)
        if holder is not None and self._is_over(holder):
            self.claims.heal_lock(name, holder)
            self._park(work, Wait(self.now(), work.job.reason))
            return
        why = f"waiting for {holder or 'another job'}, which works on {name}"
        self._park(work, Wait(self.now() + LOCK_LOOK, why))

    def _fail(self, work: Work, reason: str, outcome: JobState = JobState.FAILED) -> None:
        """Record the failure, before anything is cleaned up."""
        work.job = work.job.failed(reason, self.now(), outcome)
        self._commit(work, [])

    def _back_off(self, work: Work, error: FarshoreError) -> None:
        """Look again later, each time a little later and never at the same moment as the others."""
        if isinstance(error, LeaseHeld):
            raise error
        cleaning = work.job.failure is not None
        pause = pause_after(error, work.job.attempts, random(), cleaning=cleaning)  # noqa: S311 - jitter, no secret
        if pause is None:
            self._fail(work, f"gave up after {work.job.attempts + 1} attempts: {error}")
            self._park(work, Wait(self.now(), work.job.reason))
            return
        work.job = replace(work.job, attempts=pause.attempts)
        self._park(work, Wait(self.now() + pause.delay, _trying_again(work.job, error)))

    def _finish(self, work: Work, finish: Finish) -> None:
        """End the job: what it made, what follows it and its own end are one transaction."""
        now, job = self.now(), work.job
        state = job.failure.outcome if job.failure else JobState.COMPLETED
        left = work.handler.leftovers(job) if job.failure else ()
        work.job = replace(job, state=state, reason=finish.reason, left=left, updated_at=now, permit=None)
        follow_ups, opening = self.opener.jobs_of(finish.opens, now)
        unpinned = [points.unpinning(point, vault, job.id) for point, vault in job.pins]
        work.job, freed = _given_back(
            work.job, job.locks, [f"{region}/{purpose}" for region, purpose, _ in job.slots]
        )
        ended = [*self.jobs.finishing(work.lease, work.job, now), *leaving(work.job, left, now)]
        if lineages.takes_turns(job):
            ended.append(lineages.ended(work.job))
        self._store(work, [*ended, *finish.writes, *opening, *unpinned, *freed])
        self._poke_waiting(freed)
        if job.begun:
            self.queue.poke_all(sorted(self.services.of_lineage(lineages.lineage_of(job)).waiting))
        self.opener.poke_new(((follow_up.id, follow_up.permit) for follow_up in follow_ups), now)
        if job.parent is not None:
            self.queue.poke(job.parent)
        facts = {"job": job.id, "job_kind": str(job.kind), "state": str(state), "reason": finish.reason}
        logger().info("job over", extra={**facts, "farshore_service": job.service, "left": list(left)})
        count("JobsOver", kind=str(job.kind), state=str(state))

    def _abandonment(self, work: Work, now: datetime) -> Finish:
        """Return the end of a job that could not be cleaned up: what is left is named on it.

        What is refused again and again is left as it is: a job must end.
        """
        failure = work.job.failure
        reason = failure.reason if failure else work.job.reason
        left = work.handler.leftovers(work.job)
        if left:
            reason += f"; could not clean up, left there: {', '.join(left[:20])}"
        refused = work.redecided >= REDECIDED_AT_MOST
        return Finish(reason, () if refused else work.handler.abandon(work.job, now))

    # others

    def cancel(self, job_id: str, reason: str) -> None:
        """Have a job ended and cleaned up after.

        Raises:
            NotFound: there is no such job.
            Conflict: it is over already.
        """
        self.jobs.require(job_id)
        if not self.jobs.cancel(job_id, reason):
            raise Conflict("it is over already", operation="cancelling", resource=f"job {job_id}")
        self.queue.poke(job_id)

    def _end_children(self, job: AnyJob, children: Children, now: datetime) -> Wait:
        """Cancel the children of a job that is being cleaned up, and wait for their ends."""
        why = job.failure.reason if job.failure else job.reason
        for child in children.unfinished:
            if self.jobs.cancel(child, f"{job.id} ends: {why}"):
                self.queue.poke(child)
        return Wait(now + CHILDREN_LOOK, f"{why}; waiting for {len(children.unfinished)} parts to end")

    def _is_over(self, job_id: str) -> bool:
        state = self.jobs.states([job_id]).get(job_id)
        return state is None or state.final

    def _poke_waiting(self, freed: Sequence[Write]) -> None:
        """Poke those who wait for the copy slots that were freed."""
        regions = [
            write.key[0].removeprefix("slots#") for write in freed if write.key[0].startswith("slots#")
        ]
        for region in dict.fromkeys(regions):
            self.queue.poke_all(self.claims.next_waiting(region, regions.count(region)))

    def poke_due(self, due: Iterable[tuple[str, datetime]]) -> None:
        """Poke the jobs that should have moved, and those that should before the next tick, then."""
        now, by_delay = self.now(), dict[timedelta, list[str]]()
        for job_id, at in due:
            by_delay.setdefault(whole_seconds(at - now), []).append(job_id)
        self.queue.poke_at(by_delay)
        if overdue := by_delay.get(timedelta(0)):
            count("OverdueJobs", len(overdue))


def _beginning(work: Work, do: Do[Any]) -> tuple[AnyJob, list[Write]]:
    """Return the job as one that has begun, when an act is a backup's first, and the write that says so."""
    if work.turn is None or work.job.begun or not (do.intent or do.first):
        return work.job, []
    return replace(work.job, begun=True, superseded=work.turn.superseded), [work.turn.begin]


def _given_back(job: AnyJob, locks: Iterable[str], slots: Iterable[str]) -> tuple[AnyJob, list[Write]]:
    """Return the job without these locks and slots (`REGION/PURPOSE`), and the writes that give them back."""
    unlocked, freed = set(locks), set(slots)
    writes = [claims.unlocking(name, job.id) for name in job.locks if name in unlocked]
    writes += [
        claims.releasing(region, slot, job.id)
        for region, purpose, slot in job.slots
        if f"{region}/{purpose}" in freed
    ]
    kept = tuple(name for name in job.locks if name not in unlocked)
    held = tuple(each for each in job.slots if f"{each[0]}/{each[1]}" not in freed)
    return replace(job, locks=kept, slots=held), writes


def _trying_again(job: AnyJob, error: FarshoreError) -> str:
    """Return that a job will be tried again, and what it failed with before, if it did."""
    said = f"cleaning up after: {job.failure.reason}; " if job.failure else ""
    return f"{said}will try again: {error}"


def poke_after(error: LeaseHeld) -> timedelta:
    """Return when to poke again a job that another worker is at: soon, so that no event is overlooked."""
    return min(max(error.retry_after, timedelta(seconds=5)), timedelta(seconds=30))
