"""A world for lifecycles: points in two vaults, a plan, outsiders, outages and a clock; no AWS, no table.

The lifecycle job is the app's, turned as the engine turns it; what it asks for is done here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from chalicelib.catalog.recovery_point import Artefact, Lineage, Origin, PointId, PointState, RecoveryPoint
from chalicelib.catalog.store.services import LineageRecord
from chalicelib.errors import Conflict, Unavailable
from chalicelib.jobs.decision import Children, Do, Finish
from chalicelib.jobs.handler import Turn
from chalicelib.jobs.work import expire_request
from chalicelib.plans.lifecycle import Keep, Lifecycle, Manual
from chalicelib.plans.model import CopyTo, Kind, Rule, ServiceRule
from chalicelib.retention.deletion import DeletionContext, deletion_request
from chalicelib.retention.expire import Change, Delete, Expire, ExpireProgress
from tests.jobs.made import job_of
from tests.retention.oracle import Fact, Wish

VAULTS = ("primary", "dr")
LINEAGE = Lineage("p", "r", Kind.SERVICE, "s")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the plan says of each vault; nothing of `primary` when the rule is gone."""

    primary: Wish | None
    dr: Wish | None

    @property
    def rule(self) -> Rule | None:
        """The same as the app reads it."""
        if self.primary is None:
            return None
        copies = (CopyTo(vault="dr", lifecycle=_lifecycle(self.dr)),) if self.dr else ()
        lifecycle = _lifecycle(self.primary)
        return ServiceRule(
            name="r", lifecycle=lifecycle, rpo=timedelta(hours=1), script="dump", copies=copies
        )

    def of(self, vault: str) -> Wish | None:
        """Return what is wished for a vault, None to keep all."""
        return self.dr if vault == "dr" and self.primary else self.primary


def _lifecycle(wish: Wish) -> Lifecycle:
    rest: dict[str, Any] = {"min_keep": wish.min_keep, "manual": Manual(count=wish.manual)}
    if wish.keep:
        return Lifecycle(keep=Keep(**wish.keep), **rest)
    if wish.count:
        return Lifecycle(count=wish.count, **rest)
    return Lifecycle(age=timedelta(hours=wish.age_hours), **rest)


@dataclass
class SimulatedWorld:
    """All there is; `lost` are the artefacts (point, vault) that an outsider deleted, `down` the vaults that
    do not answer."""

    now: datetime
    grace: timedelta
    plan: Wishes
    edited_at: datetime
    points: dict[str, RecoveryPoint] = field(default_factory=dict)
    lost: set[tuple[str, str]] = field(default_factory=set)
    down: set[str] = field(default_factory=set)

    # what the lifecycle job asks for

    def of_lineage(self, lineage: Lineage) -> tuple[RecoveryPoint, ...]:
        """List the points."""
        assert lineage == LINEAGE
        return tuple(self.points.values())

    def get(self, name: str) -> Any:
        """Return a point, or the plan."""
        if name == LINEAGE.plan:
            plan = SimpleNamespace(rule=lambda _: self.plan.rule)
            return SimpleNamespace(plan=plan, kept_since={LINEAGE.rule: self.edited_at})
        return self.points.get(name)

    def shard(self, point: RecoveryPoint, vault: str, number: int) -> tuple[()]:
        """List an artefact's snapshots: these are files."""
        return ()

    def snapshots(self, point: RecoveryPoint, vault: str) -> tuple[()]:
        """List an artefact's snapshots: these are files."""
        return ()

    def missing(self, vault: str, artefacts: Mapping[str, tuple[Artefact, Iterable[str]]]) -> set[str]:
        """Look at what lies in a vault."""
        if vault in self.down:
            raise Unavailable("it does not answer", resource=vault)
        return {key for key in artefacts if (key.split(" ")[0], vault) in self.lost}

    def with_vaults(self, lineage: Lineage) -> LineageRecord:
        """Return what is recorded of the lineage: nothing, and so nothing is to be stated anew."""
        return LineageRecord(lineage)

    def delete_files(self, artefact: Artefact) -> None:
        """Delete an artefact; the record follows."""

    # what happens

    def make(self, id: str, origin: Origin, **more: Any) -> None:
        """Make a point, in both vaults."""
        artefacts = {vault: Artefact(vault, PointState.AVAILABLE, folder=f"{id}/") for vault in VAULTS}
        at = more.pop("at", self.now)
        self.points[id] = RecoveryPoint(
            PointId(id), "s", "p", "r", Kind.SERVICE, PointState.AVAILABLE, at, at, {}, artefacts=artefacts,
            origin=origin, **more
        )  # fmt: skip

    def edit(self, plan: Wishes) -> None:
        """Store another plan."""
        self.plan, self.edited_at = plan, self.now

    def delete_by_hand(self, id: str) -> bool:
        """Delete a point, if there is one and the guard lets it go; say whether it did."""
        if id not in self.points:
            return False
        try:
            deletion_request(
                self.points[id], DeletionContext(self.of_lineage(LINEAGE), frozenset(VAULTS)), self.now
            )
        except Conflict:
            return False
        for vault in VAULTS:
            self._record(id, replace(self.points[id].artefacts[vault], state=PointState.DELETED))
        return True

    def change(self, id: str, **what: Any) -> None:
        """Change what is recorded of a point, if there is one."""
        if id in self.points:
            self.points[id] = replace(self.points[id], **what)

    def undelete(self, id: str) -> None:
        """Take a point back that is in its grace, and hold it."""
        if id not in self.points:
            return
        for artefact in self.points[id].artefacts.values():
            if artefact.in_grace:
                self._record(id, replace(artefact, state=PointState.AVAILABLE, let_go_at=None))
                self.points[id] = replace(self.points[id], hold="undeleted")

    def apply_lifecycle(self) -> None:
        """Run one lifecycle job to its end."""
        store: Any = self
        expire = Expire(store, store, store, store, self.grace, lambda: self.now)
        job = job_of(expire_request(LINEAGE, self.now, "a look"), ExpireProgress())
        while True:
            decision = expire.decide(job, expire.observe(job, Children()), self.now)
            if isinstance(decision, Finish):
                return
            assert isinstance(decision, Do), decision
            step = expire.act(job, decision.action, Turn(self.now))
            if isinstance(decision.action, Change):
                self._record(decision.action.point.id, decision.action.to)
            elif isinstance(decision.action, Delete) and step.writes:
                judged = decision.action.judgement
                artefact = self.points[judged.point].artefacts[judged.vault]
                self._record(judged.point, replace(artefact, state=PointState.DELETED))
            job = replace(job, progress=step.progress)

    def _record(self, id: str, artefact: Artefact) -> None:
        self.points[id] = self.points[id].with_artefact(artefact)

    # what is true

    def state(self, id: str, vault: str) -> PointState:
        """Return how a point stands in a vault."""
        return self.points[id].artefacts[vault].state

    def facts(self, vault: str) -> dict[str, Fact]:
        """Return what is true of the points that are whole in a vault, and good or in their grace."""
        return {
            id: Fact(id, point.created_at, _pool(point), point.hold is not None, point.keep_until)
            for id, point in self.points.items()
            if self.state(id, vault) in (PointState.AVAILABLE, PointState.EXPIRED)
            and (id, vault) not in self.lost
        }

    def good(self, vault: str, pool: str | None = None) -> set[str]:
        """Return the points that are good and there."""
        return {
            id
            for id, fact in self.facts(vault).items()
            if self.state(id, vault) is PointState.AVAILABLE and pool in (None, fact.pool)
        }


def _pool(point: RecoveryPoint) -> str:
    if point.suspect and point.confirmed is None:
        return "suspect"
    if point.left_out:
        return "partial"
    return "manual" if point.origin == "request" else "scheduled"
