"""Opens the jobs that back up an instance before it goes: for events, and at every tick for lost ones.

Invariant: what a launch has not finished with is not backed up: its data is older, or half there.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from chalicelib.aws.autoscaling import TERMINATING, AutoScaling
from chalicelib.aws.ec2 import Ec2, Instance
from chalicelib.aws.events import InstanceEvent
from chalicelib.backup.due_backups import Covered, targets_of
from chalicelib.backup.opener import BackupOpener
from chalicelib.backup.terminations import TerminationJob
from chalicelib.catalog.recovery_point import Origin
from chalicelib.catalog.store import PlanStore, StoredPlan
from chalicelib.jobs.job import AnyJob, AnyRequest, JobState
from chalicelib.jobs.lifecycle_wait import ABANDON, HookRef
from chalicelib.jobs.tick import DueWork
from chalicelib.jobs.work import (
    AT_HOOK,
    Cause,
    TerminationWork,
    Terms,
    launch_id,
    termination_id,
    termination_request,
)
from chalicelib.plans.launches import OnTerminate
from chalicelib.plans.model import Kind, Plan, service_of
from chalicelib.plans.selection import matches

_WHY = {
    "terminate": "its group terminates it",
    "spot": "EC2 takes the spot instance back in two minutes",
    "rebalance": "EC2 is likely to take the spot instance back",
    "stopping": "it is being stopped",
}
# No script runs on an instance that already goes; a snapshot of its volumes can still be begun.
ONLY_SNAPSHOTS = frozenset({"stopping"})
# A warning and the stop that follows it ask for one backup.
SAME_END = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class TerminationRequests:
    """Opens the last backups of instances. `ec2` is the home region's."""

    plans: PlanStore
    opener: BackupOpener
    ec2: Ec2
    autoscaling: AutoScaling
    now: Callable[[], datetime]

    def notice(self, events: Mapping[str, InstanceEvent]) -> set[str]:
        """Open the jobs that events, by the message they came in, ask for. Returns: no message."""
        told = [event for event in events.values() if event.kind in _WHY]
        plans = self._plans() if told else []
        if plans:
            self._open(plans, told)
        return set()

    def run(self, due: DueWork) -> None:
        """Open the jobs of instances that wait at a hook and whose event was lost."""
        lost = [
            InstanceEvent("terminate", each.id, self.now(), each.group, hook.name)
            for each in due.group_instances()
            if each.waits_for(TERMINATING)
            for hook in self.autoscaling.hooks(each.group)
            if hook.transition == TERMINATING
        ]
        if lost:
            self._open([stored for stored in due.watching() if stored.plan.on_terminate], lost)

    def _plans(self) -> list[StoredPlan]:
        return [stored for stored in self.plans.all() if stored.plan.on_terminate]

    def _open(self, plans: Iterable[StoredPlan], events: list[InstanceEvent]) -> None:
        found = {each.id: each for each in self.ec2.instances_by_id({each.instance_id for each in events})}
        plans = tuple(plans)
        requests = [
            request
            for event in events
            if event.instance_id in found
            for request in self._requests(plans, found[event.instance_id], event)
        ]
        if requests:
            self.opener.engine.open(requests)

    def _requests(
        self, plans: Iterable[StoredPlan], instance: Instance, event: InstanceEvent
    ) -> Iterator[AnyRequest]:
        """Yield the jobs that one event asks for: one for each plan, which know of each other."""
        deployment = self.opener.deployment.deployment
        key = AT_HOOK if event.hook else _window(event.at)
        orders = [
            (each.plan, order) for each in plans if (order := self._ordered(each.plan, instance, event))
        ]
        ids = {plan.name: termination_id(deployment, plan.name, instance.id, key) for plan, _ in orders}
        for plan, (service, work) in orders:
            beside = tuple(id for name, id in ids.items() if name != plan.name and work.hook)
            yield termination_request(plan, service, replace(work, beside=beside), deployment, key)

    def _ordered(
        self, plan: Plan, instance: Instance, event: InstanceEvent
    ) -> tuple[str, TerminationWork] | None:
        """Return the service, and what is to be backed up of an instance that goes; None: nothing is."""
        work = ordered(plan, instance, event)
        service = service_of(plan, instance.tags)
        if work is None or service is None:
            return None
        if not self._has_data(plan, instance.id):
            why = f"{work.why}, before its launch has brought it the data of {service}"
            return (service, replace(work, rules=(), why=why)) if work.hook else None
        return service, work

    def _has_data(self, plan: Plan, instance_id: str) -> bool:
        """Return whether what lies on an instance is the service's: a launch that is under way, or that had
        it abandoned, has not brought it back."""
        launch = self.opener.engine.jobs.get(
            launch_id(self.opener.deployment.deployment, plan.name, instance_id)
        )
        return launch is None or _brought_data(launch)

    def open_backups(self, job: TerminationJob) -> tuple[str, ...]:
        """Open the last backups of an instance; asked again it gives the same jobs."""
        plan = self.plans.require(job.plan).plan
        ids = self.opener.rule_ids(plan)
        wanted = (job.work.instance_id,)
        there = self.opener.covered(plan, self.ec2, self.now(), wanted).limited_to(wanted)
        covered = there.of(job.service) if job.service in there.services else Covered({})
        terms = Terms(Origin.TERMINATION, note=f"{job.work.instance_id} goes: {job.work.why}")
        cause = Cause(job.nominal_at, f"{job.work.instance_id} goes: {job.work.why}", key=job.id, terms=terms)
        targets = [
            target
            for rule in plan.rules
            if rule.name in job.work.rules
            for target in targets_of(plan, rule, ids[rule.name], covered, self.opener.deployment)
        ]
        return self.opener.open(targets, cause)


def ordered(plan: Plan, instance: Instance, event: InstanceEvent) -> TerminationWork | None:
    """Return what an event asks to be backed up of an instance, None when nothing is. Pure."""
    on_terminate = plan.on_terminate
    if on_terminate is None or not matches(plan.selection, instance.tags):
        return None
    if event.kind == "terminate":
        if event.hook != on_terminate.hook:
            return None
    elif on_terminate.hook and event.kind not in ("spot", "rebalance"):
        return None  # its group's hook comes, or has been
    rules = _rules(plan, on_terminate, event.kind)
    if not rules:
        return None
    hook = HookRef(event.group, event.hook, TERMINATING, event.at) if event.hook else None
    return TerminationWork(instance.id, on_terminate, rules, _WHY[event.kind], event.at, hook)


def _rules(plan: Plan, on_terminate: OnTerminate, kind: str) -> tuple[str, ...]:
    named = [rule for rule in plan.rules if rule.name in on_terminate.backup]
    if kind in ONLY_SNAPSHOTS:
        named = [rule for rule in named if rule.kind is Kind.SNAPSHOT]
    return tuple(rule.name for rule in named)


def _brought_data(launch: AnyJob) -> bool:
    if launch.state is JobState.COMPLETED or (launch.failure is None and launch.progress.outcome):
        return True
    return launch.state.final and launch.progress.told != ABANDON


def _window(at: datetime) -> str:
    """Return the quarter of an hour that a moment is in."""
    return str(int(at.timestamp() // SAME_END.total_seconds()))
