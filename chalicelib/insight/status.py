"""The status of each service: its recovery points by rule and vault, and its RPO, promised and achieved.

It also says, in sentences, what an operator should know. Pure.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

from chalicelib.catalog.recovery_point import Lineage
from chalicelib.catalog.store.services import LineageRecord, ServiceRecord
from chalicelib.catalog.values import Answer, Moment, says
from chalicelib.plans.declared import Maybe
from chalicelib.plans.due import GRACE
from chalicelib.plans.durations import render_duration
from chalicelib.plans.model import Kind, Plan, TagName
from chalicelib.plans.objectives import achieved_rpo
from chalicelib.plans.values import PRIMARY


class RpoAnswer(Answer):
    """A service's RPO, as promised and as achieved."""

    objective: Annotated[str | None, says("what the plan promises; null if it promises nothing")]
    achieved: Annotated[
        str | None,
        says(
            "the age of the newest point whose bytes were read back and that is neither suspect nor partial"
        ),
    ]
    met: Annotated[
        bool | None,
        says("whether that is young enough, and every vault in the plan has a point that young"),
    ]


class StatusRow(Answer):
    """A rule's points of a service in one vault."""

    rule: Annotated[str, says("the rule")]
    kind: Annotated[Kind, says("its kind")]
    vault: Annotated[str, says("the vault")]
    wanted: Annotated[bool, says("whether the plan still makes points there; if not, all are kept")]
    points: Annotated[int, says("how many can be restored from there")]
    newest_at: Annotated[Moment | None, says("when the newest was made")]
    verified_at: Annotated[Moment | None, says("when the newest verified one was made")]
    age: Annotated[str | None, says("how old the newest is")]
    copies_due: Annotated[int, says("how many copies failed and will be tried again")]


class FlaggedAnswer(Answer):
    """The last point of a rule, which is suspect or partial."""

    rule: Annotated[str, says("the rule")]
    kind: Annotated[Kind, says("its kind")]
    recovery_point: Annotated[str, says("the point")]
    reason: Annotated[str, says("what is wrong with it")]


class StatusAnswer(Answer):
    """The status of a service under a plan."""

    plan: Annotated[str, says("the plan")]
    service: Annotated[str, says("the service")]
    points: Annotated[dict[str, dict[str, int]], says("how many points can be restored, by kind and vault")]
    newest_at: Annotated[Moment | None, says("when the newest point was made")]
    rpo: Annotated[RpoAnswer, says("the RPO as promised and as achieved")]
    rules: Annotated[tuple[StatusRow, ...], says("each rule in each vault")]
    says: Annotated[
        tuple[str, ...], says("sentences: runs that were missed, what is tried again and when, what is gone")
    ]
    flagged: Annotated[
        Maybe[tuple[FlaggedAnswer, ...]], says("the last points of rules that are suspect or partial")
    ] = None


class StatusPage(Answer):
    """A page of services, by plan and name."""

    items: Annotated[tuple[StatusAnswer, ...], says("the services")]
    cursor: Annotated[str | None, says("the cursor of the next page; null on the last page")]


@dataclass(frozen=True, slots=True)
class Row:
    """A rule's points of a service in one vault; `wanted` if the plan still makes points there."""

    record: LineageRecord
    vault: str
    wanted: bool


def service_status(plan: str, stored: Plan | None, record: ServiceRecord, now: datetime) -> StatusAnswer:
    """Return one service's status under a plan; `stored` is None if the plan was removed.

    The achieved RPO counts points whose bytes were read back and found right. It is met if the newest of them
    is young enough and every vault in the plan has a point that young.
    """
    lineages, objective = record.lineages, stored.objectives.rpo if stored else None
    rows = list(_rows(stored, record))
    verified = ((each.verified_at, True) for each in lineages if each.verified_at)
    achieved = achieved_rpo(verified, now)
    newest = max((each.newest_at for each in lineages if each.newest_at), default=None)
    met = achieved is not None and objective is not None and achieved <= objective
    return StatusAnswer(
        plan=plan,
        service=record.service,
        points=_counts(lineages),
        newest_at=newest,
        rpo=RpoAnswer(
            objective=render_duration(objective) if objective else None,
            achieved=render_duration(achieved) if achieved is not None else None,
            met=met and not _behind(rows, objective, now) if objective else None,
        ),
        rules=tuple(_row_answer(row, now) for row in rows),
        says=tuple(_says(plan, stored, record, rows)),
        **_flagged(lineages),
    )


def _rows(plan: Plan | None, record: ServiceRecord) -> Iterator[Row]:
    """Yield the rows of the plan's rules, then those of other points."""
    known = {(each.lineage.rule, each.lineage.kind): each for each in record.lineages}
    shown = set()
    for rule in plan.rules if plan else ():
        lineage = Lineage(plan.name if plan else "", rule.name, rule.kind, record.service)
        of_rule = known.get((rule.name, rule.kind), LineageRecord(lineage))
        for vault in sorted(rule.vaults, key=lambda name: (name != PRIMARY, name)):
            shown.add((rule.name, rule.kind, vault))
            yield Row(of_rule, vault, wanted=True)
    for (name, kind), of_rule in known.items():
        for vault in sorted(vault for vault, number in of_rule.counts.items() if number):
            if (name, kind, vault) not in shown:
                yield Row(of_rule, vault, wanted=False)


def _row_answer(row: Row, now: datetime) -> StatusRow:
    newest, lineage = row.record.newest.get(row.vault), row.record.lineage
    return StatusRow(
        rule=lineage.rule,
        kind=lineage.kind,
        vault=row.vault,
        wanted=row.wanted,
        points=row.record.counts.get(row.vault, 0),
        newest_at=newest.at if newest else None,
        verified_at=newest.verified_at if newest else None,
        age=render_duration(now - newest.at) if newest and newest.at <= now else None,
        copies_due=row.record.awaited.get(row.vault, 0),
    )


def _behind(rows: Iterable[Row], objective: timedelta, now: datetime) -> bool:
    """Return whether a vault in the plan has no point that is young enough."""
    return any(at is None or now - at > objective for at in _newest(rows).values())


def _newest(rows: Iterable[Row]) -> dict[str, datetime | None]:
    """Return when the newest good point was made in each vault in the plan; None where there is none."""
    newest: dict[str, datetime | None] = {}
    for row in rows:
        if row.wanted:
            there, known = row.record.newest.get(row.vault), newest.get(row.vault)
            at = (there.verified_at or there.at) if there else None  # snapshots are not read back
            newest[row.vault] = at if known is None else max(known, at or known)
    return newest


@dataclass(frozen=True, slots=True)
class Promise:
    """Until when a service is within its RPO if no other point is made, and why not longer."""

    service: str
    until: datetime
    why: str


def promise_of(plan: Plan, record: ServiceRecord, since: datetime, now: datetime) -> Promise | None:
    """Return a service's promise under a plan; None when none is made, or its instances are long gone. Pure.

    Every vault in the plan must have a point that is young enough; where scripts make files, one of them must
    have been read back. Two ticks more are granted: a point that is due at the last moment takes its time.
    `since` is when the RPO was promised, which counts where there is no point yet.
    """
    rpo, named = plan.objectives.rpo, isinstance(plan.service, TagName)
    if rpo is None or (named and not any(each.is_expected(now) for each in record.lineages)):
        return None
    newest: dict[str, datetime | None] = {
        f"in vault {vault}": at for vault, at in _newest(_rows(plan, record)).items()
    }
    if any(rule.kind is Kind.SERVICE for rule in plan.rules):
        files = (each.verified_at for each in record.lineages if each.verified_at)
        newest["read back"] = max(files, default=None)
    began = _promised_since(record, since)
    where, at = min(newest.items(), key=lambda pair: pair[1] or began)
    good = (
        f"its newest good point {where} is of {at:%Y-%m-%d %H:%M} UTC"
        if at
        else f"it has no good point {where}"
    )
    why = f"{good}; plan {plan.name} promises an RPO of {render_duration(rpo)}"
    return Promise(record.service, (at or began) + rpo + GRACE, why)


def _promised_since(record: ServiceRecord, since: datetime) -> datetime:
    """Return since when a point should be where there is none: a new service's RPO begins with it."""
    points = sum(number for each in record.lineages for number in each.counts.values())
    if points > 1 or any(number for each in record.lineages for number in each.awaited.values()):
        return since
    return max((since, *(each.seen_at for each in record.lineages if each.seen_at and not each.failing)))


def _says(plan: str, stored: Plan | None, record: ServiceRecord, rows: Sequence[Row]) -> Iterator[str]:
    """Yield what an operator should know: what was removed, missed, or is tried again."""
    if stored is None:
        yield f"plan {plan} was removed: nothing is backed up, and everything is kept"
    elif not record.lineages and not record.key:
        yield f"plan {plan} has never selected an instance"
    for row in rows:
        lineage = row.record.lineage
        if stored is not None and not row.wanted:
            yield (
                f"the plan no longer makes points of rule {lineage.rule} ({lineage.kind}) in {row.vault}:"
                f" all {row.record.counts[row.vault]} are kept"
            )
        if due := row.record.awaited.get(row.vault, 0):
            yield f"rule {lineage.rule}: copies into {row.vault} that failed and will be tried again: {due}"
    for each in record.lineages:
        rule = stored.rule(each.lineage.rule) if stored else None
        if rule is None or rule.kind is not each.lineage.kind:
            continue  # a rule that the plan no longer has misses nothing
        if each.missed is not None:
            yield f"rule {each.lineage.rule}: {each.missed}"
        if each.retry is not None and each.missed is None:
            at = f"{each.retry.at:%Y-%m-%d %H:%M} UTC"
            yield f"rule {each.lineage.rule}: {each.retry.job} failed and is tried again at {at}"


def _flagged(lineages: tuple[LineageRecord, ...]) -> Mapping[str, Any]:
    """Return the last points of a service's rules that are suspect or partial."""
    rows = tuple(
        FlaggedAnswer(
            rule=each.lineage.rule,
            kind=each.lineage.kind,
            recovery_point=each.flagged.point,
            reason=each.flagged.why,
        )
        for each in lineages
        if each.flagged is not None
    )
    return {"flagged": rows} if rows else {}


def _counts(lineages: tuple[LineageRecord, ...]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for record in lineages:
        for vault, number in record.counts.items():
            if number:
                of_kind = counts.setdefault(str(record.lineage.kind), {})
                of_kind[vault] = of_kind.get(vault, 0) + number
    return counts
