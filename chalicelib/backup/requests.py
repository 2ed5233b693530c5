"""Backups on request: of a plan's rules, now, of all its instances or of some."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field, PlainValidator, WithJsonSchema

from chalicelib.aws.ec2 import Ec2
from chalicelib.backup.due_backups import Covered, targets_of
from chalicelib.backup.opener import BackupOpener
from chalicelib.catalog.recovery_point import Origin
from chalicelib.catalog.store import PlanStore
from chalicelib.catalog.values import PlanName, Remark, RuleName
from chalicelib.errors import Conflict, InvalidInput, Problem
from chalicelib.jobs.job import JobId
from chalicelib.jobs.work import Cause, Terms
from chalicelib.plans.declared import Declared, Maybe, worded
from chalicelib.plans.durations import parse_duration
from chalicelib.plans.words import near

WHAT = "the backup request"


_KEEP = "a duration from 1 minute to 36500 days, or true to hold it"


def _keep(value: object) -> timedelta | Literal[True]:
    """Return how long a point is to be kept: a duration, or True for as long as it is held."""
    if value is True:
        return value
    try:
        return parse_duration(value if isinstance(value, str) else "", least=timedelta(minutes=1))
    except ValueError as fault:
        raise ValueError(f"{_KEEP}, such as 30d") from fault


class BackupOrder(Declared):
    """A request for backups of a plan, now: of all its rules and instances, or of those named."""

    plan: Annotated[PlanName, Field(description="the plan")]
    rule: Annotated[
        Maybe[RuleName], Field(description="only this rule of the plan; when left out, all of its rules")
    ] = None
    instance_ids: Annotated[
        Maybe[tuple[Annotated[str, worded("the id of an instance", title="instance id")], ...]],
        Field(
            strict=False,
            min_length=1,
            max_length=10_000,
            examples=[["i-0123456789abcdef0"]],
            description="only these of the instances it selects; when left out, all of them. Snapshots of a "
            "part of a service are a *partial* point",
        ),
    ] = None
    keep: Annotated[
        timedelta | Literal[True] | None,
        PlainValidator(_keep),
        WithJsonSchema(
            {
                "anyOf": [{"type": "string", "pattern": "^[0-9]+[smhd]$"}, {"const": True}],
                "title": "duration, or `true`",
                "errorMessage": _KEEP,
                "examples": ["30d"],
            }
        ),
        Field(
            description="how long the point is kept from now on, whatever its lifecycle says; `true` holds it"
        ),
    ] = None
    note: Annotated[
        Maybe[Remark], Field(description="shown with the point", examples=["before the upgrade"])
    ] = None

    @property
    def terms(self) -> Terms:
        """Return the part of the order that its points record."""
        kept_for = self.keep if isinstance(self.keep, timedelta) else None
        return Terms(Origin.REQUEST, self.note or "", kept_for, self.keep is True)


@dataclass(frozen=True, slots=True)
class BackupRequests:
    """Opens backups on request. `ec2` is the home region's."""

    plans: PlanStore
    opener: BackupOpener
    ec2: Ec2
    now: Callable[[], datetime]

    def open(self, order: BackupOrder, key: str) -> tuple[JobId, ...]:
        """Open a backup of each rule and service requested; the same `key` opens the same ones.

        Raises:
            NotFound: there is no such plan.
            InvalidInput: the plan has no such rule, or does not select one of the instances.
            Conflict: the plan selects no instance at all.
        """
        plan = self.plans.require(order.plan).plan
        rules = [rule for rule in plan.rules if order.rule in (None, rule.name)]
        if not rules:
            names = [rule.name for rule in plan.rules]
            expected = f"a rule of plan {plan.name}{near(order.rule, names)}; there are {', '.join(names)}"
            raise InvalidInput(WHAT, [Problem("/rule", order.rule, expected)])
        covered = _limited(order, self.opener.covered(plan, self.ec2, self.now()))
        ids = self.opener.rule_ids(plan)
        targets = [
            target
            for rule in rules
            for target in targets_of(plan, rule, ids[rule.name], covered, self.opener.deployment)
        ]
        cause = Cause(self.now(), "asked for through the API", key=key, terms=order.terms)
        return self.opener.open(targets, cause)


def _limited(order: BackupOrder, covered: Covered) -> Covered:
    """Return the part that covers the requested instances."""
    selected = {instance for ids in covered.services.values() for instance in ids}
    strange = [each for each in order.instance_ids or () if each not in selected]
    left = f" (without the tag that names their service: {', '.join(covered.without_service)})"
    without_service = left if covered.without_service else ""
    if strange:
        expected = f"instances that plan {order.plan!r} selects{without_service}"
        raise InvalidInput(WHAT, [Problem("/instance_ids", strange, expected)])
    if not selected:
        why = f"it selects no instance now{without_service}"
        raise Conflict(why, operation="backing up", resource=f"plan {order.plan}")
    return covered if order.instance_ids is None else covered.limited_to(order.instance_ids)
