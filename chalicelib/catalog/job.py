"""A job: one piece of work, its states, and what a worker may decide about it. Pure.

A job's id is derived from what it is for, so the same trigger always names the same job. `work` is what was
asked and never changes; `progress` is what was done and only grows; `intents` are the calls about to be made
that AWS gives no idempotency token for, each with the moment it was recorded.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Generic, NewType, TypeAlias, TypeVar

from chalicelib.catalog.recovery_point import RecoveryPoint

JobId = NewType("JobId", str)
Action = TypeVar("Action", covariant=True)


class JobKind(StrEnum):
    """What a job is for."""

    BACKUP = "backup"
    COPY = "copy"
    RESTORE = "restore"
    EXPIRE = "expire"


class JobState(StrEnum):
    """Where a job stands. `COMPLETED`, `FAILED` and `CANCELLED` are final."""

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
class Job:
    """One piece of work. `method` says how its kind is done: a backup by `snapshot` or by `service` script,
    ..."""

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
    reason: str
    work: Mapping[str, Any]
    progress: Mapping[str, Any] = field(default_factory=dict)
    intents: Mapping[str, datetime] = field(default_factory=dict)
    attempts: int = 0

    def intended(self, name: str, now: datetime) -> "Job":
        """Return the job with the intent `name` recorded at `now`."""
        return replace(self, intents={**self.intents, name: now}, updated_at=now)

    def progressed(self, changes: Mapping[str, Any], now: datetime) -> "Job":
        """Return the job with `changes` laid over its progress, and its count of failed attempts at zero."""
        return replace(self, progress={**self.progress, **changes}, attempts=0, updated_at=now)


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A job to be opened. `key` says what makes it one of its kind; with the kind and method it gives the
    id."""

    kind: JobKind
    method: str
    service: str
    plan: str
    rule: str
    nominal_at: datetime
    key: tuple[str, ...]
    work: Mapping[str, Any]
    reason: str

    @property
    def id(self) -> JobId:
        """The deterministic id: the same request, made again, has the same one."""
        return JobId(f"{self.kind}-{fingerprint(self.kind, self.method, *self.key)}")

    def opened(self, now: datetime) -> Job:
        """Return the queued job that this request asks for."""
        return Job(
            id=self.id,
            kind=self.kind,
            method=self.method,
            state=JobState.QUEUED,
            service=self.service,
            plan=self.plan,
            rule=self.rule,
            nominal_at=self.nominal_at,
            created_at=now,
            updated_at=now,
            reason=self.reason,
            work=self.work,
        )


def fingerprint(*parts: str) -> str:
    """Return 24 hexadecimal digits that stand for `parts`; parts cannot run into each other."""
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


@dataclass(frozen=True, slots=True)
class Do(Generic[Action]):
    """Act now. With an `intent` the intent is recorded before the act: its call has no idempotency token."""

    action: Action
    reason: str
    intent: str | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before an event, or before `until`, whichever comes first."""

    until: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The job is over. `point` is recorded and the jobs in `opens` are opened before the state is."""

    state: JobState
    reason: str
    point: RecoveryPoint | None = None
    opens: tuple[JobRequest, ...] = ()


Decision: TypeAlias = Do[Action] | Wait | Finish

# How long a call that may have been made is looked for before it is made again: EC2 and SSM are eventually
# consistent
# (https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html), normally for seconds.
ADOPTION_GRACE = timedelta(minutes=2)

# How often a waiting job looks by itself, should its completion event be lost.
LOST_EVENT_AFTER = timedelta(minutes=10)


def may_have_been_made(job: Job, intent: str, now: datetime) -> bool:
    """Say whether the call of `intent` may have been made and not be visible yet."""
    recorded_at = job.intents.get(intent)
    return recorded_at is not None and now < recorded_at + ADOPTION_GRACE


def look_again(job: Job, intent: str) -> Wait:
    """Wait until a call that may have been made must be visible."""
    until = job.intents[intent] + ADOPTION_GRACE
    return Wait(
        until, f"{intent} may have been made already; looking for its result until {until:%H:%M:%S} UTC"
    )
