"""Copies a service backup into another S3 vault, server-side: its bytes never pass through here.

Invariant: the copy is of just the object that was verified (pinned by its ETag), and it counts as verified
only when its own bytes have been read back and their SHA-256 compared.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from chalicelib.catalog.job import Decision, Do, Finish, Job
from chalicelib.catalog.recovery_point import Artefact, PointState, point_tags
from chalicelib.catalog.store import PointStore
from chalicelib.errors import IntegrityFailure, NotFound
from chalicelib.replication.point_copy import (
    NoteFailure,
    Original,
    already_over,
    counted,
    failed,
    find_original,
    note_failure,
    read_manifest,
)
from chalicelib.vaults.layout import MIB, manifest_key, segments
from chalicelib.vaults.manifest import to_json
from chalicelib.vaults.read_back import read_back
from chalicelib.vaults.s3 import MAX_COPY_BYTES, S3Vault

# A read-back stops this long before the worker's time is up.
MARGIN = timedelta(minutes=1)
COPY_PART_BYTES = 512 * MIB


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
class Record:
    """Write the manifest beside the copy and record the artefact."""

    original: Original


Action = CopyObject | ReadBack | Record | NoteFailure


@dataclass(frozen=True, slots=True)
class ObjectCopy:
    """Copies the object of a point into the S3 vault that the job names."""

    points: PointStore
    primary: S3Vault
    vaults: Callable[[str], S3Vault]
    now: Callable[[], datetime]
    largest_copy: int = MAX_COPY_BYTES

    def observe(self, job: Job) -> Original:
        """Look at the point."""
        return find_original(self.points, job)

    def decide(self, job: Job, original: Original, now: datetime) -> Decision[Action]:
        """Copy, read back, record."""
        source, size = original.source, original.point.size_bytes
        if source is None or original.done or "error" in job.progress:
            return already_over(job, original, f"{size:,} bytes")
        if "copied" not in job.progress:
            return Do(CopyObject(source, size), f"copying {size:,} bytes inside S3")
        if "read_back" not in job.progress or counted(job.progress, "read_back") < job.progress["parts"]:
            return Do(ReadBack(source), "reading the copy back")
        return Do(Record(original), "recording the copy")

    def act(self, job: Job, action: Action, until: datetime) -> Mapping[str, Any]:
        """Carry out one action."""
        to = self.vaults(job.work["vault"])
        match action:
            case CopyObject(source=source, size_bytes=size_bytes) if size_bytes <= self.largest_copy:
                to.copy_from(self.primary, source.key or "", source.key or "", source.etag or "")
                return {"copied": True}
            case CopyObject(source=source, size_bytes=size_bytes):
                return self._copy_parts(job, source, size_bytes, until)
            case ReadBack(source=source):
                parts = read_manifest(self.primary, source.folder or "").parts
                hashes = [(part.size_bytes, part.sha256) for part in parts]
                done = counted(job.progress, "read_back")
                done = read_back(to, source.key or "", hashes, done, lambda: self.now() >= until - MARGIN)
                return {"read_back": done, "parts": len(parts)}
            case Record(original=original):
                return self._record(original, to)
            case NoteFailure():
                return self._note_failure(job, action, to)

    def give_up(self, job: Job, reason: str, now: datetime) -> Finish:
        """End without a copy."""
        return failed(job, reason)

    def _copy_parts(self, job: Job, source: Artefact, size_bytes: int, until: datetime) -> Mapping[str, Any]:
        """Copy the parts that are not there yet until the time is up; close the upload when all are."""
        to, key = self.vaults(job.work["vault"]), source.key or ""
        tags = point_tags(job.work["recovery_point"], job.id, job.service, job.plan, job.rule)
        upload = job.progress.get("upload") or to.find_upload(key) or to.start_upload(key, tags)
        try:
            held = {part.number: part for part in to.uploaded_parts(key, upload)}
        except NotFound:  # a worker closed the upload and died before it could say so
            if to.size(key) != size_bytes:
                raise
            return {"copied": True}
        pinned = self.primary.copy_source(key, source.etag or "")
        for piece in segments(size_bytes, COPY_PART_BYTES):
            if piece.number in held:
                continue
            span = (piece.start, piece.size_bytes)
            held[piece.number] = to.copy_part(pinned, key, upload, piece.number, span)
            if self.now() >= until - MARGIN:
                return {"upload": upload}
        to.finish_upload(key, upload, [held[number] for number in sorted(held)], if_absent=False)
        return {"upload": upload, "copied": True}

    def _note_failure(self, job: Job, action: NoteFailure, to: S3Vault) -> Mapping[str, Any]:
        in_parts = action.original.point.size_bytes > self.largest_copy
        if in_parts and "copied" not in job.progress:
            key = _key(action.original)
            upload = job.progress.get("upload") or to.find_upload(key)
            if upload:
                to.abort_upload(key, upload)
        return note_failure(self.points, job, action)

    def _record(self, original: Original, to: S3Vault) -> Mapping[str, Any]:
        source = original.source
        if source is None or source.folder is None or source.key is None:
            raise IntegrityFailure("the original's artefact has no object", resource=original.point.id)
        manifest = read_manifest(self.primary, source.folder)
        to.put(manifest_key(source.folder), to_json(manifest).encode())
        made = to.head(source.key)
        self.points.put_artefact(
            original.point.id,
            Artefact(
                vault=to.name,
                state=PointState.AVAILABLE,
                folder=source.folder,
                key=source.key,
                etag=made.etag if made else None,
                sha256=source.sha256,
                verified_at=self.now(),
            ),
        )
        return {"recorded": True}


def _key(original: Original) -> str:
    source = original.point.in_vault("primary")
    return (source.key if source else None) or ""
