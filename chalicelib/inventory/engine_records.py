"""Finds records of the engine that no job looks after: slots and overdue jobs.

Copy slots of jobs that are over are freed; jobs far past their deadline are reported. Locks are not surveyed:
a job that needs one frees it if its holder is over.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from chalicelib.catalog.store import wake
from chalicelib.catalog.store.findings import FindingKind
from chalicelib.catalog.store.table import Table
from chalicelib.inventory.survey import PAGE, Candidate, Remedy, SurveyPage
from chalicelib.jobs.claims import Claim, Claims
from chalicelib.jobs.store import JobStore

# A job has a day to clean up after its deadline, and so have its parts before it.
LATE_AFTER = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class SlotSurvey:
    """The copy slots of all regions; each is named `REGION SLOT`."""

    claims: Claims
    jobs: JobStore
    regions: tuple[str, ...]
    name: str = "copy slots"
    at_once: int = 10
    bucket: None = None
    after: timedelta = timedelta(0)

    def read_page(self, cursor: str | None) -> SurveyPage:
        """Return what differs among all slots; an account has some tens of them in a region."""
        held = self._held(self.regions)
        return SurveyPage(tuple(self._over(held)), looked_at=len(held))

    def recheck(self, whats: Sequence[str]) -> SurveyPage:
        """Return what still differs among the slots that are about to be healed."""
        held = self._held({what.partition(" ")[0] for what in whats})
        return SurveyPage(tuple(each for each in self._over(held) if each.what in whats))

    def remove(self, what: str, stop: Callable[[], bool]) -> bool:
        """Free the slot of a job that is over."""
        region, _, slot = what.partition(" ")
        for claim in self.claims.slots(region):
            if claim.key[1] == slot and self._over({what: claim}):
                self.claims.heal(claim)
        return True

    def _held(self, regions: Iterable[str]) -> dict[str, Claim]:
        return {
            f"{region} {claim.key[1]}": claim for region in regions for claim in self.claims.slots(region)
        }

    def _over(self, held: dict[str, Claim]) -> list[Candidate]:
        states = self.jobs.states({claim.job for claim in held.values()})
        return [
            Candidate(
                kind=FindingKind.LEFTOVER,
                what=what,
                reason=f"{claim.job} is over and holds it",
                job=claim.job,
                remedy=Remedy(removes=True),
                unsaid=True,
            )
            for what, claim in held.items()
            if claim.job not in states or states[claim.job].final
        ]


@dataclass(frozen=True, slots=True)
class OverdueSurvey:
    """The jobs that are not over."""

    table: Table
    jobs: JobStore
    now: Callable[[], datetime]
    name: str = "jobs"
    at_once: int = 1
    bucket: None = None
    after: timedelta = timedelta(0)

    def read_page(self, cursor: str | None) -> SurveyPage:
        """Return what differs among the next jobs."""
        page = wake.open_jobs(self.table, limit=PAGE, cursor=cursor)
        jobs, now = self.jobs.get_many(page.items).values(), self.now()
        late = tuple(
            Candidate(
                kind=FindingKind.OVERDUE_JOB,
                what=job.id,
                reason=f"it should have ended by {job.deadline:%Y-%m-%d %H:%M} UTC; last: {job.reason}",
                job=job.id,
                service=job.service,
            )
            for job in jobs
            if not job.state.final and now > job.deadline + LATE_AFTER
        )
        return SurveyPage(late, looked_at=len(page.items), cursor=page.cursor)

    def recheck(self, whats: Sequence[str]) -> SurveyPage:
        """Return nothing: overdue jobs are only reported."""
        return SurveyPage()

    def remove(self, what: str, stop: Callable[[], bool]) -> bool:
        """Remove nothing."""
        return True
