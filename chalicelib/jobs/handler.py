"""What every kind of job must provide. `decide`, `clean_up`, `abandon` and `leftovers` are pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from chalicelib.catalog.store.writes import Write
from chalicelib.jobs.decision import Children, Cleaning, Decision, Step
from chalicelib.jobs.job import AnyJob, JobKind


@dataclass(frozen=True, slots=True)
class Turn:
    """One worker's turn at one job: an act stops before `until` and returns how far it got."""

    until: datetime


class JobHandler(Protocol):
    """How one kind of job is done by one method, e.g. a backup by snapshot."""

    work: type[Any]
    progress: type[Any]

    @property
    def deadline(self) -> timedelta:
        """The longest that a job may take, whatever it waits for."""

    def observe(self, job: AnyJob, children: Children) -> Any:
        """Return what the world shows of this job, and only what its next step depends on."""

    def decide(self, job: AnyJob, seen: Any, now: datetime) -> Decision[Any]:
        """Return what to do next, and why."""

    def clean_up(self, job: AnyJob, seen: Any, now: datetime) -> Cleaning[Any]:
        """Return what to do next for a job whose failure is recorded: from recorded ids, never forward."""

    def act(self, job: AnyJob, action: Any, turn: Turn) -> Step[Any]:
        """Carry out an action and return what it has led to."""

    def abandon(self, job: AnyJob, now: datetime) -> tuple[Write, ...]:
        """Return what is to be recorded when a job ends that could not be cleaned up."""

    def leftovers(self, job: AnyJob) -> tuple[str, ...]:
        """Return what of the job's recorded ids is still there."""


Handlers = Mapping[tuple[JobKind, str], JobHandler]
