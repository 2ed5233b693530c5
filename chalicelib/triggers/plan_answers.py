"""Plans and the effects of storing them, as the API answers them. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice
from typing import Annotated, Any

from chalicelib.catalog.values import Answer, Moment, present, says
from chalicelib.insight.plan_page import AsStored
from chalicelib.insight.preview import next_runs, warnings_of
from chalicelib.plans.declared import Maybe
from chalicelib.plans.model import Kind, Plan
from chalicelib.retention.forecast import Forecast, RemainingPoints
from chalicelib.retention.plan_warnings import PlanChange, differences, losses_by_change

MOST_SHOWN = 1_000
MOST_CHANGES = 500


class LossAnswer(Answer):
    """A point that a plan lets go in a vault."""

    point: Annotated[str, says("the recovery point")]
    made: Annotated[Moment, says("when it was made")]
    vault: Annotated[str, says("the vault from which it is let go")]
    reason: Annotated[str, says("why it is not kept")]


class RemainingPointsAnswer(Answer):
    """Points that a plan no longer mentions: they are kept."""

    rule: Annotated[str, says("the rule they were made by")]
    kind: Annotated[Kind, says("the rule's kind at that time")]
    services: Annotated[int, says("how many services they are of")]
    points: Annotated[dict[str, int], says("how many there are in each vault")]


class RemovedPlanAnswer(Answer):
    """The answer to the removal of a plan."""

    stays_behind: Annotated[tuple[RemainingPointsAnswer, ...], says("the recovery points that stay")]


class CoveredAnswer(Answer):
    """A service that a plan covers."""

    service: Annotated[str, says("the service")]
    instance_ids: Annotated[tuple[str, ...], says("its instances")]


class ChangeAnswer(Answer):
    """A key of a plan that changes."""

    key: Annotated[str, says("the key, with the names of rules and vaults: `rules.nightly.lifecycle.count`")]
    before: Annotated[Any, says("its value in the stored plan; null if it is missing")]
    after: Annotated[Any, says("its value in the new plan; null if it is missing")]


_Warnings = Annotated[
    tuple[str, ...], says("what is allowed but probably a mistake, and what the change loses")
]
_Losses = Annotated[
    tuple[LossAnswer, ...], says(f"the good points that its lifecycles let go, the first {MOST_SHOWN:,}")
]
_Remaining = Annotated[
    tuple[RemainingPointsAnswer, ...], says("points that the plan no longer mentions; they are kept")
]
_NotShown = Annotated[Maybe[int], says("how many more `would_delete` there are than are listed")]
_NotJudged = Annotated[Maybe[str], says("how many services had too many points to be judged")]


class StoredPlan(Plan):
    """The plan as it is stored, and the effects of that."""

    warnings: _Warnings
    would_delete: _Losses
    stays_behind: _Remaining
    not_shown: _NotShown = None
    not_judged: _NotJudged = None


class PlanPreview(Answer):
    """What storing a plan would do."""

    plan: Annotated[AsStored, says("the plan with every default filled in")]
    covers: Annotated[tuple[CoveredAnswer, ...], says("the services and instances it covers now")]
    next_runs: Annotated[dict[str, tuple[str, ...]], says("by rule, when it runs next")]
    warnings: _Warnings
    changes: Annotated[
        tuple[ChangeAnswer, ...],
        says(f"how it differs from the stored plan, the first {MOST_CHANGES} keys"),
    ]
    would_delete: _Losses
    stays_behind: _Remaining
    confirm: Annotated[int, says("the number to give as `?confirm=`; 0: none is needed")]
    not_shown: _NotShown = None
    not_judged: _NotJudged = None


def stored_plan(change: PlanChange, hooks: Sequence[str], now: datetime) -> StoredPlan:
    """Return a plan that was stored, with the effects of that; `hooks` is what is wrong with its hooks."""
    return StoredPlan.model_construct(
        **dict(change.plan), warnings=_warnings(change, hooks, now), **_forecast(change.forecast)
    )


def plan_preview(change: PlanChange, hooks: Sequence[str], now: datetime) -> PlanPreview:
    """Return what storing a plan would do; `hooks` is what is wrong with its hooks."""
    before = change.stored.document() if change.stored else None
    changes = differences(before, change.plan.document()) if before else ()
    return PlanPreview(
        plan=change.plan,
        covers=tuple(
            CoveredAnswer(service=name, instance_ids=tuple(ids))
            for name, ids in sorted(change.covered.services.items())
        ),
        next_runs={rule.name: tuple(next_runs(rule, now)) for rule in change.plan.rules},
        warnings=_warnings(change, hooks, now),
        changes=tuple(
            ChangeAnswer(key=each.key, before=each.before, after=each.after)
            for each in islice(changes, MOST_CHANGES)
        ),
        confirm=change.forecast.confirm,
        **_forecast(change.forecast),
    )


def removed_plan_answer(points: Iterable[RemainingPoints]) -> RemovedPlanAnswer:
    """Return the points that remain after the removal of a plan."""
    return RemovedPlanAnswer(stays_behind=_remaining(points))


def _warnings(change: PlanChange, hooks: Sequence[str], now: datetime) -> tuple[str, ...]:
    covered = change.covered
    return (
        *warnings_of(change.plan, covered.services, covered.without_service, now),
        *hooks,
        *losses_by_change(change),
    )


def _forecast(forecast: Forecast) -> dict[str, Any]:
    more = len(forecast.losses) - MOST_SHOWN
    unread = f"the points of {forecast.unread} services, too many to read for one answer"
    return {
        "would_delete": tuple(
            LossAnswer(point=loss.point, made=loss.made, vault=loss.vault, reason=loss.reason)
            for loss in forecast.losses[:MOST_SHOWN]
        ),
        "stays_behind": _remaining(forecast.remaining),
        **present(not_shown=more if more > 0 else None, not_judged=unread if forecast.unread else None),
    }


def _remaining(points: Iterable[RemainingPoints]) -> tuple[RemainingPointsAnswer, ...]:
    return tuple(
        RemainingPointsAnswer(
            rule=each.rule, kind=each.kind, services=each.services, points=dict(each.points)
        )
        for each in points
    )
