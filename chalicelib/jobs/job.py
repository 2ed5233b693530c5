"""A job: one piece of work, its state and its progress. Pure.

A job's id is derived from its purpose, so the same trigger always gets the same job. `work` is what was
requested and never changes; `progress` is what was done. Both are frozen values of the job's kind. The engine
keeps the rest: the one call that may have been made (`intent`), the reserved turn at EC2's request bucket
(`permit`), and the failure, which is recorded before anything is cleaned up and never withdrawn.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Generic, NewType, TypeVar

from chalicelib.ids import fingerprint

JobId = NewType("JobId", str)
Work = TypeVar("Work")
Progress = TypeVar("Progress")


class JobKind(StrEnum):
    """What a job is for."""

    BACKUP = "backup"
    COPY = "copy"
    RESTORE = "restore"
    EXPIRE = "expire"
    INVENTORY = "inventory"
    LAUNCH = "launch"
    TERMINATION = "termination"
    PROBE = "probe"


class JobState(StrEnum):
    """The state of a job. `COMPLETED`, `FAILED` and `CANCELLED` are final."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def final(self) -> bool:
        """Whether the job will never be advanced again."""
        return self in (JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, slots=True)
class Intent:
    """A call about to be made for which AWS takes no idempotency token; `name` says which and on what."""

    name: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Budget:
    """The request bucket that an action uses: EC2 has one per account, region and operation."""

    operation: str
    region: str
    calls: int = 1

    def covers(self, other: "Budget") -> bool:
        """Return whether a permit for this budget is enough for the other."""
        return (self.operation, self.region) == (other.operation, other.region) and self.calls >= other.calls


@dataclass(frozen=True, slots=True)
class Permit:
    """A turn reserved in a bucket: its calls may be made from `at` on."""

    budget: Budget
    at: datetime


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job ends, and in which state (`FAILED` or `CANCELLED`)."""

    reason: str
    outcome: JobState
    at: datetime


@dataclass(frozen=True, slots=True)
class Job(Generic[Work, Progress]):
    """One piece of work. `method` says how its kind is done, e.g. a backup by `snapshot` or `service` script.

    `secret` marks what the job makes where nobody can change it later; it is never shown. `left` lists what
    cleaning up could not remove. `cancel` is the reason of the operator who cancelled it; `pins` are the
    artefacts (point, vault) that must stay while the job runs; `children` counts the child jobs it has
    opened; `locks` and `slots` (region, purpose, slot) are what it holds. A backup that has `begun` is the
    one of its lineage that is under way; `superseded` counts the due runs before it that never began.
    """

    id: JobId
    kind: JobKind
    method: str
    state: JobState
    service: str
    plan: str
    rule: str
    nominal_at: datetime
    created_at: datetime
    updated_at: datetime
    deadline: datetime
    reason: str
    secret: str
    work: Work
    progress: Progress
    parent: JobId | None = None
    pins: tuple[tuple[str, str], ...] = ()
    children: int = 0
    locks: tuple[str, ...] = ()
    slots: tuple[tuple[str, str, str], ...] = ()
    intent: Intent | None = None
    permit: Permit | None = None
    failure: Failure | None = None
    cancel: str | None = None
    left: tuple[str, ...] = ()
    begun: bool = False
    superseded: int = 0
    attempts: int = 0
    version: int = 0
    poked_at: datetime | None = None

    def is_poked_by(self, at: datetime, now: datetime) -> bool:
        """Return whether a poke that the job sent itself is still to come, and arrives by `at`."""
        return self.poked_at is not None and now < self.poked_at <= at

    def mark(self, call: str) -> str:
        """Return the beginning of the description or comment of all that one call of the job makes.

        Each call has its own: whoever reads it can forge it only for that call, and only after the call's own
        result exists, which therefore began earlier.
        """
        return f"{MARK} {self.id} {fingerprint(self.secret, call, digits=32)}"

    def went_on(self, progress: Progress, now: datetime) -> "Job[Work, Progress]":
        """Return the job with new progress, without intent, and with no failed attempts."""
        return replace(self, progress=progress, intent=None, attempts=0, updated_at=now)

    def called(self, budget: Budget | None) -> "Job[Work, Progress]":
        """Return the job without the turns of its permit that an act has used."""
        if budget is None or self.permit is None:
            return self
        left = self.permit.budget.calls - budget.calls
        rest = replace(self.permit, budget=replace(self.permit.budget, calls=left)) if left > 0 else None
        return replace(self, permit=rest)

    def failed(
        self, reason: str, now: datetime, outcome: JobState = JobState.FAILED
    ) -> "Job[Work, Progress]":
        """Return the job with its failure recorded; the first reason stays."""
        failure = self.failure or Failure(reason, outcome, now)
        return replace(self, failure=failure, reason=reason, permit=None, attempts=0, updated_at=now)


AnyJob = Job[Any, Any]

MARK = "farshore"


def job_of_mark(text: str | None) -> JobId | None:
    """Return the job whose mark `text` begins with, or None."""
    words = (text or "").split(" ")
    return JobId(words[1]) if len(words) >= 3 and words[0] == MARK else None


@dataclass(frozen=True, slots=True)
class JobRequest(Generic[Work]):
    """A job to be opened; its id is made from `key`, kind and method.

    `budget` is the bucket that its first paced call uses, `pins` the artefacts (point, vault) that it needs
    until its end. One that was `missed` is over when it is opened: it says why.
    """

    kind: JobKind
    method: str
    service: str
    plan: str
    rule: str
    nominal_at: datetime
    key: tuple[str, ...]
    work: Work
    reason: str
    budget: Budget | None = None
    pins: tuple[tuple[str, str], ...] = ()
    missed: str | None = None

    @property
    def id(self) -> JobId:
        """The deterministic id: the same request always has the same one."""
        return id_of_request(self.kind, self.method, self.key)


AnyRequest = JobRequest[Any]


def id_of_request(kind: JobKind, method: str, key: Iterable[str]) -> JobId:
    """Return the id that a request with this key has."""
    return JobId(f"{kind}-{fingerprint(kind, method, *key)}")


# How long a call that may have been made is looked for before it is made again: longer than the SDK waits for
# an answer, and than EC2 and SSM normally take to show the result
# (https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html).
ADOPTION_GRACE = timedelta(minutes=2)

# How often a waiting job checks by itself, in case its completion event is lost.
LOST_EVENT_AFTER = timedelta(minutes=10)

# AWS's clocks and ours may differ by this much.
CLOCK_SKEW = timedelta(seconds=5)


def may_have_been_made(job: AnyJob, now: datetime) -> bool:
    """Return whether the call of the job's intent may have been made and not be visible yet."""
    return job.intent is not None and now < job.intent.at + ADOPTION_GRACE


def began_after_intent(job: AnyJob, began_at: datetime) -> bool:
    """Return whether a resource that began at `began_at` can come from the call of the job's intent."""
    return job.intent is not None and began_at >= job.intent.at - CLOCK_SKEW
