"""The job that takes an inventory of one place: survey after survey, page by page, whatever interrupts it.

Its progress is the survey and the cursor, so a region of any size takes constant memory and goes on where it
was. What was due to be settled is recorded before it is, looked at again, and then settled by its recorded
id. Findings are written in the job's own commits; those that were not found again are dropped at the end.

Invariant: of two inventories of one place one waits. A place that cannot be looked at keeps its findings and
says so.
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
# Removing stops this long before the worker's time is up.
MARGIN = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class InventoryProgress:
    """How far an inventory is: the survey, its cursor, what is due to be settled before it goes on; what it
    has counted so far."""

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
    """What the next look showed and what was known of it; or why nothing could be seen; or, when all surveys
    are done, findings that may be out of date."""

    sight: SurveyPage = field(default_factory=SurveyPage)
    known: Known = field(default_factory=dict)
    unseen: FarshoreError | None = None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Begin:
    """Begin, with the place locked."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Note:
    """Record what a look showed."""

    progress: InventoryProgress
    writes: tuple[Write, ...]


@dataclass(frozen=True, slots=True)
class Settle:
    """Settle these. What else was due no longer needs it: the findings of it are `untrue` now."""

    candidates: tuple[Candidate, ...]
    known: Known
    done_with: tuple[str, ...]
    untrue: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Pause:
    """Record that the place could not be looked at, and look again later."""

    finding: Finding
    restart: bool


Action = Begin | Note | Settle | Pause


@dataclass(frozen=True, slots=True)
class Inventory:
    """Takes inventories. `surveys` gives what is to be looked at in a place, in order."""

    findings: FindingStore
    surveys: Callable[[Location], Sequence[Survey]]
    now: Callable[[], datetime]
    work = InventoryWork
    progress = InventoryProgress
    deadline = timedelta(days=1)

    def observe(self, job: InventoryJob, children: Children) -> InventoryObservation:
        """Look at the next page, or again at what is due."""
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
        """Look at page after page; settle what is due between them; then drop what was not found again."""
        place, progress = _place(job), job.progress
        if progress.began_at is None:
            return Do(Begin(now), f"looking at {place.name}", locks=(f"inventory of {place.name}",))
        if seen.unseen is not None:
            return _pause(job, seen.unseen, seen.known, now)
        survey = _survey(self._of(job), progress)
        if survey is None:
            return _sweep(job, progress.began_at, seen.findings)
        if progress.due:
            return _settle(job, survey, seen)
        if (begins_at := _begins_at(survey, progress)) > now:
            return Wait(begins_at, f"{survey.name} of {place.name} are looked at a second time then")
        return _note(job, survey, seen, progress.began_at, now)

    def clean_up(self, job: InventoryJob, seen: InventoryObservation, now: datetime) -> Cleaning[Action]:
        """End; the findings stay as they are."""
        return Finish(job.failure.reason if job.failure else job.reason)

    def abandon(self, job: InventoryJob, now: datetime) -> tuple[Write, ...]:
        """Record nothing: the findings say what they say."""
        return ()

    def leftovers(self, job: InventoryJob) -> tuple[str, ...]:
        """Return nothing: an inventory makes nothing."""
        return ()

    def act(self, job: InventoryJob, action: Action, turn: Turn) -> Step[InventoryProgress]:
        """Carry out one action."""
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
        """Remove or mark each; what is refused is recorded and left for the next inventory."""
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
    """Record what a page showed."""
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
    said = f"{survey.name} of {_place(job).name}: {progress.looked_at} looked at"
    over = (
        replace(progress, survey=progress.survey + 1)
        if seen.sight.cursor is None and not judged.due
        else progress
    )
    return Do(Note(over, writes), said)


def _settle(job: InventoryJob, survey: Survey, seen: InventoryObservation) -> Do[Action]:
    """Settle what a second look has shown again, by its recorded id."""
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
    """Drop the findings that this inventory has not made; then end."""
    progress = job.progress
    old = [each for each in findings if each.last_seen < began_at or each.kind is FindingKind.NOT_LOOKED_AT]
    writes = tuple(dropping(each.key) for each in old)
    if len(findings) == PAGE:
        after = replace(progress, cursor=findings[-1].key[1])
        return Do(Note(after, writes), "dropping findings that are no longer true")
    said = f"{progress.looked_at} looked at, {progress.found} findings, {progress.settled} settled"
    return Finish(said, writes)


def _pause(job: InventoryJob, error: FarshoreError, known: Known, now: datetime) -> Decision[Action]:
    """Say that the place cannot be looked at; try again a few times, then leave it to the next inventory."""
    place = _place(job)
    why = f"{place.name} could not be looked at: {error}"
    if job.progress.failed_looks >= LOOKS_AT_MOST:
        return Fail(why)
    finding = Finding(place, FindingKind.NOT_LOOKED_AT, place.name, why, since=now, last_seen=now)
    finding = finding.seen_again(known.get(finding.key))
    # What is refused for good may be the cursor: listings forget theirs in time.
    return Do(Pause(finding, restart=not isinstance(error, Retryable)), why)


def _survey(surveys: Sequence[Survey], progress: InventoryProgress) -> Survey | None:
    return surveys[progress.survey] if progress.survey < len(surveys) else None


def _begins_at(survey: Survey, progress: InventoryProgress) -> datetime:
    """Return when a survey begins: at once, or so long after what was suspected last."""
    began_at = progress.suspected_at or progress.began_at
    if began_at is None or progress.suspected_at is None:
        return datetime.min.replace(tzinfo=began_at.tzinfo if began_at else None)
    return began_at + survey.after


def _goes_on(progress: InventoryProgress) -> InventoryProgress:
    """Return the progress with the next survey begun when this one has nothing more to do."""
    if progress.due or progress.cursor is not None:
        return progress
    return replace(progress, survey=progress.survey + 1)


def _place(job: InventoryJob) -> Location:
    return Location(job.work.region, job.work.vault)
