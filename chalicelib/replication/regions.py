"""Copies snapshots into another region, as many at once as EC2 lets run there and never fewer while work
waits.

Invariant: one copy per snapshot and vault. A copy carries its original's id in a tag from its creating call
on, so that a crashed worker's copy is found again; its slot is held until it has ended.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from chalicelib.aws.ec2 import Ec2, Snapshot
from chalicelib.catalog.advance import Pokes
from chalicelib.catalog.job import (
    LOST_EVENT_AFTER,
    Decision,
    Do,
    Finish,
    Job,
    Wait,
    look_again,
    may_have_been_made,
)
from chalicelib.catalog.recovery_point import TAG_JOB, TAG_SOURCE, Artefact, PointState, SnapshotRef
from chalicelib.catalog.store import CopySlots, PointStore
from chalicelib.errors import IntegrityFailure, Permanent, QuotaReached, Throttled
from chalicelib.replication.point_copy import (
    Original,
    ended,
    failed,
    find_original,
    read_manifest,
    source_gone,
)
from chalicelib.settings import S3VaultConfig
from chalicelib.vaults.layout import manifest_key
from chalicelib.vaults.manifest import SnapshotOf, to_json
from chalicelib.vaults.vault import Vault


@dataclass(frozen=True, slots=True)
class Destination:
    """A region that snapshots are copied into: its EC2, its vault for the manifests, its key."""

    settings: S3VaultConfig
    ec2: Ec2
    vault: Vault


@dataclass(frozen=True, slots=True)
class Seen:
    """The point, its original's artefact, and the copies that carry this job's tag, by their original's
    id."""

    original: Original
    copies: Mapping[str, Snapshot]
    spare: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Copy:
    """Call CopySnapshot for one snapshot, with a slot held."""

    source: SnapshotRef
    source_region: str


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Give back the slots of copies that have ended."""

    snapshots: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete copies that are of no use: of a failed job, or made twice."""

    snapshots: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """Write the manifest beside the copies and record the artefact."""

    original: Original
    copies: tuple[SnapshotRef, ...]


Action = Copy | GiveBack | Delete | Record


@dataclass(frozen=True, slots=True)
class SnapshotCopy:
    """Copies the snapshots of a point into the vault that the job names."""

    points: PointStore
    primary: Vault
    destinations: Callable[[str], Destination]
    slots: CopySlots
    queue: Pokes

    def observe(self, job: Job) -> Seen:
        """Look at the point and at the copies that carry this job's tag, in the destination region."""
        original = find_original(self.points, job)
        if not job.intents:
            return Seen(original, {}, ())
        found = self.destinations(job.work["vault"]).ec2.snapshots_tagged(TAG_JOB, job.id)
        first: dict[str, Snapshot] = {}
        for snapshot in sorted(found, key=lambda each: (each.started_at, each.id)):
            first.setdefault(snapshot.tags[TAG_SOURCE], snapshot)
        used = {snapshot.id for snapshot in first.values()}
        return Seen(original, first, tuple(each.id for each in found if each.id not in used))

    def decide(self, job: Job, seen: Seen, now: datetime) -> Decision[Action]:
        """Copy each snapshot that has no copy, wait for all of them, record the artefact."""
        if seen.original.done:
            return _end(job, seen)
        if "error" in job.progress:
            return _clean_up(job, seen, str(job.progress["error"]), now)
        for source_id, copy in seen.copies.items():
            if copy.state == "error":
                reason = f"EC2 could not copy {source_id} as {copy.id}: {copy.message or 'no reason given'}"
                return _clean_up(job, seen, reason, now)
        if seen.spare:
            return Do(Delete(seen.spare), f"deleting {len(seen.spare)} copies that were made twice")
        source = seen.original.source
        if source is None:
            return _clean_up(job, seen, source_gone(job, seen.original).reason, now)
        finished = _finished_holding(job, seen)
        if finished:
            return Do(GiveBack(finished), "giving copy slots back")
        for ref in source.snapshots:
            if ref.id in seen.copies:
                continue
            intent = f"CopySnapshot of {ref.id}"
            if may_have_been_made(job, intent, now):
                return look_again(job, intent)
            return Do(Copy(ref, source.region or ""), f"copying {ref.id} into {job.work['vault']}", intent)
        pending = [copy for copy in seen.copies.values() if copy.state != "completed"]
        if pending:
            state = ", ".join(f"{copy.id} {copy.progress or 'pending'}" for copy in pending[:5])
            return Wait(
                now + LOST_EVENT_AFTER, f"{len(pending)} of {len(seen.copies)} copies are pending: {state}"
            )
        refs = tuple(replace(ref, id=seen.copies[ref.id].id) for ref in source.snapshots)
        return Do(Record(seen.original, refs), "recording the copies")

    def act(self, job: Job, action: Action, until: datetime) -> Mapping[str, Any]:
        """Make the one call of the action."""
        to = self.destinations(job.work["vault"])
        match action:
            case Copy(source=source, source_region=region):
                return self._copy(job, source, region, to)
            case GiveBack(snapshots=snapshots):
                for snapshot in snapshots:
                    self._give_back(to.settings.region, job, snapshot)
                return {"given_back": [*job.progress.get("given_back", ()), *snapshots]}
            case Delete(snapshots=snapshots):
                for snapshot in snapshots:
                    to.ec2.delete_snapshot(snapshot)
                return {"deleted": [*job.progress.get("deleted", ()), *snapshots]}
            case Record(original=original, copies=copies):
                return self._record(job, original, copies, to)

    def give_up(self, job: Job, reason: str, now: datetime) -> Finish:
        """End without a copy."""
        return failed(job, reason)

    def _copy(self, job: Job, source: SnapshotRef, source_region: str, to: Destination) -> Mapping[str, Any]:
        region, point = to.settings.region, find_original(self.points, job).point
        if not self.slots.take(region, f"{job.id}/{source.id}"):
            self.slots.stand_in_line(region, job.id, job.created_at)
            raise QuotaReached(
                "all copy slots of the region are taken",
                operation="CopySnapshot",
                resource=source.id,
                region=region,
            )
        try:
            self.slots.leave_line(region, job.id, job.created_at)
            copy = to.ec2.copy_snapshot(
                source_region,
                source.id,
                tags={**point.tags(job.id), TAG_SOURCE: source.id},
                kms_key=to.settings.kms_key,
                description=f"Farshore copy of {source.id} in {source_region}, {point.id}",
            )
        except (QuotaReached, Throttled, Permanent):  # refused: no copy of ours holds this slot
            self._give_back(region, job, source.id)
            raise
        return {"copies": {**job.progress.get("copies", {}), source.id: copy}}

    def _give_back(self, region: str, job: Job, snapshot: str) -> None:
        waiting = self.slots.give_back(region, f"{job.id}/{snapshot}")
        if waiting:
            self.queue.poke(waiting)

    def _record(
        self, job: Job, original: Original, copies: tuple[SnapshotRef, ...], to: Destination
    ) -> Mapping[str, Any]:
        source = original.source
        if source is None or source.folder is None:
            raise IntegrityFailure("the original's artefact has no folder", resource=original.point.id)
        folder = source.folder
        manifest = read_manifest(self.primary, folder)
        of_volume = {ref.volume_id: ref.id for ref in copies}
        snapshots = tuple(
            SnapshotOf(
                of_volume[each.volume_id], to.settings.region, each.volume_id, each.device, each.size_gib
            )
            for each in manifest.snapshots
        )
        to.vault.put(manifest_key(folder), to_json(replace(manifest, snapshots=snapshots)).encode())
        self.points.put_artefact(
            original.point.id,
            Artefact(
                vault=job.work["vault"],
                state=PointState.AVAILABLE,
                region=to.settings.region,
                snapshots=copies,
                folder=folder,
            ),
        )
        return {"recorded": True}


def _finished_holding(job: Job, seen: Seen) -> tuple[str, ...]:
    given_back = set(job.progress.get("given_back", ()))
    return tuple(
        source
        for source, copy in seen.copies.items()
        if copy.state in ("completed", "error") and source not in given_back
    )


def _end(job: Job, seen: Seen) -> Decision[Action]:
    """End a copy that is recorded; what this job copied and the record does not name, another job's copy
    outran."""
    recorded = seen.original.point.artefacts[job.work["vault"]].snapshots
    kept = {ref.id for ref in recorded} | set(job.progress.get("deleted", ()))
    copied = (*(copy.id for copy in seen.copies.values()), *seen.spare)
    useless = tuple(copy for copy in copied if copy not in kept)
    if useless:
        return Do(Delete(useless), f"deleting {len(useless)} copies that the recovery point has already")
    return _give_back_or(job, seen, ended(job, f"{len(recorded)} snapshots"))


def _give_back_or(job: Job, seen: Seen, finish: Finish) -> Decision[Action]:
    holding = _holding(job, seen)
    return Do(GiveBack(holding), "giving copy slots back") if holding else finish


def _holding(job: Job, seen: Seen) -> tuple[str, ...]:
    """Return the originals whose slot this job may hold: all it ever tried to copy, less those given back."""
    tried = {name.removeprefix("CopySnapshot of ") for name in job.intents} | set(seen.copies)
    return tuple(sorted(tried - set(job.progress.get("given_back", ()))))


def _clean_up(job: Job, seen: Seen, reason: str, now: datetime) -> Decision[Action]:
    """Delete what was copied, give the slots back, then end; look long enough to find what was made
    unseen."""
    gone = set(job.progress.get("deleted", ()))
    left = tuple(copy.id for copy in seen.copies.values() if copy.id not in gone)
    left += tuple(copy for copy in seen.spare if copy not in gone)
    if left:
        return Do(Delete(left), f"cleaning up after: {reason}")
    known = {f"CopySnapshot of {source}" for source in (*job.progress.get("copies", ()), *seen.copies)}
    unseen = [name for name in job.intents if name not in known and may_have_been_made(job, name, now)]
    if unseen:
        return look_again(job, unseen[-1])
    return _give_back_or(job, seen, failed(job, reason))
