"""Finds snapshots of a region that belong to no recovery point and to no job under way.

They are found by tag, and by description in case they have lost their tags. A snapshot with the mark of a job
that is over is ours, and is removed after its grace. All others are only reported; those that have the tag of
another deployment are its own inventory's affair.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from chalicelib.aws.ec2 import Ec2, Snapshot
from chalicelib.catalog.recovery_point import TAG_JOB, TAG_POINT, TAG_SERVICE, PointState, RecoveryPoint
from chalicelib.catalog.store.findings import FindingKind
from chalicelib.catalog.store.points import PointStore
from chalicelib.inventory.proof import job_ids, made_by, point_ids
from chalicelib.inventory.survey import PAGE, Candidate, Remedy, SurveyPage
from chalicelib.jobs.job import MARK, AnyJob, job_of_mark
from chalicelib.jobs.store import JobStore

# In these states an artefact's snapshots belong to it.
_HOLDING = (PointState.AVAILABLE, PointState.EXPIRED, PointState.MISSING)
# A pending one could be deleted, too, but its finding would be gone tomorrow.
_MADE = ("completed", "error")


@dataclass(frozen=True, slots=True)
class Owners:
    """The points and jobs that snapshots name, as far as the catalog has them, and by point the ids of its
    snapshots."""

    points: dict[str, RecoveryPoint]
    snapshots: dict[str, frozenset[str]]
    jobs: dict[str, AnyJob]


@dataclass(frozen=True, slots=True)
class SnapshotSurvey:
    """The snapshots that `which` finds; without those that have our tag, if `tagged` is False."""

    name: str
    ec2: Ec2
    points: PointStore
    jobs: JobStore
    grace: timedelta
    which: tuple[tuple[str, tuple[str, ...]], ...]
    tagged: bool
    at_once: int = 10
    after: timedelta = timedelta(0)

    @property
    def bucket(self) -> tuple[str, str]:
        """DeleteSnapshot is paced."""
        return "DeleteSnapshot", self.ec2.region

    def read_page(self, cursor: str | None) -> SurveyPage:
        """Return the next page of the region's snapshots."""
        listed = self.ec2.snapshots_page(self.which, PAGE, cursor)
        wanted = [
            each
            for each in listed.things
            if (self.tagged or TAG_POINT not in each.tags) and not self.ec2.is_foreign(each.tags)
        ]
        return SurveyPage(tuple(self._orphans(wanted)), looked_at=len(wanted), cursor=listed.token)

    def recheck(self, whats: Sequence[str]) -> SurveyPage:
        """Return what still differs among the snapshots that are about to be deleted."""
        orphans = tuple(self._orphans(self.ec2.snapshots_by_id(whats)))
        still = {each.what for each in orphans}
        untrue = tuple((FindingKind.ORPHAN_SNAPSHOT, what) for what in whats if what not in still)
        return SurveyPage(orphans, untrue)

    def remove(self, what: str, stop: Callable[[], bool]) -> bool:
        """Delete a snapshot."""
        self.ec2.delete_snapshot(what)
        return True

    def _orphans(self, snapshots: Sequence[Snapshot]) -> list[Candidate]:
        """Return the snapshots that belong to nothing."""
        owners = self._owners(snapshots)
        return [orphan for each in snapshots if (orphan := _orphan(each, owners, self.grace)) is not None]

    def _owners(self, snapshots: Sequence[Snapshot]) -> Owners:
        """Return the owners of snapshots: the points in their tags, and, for snapshots that those points
        lack, the jobs in their marks with the jobs' parents and points."""
        tagged = point_ids(each.tags.get(TAG_POINT) for each in snapshots)
        points = self.points.get_many(tagged)
        held = {id: self._held(point) for id, point in points.items()}
        known = frozenset[str]().union(*held.values())
        strays = [each for each in snapshots if each.id not in known]
        jobs = self.jobs.get_many(job_ids(job_of_mark(each.description) for each in strays))
        jobs |= self.jobs.get_many({job.parent for job in jobs.values() if job.parent} - jobs.keys())
        theirs = point_ids(getattr(job.work, "recovery_point", None) for job in jobs.values())
        more = self.points.get_many(theirs - points.keys())
        held |= {id: self._held(point) for id, point in more.items()}
        return Owners(points | more, held, jobs)

    def _held(self, point: RecoveryPoint) -> frozenset[str]:
        """Return the ids of the snapshots that a point has or is getting."""
        kept = [artefact for artefact in point.artefacts.values() if artefact.state in _HOLDING]
        ids = {ref.id for artefact in kept for ref in artefact.snapshots.snapshots}
        if any(artefact.snapshots.shards for artefact in kept):
            stored = self.points.stored_snapshots(point.id)
            ids = ids.union(*(stored.get(each.vault, set[str]()) for each in kept))
        return frozenset(ids)


def tagged_in(ec2: Ec2, points: PointStore, jobs: JobStore, grace: timedelta) -> SnapshotSurvey:
    """Return the survey of the snapshots that have our tag."""
    which = (("tag-key", (TAG_POINT,)),)
    return SnapshotSurvey("snapshots", ec2, points, jobs, grace, which, tagged=True)


def untagged_in(ec2: Ec2, points: PointStore, jobs: JobStore, grace: timedelta) -> SnapshotSurvey:
    """Return the survey of snapshots that have our description and have lost our tag."""
    which = (("description", (f"{MARK} *",)),)
    return SnapshotSurvey("snapshots without tags", ec2, points, jobs, grace, which, tagged=False)


def _orphan(snapshot: Snapshot, owners: Owners, grace: timedelta) -> Candidate | None:
    """Return the finding of a snapshot; None if it has an owner. Pure.

    Owners are a point, a job under way, a job that is over and lists it as left behind, and the parents of
    these jobs.
    """
    if any(snapshot.id in held for held in owners.snapshots.values()) or snapshot.state not in _MADE:
        return None
    job = owners.jobs.get(job_of_mark(snapshot.description) or "")
    family = [each for each in (job, owners.jobs.get(job.parent or "") if job else None) if each is not None]
    if any(not each.state.final or snapshot.id in each.left for each in family):
        return None
    reason, ours = _why(snapshot, job)
    return Candidate(
        kind=FindingKind.ORPHAN_SNAPSHOT,
        what=snapshot.id,
        reason=reason,
        job=job.id if job and ours else snapshot.tags.get(TAG_JOB, "")[:100],
        point=snapshot.tags.get(TAG_POINT, "")[:100],
        service=job.service if job and ours else snapshot.tags.get(TAG_SERVICE, ""),
        remedy=Remedy(grace, twice=True, removes=True) if ours else None,
    )


def _why(snapshot: Snapshot, job: AnyJob | None) -> tuple[str, bool]:
    """Return why a snapshot is an orphan, and whether it is provably ours."""
    if job is None:
        return (
            "it is in no recovery point, and no job in the catalog made it: another deployment's "
            "or forged; it is left alone",
            False,
        )
    if not made_by(job, snapshot):
        return f"it names {job.id}, which did not make it: forged; it is left alone", False
    return f"{job.id}, which is {job.state}, made it, and it is in no recovery point", True
