"""How far a job is that starts instances, where its next call launches how many, and how it ends. Pure.

Invariant: the next call follows from what is recorded alone, so a call that is made again, because its answer
was lost, has the same parameters under the same token.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from chalicelib.aws.ec2 import Instance
from chalicelib.ids import fingerprint
from chalicelib.jobs.job import AnyJob, Job, JobState
from chalicelib.jobs.removal import Removal
from chalicelib.jobs.step_times import steps_in_words
from chalicelib.jobs.work import StartWork

REASONS_SAID = 3


@dataclass(frozen=True, slots=True)
class StartProgress:
    """How far it is: `made` are the instances with their zones, `by_place` how many are in each of the
    places; `calls` were answered; the places that are `full`, and what EC2 `said` last of
    one; how many are launched `at_once` since a limit
    of the account was met (0: any number); why there will be no more (`refusal`); of how many the launch is
    `opened`. In cleaning: whether launches were `ended`, what is `doomed` and removed."""

    calls: int = 0
    made: Mapping[str, str] = field(default_factory=dict)
    by_place: Mapping[int, int] = field(default_factory=dict)
    full: tuple[int, ...] = ()
    said: str = ""
    at_once: int = 0
    refusal: str = ""
    opened: int = 0
    ended: bool = False
    doomed: tuple[str, ...] = ()
    removal: Removal = field(default_factory=Removal)


StartJob = Job[StartWork, StartProgress]


@dataclass(frozen=True, slots=True)
class StartSeen:
    """What is seen: the launch of each instance; in cleaning, the instances that a call made unheard."""

    launches: Mapping[str, AnyJob] = field(default_factory=dict)
    unheard: tuple[Instance, ...] = ()

    def under_way(self) -> tuple[str, ...]:
        """Return the instances whose launch is not over."""
        return tuple(id for id, job in self.launches.items() if not job.state.final)

    def succeeded(self, instance: str) -> bool:
        """Return whether an instance's launch has ended well."""
        job = self.launches.get(instance)
        return job is not None and job.state is JobState.COMPLETED


@dataclass(frozen=True, slots=True)
class Call:
    """A call that launches `most` instances at most, in the place of this number."""

    number: int
    most: int


def next_call(job: StartJob) -> Call | None:
    """Return the next call that launches instances, None when all are there or there will be no more.

    All go to the first place that has room; where they are to be spread, as many to each.
    """
    work, progress = job.work, job.progress
    left = work.count - len(progress.made)
    places = [number for number in range(len(work.places)) if number not in progress.full]
    if left <= 0 or not places or progress.refusal:
        return None
    most = min(left, progress.at_once or left)
    if not work.spread:
        return Call(places[0], most)
    least = min(progress.by_place.get(number, 0) for number in places)
    behind = [number for number in places if progress.by_place.get(number, 0) == least]
    return Call(behind[0], min(most, -(-left // len(behind))))


def token_of(job: StartJob) -> str:
    """Return the client token of the next call: another one for each that was answered."""
    return fingerprint(job.id, "RunInstances", str(job.progress.calls))


def no_room(job: StartJob) -> str:
    """Return that no place has room for the rest, and what to do."""
    left = job.work.count - len(job.progress.made)
    places = ", ".join(map(str, job.work.places))
    said = f" ({job.progress.said})" if job.progress.said else ""
    return (
        f"EC2 has no room for {left} more {job.work.template.instance_type}: {places}{said}; name another "
        "`instance_type`, or more zones or subnets, or try later"
    )


def started_in_words(job: StartJob) -> str:
    """Return how many instances were started, and where."""
    made, count = job.progress.made, job.work.count
    zones = sorted(set(made.values()))
    where = ", ".join(f"{list(made.values()).count(zone)} in {zone}" for zone in zones)
    return f"started {len(made)} of {count} instances of {job.service}" + (f": {where}" if where else "")


def outcome(job: StartJob, seen: StartSeen) -> str:
    """Return what was started, and how long its steps took from the request."""
    well = [each for id, each in seen.launches.items() if seen.succeeded(id)]
    times = steps_in_words(job.nominal_at, (each.progress for each in well))
    return "; ".join(filter(None, (started_in_words(job), times)))


def unsuccessful(job: StartJob, seen: StartSeen) -> tuple[str, ...]:
    """Return the started instances whose launch has not ended well."""
    return tuple(id for id in job.progress.made if not seen.succeeded(id))


def failures(job: StartJob, seen: StartSeen) -> str:
    """Return which launches have not ended well, naming every instance, the first with its reason; "" if all
    have."""
    bad = unsuccessful(job, seen)
    if not bad:
        return ""
    why = [f"{id} ({_why(seen.launches.get(id))})" for id in bad[:REASONS_SAID]]
    return (
        f"{len(bad)} of {len(job.progress.made)} were not launched: {', '.join([*why, *bad[REASONS_SAID:]])}"
    )


def _why(launch: AnyJob | None) -> str:
    return f"{launch.id}: {launch.reason}" if launch else "its launch was not opened"


def adopting(progress: StartProgress, instances: tuple[Instance, ...]) -> dict[str, str]:
    """Return the instances that are recorded, and these."""
    return {**progress.made, **{each.id: each.availability_zone for each in instances}}
