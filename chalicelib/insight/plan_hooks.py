"""Looks, when a plan is stored, whether the groups of its instances have the lifecycle hooks it names."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from itertools import islice

from chalicelib.aws.autoscaling import PAGE, AutoScaling
from chalicelib.insight.checks import CheckState
from chalicelib.insight.look_ups import seen
from chalicelib.insight.readiness import hook_findings
from chalicelib.plans.model import Plan

MOST_GROUPS = 10


@dataclass(frozen=True, slots=True)
class PlanHooks:
    """Looks at hooks; a few calls, however much a plan selects."""

    autoscaling: AutoScaling

    def warnings(self, plan: Plan, instances: Iterable[str]) -> tuple[str, ...]:
        """Return what is wrong with the hooks that a plan names, in the groups of the first of its instances;
        nothing where no instance is there yet, or Auto Scaling cannot be asked."""
        if not plan.hooks:
            return ()
        members = seen(lambda: self.autoscaling.instances(islice(instances, PAGE)))
        groups = sorted({each.group for each in (members.found or {}).values()})[:MOST_GROUPS]
        hooks = {group: seen(partial(self.autoscaling.hooks, group)) for group in groups}
        found = hook_findings(plan, hooks)
        wrong = (each for each in found if each.state in (CheckState.WARNING, CheckState.FAILED))
        return tuple(f"{each.reason}; {each.remedy}" for each in wrong)
