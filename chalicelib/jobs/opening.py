"""Opens jobs: under deterministic ids, each with its first turn at a bucket, and poked when that comes.

Invariant: a job is stored in one transaction with its pins and its lineage's record, or not at all; opening
it again changes nothing.
"""

import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import repeat

from chalicelib.aws.batches import in_batches
from chalicelib.aws.queue import LONGEST_DELAY, PokeQueue
from chalicelib.catalog.store import points
from chalicelib.catalog.store.table import Table
from chalicelib.catalog.store.writes import Role, Write
from chalicelib.errors import Conflict
from chalicelib.jobs import lineages
from chalicelib.jobs.handler import Handlers
from chalicelib.jobs.job import AnyJob, AnyRequest, Failure, Job, JobId, JobState, Permit
from chalicelib.jobs.pacing import Pacer
from chalicelib.jobs.store import JobStore
from chalicelib.observability import MISSED_RUN, count, logger

NewJob = tuple[JobId, Permit | None]
"""A job that was opened, and its turn at a bucket."""

FIRST_POKE_WITHIN = timedelta(minutes=5)
OPENED_AT_ONCE = 40
IN_PARALLEL = 8


@dataclass(frozen=True, slots=True)
class Opener:
    """What opening needs: the catalog, the queue, the clock, the account's pace and every handler."""

    table: Table
    jobs: JobStore
    pacer: Pacer
    queue: PokeQueue
    now: Callable[[], datetime]
    handlers: Handlers

    def open(self, requests: Sequence[AnyRequest]) -> tuple[JobId, ...]:
        """Open jobs and poke the new ones, each when its turn comes; existing ones stay as they are.

        Returns: the jobs' ids in the order of the requests, whether new or not.

        Raises:
            Conflict: an artefact that a job needs no longer exists.
        """
        now = self.now()
        permits = self._permits(requests, now)
        batches = list(in_batches(zip(requests, permits, strict=True), OPENED_AT_ONCE))
        if len(batches) == 1:
            opened = [self._open_batch(batches[0], now)]
        else:
            with ThreadPoolExecutor(IN_PARALLEL) as pool:
                opened = list(pool.map(self._open_batch, batches, repeat(now)))
        self.poke_new([job for batch in opened for job in batch], now)
        return tuple(request.id for request in requests)

    def _open_batch(self, batch: Sequence[tuple[AnyRequest, Permit | None]], now: datetime) -> list[NewJob]:
        """Open some jobs in one transaction; return the turns of those that are new.

        The jobs are made here, batch by batch, so that a tick of 10,000 services holds few of them at once.
        """
        left = [
            (job, self._opening(job, request, now))
            for request, permit in batch
            for job in [self._job_of(request, permit, now)]
        ]
        while left:
            refused = self.table.commit([write for _, group in left for write in group])
            if not refused:
                break
            known = {write.belongs_to for write in refused if write.role is Role.OPEN}
            if not known:
                why = "an artefact that it needs is no longer available"
                raise Conflict(why, operation="opening a job", resource=left[0][0].service)
            left = [(job, group) for job, group in left if job.id not in known]
        for job in (job for job, _ in left if job.state.final):
            logger().error("run missed", extra={"job": job.id, "reason": job.reason})
            count(MISSED_RUN, plan=job.plan, rule=job.rule)
        return [(job.id, job.permit) for job, _ in left if not job.state.final]

    def _job_of(
        self, request: AnyRequest, permit: Permit | None, now: datetime, parent: AnyJob | None = None
    ) -> AnyJob:
        handler = self.handlers[request.kind, request.method]
        return Job(
            id=request.id,
            kind=request.kind,
            method=request.method,
            state=JobState.FAILED if request.missed else JobState.QUEUED,
            service=request.service,
            plan=request.plan,
            rule=request.rule,
            nominal_at=request.nominal_at,
            created_at=now,
            updated_at=now,
            deadline=parent.deadline if parent else now + handler.deadline,
            reason=request.missed or request.reason,
            secret=uuid.uuid4().hex,
            work=request.work,
            progress=handler.progress(),
            parent=parent.id if parent else None,
            permit=permit,
            pins=request.pins,
            failure=Failure(request.missed, JobState.FAILED, now) if request.missed else None,
        )

    def jobs_of(
        self, requests: Sequence[AnyRequest], now: datetime, parent: AnyJob | None = None
    ) -> tuple[list[AnyJob], list[Write]]:
        """Return the jobs of the requests, each with its turn, and the writes that open them."""
        permits = self._permits(requests, now)
        pairs = zip(requests, permits, strict=True)
        jobs = [self._job_of(request, permit, now, parent) for request, permit in pairs]
        openings = (self._opening(job, request, now) for job, request in zip(jobs, requests, strict=True))
        return jobs, [write for opening in openings for write in opening]

    def _permits(self, requests: Sequence[AnyRequest], now: datetime) -> list[Permit | None]:
        """Return the turn of each job that uses a bucket; those of one bucket are reserved in one write."""
        permits: list[Permit | None] = [None] * len(requests)
        by_bucket: dict[tuple[str, str], list[int]] = {}
        for number, request in enumerate(requests):
            if request.budget:
                by_bucket.setdefault((request.budget.operation, request.budget.region), []).append(number)
        for numbers in by_bucket.values():
            budgets = [budget for number in numbers if (budget := requests[number].budget)]
            for number, permit in zip(numbers, self.pacer.reserve_all(budgets, now), strict=True):
                permits[number] = permit
        return permits

    def _opening(self, job: AnyJob, request: AnyRequest, now: datetime) -> list[Write]:
        starts_at = job.permit.at if job.permit else now
        writes = self.jobs.opening(job, starts_at + FIRST_POKE_WITHIN)
        writes += [points.pinning(point, vault, job.id) for point, vault in request.pins]
        if lineages.takes_turns(job):
            writes.append(lineages.opened(job, request.missed))
        return [replace(write, belongs_to=job.id) for write in writes]

    def poke_new(self, jobs: Iterable[NewJob], now: datetime) -> None:
        """Poke jobs, each when its turn comes; a turn later than a message can wait is left to a tick."""
        by_delay: dict[timedelta, list[str]] = {}
        for job_id, permit in jobs:
            delay = whole_seconds(permit.at - now) if permit else timedelta(0)
            if delay <= LONGEST_DELAY:
                by_delay.setdefault(delay, []).append(job_id)
        self.queue.poke_at(by_delay)


def whole_seconds(delay: timedelta) -> timedelta:
    """Return a delay as messages have it: whole seconds, rounded up, never negative."""
    return timedelta(seconds=max(0, -(-delay // timedelta(seconds=1))))
