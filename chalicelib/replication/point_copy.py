"""What every copy has in common: the point it copies, and how it begins and ends. Pure but for reading the
catalog."""

from collections.abc import Mapping
from dataclasses import dataclass

from chalicelib.catalog.job import Do, Finish, Job, JobState
from chalicelib.catalog.recovery_point import Artefact, PointState, RecoveryPoint
from chalicelib.catalog.store import PointStore
from chalicelib.errors import NotFound
from chalicelib.vaults.layout import manifest_key
from chalicelib.vaults.manifest import Manifest, from_json
from chalicelib.vaults.vault import Vault


@dataclass(frozen=True, slots=True)
class Original:
    """The point to copy and the artefact it is copied from; `source` is None when no vault can give it any
    more."""

    point: RecoveryPoint
    source: Artefact | None
    done: bool


def find_original(points: PointStore, job: Job, source_vault: str = "primary") -> Original:
    """Look the job's point up.

    Raises:
        NotFound: the catalog has no such point.
    """
    point = points.get(job.work["recovery_point"])
    if point is None:
        raise NotFound("no such recovery point", operation="copying", resource=job.work["recovery_point"])
    source = point.in_vault(source_vault)
    usable = source if source is not None and source.state is PointState.AVAILABLE else None
    made = point.in_vault(job.work["vault"])
    return Original(point, usable, made is not None and made.state is PointState.AVAILABLE)


def ended(job: Job, how: str) -> Finish:
    """End a copy that is in its vault."""
    return Finish(JobState.COMPLETED, f"{job.work['recovery_point']} is in {job.work['vault']}: {how}")


def failed(job: Job, reason: str) -> Finish:
    """End a copy that cannot be made."""
    return Finish(JobState.FAILED, f"copy of {job.work['recovery_point']} into {job.work['vault']}: {reason}")


@dataclass(frozen=True, slots=True)
class NoteFailure:
    """Record that the copy failed, and where what it left lies: the lifecycle lets that go after a day."""

    original: Original
    reason: str


def already_over(job: Job, original: Original, how: str) -> Do[NoteFailure] | Finish:
    """Return how a copy ends that is made already, has failed, or has nothing to copy any more."""
    if original.done:
        return ended(job, how)
    if "error" in job.progress:
        return decide_failed(job, original, str(job.progress["error"]))
    return source_gone(job, original)


def decide_failed(job: Job, original: Original, reason: str) -> Do[NoteFailure] | Finish:
    """Return how a copy ends that cannot be made and may have left something half-made behind."""
    if "noted" in job.progress:
        return failed(job, reason)
    return Do(NoteFailure(original, reason), "recording the failure")


def note_failure(points: PointStore, job: Job, action: NoteFailure) -> Mapping[str, object]:
    """Record a failed artefact in the job's vault."""
    begun = action.original.point.in_vault("primary")
    failure = Artefact(
        vault=job.work["vault"],
        state=PointState.FAILED,
        folder=begun.folder if begun else None,
        reason=action.reason,
    )
    points.put_artefact(action.original.point.id, failure)
    return {"noted": True}


def source_gone(job: Job, original: Original) -> Finish:
    """End a copy whose original is gone."""
    state = original.point.in_vault("primary")
    return failed(job, f"the original is {state.state if state else 'missing'} in primary")


def read_manifest(vault: Vault, folder: str) -> Manifest:
    """Fetch the manifest of an artefact.

    Raises:
        NotFound: there is none.
        IntegrityFailure: it is not a whole manifest.
    """
    key = manifest_key(folder)
    return from_json(vault.get(key), where=f"{vault.name}:{key}")


def counted(progress: Mapping[str, object], name: str) -> int:
    """Return a count kept in a job's progress, 0 when it was never kept."""
    value = progress.get(name, 0)
    return value if isinstance(value, int) else 0
