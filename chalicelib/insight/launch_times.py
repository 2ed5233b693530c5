"""How long launches and restores really took, from the request to each step, as p50 and p99. Pure.

Launches are counted apart by how they began: one at a time, or many at once, because a cloud that starts one
instance in a minute may take much longer for a hundred.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

from chalicelib.catalog.values import Answer, says
from chalicelib.jobs.job import AnyJob, JobKind
from chalicelib.jobs.step_times import STEPS, in_seconds, nearest_rank
from chalicelib.plans.durations import render_duration

# So many launches that began within this time are "many at once".
MANY = 10
AT_ONCE = timedelta(minutes=5)


class StepTimes(Answer):
    """How long it took from the request until a step was reached, rounded up to whole seconds."""

    step: Annotated[
        str,
        says("`running`, `online` (the SSM agent answers), `restored` or `verified` (by the verify script)"),
    ]
    count: Annotated[int, says("how many were measured")]
    p50: Annotated[str, says("half of them took no longer (nearest rank)")]
    p99: Annotated[str, says("99 of 100 took no longer (nearest rank: with fewer than 100, the slowest)")]


class LaunchTimesAnswer(Answer):
    """How long launches and restores of a service took."""

    one_at_a_time: Annotated[tuple[StepTimes, ...], says("launches that did not begin many at once")]
    many_at_once: Annotated[
        tuple[StepTimes, ...], says(f"launches that began {MANY} or more within {render_duration(AT_ONCE)}")
    ]
    restores: Annotated[tuple[StepTimes, ...], says("restores that were asked for")]
    says: Annotated[str, says("how many there were, or that there was none yet")]


@dataclass(frozen=True, slots=True)
class LaunchTimes:
    """When a launch or a restore began and when it reached each step; None: it did not, or was not seen."""

    began_at: datetime
    running_at: datetime | None = None
    online_at: datetime | None = None
    restored_at: datetime | None = None
    verified_at: datetime | None = None

    def until(self, step: str) -> timedelta | None:
        """Return how long it took to reach a step."""
        at: datetime | None = getattr(self, f"{step}_at")
        return at - self.began_at if at is not None else None


def launch_times(job: AnyJob, *, verified: bool) -> LaunchTimes:
    """Return when a completed job reached its steps; `verified` says whether a verify script ran in it.

    A launch records each step. Of a restore only its end is known.
    """
    if job.kind is JobKind.LAUNCH:
        progress: Any = job.progress
        steps = {f"{step}_at": getattr(progress, f"{step}_at", None) for step in STEPS}
        return LaunchTimes(getattr(job.work, "began_at", job.created_at), **steps)
    if verified:
        return LaunchTimes(job.created_at, verified_at=job.updated_at)
    return LaunchTimes(job.created_at, restored_at=job.updated_at)


@dataclass(frozen=True, slots=True)
class Measured:
    """The launches and the restores of a service that completed."""

    launches: tuple[LaunchTimes, ...] = ()
    restores: tuple[LaunchTimes, ...] = ()

    def slowest(self) -> timedelta | None:
        """Return the longest p99 until the data was back; None where nothing was measured."""
        alone, together = apart_by_beginning(self.launches)
        found = (_last_p99(group) for group in (alone, together, self.restores))
        return max((each for each in found if each is not None), default=None)

    def answer(self) -> LaunchTimesAnswer:
        """Return the times as the API answers them."""
        alone, together = apart_by_beginning(self.launches)
        return LaunchTimesAnswer(
            one_at_a_time=tuple(_steps(alone)),
            many_at_once=tuple(_steps(together)),
            restores=tuple(_steps(self.restores)),
            says=self._says(),
        )

    def _says(self) -> str:
        if not self.launches and not self.restores:
            return "no launch and no restore of this service has completed yet, so nothing was measured"
        return f"launches: {len(self.launches):,}, restores: {len(self.restores):,}"


def apart_by_beginning(
    launches: Iterable[LaunchTimes],
) -> tuple[tuple[LaunchTimes, ...], tuple[LaunchTimes, ...]]:
    """Return the launches that began one at a time, and those that began many at once."""
    ordered = sorted(launches, key=lambda each: each.began_at)
    crowded: set[int] = set()
    first = 0
    for last, launch in enumerate(ordered):
        while launch.began_at - ordered[first].began_at > AT_ONCE:
            first += 1
        if last - first + 1 >= MANY:
            crowded.update(range(first, last + 1))
    alone = tuple(each for number, each in enumerate(ordered) if number not in crowded)
    return alone, tuple(ordered[number] for number in sorted(crowded))


def _steps(group: Sequence[LaunchTimes]) -> Iterator[StepTimes]:
    for step in STEPS:
        taken = [time for each in group if (time := each.until(step)) is not None]
        if taken:
            yield StepTimes(
                step=step,
                count=len(taken),
                p50=in_seconds(nearest_rank(taken, 50)),
                p99=in_seconds(nearest_rank(taken, 99)),
            )


def _last_p99(group: Sequence[LaunchTimes]) -> timedelta | None:
    """Return the p99 of the time until the data was back: verified, where a script verified it."""
    ends = [end for each in group if (end := each.until("verified") or each.until("restored")) is not None]
    return nearest_rank(ends, 99) if ends else None
