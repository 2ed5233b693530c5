"""Puts the segments of an off-site copy together as one object in an S3 vault, for an instance to fetch.

Invariant: a segment is compared with the manifest's hash before it is used; the staged object is whole or
not there.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.catalog.job import Job
from chalicelib.errors import IntegrityFailure
from chalicelib.vaults.layout import Segment, manifest_key
from chalicelib.vaults.manifest import Manifest, SegmentHash, from_json
from chalicelib.vaults.s3 import S3Vault
from chalicelib.vaults.transfer import move
from chalicelib.vaults.vault import Vault


@dataclass(frozen=True, slots=True)
class StagedFile:
    """How far the staging is: the object's key, the upload, the segments put in place, and whether it is
    whole."""

    key: str
    upload: str
    done: int = 0
    whole: bool = False

    def to_progress(self) -> dict[str, Any]:
        """Return what a job's record keeps."""
        return {"key": self.key, "upload": self.upload, "done": self.done, "whole": self.whole}

    @classmethod
    def from_progress(cls, progress: Mapping[str, Any]) -> "StagedFile":
        """Read what `to_progress` wrote."""
        return cls(progress["key"], progress["upload"], progress["done"], progress["whole"])

    def remove(self, vault: S3Vault) -> None:
        """Remove the object, or the upload of one that is not whole."""
        if self.whole:
            vault.delete(self.key)
        else:
            vault.abort_upload(self.key, self.upload)


def stage(offsite: Vault, into: S3Vault, job: Job, stop: Callable[[], bool]) -> StagedFile:
    """Put the next segments in place, and close the object when all are.

    Raises:
        IntegrityFailure: a segment is not what the manifest says; it names vault and key.
    """
    folder = job.work["folder"]
    staged = _begun(into, job)
    key = manifest_key(folder)
    manifest = from_json(offsite.get(key), where=f"{offsite.name}:{key}")
    _same_point(manifest, job, f"{offsite.name}:{key}")
    todo = _pieces(manifest)[staged.done :]
    if todo:
        moved = move(
            todo,
            read=lambda piece: _checked(offsite, folder, manifest.segments[piece.number - 1]),
            write=lambda piece, data: _place(into, staged, piece, data),
            stop=stop,
        )
        return StagedFile(staged.key, staged.upload, staged.done + len(moved))
    into.finish_upload(
        staged.key, staged.upload, into.uploaded_parts(staged.key, staged.upload), if_absent=False
    )
    return StagedFile(staged.key, staged.upload, staged.done, whole=True)


def _begun(into: S3Vault, job: Job) -> StagedFile:
    if "staging" in job.progress:
        return StagedFile.from_progress(job.progress["staging"])
    key = f"staging/{job.id}"
    return StagedFile(key, into.find_upload(key) or into.start_upload(key, {"farshore:job": job.id}))


def _place(into: S3Vault, staged: StagedFile, piece: Segment, data: bytes) -> None:
    into.put_part(staged.key, staged.upload, piece.number, data)


def _pieces(manifest: Manifest) -> tuple[Segment, ...]:
    pieces, start = [], 0
    for number, segment in enumerate(manifest.segments, start=1):
        pieces.append(Segment(number, start, segment.size_bytes))
        start += segment.size_bytes
    return tuple(pieces)


def _checked(offsite: Vault, folder: str, segment: SegmentHash) -> bytes:
    data = offsite.get(folder + segment.key)
    found = hashlib.sha256(data).hexdigest()
    if found != segment.sha256:
        raise IntegrityFailure(
            f"its SHA-256 is {found}, the manifest says {segment.sha256}",
            operation="restoring",
            resource=f"{offsite.name}:{folder}{segment.key}",
        )
    return data


def _same_point(manifest: Manifest, job: Job, where: str) -> None:
    if manifest.recovery_point != job.work["recovery_point"] or manifest.sha256 != job.work["sha256"]:
        raise IntegrityFailure(
            f"it describes {manifest.recovery_point} with SHA-256 {manifest.sha256}, not what was asked for",
            operation="restoring",
            resource=where,
        )
