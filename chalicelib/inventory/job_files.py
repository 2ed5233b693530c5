"""Finds what jobs have left in S3 vaults: unfinished uploads, staged files and mailboxes.

These belong to jobs while they run; what belongs to a job that is over is removed after its grace.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from chalicelib.catalog.recovery_point import PointState, RecoveryPoint
from chalicelib.catalog.store.findings import FindingKind
from chalicelib.catalog.store.points import PointStore
from chalicelib.inventory.proof import job_ids, point_ids
from chalicelib.inventory.survey import PAGE, Candidate, Remedy, SurveyPage
from chalicelib.jobs.claims import lock_of_copy
from chalicelib.jobs.job import AnyJob
from chalicelib.jobs.store import JobStore
from chalicelib.vaults.layout import JOB_PREFIXES, folder_of_key, job_of_key, point_of_folder
from chalicelib.vaults.vault import Upload, Uploads, Vault


@dataclass(frozen=True, slots=True)
class UploadSurvey:
    """The unfinished uploads of an S3 vault; each is named `KEY UPLOAD`."""

    vault: str
    uploads: Uploads
    points: PointStore
    jobs: JobStore
    grace: timedelta
    name: str = "uploads"
    at_once: int = 10
    bucket: None = None
    after: timedelta = timedelta(0)

    def read_page(self, cursor: str | None) -> SurveyPage:
        """Return what differs among the next uploads."""
        marker = json.loads(cursor) if cursor else None
        uploads, more = self.uploads.uploads_after(tuple(marker) if marker else None, PAGE)
        last = json.dumps([uploads[-1].key, uploads[-1].id]) if uploads and more else None
        return SurveyPage(tuple(self._orphans(uploads)), looked_at=len(uploads), cursor=last)

    def recheck(self, whats: Sequence[str]) -> SurveyPage:
        """Return what still differs among the uploads that are about to be aborted."""
        begun = [Upload(*_parts(what)) for what in whats]
        orphans = tuple(self._orphans(begun))
        still = {each.what for each in orphans}
        return SurveyPage(
            orphans, tuple((FindingKind.ORPHAN_UPLOAD, what) for what in whats if what not in still)
        )

    def remove(self, what: str, stop: Callable[[], bool]) -> bool:
        """Abort an upload; it succeeds if the upload is finished or gone."""
        self.uploads.abort_upload(*_parts(what))
        return True

    def _orphans(self, uploads: Sequence[Upload]) -> Iterator[Candidate]:
        points = self.points.get_many(point_ids(map(_point_of, uploads)))
        jobs = self.jobs.get_many(job_ids(job_of_key(each.key) for each in uploads))
        for each in uploads:
            job_id = job_of_key(each.key)
            if job_id is not None:
                yield from _of_job(
                    f"{each.key} {each.id}", job_id, jobs, self.grace, FindingKind.ORPHAN_UPLOAD
                )
            elif folder_of_key(each.key) is not None:
                yield from _of_point(each, self.vault, points.get(_point_of(each)), self.grace)


@dataclass(frozen=True, slots=True)
class JobFileSurvey:
    """The objects that jobs keep while they run, under one of their prefixes."""

    vault: Vault
    prefix: str
    jobs: JobStore
    grace: timedelta
    at_once: int = 10
    bucket: None = None
    after: timedelta = timedelta(0)

    @property
    def name(self) -> str:
        """What is surveyed, in words."""
        return f"objects under {self.prefix}"

    def read_page(self, cursor: str | None) -> SurveyPage:
        """Return what differs among the next objects."""
        keys = []
        for stored in self.vault.list(self.prefix, cursor or ""):
            keys.append(stored.key)
            if len(keys) == PAGE:
                break
        last = keys[-1] if len(keys) == PAGE else None
        return SurveyPage(tuple(self._orphans(keys)), looked_at=len(keys), cursor=last)

    def recheck(self, whats: Sequence[str]) -> SurveyPage:
        """Return what still differs among the objects that are about to be deleted."""
        orphans = tuple(self._orphans([what for what in whats if self.vault.size(what) is not None]))
        still = {each.what for each in orphans}
        return SurveyPage(
            orphans, tuple((FindingKind.ORPHAN_FILE, what) for what in whats if what not in still)
        )

    def remove(self, what: str, stop: Callable[[], bool]) -> bool:
        """Delete an object."""
        self.vault.delete(what)
        return True

    def _orphans(self, keys: Iterable[str]) -> Iterator[Candidate]:
        named = {key: job_of_key(key) or "" for key in keys}
        jobs = self.jobs.get_many(job_ids(named.values()))
        for key, job_id in named.items():
            yield from _of_job(key, job_id, jobs, self.grace, FindingKind.ORPHAN_FILE)


def job_files_of(vault: Vault, jobs: JobStore, grace: timedelta) -> tuple[JobFileSurvey, ...]:
    """Return the surveys of what jobs keep in a vault while they run."""
    return tuple(JobFileSurvey(vault, prefix, jobs, grace) for prefix in JOB_PREFIXES)


def _of_job(
    what: str, job_id: str, jobs: dict[str, AnyJob], grace: timedelta, kind: FindingKind
) -> Iterator[Candidate]:
    """Yield what is left of a job that is over or not in the catalog. Pure."""
    job = jobs.get(job_id)
    if job is None:
        yield Candidate(kind, what, f"the catalog has no job {job_id}; it is left alone", job=job_id)
    elif job.state.final:
        remedy = Remedy(grace, twice=True, removes=True)
        why = f"{job.id}, which is {job.state}, left it there"
        yield Candidate(kind, what, why, job.id, service=job.service, remedy=remedy)


def _of_point(
    upload: Upload, vault: str, point: RecoveryPoint | None, grace: timedelta
) -> Iterator[Candidate]:
    """Yield an upload of a point that no job is making or copying. Pure.

    A copy that begins meanwhile is kept waiting, or it would continue an upload that is about to be aborted.
    """
    what = f"{upload.key} {upload.id}"
    if point is None:
        why = "its recovery point is not in the catalog; it is left to the bucket's rules"
        yield Candidate(FindingKind.ORPHAN_UPLOAD, what, why, point=_point_of(upload))
    elif point.state is not PointState.CREATING and not point.pins:
        yield Candidate(
            kind=FindingKind.ORPHAN_UPLOAD,
            what=what,
            reason=f"no job works on {point.id}, which is {point.state}",
            point=point.id,
            service=point.service,
            remedy=Remedy(grace, twice=True, removes=True),
            lock=lock_of_copy(point.id, vault),
        )


def _point_of(upload: Upload) -> str:
    return point_of_folder(folder_of_key(upload.key) or "")


def _parts(what: str) -> tuple[str, str]:
    """Return the key and id of an upload; neither contains a blank."""
    key, _, upload = what.rpartition(" ")
    return key, upload
