"""Applies a rule's lifecycle to one lineage, in each vault by that vault's own lifecycle.

Invariants: points are judged by the plan as it is at that moment; where a plan, rule or vault entry is gone,
everything is kept. The list of points is complete and strongly consistent, and what would be kept is looked
up in its vault: a point that is not there does not count. A point is marked EXPIRED only while no job needs
it (a pin on its record refuses the mark). After its grace it is judged again, and only then deleted, by the
recorded ids. A vault that refuses to delete something stops nothing else.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from chalicelib.catalog.recovery_point import Artefact, Lineage, PointState, RecoveryPoint
from chalicelib.catalog.store import points, services
from chalicelib.catalog.store.plans import PlanStore
from chalicelib.catalog.store.points import PointStore
from chalicelib.catalog.store.services import LineageRecord, ServiceStore
from chalicelib.catalog.store.writes import Write
from chalicelib.errors import FarshoreError, Retryable, SnapshotInUse, Throttled
from chalicelib.jobs.decision import Children, Cleaning, Decision, Do, Finish, Step, Wait
from chalicelib.jobs.handler import Turn
from chalicelib.jobs.job import Budget, Job
from chalicelib.jobs.removal import Removal, remove
from chalicelib.jobs.work import ExpireWork
from chalicelib.plans.model import Kind, Rule
from chalicelib.plans.values import PRIMARY
from chalicelib.retention.artefacts import ArtefactStore
from chalicelib.retention.deletion import DeletionContext, guard
from chalicelib.retention.judging import (
    Act,
    Judgement,
    World,
    awaited,
    graced,
    judge,
    keep_all,
    still_in,
)

# A job's record holds its judgements, and a DynamoDB item at most 400 KB. The next job does the rest.
MOST_RELEASED = 250
MOST_KEPT_SHOWN = 500
MOST_REFUSALS_TOLD = 5
LONGEST_WHY = 300
DELETED_AT_ONCE = 10


@dataclass(frozen=True, slots=True)
class ExpireProgress:
    """How far an expire job is.

    `judged` are the judgements, made by a rule whose lifecycle is unchanged `since` then (None: the rule is
    gone). `refusals` has why artefacts could not be deleted. `shard` and `snapshots` say how far the deletion
    of the current artefact is.
    """

    judged: tuple[Judgement, ...] | None = None
    kept: int = 0
    left: int = 0
    refusals: Mapping[str, str] = field(default_factory=dict)
    released: Removal = field(default_factory=Removal)
    shard: int = 0
    snapshots: Removal = field(default_factory=Removal)
    since: datetime | None = None


ExpireJob = Job[ExpireWork, ExpireProgress]


@dataclass(frozen=True, slots=True)
class ExpireObservation:
    """While the lineage is judged: its points, record and rule, and what the vaults have.

    Afterwards (`record` is None): the point to let go next, the snapshots of it to delete next, and why it
    has to stay (`guard`) although its deletion was requested.
    """

    points: tuple[RecoveryPoint, ...] = ()
    record: LineageRecord | None = None
    rule: Rule | None = None
    since: datetime | None = None
    world: World = field(default_factory=World)
    point: RecoveryPoint | None = None
    snapshots: tuple[str, ...] = ()
    guard: str | None = None


@dataclass(frozen=True, slots=True)
class Judge:
    """Record the judgements. From then on they are carried out, and made again only if the plan changes
    before something is deleted. `restates` are the writes that correct the lineage's record."""

    judgements: tuple[Judgement, ...]
    since: datetime | None = None
    restates: tuple[Write, ...] = ()


@dataclass(frozen=True, slots=True)
class Skip:
    """Leave an artefact as it is: it is gone already, or must stay for now (`why`)."""

    judgement: Judgement
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """Mark an artefact EXPIRED, or undelete it: `to` is how it is recorded from now on."""

    judgement: Judgement
    point: RecoveryPoint
    to: Artefact


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete an artefact that is marked EXPIRED, or the next snapshots of it."""

    judgement: Judgement
    snapshots: tuple[str, ...]


Action = Judge | Skip | Change | Delete


@dataclass(frozen=True, slots=True)
class Expire:
    """Applies lifecycles. `artefacts` reads the vaults and deletes from them; an expired artefact can be
    undeleted for the time of `grace`."""

    points: PointStore
    plans: PlanStore
    services: ServiceStore
    artefacts: ArtefactStore
    grace: timedelta
    now: Callable[[], datetime]
    deadline: timedelta = timedelta(days=1)
    work = ExpireWork
    progress = ExpireProgress

    def observe(self, job: ExpireJob, children: Children) -> ExpireObservation:
        """Return the lineage's points while they are judged, then the point to let go next."""
        work = job.work
        if job.progress.judged is None and work.kind is not None:
            return self._judging(job, *self._rule(job))
        due = _due(job, self.now())
        if isinstance(due, Wait) or due is None:
            return ExpireObservation()
        point = self.points.get(due.point)
        artefact = point.in_vault(due.vault) if point else None
        if point is None or artefact is None:
            return ExpireObservation(point=point)
        refs = self.points.shard(point, due.vault, job.progress.shard)
        seen = ExpireObservation(
            point=point, snapshots=job.progress.snapshots.left_of(ref.id for ref in refs)
        )
        if due.act is not Act.DELETE or not artefact.in_grace:
            return seen
        if work.kind is None:
            return replace(seen, guard=self._guard(point))
        rule, since = self._rule(job)
        return seen if since == job.progress.since else self._judging(job, rule, since)

    def _rule(self, job: ExpireJob) -> tuple[Rule | None, datetime | None]:
        """Return the lineage's rule in the plan as it is now, and since when its lifecycle is unchanged."""
        stored = self.plans.get(job.plan)
        rule = stored.plan.rule(job.rule) if stored else None
        if stored is None or rule is None or rule.kind is not job.work.kind:
            return None, None
        return rule, stored.kept_since[rule.name]

    def _judging(self, job: ExpireJob, rule: Rule | None, since: datetime | None) -> ExpireObservation:
        lineage = Lineage(job.plan, job.rule, Kind(job.work.kind or ""), job.service)
        record, found = self.services.with_vaults(lineage), self.points.of_lineage(lineage)
        if rule is None or since is None:
            return ExpireObservation(found, record)
        found = graced(found, since + self.grace)
        return ExpireObservation(found, record, rule, since, self._look(found, rule))

    def _guard(self, point: RecoveryPoint) -> str | None:
        """Return why a point stays although its deletion was requested: it is the newest good one now."""
        before = {name: undeleted(each) if each.in_grace else each for name, each in point.artefacts.items()}
        point = replace(point, artefacts=before)
        stored = self.plans.get(point.plan)
        rule = stored.plan.rule(point.rule) if stored else None
        context = DeletionContext(self.points.of_lineage(point.lineage), rule.vaults if rule else None)
        if guard(point, context) is None:
            return None
        return guard(point, replace(context, missing_from=self.artefacts.missing_from(point)))

    def decide(self, job: ExpireJob, seen: ExpireObservation, now: datetime) -> Decision[Action]:
        """Judge once; then release what is not kept."""
        if job.progress.judged is None or seen.record is not None:
            if job.work.kind is None:
                asked = tuple(
                    Judgement(r.recovery_point, r.vault, False, r.reason, act=self._first)
                    for r in job.work.releases
                )
                return Do(Judge(asked), "deleting what was requested")
            judgements = (
                judge(seen.points, seen.rule, seen.world, self.grace, now)
                if seen.rule
                else keep_all(seen.points, job.plan, job.rule)
            )
            restates = tuple(services.restating(seen.record, seen.points)) if seen.record else ()
            return Do(Judge(judgements, seen.since, restates), f"judged {len(judgements)} artefacts")
        due = _due(job, now)
        if isinstance(due, Wait):
            return due
        if due is not None:
            return self._decide_one(due, job, seen, now)
        if job.work.kind is None and any(each.act is Act.EXPIRE for each in job.progress.judged):
            deletions = tuple(replace(each, act=Act.DELETE) for each in job.progress.judged)
            return Do(Judge(deletions), "waiting for the end of the grace")
        return Finish(_summary(job))

    @property
    def _first(self) -> Act:
        """The first act on a good artefact that is no longer kept."""
        return Act.EXPIRE if self.grace else Act.DELETE

    def _decide_one(
        self, judgement: Judgement, job: ExpireJob, seen: ExpireObservation, now: datetime
    ) -> Decision[Action]:
        """Return whether to expire, undelete, delete or leave an artefact, by its state now."""
        point = seen.point
        artefact = point.in_vault(judgement.vault) if point else None
        if point is None or artefact is None or artefact.state is PointState.DELETED:
            return Do(Skip(judgement), f"{judgement.key} is gone already")
        if judgement.act is Act.UNDELETE:
            return _undelete(judgement, point, artefact)
        if artefact.state is PointState.MISSING and job.work.kind is not None:
            return Do(Skip(judgement, "it is missing by now"), f"{judgement.key} is missing by now")
        if artefact.state is PointState.AVAILABLE:
            if not judgement.good:
                why = "it was made again after it was judged"
                return Do(Skip(judgement, why), f"{judgement.key} is good by now")
            if judgement.act is Act.DELETE and self.grace:
                return Do(Skip(judgement, "it was undeleted"), f"{judgement.key} was undeleted")
            if point.hold is not None:
                return Do(Skip(judgement, f"held: {point.hold}"), f"{judgement.key} is held")
        # The next copy of a point is made in the folder in which a failed one left files.
        vaults = {judgement.vault} if artefact.state is PointState.AVAILABLE else {judgement.vault, PRIMARY}
        needed_by = {each for vault in vaults for each in point.pins.get(vault, ())}
        if needed_by and artefact.state is not PointState.EXPIRED:
            why = f"{', '.join(sorted(needed_by))} needs it"
            return Do(Skip(judgement, why), f"{judgement.key} is needed")
        if judgement.vault == PRIMARY and point.due and job.work.kind is not None:
            return Do(Skip(judgement, awaited(point)), f"{judgement.key} is needed")
        if judgement.act is Act.EXPIRE:
            return self._let_go(judgement, job, point, artefact, now)
        if artefact.let_go_at is not None and now < artefact.let_go_at:
            until = f"until {artefact.let_go_at:%Y-%m-%d %H:%M} UTC"
            return Wait(artefact.let_go_at, f"{judgement.key} can be undeleted {until}")
        stays = f"held: {point.hold}" if point.hold is not None else seen.guard
        if stays and artefact.in_grace:
            return Do(Skip(judgement, stays), f"{judgement.key} stays: {stays}")
        return _begin_deletion(judgement, point, artefact, seen.snapshots, vaults, now)

    def _let_go(
        self, judgement: Judgement, job: ExpireJob, point: RecoveryPoint, artefact: Artefact, now: datetime
    ) -> Decision[Action]:
        """Mark an artefact EXPIRED; one that is not good has no grace and cannot be undeleted."""
        by_request = job.work.kind is None
        if artefact.state is PointState.EXPIRED and (artefact.by_request or not artefact.in_grace):
            return Do(Skip(judgement), f"{judgement.key} is let go already")
        at = now + self.grace if artefact.state is PointState.AVAILABLE else None
        expired = replace(
            artefact,
            state=PointState.EXPIRED,
            reason=judgement.reason,
            let_go_at=artefact.let_go_at or at,
            by_request=by_request,
        )
        return Do(Change(judgement, point, expired), f"letting {judgement.key} go")

    def clean_up(self, job: ExpireJob, seen: ExpireObservation, now: datetime) -> Cleaning[Action]:
        """End; what was not deleted is left for the next expire job."""
        return Finish(job.failure.reason if job.failure else job.reason)

    def abandon(self, job: ExpireJob, now: datetime) -> tuple[Write, ...]:
        """Record nothing: each artefact has its own state."""
        return ()

    def leftovers(self, job: ExpireJob) -> tuple[str, ...]:
        """Return the artefacts that were to be deleted and are still there."""
        return job.progress.released.left_of(each.key for each in _releases(job))

    def act(self, job: ExpireJob, action: Action, turn: Turn) -> Step[ExpireProgress]:
        """Carry out the action."""
        progress = job.progress
        match action:
            case Judge(judgements=judgements, since=since, restates=restates):
                return Step(replace(_with_judgements(progress, judgements), since=since), restates)
            case Skip(judgement=judgement, why=None):
                return Step(_gone(progress, judgement))
            case Skip(judgement=judgement, why=why):
                return Step(_refused(progress, judgement, why or ""))
            case Change(judgement=judgement, point=point, to=to):
                return Step(_gone(progress, judgement), _changing(point, to, self.now()))
            case Delete():
                return self._delete(progress, action)

    def _look(self, found: Sequence[RecoveryPoint], rule: Rule) -> World:
        """Return what is missing from the vaults in which something may be let go because of other points."""
        missing, unseen = set[str](), dict[str, str]()
        judgements = judge(found, rule, World(), self.grace, self.now())
        letting_go = (each for each in judgements if each.act is not Act.NOTHING or not each.keep)
        for vault in sorted({each.vault for each in letting_go if each.good}):
            there = {
                f"{point.id} {vault}": (
                    point.artefacts[vault],
                    tuple(ref.id for ref in self.points.snapshots(point, vault)),
                )
                for point in still_in(found, vault)
            }
            try:
                missing |= self.artefacts.missing(vault, there)
            except FarshoreError as error:
                unseen[vault] = str(error)[:LONGEST_WHY]
        return World(frozenset(missing), unseen)

    def _delete(self, progress: ExpireProgress, delete: Delete) -> Step[ExpireProgress]:
        """Delete the next piece of an artefact: first its manifest, then its snapshots, then its files."""
        point = self.points.get(delete.judgement.point)
        artefact = point.in_vault(delete.judgement.vault) if point else None
        if point is None or artefact is None:
            return Step(_gone(progress, delete.judgement))
        try:
            snapshots = self._delete_some(progress.snapshots, artefact, delete.snapshots)
            progress = replace(progress, snapshots=snapshots)
            refs = [ref.id for ref in self.points.shard(point, artefact.vault, progress.shard)]
            if set(snapshots.left_of(refs)) - set(snapshots.refused):
                return Step(progress)
            if progress.shard + 1 < artefact.snapshots.shards:
                return Step(replace(progress, shard=progress.shard + 1))
            if not snapshots.refused:
                self.artefacts.delete_files(artefact)
        except Throttled as error:
            if delete.snapshots and error.operation == "DeleteSnapshot":
                raise  # the engine delays all deletions
            return Step(_later(progress, delete.judgement, str(error), self.now()))
        except Retryable as error:
            return Step(_later(progress, delete.judgement, str(error), self.now()))
        except FarshoreError as error:
            return Step(
                _refused(progress, delete.judgement, str(error)), self._noted(point, artefact, str(error))
            )
        if snapshots.refused:
            why = "; ".join(snapshots.refused.values())[:LONGEST_WHY]
            return Step(_refused(progress, delete.judgement, why), self._noted(point, artefact, why))
        gone = points.changing(point, _deleted(artefact), self.now())
        return Step(_gone(progress, delete.judgement), (gone, *_shards_of(point, artefact)))

    def _delete_some(self, gone: Removal, artefact: Artefact, ids: Sequence[str]) -> Removal:
        if not ids:
            return gone
        self.artefacts.delete_manifest(artefact)
        return remove(gone, ids, lambda id: self._delete_snapshot(artefact, id), self.now())

    def _delete_snapshot(self, artefact: Artefact, snapshot: str) -> None:
        try:
            self.artefacts.delete_snapshot(artefact, snapshot)
        except SnapshotInUse as refusal:
            why = f"{refusal.resource} is used by an AMI; it is deleted once the AMI is deregistered"
            raise SnapshotInUse(why) from refusal

    def _noted(self, point: RecoveryPoint, artefact: Artefact, why: str) -> tuple[Write, ...]:
        return (points.changing(point, replace(artefact, reason=why), self.now()),)


def _deleted(artefact: Artefact) -> Artefact:
    """Return an artefact as it is recorded after its deletion; a failed copy is FAILED, not DELETED."""
    if artefact.was_made:
        return replace(artefact, state=PointState.DELETED)
    return replace(artefact, state=PointState.FAILED, folder="")


def _undelete(judgement: Judgement, point: RecoveryPoint, artefact: Artefact) -> Do[Action]:
    """Undelete an artefact that its lifecycle keeps after all."""
    if not artefact.in_grace:
        return Do(Skip(judgement), f"{judgement.key} cannot be undeleted")
    return Do(Change(judgement, point, undeleted(artefact)), f"undeleting {judgement.key}")


def undeleted(artefact: Artefact) -> Artefact:
    """Return an expired artefact as it was before it expired. Pure."""
    return replace(artefact, state=PointState.AVAILABLE, reason="", let_go_at=None, by_request=False)


def _changing(point: RecoveryPoint, to: Artefact, now: datetime) -> tuple[Write, ...]:
    """Return the writes that expire an artefact, on condition that nothing needs it, or undelete it."""
    if to.state is PointState.AVAILABLE:
        return (points.changing(point, to, now), services.counting(point, to.vault, 1))
    was_good = point.artefacts[to.vault].state is PointState.AVAILABLE
    vaults = {to.vault} if was_good else {to.vault, PRIMARY}
    change = points.changing(point, to, now, unpinned=vaults)
    return (change, services.counting(point, to.vault, -1)) if was_good else (change,)


def _begin_deletion(
    judgement: Judgement,
    point: RecoveryPoint,
    artefact: Artefact,
    snapshots: tuple[str, ...],
    vaults: Collection[str],
    now: datetime,
) -> Do[Action]:
    """Delete an artefact, or the next snapshots of it; once that has begun, it cannot be undeleted."""
    first: tuple[Write, ...] = ()
    if artefact.state is not PointState.EXPIRED or artefact.in_grace:
        expired = replace(artefact, state=PointState.EXPIRED, reason=judgement.reason, let_go_at=None)
        first = (points.changing(point, expired, now, unpinned=vaults),)
        if artefact.state is PointState.AVAILABLE:
            first += (services.counting(point, judgement.vault, -1),)
    some = snapshots[:DELETED_AT_ONCE]
    budget = Budget("DeleteSnapshot", artefact.snapshots.region, len(some)) if some else None
    return Do(Delete(judgement, some), f"deleting {judgement.key}", budget=budget, first=first)


def _with_judgements(progress: ExpireProgress, judgements: Sequence[Judgement]) -> ExpireProgress:
    """Return the progress with as many judgements as fit into a record, and the number of the others."""
    go = [each for each in judgements if each.act is not Act.NOTHING]
    stay = [each for each in judgements if each.act is Act.NOTHING]
    held = {*go[:MOST_RELEASED], *stay[:MOST_KEPT_SHOWN]}
    rows = tuple(each for each in judgements if each in held)
    kept = sum(each.keep for each in judgements)
    left = len(go[MOST_RELEASED:])
    return replace(progress, judged=rows, kept=kept, left=left, released=Removal())


def _releases(job: ExpireJob) -> tuple[Judgement, ...]:
    return tuple(each for each in job.progress.judged or () if each.act is not Act.NOTHING)


def _due(job: ExpireJob, now: datetime) -> Judgement | Wait | None:
    """Return the artefact to process next, the wait for the next try, or None when all are done."""
    by_key = {each.key: each for each in _releases(job) if each.key not in job.progress.refusals}
    due = job.progress.released.due(by_key, now)
    if isinstance(due, Wait):
        return due
    return by_key[due[0]] if due else None


def _gone(progress: ExpireProgress, judgement: Judgement) -> ExpireProgress:
    released = progress.released
    refused = {key: why for key, why in released.refused.items() if key != judgement.key}
    released = replace(released, removed=(*released.removed, judgement.key), refused=refused)
    return replace(progress, released=released, shard=0, snapshots=Removal())


def _refused(progress: ExpireProgress, judgement: Judgement, why: str) -> ExpireProgress:
    refusals = {**progress.refusals, judgement.key: why[:LONGEST_WHY]}
    return replace(progress, refusals=refusals, shard=0, snapshots=Removal())


def _later(progress: ExpireProgress, judgement: Judgement, why: str, now: datetime) -> ExpireProgress:
    """Return the progress with an artefact postponed, as its vault does not answer now."""
    released = progress.released
    tries = released.tries + (judgement.key in released.refused)
    refused = {**released.refused, judgement.key: why[:LONGEST_WHY]}
    released = replace(released, refused=refused, tried_at=now, tries=tries)
    return replace(progress, released=released, shard=0, snapshots=Removal())


def _shards_of(point: RecoveryPoint, artefact: Artefact) -> tuple[Write, ...]:
    """Return the writes that remove the shards of a deleted artefact, as many as one commit can hold."""
    shards = min(artefact.snapshots.shards, 90)
    return tuple(points.dropping_shard(point.id, artefact.vault, number) for number in range(shards))


def _summary(job: ExpireJob) -> str:
    progress = job.progress
    done = set(progress.released.removed)
    acts = Counter(each.act for each in progress.judged or () if each.key in done)
    text = f"kept {progress.kept}, deleted {acts[Act.DELETE]}"
    if acts[Act.EXPIRE]:
        text += f", let go {acts[Act.EXPIRE]}"
    if acts[Act.UNDELETE]:
        text += f", undeleted {acts[Act.UNDELETE]}"
    if progress.left:
        text += f", left {progress.left} for the next job"
    if progress.refusals:
        told = tuple(progress.refusals.values())[:MOST_REFUSALS_TOLD]
        text += f", could not delete {len(progress.refusals)} yet: " + "; ".join(told)
    return text
