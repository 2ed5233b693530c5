"""Restores volumes from a recovery point's snapshots, in the region of the chosen vault.

Many snapshots are restored by child jobs, each restoring one part.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from chalicelib.aws.ec2 import Ec2, Volume
from chalicelib.catalog.recovery_point import TAG_JOB, SnapshotRef
from chalicelib.catalog.store.points import PointStore
from chalicelib.catalog.store.writes import Write
from chalicelib.errors import NotFound
from chalicelib.jobs.decision import Children, Cleaning, Decision, Do, Fail, Finish, Rest, Step, Wait
from chalicelib.jobs.handler import Turn
from chalicelib.jobs.job import ADOPTION_GRACE, LOST_EVENT_AFTER, Budget, Job
from chalicelib.jobs.volume_plan import planned_volume, wanted_by
from chalicelib.jobs.work import VolumeRestoreWork, volume_part
from chalicelib.recovery.making import BROKEN, made_unseen, make_volume, state_of

PARTS_OPENED_AT_ONCE = 30


@dataclass(frozen=True, slots=True)
class VolumeProgress:
    """How far a restore of volumes is: the volume of each snapshot, when the last was made, and the parts
    opened; in cleaning, whether volumes were looked for whose answer was lost."""

    made: Mapping[str, str] = field(default_factory=dict)
    made_at: datetime | None = None
    looked: bool = False
    parts_opened: int = 0


VolumeJob = Job[VolumeRestoreWork, VolumeProgress]


@dataclass(frozen=True, slots=True)
class VolumeRestoreObservation:
    """The snapshots to restore, the volumes by their ids, and the number of parts of a large point."""

    refs: tuple[SnapshotRef, ...] = ()
    volumes: Mapping[str, Volume] = field(default_factory=dict)
    parts: int = 0
    children: Children = field(default_factory=Children)


@dataclass(frozen=True, slots=True)
class Create:
    """Make a volume of one snapshot; `last` when all others have been made."""

    ref: SnapshotRef
    last: bool


@dataclass(frozen=True, slots=True)
class OpenParts:
    """Open child jobs for the next parts."""

    first: int
    number: int


@dataclass(frozen=True, slots=True)
class Note:
    """Record volumes made by calls whose answer was lost, to name them in the reason."""

    made: Mapping[str, str]


Action = Create | OpenParts | Note


@dataclass(frozen=True, slots=True)
class VolumeRestore:
    """Restores volumes; `ec2` returns EC2 of a region."""

    points: PointStore
    ec2: Callable[[str], Ec2]
    work = VolumeRestoreWork
    progress = VolumeProgress
    deadline = timedelta(days=2)

    def observe(self, job: VolumeJob, children: Children) -> VolumeRestoreObservation:
        """Return the point's snapshots and the volumes that the job has recorded."""
        point = self.points.get(job.work.recovery_point)
        if point is None:
            raise NotFound("no such recovery point", operation="restoring", resource=job.work.recovery_point)
        parts = point.artefacts[job.work.vault].snapshots.shards if job.work.shard is None else 0
        if parts:
            return VolumeRestoreObservation(parts=parts, children=children)
        refs = self.points.shard(point, job.work.vault, job.work.shard or 0)
        if job.failure is not None:
            found = self.ec2(job.work.region).volumes_tagged(TAG_JOB, job.id)
            return VolumeRestoreObservation(refs, {volume.id: volume for volume in found})
        made = self.ec2(job.work.region).volumes(job.progress.made.values()) if job.progress.made else []
        return VolumeRestoreObservation(refs, {volume.id: volume for volume in made})

    def decide(self, job: VolumeJob, seen: VolumeRestoreObservation, now: datetime) -> Decision[Action]:
        """Make each volume, then wait until all are available."""
        if seen.parts:
            return _decide_parts(job, seen, now)
        if not seen.refs:
            return Fail(f"{job.work.vault} holds no snapshots of {job.work.recovery_point}")
        made = job.progress.made
        for number, ref in enumerate(seen.refs):
            if ref.id not in made:
                said = f"making volume {number + 1} of {len(seen.refs)}, of {ref.id}"
                last = len(made) == len(seen.refs) - 1
                return Do(Create(ref, last), said, budget=Budget("CreateVolume", job.work.region))
        made_at = job.progress.made_at
        states = {id: state_of(seen.volumes.get(id), made_at, now) for id in made.values()}
        broken = sorted(volume for volume, state in states.items() if state in BROKEN)
        if broken:
            return Fail(f"EC2 could not make {', '.join(broken)}")
        pending = sorted(volume for volume, state in states.items() if state not in ("available", "in-use"))
        if pending:
            return Wait(now + LOST_EVENT_AFTER, f"waiting for {', '.join(pending)}")
        return Finish(f"restored {', '.join(sorted(states))}")

    def clean_up(self, job: VolumeJob, seen: VolumeRestoreObservation, now: datetime) -> Cleaning[Action]:
        """End; volumes that were made stay for the operator to examine, and the reason names them.

        Volumes made by calls whose answer was lost are looked for until EC2 must show them; a tag is enough
        to name one.
        """
        if not (job.progress.looked or seen.parts) and job.failure is not None:
            visible_at = job.failure.at + ADOPTION_GRACE
            if now < visible_at and any(ref.id not in job.progress.made for ref in seen.refs):
                return Wait(visible_at, f"{job.failure.reason}; looking for volumes whose answer was lost")
            unseen = made_unseen(job, seen.refs, job.progress.made, seen.volumes.values())
            return Do(Note({**job.progress.made, **unseen}), "noting the volumes that were made")
        reason, made = (
            job.failure.reason if job.failure else job.reason,
            ", ".join(job.progress.made.values()),
        )
        return Finish(f"{reason}; made before that and left there: {made}" if made else reason)

    def abandon(self, job: VolumeJob, now: datetime) -> tuple[Write, ...]:
        """Record nothing."""
        return ()

    def leftovers(self, job: VolumeJob) -> tuple[str, ...]:
        """Return the volumes that were made."""
        return tuple(job.progress.made.values())

    def act(self, job: VolumeJob, action: Action, turn: Turn) -> Step[VolumeProgress]:
        """Call CreateVolume, or open parts."""
        progress = job.progress
        match action:
            case OpenParts(first=first, number=number):
                children = tuple(volume_part(job, part) for part in range(first, first + number))
                return Step(replace(progress, parts_opened=first + number), children=children)
            case Note(made=made):
                return Step(replace(progress, made=made, looked=True))
            case Create(ref=ref, last=last):
                spec = planned_volume(ref, wanted_by(job.work)).spec
                volume = make_volume(self.ec2(job.work.region), job, ref, job.work.availability_zone, spec)
                made = {**progress.made, ref.id: volume.id}
                rest = Rest(f"waiting for {', '.join(made.values())}") if last else None
                return Step(replace(progress, made=made, made_at=job.updated_at), rest=rest)


def _decide_parts(job: VolumeJob, seen: VolumeRestoreObservation, now: datetime) -> Decision[Action]:
    failures, left = seen.children.unsuccessful, len(seen.children.unfinished)
    opened = job.progress.parts_opened
    if failures:
        return Fail(f"{failures[0]}: {seen.children.reasons.get(failures[0], 'it was not made')}")
    if opened < seen.parts:
        number = min(PARTS_OPENED_AT_ONCE, seen.parts - opened)
        return Do(OpenParts(opened, number), f"opened {opened} of {seen.parts} parts")
    if left:
        return Wait(now + LOST_EVENT_AFTER, f"{left} of {seen.parts} parts are under way")
    return Finish(f"restored {seen.parts} parts; each child job names its volumes")
