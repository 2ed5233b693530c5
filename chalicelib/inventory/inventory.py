"""The job that takes an inventory of one place: survey after survey, page by page.

Its progress is the survey and the cursor, so that a region of any size takes constant memory and an
interrupted inventory continues where it was. A difference that is to be settled (removed, or marked in the
catalog) is first recorded, then checked again, then settled by its recorded id. Findings are written in the
job's own commits; those that were not found again are dropped at the end.

Invariants: only one inventory of a place runs at a time. A place that cannot be read keeps its findings, with
one more that says so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from chalicelib.catalog.location import Location
from chalicelib.catalog.store.findings import (
    Finding,
    FindingKind,
    FindingStore,
    dropping,
    key_of,
    noting,
)
from chalicelib.catalog.store.writes import Write
from chalicelib.errors import FarshoreError, Permanent, Retryable
from chalicelib.inventory.survey import PAGE, Candidate, Known, Survey, SurveyPage, judge, keys_of
from chalicelib.jobs.decision import Children, Cleaning, Decision, Do, Fail, Finish, Rest, Step, Wait
from chalicelib.jobs.handler import Turn
from chalicelib.jobs.job import Budget, Job
from chalicelib.jobs.work import InventoryWork

LOOKS_AT_MOST = 6
LOOKS_AGAIN_AFTER = timedelta(minutes=10)
# Removal stops this long before the worker's time is up.
MARGIN = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class InventoryProgress:
    """How far an inventory is: the survey, its cursor, what is to be settled before the next page, and its
    counts so far."""

    began_at: datetime | None = None
    survey: int = 0
    cursor: str | None = None
    due: tuple[str, ...] = ()
    suspected_at: datetime | None = None
    looked_at: int = 0
    found: int = 0
    settled: int = 0
    failed_looks: int = 0


InventoryJob = Job[InventoryWork, InventoryProgress]


@dataclass(frozen=True, slots=True)
class InventoryObservation:
    """The next page and the known findings of it; or why the place could not be read; or, when all surveys
    are done, findings that may be out of date."""

    sight: SurveyPage = field(default_factory=SurveyPage)
    known: Known = field(default_factory=dict)
    unseen: FarshoreError | None = None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Begin:
    """Begin the inventory, with the place locked."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Note:
    """Record the differences of a page."""

    progress: InventoryProgress
    writes: tuple[Write, ...]


@dataclass(frozen=True, slots=True)
class Settle:
    """Settle these candidates. The others that were due no longer differ: their findings are `untrue`."""

    candidates: tuple[Candidate, ...]
    known: Known
    done_with: tuple[str, ...]
    untrue: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Pause:
    """Record that the place could not be read, and try again later."""

    finding: Finding
    restart: bool


Action = Begin | Note | Settle | Pause


@dataclass(frozen=True, slots=True)
class Inventory:
    """Takes inventories. `surveys` returns the surveys of a place, in order."""

    findings: FindingStore
    surveys: Callable[[Location], Sequence[Survey]]
    now: Callable[[], datetime]
    work = InventoryWork
    progress = InventoryProgress
    deadline = timedelta(days=1)

    def observe(self, job: InventoryJob, children: Children) -> InventoryObservation:
        """Return the next page, or another check of what is due to be settled."""
        progress = job.progress
        if progress.began_at is None or job.failure is not None:
            return InventoryObservation()
        try:
            return self._look(job, _survey(self._of(job), progress), self.now())
        except FarshoreError as error:
            place = _place(job)
            key = key_of(place, FindingKind.NOT_LOOKED_AT, place.name)
            return InventoryObservation(known=self.findings.known([key]), unseen=error)

    def _look(self, job: InventoryJob, survey: Survey | None, now: datetime) -> InventoryObservation:
        place, progress = _place(job), job.progress
        if survey is None:
            after = progress.cursor
            return InventoryObservation(findings=self.findings.of_place(place, after=after, limit=PAGE))
        if progress.due:
            sight = survey.recheck(progress.due[: survey.at_once])
        elif _begins_at(survey, progress) > now:
            return InventoryObservation()
        else:
            sight = survey.read_page(progress.cursor)
        return InventoryObservation(sight, self.findings.known(keys_of(place, sight.candidates)))

    def decide(self, job: InventoryJob, seen: InventoryObservation, now: datetime) -> Decision[Action]:
        """Survey page after page, settle what is due between them, then drop what was not found again."""
        place, progress = _place(job), job.progress
        if progress.began_at is None:
            return Do(Begin(now), f"taking inventory of {place.name}", locks=(f"inventory of {place.name}",))
        if seen.unseen is not None:
            return _pause(job, seen.unseen, seen.known, now)
        survey = _survey(self._of(job), progress)
        if survey is None:
            return _sweep(job, progress.began_at, seen.findings)
        if progress.due:
            return _settle(job, survey, seen)
        if (begins_at := _begins_at(survey, progress)) > now:
            return Wait(begins_at, f"{survey.name} of {place.name} are checked again then")
        return _note(job, survey, seen, progress.began_at, now)

    def clean_up(self, job: InventoryJob, seen: InventoryObservation, now: datetime) -> Cleaning[Action]:
        """End; the findings stay as they are."""
        return Finish(job.failure.reason if job.failure else job.reason)

    def abandon(self, job: InventoryJob, now: datetime) -> tuple[Write, ...]:
        """Record nothing: the findings stay as they are."""
        return ()

    def leftovers(self, job: InventoryJob) -> tuple[str, ...]:
        """Return nothing: an inventory makes nothing."""
        return ()

    def act(self, job: InventoryJob, action: Action, turn: Turn) -> Step[InventoryProgress]:
        """Carry out the action."""
        progress = job.progress
        match action:
            case Begin(at=at):
                return Step(replace(progress, began_at=at))
            case Note(progress=after, writes=writes):
                return Step(after, writes)
            case Pause(finding=finding, restart=restart):
                failed = replace(progress, failed_looks=progress.failed_looks + 1)
                failed = replace(failed, cursor=None, due=()) if restart else failed
                return Step(failed, (noting(finding),), rest=Rest(finding.reason, LOOKS_AGAIN_AFTER))
            case Settle():
                return self._settle(job, action, lambda: self.now() >= turn.until - MARGIN)

    def _settle(self, job: InventoryJob, settle: Settle, stop: Callable[[], bool]) -> Step[InventoryProgress]:
        """Remove or mark each candidate; refusals are recorded and left for the next inventory."""
        place, survey = _place(job), _survey(self._of(job), job.progress)
        writes = [dropping(key) for key in settle.untrue]
        done = [*settle.done_with]
        for each in settle.candidates:
            key = key_of(place, each.kind, each.what)
            said = settle.known.get(key)
            if each.remedy is not None and each.remedy.writes:
                writes += each.remedy.writes
                writes += [noting(replace(said, settled=True, reason=each.reason))] if said else []
                writes += [dropping(key)] if each.unsaid else []
                done.append(each.what)
                continue
            try:
                if survey is None or not survey.remove(each.what, stop):
                    break
            except Permanent as refusal:
                told = f"{each.reason}; it could not be removed: {refusal}"
                writes += [noting(replace(said, reason=told))] if said else []
            else:
                writes.append(dropping(key))
            done.append(each.what)
        left = tuple(what for what in job.progress.due if what not in done)
        settled = job.progress.settled + len(done) - len(settle.done_with)
        progress = _goes_on(replace(job.progress, due=left, settled=settled))
        return Step(progress, tuple(writes), unlocks=_locks(settle.candidates))

    def _of(self, job: InventoryJob) -> Sequence[Survey]:
        return self.surveys(_place(job))


def _note(
    job: InventoryJob, survey: Survey, seen: InventoryObservation, began_at: datetime, now: datetime
) -> Do[Action]:
    """Return the action that records the differences of a page."""
    judged = judge(_place(job), seen.sight, seen.known, began_at, now)
    suspected = any(each.kind is FindingKind.MISSING and not each.settled for each in judged.findings)
    progress = replace(
        job.progress,
        cursor=seen.sight.cursor,
        due=judged.due,
        suspected_at=now if suspected else job.progress.suspected_at,
        looked_at=job.progress.looked_at + seen.sight.looked_at,
        found=job.progress.found + len(judged.findings),
        failed_looks=0,
    )
    writes = (*map(noting, judged.findings), *map(dropping, judged.dropped))
    said = f"{survey.name} of {_place(job).name}: {progress.looked_at} checked"
    over = (
        replace(progress, survey=progress.survey + 1)
        if seen.sight.cursor is None and not judged.due
        else progress
    )
    return Do(Note(over, writes), said)


def _settle(job: InventoryJob, survey: Survey, seen: InventoryObservation) -> Do[Action]:
    """Return the action that settles what a second check has confirmed, by its recorded id."""
    asked = job.progress.due[: survey.at_once]
    still = tuple(each for each in seen.sight.candidates if each.remedy is not None)
    done_with = tuple(what for what in asked if what not in {each.what for each in still})
    removes = any(each.remedy is not None and each.remedy.removes for each in still)
    budget = Budget(*survey.bucket, calls=len(still)) if survey.bucket and still else None
    said = f"settling {len(still)} of {survey.name} of {_place(job).name}"
    return Do(
        Settle(still, seen.known, done_with, tuple(key_of(_place(job), *each) for each in seen.sight.untrue)),
        said,
        intent=f"removing {', '.join(each.what for each in still)}"[:1000] if removes else None,
        budget=budget,
        locks=_locks(still),
    )


def _locks(candidates: Sequence[Candidate]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.lock for each in candidates if each.lock is not None))


def _sweep(job: InventoryJob, began_at: datetime, findings: Sequence[Finding]) -> Decision[Action]:
    """Return how the findings that were not found again are dropped; then the end."""
    progress = job.progress
    old = [each for each in findings if each.last_seen < began_at or each.kind is FindingKind.NOT_LOOKED_AT]
    writes = tuple(dropping(each.key) for each in old)
    if len(findings) == PAGE:
        after = replace(progress, cursor=findings[-1].key[1])
        return Do(Note(after, writes), "dropping findings that are no longer true")
    said = f"{progress.looked_at} checked, {progress.found} findings, {progress.settled} settled"
    return Finish(said, writes)


def _pause(job: InventoryJob, error: FarshoreError, known: Known, now: datetime) -> Decision[Action]:
    """Return a finding that the place cannot be read, and some more tries; then leave it to the next one."""
    place = _place(job)
    why = f"{place.name} could not be read: {error}"
    if job.progress.failed_looks >= LOOKS_AT_MOST:
        return Fail(why)
    finding = Finding(place, FindingKind.NOT_LOOKED_AT, place.name, why, since=now, last_seen=now)
    finding = finding.seen_again(known.get(finding.key))
    # A permanent refusal may concern the cursor, since cursors of listings expire.
    return Do(Pause(finding, restart=not isinstance(error, Retryable)), why)


def _survey(surveys: Sequence[Survey], progress: InventoryProgress) -> Survey | None:
    return surveys[progress.survey] if progress.survey < len(surveys) else None


def _begins_at(survey: Survey, progress: InventoryProgress) -> datetime:
    """Return when a survey begins: at once, or `after` the last suspicion."""
    began_at = progress.suspected_at or progress.began_at
    if began_at is None or progress.suspected_at is None:
        return datetime.min.replace(tzinfo=began_at.tzinfo if began_at else None)
    return began_at + survey.after


def _goes_on(progress: InventoryProgress) -> InventoryProgress:
    """Return the progress, at the next survey if this one is finished."""
    if progress.due or progress.cursor is not None:
        return progress
    return replace(progress, survey=progress.survey + 1)


def _place(job: InventoryJob) -> Location:
    return Location(job.work.region, job.work.vault)
