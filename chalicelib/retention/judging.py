"""Judges a lineage: decides what to do with each of its points in each vault. Pure.

Points are judged by the rule as it is now and by what was found in the vaults.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from chalicelib.catalog.recovery_point import Artefact, PointId, PointState, RecoveryPoint
from chalicelib.plans.lifecycle import Point, Verdict, decide_lifecycle
from chalicelib.plans.model import Rule
from chalicelib.plans.values import PRIMARY


class Act(StrEnum):
    """What is to be done with an artefact."""

    NOTHING = "nothing"
    EXPIRE = "expire"
    UNDELETE = "undelete"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is to be done with one point in one vault, and why; `good` if it was judged as restorable."""

    point: str
    vault: str
    keep: bool
    reason: str
    good: bool = True
    act: Act = Act.NOTHING

    @property
    def key(self) -> str:
        """The name of the artefact in the job's progress."""
        return f"{self.point} {self.vault}"


@dataclass(frozen=True, slots=True)
class World:
    """What was found in the vaults: the artefacts (`POINT VAULT`) that are missing, and by vault why it could
    not be read."""

    missing: frozenset[str] = frozenset()
    unseen: Mapping[str, str] = field(default_factory=dict)


def judge(
    found: Sequence[RecoveryPoint], rule: Rule, world: World, grace: timedelta, now: datetime
) -> tuple[Judgement, ...]:
    """Return a judgement of every artefact of a lineage, in each vault by its own lifecycle. Pure.

    An expired artefact is judged again until its grace is over, and undeleted if it is needed. One whose
    deletion was begun and did not succeed is not judged again: it is due. A failed copy is judged for what it
    may have left. Deletions that were begun before come last, as they may be refused for ever.
    """
    judgements: list[Judgement] = []
    before: list[Judgement] = []
    for vault in sorted({vault for point in found for vault in point.artefacts}):
        good = tuple(still_in(found, vault))
        if vault not in rule.vaults:
            judgements += _kept(
                good, vault, f"the rule no longer copies into {vault}: everything there is kept"
            )
            good = ()
        elif vault in world.unseen:
            why = f"{vault} could not be read: {world.unseen[vault]}"
            judgements += _kept(good, vault, why, back=False)
            good = ()
        failed = (each for each in _with(PointState.FAILED, found, vault) if each.artefacts[vault].folder)
        judgements += _judged((*good, *failed), vault, rule, world, grace, now)
        before += [
            Judgement(point.id, vault, False, point.artefacts[vault].reason, good=False, act=Act.DELETE)
            for point in _with(PointState.EXPIRED, found, vault)
            if not point.artefacts[vault].in_grace
        ]
    return (*judgements, *before)


def _judged(
    points: Sequence[RecoveryPoint], vault: str, rule: Rule, world: World, grace: timedelta, now: datetime
) -> Iterator[Judgement]:
    """Yield the judgements of points by a vault's lifecycle."""
    artefacts = {point.id: point.artefacts[vault] for point in points}
    candidates = [_candidate(point, vault, world) for point in points]
    good = {candidate.id for candidate in candidates if candidate.good}
    for verdict in decide_lifecycle(candidates, rule.lifecycle_in(vault), now, complete=True, zone=rule.zone):
        artefact = artefacts[PointId(verdict.id)]
        yield _judgement(verdict, artefact, verdict.id in good, grace, now)


def _candidate(point: RecoveryPoint, vault: str, world: World) -> Point:
    """Return a point for its lifecycle: good while it is there, pinned while something needs it."""
    failed = point.artefacts[vault].state is PointState.FAILED
    missing = f"{point.id} {vault}" in world.missing
    why = _pinned(point, vault)
    if missing:
        why = f"it is not complete in {vault}, does not count, and is left to be examined"
    elif point.hold is not None and not failed:
        why = f"held: {point.hold}"
    return Point(
        point.id, point.created_at, not (failed or missing), why, point.pool, kept_until=point.keep_until
    )


def _judgement(
    verdict: Verdict, artefact: Artefact, good: bool, grace: timedelta, now: datetime
) -> Judgement:
    """Return what a verdict means for an artefact in its present state."""
    act = Act.NOTHING
    if artefact.in_grace:
        over = artefact.let_go_at is not None and now >= artefact.let_go_at
        act = Act.UNDELETE if verdict.keep and good else Act.DELETE if over and not verdict.keep else act
    elif not verdict.keep:
        act = Act.EXPIRE if good and grace else Act.DELETE
    return Judgement(verdict.id, artefact.vault, verdict.keep, verdict.reason, good, act)


def graced(found: Iterable[RecoveryPoint], until: datetime) -> tuple[RecoveryPoint, ...]:
    """Return the points with graces that end at `until` or later. Pure.

    A rule that was changed to keep less gives a grace of its own.
    """
    return tuple(
        replace(point, artefacts={name: _graced(each, until) for name, each in point.artefacts.items()})
        for point in found
    )


def _graced(artefact: Artefact, until: datetime) -> Artefact:
    let_go_at = artefact.let_go_at
    return replace(artefact, let_go_at=max(let_go_at, until)) if let_go_at is not None else artefact


def still_in(found: Iterable[RecoveryPoint], vault: str) -> Iterator[RecoveryPoint]:
    """Yield the points that are good in a vault, or can still be undeleted there by their lifecycle."""
    for point in found:
        artefact = point.in_vault(vault)
        if artefact is None or artefact.by_request:
            continue
        if artefact.state is PointState.AVAILABLE or artefact.in_grace:
            yield point


def keep_all(found: Sequence[RecoveryPoint], plan: str, rule: str) -> tuple[Judgement, ...]:
    """Return judgements that keep all points of a lineage whose rule is gone. Pure."""
    why = f"plan {plan} no longer has a rule {rule} of this kind: everything is kept"
    vaults = sorted({vault for point in found for vault in point.artefacts})
    return tuple(judgement for vault in vaults for judgement in _kept(still_in(found, vault), vault, why))


def _kept(points: Iterable[RecoveryPoint], vault: str, why: str, *, back: bool = True) -> Iterator[Judgement]:
    """Yield judgements that keep the points in a vault; with `back`, expired ones are undeleted."""
    for point in points:
        in_grace = point.artefacts[vault].in_grace
        act = Act.UNDELETE if in_grace and back else Act.NOTHING
        yield Judgement(point.id, vault, back or not in_grace, why, act=act)


def _pinned(point: RecoveryPoint, vault: str) -> str | None:
    """Return why a point must stay in a vault: a job needs it there, or a copy is still to be made of it."""
    holders = point.pins.get(vault)
    if vault == PRIMARY and point.due:
        return awaited(point)
    if not holders:
        return None
    first = min(holders)
    return f"{first.partition('-')[0]} {first} of it is under way"


def awaited(point: RecoveryPoint) -> str:
    """Return the reason of a point that stays because copies of it are still to be made."""
    return f"its copy into {', '.join(sorted(point.due))} is still to be made"


def _with(state: PointState, found: Iterable[RecoveryPoint], vault: str) -> Iterator[RecoveryPoint]:
    """Yield the points whose artefact in `vault` is in `state`."""
    return (point for point in found if vault in point.artefacts and point.artefacts[vault].state is state)
