"""Volumes of a region that restores made and nobody accounts for. They are only reported: whoever has
restored a volume may have put data on it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from chalicelib.aws.ec2 import Ec2, Volume
from chalicelib.catalog.recovery_point import TAG_JOB, TAG_POINT, TAG_SERVICE
from chalicelib.catalog.store.findings import FindingKind
from chalicelib.inventory.proof import job_ids
from chalicelib.inventory.survey import PAGE, Candidate, SurveyPage
from chalicelib.jobs.job import AnyJob, JobState
from chalicelib.jobs.store import JobStore


@dataclass(frozen=True, slots=True)
class VolumeSurvey:
    """The volumes that carry the tag of a job."""

    ec2: Ec2
    jobs: JobStore
    name: str = "volumes"
    at_once: int = 1
    bucket: None = None
    after: timedelta = timedelta(0)

    def read_page(self, cursor: str | None) -> SurveyPage:
        """Look at the next page of the region's volumes."""
        listed = self.ec2.volumes_page((("tag-key", (TAG_JOB,)),), PAGE, cursor)
        jobs = self.jobs.get_many(job_ids(each.tags.get(TAG_JOB) for each in listed.things))
        found = (_orphan(each, jobs.get(each.tags.get(TAG_JOB, ""))) for each in listed.things)
        orphans = tuple(orphan for orphan in found if orphan is not None)
        return SurveyPage(orphans, looked_at=len(listed.things), cursor=listed.token)

    def recheck(self, whats: Sequence[str]) -> SurveyPage:
        """Look at nothing: no volume is ever settled."""
        return SurveyPage()

    def remove(self, what: str, stop: Callable[[], bool]) -> bool:
        """Remove nothing."""
        return True


def _orphan(volume: Volume, job: AnyJob | None) -> Candidate | None:
    """Judge a volume: None when it is in use, or of a restore that is under way or went well. Pure."""
    if volume.state != "available":
        return None
    if job is None:
        reason = "no restore that the catalog remembers made it, and it is attached to nothing"
    elif job.state in (JobState.FAILED, JobState.CANCELLED) and volume.id not in job.left:
        reason = f"{job.id}, which is {job.state}, made it, and it is attached to nothing"
    else:
        return None
    return Candidate(
        kind=FindingKind.ORPHAN_VOLUME,
        what=volume.id,
        reason=f"{reason}; delete it when nobody needs it",
        job=volume.tags.get(TAG_JOB, "")[:100],
        point=volume.tags.get(TAG_POINT, "")[:100],
        service=volume.tags.get(TAG_SERVICE, ""),
    )
