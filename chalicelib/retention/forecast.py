"""Forecasts which points a plan would let go once it is stored, and which remain that it no longer mentions.

It reads the catalog and not the vaults, so lifecycles may let fewer points go than forecast, never more.
Invariant: however much a plan covers, only a bounded number of points is read; the others are counted.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from chalicelib.catalog.recovery_point import PointId, PointState, RecoveryPoint
from chalicelib.catalog.store.points import PointStore
from chalicelib.catalog.store.services import LineageRecord, ServiceStore
from chalicelib.plans.lifecycle import Pool
from chalicelib.plans.model import Kind, Plan, Rule
from chalicelib.retention.judging import Judgement, World, judge

# API Gateway waits 29 seconds for an answer.
MOST_LINEAGES = 500
MOST_POINTS = 20_000


@dataclass(frozen=True, slots=True)
class Loss:
    """A point that a plan lets go in a vault; `newly` if the stored plan keeps it."""

    point: str
    made: datetime
    vault: str
    reason: str
    pool: Pool
    newly: bool


@dataclass(frozen=True, slots=True)
class RemainingPoints:
    """Points that a plan no longer mentions: of how many services, and how many in each vault."""

    rule: str
    kind: Kind
    services: int
    points: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a plan lets go, how many of those have to be confirmed (0: none), how many lineages were not read,
    and which points remain."""

    losses: tuple[Loss, ...]
    confirm: int
    unread: int
    remaining: tuple[RemainingPoints, ...]


@dataclass(frozen=True, slots=True)
class Forecaster:
    """Forecasts what storing a plan does to the existing points. `grace` is that of lifecycles."""

    points: PointStore
    services: ServiceStore
    grace: timedelta
    now: Callable[[], datetime]

    def of(self, plan: Plan, stored: Plan | None) -> Forecast:
        """Return the forecast of replacing `stored` with `plan`.

        Rules whose lifecycles change are read first, in case there is more than can be read.
        """
        records = list(self.services.lineages(plan.name))
        losses: list[Loss] = []
        confirm, read, unread, now = False, 0, 0, self.now()
        for number, (record, rule) in enumerate(_judged_first(records, plan, stored)):
            if number >= MOST_LINEAGES or read >= MOST_POINTS:
                unread += 1
                continue
            found = self.points.of_lineage(record.lineage)
            read += len(found)
            lost = tuple(losses_of(found, rule, _rule_of(record, stored), self.grace, now))
            confirm = confirm or is_much(lost, found)
            losses += lost
        newly = sum(loss.newly for loss in losses)
        return Forecast(tuple(losses), newly if confirm else 0, unread, remaining_points(records, plan))


def losses_of(
    found: Sequence[RecoveryPoint], rule: Rule, before: Rule | None, grace: timedelta, now: datetime
) -> Iterator[Loss]:
    """Yield a lineage's good points that a rule lets go; without a rule `before`, all were kept. Pure."""
    by_id = {point.id: point for point in found}
    still_kept = {each.key for each in _judge(found, before, grace, now) if each.keep} if before else None
    for each in _judge(found, rule, grace, now):
        point = by_id[PointId(each.point)]
        if each.keep or point.artefacts[each.vault].state is not PointState.AVAILABLE:
            continue
        newly = still_kept is None or each.key in still_kept
        yield Loss(point.id, point.created_at, each.vault, each.reason, point.pool, newly)


def is_much(losses: Iterable[Loss], found: Iterable[RecoveryPoint]) -> bool:
    """Return whether more than a quarter of one pool of a lineage in a vault goes, some of it newly. Pure.

    Points that the stored plan lets go count until they are marked, so a series of small edits adds up.
    """
    there = Counter((vault, point.pool) for point in found for vault in point.available_in())
    lost = tuple(losses)
    gone = Counter((loss.vault, loss.pool) for loss in lost)
    newly = {(loss.vault, loss.pool) for loss in lost if loss.newly}
    return any(4 * gone[pool] > there[pool] for pool in newly)


def remaining_points(records: Iterable[LineageRecord], plan: Plan | None) -> tuple[RemainingPoints, ...]:
    """Return the existing points that a plan (None: removed) does not mention, by rule and kind. Pure."""
    counts: dict[tuple[str, Kind], Counter[str]] = {}
    services: Counter[tuple[str, Kind]] = Counter()
    for record in records:
        rule = _rule_of(record, plan)
        vaults = rule.vaults if rule else frozenset[str]()
        left = Counter({vault: n for vault, n in record.counts.items() if n > 0 and vault not in vaults})
        if left:
            key = (record.lineage.rule, record.lineage.kind)
            counts.setdefault(key, Counter()).update(left)
            services[key] += 1
    return tuple(
        RemainingPoints(rule, kind, services[rule, kind], dict(sorted(counts[rule, kind].items())))
        for rule, kind in sorted(counts)
    )


def _judge(
    found: Sequence[RecoveryPoint], rule: Rule, grace: timedelta, now: datetime
) -> Iterator[Judgement]:
    return (each for each in judge(found, rule, World(), grace, now) if each.good)


def _judged_first(
    records: Iterable[LineageRecord], plan: Plan, stored: Plan | None
) -> list[tuple[LineageRecord, Rule]]:
    """Return the lineages from which points may go, each with its rule; those whose lifecycle changes come
    first."""
    ruled = [
        (record, rule)
        for record in records
        if (rule := _rule_of(record, plan)) is not None and any(n > 1 for n in record.counts.values())
    ]
    return sorted(ruled, key=lambda each: _keeps_alike(each[1], _rule_of(each[0], stored)))


def _keeps_alike(rule: Rule, before: Rule | None) -> bool:
    return before is not None and rule.retention == before.retention


def _rule_of(record: LineageRecord, plan: Plan | None) -> Rule | None:
    rule = plan.rule(record.lineage.rule) if plan else None
    return rule if rule is not None and rule.kind is record.lineage.kind else None
