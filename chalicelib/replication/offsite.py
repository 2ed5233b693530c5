"""Copies a service backup into a vault of another cloud, in segments, and with it all that opens it there.

Invariant: the manifest is written last, so a folder without one is a copy that is not finished; it lists the
hash of every segment, taken from the bytes that were sent.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from chalicelib.catalog.job import Decision, Do, Finish, Job
from chalicelib.catalog.recovery_point import Artefact, PointState
from chalicelib.catalog.store import PointStore
from chalicelib.errors import IntegrityFailure
from chalicelib.replication.point_copy import (
    NoteFailure,
    Original,
    already_over,
    failed,
    find_original,
    note_failure,
    read_manifest,
)
from chalicelib.vaults.layout import Segment, manifest_key, segment_key, segment_name, segments
from chalicelib.vaults.manifest import SegmentHash, to_json
from chalicelib.vaults.restore_script import put_restore_script
from chalicelib.vaults.s3 import S3Vault
from chalicelib.vaults.transfer import move, segment_bytes
from chalicelib.vaults.vault import Vault

# A transfer stops this long before the worker's time is up.
MARGIN = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class SendSegments:
    """Send the next segments."""

    source: Artefact
    todo: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """Write the restore script and the manifest, and record the artefact."""

    original: Original


Action = SendSegments | Record | NoteFailure


@dataclass(frozen=True, slots=True)
class SegmentCopy:
    """Copies the object of a point into the off-site vault that the job names."""

    points: PointStore
    primary: S3Vault
    vaults: Callable[[str], Vault]
    now: Callable[[], datetime]

    def observe(self, job: Job) -> Original:
        """Look at the point."""
        return find_original(self.points, job)

    def decide(self, job: Job, original: Original, now: datetime) -> Decision[Action]:
        """Send segment after segment, then the manifest."""
        source, size = original.source, original.point.size_bytes
        done = len(job.progress.get("segments", ()))
        if source is None or original.done or "error" in job.progress:
            return already_over(job, original, f"{size:,} bytes in {done} segments")
        plan = tuple(segments(size, segment_bytes(size)))
        if done < len(plan):
            return Do(SendSegments(source, plan[done:]), f"sending segment {done + 1} of {len(plan)}")
        return Do(Record(original), "writing the manifest")

    def act(self, job: Job, action: Action, until: datetime) -> Mapping[str, Any]:
        """Carry out one action."""
        to = self.vaults(job.work["vault"])
        match action:
            case SendSegments(source=source, todo=todo):
                key, folder = source.key or "", source.folder or ""
                moved = move(
                    todo,
                    read=lambda piece: self.primary.read(
                        key, piece.start, piece.size_bytes, etag=source.etag
                    ),
                    write=lambda piece, data: to.put(segment_key(folder, piece.number), data),
                    stop=lambda: self.now() >= until - MARGIN,
                )
                sent = [[each.size_bytes, each.sha256] for each in moved]
                return {"segments": [*job.progress.get("segments", ()), *sent]}
            case Record(original=original):
                return self._record(job, original, to)
            case NoteFailure():
                return note_failure(self.points, job, action)

    def give_up(self, job: Job, reason: str, now: datetime) -> Finish:
        """End without a copy; its segments are overwritten by the next attempt or let go by the lifecycle."""
        return failed(job, reason)

    def _record(self, job: Job, original: Original, to: Vault) -> Mapping[str, Any]:
        source = original.source
        if source is None or source.folder is None:
            raise IntegrityFailure("the original's artefact has no folder", resource=original.point.id)
        hashes = tuple(
            SegmentHash(segment_name(number), size, sha256)
            for number, (size, sha256) in enumerate(job.progress["segments"], start=1)
        )
        manifest = replace(read_manifest(self.primary, source.folder), segments=hashes)
        put_restore_script(to)
        to.put(manifest_key(source.folder), to_json(manifest).encode())
        self.points.put_artefact(
            original.point.id,
            Artefact(
                vault=to.name,
                state=PointState.AVAILABLE,
                folder=source.folder,
                segments=len(hashes),
                sha256=source.sha256,
                verified_at=self.now(),
            ),
        )
        return {"recorded": True}
