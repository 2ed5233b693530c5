"""Copies snapshots into another region, always as many at once as EC2 allows there while work waits.

Invariant: one copy per snapshot and vault. A copy whose id is not known, because the answer was lost, is
adopted only if it began after the intent was recorded and its description, which nobody can change, has the
job's secret and the original's id. Only recorded ids are deleted. A slot is held from before the call until
the copy has ended. Many snapshots are copied by child jobs, each copying one part.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from chalicelib.aws.ec2 import Ec2, Snapshot
from chalicelib.catalog.recovery_point import TAG_SOURCE, Artefact, SnapshotRef, SnapshotSet
from chalicelib.catalog.store import points
from chalicelib.catalog.store.points import PointStore
from chalicelib.catalog.store.writes import Write
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
from chalicelib.jobs.point_manifest import manifest_of, snapshots_of, source_of_snapshots
from chalicelib.jobs.removal import Removal, remove
from chalicelib.jobs.work import CopyWork, copy_call, copy_part
from chalicelib.replication.point_copy import (
    Original,
    being_let_go,
    copied,
    ended,
    failed,
    failure_writes,
    find_original,
    lock_of,
    reason_of,
    source_gone,
)
from chalicelib.vaults.layout import manifest_key
from chalicelib.vaults.manifest import to_json
from chalicelib.vaults.vault import Vault

DELETED_AT_ONCE = 10
PARTS_OPENED_AT_ONCE = 30


@dataclass(frozen=True, slots=True)
class Destination:
    """A region that snapshots are copied into: its EC2, the vault of the manifests, the KMS key."""

    region: str
    kms_key: str | None
    ec2: Ec2
    vault: Vault


@dataclass(frozen=True, slots=True)
class SnapshotCopyProgress:
    """How far a copy of snapshots is: the copy of each original, copies made twice, originals whose copy has
    ended, and, of a large point, the parts opened and cleaned up."""

    copies: Mapping[str, str] = field(default_factory=dict)
    made_at: datetime | None = None
    spare: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()
    removal: Removal = field(default_factory=Removal)
    described: bool = False
    parts_opened: int = 0
    parts_cleaned: int = 0


SnapshotCopyJob = Job[CopyWork, SnapshotCopyProgress]


@dataclass(frozen=True, slots=True)
class SnapshotCopyObservation:
    """The point, the originals that this job copies, its copies by their ids, candidates for adoption, and
    its parts."""

    original: Original
    refs: tuple[SnapshotRef, ...] = ()
    copies: Mapping[str, Snapshot] = field(default_factory=dict)
    candidates: tuple[Snapshot, ...] = ()
    children: Children = field(default_factory=Children)


@dataclass(frozen=True, slots=True)
class Copy:
    """Call CopySnapshot for one snapshot, with a slot held; `last` when all others have been copied."""

    source: SnapshotRef
    source_region: str
    last: bool


@dataclass(frozen=True, slots=True)
class Adopt:
    """Record a copy that was made by a call whose answer was lost; `seen_at` is when it was found."""

    source: str
    copy: str
    spare: tuple[str, ...]
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Release:
    """Give back the slots of copies that have ended."""

    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OpenParts:
    """Open child jobs for the next parts."""

    first: int
    number: int


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete copies that are not needed: of a failed job, or made twice."""

    snapshots: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DropShard:
    """Remove the record of a part of a failed copy whose snapshots are deleted."""

    number: int


@dataclass(frozen=True, slots=True)
class WriteManifest:
    """Write the manifest beside the copies."""

    source: Artefact


Action = Copy | Adopt | Release | OpenParts | Delete | DropShard | WriteManifest


@dataclass(frozen=True, slots=True)
class SnapshotCopy:
    """Copies the snapshots of a point into the vault that the job names."""

    points: PointStore
    destinations: Callable[[str], Destination]
    work = CopyWork
    progress = SnapshotCopyProgress
    deadline = timedelta(days=7)

    def observe(self, job: SnapshotCopyJob, children: Children) -> SnapshotCopyObservation:
        """Return the point and the copies that the job has recorded or may have made."""
        seen, progress = (
            SnapshotCopyObservation(find_original(self.points, job), children=children),
            job.progress,
        )
        source, ec2 = seen.original.source, self.destinations(job.work.vault).ec2
        if job.work.shard is None and source is not None and source.snapshots.shards:
            if job.failure is None:
                return replace(seen, original=self._looked_at(job, seen.original, source, ec2))
            number = progress.parts_cleaned
            return replace(
                seen, refs=self.points.stored_shard(job.work.recovery_point, job.work.vault, number)
            )
        if source is not None:
            refs = self.points.shard(seen.original.point, source.vault, job.work.shard or 0)
            seen = replace(seen, refs=refs)
        if job.intent is not None:
            seen = replace(seen, candidates=tuple(ec2.snapshots_described(f"{job.mark(job.intent.name)} ")))
        if progress.copies:
            found = ec2.snapshots_by_id(progress.copies.values())
            seen = replace(seen, copies={snapshot.id: snapshot for snapshot in found})
        return seen

    def _looked_at(self, job: SnapshotCopyJob, original: Original, source: Artefact, ec2: Ec2) -> Original:
        """Return the original with the fault of the parts' copies, in the step that records them."""
        if not job.progress.described:
            return original
        shards = (
            self.points.stored_shard(job.work.recovery_point, job.work.vault, number)
            for number in range(source.snapshots.shards)
        )
        missing = ec2.not_completed(ref.id for refs in shards for ref in refs)
        fault = f"{', '.join(missing[:5])} disappeared before the copy was complete" if missing else None
        return replace(original, fault=fault)

    def decide(self, job: SnapshotCopyJob, seen: SnapshotCopyObservation, now: datetime) -> Decision[Action]:
        """Copy each snapshot that has no copy, wait for all of them, write the manifest."""
        source, progress = seen.original.source, job.progress
        if seen.original.is_in(job.work.vault) and job.work.shard is None:
            return Finish(f"{job.work.recovery_point} is in {job.work.vault} already")
        if source is None:
            return source_gone(seen.original)
        if waiting := being_let_go(seen.original, job.work.vault, now):
            return waiting
        if job.work.shard is None and source.snapshots.shards:
            return self._decide_parts(job, seen, source, now)
        if not seen.refs:
            return Fail(f"{source.vault} holds no snapshots of {job.work.recovery_point}")
        if job.intent is None and (over := self._over(job, seen)):
            return Do(Release(over), "giving copy slots back")
        for ref in seen.refs:
            if ref.id not in progress.copies:
                return self._decide_copy(job, ref, source, seen, now)
        if spare := progress.removal.left_of(progress.spare):
            due = progress.removal.due(spare, now)
            if not isinstance(due, Wait):
                return self._delete(job, due, f"deleting {len(due)} copies that were made twice")
        return _still_pending(job, seen, now) or self._decide_end(job, seen, source, now)

    def _decide_copy(
        self,
        job: SnapshotCopyJob,
        ref: SnapshotRef,
        source: Artefact,
        seen: SnapshotCopyObservation,
        now: datetime,
    ) -> Decision[Action]:
        name, region = copy_call(ref.id), self.destinations(job.work.vault).region
        if job.intent is not None and job.intent.name == name:
            found = _adopted(job, ref.id, seen.candidates, now)
            if found is not None:
                return Do(found, f"found the copy of {ref.id} that was made earlier")
            if may_have_been_made(job, now):
                return look_again(job, name)
        last = all(each.id in job.progress.copies for each in seen.refs if each is not ref)
        return Do(
            Copy(ref, source.snapshots.region, last),
            f"copying {ref.id} into {job.work.vault}",
            intent=name,
            budget=Budget("CopySnapshot", region),
            locks=(lock_of(job),) if job.work.shard is None else (),
            slots=(f"{region}/{ref.id}",),
        )

    def _decide_end(
        self, job: SnapshotCopyJob, seen: SnapshotCopyObservation, source: Artefact, now: datetime
    ) -> Decision[Action]:
        copies = tuple(replace(ref, id=job.progress.copies[ref.id]) for ref in seen.refs)
        if job.work.shard is not None:
            shard = points.adding_shard(job.work.recovery_point, job.work.vault, job.work.shard, copies)
            return Finish(f"{len(copies)} snapshots", (shard,))
        if not job.progress.described:
            return Do(WriteManifest(source), "writing the manifest")
        artefact = self._artefact(job, source, snapshots=copies)
        return ended(job, seen.original, artefact, f"{len(copies)} snapshots", now)

    def _decide_parts(
        self, job: SnapshotCopyJob, seen: SnapshotCopyObservation, source: Artefact, now: datetime
    ) -> Decision[Action]:
        """Open a child job for each part of the original, wait for all of them, write the manifest."""
        failures = seen.children.unsuccessful
        if failures:
            return Fail(f"{failures[0]}: {seen.children.reasons.get(failures[0], 'it was not made')}")
        opened, left = job.progress.parts_opened, len(seen.children.unfinished)
        parts = source.snapshots.shards
        if opened < parts:
            number = min(PARTS_OPENED_AT_ONCE, parts - opened)
            return Do(OpenParts(opened, number), f"opened {opened} of {parts} parts", locks=(lock_of(job),))
        if left:
            return Wait(now + LOST_EVENT_AFTER, f"{left} of {parts} parts are under way")
        if not job.progress.described:
            return Do(WriteManifest(source), "writing the manifest")
        artefact = self._artefact(job, source, shards=parts)
        return ended(job, seen.original, artefact, f"{source.snapshots.snapshot_count} snapshots", now)

    def _artefact(
        self,
        job: SnapshotCopyJob,
        source: Artefact,
        *,
        snapshots: tuple[SnapshotRef, ...] = (),
        shards: int = 0,
    ) -> Artefact:
        region, number = self.destinations(job.work.vault).region, source.snapshots.snapshot_count
        return copied(source, job.work.vault, SnapshotSet(region, number, snapshots, shards))

    def _over(self, job: SnapshotCopyJob, seen: SnapshotCopyObservation) -> tuple[str, ...]:
        """Return the originals whose copy has ended and whose slot is still held."""
        held = {purpose for _, purpose, _ in job.slots}
        return tuple(
            source
            for source, copy in job.progress.copies.items()
            if source in held and copy in seen.copies and seen.copies[copy].state in ("completed", "error")
        )

    def clean_up(
        self, job: SnapshotCopyJob, seen: SnapshotCopyObservation, now: datetime
    ) -> Cleaning[Action]:
        """Delete what was copied, then end; wait until copies whose answer was lost must be visible."""
        progress, said = job.progress, f"cleaning up after: {reason_of(job)}"
        if job.intent is not None:
            source_id = job.intent.name.rsplit(" ", 1)[-1]
            found = _adopted(job, source_id, seen.candidates, now)
            if found is not None:
                return Do(found, said)
            if may_have_been_made(job, now):
                return look_again(job, job.intent.name)
        in_parts = progress.parts_opened > 0
        if in_parts and seen.original.is_in(job.work.vault):
            return failed(job, seen.original, now)  # the shards' records are of the copy that is there
        shard = tuple(ref.id for ref in seen.refs) if in_parts else ()
        recorded = (*_recorded(progress), *progress.removal.refused, *shard)
        unseen = in_parts and progress.parts_cleaned < progress.parts_opened
        if unseen and progress.removal.can_leave(recorded):
            return Do(DropShard(progress.parts_cleaned), said, deletes=True)
        due = progress.removal.due(recorded, now)
        if isinstance(due, Wait):
            return replace(due, reason=f"{reason_of(job)}; {due.reason}")
        if due:
            return self._delete(job, due, said)
        return failed(job, seen.original, now) if job.work.shard is None else Finish(reason_of(job))

    def _delete(self, job: SnapshotCopyJob, due: tuple[str, ...], reason: str) -> Do[Action]:
        some, region = due[:DELETED_AT_ONCE], self.destinations(job.work.vault).region
        budget = Budget("DeleteSnapshot", region, len(some))
        return Do(Delete(some), reason, budget=budget, deletes=True)

    def abandon(self, job: SnapshotCopyJob, now: datetime) -> tuple[Write, ...]:
        """Record the copy as failed; what could not be deleted is listed on the job."""
        if job.work.shard is not None:
            return ()
        return failure_writes(job, find_original(self.points, job), now)

    def leftovers(self, job: SnapshotCopyJob) -> tuple[str, ...]:
        """Return the copies that the job recorded and could not delete, and the parts not yet cleaned up."""
        unseen = range(job.progress.parts_cleaned, job.progress.parts_opened)
        left = job.progress.removal.left_of((*_recorded(job.progress), *job.progress.removal.refused))
        return (*left, *(f"part {number + 1} of {job.work.recovery_point}" for number in unseen))

    def act(self, job: SnapshotCopyJob, action: Action, turn: Turn) -> Step[SnapshotCopyProgress]:
        """Make the call that the action stands for."""
        to, progress = self.destinations(job.work.vault), job.progress
        match action:
            case Copy():
                return self._copy(job, action, to)
            case Adopt(source=source_id, copy=copy, spare=spare, seen_at=seen_at):
                spares, copies = (*progress.spare, *spare), {**progress.copies, source_id: copy}
                return Step(replace(progress, copies=copies, made_at=seen_at, spare=spares))
            case Release(sources=sources):
                freed = tuple(f"{to.region}/{source}" for source in sources)
                return Step(replace(progress, ended=(*progress.ended, *sources)), freed=freed)
            case OpenParts(first=first, number=number):
                children = tuple(copy_part(job, part) for part in range(first, first + number))
                return Step(replace(progress, parts_opened=first + number), children=children)
            case Delete(snapshots=snapshots):
                removal = remove(progress.removal, snapshots, to.ec2.delete_snapshot, job.updated_at)
                return Step(replace(progress, removal=removal))
            case DropShard(number=number):
                dropped = points.dropping_shard(job.work.recovery_point, job.work.vault, number)
                removal = replace(progress.removal, removed=())
                return Step(replace(progress, parts_cleaned=number + 1, removal=removal), (dropped,))
            case WriteManifest(source=source):
                self._describe(job, source, to)
                return Step(replace(progress, described=True))

    def _copy(self, job: SnapshotCopyJob, action: Copy, to: Destination) -> Step[SnapshotCopyProgress]:
        point, source = find_original(self.points, job).point, action.source
        copy = to.ec2.copy_snapshot(
            action.source_region,
            source.id,
            tags={**point.tags(job.id), TAG_SOURCE: source.id, **source.source_tags},
            kms_key=to.kms_key,
            description=f"{job.mark(copy_call(source.id))} {source.id} of {action.source_region}, {point.id}",
        )
        copies = {**job.progress.copies, source.id: copy}
        made_at = job.intent.at if job.intent else job.updated_at
        rest = Rest(f"{len(copies)} copies are pending") if action.last else None
        return Step(replace(job.progress, copies=copies, made_at=made_at), rest=rest)

    def _describe(self, job: SnapshotCopyJob, source: Artefact, to: Destination) -> None:
        point, copies = find_original(self.points, job).point, self._copies(job, source)
        described = manifest_of(
            point,
            source_of_snapshots(point.source.get("instances", ()), source.snapshots.region),
            snapshots=snapshots_of(copies, to.region),
        )
        to.vault.put(manifest_key(source.folder), to_json(described).encode())

    def _copies(self, job: SnapshotCopyJob, source: Artefact) -> Iterable[SnapshotRef]:
        """Yield the copy of each snapshot."""
        for ref in source.snapshots.snapshots:
            yield replace(ref, id=job.progress.copies[ref.id])
        for number in range(source.snapshots.shards):
            yield from self.points.stored_shard(job.work.recovery_point, job.work.vault, number)


def _still_pending(job: SnapshotCopyJob, seen: SnapshotCopyObservation, now: datetime) -> Wait | Fail | None:
    """Return why the copy is not complete yet; None when all its snapshots are."""
    for source_id, copy_id in job.progress.copies.items():
        copy = seen.copies.get(copy_id)
        if copy is not None and copy.state == "error":
            return Fail(f"EC2 could not copy {source_id} as {copy_id}: {copy.message or 'no reason given'}")
    gone = [copy for copy in job.progress.copies.values() if copy not in seen.copies]
    if gone:
        visible_at = (job.progress.made_at or now) + ADOPTION_GRACE
        if now < visible_at:
            return Wait(visible_at, f"{', '.join(gone[:5])} is not visible yet")
        return Fail(f"{', '.join(gone)} disappeared before the copy was complete")
    pending = [copy for copy in seen.copies.values() if copy.state != "completed"]
    if pending:
        state = ", ".join(f"{copy.id} {copy.progress or 'pending'}" for copy in pending[:5])
        return Wait(
            now + LOST_EVENT_AFTER, f"{len(pending)} of {len(seen.copies)} copies are pending: {state}"
        )
    return None


def _adopted(
    job: SnapshotCopyJob, source_id: str, candidates: Iterable[Snapshot], now: datetime
) -> Adopt | None:
    """Return what to adopt as the copy of an original: the job's first one; any others are duplicates."""
    known = set(_recorded(job.progress))
    found = [
        each.id
        for each in sorted(candidates, key=lambda each: (each.started_at, each.id))
        if each.description.startswith(f"{job.mark(copy_call(source_id))} {source_id} ")
        and began_after_intent(job, each.started_at)
        and each.id not in known
    ]
    return Adopt(source_id, found[0], tuple(found[1:]), now) if found else None


def _recorded(progress: SnapshotCopyProgress) -> tuple[str, ...]:
    return (*progress.copies.values(), *progress.spare)
