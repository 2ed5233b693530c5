"""Backups that somebody asks for: of a plan's rules, now, of all its instances or of some."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from chalicelib.aws.ec2 import Ec2
from chalicelib.backup.due_backups import Covered, covered_by
from chalicelib.backup.opener import BackupOpener
from chalicelib.catalog.recovery_point import Origin
from chalicelib.catalog.store import PlanStore
from chalicelib.errors import Conflict, InvalidInput, Problem
from chalicelib.jobs.job import JobId
from chalicelib.jobs.work import Cause, Terms

WHAT = "the backup request"


@dataclass(frozen=True, slots=True)
class BackupOrder:
    """Backups of a plan: of all its rules and instances, or of those named.

    Their points carry `note`, and are kept for `keep` whatever their lifecycle says, or `held` until the hold
    is taken away.
    """

    plan: str
    rule: str | None = None
    instance_ids: tuple[str, ...] | None = None
    note: str = ""
    keep: timedelta | None = None
    held: bool = False


@dataclass(frozen=True, slots=True)
class BackupRequests:
    """Opens the backups that are asked for. `ec2` is the home region's."""

    plans: PlanStore
    opener: BackupOpener
    ec2: Ec2
    now: Callable[[], datetime]

    def open(self, order: BackupOrder, key: str) -> tuple[JobId, ...]:
        """Open a backup of each rule and service asked for; under the same `key` the same ones.

        Raises:
            NotFound: there is no such plan.
            InvalidInput: the plan has no such rule, or does not select one of the instances.
            Conflict: the plan selects no instance at all.
        """
        plan = self.plans.require(order.plan).plan
        rules = [rule for rule in plan.rules if order.rule in (None, rule.name)]
        if not rules:
            expected = f"a rule of plan {plan.name!r}: {', '.join(rule.name for rule in plan.rules)}"
            raise InvalidInput(WHAT, [Problem("/rule", order.rule, expected)])
        covered = _limited(order, covered_by(plan, self.ec2))
        ids = self.opener.rule_ids(plan)
        targets = [
            target for rule in rules for target in self.opener.targets(plan, rule, ids[rule.name], covered)
        ]
        terms = Terms(Origin.REQUEST, order.note, order.keep, order.held)
        return self.opener.open(targets, Cause(self.now(), "asked for through the API", key=key, terms=terms))


def _limited(order: BackupOrder, covered: Covered) -> Covered:
    """Return what is covered of the instances asked for."""
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
