"""A backup by snapshot: all chosen volumes of a service's instances, crash-consistent for each instance.

Invariant: one snapshot per chosen volume, or no recovery point. A snapshot whose id no answer told is adopted
only when it began after the intent was recorded, is of a volume asked for, and its description, which nobody
can change, carries the job's secret. Only recorded ids are deleted. While one instance is snapshotted no
restore works on it. Many instances are made by child jobs, each making a part of the point.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from chalicelib.aws.ec2 import Ec2, Instance, Snapshot, Volume
from chalicelib.backup.point import folder_of, follow_ups, point_without_artefacts, tags_of
from chalicelib.catalog.recovery_point import Artefact, PointState, RecoveryPoint, SnapshotRef
from chalicelib.catalog.store import points, services
from chalicelib.catalog.store.instances import InstanceLists
from chalicelib.catalog.store.points import PointStore
from chalicelib.catalog.store.rules import RuleStore
from chalicelib.catalog.store.table import Write
from chalicelib.jobs.claims import lock_of_instance
from chalicelib.jobs.decision import (
    Children,
    Cleaning,
    Decision,
    Do,
    Fail,
    Finish,
    Rest,
    Step,
    Wait,
    look_again,
)
from chalicelib.jobs.handler import Turn
from chalicelib.jobs.job import (
    ADOPTION_GRACE,
    LOST_EVENT_AFTER,
    Budget,
    Job,
    began_after_intent,
    may_have_been_made,
)
from chalicelib.jobs.removal import Removal, remove
from chalicelib.jobs.work import INSTANCES_PER_JOB, BackupWork, backup_part
from chalicelib.plans.model import Rule, SnapshotRule
from chalicelib.plans.selection import VolumeChoice, chooses
from chalicelib.vaults.layout import manifest_key
from chalicelib.vaults.manifest import Manifest, SnapshotOf, to_json
from chalicelib.vaults.vault import Vault

GIB = 1024**3
DELETED_AT_ONCE = 10
PARTS_OPENED_AT_ONCE = 30
# A point's record names this many of its instances; the manifest names all.
INSTANCES_NAMED = 20


@dataclass(frozen=True, slots=True)
class ChosenVolume:
    """A volume to snapshot."""

    id: str
    device: str
    size_gib: int


@dataclass(frozen=True, slots=True)
class Source:
    """One instance to snapshot: its chosen volumes, the data volumes left out, and whether the boot volume is
    among the chosen."""

    instance: str
    volumes: tuple[ChosenVolume, ...]
    left_out: tuple[str, ...]
    boot: bool

    @property
    def intent(self) -> str:
        """The name of the call that snapshots it."""
        return f"CreateSnapshots of {self.instance}"


@dataclass(frozen=True, slots=True)
class SnapshotProgress:
    """How far a backup by snapshot is: the instances and volumes chosen, the snapshot of each volume, those
    that were made twice, the parts opened (of a large one), the shards cleaned up."""

    sources: tuple[Source, ...] | None = None
    made: Mapping[str, str] = field(default_factory=dict)
    made_at: datetime | None = None
    spare: tuple[str, ...] = ()
    removal: Removal = field(default_factory=Removal)
    described: bool = False
    parts_opened: int = 0
    shards_cleaned: int = 0


SnapshotJob = Job[BackupWork, SnapshotProgress]


@dataclass(frozen=True, slots=True)
class Seen:
    """What the world shows, as far as the next step depends on it."""

    rule: Rule
    instances: tuple[Instance, ...] = ()
    volumes: Mapping[str, Volume] = field(default_factory=dict)
    candidates: tuple[Snapshot, ...] = ()
    snapshots: Mapping[str, Snapshot] = field(default_factory=dict)
    listed: tuple[str, ...] = ()
    children: Children = field(default_factory=Children)
    shard: tuple[SnapshotRef, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Choose:
    """Settle which volumes are snapshotted, once and for all."""

    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Create:
    """Snapshot one instance."""

    source: Source


@dataclass(frozen=True, slots=True)
class Adopt:
    """Take down the snapshots, seen at `seen_at`, that a call has made whose answer nobody got."""

    source: Source
    made: Mapping[str, str]
    spare: tuple[str, ...]
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class OpenParts:
    """Open child jobs for the next instances."""

    first: int
    chunks: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class WriteManifest:
    """Write the manifest of the point."""


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete snapshots that the job made."""

    snapshots: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DropShard:
    """Forget a part of a failed point whose snapshots are deleted."""

    number: int


Action = Choose | Create | Adopt | OpenParts | WriteManifest | Delete | DropShard


@dataclass(frozen=True, slots=True)
class SnapshotBackup:
    """Makes recovery points of snapshots. `vault_kinds` tells, by vault name, how copies are made."""

    ec2: Ec2
    points: PointStore
    rules: RuleStore
    lists: InstanceLists
    primary: Vault
    vault_kinds: Mapping[str, str]
    work = BackupWork
    progress = SnapshotProgress

    def observe(self, job: SnapshotJob, children: Children) -> Seen:
        """Look only at what the job's next step depends on."""
        seen, progress = Seen(self.rules.get(job.work.rule), children=children), job.progress
        if job.work.listed is not None:
            return self._observe_parts(job, seen)
        if progress.sources is None and job.failure is None:
            instances = tuple(self.ec2.instances_by_id(job.work.instances))
            attached = [volume.volume_id for instance in instances for volume in instance.volumes]
            volumes = {volume.id: volume for volume in self.ec2.volumes(attached)}
            return replace(seen, instances=instances, volumes=volumes)
        if job.intent is not None:
            return replace(
                seen, candidates=tuple(self.ec2.snapshots_described(f"{job.mark(job.intent.name)} "))
            )
        if job.failure is None and not _unmade(progress):
            found = self.ec2.snapshots_by_id(progress.made.values())
            return replace(seen, snapshots={snapshot.id: snapshot for snapshot in found})
        return seen

    def _observe_parts(self, job: SnapshotJob, seen: Seen) -> Seen:
        if job.failure is not None:
            number = job.progress.shards_cleaned
            shard = self.points.stored_shard(job.work.recovery_point, "primary", number)
            return replace(seen, shard=shard)
        if job.progress.parts_opened < _parts(job.work):
            return replace(seen, listed=self.lists.get(job.work.listed or ""))
        if job.progress.described:
            stored = (
                self.points.stored_shard(job.work.recovery_point, "primary", number)
                for number in range(_parts(job.work))
            )
            return replace(seen, missing=self.ec2.not_completed(ref.id for refs in stored for ref in refs))
        return seen

    def decide(self, job: SnapshotJob, seen: Seen, now: datetime) -> Decision[Action]:
        """Choose the volumes, snapshot each instance, wait for all, describe the point."""
        if job.work.listed is not None:
            return self._decide_parts(job, seen, now)
        if job.progress.sources is None:
            return _choose(job, seen)
        for source in _unmade(job.progress):
            return self._decide_source(job, source, seen, now)
        if spare := job.progress.removal.left_of(job.progress.spare):
            due = job.progress.removal.due(spare, now)
            if not isinstance(due, Wait):
                return self._delete(due, f"deleting {len(due)} snapshots that were made twice")
        waiting = _still_pending(job, seen, now)
        return waiting or self._decide_end(job, seen, now)

    def _decide_source(self, job: SnapshotJob, source: Source, seen: Seen, now: datetime) -> Decision[Action]:
        if job.intent is not None and job.intent.name == source.intent:
            adopted = _adopted(job, source, seen.candidates, now)
            if adopted is not None:
                return Do(adopted, f"found the snapshots of {source.instance} that were made before")
            if may_have_been_made(job, now):
                return look_again(job, source.intent)
        begun = points.creating(_new_point(job, PointState.CREATING, "being made"), now)
        return Do(
            Create(source),
            f"snapshotting {len(source.volumes)} volumes of {source.instance}",
            intent=source.intent,
            budget=Budget("CreateSnapshots", self.ec2.region),
            locks=(lock_of_instance(source.instance),),
            first=(begun,) if job.work.shard is None and not job.progress.made else (),
        )

    def _decide_end(self, job: SnapshotJob, seen: Seen, now: datetime) -> Decision[Action]:
        refs = _refs(job)
        if job.work.shard is not None:
            shard = points.adding_shard(job.work.recovery_point, "primary", job.work.shard, refs)
            return Finish(f"{len(refs)} snapshots", (shard,))
        if not job.progress.described:
            return Do(WriteManifest(), "writing the manifest")
        began = min(each.started_at for each in seen.snapshots.values())
        return self._finished(
            job, replace(_point(job, refs, self.ec2.region), created_at=began), seen.rule, now
        )

    def _finished(self, job: SnapshotJob, point: RecoveryPoint, rule: Rule, now: datetime) -> Finish:
        opens = follow_ups(job, point, rule, self.vault_kinds, now)
        writes = (points.settling(point, now), services.counting(point, "primary", 1))
        return Finish(f"{point.artefacts['primary'].snapshot_count} snapshots", writes, opens)

    def _decide_parts(self, job: SnapshotJob, seen: Seen, now: datetime) -> Decision[Action]:
        """Open a child job for each ten instances, wait for all of them, describe the point."""
        failed = seen.children.unsuccessful
        if failed:
            return Fail(f"{failed[0]}: {seen.children.reasons.get(failed[0], 'it was not made')}")
        opened, parts = job.progress.parts_opened, _parts(job.work)
        if opened < parts:
            chunks = tuple(
                seen.listed[number * INSTANCES_PER_JOB : (number + 1) * INSTANCES_PER_JOB]
                for number in range(opened, min(parts, opened + PARTS_OPENED_AT_ONCE))
            )
            begun = points.creating(_new_point(job, PointState.CREATING, "being made"), now)
            reason = f"opened {opened} of {parts} parts"
            return Do(OpenParts(opened, chunks), reason, first=(begun,) if opened == 0 else ())
        left = len(seen.children.unfinished)
        if left:
            return Wait(now + LOST_EVENT_AFTER, f"{left} of {parts} parts are under way")
        if not job.progress.described:
            return Do(WriteManifest(), "writing the manifest")
        if seen.missing:
            return Fail(f"{', '.join(seen.missing[:5])} disappeared before the backup was complete")
        return self._finished(job, self._sharded_point(job), seen.rule, now)

    def clean_up(self, job: SnapshotJob, seen: Seen, now: datetime) -> Cleaning[Action]:
        """Delete what a failed backup made, then end; look long enough to find what was made unseen."""
        progress, reason = job.progress, job.failure.reason if job.failure else job.reason
        if job.intent is not None:
            source = next((each for each in progress.sources or () if each.intent == job.intent.name), None)
            adopted = _adopted(job, source, seen.candidates, now) if source else None
            if adopted is not None:
                return Do(adopted, f"cleaning up after: {reason}")
            if may_have_been_made(job, now):
                return look_again(job, job.intent.name)
        in_parts = job.work.listed is not None and progress.shards_cleaned < _parts(job.work)
        recorded = (*_recorded(progress), *progress.removal.refused, *(ref.id for ref in seen.shard))
        if in_parts and progress.removal.can_leave(recorded):
            return Do(DropShard(progress.shards_cleaned), f"cleaning up after: {reason}")
        due = progress.removal.due(recorded, now)
        if isinstance(due, Wait):
            return replace(due, reason=f"{reason}; {due.reason}")
        if due:
            return self._delete(due, f"cleaning up after: {reason}")
        return Finish(reason, self.abandon(job, now))

    def _delete(self, due: tuple[str, ...], reason: str) -> Do[Action]:
        some = due[:DELETED_AT_ONCE]
        return Do(Delete(some), reason, budget=Budget("DeleteSnapshot", self.ec2.region, len(some)))

    def abandon(self, job: SnapshotJob, now: datetime) -> tuple[Write, ...]:
        """Record the point as failed, so that it is never mistaken for one to restore from."""
        if job.work.shard is not None:
            return ()
        reason = job.failure.reason if job.failure else job.reason
        return (points.settling(_new_point(job, PointState.FAILED, reason), now),)

    def leftovers(self, job: SnapshotJob) -> tuple[str, ...]:
        """Name the snapshots that the job recorded and could not delete, and the parts not yet looked at."""
        left = job.progress.removal.left_of((*_recorded(job.progress), *job.progress.removal.refused))
        if job.work.listed is None:
            return left
        unseen = range(job.progress.shards_cleaned, job.progress.parts_opened)
        return (*left, *(f"part {number + 1} of {job.work.recovery_point}" for number in unseen))

    def act(self, job: SnapshotJob, action: Action, turn: Turn) -> Step[SnapshotProgress]:
        """Make the one call of the action."""
        progress = job.progress
        match action:
            case Choose(sources=sources):
                return Step(replace(progress, sources=sources))
            case Create(source=source):
                return self._create(job, source)
            case Adopt(source=source, made=made, spare=spare, seen_at=seen_at):
                taken = replace(
                    progress,
                    made={**progress.made, **made},
                    made_at=seen_at,
                    spare=(*progress.spare, *spare),
                )
                return Step(taken, unlocks=(lock_of_instance(source.instance),))
            case OpenParts(first=first, chunks=chunks):
                children = tuple(
                    backup_part(job, first + number, chunk, self.ec2.region)
                    for number, chunk in enumerate(chunks)
                )
                return Step(replace(progress, parts_opened=first + len(chunks)), children=children)
            case WriteManifest():
                manifest = self._manifest(job)
                self.primary.put(manifest_key(folder_of(job)), to_json(manifest).encode())
                return Step(replace(progress, described=True))
            case Delete(snapshots=snapshots):
                removal = remove(progress.removal, snapshots, self.ec2.delete_snapshot, job.updated_at)
                return Step(replace(progress, removal=removal))
            case DropShard(number=number):
                dropped = points.dropping_shard(job.work.recovery_point, "primary", number)
                removal = replace(progress.removal, removed=())
                return Step(replace(progress, shards_cleaned=number + 1, removal=removal), (dropped,))

    def _create(self, job: SnapshotJob, source: Source) -> Step[SnapshotProgress]:
        made = self.ec2.create_snapshots(
            source.instance,
            boot=source.boot,
            exclude_volume_ids=source.left_out,
            tags=tags_of(job),
            description=f"{job.mark(source.intent)} {job.work.recovery_point}",
        )
        wanted = {volume.id for volume in source.volumes}
        of_volume = {each.volume_id: each.id for each in made if each.volume_id in wanted}
        spare = tuple(each.id for each in made if each.volume_id not in wanted)
        progress = replace(
            job.progress,
            made={**job.progress.made, **of_volume},
            made_at=max((each.started_at for each in made), default=None),
            spare=(*job.progress.spare, *spare),
        )
        complete = not (progress.spare or _unmade(progress))
        rest = Rest(f"{len(progress.made)} snapshots are pending") if complete else None
        return Step(progress, unlocks=(lock_of_instance(source.instance),), rest=rest)

    def _sharded_point(self, job: SnapshotJob) -> RecoveryPoint:
        size, number = 0, 0
        for shard in range(_parts(job.work)):
            refs = self.points.stored_shard(job.work.recovery_point, "primary", shard)
            size, number = size + sum(ref.size_gib for ref in refs), number + len(refs)
        artefact = Artefact(
            "primary",
            PointState.AVAILABLE,
            region=self.ec2.region,
            shards=_parts(job.work),
            snapshot_count=number,
            folder=folder_of(job),
        )
        point = _new_point(job, PointState.AVAILABLE, "")
        return replace(point, size_bytes=size * GIB, artefacts={"primary": artefact})

    def _manifest(self, job: SnapshotJob) -> Manifest:
        if job.work.listed is None:
            refs: Iterable[SnapshotRef] = _refs(job)
        else:
            refs = (
                ref
                for shard in range(_parts(job.work))
                for ref in self.points.stored_shard(job.work.recovery_point, "primary", shard)
            )
        listed = tuple(SnapshotOf(r.id, self.ec2.region, r.volume_id, r.device, r.size_gib) for r in refs)
        instances = job.work.instances[:INSTANCES_NAMED]
        return Manifest(
            recovery_point=job.work.recovery_point,
            service=job.service,
            plan=job.plan,
            rule=job.rule,
            kind="snapshot",
            nominal_at=job.nominal_at,
            created_at=job.created_at,
            source={"instances": " ".join(instances), "region": self.ec2.region},
            size_bytes=sum(each.size_gib for each in listed) * GIB,
            snapshots=listed,
        )


def _choose(job: SnapshotJob, seen: Seen) -> Decision[Action]:
    choice = seen.rule.volumes if isinstance(seen.rule, SnapshotRule) else VolumeChoice()
    sources = [source for instance in seen.instances if (source := _source(instance, seen, choice))]
    if not sources:
        names = ", ".join(job.work.instances)
        which = "volumes" if choice.boot else "data volumes (the rule leaves boot volumes out)"
        there = "no longer exist" if not seen.instances else f"have no {which} to snapshot"
        return Fail(f"the instances of {job.service} {there}: {names}")
    return Do(Choose(tuple(sources)), f"chose {sum(len(s.volumes) for s in sources)} volumes")


def _source(instance: Instance, seen: Seen, choice: VolumeChoice) -> Source | None:
    """Return what to snapshot of an instance, None when the rule leaves all of it out."""
    attached = [
        (each, seen.volumes[each.volume_id]) for each in instance.volumes if each.volume_id in seen.volumes
    ]
    wanted = {volume.id for each, volume in attached if chooses(choice, boot=each.boot, tags=volume.tags)}
    if not wanted:
        return None
    return Source(
        instance.id,
        tuple(ChosenVolume(v.id, each.device, v.size_gib) for each, v in attached if v.id in wanted),
        tuple(v.id for each, v in attached if v.id not in wanted and not each.boot),
        any(v.id in wanted and each.boot for each, v in attached),
    )


def _unmade(progress: SnapshotProgress) -> tuple[Source, ...]:
    """Return the instances that no snapshot was made of yet."""
    made = progress.made
    return tuple(s for s in progress.sources or () if not any(volume.id in made for volume in s.volumes))


def _adopted(job: SnapshotJob, source: Source, candidates: Iterable[Snapshot], now: datetime) -> Adopt | None:
    """Return what to adopt of an instance's volumes: the first snapshot of each; what there is more is spare.

    Only what began after the intent, is of a volume asked for, and carries the job's secret is the job's. One
    call makes all; while some may not be visible yet none is adopted, for nobody would look for the others.
    """
    known = set(_recorded(job.progress))
    volumes = {volume.id for volume in source.volumes}
    made: dict[str, str] = {}
    spare: list[str] = []
    for snapshot in sorted(candidates, key=lambda each: (each.started_at, each.id)):
        ours = snapshot.description.startswith(f"{job.mark(source.intent)} ") and began_after_intent(
            job, snapshot.started_at
        )
        if not ours or snapshot.id in known or snapshot.volume_id not in volumes:
            continue
        if snapshot.volume_id in made:
            spare.append(snapshot.id)
        else:
            made[snapshot.volume_id] = snapshot.id
    complete = len(made) == len(volumes) or not may_have_been_made(job, now)
    return Adopt(source, made, tuple(spare), now) if made and complete else None


def _still_pending(job: SnapshotJob, seen: Seen, now: datetime) -> Wait | Fail | None:
    """Return what keeps the point from being complete: None when all its snapshots are."""
    progress = job.progress
    for source in progress.sources or ():
        missing = [volume.id for volume in source.volumes if volume.id not in progress.made]
        if missing:
            return Fail(f"{', '.join(missing)} was detached from {source.instance} during the backup")
    broken = [snapshot for snapshot in seen.snapshots.values() if snapshot.state == "error"]
    for snapshot in broken:
        why = snapshot.message or "no reason given"
        return Fail(f"EBS could not make {snapshot.id} of {snapshot.volume_id}: {why}")
    gone = [id for id in progress.made.values() if id not in seen.snapshots]
    if gone:
        visible_at = (progress.made_at or now) + ADOPTION_GRACE
        if now < visible_at:
            return Wait(visible_at, f"{', '.join(gone[:5])} is not visible yet")
        return Fail(f"{', '.join(gone)} disappeared before the backup was complete")
    pending = [snapshot for snapshot in seen.snapshots.values() if snapshot.state != "completed"]
    if pending:
        state = ", ".join(f"{snapshot.id} {snapshot.progress or 'pending'}" for snapshot in pending[:5])
        return Wait(
            now + LOST_EVENT_AFTER, f"{len(pending)} of {len(progress.made)} snapshots are pending: {state}"
        )
    return None


def _recorded(progress: SnapshotProgress) -> tuple[str, ...]:
    return (*progress.made.values(), *progress.spare)


def _parts(work: BackupWork) -> int:
    return -(-work.instance_count // INSTANCES_PER_JOB)


def _refs(job: SnapshotJob) -> tuple[SnapshotRef, ...]:
    return tuple(
        SnapshotRef(job.progress.made[volume.id], volume.id, volume.size_gib, source.instance, volume.device)
        for source in job.progress.sources or ()
        for volume in source.volumes
    )


def _new_point(job: SnapshotJob, state: PointState, reason: str) -> RecoveryPoint:
    source = {"instances": list(job.work.instances), "instance_count": job.work.instance_count}
    return point_without_artefacts(job, state, source, reason)


def _point(job: SnapshotJob, refs: tuple[SnapshotRef, ...], region: str) -> RecoveryPoint:
    artefact = Artefact(
        "primary",
        PointState.AVAILABLE,
        region=region,
        snapshots=refs,
        snapshot_count=len(refs),
        folder=folder_of(job),
    )
    instances = [source.instance for source in job.progress.sources or ()]
    source = {
        "instances": instances,
        "instance_count": len(instances),
        "volumes": {ref.volume_id: ref.device for ref in refs},
    }
    return replace(
        point_without_artefacts(job, PointState.AVAILABLE, source),
        size_bytes=sum(ref.size_gib for ref in refs) * GIB,
        artefacts={"primary": artefact},
    )
