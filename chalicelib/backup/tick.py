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
    Place,
    cause_of,
    covered_by,
    due_by_age,
    due_by_schedule,
    next_look,
    targets_of,
)
from chalicelib.catalog.store import PlanStore, StoredPlan
from chalicelib.catalog.store.instances import InstanceLists
from chalicelib.catalog.store.rules import RuleId, RuleStore
from chalicelib.catalog.store.services import LineageRecord, ServiceStore
from chalicelib.errors import Permanent
from chalicelib.jobs.engine import Engine
from chalicelib.jobs.job import JobId
from chalicelib.jobs.work import Cause, Target, backup_request
from chalicelib.observability import count, logger
from chalicelib.plans.due import DueRun
from chalicelib.plans.model import Plan, Rule


@dataclass(frozen=True, slots=True)
class BackupOpener:
    """Opens backups, whoever asks for them; the instances of large services are stored first."""

    engine: Engine
    rules: RuleStore
    lists: InstanceLists
    place: Place

    def rule_ids(self, plan: Plan) -> dict[str, RuleId]:
        """Store the plan's rules as jobs are opened under them."""
        return self.rules.put(plan.rules)

    def open(self, targets: Sequence[Target], cause: Cause) -> tuple[JobId, ...]:
        """Open a backup of each target; return their ids."""
        for target in targets:
            if target.is_large:
                self.lists.put(target.instances)
        return self.engine.open([backup_request(target, cause) for target in targets])

    def targets(self, plan: Plan, rule: Rule, rule_id: RuleId, covered: Covered) -> tuple[Target, ...]:
        """Return what a rule's backups are made of."""
        return targets_of(plan, rule, rule_id, covered, self.place)


@dataclass(frozen=True, slots=True)
class BackupTick:
    """Opens what is due. `now` is the clock."""

    opener: BackupOpener
    plans: PlanStore
    services: ServiceStore
    ec2: Ec2
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
        plan, covered = stored.plan, covered_by(stored.plan, self.ec2)
        if not covered.services:
            logger().warning("the plan selects no instance", extra={"plan": plan.name})
            count("PlanSelectsNothing", plan=plan.name)
        ids = self.opener.rule_ids(plan)
        for rule in plan.rules:
            run = due[rule.name]
            if run is not None:
                self._open(plan, rule, ids[rule.name], covered, run)
                self.plans.serve(plan.name, rule.name, run.nominal_at)
        if by_age:
            self._open_aged(plan, by_age, ids, covered, now)

    def _open(self, plan: Plan, rule: Rule, rule_id: RuleId, covered: Covered, run: DueRun) -> None:
        jobs = self.opener.open(self.opener.targets(plan, rule, rule_id, covered), cause_of(run, rule))
        facts = {"plan": plan.name, "rule": rule.name, "jobs": len(jobs), "late": run.late}
        logger().info("opened backups", extra=facts)
        if run.late:
            count("LateRun", plan=plan.name, rule=rule.name)

    def _open_aged(
        self, plan: Plan, rules: Sequence[Rule], ids: Mapping[str, RuleId], covered: Covered, now: datetime
    ) -> None:
        """Open the backups without which a service's newest point would grow older than a rule's RPO."""
        records = {
            (each.lineage.rule, each.lineage.kind, each.lineage.service): each
            for each in self.services.lineages(plan.name)
        }
        for rule in rules:
            due: dict[DueRun, dict[str, tuple[str, ...]]] = {}
            for service, instances in covered.services.items():
                known = records.get((rule.name, rule.kind, service))
                run = due_by_age(rule, known.newest_at if known else None, now)
                if run is not None:
                    due.setdefault(run, {})[service] = instances
            for run, selected in due.items():
                last = [
                    known for service in selected if (known := records.get((rule.name, rule.kind, service)))
                ]
                busy = self._under_way(rule, last, now)
                free = {service: ids for service, ids in selected.items() if service not in busy}
                if free:
                    self._open(plan, rule, ids[rule.name], Covered(free), run)

    def _under_way(self, rule: Rule, records: Sequence[LineageRecord], now: datetime) -> set[str]:
        """Name the services whose last backup still runs, however long, or ended only a short time ago."""
        by_job = {record.last_job: record.lineage.service for record in records if record.last_job}
        retry_after = max(TICK, (rule.rpo or timedelta()) / 4)
        jobs = self.opener.engine.jobs.ends(by_job)
        return {
            by_job[job]
            for job, (state, nominal_at) in jobs.items()
            if not state.final or now - nominal_at < retry_after
        }
