"""Opens backups for the tick and for requests."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from chalicelib.aws.autoscaling import BEFORE_SERVICE, AutoScaling
from chalicelib.aws.ec2 import Ec2
from chalicelib.backup.due_backups import Covered, Deployment, covered_by
from chalicelib.catalog.store.instances import InstanceLists
from chalicelib.catalog.store.launching import LaunchingStore
from chalicelib.catalog.store.rules import RuleId, RuleStore
from chalicelib.jobs.engine import Engine
from chalicelib.jobs.job import JobId
from chalicelib.jobs.work import Cause, Target, backup_request
from chalicelib.plans.model import Plan


@dataclass(frozen=True, slots=True)
class BackupOpener:
    """Opens backups; the instances of large services are stored first."""

    engine: Engine
    rules: RuleStore
    lists: InstanceLists
    launching: LaunchingStore
    autoscaling: AutoScaling
    deployment: Deployment

    def covered(self, plan: Plan, ec2: Ec2, now: datetime, ready: Collection[str] = ()) -> Covered:
        """Return what is backed up of a plan now: an instance that is being launched has no data yet, nor has
        one in a warm pool. Those that are known to be `ready` have theirs."""
        covered = covered_by(plan, ec2)
        launching = set(self.launching.instances(now))
        if plan.on_launch is not None and plan.on_launch.hook:
            ids = (instance for ids in covered.services.values() for instance in ids)
            members = self.autoscaling.instances(ids).values()
            launching |= {each.id for each in members if each.state.startswith(BEFORE_SERVICE)}
        return covered.without(launching - set(ready)) if launching else covered

    def rule_ids(self, plan: Plan) -> dict[str, RuleId]:
        """Store the plan's rules, to which jobs refer; return their ids by name."""
        return self.rules.put(plan.rules)

    def open(self, targets: Sequence[Target], cause: Cause) -> tuple[JobId, ...]:
        """Open a backup of each target; return their ids."""
        for target in targets:
            if target.is_large:
                self.lists.put(target.instances)
        return self.engine.open([backup_request(target, cause) for target in targets])
