"""Copies a service backup into another S3 vault, server-side: its bytes do not pass through this process.

Invariant: the copy is of the object that was verified (pinned by its ETag). It counts as verified only when
its own bytes have been read back and the SHA-256 of every part, and thereby of the whole, has been compared
with that of the original.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from chalicelib.catalog.recovery_point import Artefact, StoredFile, point_tags
from chalicelib.catalog.store.points import PointStore
from chalicelib.catalog.store.writes import Write
from chalicelib.errors import NotFound
from chalicelib.jobs.decision import Children, Cleaning, Decision, Do, Finish, Step, Wait
from chalicelib.jobs.handler import Turn
from chalicelib.jobs.job import Job
from chalicelib.jobs.removal import Removal, remove
from chalicelib.jobs.work import CopyWork
from chalicelib.plans.values import PRIMARY
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
    reason_of,
    source_gone,
)
from chalicelib.vaults.layout import MIB, manifest_key, segments
from chalicelib.vaults.manifest import to_json
from chalicelib.vaults.read_back import PinnedObject, check_whole, read_back
from chalicelib.vaults.s3 import S3Vault

# A read-back stops this long before the worker's time is up.
MARGIN = timedelta(minutes=1)
COPY_PART_BYTES = 512 * MIB


@dataclass(frozen=True, slots=True)
class ObjectCopyProgress:
    """How far the copy of an object is: its upload if it is copied in parts, the ETag of the copy, how many
    of its parts were read back, and when the last one was."""

    upload: str | None = None
    whole: bool = False
    parts_read: int = 0
    parts: int | None = None
    described: bool = False
    etag: str | None = None
    verified_at: datetime | None = None
    removal: Removal = field(default_factory=Removal)


ObjectCopyJob = Job[CopyWork, ObjectCopyProgress]


@dataclass(frozen=True, slots=True)
class BeginUpload:
    """Begin the upload of a large copy, or continue one that was begun before."""

    key: str


@dataclass(frozen=True, slots=True)
class CopyObject:
    """Have S3 copy the object, in parts when it is large."""

    source: Artefact
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ReadBack:
    """Read the copy's parts, from the first not yet read, and compare their hashes with the manifest's."""

    source: Artefact


@dataclass(frozen=True, slots=True)
class WriteManifest:
    """Write the manifest beside the copy."""

    source: Artefact


@dataclass(frozen=True, slots=True)
class Abort:
    """Abort the upload."""

    key: str
    upload: str


Action = BeginUpload | CopyObject | ReadBack | WriteManifest | Abort

# What is larger is copied in parts, each a call of its own: one CopyObject of nearly 5 GB, which S3 allows,
# takes longer than a worker has, and is lost with it.
COPIED_WHOLE_BYTES = 1_000_000_000


@dataclass(frozen=True, slots=True)
class ObjectCopy:
    """Copies the object of a point into the S3 vault that the job names."""

    points: PointStore
    primary: S3Vault
    vaults: Callable[[str], S3Vault]
    now: Callable[[], datetime]
    largest_copy: int = COPIED_WHOLE_BYTES
    work = CopyWork
    progress = ObjectCopyProgress
    deadline = timedelta(days=3)

    def observe(self, job: ObjectCopyJob, children: Children) -> Original:
        """Return the point, and, before the copy is recorded, what is wrong with the copy."""
        original = find_original(self.points, job)
        if job.failure is not None or not job.progress.described or original.source is None:
            return original
        return replace(original, fault=self._fault(job, original.source, original.point.size_bytes))

    def _fault(self, job: ObjectCopyJob, source: Artefact, size_bytes: int) -> str | None:
        """Return what has happened to the copy since it was read back; None if it is intact."""
        to, key = self.vaults(job.work.vault), source.file(StoredFile).key
        found = to.head(key)
        if found is None:
            return f"{to.name}:{key} has disappeared since it was read back"
        if (found.etag, found.size_bytes) != (job.progress.etag, size_bytes):
            return f"{to.name}:{key} was replaced after it was read back"
        return None if to.size(manifest_key(source.folder)) else f"{to.name}:{key} has lost its manifest"

    def decide(self, job: ObjectCopyJob, original: Original, now: datetime) -> Decision[Action]:
        """Copy, read the copy back, write the manifest."""
        source, size, progress = original.source, original.point.size_bytes, job.progress
        if original.is_in(job.work.vault):
            return Finish(f"{job.work.recovery_point} is in {job.work.vault} already")
        if source is None:
            return source_gone(original)
        if waiting := being_let_go(original, job.work.vault, now):
            return waiting
        if progress.upload is None and size > self.largest_copy:
            return Do(BeginUpload(source.file(StoredFile).key), "beginning the upload", locks=(lock_of(job),))
        if not progress.whole:
            return Do(CopyObject(source, size), f"copying {size:,} bytes inside S3", locks=(lock_of(job),))
        if progress.parts is None or progress.parts_read < progress.parts:
            return Do(ReadBack(source), "reading the copy back")
        if not progress.described:
            return Do(WriteManifest(source), "writing the manifest")
        content = replace(source.file(StoredFile), etag=progress.etag or "")
        artefact = copied(source, job.work.vault, content, progress.verified_at)
        return ended(job, original, artefact, f"{size:,} bytes", now)

    def clean_up(self, job: ObjectCopyJob, original: Original, now: datetime) -> Cleaning[Action]:
        """Abort an unfinished upload; the object itself is left to the lifecycle."""
        due = job.progress.removal.due(self.leftovers(job), now)
        if isinstance(due, Wait):
            return replace(due, reason=f"{reason_of(job)}; {due.reason}")
        key = _key(original)
        if due and key:
            return Do(Abort(key, due[0]), "aborting the upload")
        return failed(job, original, now)

    def abandon(self, job: ObjectCopyJob, now: datetime) -> tuple[Write, ...]:
        """Record the failure, so that the lifecycle removes what the copy left."""
        return failure_writes(job, find_original(self.points, job), now)

    def leftovers(self, job: ObjectCopyJob) -> tuple[str, ...]:
        """Return the upload that was begun and neither finished nor aborted."""
        upload = job.progress.upload
        return job.progress.removal.left_of([upload] if upload and not job.progress.whole else [])

    def act(self, job: ObjectCopyJob, action: Action, turn: Turn) -> Step[ObjectCopyProgress]:
        """Carry out the action."""
        to, progress = self.vaults(job.work.vault), job.progress
        match action:
            case BeginUpload(key=key):
                tags = point_tags(job.work.recovery_point, job.id, job.service, job.plan, job.rule)
                return Step(replace(progress, upload=to.find_upload(key) or to.start_upload(key, tags)))
            case CopyObject(source=source) if progress.upload is None:
                file = source.file(StoredFile)
                to.copy_from(self.primary, file.key, file.key, file.etag)
                return Step(replace(progress, whole=True))
            case CopyObject(source=source, size_bytes=size_bytes):
                whole = self._copy_parts(to, progress.upload or "", source, size_bytes, turn.until)
                return Step(replace(progress, whole=whole))
            case ReadBack(source=source):
                return Step(self._read_back(job, to, source, turn.until))
            case WriteManifest(source=source):
                point, parts = find_original(self.points, job).point, parts_of_file(self.primary, job, source)
                manifest = file_manifest(point, source, parts)
                to.put(manifest_key(source.folder), to_json(manifest).encode())
                return Step(replace(progress, described=True))
            case Abort(key=key, upload=upload):
                removal = remove(
                    progress.removal, [upload], lambda each: to.abort_upload(key, each), self.now()
                )
                return Step(replace(progress, removal=removal))

    def _copy_parts(
        self, to: S3Vault, upload: str, source: Artefact, size_bytes: int, until: datetime
    ) -> bool:
        """Copy the missing parts until the time is up; finish the upload when all are there.

        Returns: whether the copy is complete.
        """
        file = source.file(StoredFile)
        key = file.key
        try:
            held = {part.number: part for part in to.uploaded_parts(key, upload)}
        except NotFound:  # a worker finished the upload and died before it could record that
            if to.size(key) != size_bytes:
                raise
            return True
        pinned = self.primary.copy_source(key, file.etag)
        for piece in segments(size_bytes, COPY_PART_BYTES):
            if piece.number in held:
                continue
            span = (piece.start, piece.size_bytes)
            held[piece.number] = to.copy_part(pinned, key, upload, piece.number, span)
            if self.now() >= until - MARGIN:
                return False
        to.finish_upload(key, upload, [held[number] for number in sorted(held)], if_absent=False)
        return True

    def _read_back(
        self, job: ObjectCopyJob, to: S3Vault, source: Artefact, until: datetime
    ) -> ObjectCopyProgress:
        progress, file = job.progress, source.file(StoredFile)
        parts = parts_of_file(self.primary, job, source)
        found = PinnedObject(to, file.key, progress.etag or self._etag(to, file.key))
        hashes = [(part.size_bytes, part.sha256) for part in parts]
        verified = read_back(found, hashes, progress.parts_read, lambda: self.now() >= until - MARGIN)
        check_whole(file.sha256, verified, "the catalog", f"{to.name}:{file.key}")
        return replace(
            progress, parts_read=verified.parts, parts=len(parts), etag=found.etag, verified_at=self.now()
        )

    @staticmethod
    def _etag(to: S3Vault, key: str) -> str:
        found = to.head(key)
        if found is None:
            raise NotFound("the copy is gone", operation="reading back", resource=f"{to.name}:{key}")
        return found.etag


def _key(original: Original) -> str:
    source = original.point.in_vault(PRIMARY)
    return source.content.key if source and isinstance(source.content, StoredFile) else ""
