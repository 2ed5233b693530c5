"""A backup by snapshot: all chosen volumes of a service's instances, crash-consistent for each instance.

Invariant: one snapshot per chosen volume, or no recovery point; a volume that was attached meanwhile, and
that the rule chooses, is in the point, too. When the answer of a call was lost, a snapshot is adopted only if
it began after the intent was recorded, is of a requested volume, and its description, which nobody can
change, carries the job's secret. Only recorded ids are deleted. While an instance is snapshotted no restore
works on it. Many instances are handled by child jobs, each making a part of the point.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from chalicelib.aws.ec2 import Ec2, Instance, Snapshot
from chalicelib.backup.point import failure_writes, folder_of, follow_ups, record_of, tags_of
from chalicelib.backup.snapshot_findings import (
    Adopt,
    Enlist,
    SnapshotObservation,
    adopted,
    choice_of,
    done_with,
    enlisted,
    judge_unlisted,
    recorded,
    still_pending,
    unmade,
)
from chalicelib.backup.snapshot_point import (
    SnapshotJob,
    SnapshotProgress,
    asked_of,
    manifest_of,
    new_point,
    parts_of,
    refs_of,
    sharded_point,
    whole_point,
)
from chalicelib.backup.snapshot_sources import Call, Source, sources_of
from chalicelib.catalog.recovery_point import PointState, RecoveryPoint, SnapshotRef
from chalicelib.catalog.store import points
from chalicelib.catalog.store.instances import InstanceLists
from chalicelib.catalog.store.points import PointStore
from chalicelib.catalog.store.rules import RuleStore
from chalicelib.catalog.store.writes import Write
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
    LOST_EVENT_AFTER,
    Budget,
    may_have_been_made,
)
from chalicelib.jobs.removal import remove
from chalicelib.jobs.work import INSTANCES_PER_JOB, BackupWork, CopyMethods, backup_part, few_of
from chalicelib.plans.model import Rule
from chalicelib.plans.selection import VolumeChoice
from chalicelib.plans.values import PRIMARY
from chalicelib.vaults.layout import manifest_key
from chalicelib.vaults.manifest import to_json
from chalicelib.vaults.vault import Vault

DELETED_AT_ONCE = 10
PARTS_OPENED_AT_ONCE = 30


@dataclass(frozen=True, slots=True)
class Choose:
    """Fix which volumes are snapshotted, and which cannot be."""

    sources: tuple[Source, ...]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Create:
    """Snapshot one instance, or one of its volumes."""

    call: Call


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
    """Remove the record of a part of a failed point whose snapshots are deleted."""

    number: int


Action = Choose | Create | Adopt | Enlist | OpenParts | WriteManifest | Delete | DropShard


@dataclass(frozen=True, slots=True)
class SnapshotBackup:
    """Makes recovery points of snapshots. `methods` has, by vault name, how copies are made."""

    ec2: Ec2
    points: PointStore
    rules: RuleStore
    lists: InstanceLists
    primary: Vault
    methods: CopyMethods
    work = BackupWork
    progress = SnapshotProgress
    deadline = timedelta(days=2)

    def observe(self, job: SnapshotJob, children: Children) -> SnapshotObservation:
        """Return only what the job's next step depends on."""
        seen, progress = SnapshotObservation(self.rules.get(job.work.rule), children=children), job.progress
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
        if job.failure is None and not unmade(progress) and progress.unlisted:
            shown = self.ec2.instances_by_id(source.instance for source in progress.sources or ())
            volumes = {volume.id: volume for volume in self.ec2.volumes(progress.unlisted)}
            return replace(seen, instances=tuple(shown), volumes=volumes)
        if job.failure is None and not unmade(progress):
            found = self.ec2.snapshots_by_id(progress.made.values())
            return replace(seen, snapshots={snapshot.id: snapshot for snapshot in found})
        return seen

    def _observe_parts(self, job: SnapshotJob, seen: SnapshotObservation) -> SnapshotObservation:
        if job.failure is not None:
            number = job.progress.shards_cleaned
            shard = self.points.stored_shard(job.work.recovery_point, PRIMARY, number)
            return replace(seen, shard=shard)
        if job.progress.parts_opened < parts_of(job.work):
            return replace(seen, listed=self.lists.get(job.work.listed or ""))
        if job.progress.described:
            stored = (
                self.points.stored_shard(job.work.recovery_point, PRIMARY, number)
                for number in range(parts_of(job.work))
            )
            return replace(seen, missing=self.ec2.not_completed(ref.id for refs in stored for ref in refs))
        return seen

    def decide(self, job: SnapshotJob, seen: SnapshotObservation, now: datetime) -> Decision[Action]:
        """Choose the volumes, snapshot each instance, check the result, wait for all, write the manifest."""
        if job.work.listed is not None:
            return self._decide_parts(job, seen, now)
        if job.progress.sources is None:
            return _choose(job, seen)
        for call in unmade(job.progress):
            return self._decide_call(job, call, seen, now)
        if job.progress.unlisted:
            return judge_unlisted(job, seen, now)
        if spare := job.progress.removal.left_of(job.progress.spare):
            due = job.progress.removal.due(spare, now)
            if not isinstance(due, Wait):
                return self._delete(due, f"deleting {len(due)} snapshots that were made twice")
        waiting = still_pending(job, seen, now)
        return waiting or self._decide_end(job, seen, now)

    def _decide_call(
        self, job: SnapshotJob, call: Call, seen: SnapshotObservation, now: datetime
    ) -> Decision[Action]:
        instance = call.source.instance
        if job.intent is not None and job.intent.name == call.intent:
            found = adopted(job, call, seen.candidates, now)
            if found is not None:
                return Do(found, f"found the snapshots of {instance} that were made earlier")
            if may_have_been_made(job, now):
                return look_again(job, call.intent)
        begun = points.creating(new_point(job, PointState.CREATING, "being made"), now)
        return Do(
            Create(call),
            f"snapshotting {len(call.volumes)} volumes of {instance}",
            intent=call.intent,
            budget=Budget(call.operation, self.ec2.region),
            locks=(lock_of_instance(instance),),
            first=(begun,) if job.work.shard is None and not job.progress.made else (),
        )

    def _decide_end(self, job: SnapshotJob, seen: SnapshotObservation, now: datetime) -> Decision[Action]:
        refs = refs_of(job)
        if job.work.shard is not None:
            lacking = job.progress.left_out
            shard = points.adding_shard(job.work.recovery_point, PRIMARY, job.work.shard, refs, lacking)
            return Finish(f"{len(refs)} snapshots", (shard,))
        if not job.progress.described:
            return Do(WriteManifest(), "writing the manifest")
        began = min(each.started_at for each in seen.snapshots.values())
        return self._finished(
            job, replace(whole_point(job, refs, self.ec2.region), created_at=began), seen.rule, now
        )

    def _finished(self, job: SnapshotJob, point: RecoveryPoint, rule: Rule, now: datetime) -> Finish:
        opens = follow_ups(job, point, rule, self.methods, now)
        said = f"{point.artefacts[PRIMARY].snapshots.snapshot_count} snapshots"
        return Finish(f"{said}; {point.flag}" if point.is_flagged else said, record_of(point, now), opens)

    def _decide_parts(self, job: SnapshotJob, seen: SnapshotObservation, now: datetime) -> Decision[Action]:
        """Open a child job for every ten instances, wait for all of them, write the manifest."""
        failed = seen.children.unsuccessful
        if failed:
            return Fail(f"{failed[0]}: {seen.children.reasons.get(failed[0], 'it was not made')}")
        opened, parts = job.progress.parts_opened, parts_of(job.work)
        if opened < parts:
            chunks = tuple(
                seen.listed[number * INSTANCES_PER_JOB : (number + 1) * INSTANCES_PER_JOB]
                for number in range(opened, min(parts, opened + PARTS_OPENED_AT_ONCE))
            )
            begun = points.creating(new_point(job, PointState.CREATING, "being made"), now)
            reason = f"opened {opened} of {parts} parts"
            return Do(OpenParts(opened, chunks), reason, first=(begun,) if opened == 0 else ())
        left = len(seen.children.unfinished)
        if left:
            return Wait(now + LOST_EVENT_AFTER, f"{left} of {parts} parts are under way")
        if not job.progress.described:
            return Do(WriteManifest(), "writing the manifest")
        if seen.missing:
            return Fail(f"{', '.join(seen.missing[:5])} disappeared before the backup was complete")
        point = sharded_point(job, self._all_refs(job), self._left_out(job), self.ec2.region)
        return self._finished(job, point, seen.rule, now)

    def clean_up(self, job: SnapshotJob, seen: SnapshotObservation, now: datetime) -> Cleaning[Action]:
        """Delete what a failed backup made; wait long enough to find snapshots whose answers were lost."""
        progress, reason = job.progress, job.failure.reason if job.failure else job.reason
        if job.intent is not None:
            calls = (call for source in progress.sources or () for call in source.calls)
            call = next((each for each in calls if each.intent == job.intent.name), None)
            found = adopted(job, call, seen.candidates, now) if call else None
            if found is not None:
                return Do(found, f"cleaning up after: {reason}")
            if may_have_been_made(job, now):
                return look_again(job, job.intent.name)
        in_parts = job.work.listed is not None and progress.shards_cleaned < parts_of(job.work)
        made = (*recorded(progress), *progress.removal.refused, *(ref.id for ref in seen.shard))
        if in_parts and progress.removal.can_leave(made):
            return Do(DropShard(progress.shards_cleaned), f"cleaning up after: {reason}", deletes=True)
        due = progress.removal.due(made, now)
        if isinstance(due, Wait):
            return replace(due, reason=f"{reason}; {due.reason}")
        if due:
            return self._delete(due, f"cleaning up after: {reason}")
        return Finish(reason, _failure(job, seen.rule, now))

    def _delete(self, due: tuple[str, ...], reason: str) -> Do[Action]:
        some = due[:DELETED_AT_ONCE]
        budget = Budget("DeleteSnapshot", self.ec2.region, len(some))
        return Do(Delete(some), reason, budget=budget, deletes=True)

    def abandon(self, job: SnapshotJob, now: datetime) -> tuple[Write, ...]:
        """Record the failure."""
        return _failure(job, self.rules.get(job.work.rule), now)

    def leftovers(self, job: SnapshotJob) -> tuple[str, ...]:
        """Return the recorded snapshots that could not be deleted, and the parts not yet checked."""
        left = job.progress.removal.left_of((*recorded(job.progress), *job.progress.removal.refused))
        if job.work.listed is None:
            return left
        unseen = range(job.progress.shards_cleaned, job.progress.parts_opened)
        return (*left, *(f"part {number + 1} of {job.work.recovery_point}" for number in unseen))

    def act(self, job: SnapshotJob, action: Action, turn: Turn) -> Step[SnapshotProgress]:
        """Make the call that the action stands for."""
        progress = job.progress
        match action:
            case Choose(sources=sources, left_out=left_out):
                return Step(replace(progress, sources=sources, left_out=left_out))
            case Create(call=call):
                return self._create(job, call)
            case Adopt(call=call, made=made, unlisted=unlisted, spare=spare, seen_at=seen_at):
                taken = replace(
                    progress,
                    made={**progress.made, **made},
                    made_at=seen_at,
                    spare=(*progress.spare, *spare),
                    unlisted={**progress.unlisted, **unlisted},
                )
                return Step(taken, unlocks=done_with(call, taken))
            case Enlist():
                return Step(enlisted(progress, action))
            case OpenParts(first=first, chunks=chunks):
                children = tuple(
                    backup_part(job, first + number, chunk, self.ec2.region)
                    for number, chunk in enumerate(chunks)
                )
                return Step(replace(progress, parts_opened=first + len(chunks)), children=children)
            case WriteManifest():
                manifest = manifest_of(job, self._all_refs(job), self._left_out(job), self.ec2.region)
                self.primary.put(manifest_key(folder_of(job)), to_json(manifest).encode())
                return Step(replace(progress, described=True))
            case Delete(snapshots=snapshots):
                removal = remove(progress.removal, snapshots, self.ec2.delete_snapshot, job.updated_at)
                return Step(replace(progress, removal=removal))
            case DropShard(number=number):
                dropped = points.dropping_shard(job.work.recovery_point, PRIMARY, number)
                removal = replace(progress.removal, removed=())
                return Step(replace(progress, shards_cleaned=number + 1, removal=removal), (dropped,))

    def _create(self, job: SnapshotJob, call: Call) -> Step[SnapshotProgress]:
        made = self._call(job, call)
        wanted = {volume.id for volume in call.volumes}
        of_volume = {each.volume_id: each.id for each in made if each.volume_id in wanted}
        unlisted = {each.volume_id: each.id for each in made if each.volume_id not in wanted}
        progress = replace(
            job.progress,
            made={**job.progress.made, **of_volume},
            made_at=max((each.started_at for each in made), default=None),
            unlisted={**job.progress.unlisted, **unlisted},
        )
        complete = not (progress.spare or progress.unlisted or unmade(progress))
        rest = Rest(f"{len(progress.made)} snapshots are pending") if complete else None
        return Step(progress, unlocks=done_with(call, progress), rest=rest)

    def _call(self, job: SnapshotJob, call: Call) -> tuple[Snapshot, ...]:
        tags = {**tags_of(job), **call.tags}
        description = f"{job.mark(call.intent)} {job.work.recovery_point}"
        if call.source.one_by_one:
            (volume,) = call.volumes
            return (self.ec2.create_snapshot(volume.id, tags=tags, description=description),)
        return self.ec2.create_snapshots(
            call.source.instance,
            boot=call.source.boot,
            exclude_volume_ids=call.source.left_out,
            tags=tags,
            description=description,
        )

    def _all_refs(self, job: SnapshotJob) -> Iterator[SnapshotRef]:
        """Yield all snapshots of the job's point, its own or those of its child jobs."""
        if job.work.listed is None:
            yield from refs_of(job)
            return
        for number in range(parts_of(job.work)):
            yield from self.points.stored_shard(job.work.recovery_point, PRIMARY, number)

    def _left_out(self, job: SnapshotJob) -> tuple[str, ...]:
        """Return the names of the volumes that the point lacks, of all parts."""
        asked, lacking = job.work.left_out, list(job.progress.left_out)
        if job.work.listed is not None:
            id, parts = job.work.recovery_point, range(parts_of(job.work))
            lacking = [name for n in parts for name in self.points.lacking_in_shard(id, PRIMARY, n)]
        return (*asked, *few_of(lacking))


def _choose(job: SnapshotJob, seen: SnapshotObservation) -> Decision[Action]:
    choice = choice_of(seen.rule)
    sources = sources_of(seen.instances, seen.volumes, choice)
    if not sources:
        names = ", ".join(job.work.instances)
        which = "volumes" if choice.boot else "data volumes (the rule leaves boot volumes out)"
        there = "no longer exist" if not seen.instances else f"have no {which} to snapshot"
        return Fail(f"the instances of {job.service} {there}: {names}")
    lacking = few_of([id for each in seen.instances for id in _unlisted(each, seen, choice)])
    return Do(Choose(sources, lacking), f"chose {sum(len(s.volumes) for s in sources)} volumes")


def _unlisted(instance: Instance, seen: SnapshotObservation, choice: VolumeChoice) -> list[str]:
    """Return the volumes of an instance that EC2 did not list, unless the rule leaves them out anyway."""
    attached = (each for each in instance.volumes if choice.boot or not each.boot)
    return [each.volume_id for each in attached if each.volume_id not in seen.volumes]


def _failure(job: SnapshotJob, rule: Rule, now: datetime) -> tuple[Write, ...]:
    """Return the writes for a backup that failed; a part writes none, because the whole job does."""
    return failure_writes(job, asked_of(job), rule, now) if job.work.shard is None else ()
