"""The decisions that a handler may return, and the result of a step. Pure values.

The engine carries out `Do | Wait | Finish | Fail`. It records a failure before `clean_up` sees the job.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, TypeAlias, TypeVar

from chalicelib.catalog.store.writes import Write
from chalicelib.jobs.job import ADOPTION_GRACE, LOST_EVENT_AFTER, AnyJob, AnyRequest, Budget, JobState

Action = TypeVar("Action", covariant=True)
Progress = TypeVar("Progress", covariant=True)


@dataclass(frozen=True, slots=True)
class Do(Generic[Action]):
    """Act now.

    The `intent` is recorded before the act, because the call has no idempotency token; `first` is written in
    the same transaction. `locks` and `slots` (`REGION/PURPOSE`) are acquired in it, too, and released by a
    `Step`. An act that `deletes` something of a recovery point is left to the function that may.
    """

    action: Action
    reason: str
    intent: str | None = None
    budget: Budget | None = None
    locks: tuple[str, ...] = ()
    slots: tuple[str, ...] = ()
    first: tuple[Write, ...] = ()
    deletes: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing before an event, or before `until`, whichever comes first."""

    until: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Finish:
    """End the job. `writes` and the jobs in `opens` are committed with its end."""

    reason: str
    writes: tuple[Write, ...] = ()
    opens: tuple[AnyRequest, ...] = ()


@dataclass(frozen=True, slots=True)
class Fail:
    """The job cannot be done: from here on it is cleaned up. Only the engine cancels."""

    reason: str
    outcome: JobState = JobState.FAILED


Decision: TypeAlias = Do[Action] | Wait | Finish | Fail
Cleaning: TypeAlias = Do[Action] | Wait | Finish


@dataclass(frozen=True, slots=True)
class Rest:
    """Wait for the event that ends what an act has begun; without one, observe again after `span`."""

    reason: str
    span: timedelta = LOST_EVENT_AFTER


@dataclass(frozen=True, slots=True)
class Step(Generic[Progress]):
    """The result of an act. Anything but `progress` is committed at once, in one transaction with it.

    With a `rest` the job is parked in it, too: what has only begun need not be observed yet.
    """

    progress: Progress
    writes: tuple[Write, ...] = ()
    children: tuple[AnyRequest, ...] = ()
    unlocks: tuple[str, ...] = ()
    freed: tuple[str, ...] = ()
    rest: Rest | None = None

    @property
    def must_be_committed(self) -> bool:
        """Whether the step holds more than progress."""
        return bool(self.writes or self.children or self.unlocks or self.freed)


@dataclass(frozen=True, slots=True)
class Children:
    """The child jobs of a job, by id: the state of each and the reason of those that are over."""

    states: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def unfinished(self) -> tuple[str, ...]:
        """The children that are not over."""
        return tuple(child for child, state in self.states.items() if state == "OPEN")

    @property
    def unsuccessful(self) -> tuple[str, ...]:
        """The children that failed or were cancelled."""
        return tuple(child for child, state in self.states.items() if state not in ("OPEN", "COMPLETED"))


def look_again(job: AnyJob, what: str) -> Wait:
    """Return a wait until the call of the job's intent must be visible if it was made."""
    if job.intent is None:
        raise ValueError(f"{job.id} has no intent")
    until = job.intent.at + ADOPTION_GRACE
    return Wait(
        until, f"{what} may have been called already; looking for its result until {until:%H:%M:%S} UTC"
    )
