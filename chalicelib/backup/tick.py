"""The tick: opens the backups that are due, by schedule and by RPO, for every plan.

Invariant: jobs are opened before the schedule is recorded as served, under ids made of the nominal time; so a
tick that dies, comes twice or comes late loses no run and doubles none. One bad plan stops no other.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from chalicelib.aws.ec2 import Ec2
from chalicelib.backup.due_backups import (
    TICK,
    Covered,
    Deployment,
    cause_of,
    cause_of_try,
    covered_by,
    due_by_age,
    due_by_schedule,
    missed_by,
    next_look,
    targets_of,
)
from chalicelib.catalog.store import PlanStore, StoredPlan
from chalicelib.catalog.store.instances import InstanceLists
from chalicelib.catalog.store.rules import RuleId, RuleStore
from chalicelib.catalog.store.services import LineageRecord, Retry, ServiceStore
from chalicelib.errors import FarshoreError, Permanent
from chalicelib.jobs.engine import Engine
from chalicelib.jobs.job import JobId
from chalicelib.jobs.work import Cause, Target, backup_request, missed_request
from chalicelib.observability import count, logger
from chalicelib.plans.due import DueRun, next_try
from chalicelib.plans.model import Plan, Rule

LONGEST_WHY = 500


@dataclass(frozen=True, slots=True)
class BackupOpener:
    """Opens backups, whoever asks for them; the instances of large services are stored first."""

    engine: Engine
    rules: RuleStore
    lists: InstanceLists
    place: Deployment

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

    def run(self, stored_plans: Sequence[StoredPlan]) -> None:
        """Open the due backups of all plans.

        Raises:
            Exception: a plan could not be served now; the others have been, and the tick is to be run again.
        """
        isolated((stored.plan.name, partial(self._run_plan, stored)) for stored in stored_plans)

    def try_again(self, stored_plans: Mapping[str, StoredPlan], records: Iterable[LineageRecord]) -> None:
        """Open the failed backups of these lineages again; forget those that no plan wants any more.

        Raises:
            Exception: as `run`.
        """
        by_plan: dict[str, list[LineageRecord]] = {}
        for record in records:
            by_plan.setdefault(record.lineage.plan, []).append(record)
        isolated(
            (name, partial(self._try_plan_again, stored_plans.get(name), of_plan))
            for name, of_plan in by_plan.items()
        )

    def _run_plan(self, stored: StoredPlan) -> None:
        now = self.now()
        due = {
            rule.name: due_by_schedule(rule, stored.ran_until.get(rule.name, now), now)
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
        try:
            scene = self._scene(stored.plan, now)
        except FarshoreError as error:
            runs = {
                name: run for name, run in due.items() if run and (run.late or isinstance(error, Permanent))
            }
            self._leave_word(stored.plan, runs, error, now)
            raise
        for rule in scene.plan.rules:
            run = due[rule.name]
            if run is not None:
                self._open(scene, rule, scene.covered, cause_of(run, rule))
                self._miss(scene, rule, scene.missed(rule), cause_of(run, rule))
                self.plans.mark_run(scene.plan.name, rule.name, run.nominal_at)
        for rule in by_age:
            self._open_aged(scene, rule)

    def _leave_word(self, plan: Plan, due: Mapping[str, DueRun], error: FarshoreError, now: datetime) -> None:
        """Leave a job of each run that cannot be made while EC2 does not tell what the plan selects.

        They are not served by that: when EC2 tells, one late run follows.
        """
        covered = Covered({}, unseen=str(error)[:LONGEST_WHY])
        records = tuple(self.services.lineages(plan.name))
        scene = Scene(plan, self.opener.rule_ids(plan), covered, records, now)
        for rule in plan.rules:
            if rule.name in due:
                cause = replace(cause_of(due[rule.name], rule), unseen=True)
                self._miss(scene, rule, scene.missed(rule), cause)

    def _scene(self, plan: Plan, now: datetime) -> "Scene":
        covered, records = covered_by(plan, self.ec2), tuple(self.services.lineages(plan.name))
        if not covered.services:
            logger().warning("the plan selects no instance", extra={"plan": plan.name})
            count("PlanSelectsNothing", plan=plan.name)
        else:
            self.services.forget_unseen(records)
        return Scene(plan, self.opener.rule_ids(plan), covered, records, now)

    def _open(self, scene: "Scene", rule: Rule, covered: Covered, cause: Cause) -> None:
        targets = self.opener.targets(scene.plan, rule, scene.ids[rule.name], covered)
        jobs = self.opener.open(targets, cause)
        facts = {"plan": scene.plan.name, "rule": rule.name, "jobs": len(jobs), "late": cause.late}
        logger().info("opened backups", extra=facts)
        if cause.late:
            count("LateRun", plan=scene.plan.name, rule=rule.name)

    def _miss(self, scene: "Scene", rule: Rule, missed: Mapping[str, str], cause: Cause) -> None:
        """Leave a job of each run that could not be made, and try it again as one that failed."""
        targets = self.opener.targets(
            scene.plan, rule, scene.ids[rule.name], Covered(dict.fromkeys(missed, ()))
        )
        requests = [missed_request(each, cause, missed[each.lineage.service]) for each in targets]
        if not requests:
            return
        jobs = self.opener.engine.open(requests)
        at = next_try(rule, cause.nominal_at, cause.tries, scene.now)
        if at is not None and not cause.unseen:
            self.services.note_retries(
                (target.lineage, Retry(job, cause.nominal_at, cause.tries, at, request.missed or ""))
                for target, job, request in zip(targets, jobs, requests, strict=True)
            )

    def _open_aged(self, scene: "Scene", rule: Rule) -> None:
        """Open the backups without which a service's newest point would grow older than a rule's RPO."""
        records = {
            each.lineage.service: each
            for each in scene.records
            if (each.lineage.rule, each.lineage.kind) == (rule.name, rule.kind)
        }
        missed, due = scene.missed(rule), dict[DueRun, list[str]]()
        for service in (*scene.covered.services, *missed):
            known = records.get(service)
            run = due_by_age(rule, known.newest_at if known else None, scene.now)
            if run is not None:
                due.setdefault(run, []).append(service)
        busy = self._under_way(rule, records.values(), scene.now)
        for run, services in due.items():
            free = [service for service in services if service not in busy]
            there = {name: scene.covered.services[name] for name in free if name in scene.covered.services}
            if there:
                self._open(scene, rule, Covered(there), cause_of(run, rule))
            self._miss(
                scene, rule, {name: missed[name] for name in free if name in missed}, cause_of(run, rule)
            )

    def _under_way(self, rule: Rule, records: Iterable[LineageRecord], now: datetime) -> set[str]:
        """Return the services whose last backup still runs, however long, or ended only a short time ago."""
        by_job = {record.last_job: record.lineage.service for record in records if record.last_job}
        retry_after = max(TICK, (rule.rpo or timedelta()) / 4)
        jobs = self.opener.engine.jobs.ends(by_job)
        return {
            by_job[job]
            for job, (state, nominal_at) in jobs.items()
            if not state.final or now - nominal_at < retry_after
        }

    def _try_plan_again(self, stored: StoredPlan | None, records: Sequence[LineageRecord]) -> None:
        now = self.now()
        judged = [(each, _still_wanted(stored.plan, each, now) if stored else None) for each in records]
        self.services.forget_retries(each for each, rule in judged if rule is None)
        wanted = [(each, rule) for each, rule in judged if rule is not None]
        if stored is None or not wanted:
            return
        scene = self._scene(stored.plan, now)
        for record, rule in wanted:
            service, cause = record.lineage.service, cause_of_try(record, rule, now)
            if service in scene.covered.services:
                self._open(scene, rule, scene.covered.of(service), cause)
            else:
                self._miss(scene, rule, {service: scene.missed(rule).get(service, "it is gone")}, cause)


@dataclass(frozen=True, slots=True)
class Scene:
    """A plan at one moment: the ids of its rules, what it covers, and what is known of its lineages."""

    plan: Plan
    ids: Mapping[str, RuleId]
    covered: Covered
    records: Sequence[LineageRecord]
    now: datetime

    def missed(self, rule: Rule) -> dict[str, str]:
        """Say, for each service that a rule should back up and cannot, why not."""
        return missed_by(self.plan, rule, self.covered, self.records, self.now)


def _still_wanted(plan: Plan, record: LineageRecord, now: datetime) -> Rule | None:
    """Return the rule of a run that is to be tried again; None when it is of no use any more. Pure."""
    rule, retry = plan.rule(record.lineage.rule), record.retry
    if rule is None or rule.kind is not record.lineage.kind or rule.times is None:
        return None
    if retry is None or record.due_job != retry.job or retry.tries >= rule.attempts:
        return None
    following = rule.times.next_after(retry.nominal_at)
    return rule if following is None or now < following else None


def isolated(tasks: Iterable[tuple[str, Callable[[], None]]]) -> None:
    """Do something for each plan, by its name; one that fails stops no other.

    Raises:
        Exception: one could not be done now, and is to be done again.
    """
    log = logger()
    later: Exception | None = None
    for plan, task in tasks:
        try:
            task()
        except Exception as error:  # whatever it is, it must not stop the other plans
            log.exception("plan not served", extra={"plan": plan, "error": str(error)})
            count("PlanNotServed", plan=plan)
            later = later if isinstance(error, Permanent) else error
    if later is not None:
        raise later
