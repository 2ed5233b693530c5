"""The tick's part for backups: looks up what each plan covers, and opens what `tick_plan` returns.

Invariant: jobs are opened before the schedule is recorded as run, under ids made from the nominal time; so a
tick that dies, is repeated or is late loses no run and opens none twice. A plan that fails stops no other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from chalicelib.aws.ec2 import Ec2
from chalicelib.backup.due_backups import Covered, next_look
from chalicelib.backup.opener import BackupOpener
from chalicelib.backup.tick_plan import PlanAtTick, PlannedRun, is_due, plan_tick, rule_to_try
from chalicelib.catalog.store import PlanStore, StoredPlan
from chalicelib.catalog.store.notices import NoticeStore, begun, trouble_of
from chalicelib.catalog.store.services import LineageRecord, Retry, ServiceStore
from chalicelib.errors import FarshoreError, Permanent
from chalicelib.jobs.tick import DueWork, isolated
from chalicelib.jobs.work import missed_request
from chalicelib.observability import LATE_RUN, PLAN_SELECTS_NOTHING, count, logger
from chalicelib.plans.due import next_try
from chalicelib.plans.model import Plan

LONGEST_WHY = 500


@dataclass(frozen=True, slots=True)
class BackupTick:
    """Opens the backups that are due. `ec2` is the home region's, `now` the clock."""

    opener: BackupOpener
    plans: PlanStore
    services: ServiceStore
    notices: NoticeStore
    ec2: Ec2
    now: Callable[[], datetime]

    def run(self, due: DueWork) -> None:
        """Open the due backups of the plans that are due, and the retries that are due.

        Raises:
            Exception: a plan could not be processed now; the others were, and the tick is to be run again.
        """
        tries: dict[str, list[LineageRecord]] = {}
        for record in due.retries:
            tries.setdefault(record.lineage.plan, []).append(record)
        woken = frozenset(due.plans)
        tasks = (
            (name, partial(self._run_plan, due.stored.get(name), tries.get(name, []), name in woken))
            for name in dict.fromkeys((*due.plans, *tries))
        )
        isolated(tasks, "plan")

    def _run_plan(self, stored: StoredPlan | None, tries: Sequence[LineageRecord], is_woken: bool) -> None:
        now, wanted, unwanted = self.now(), list[LineageRecord](), list[LineageRecord]()
        for each in tries:
            is_wanted = stored is not None and rule_to_try(stored.plan, each, now) is not None
            (wanted if is_wanted else unwanted).append(each)
        self.services.forget_retries(unwanted)
        if stored is None:
            return
        if wanted or (is_woken and is_due(stored, now)):
            self._open_due(stored, wanted, now)
        # A plan that is not swept is about to be, and the next tick sees whether it was.
        if is_woken and stored.is_swept(now):
            self.plans.sleep(stored, next_look(stored.plan, now))

    def _open_due(self, stored: StoredPlan, tries: Sequence[LineageRecord], now: datetime) -> None:
        plan, unseen = stored.plan, None
        try:
            covered = self.opener.covered(plan, self.ec2, now)
        except FarshoreError as error:
            covered, unseen = Covered({}, unseen=str(error)[:LONGEST_WHY]), error
        view = self._view(stored, covered, now, refused=isinstance(unseen, Permanent))
        for run in plan_tick(view, tries):
            self._open(plan, run)
            self._record_missed(run, now)
            if run.is_run:
                self.plans.mark_run(plan.name, run.rule.name, run.cause.nominal_at)
        if unseen is not None:
            raise unseen

    def _view(self, stored: StoredPlan, covered: Covered, now: datetime, *, refused: bool) -> PlanAtTick:
        plan, records = stored.plan, tuple(self.services.lineages(stored.plan.name))
        if covered.services:
            self.services.forget_unseen(records, now)
        elif not covered.unseen:
            logger().warning("the plan selects no instance", extra={"plan": plan.name})
            count(PLAN_SELECTS_NOTHING, plan=plan.name)
        by_age = {(rule.name, rule.kind) for rule in plan.rules if rule.rpo is not None}
        aged = [each.last_job for each in records if (each.lineage.rule, each.lineage.kind) in by_age]
        last_jobs = self.opener.engine.jobs.ends(job for job in aged if job)
        ids = self.opener.rule_ids(plan)
        return PlanAtTick(stored, ids, covered, records, self.opener.deployment, now, last_jobs, refused)

    def _open(self, plan: Plan, run: PlannedRun) -> None:
        if not run.targets:
            return
        jobs = self.opener.open(run.targets, run.cause)
        facts = {"plan": plan.name, "rule": run.rule.name, "jobs": len(jobs), "late": run.cause.late}
        logger().info("opened backups", extra=facts)
        if run.cause.late:
            count(LATE_RUN, plan=plan.name, rule=run.rule.name)

    def _record_missed(self, run: PlannedRun, now: datetime) -> None:
        """Open a job, already over, for each missed backup, and have it tried again like one that failed."""
        if not run.missed:
            return
        requests = [missed_request(target, run.cause, why) for target, why in run.missed]
        jobs = self.opener.engine.open(requests)
        self.notices.note(
            begun(trouble_of(target.lineage), why, now, job)
            for (target, why), job in zip(run.missed, jobs, strict=True)
        )
        at = next_try(run.rule, run.cause.nominal_at, run.cause.tries, now)
        if at is not None and not run.cause.unseen:
            self.services.note_retries(
                (target.lineage, Retry(job, run.cause.nominal_at, run.cause.tries, at, request.missed or ""))
                for (target, _), job, request in zip(run.missed, jobs, requests, strict=True)
            )
