"""What every handler of jobs must provide. `decide`, `clean_up`, `abandon` and `leftovers` are pure."""

from collections.abc import Callable, Iterator, Mapping
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
    """Does the jobs of one kind by one method, e.g. a backup by snapshot."""

    work: type[Any]
    progress: type[Any]

    @property
    def deadline(self) -> timedelta:
        """The longest time that a job may take, including all waiting."""

    def observe(self, job: AnyJob, children: Children) -> Any:
        """Return what the job's next step depends on, and nothing else."""

    def decide(self, job: AnyJob, seen: Any, now: datetime) -> Decision[Any]:
        """Return what to do next, and why."""

    def clean_up(self, job: AnyJob, seen: Any, now: datetime) -> Cleaning[Any]:
        """Return the next step for a job whose failure is recorded: from recorded ids, never forward."""

    def act(self, job: AnyJob, action: Any, turn: Turn) -> Step[Any]:
        """Carry out an action and return its result."""

    def abandon(self, job: AnyJob, now: datetime) -> tuple[Write, ...]:
        """Return the writes for a job that ends without having been cleaned up."""

    def leftovers(self, job: AnyJob) -> tuple[str, ...]:
        """Return those of the job's recorded ids that still exist."""


Handlers = Mapping[tuple[JobKind, str], JobHandler]


class HandlersOnDemand(Handlers):
    """Handlers that are made when they are first asked for: one job's worker needs only one of them."""

    def __init__(self, makers: Mapping[tuple[JobKind, str], Callable[[], JobHandler]]) -> None:
        self._makers = makers
        self._made: dict[tuple[JobKind, str], JobHandler] = {}

    def __getitem__(self, key: tuple[JobKind, str]) -> JobHandler:
        """Return the handler of a kind and method."""
        if key not in self._made:
            self._made[key] = self._makers[key]()
        return self._made[key]

    def __iter__(self) -> Iterator[tuple[JobKind, str]]:
        """Iterate over the kinds and methods."""
        return iter(self._makers)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._makers)
