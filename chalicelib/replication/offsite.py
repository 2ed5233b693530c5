"""Copies a service backup into a vault of another cloud, in segments, with the script that opens it there.

Invariant: the manifest is written last, so a folder without one is an unfinished copy. It lists the hash of
every segment, taken from the bytes that were sent; the hash of the whole was read from the object that the
segments were cut from, pinned by its ETag.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from chalicelib.catalog.recovery_point import Artefact, Segments, StoredFile
from chalicelib.catalog.store.points import PointStore
from chalicelib.catalog.store.writes import Write
from chalicelib.errors import IntegrityFailure
from chalicelib.jobs.decision import Children, Cleaning, Decision, Do, Finish, Step
from chalicelib.jobs.handler import Turn
from chalicelib.jobs.job import Job
from chalicelib.jobs.work import CopyWork
from chalicelib.replication.point_copy import (
    Original,
    being_let_go,
    copied,
    ended,
    failed,
    failure_writes,
    file_manifest,
    find_original,
    lock_of,
    parts_of_file,
    source_gone,
)
from chalicelib.replication.segment_hashes import SegmentHashes
from chalicelib.vaults.layout import Segment, manifest_key, segment_key, segment_name, segments
from chalicelib.vaults.manifest import SegmentHash, to_json
from chalicelib.vaults.restore_script import put_restore_script
from chalicelib.vaults.s3 import S3Vault
from chalicelib.vaults.transfer import move, segment_bytes
from chalicelib.vaults.vault import Vault

# A transfer stops this long before the worker's time is up.
MARGIN = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class SegmentCopyProgress:
    """How far a copy in segments is: how many are sent (their hashes are in records of their own), and when
    the manifest was written."""

    sent: int = 0
    described_at: datetime | None = None


SegmentCopyJob = Job[CopyWork, SegmentCopyProgress]


@dataclass(frozen=True, slots=True)
class SendSegments:
    """Send the next segments."""

    source: Artefact
    todo: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class WriteManifest:
    """Write the restore script and the manifest."""

    source: Artefact


Action = SendSegments | WriteManifest


@dataclass(frozen=True, slots=True)
class SegmentCopy:
    """Copies the object of a point into the off-site vault that the job names."""

    points: PointStore
    hashes: SegmentHashes
    primary: S3Vault
    vaults: Callable[[str], Vault]
    now: Callable[[], datetime]
    work = CopyWork
    progress = SegmentCopyProgress
    deadline = timedelta(days=3)

    def observe(self, job: SegmentCopyJob, children: Children) -> Original:
        """Return the point, and, before the copy is recorded, what is wrong with the copy."""
        original = find_original(self.points, job)
        if job.failure is not None or job.progress.described_at is None or original.source is None:
            return original
        return replace(original, fault=self._fault(job, original.source, original.point.size_bytes))

    def _fault(self, job: SegmentCopyJob, source: Artefact, size_bytes: int) -> str | None:
        """Return which object of the copy is missing or of another size; this takes one listing."""
        vault, folder = self.vaults(job.work.vault), source.folder
        there = {each.key: each.size_bytes for each in vault.list(folder)}
        plan = segments(size_bytes, segment_bytes(size_bytes))
        wrong = [
            key for piece in plan if there.get(key := segment_key(folder, piece.number)) != piece.size_bytes
        ]
        wrong += [] if there.get(manifest_key(folder)) else [manifest_key(folder)]
        return f"{vault.name}:{wrong[0]} has disappeared, or is not as it was sent" if wrong else None

    def decide(self, job: SegmentCopyJob, original: Original, now: datetime) -> Decision[Action]:
        """Send all segments, then the manifest."""
        source, size, sent = original.source, original.point.size_bytes, job.progress.sent
        if original.is_in(job.work.vault):
            return Finish(f"{job.work.recovery_point} is in {job.work.vault} already")
        if source is None:
            return source_gone(original)
        if waiting := being_let_go(original, job.work.vault, now):
            return waiting
        plan = tuple(segments(size, segment_bytes(size)))
        if sent < len(plan):
            said = f"sending segment {sent + 1} of {len(plan)}"
            return Do(SendSegments(source, plan[sent:]), said, locks=(lock_of(job),))
        if job.progress.described_at is None:
            return Do(WriteManifest(source), "writing the manifest")
        file = source.file(StoredFile)
        content = Segments(segment_count=sent, sha256=file.sha256, parts_sha256=file.parts_sha256)
        artefact = copied(source, job.work.vault, content, job.progress.described_at)
        return ended(job, original, artefact, f"{size:,} bytes in {sent} segments", now)

    def clean_up(self, job: SegmentCopyJob, original: Original, now: datetime) -> Cleaning[Action]:
        """End; the segments are overwritten by the next attempt, or deleted by the lifecycle."""
        return failed(job, original, now)

    def abandon(self, job: SegmentCopyJob, now: datetime) -> tuple[Write, ...]:
        """Record the failure, so that the lifecycle removes what the copy left."""
        return failure_writes(job, find_original(self.points, job), now)

    def leftovers(self, job: SegmentCopyJob) -> tuple[str, ...]:
        """Return nothing: the failed artefact is recorded."""
        return ()

    def act(self, job: SegmentCopyJob, action: Action, turn: Turn) -> Step[SegmentCopyProgress]:
        """Carry out the action."""
        to = self.vaults(job.work.vault)
        match action:
            case SendSegments(source=source, todo=todo):
                file, folder = source.file(StoredFile), source.folder
                moved = move(
                    todo,
                    read=lambda piece: self.primary.read(
                        file.key, piece.start, piece.size_bytes, etag=file.etag
                    ),
                    write=lambda piece, data: to.put(segment_key(folder, piece.number), data),
                    stop=lambda: self.now() >= turn.until - MARGIN,
                )
                sent = job.progress.sent
                record = self.hashes.adding(
                    job.id, sent, [(each.size_bytes, each.sha256) for each in moved], self.now()
                )
                return Step(replace(job.progress, sent=sent + len(moved)), (record,))
            case WriteManifest(source=source):
                self._describe(job, source, to)
                return Step(replace(job.progress, described_at=self.now()))

    def _describe(self, job: SegmentCopyJob, source: Artefact, to: Vault) -> None:
        hashes = tuple(
            SegmentHash(segment_name(number), size, sha256)
            for number, (size, sha256) in enumerate(self.hashes.of_job(job.id), start=1)
        )
        if len(hashes) != job.progress.sent:
            raise IntegrityFailure(
                f"{len(hashes)} hashes of {job.progress.sent} segments", operation="copying", resource=job.id
            )
        point, parts = find_original(self.points, job).point, parts_of_file(self.primary, job, source)
        manifest = replace(file_manifest(point, source, parts), segments=hashes)
        put_restore_script(to)
        to.put(manifest_key(source.folder), to_json(manifest).encode())
