"""A backup by snapshot: all chosen volumes of each of a service's instances, crash-consistent for each
instance.

Invariant: one snapshot per chosen volume, or no recovery point. What was made under a job's tag and is not
needed (the rest of a failed backup, a second set made because the first was not visible) is deleted before
the job ends.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from chalicelib.aws.ec2 import Ec2, Instance, Snapshot, Volume
from chalicelib.backup.handover import follow_ups
from chalicelib.backup.point import folder_of, made_before, point_without_artefacts, tags_of
from chalicelib.catalog.job import (
    LOST_EVENT_AFTER,
    Decision,
    Do,
    Finish,
    Job,
    JobState,
    Wait,
    look_again,
    may_have_been_made,
)
from chalicelib.catalog.recovery_point import (
    TAG_JOB,
    Artefact,
    PointState,
    RecoveryPoint,
    SnapshotRef,
)
from chalicelib.catalog.store import PointStore
from chalicelib.plans.model import SnapshotRule, read_rule
from chalicelib.plans.selection import VolumeChoice, chooses
from chalicelib.vaults.layout import manifest_key
from chalicelib.vaults.manifest import Manifest, SnapshotOf, to_json
from chalicelib.vaults.vault import Vault

GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Source:
    """One instance to snapshot: its chosen volumes as (volume id, device, GiB), the data volumes left out,
    and whether the boot volume is among the chosen.
    """

    instance: str
    volumes: tuple[tuple[str, str, int], ...]
    left_out: tuple[str, ...]
    boot: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """What the world shows: the instances and volumes while they are being chosen, the job's snapshots, and
    after an error the point, if it was recorded as made."""

    instances: tuple[Instance, ...]
    volumes: Mapping[str, Volume]
    snapshots: tuple[Snapshot, ...]
    recorded: RecoveryPoint | None = None


@dataclass(frozen=True, slots=True)
class Choose:
    """Settle which volumes are snapshotted, once and for all."""

    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Create:
    """Call CreateSnapshots for one instance."""

    source: Source


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete snapshots that are of no recovery point."""

    snapshots: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Describe:
    """Write the manifest of the finished point."""

    point: RecoveryPoint
    manifest: Manifest


Action = Choose | Create | Delete | Describe


@dataclass(frozen=True, slots=True)
class SnapshotBackup:
    """Makes recovery points of EBS snapshots. `vault_kinds` tells, by vault name, how copies are made."""

    ec2: Ec2
    points: PointStore
    primary: Vault
    vault_kinds: Mapping[str, str]

    def observe(self, job: Job) -> Seen:
        """Look for the job's snapshots by their tag; before the volumes are chosen, for the instances too."""
        instances: tuple[Instance, ...] = ()
        volumes: dict[str, Volume] = {}
        if "sources" not in job.progress and "error" not in job.progress:
            instances = tuple(self.ec2.instances_by_id(job.work["instances"]))
            attached = [volume.volume_id for instance in instances for volume in instance.volumes]
            volumes = {volume.id: volume for volume in self.ec2.volumes(attached)}
        made = self.ec2.snapshots_tagged(TAG_JOB, job.id) if job.intents else []
        recorded = made_before(self.points, job) if "error" in job.progress else None
        return Seen(instances, volumes, tuple(made), recorded)

    def decide(self, job: Job, seen: Seen, now: datetime) -> Decision[Action]:
        """Choose the volumes, snapshot each instance, wait for all, describe the point."""
        if seen.recorded:
            opens = follow_ups(job, seen.recorded, self.vault_kinds, now)
            return Finish(JobState.COMPLETED, "the recovery point is recorded", opens=opens)
        failure = job.progress.get("error") or _failure(job, seen, now)
        if failure:
            return _clean_up(job, seen, str(failure), now, self.give_up)
        if "sources" not in job.progress:
            return _choose(job, seen, now, self.give_up)
        chosen = _chosen(job, seen)
        extra = tuple(snapshot.id for snapshot in seen.snapshots if snapshot not in chosen.values())
        if extra:
            return Do(Delete(extra), f"deleting {len(extra)} snapshots that were made twice")
        for source in _sources(job):
            if all(volume in chosen for volume, _, _ in source.volumes):
                continue
            intent = _intent(source)
            if may_have_been_made(job, intent, now):
                return look_again(job, intent)
            return Do(
                Create(source), f"snapshotting {len(source.volumes)} volumes of {source.instance}", intent
            )
        pending = [snapshot for snapshot in chosen.values() if snapshot.state != "completed"]
        if pending:
            state = ", ".join(f"{snapshot.id} {snapshot.progress or 'pending'}" for snapshot in pending[:5])
            return Wait(
                now + LOST_EVENT_AFTER, f"{len(pending)} of {len(chosen)} snapshots are pending: {state}"
            )
        point = _point(job, chosen, self.ec2.region)
        if "described" not in job.progress:
            return Do(Describe(point, _manifest(job, point, self.ec2.region)), "writing the manifest")
        opens = follow_ups(job, point, self.vault_kinds, now)
        return Finish(JobState.COMPLETED, f"{len(chosen)} snapshots", point, opens)

    def act(self, job: Job, action: Action, until: datetime) -> Mapping[str, Any]:
        """Make the one call of the action."""
        match action:
            case Choose(sources=sources):
                self.points.create(_new_point(job, PointState.CREATING, "being made"))
                return {"sources": [[s.instance, s.volumes, s.left_out, s.boot] for s in sources]}
            case Create(source=source):
                made = self.ec2.create_snapshots(
                    source.instance,
                    boot=source.boot,
                    exclude_volume_ids=source.left_out,
                    tags=tags_of(job),
                    description=f"Farshore {job.work['recovery_point']}",
                )
                return _taken_down(job, source, {each.volume_id: each.id for each in made})
            case Delete(snapshots=snapshots):
                for snapshot in snapshots:
                    self.ec2.delete_snapshot(snapshot)
                return {"deleted": [*job.progress.get("deleted", ()), *snapshots]}
            case Describe(point=point, manifest=manifest):
                self.primary.put(manifest_key(folder_of(job)), to_json(manifest).encode())
                return {"described": point.id}

    def give_up(self, job: Job, reason: str, now: datetime) -> Finish:
        """Record the point as failed, so that it is never mistaken for one to restore from."""
        return Finish(JobState.FAILED, reason, _new_point(job, PointState.FAILED, reason))


def _taken_down(job: Job, source: Source, made: Mapping[str, str]) -> dict[str, Any]:
    """Return the progress a CreateSnapshots call makes; one that lacks a chosen volume fails the backup."""
    progress: dict[str, Any] = {"made": {**job.progress.get("made", {}), **made}}
    missing = [volume for volume, _, _ in source.volumes if volume not in made]
    if missing:
        progress["error"] = f"{', '.join(missing)} was detached from {source.instance} during the backup"
    return progress


def _choose(job: Job, seen: Seen, now: datetime, give_up: Any) -> Decision[Action]:
    choice = _volume_choice(job)
    sources = []
    for instance in seen.instances:
        attached = [
            (each, seen.volumes[each.volume_id])
            for each in instance.volumes
            if each.volume_id in seen.volumes
        ]
        wanted = {volume.id for each, volume in attached if chooses(choice, boot=each.boot, tags=volume.tags)}
        if wanted:
            chosen = tuple((v.id, each.device, v.size_gib) for each, v in attached if v.id in wanted)
            left_out = tuple(v.id for each, v in attached if v.id not in wanted and not each.boot)
            with_boot = any(v.id in wanted and each.boot for each, v in attached)
            sources.append(Source(instance.id, chosen, left_out, with_boot))
    if not sources:
        names = ", ".join(job.work["instances"])
        which = "volumes" if choice.boot else "data volumes (the rule leaves boot volumes out)"
        there = "no longer exist" if not seen.instances else f"have no {which} to snapshot"
        finish: Finish = give_up(job, f"the instances of {job.service} {there}: {names}", now)
        return finish
    return Do(Choose(tuple(sources)), f"chose {sum(len(s.volumes) for s in sources)} volumes")


def _volume_choice(job: Job) -> VolumeChoice:
    rule = read_rule(job.work["rule"])
    if not isinstance(rule, SnapshotRule):
        raise TypeError(f"{job.id} is a snapshot backup of a {rule.kind} rule")
    return rule.volumes


def _clean_up(job: Job, seen: Seen, reason: str, now: datetime, give_up: Any) -> Decision[Action]:
    """Delete what a failed backup made, then end; look long enough to find what was made unseen."""
    gone = set(job.progress.get("deleted", ()))
    left = tuple(snapshot.id for snapshot in seen.snapshots if snapshot.id not in gone)
    if left:
        return Do(Delete(left), f"cleaning up after: {reason}")
    known = set(job.progress.get("made", ())) | {snapshot.volume_id for snapshot in seen.snapshots}
    for source in _sources(job) if job.intents else ():
        intent = _intent(source)
        if may_have_been_made(job, intent, now) and any(v not in known for v, _, _ in source.volumes):
            return look_again(job, intent)
    finish: Finish = give_up(job, reason, now)
    return finish


def _failure(job: Job, seen: Seen, now: datetime) -> str | None:
    for snapshot in seen.snapshots:
        if snapshot.state == "error":
            why = snapshot.message or "no reason given"
            return f"EBS could not make {snapshot.id} of {snapshot.volume_id}: {why}"
    made = job.progress.get("made", {})
    known = {snapshot.id for snapshot in seen.snapshots} | set(job.progress.get("deleted", ()))
    for source in _sources(job) if made else ():
        gone = [made[volume] for volume, _, _ in source.volumes if made.get(volume, "") not in {"", *known}]
        if gone and not may_have_been_made(job, _intent(source), now):
            return f"{', '.join(gone)} disappeared before the backup was complete"
    return None


def _intent(source: Source) -> str:
    return f"CreateSnapshots of {source.instance}"


def _chosen(job: Job, seen: Seen) -> dict[str, Snapshot]:
    """Return the snapshot of each chosen volume: the first that was made, where there are several."""
    volumes = {volume for source in _sources(job) for volume, _, _ in source.volumes}
    first: dict[str, Snapshot] = {}
    for snapshot in sorted(seen.snapshots, key=lambda each: (each.started_at, each.id)):
        if snapshot.volume_id in volumes:
            first.setdefault(snapshot.volume_id, snapshot)
    return first


def _sources(job: Job) -> Sequence[Source]:
    return [
        Source(instance, tuple((v, device, gib) for v, device, gib in volumes), tuple(left_out), with_boot)
        for instance, volumes, left_out, with_boot in job.progress["sources"]
    ]


def _new_point(job: Job, state: PointState, reason: str) -> RecoveryPoint:
    return point_without_artefacts(job, state, {"instances": job.work["instances"]}, reason)


def _point(job: Job, chosen: Mapping[str, Snapshot], region: str) -> RecoveryPoint:
    devices = {volume: device for source in _sources(job) for volume, device, _ in source.volumes}
    refs = tuple(SnapshotRef(each.id, each.volume_id, each.size_gib) for each in chosen.values())
    artefact = Artefact("primary", PointState.AVAILABLE, region=region, snapshots=refs, folder=folder_of(job))
    source = {"instances": [source.instance for source in _sources(job)], "volumes": devices}
    return replace(
        point_without_artefacts(job, PointState.AVAILABLE, source),
        created_at=min(each.started_at for each in chosen.values()),
        size_bytes=sum(ref.size_gib for ref in refs) * GIB,
        artefacts={"primary": artefact},
    )


def _manifest(job: Job, point: RecoveryPoint, region: str) -> Manifest:
    devices = point.source["volumes"]
    return Manifest(
        recovery_point=point.id,
        service=point.service,
        plan=point.plan,
        rule=point.rule,
        kind="snapshot",
        nominal_at=point.nominal_at,
        created_at=point.created_at,
        source={"instances": " ".join(point.source["instances"]), "region": region},
        size_bytes=point.size_bytes,
        snapshots=tuple(
            SnapshotOf(ref.id, region, ref.volume_id, devices.get(ref.volume_id), ref.size_gib)
            for ref in point.artefacts["primary"].snapshots
        ),
    )
