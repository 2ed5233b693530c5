"""Stages an off-site copy: assembles its segments as one object in an S3 vault, for an instance to fetch.

Invariants: a segment is compared with the manifest's hash before it is used; the staged object is complete or
absent; and an upload is recorded on the job before anything is written to it, so that a job that fails can
abort it.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from chalicelib.catalog.recovery_point import TAG_JOB, Segments
from chalicelib.errors import FarshoreError, IntegrityFailure, NotFound, Retryable, Unavailable
from chalicelib.jobs.job import Job
from chalicelib.jobs.work import ServiceRestoreWork
from chalicelib.vaults.layout import Segment, manifest_key, staging_key
from chalicelib.vaults.manifest import Manifest, SegmentHash, check_describes, from_json
from chalicelib.vaults.s3 import S3Vault
from chalicelib.vaults.transfer import move
from chalicelib.vaults.vault import Vault

StagingJob = Job[ServiceRestoreWork, Any]


@dataclass(frozen=True, slots=True)
class StagedFile:
    """How far the staging is: the vault, key and upload, the segments that were copied, and whether the
    object is complete."""

    vault: str
    key: str
    upload: str
    done: int = 0
    whole: bool = False

    def remove(self, vault: S3Vault) -> None:
        """Remove the object, and its upload if the object is not known to be complete."""
        if not self.whole:
            vault.abort_upload(self.key, self.upload)
        vault.delete(self.key)


def begin(offsite: Vault, s3_vaults: Callable[[str], S3Vault], job: StagingJob) -> StagedFile:
    """Check the manifest, then begin an upload in the first of the job's staging vaults that answers.

    An upload that was begun before is continued.

    Raises:
        IntegrityFailure: the manifest is not one of the job's recovery point; it names vault and key.
        Unavailable: no S3 vault answers; it says what each answered.
    """
    _manifest(offsite, job)
    key, tags = staging_key(job.id), {TAG_JOB: job.id}
    answers = []
    for name in job.work.staging_vaults:
        try:
            into = s3_vaults(name)
            return StagedFile(name, key, into.find_upload(key) or _begun(into, key, tags))
        except FarshoreError as refusal:
            answers.append(f"{name}: {refusal}")
    raise Unavailable(
        "no S3 vault answers, and one is needed to assemble the segments; " + "; ".join(answers),
        operation="staging",
        resource=key,
    )


def _begun(into: S3Vault, key: str, tags: Mapping[str, str]) -> str:
    """Begin an upload and return its id; one that was begun although its answer was lost is used."""
    try:
        return into.start_upload(key, tags)
    except Retryable:
        found = into.find_upload(key)
        if found is None:
            raise
        return found


def stage(
    offsite: Vault, into: S3Vault, job: StagingJob, staged: StagedFile, stop: Callable[[], bool]
) -> StagedFile:
    """Put the next segments in place, and close the object when all are.

    Raises:
        IntegrityFailure: a segment is not what the manifest says; it names vault and key.
    """
    folder = job.work.artefact.folder
    manifest = _manifest(offsite, job)
    todo = _pieces(manifest)[staged.done :]
    if todo:
        moved = move(
            todo,
            read=lambda piece: _checked(offsite, folder, manifest.segments[piece.number - 1]),
            write=lambda piece, data: _place(into, staged, piece, data),
            stop=stop,
        )
        return replace(staged, done=staged.done + len(moved))
    _close(into, staged, manifest.size_bytes)
    return replace(staged, whole=True)


def _close(into: S3Vault, staged: StagedFile, size_bytes: int) -> None:
    """Finish the upload; an object that an earlier worker made before it died is accepted."""
    try:
        parts = into.uploaded_parts(staged.key, staged.upload)
        into.finish_upload(staged.key, staged.upload, parts, if_absent=False)
    except NotFound:
        if into.size(staged.key) != size_bytes:
            raise


def _manifest(offsite: Vault, job: StagingJob) -> Manifest:
    """Return the manifest, after checking that it is that of the point to restore."""
    key, file = manifest_key(job.work.artefact.folder), job.work.artefact.file(Segments)
    where = f"{offsite.name}:{key}"
    manifest = from_json(offsite.get(key), where=where)
    check_describes(manifest, job.work.recovery_point, file.sha256, file.parts_sha256, where)
    return manifest


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
