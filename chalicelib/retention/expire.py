"""Applies a rule's lifecycle to one lineage, in every vault by that vault's own lifecycle.

Invariant: what is deleted was first judged over a complete list, then marked EXPIRED with its reason, then
deleted; a point that a job still needs is not judged; and what one vault refuses to delete stops nothing
else.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from chalicelib.catalog.job import Decision, Do, Finish, Job, JobKind, JobState
from chalicelib.catalog.recovery_point import Artefact, PointId, PointState, RecoveryPoint
from chalicelib.catalog.store import JobStore, PointStore
from chalicelib.errors import FarshoreError, Retryable, SnapshotInUse
from chalicelib.plans.lifecycle import Point, decide_lifecycle
from chalicelib.plans.model import Rule, read_rule
from chalicelib.retention.artefacts import ArtefactStore

# Deleting stops this long before the worker's time is up.
MARGIN = timedelta(minutes=1)
# A job's record holds its judgements, and DynamoDB an item of 400 KB. What is not let go now is next time.
MOST_RELEASED = 250
MOST_KEPT_SHOWN = 500
MOST_REFUSALS_TOLD = 5


@dataclass(frozen=True, slots=True)
class Judgement:
    """What becomes of one point in one vault, and why."""

    point: str
    vault: str
    keep: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Seen:
    """Every point of the lineage, and why some must stay whatever the lifecycle says."""

    points: tuple[RecoveryPoint, ...]
    pinned: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Judge:
    """Take the judgements down: from here on they are carried out, not made again."""

    judgements: tuple[Judgement, ...]


@dataclass(frozen=True, slots=True)
class Release:
    """Delete the artefacts that are no longer kept, but for what a job has come to need since (`pinned`)."""

    artefacts: tuple[tuple[RecoveryPoint, Artefact, str], ...]
    pinned: Mapping[str, str]


Action = Judge | Release


@dataclass(frozen=True, slots=True)
class Expire:
    """Applies lifecycles. `artefacts` deletes what lies in the vaults."""

    jobs: JobStore
    points: PointStore
    artefacts: ArtefactStore
    now: Callable[[], datetime]

    def observe(self, job: Job) -> Seen:
        """List the lineage's points, and the jobs that still need one of them."""
        points = self.points.of_lineage(job.plan, job.rule, job.service)
        return Seen(points, pins(self.jobs.unfinished(job.service)))

    def decide(self, job: Job, seen: Seen, now: datetime) -> Decision[Action]:
        """Judge once; then release what is not kept."""
        if "error" in job.progress:
            return self.give_up(job, str(job.progress["error"]), now)
        if "judged" not in job.progress and "judged" not in job.work:
            judgements = judge(seen, read_rule(job.work["rule"]), now)
            return Do(Judge(judgements), f"judged {len(judgements)} artefacts")
        refused = job.progress.get("refused", {})
        due = _due(job, seen.points, refused)
        if due:
            return Do(Release(due, seen.pinned), f"deleting {len(due)} artefacts")
        let_go = sum(not each.keep for each in _judged(job))
        text = f"kept {job.progress.get('kept', 0)}, deleted {let_go - len(refused)}"
        if job.progress.get("left"):
            text += f", left {job.progress['left']} for the next time"
        if refused:
            told = tuple(refused.values())[:MOST_REFUSALS_TOLD]
            text += f", could not delete {len(refused)} yet: " + "; ".join(told)
        return Finish(JobState.COMPLETED, text)

    def act(self, job: Job, action: Action, until: datetime) -> Mapping[str, Any]:
        """Carry out one action."""
        match action:
            case Judge(judgements=judgements):
                return _taken_down(judgements)
            case Release():
                return {"refused": self._release(job, action, until)}

    def give_up(self, job: Job, reason: str, now: datetime) -> Finish:
        """End with what was not deleted still there; the next lifecycle job finds it."""
        return Finish(JobState.FAILED, reason)

    def _release(self, job: Job, release: Release, until: datetime) -> Mapping[str, str]:
        """Delete one artefact after the other; one that cannot be deleted now holds up no other."""
        refused = dict(job.progress.get("refused", {}))
        later: Retryable | None = None
        for point, artefact, reason in release.artefacts:
            pinned = release.pinned.get(point.id)
            try:
                refusal = self._release_one(point, artefact, reason, pinned)
            except Retryable as error:
                later = error
            else:
                refused |= {f"{point.id} {artefact.vault}": refusal} if refusal else {}
            if self.now() >= until - MARGIN:
                break
        if later is not None:
            raise later
        return refused

    def _release_one(
        self, point: RecoveryPoint, artefact: Artefact, reason: str, pinned: str | None
    ) -> str | None:
        """Mark an artefact EXPIRED, delete it, mark it DELETED; return why it could not be deleted, if so."""
        if artefact.state is PointState.AVAILABLE and pinned:
            return pinned
        expired = replace(artefact, state=PointState.EXPIRED, reason=reason)
        if artefact.state is not PointState.EXPIRED:
            self.points.put_artefact(point.id, expired)
        try:
            self.artefacts.delete(artefact)
        except Retryable:
            raise
        except FarshoreError as error:
            self.points.put_artefact(point.id, replace(expired, reason=_refusal(error)))
            return _refusal(error)
        self.points.put_artefact(point.id, replace(expired, state=PointState.DELETED))
        return None


def judge(seen: Seen, rule: Rule, now: datetime) -> tuple[Judgement, ...]:
    """Judge every artefact of a lineage that is there, each vault by its own lifecycle. Pure.

    One whose deletion was decided before, and could not be carried out, is not judged again: it is due. A
    failed copy is judged for what it may have left. What was decided before comes last: it may be refused for
    ever.
    """
    judgements: list[Judgement] = []
    before: list[Judgement] = []
    for vault in sorted({vault for point in seen.points for vault in point.artefacts}):
        before += [
            Judgement(point.id, vault, False, point.artefacts[vault].reason)
            for point in _with(PointState.EXPIRED, seen.points, vault)
        ]
        candidates = [
            Point(point.id, point.created_at, good=good, pinned=seen.pinned.get(point.id))
            for good, state in ((True, PointState.AVAILABLE), (False, PointState.FAILED))
            for point in _with(state, seen.points, vault)
        ]
        verdicts = decide_lifecycle(candidates, rule.lifecycle_in(vault), now, complete=True)
        judgements += [Judgement(verdict.id, vault, verdict.keep, verdict.reason) for verdict in verdicts]
    return (*judgements, *before)


def _taken_down(judgements: Sequence[Judgement]) -> dict[str, Any]:
    """Return the progress that judging makes: as many judgements as a record holds, and how many there
    are."""
    go = [each for each in judgements if not each.keep]
    kept = [each for each in judgements if each.keep]
    held = {*go[:MOST_RELEASED], *kept[:MOST_KEPT_SHOWN]}
    rows = [[each.point, each.vault, each.keep, each.reason] for each in judgements if each in held]
    return {"judged": rows, "kept": len(kept), "left": len(go[MOST_RELEASED:])}


def _with(state: PointState, points: Iterable[RecoveryPoint], vault: str) -> Iterator[RecoveryPoint]:
    """Yield the points whose artefact in `vault` is in `state`."""
    return (point for point in points if vault in point.artefacts and point.artefacts[vault].state is state)


def _judged(job: Job) -> tuple[Judgement, ...]:
    """Return the judgements the job carries out: those it took down, or those it was opened with."""
    rows = job.progress.get("judged") or job.work.get("judged") or ()
    return tuple(Judgement(*row) for row in rows)


def pins(unfinished: Iterable[Job]) -> dict[str, str]:
    """Return, by point, why it must stay: a copy or restore of it is under way."""
    return {
        str(job.work["recovery_point"]): f"{job.kind} {job.id} of it is under way"
        for job in unfinished
        if job.kind in (JobKind.COPY, JobKind.RESTORE, JobKind.BACKUP)
    }


def _due(
    job: Job, points: Sequence[RecoveryPoint], refused: Mapping[str, str]
) -> tuple[tuple[RecoveryPoint, Artefact, str], ...]:
    by_id = {point.id: point for point in points}
    due = []
    for each in _judged(job):
        point = by_id.get(PointId(each.point))
        artefact = point.in_vault(each.vault) if point else None
        if each.keep or point is None or artefact is None or f"{each.point} {each.vault}" in refused:
            continue
        if artefact.state is not PointState.DELETED:
            due.append((point, artefact, each.reason))
    return tuple(due)


def _refusal(error: FarshoreError) -> str:
    if isinstance(error, SnapshotInUse):
        return f"{error.resource} is used by an AMI; it goes when that is deregistered"
    return str(error)
