"""Decides what a tick opens for one plan: due runs, retries of failed ones, records of missed ones. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from chalicelib.backup.due_backups import (
    Covered,
    Deployment,
    cause_of,
    cause_of_try,
    due_by_age,
    due_by_schedule,
    missed_by,
    targets_of,
)
from chalicelib.catalog.store import StoredPlan
from chalicelib.catalog.store.rules import RuleId
from chalicelib.catalog.store.services import LineageRecord
from chalicelib.jobs.job import JobState
from chalicelib.jobs.work import Cause, Target
from chalicelib.plans.due import TICK, DueRun
from chalicelib.plans.model import Plan, Rule


@dataclass(frozen=True, slots=True)
class PlanAtTick:
    """A plan at one moment: the ids of its rules, what it covers, and what is known of its lineages.

    `last_jobs` has, by id, the state and the nominal time of the lineages' last backups. Where EC2 does not
    say what the plan covers, `refused` says that the request was denied and did not merely fail.
    """

    stored: StoredPlan
    rule_ids: Mapping[str, RuleId]
    covered: Covered
    records: Sequence[LineageRecord]
    deployment: Deployment
    now: datetime
    last_jobs: Mapping[str, tuple[JobState, datetime]] = field(default_factory=dict)
    refused: bool = False

    @property
    def plan(self) -> Plan:
        """The plan as it is stored."""
        return self.stored.plan

    def of_rule(self, rule: Rule) -> dict[str, LineageRecord]:
        """Return the records of a rule's lineages, by service."""
        ours = (rule.name, rule.kind)
        return {r.lineage.service: r for r in self.records if (r.lineage.rule, r.lineage.kind) == ours}

    def missed(self, rule: Rule) -> dict[str, str]:
        """Return why each service that a rule should back up, and cannot, is missed."""
        return missed_by(self.plan, rule, self.covered, self.records, self.now)


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run of a rule: the backups to open, and those to record as missed, each with the reason.

    After that, a scheduled rule `is_run` up to the nominal time of the cause.
    """

    rule: Rule
    cause: Cause
    targets: tuple[Target, ...] = ()
    missed: tuple[tuple[Target, str], ...] = ()
    is_run: bool = False


def is_due(stored: StoredPlan, now: datetime) -> bool:
    """Return whether EC2 must be asked what a plan covers: a run is due, or may be by its RPO."""
    by_age = any(rule.rpo is not None for rule in stored.plan.rules)
    return by_age or any(_due_runs(stored, now))


def plan_tick(view: PlanAtTick, retries: Iterable[LineageRecord]) -> tuple[PlannedRun, ...]:
    """Return the runs to open for a plan now, in order; `retries` are lineages whose retry is due."""
    if view.covered.unseen:
        return tuple(_unseen_runs(view))
    return (*_scheduled_runs(view), *_aged_runs(view), *_tries(view, retries))


def rule_to_try(plan: Plan, record: LineageRecord, now: datetime) -> Rule | None:
    """Return the rule of a run that is to be tried again; None when that is no longer needed."""
    rule, retry = plan.rule(record.lineage.rule), record.retry
    if rule is None or rule.kind is not record.lineage.kind or rule.times is None:
        return None
    if retry is None or record.due_job != retry.job or retry.tries >= rule.attempts:
        return None
    following = rule.times.next_after(retry.nominal_at)
    return rule if following is None or now < following else None


def _due_runs(stored: StoredPlan, now: datetime) -> Iterator[tuple[Rule, DueRun]]:
    for rule in stored.plan.rules:
        run = due_by_schedule(rule, stored.ran_until.get(rule.name, now), now)
        if run is not None:
            yield rule, run


def _scheduled_runs(view: PlanAtTick) -> Iterator[PlannedRun]:
    for rule, run in _due_runs(view.stored, view.now):
        made = _run(view, rule, view.covered, cause_of(run, rule), view.missed(rule))
        yield replace(made, is_run=True)


def _unseen_runs(view: PlanAtTick) -> Iterator[PlannedRun]:
    """Yield the runs that are recorded as missed while EC2 does not say what the plan covers.

    They do not count as run: when EC2 answers, one late run follows.
    """
    for rule, run in _due_runs(view.stored, view.now):
        if run.late or view.refused:
            cause = replace(cause_of(run, rule), unseen=True)
            yield _run(view, rule, Covered({}), cause, view.missed(rule))


def _aged_runs(view: PlanAtTick) -> Iterator[PlannedRun]:
    """Yield the runs without which a service's newest point would become older than a rule's RPO."""
    for rule in view.plan.rules:
        if rule.rpo is None:
            continue
        records, missed = view.of_rule(rule), view.missed(rule)
        due: dict[DueRun, list[str]] = {}
        for service in (*view.covered.services, *missed):
            known = records.get(service)
            run = due_by_age(rule, known.newest_at if known else None, view.now)
            if run is not None and not (known and _is_busy(view, rule, known)):
                due.setdefault(run, []).append(service)
        for run, services in due.items():
            there = {name: view.covered.services[name] for name in services if name in view.covered.services}
            gone = {name: missed[name] for name in services if name in missed}
            yield _run(view, rule, Covered(there), cause_of(run, rule), gone)


def _is_busy(view: PlanAtTick, rule: Rule, record: LineageRecord) -> bool:
    """Return whether a lineage's last backup still runs, however long, or ended only a short time ago."""
    if record.last_job is None or record.last_job not in view.last_jobs:
        return False
    state, nominal_at = view.last_jobs[record.last_job]
    return not state.final or view.now - nominal_at < max(TICK, (rule.rpo or timedelta()) / 4)


def _tries(view: PlanAtTick, retries: Iterable[LineageRecord]) -> Iterator[PlannedRun]:
    missed: dict[str, Mapping[str, str]] = {}  # by rule: it is looked up in all that is known of the plan
    for record in retries:
        rule, service = rule_to_try(view.plan, record, view.now), record.lineage.service
        if rule is None:
            continue
        cause = cause_of_try(record, rule, view.now)
        if service in view.covered.services:
            yield _run(view, rule, view.covered.of(service), cause, {})
        else:
            if rule.name not in missed:
                missed[rule.name] = view.missed(rule)
            why = missed[rule.name].get(service, "it is gone")
            yield _run(view, rule, Covered({}), cause, {service: why})


def _run(
    view: PlanAtTick, rule: Rule, covered: Covered, cause: Cause, missed: Mapping[str, str]
) -> PlannedRun:
    rule_id, without = view.rule_ids[rule.name], Covered(dict.fromkeys(missed, ()))
    return PlannedRun(
        rule,
        cause,
        targets_of(view.plan, rule, rule_id, covered, view.deployment),
        tuple(
            (target, missed[target.lineage.service])
            for target in targets_of(view.plan, rule, rule_id, without, view.deployment)
        ),
    )
