"""Advances a job: the only way any job moves. Poking a job is always safe, at any time, any number of times.

    lease -> observe -> decide -> (record the intent) -> act -> commit -> observe ... -> park or finish

It never waits: what takes time ends in a completion event or a delayed message, which pokes the job again.
Pure functions of each handler decide what to do; this module knows no kind of job.

Invariants: a failure is recorded before anything is cleaned up, and a job that is being cleaned up never goes
forward again. The result of a step is committed in one transaction, conditional on the lease and on the state
that the decision was based on; when it is refused, the job is read and decided again.
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
from chalicelib.jobs.queues import JobQueue, queue_for, queue_of
from chalicelib.jobs.store import JobStore, Lease
from chalicelib.observability import count, logger
from chalicelib.plans.due import TICK

# A tick looks ahead as far as the next one, so that what becomes due between them moves on time.
# How long a message may be on its way before a tick considers it lost.
POKE_MAY_TAKE = timedelta(minutes=1)
# Progress that needs no transaction is stored with the next commit, or after this time: what a dead worker
# did since then is found again or done again, and every act can be.
SAVED_EVERY = timedelta(seconds=5)
# Lambda ends the worker; its lease lasts longer by the difference that clocks may have.
LEASE_OUTLIVES = timedelta(seconds=10)
# A worker takes no step in its last seconds: the longest call without a loop of its own waits 35 s.
LAST_SECONDS = timedelta(seconds=40)
SHORTEST_TURN = timedelta(seconds=5)
GIVE_UP_AFTER_DEAD_WORKERS = 10
# What cannot be removed in this time is listed on the job and left to the inventory.
CLEANING_ENDS_AFTER = timedelta(days=1)
CHILDREN_LOOK = timedelta(minutes=10)
LINE_LOOK = timedelta(minutes=10)
LOCK_LOOK = timedelta(minutes=1)
REDECIDED_AT_MOST = 10


@dataclass(slots=True)
class Work:
    """One worker's turn at one job: what it holds, the worker's queue, and the current job."""

    lease: Lease
    queue: JobQueue
    job: AnyJob
    handler: JobHandler
    until: datetime
    began_at: datetime
    saved_at: datetime
    redecided: int = 0
    turn: Free | None = None
    begins: bool = False


class Stale(Exception):
    """A commit was refused because the job, or a record that the decision was based on, has changed."""


class Unstored(Exception):
    """A commit failed, or its answer was lost."""

    def __init__(self, error: Retryable) -> None:
        super().__init__(str(error))
        self.error = error


class Unclaimed(Exception):
    """Another job holds a lock."""

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
        """Open jobs and poke the new ones, each when its turn comes; existing ones stay as they are.

        Returns: the jobs' ids in the order of the requests, whether new or not.

        Raises:
            Conflict: an artefact that a job needs no longer exists.
        """
        return self.opener.open(requests)

    # advancing

    def advance(self, job_id: str, until: datetime, queue: JobQueue) -> None:
        """Advance the job as far as possible now; return before `until`, when this worker is ended.

        The worker of `queue` takes the steps that it may; for all others the job is handed over.

        Raises:
            LeaseHeld: another worker is advancing it.
        """
        if queue is JobQueue.JOBS and queue_of(job_id) is not queue:
            self.queue.poke(job_id)
            return
        now = self.now()
        lease = self.jobs.lease(job_id, now=now, until=until + LEASE_OUTLIVES)
        if lease is None:
            return
        job = replace(lease.job, state=JobState.RUNNING)
        handler = self.handlers[job.kind, job.method]
        work = Work(lease, queue, job, handler, until, began_at=now, saved_at=now)
        while self._goes_on(work):
            continue

    def _goes_on(self, work: Work) -> bool:
        """Take one step; return whether another one can follow at once."""
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
        """Take one step, or handle its error; return whether another step can follow at once."""
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
            now = self.now()  # never older than the observation
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
            case Do() as do if (other := queue_for(work.job, do)) is not work.queue:
                self._park(work, Wait(now, do.reason), on=other)
                return False
            case Do() as do if now >= work.until - LAST_SECONDS and now >= work.began_at + SHORTEST_TURN:
                self._park(work, Wait(now, do.reason))
                return False
            case Do() as do:
                return self._act(work, do, now)

    def _decided_unseen(self, work: Work, children: Children, now: datetime) -> Finish | Wait | Fail | None:
        """Return a decision that needs no observation, so that a job ends although it cannot be observed."""
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
        if dead >= 2 * GIVE_UP_AFTER_DEAD_WORKERS:  # they died while cleaning up, too
            return self._abandonment(work, now)
        if children.unfinished:  # each ends by itself, within its own time for cleaning
            return self._end_children(job, children, now)
        time_for_parts = CLEANING_ENDS_AFTER if job.children else timedelta(0)
        if now >= job.failure.at + time_for_parts + CLEANING_ENDS_AFTER:
            return self._abandonment(work, now)
        return None

    def _before_it_begins(self, work: Work, now: datetime) -> Wait | Fail | None:
        """Return what a backup that has not begun waits for: the one of its lineage that is under way."""
        job = work.job
        if job.begun or not lineages.takes_turns(job):
            return None
        match self._standing(job):
            case Superseded(by=by):
                return Fail(lineages.superseded(job, by), JobState.CANCELLED)
            case Busy(holder=holder):
                self.table.commit([lineages.enqueued(job, holder)])
                return Wait(now + LINE_LOOK, f"waiting for {holder}, a backup of the same lineage, to end")
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
        """Wait for the job's turn, record the intent with its claims, act, commit the result."""
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
        except (QuotaReached, Throttled, Permanent) as refusal:  # nothing was made, so nothing is held for it
            self._take_back(work, do)
            if do.budget is None or not isinstance(refusal, Throttled):
                raise
            self._slow_down(work, do.budget, refusal)
            return False
        work.job = work.job.called(do.budget)
        return self._record(work, step)

    def _take_back(self, work: Work, do: Do[Any]) -> None:
        """Release what was claimed for a call that was refused."""
        job, freed = _given_back(work.job, do.locks, do.slots)
        if work.begins:  # nothing was made: the next due run may replace it
            freed.append(lineages.not_begun(job))
            job = replace(job, begun=False, superseded=0)
        work.job = replace(job, intent=None, permit=None)
        if freed:
            self._commit(work, freed)
            self._poke_waiting(freed)

    def _slow_down(self, work: Work, budget: Budget, refusal: Throttled) -> None:
        """After a throttle, pause all calls on the bucket; reserve a new turn, later each time."""
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
        """Return whether the job may call now; if not, park it until its turn."""
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
        """Return the job with the locks and slots that an act needs, and the writes that acquire them."""
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
        """Record the result of an act, in one transaction if it holds more than progress.

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
            Stale: the job or a record has changed since the decision; nothing was written.
            Unclaimed: another job holds a lock.
            Unstored: the table did not accept it; the job in memory is not what is stored.
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
                logger().warning("claim no longer held", extra={"job": work.job.id, "claims": lost})
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
        """Read the job again after a commit that failed; return whether this worker still has it."""
        job = self.jobs.reread(work.lease)
        if job is None or job.state.final:
            return False  # another worker has it by now, or it is over
        work.job = replace(job, state=JobState.RUNNING)
        return True

    def _decides_again(self, work: Work) -> bool:
        """Return whether to decide again at once: a few times, then later."""
        work.redecided += 1
        if work.redecided <= REDECIDED_AT_MOST:
            return True
        self._park(work, Wait(self.now() + LOCK_LOOK, "others change the same records; will try again"))
        return False

    def _check_lease(self, work: Work) -> None:
        """Check that the lease holds before a call that is made under it.

        Raises:
            LeaseHeld: it has expired; another worker may be advancing the job.
        """
        if self.now() >= work.lease.until:
            raise LeaseHeld(work.job.id, timedelta(0))

    # ends of a turn

    def _park(self, work: Work, wait: Wait, writes: Sequence[Write] = (), on: JobQueue | None = None) -> None:
        """Store the job, with `writes`, and have it poked at the end of the wait, or earlier by an event.

        It is poked `on` another queue to be handed over to that worker, else on this worker's own.

        A poke that is already on its way is enough: if each turn sent its own, every turn caused by an event
        or a tick would go on for ever.
        """
        now = self.now()
        delay = whole_seconds(wait.until - now)
        pokes = delay < TICK and not work.job.is_poked_by(now + delay, now)
        poked_at = now + delay if pokes else work.job.poked_at
        work.job = replace(work.job, reason=wait.reason, updated_at=now, poked_at=poked_at)
        self._store(work, [self.jobs.parking(work.lease, work.job, now + delay + POKE_MAY_TAKE), *writes])
        if pokes:
            self.queue.poke(work.job.id, delay, on or work.queue)

    def _wait_for_lock(self, work: Work, name: str) -> None:
        """Wait for a lock that another job holds; release one that a finished job holds."""
        holder = self.claims.lock_holder(name)
        if holder is not None and self._is_over(holder):
            self.claims.heal_lock(name, holder)
            self._park(work, Wait(self.now(), work.job.reason))
            return
        why = f"waiting for {holder or 'another job'}, which works on {name}"
        self._park(work, Wait(self.now() + LOCK_LOOK, why))

    def _fail(self, work: Work, reason: str, outcome: JobState = JobState.FAILED) -> None:
        """Record the failure before anything is cleaned up."""
        work.job = work.job.failed(reason, self.now(), outcome)
        self._commit(work, [])

    def _back_off(self, work: Work, error: FarshoreError) -> None:
        """Pause after an error, longer each time and with jitter, or give up."""
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
        """End the job: its results, the jobs that follow and its own end are one transaction."""
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
        """Return the end of a job that could not be cleaned up, with what is left.

        Writes that are refused again and again are dropped: a job must end.
        """
        failure = work.job.failure
        reason = failure.reason if failure else work.job.reason
        left = work.handler.leftovers(work.job)
        if left:
            reason += f"; could not clean up, these are left: {', '.join(left[:20])}"
        refused = work.redecided >= REDECIDED_AT_MOST
        return Finish(reason, () if refused else work.handler.abandon(work.job, now))

    # others

    def cancel(self, job_id: str, reason: str) -> None:
        """Have a job cancelled and cleaned up.

        Raises:
            NotFound: there is no such job.
            Conflict: it is over already.
        """
        self.jobs.require(job_id)
        if not self.cancel_if_unfinished(job_id, reason):
            raise Conflict("it is over already", operation="cancelling", resource=f"job {job_id}")

    def cancel_if_unfinished(self, job_id: str, reason: str) -> bool:
        """Have a job cancelled and cleaned up; return whether it was unfinished."""
        was_unfinished = self.jobs.cancel(job_id, reason)
        if was_unfinished:
            self.queue.poke(job_id)
        return was_unfinished

    def _end_children(self, job: AnyJob, children: Children, now: datetime) -> Wait:
        """Cancel the children of a job that is being cleaned up; return the wait for their ends."""
        why = job.failure.reason if job.failure else job.reason
        for child in children.unfinished:
            self.cancel_if_unfinished(child, f"{job.id} ends: {why}")
        return Wait(now + CHILDREN_LOOK, f"{why}; waiting for {len(children.unfinished)} parts to end")

    def _is_over(self, job_id: str) -> bool:
        state = self.jobs.states([job_id]).get(job_id)
        return state is None or state.final

    def _poke_waiting(self, freed: Sequence[Write]) -> None:
        """Poke the jobs that wait for the copy slots that were released."""
        regions = [
            write.key[0].removeprefix("slots#") for write in freed if write.key[0].startswith("slots#")
        ]
        for region in dict.fromkeys(regions):
            self.queue.poke_all(self.claims.next_waiting(region, regions.count(region)))

    def poke_due(self, due: Iterable[tuple[str, datetime]]) -> None:
        """Poke the jobs that should have moved; for those due before the next tick, delay the poke."""
        now, by_delay = self.now(), dict[timedelta, list[str]]()
        for job_id, at in due:
            by_delay.setdefault(whole_seconds(at - now), []).append(job_id)
        self.queue.poke_at(by_delay)
        if overdue := by_delay.get(timedelta(0)):
            count("OverdueJobs", len(overdue))


def _beginning(work: Work, do: Do[Any]) -> tuple[AnyJob, list[Write]]:
    """Return the job as begun, when an act is the first of a backup, and the write that records it."""
    if work.turn is None or work.job.begun or not (do.intent or do.first):
        return work.job, []
    return replace(work.job, begun=True, superseded=work.turn.superseded), [work.turn.begin]


def _given_back(job: AnyJob, locks: Iterable[str], slots: Iterable[str]) -> tuple[AnyJob, list[Write]]:
    """Return the job without these locks and slots (`REGION/PURPOSE`), and the writes that release them."""
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
    """Return the reason of a job that will be tried again, with its failure if it has one."""
    said = f"cleaning up after: {job.failure.reason}; " if job.failure else ""
    return f"{said}will try again: {error}"


def poke_after(error: LeaseHeld) -> timedelta:
    """Return when to poke a job again that another worker has: soon, so that no event is missed."""
    return min(max(error.retry_after, timedelta(seconds=5)), timedelta(seconds=30))
