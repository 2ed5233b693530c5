"""What a kind of job may decide, and what a step leaves behind. Pure values.

`Do | Wait | Finish | Fail`: the engine carries them out. A failure that is decided is recorded by the engine
before `clean_up` sees the job.
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

    With an `intent` it is recorded before the act, because the call has no idempotency token; `first` is
    written in the same transaction. `locks` and `slots` (`REGION/PURPOSE`) are claimed in it, too, and given
    back by a `Step`.
    """

    action: Action
    reason: str
    intent: str | None = None
    budget: Budget | None = None
    locks: tuple[str, ...] = ()
    slots: tuple[str, ...] = ()
    first: tuple[Write, ...] = ()


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before an event, or before `until`, whichever comes first."""

    until: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The job is over. `writes` and the jobs in `opens` are committed with its end."""

    reason: str
    writes: tuple[Write, ...] = ()
    opens: tuple[AnyRequest, ...] = ()


@dataclass(frozen=True, slots=True)
class Fail:
    """The job cannot be done; what it made is cleaned up from here on. Only the engine cancels."""

    reason: str
    outcome: JobState = JobState.FAILED


Decision: TypeAlias = Do[Action] | Wait | Finish | Fail
Cleaning: TypeAlias = Do[Action] | Wait | Finish


@dataclass(frozen=True, slots=True)
class Rest:
    """What an act has begun takes its time, and an event tells its end; without one, look after `span`."""

    reason: str
    span: timedelta = LOST_EVENT_AFTER


@dataclass(frozen=True, slots=True)
class Step(Generic[Progress]):
    """What an act has led to. Anything but `progress` is committed at once, in one transaction with it.

    With a `rest` the job is parked in it, too: there is nothing to see of what has only begun.
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
    """How a job's children stand, by their ids: the state of each and the reason of those that are over."""

    states: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def unfinished(self) -> tuple[str, ...]:
        """The children that are not over."""
        return tuple(child for child, state in self.states.items() if state == "OPEN")

    @property
    def unsuccessful(self) -> tuple[str, ...]:
        """The children that ended otherwise than well."""
        return tuple(child for child, state in self.states.items() if state not in ("OPEN", "COMPLETED"))


def look_again(job: AnyJob, what: str) -> Wait:
    """Wait until the call of the job's intent must be visible if it was made."""
    if job.intent is None:
        raise ValueError(f"{job.id} has no intent")
    until = job.intent.at + ADOPTION_GRACE
    return Wait(
        until, f"{what} may have been called already; looking for its result until {until:%H:%M:%S} UTC"
    )
