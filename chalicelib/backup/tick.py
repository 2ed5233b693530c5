"""The tick: opens the backups that are due, by schedule and by RPO, for every plan.

Invariant: jobs are opened before the schedule is recorded as served, under ids made of the nominal time; so a
tick that dies, comes twice or comes late loses no run and doubles none. One bad plan stops no other.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from chalicelib.aws.ec2 import Ec2
from chalicelib.backup.opening import (
    TICK,
    Covered,
    covered_by,
    due_by_age,
    due_by_schedule,
    next_look,
    occasion_of,
    requests_for,
)
from chalicelib.catalog.advance import Engine
from chalicelib.catalog.store import PlanStore, StoredPlan
from chalicelib.errors import Permanent
from chalicelib.observability import count, logger
from chalicelib.plans.due import DueRun
from chalicelib.plans.model import Plan, Rule


@dataclass(frozen=True, slots=True)
class BackupTick:
    """Opens what is due. `now` is the clock, `deployment` the name of this one among others."""

    engine: Engine
    plans: PlanStore
    ec2: Ec2
    deployment: str
    now: Callable[[], datetime]

    def run(self, stored_plans: tuple[StoredPlan, ...]) -> None:
        """Open the due backups of all plans.

        Raises:
            Exception: a plan could not be served now; the others have been, and the tick is to be run again.
        """
        log = logger()
        later: Exception | None = None
        for stored in stored_plans:
            try:
                self._run_plan(stored)
            except Exception as error:  # whatever it is, it must not stop the other plans
                log.exception("plan not served", extra={"plan": stored.plan.name, "error": str(error)})
                count("PlanNotServed", plan=stored.plan.name)
                later = later if isinstance(error, Permanent) else error
        if later is not None:
            raise later

    def _run_plan(self, stored: StoredPlan) -> None:
        now = self.now()
        due = {
            rule.name: due_by_schedule(rule, stored.served.get(rule.name, now), now)
            for rule in stored.plan.rules
        }
        by_age = [rule for rule in stored.plan.rules if rule.rpo is not None]
        if by_age or any(due.values()):
            self._open_due(stored, due, by_age, now)
        if stored.is_swept(now):  # if not, the sweep is about to come, and the next tick sees whether it did
            self.plans.sleep(stored, next_look(stored.plan, now))

    def _open_due(
        self, stored: StoredPlan, due: Mapping[str, DueRun | None], by_age: Sequence[Rule], now: datetime
    ) -> None:
        covered = covered_by(stored.plan, self.ec2)
        if not covered.services:
            logger().warning("the plan selects no instance", extra={"plan": stored.plan.name})
            count("PlanSelectsNothing", plan=stored.plan.name)
        for rule in stored.plan.rules:
            run = due[rule.name]
            if run is not None:
                self._open(stored.plan, rule, covered, run)
                self.plans.serve(stored.plan.name, rule.name, run.nominal_at)
        for rule in by_age:
            self._open_aged(stored.plan, rule, covered, now)

    def _open(self, plan: Plan, rule: Rule, covered: Covered, run: DueRun) -> None:
        jobs = self.engine.open(requests_for(plan, rule, covered, occasion_of(run), self.deployment))
        facts = {"plan": plan.name, "rule": rule.name, "jobs": [job.id for job in jobs], "late": run.late}
        logger().info("opened backups", extra=facts)
        if run.late:
            count("LateRun", plan=plan.name, rule=rule.name)

    def _open_aged(self, plan: Plan, rule: Rule, covered: Covered, now: datetime) -> None:
        newest = {
            each.service: each.newest_at
            for each in self.engine.points.lineages(plan.name)
            if each.rule == rule.name
        }
        for service, instances in covered.services.items():
            run = due_by_age(rule, newest.get(service), now)
            if run is not None and not self._is_under_way(plan, rule, service, now):
                self._open(plan, rule, Covered({service: instances}), run)

    def _is_under_way(self, plan: Plan, rule: Rule, service: str, now: datetime) -> bool:
        """Say whether the service's last backup still runs, however long, or ended only a short time ago."""
        filters = {"service": service, "plan": plan.name, "rule": rule.name, "kind": "backup"}
        last = self.engine.jobs.list(filters=filters, limit=1, cursor=None).items
        if not last:
            return False
        retry_after = max(TICK, (rule.rpo or timedelta()) / 4)
        return not last[0].state.final or now - last[0].nominal_at < retry_after
