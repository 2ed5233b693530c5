"""Finds volumes that failed or forgotten restores made in a region.

They are only reported, never removed: the operator may have put data on them.
"""

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
    """The volumes that have the tag of a job, and not that of another deployment."""

    ec2: Ec2
    jobs: JobStore
    name: str = "volumes"
    at_once: int = 1
    bucket: None = None
    after: timedelta = timedelta(0)

    def read_page(self, cursor: str | None) -> SurveyPage:
        """Return the next page of the region's volumes."""
        listed = self.ec2.volumes_page((("tag-key", (TAG_JOB,)),), PAGE, cursor)
        ours = [each for each in listed.things if not self.ec2.is_foreign(each.tags)]
        jobs = self.jobs.get_many(job_ids(each.tags.get(TAG_JOB) for each in ours))
        found = (_orphan(each, jobs.get(each.tags.get(TAG_JOB, ""))) for each in ours)
        orphans = tuple(orphan for orphan in found if orphan is not None)
        return SurveyPage(orphans, looked_at=len(ours), cursor=listed.token)

    def recheck(self, whats: Sequence[str]) -> SurveyPage:
        """Return nothing: no volume is ever settled."""
        return SurveyPage()

    def remove(self, what: str, stop: Callable[[], bool]) -> bool:
        """Remove nothing."""
        return True


def _orphan(volume: Volume, job: AnyJob | None) -> Candidate | None:
    """Return the finding of a volume; None if it is in use or its restore is under way or succeeded. Pure."""
    if volume.state != "available":
        return None
    if job is None:
        reason = "no restore in the catalog made it, and it is attached to nothing"
    elif job.state in (JobState.FAILED, JobState.CANCELLED) and volume.id not in job.left:
        reason = f"{job.id}, which is {job.state}, made it, and it is attached to nothing"
    else:
        return None
    return Candidate(
        kind=FindingKind.ORPHAN_VOLUME,
        what=volume.id,
        reason=f"{reason}; delete it if nobody needs it",
        job=volume.tags.get(TAG_JOB, "")[:100],
        point=volume.tags.get(TAG_POINT, "")[:100],
        service=volume.tags.get(TAG_SERVICE, ""),
    )
