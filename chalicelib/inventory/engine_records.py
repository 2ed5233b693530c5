"""What of the catalog's own records a job should have settled and did not: copy slots of jobs that are over,
which are healed, and jobs that are far past their deadline, which are reported.

Locks are not listed: whoever wants one heals it.
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

# A job has a day to clean up after its deadline, and its parts have had theirs.
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
        """Look at all slots: an account has some tens of them in a region."""
        held = self._held(self.regions)
        return SurveyPage(tuple(self._over(held)), looked_at=len(held))

    def recheck(self, whats: Sequence[str]) -> SurveyPage:
        """Look at the slots that are about to be healed."""
        held = self._held({what.partition(" ")[0] for what in whats})
        return SurveyPage(tuple(each for each in self._over(held) if each.what in whats))

    def remove(self, what: str, stop: Callable[[], bool]) -> bool:
        """Take a slot from a job that is over."""
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
        """Look at the next jobs."""
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
        """Look at nothing: an overdue job is only reported."""
        return SurveyPage()

    def remove(self, what: str, stop: Callable[[], bool]) -> bool:
        """Remove nothing."""
        return True
