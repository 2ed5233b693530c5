"""Backs an instance up for the first time, for its launch."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from chalicelib.aws.ec2 import Ec2
from chalicelib.backup.due_backups import covered_by, targets_of
from chalicelib.backup.opener import BackupOpener
from chalicelib.catalog.recovery_point import Origin
from chalicelib.catalog.store import PlanStore
from chalicelib.errors import Conflict
from chalicelib.jobs.job import AnyJob, JobId
from chalicelib.jobs.work import Cause, Terms


@dataclass(frozen=True, slots=True)
class FirstBackups:
    """Opens the backups of launches. `ec2` is the home region's."""

    plans: PlanStore
    opener: BackupOpener
    ec2: Ec2
    now: Callable[[], datetime]

    def open(self, launch: AnyJob) -> JobId:
        """Open the backup of a launched instance; asked again it gives the same job.

        Raises:
            NotFound: the plan is gone.
            Conflict: it has no such rule, or does not select the instance any more.
        """
        plan, instance = self.plans.require(launch.plan).plan, launch.work.instance_id
        rule = plan.rule(launch.rule)
        covered = covered_by(plan, self.ec2).limited_to([instance])
        if rule is None or launch.service not in covered.services:
            why = f"plan {plan.name} has no rule {launch.rule}, or does not select {instance} any more"
            raise Conflict(why, operation="backing up", resource=instance)
        rule_id = self.opener.rule_ids(plan)[rule.name]
        targets = targets_of(plan, rule, rule_id, covered.of(launch.service), self.opener.deployment)
        cause = Cause(
            launch.nominal_at, f"first backup of {instance}", key=launch.id, terms=Terms(Origin.LAUNCH)
        )
        return self.opener.open(targets, cause)[0]
