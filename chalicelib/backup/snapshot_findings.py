"""Decides, from what EC2 shows of a backup's snapshots, which to adopt and which are still pending. Pure.

It also judges snapshots of volumes that nobody had chosen. Invariant: an adopted snapshot carries the job's
secret and began after the intent; only recorded ids are deleted.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from chalicelib.aws.ec2 import Instance, Snapshot, Volume
from chalicelib.backup.snapshot_point import SnapshotJob, SnapshotProgress
from chalicelib.backup.snapshot_sources import Call, ChosenVolume, chosen
from chalicelib.catalog.recovery_point import SnapshotRef
from chalicelib.jobs.claims import lock_of_instance
from chalicelib.jobs.decision import Children, Do, Fail, Wait
from chalicelib.jobs.job import (
    ADOPTION_GRACE,
    CLOCK_SKEW,
    LOST_EVENT_AFTER,
    began_after_intent,
    may_have_been_made,
)
from chalicelib.plans.model import Rule, SnapshotRule
from chalicelib.plans.selection import VolumeChoice, chooses


@dataclass(frozen=True, slots=True)
class SnapshotObservation:
    """What EC2 and the catalog show, as far as the next step depends on it."""

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
class Adopt:
    """Record snapshots that a call has made whose answer was lost; `seen_at` is when they were found."""

    call: Call
    made: Mapping[str, str]
    unlisted: Mapping[str, str]
    spare: tuple[str, ...]
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Enlist:
    """Add volumes that were snapshotted but not chosen to the sources, by instance; `spare` the others."""

    volumes: Mapping[str, tuple[ChosenVolume, ...]]
    spare: tuple[str, ...]


def choice_of(rule: Rule) -> VolumeChoice:
    return rule.volumes if isinstance(rule, SnapshotRule) else VolumeChoice()


def unmade(progress: SnapshotProgress) -> tuple[Call, ...]:
    """Return the calls that are still to be made."""
    calls = (call for source in progress.sources or () for call in source.calls)
    return tuple(call for call in calls if not any(volume.id in progress.made for volume in call.volumes))


def done_with(call: Call, progress: SnapshotProgress) -> tuple[str, ...]:
    """Return the lock to release after a call: none while its instance has more calls."""
    more = any(each.source.instance == call.source.instance for each in unmade(progress))
    return () if more else (lock_of_instance(call.source.instance),)


def judge_unlisted(job: SnapshotJob, seen: SnapshotObservation, now: datetime) -> Do[Enlist] | Wait:
    """Return what to do with snapshots of volumes that nobody had chosen.

    CreateSnapshots takes what is attached when it is called. Volumes that the rule chooses are added to the
    point; those that are no longer attached, once EC2 must show the fact, are not.
    """
    unlisted, choice = job.progress.unlisted, choice_of(seen.rule)
    attached = {each.volume_id: (i.id, each) for i in seen.instances for each in i.volumes}
    strange = [volume for volume in unlisted if volume not in attached or volume not in seen.volumes]
    visible_at = (job.progress.made_at or now) + ADOPTION_GRACE
    if strange and now < visible_at:
        return Wait(visible_at, f"finding where {', '.join(strange)} is attached, which was snapshotted, too")
    found: dict[str, tuple[ChosenVolume, ...]] = {}
    for volume_id in unlisted:
        if volume_id in strange:
            continue
        (instance, each), volume = attached[volume_id], seen.volumes[volume_id]
        if chooses(choice, boot=each.boot, tags=volume.tags):
            found[instance] = (*found.get(instance, ()), chosen(each, volume, meanwhile=True))
    listed = {volume.id for volumes in found.values() for volume in volumes}
    spare = tuple(snapshot for volume, snapshot in unlisted.items() if volume not in listed)
    return Do(Enlist(found, spare), f"{', '.join(unlisted)} was attached just before it was snapshotted")


def enlisted(progress: SnapshotProgress, action: Enlist) -> SnapshotProgress:
    """Return the progress with the volumes among their instances' own and nothing unlisted."""
    sources = tuple(
        replace(source, volumes=(*source.volumes, *action.volumes.get(source.instance, ())))
        for source in progress.sources or ()
    )
    listed = {volume.id for volumes in action.volumes.values() for volume in volumes}
    made = {volume: snapshot for volume, snapshot in progress.unlisted.items() if volume in listed}
    return replace(
        progress,
        sources=sources,
        made={**progress.made, **made},
        unlisted={},
        spare=(*progress.spare, *action.spare),
    )


def adopted(job: SnapshotJob, call: Call, candidates: Iterable[Snapshot], now: datetime) -> Adopt | None:
    """Return what to adopt of a call's volumes: the first snapshot of each; further ones are spare.

    A snapshot is the job's only if it began after the intent, is of a requested volume, and carries the job's
    secret; of another volume, only if it began together with those. One call makes all of them; none is
    adopted while some may not be visible yet, because nobody would look for the others.
    """
    known = set(recorded(job.progress))
    ours = sorted(
        (
            each
            for each in candidates
            if each.description.startswith(f"{job.mark(call.intent)} ")
            and began_after_intent(job, each.started_at)
            and each.id not in known
        ),
        key=lambda each: (each.started_at, each.id),
    )
    volumes = {volume.id for volume in call.volumes}
    made: dict[str, str] = {}
    for snapshot in ours:
        if snapshot.volume_id in volumes:
            made.setdefault(snapshot.volume_id, snapshot.id)
    if not made or (len(made) < len(volumes) and may_have_been_made(job, now)):
        return None
    first = {each.id: each.started_at for each in ours if each.id in made.values()}
    until = max(first.values()) + CLOCK_SKEW
    spare = (each.id for each in ours if each.volume_id in volumes and each.id not in first)
    strange = (each for each in ours if each.volume_id not in volumes and each.started_at <= until)
    unlisted = {each.volume_id: each.id for each in strange} if not call.source.one_by_one else {}
    return Adopt(call, made, unlisted, tuple(spare), now)


def still_pending(job: SnapshotJob, seen: SnapshotObservation, now: datetime) -> Wait | Fail | None:
    """Return what keeps the point from being complete, or None."""
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


def recorded(progress: SnapshotProgress) -> tuple[str, ...]:
    return (*progress.made.values(), *progress.spare, *progress.unlisted.values())
