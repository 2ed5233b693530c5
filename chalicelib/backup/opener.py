"""Opens backups for the tick and for requests."""

from collections.abc import Sequence
from dataclasses import dataclass

from chalicelib.backup.due_backups import Deployment
from chalicelib.catalog.store.instances import InstanceLists
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
    deployment: Deployment

    def rule_ids(self, plan: Plan) -> dict[str, RuleId]:
        """Store the plan's rules, to which jobs refer; return their ids by name."""
        return self.rules.put(plan.rules)

    def open(self, targets: Sequence[Target], cause: Cause) -> tuple[JobId, ...]:
        """Open a backup of each target; return their ids."""
        for target in targets:
            if target.is_large:
                self.lists.put(target.instances)
        return self.engine.open([backup_request(target, cause) for target in targets])
