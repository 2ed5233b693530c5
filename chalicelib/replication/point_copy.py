"""What all copies have in common: the point they copy, and how they begin and end.

Pure, except for reading the catalog and manifests.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from chalicelib.catalog.recovery_point import (
    Artefact,
    Content,
    DueCopy,
    PointState,
    RecoveryPoint,
    StoredFile,
)
from chalicelib.catalog.store import points, services
from chalicelib.catalog.store.due_copies import due, no_longer_due
from chalicelib.catalog.store.points import PointStore
from chalicelib.catalog.store.writes import Write
from chalicelib.jobs.claims import lock_of_copy
from chalicelib.jobs.decision import Fail, Finish, Wait
from chalicelib.jobs.job import LOST_EVENT_AFTER, Job, JobState
from chalicelib.jobs.point_manifest import manifest_of, source_of_file
from chalicelib.jobs.work import CopyWork
from chalicelib.plans.values import PRIMARY
from chalicelib.vaults.layout import manifest_key
from chalicelib.vaults.manifest import Manifest, PartHash, check_describes, from_json
from chalicelib.vaults.vault import Vault

# The pause before a failed copy is tried again; it doubles each time.
FIRST_PAUSE = timedelta(minutes=10)
LONGEST_PAUSE = timedelta(days=1)

CopyJob = Job[CopyWork, Any]


@dataclass(frozen=True, slots=True)
class Original:
    """The point to copy and the artefact it is copied from; `source` is None if that has disappeared. `fault`
    says what is wrong with a copy that is about to be recorded."""

    point: RecoveryPoint
    source: Artefact | None
    fault: str | None = None

    def is_in(self, vault: str) -> bool:
        """Return whether the point is in a vault already."""
        return vault in self.point.available_in()


def find_original(points: PointStore, job: CopyJob) -> Original:
    """Return the job's point and the artefact to copy.

    Raises:
        NotFound: the catalog has no such point.
    """
    point = points.require(job.work.recovery_point)
    source = point.in_vault(PRIMARY)
    return Original(point, source if source is not None and source.state is PointState.AVAILABLE else None)


def lock_of(job: CopyJob) -> str:
    """Return the name of the lock on a copy: only one job at a time copies a point into a vault."""
    return lock_of_copy(job.work.recovery_point, job.work.vault)


def source_gone(original: Original) -> Fail:
    """Return the failure of a copy whose original has disappeared."""
    state = original.point.in_vault(PRIMARY)
    return Fail(f"the original is {state.state if state else 'missing'} in {PRIMARY}")


def being_let_go(original: Original, vault: str, now: datetime) -> Wait | None:
    """Return a wait while what an earlier copy left is deleted; a deletion never begins during a copy."""
    left = original.point.in_vault(vault)
    if left is None or left.state is not PointState.EXPIRED:
        return None
    return Wait(now + LOST_EVENT_AFTER, f"what was in {vault} before is being deleted there")


def ended(job: CopyJob, original: Original, artefact: Artefact, how: str, now: datetime) -> Finish | Fail:
    """Return the end of a copy that was just seen in its vault, with the writes that record its artefact."""
    if original.fault is not None:
        return Fail(original.fault)
    said = f"{job.work.recovery_point} is in {job.work.vault}: {how}"
    if original.is_in(job.work.vault):
        return Finish(said)
    point = original.point
    settled = no_longer_due(point, job.work.vault)
    return Finish(
        said, (points.changing(point, artefact, now), *services.arriving(point, artefact), *settled)
    )


def failed(job: CopyJob, original: Original, now: datetime) -> Finish:
    """Return the end of a failed copy; what it may have left in the vault is recorded for the lifecycle."""
    return Finish(reason_of(job), failure_writes(job, original, now))


def failure_writes(job: CopyJob, original: Original | None, now: datetime) -> tuple[Write, ...]:
    """Return the writes that record a failed copy.

    None are returned if another job has put the point into the vault, or if what is recorded there still has
    to be deleted or looked for.
    """
    if original is None or original.is_in(job.work.vault):
        return ()
    again = _again(job, original, now) if job.work.due else ()
    left = original.point.in_vault(job.work.vault)
    if left is not None and left.state in (PointState.EXPIRED, PointState.MISSING):
        return again
    begun = original.point.in_vault(PRIMARY)
    failure = Artefact(
        vault=job.work.vault,
        state=PointState.FAILED,
        folder=begun.folder if begun else "",
        reason=reason_of(job),
        was_made=False,
    )
    return (points.changing(original.point, failure, now), *again)


def _again(job: CopyJob, original: Original, now: datetime) -> tuple[Write, ...]:
    """Return the writes that try a copy again, later each time, unless it was cancelled."""
    point, vault = original.point, job.work.vault
    known = point.due.get(vault)
    cancelled = job.failure is not None and job.failure.outcome is JobState.CANCELLED
    if cancelled or not (original.source or may_become_available(point)):
        return no_longer_due(point, vault)
    tries = known.tries + 1 if known else 1
    return due(point, vault, DueCopy(tries, now + pause_before(tries)))


def may_become_available(point: RecoveryPoint) -> bool:
    """Return whether an original that is not good now may become so: it is in its grace, or missing."""
    source = point.in_vault(PRIMARY)
    return source is not None and (source.in_grace or source.state is PointState.MISSING)


def pause_before(tries: int) -> timedelta:
    """Return the pause before the next try of a copy that was tried this often."""
    doubled: int = 2 ** min(tries - 1, 16)
    return min(FIRST_PAUSE * doubled, LONGEST_PAUSE)


def reason_of(job: CopyJob) -> str:
    """Return, in words, which copy failed and why."""
    why = job.failure.reason if job.failure else job.reason
    return f"copy of {job.work.recovery_point} into {job.work.vault}: {why}"


def copied(source: Artefact, vault: str, content: Content, verified_at: datetime | None = None) -> Artefact:
    """Return the artefact of a complete copy; its folder has the same name as its source's."""
    return Artefact(vault, PointState.AVAILABLE, content, source.folder, verified_at)


def parts_of_file(vault: Vault, job: CopyJob, source: Artefact) -> tuple[PartHash, ...]:
    """Return the parts of a file from its manifest, after checking it against the catalog.

    Raises:
        NotFound: there is no manifest.
        IntegrityFailure: it is damaged, or it describes other bytes.
    """
    key, file = manifest_key(source.folder), source.file(StoredFile)
    where = f"{vault.name}:{key}"
    manifest = from_json(vault.get(key), where=where)
    check_describes(manifest, job.work.recovery_point, file.sha256, file.parts_sha256, where)
    return manifest.parts


def file_manifest(point: RecoveryPoint, source: Artefact, parts: tuple[PartHash, ...]) -> Manifest:
    """Return the manifest of a copy of a file, made of its parts and the point's record."""
    sha256 = source.file(StoredFile).sha256
    return manifest_of(point, source_of_file(point.source), sha256=sha256, parts=parts)
