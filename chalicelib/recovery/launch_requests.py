"""Opens launch jobs: for the instances that events tell of, and at every tick for those whose event was lost.

Invariant: an instance is launched once for a plan, under an id made of both; what was launched is never
restored onto again by an event, whatever it is stopped, started or moved to.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from chalicelib.aws.autoscaling import LAUNCHING, AutoScaling
from chalicelib.aws.ec2 import Ec2, Instance
from chalicelib.aws.events import InstanceEvent
from chalicelib.catalog.recovery_point import TAG_JOB, Artefact, RecoveryPoint, SnapshotSet
from chalicelib.catalog.store import PlanStore, StoredPlan
from chalicelib.catalog.store.launching import LaunchingStore
from chalicelib.catalog.store.rules import RuleStore, id_of
from chalicelib.jobs.engine import Engine
from chalicelib.jobs.job import AnyJob, AnyRequest, JobState
from chalicelib.jobs.lifecycle_wait import HookRef
from chalicelib.jobs.tick import DueWork
from chalicelib.jobs.work import (
    AttachedRestoreWork,
    LaunchWork,
    attached_restore_request,
    launch_id,
    launch_request,
    service_restore_request,
)
from chalicelib.plans.model import Plan, Rule, service_of
from chalicelib.plans.selection import ec2_filters, matches
from chalicelib.recovery.launch_progress import LaunchJob
from chalicelib.recovery.start_progress import StartJob

# An instance is listed within seconds; an event about one that is not is delivered again for so long.
LISTED_WITHIN = timedelta(minutes=2)
# A start this long after the instance was made is no launch: it was stopped meanwhile.
FIRST_START_WITHIN = timedelta(minutes=10)
# The tick looks for launches whose event was lost among the instances that began within this.
LOST_WITHIN = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class LaunchRequests:
    """Opens launch jobs. `ec2` is the home region's."""

    engine: Engine
    plans: PlanStore
    rules: RuleStore
    launching: LaunchingStore
    ec2: Ec2
    autoscaling: AutoScaling
    deployment: str
    now: Callable[[], datetime]

    def notice(self, events: Mapping[str, InstanceEvent]) -> set[str]:
        """Open the launches that events, by the message they came in, tell of.

        Returns: the messages about instances that EC2 does not list yet: they are to be delivered again.
        """
        told = {message: event for message, event in events.items() if event.kind in ("launch", "running")}
        plans = self._plans() if told else []
        if not plans:
            return set()
        found = self._instances(event.instance_id for event in told.values())
        unlisted = {message for message, event in told.items() if event.instance_id not in found}
        orders = [
            order
            for message, event in told.items()
            if message not in unlisted
            for stored in plans
            if (order := ordered(stored, found[event.instance_id], event)) is not None
        ]
        self._open(orders)
        oldest = self.now() - LISTED_WITHIN
        return {
            message for message in unlisted if told[message].kind == "launch" and told[message].at > oldest
        }

    def start(self, job: StartJob) -> None:
        """Open the launches of the instances that a job has started; those that are open stay as they are."""
        work, now = job.work, self.now()
        requests = []
        for instance in job.progress.made:
            launch = LaunchWork(
                instance_id=instance,
                on_launch=work.on_launch,
                began_at=job.nominal_at,
                rule=work.rule,
                identity=work.identity,
                recovery_point=work.recovery_point,
                vault=work.vault,
            )
            requests.append(launch_request(job.plan, job.service, launch, self.deployment))
        known = self.engine.jobs.states(request.id for request in requests)
        new = [request for request in requests if request.id not in known]
        for request in new:
            self.launching.note(job.plan, request.work.instance_id, request.id, now)
        self.engine.open(new)

    def run(self, due: DueWork) -> None:
        """Open the launches whose event was lost."""
        waiting = [each for each in due.group_instances() if each.waits_for(LAUNCHING)]
        if not waiting and due.hooks_only:
            return
        plans = [stored for stored in due.watching() if stored.plan.on_launch]
        found = self._instances(each.id for each in waiting)
        orders = []
        for each in waiting:
            instance = found.get(each.id)
            hooks = {hook.name for hook in self.autoscaling.hooks(each.group) if hook.transition == LAUNCHING}
            for stored in plans if instance else ():
                hook = stored.plan.on_launch.hook if stored.plan.on_launch else None
                if hook in hooks and instance is not None:
                    warm = each.state.startswith("Warmed")
                    at = instance.launched_at or self.now()
                    event = InstanceEvent("launch", each.id, at, each.group, hook or "", to_warm_pool=warm)
                    orders.append(ordered(stored, instance, event))
        for stored in plans:
            if stored.plan.on_launch and not stored.plan.on_launch.hook:
                orders += self._recent(stored)
        self._open([order for order in orders if order is not None])

    def _recent(self, stored: StoredPlan) -> Iterator["LaunchOrder | None"]:
        """Yield the launches of instances that a plan without a hook selects and that were just made."""
        for instance in self.ec2.instances(ec2_filters(stored.plan.selection)):
            at = instance.created_at
            if instance.state == "running" and at is not None and at > self.now() - LOST_WITHIN:
                event = InstanceEvent("running", instance.id, instance.launched_at or at)
                yield ordered(stored, instance, event)

    def _plans(self) -> list[StoredPlan]:
        return [stored for stored in self.plans.all() if stored.plan.on_launch]

    def _instances(self, ids: Iterable[str]) -> dict[str, Instance]:
        return {each.id: each for each in self.ec2.instances_by_id(set(ids))}

    def _open(self, orders: Sequence["LaunchOrder"]) -> None:
        """Open the launch of each order, and a job of its own for one that waits once more."""
        named = {launch_id(self.deployment, each.plan.name, each.work.instance_id): each for each in orders}
        known = self.engine.jobs.get_many({*named, *(each.started_by for each in orders if each.started_by)})
        by_id = {id: each for id, each in named.items() if not _is_started(each, known)}
        requests = []
        for id, order in by_id.items():
            work, again = order.work, ""
            if id in known or work.as_it_is:
                again = _again(order, known.get(id))
                if not again:
                    continue
                work = replace(work, as_it_is=work.as_it_is or f"{id} has launched it before")
            else:
                work = replace(
                    work, beside=tuple(other for other in by_id if _shares_wait(by_id[other], order))
                )
                self.rules.put(order.plan.rules)
                self.launching.note(order.plan.name, work.instance_id, id, self.now())
            requests.append(launch_request(order.plan.name, order.service, work, self.deployment, again))
        self.engine.open(requests)


@dataclass(frozen=True, slots=True)
class LaunchOrder:
    """A launch that an event asks for: of which plan and service, and what is to be done; `token` is that of
    the wait at a hook, `started_by` the job that says it has started the instance."""

    plan: Plan
    service: str
    work: LaunchWork
    token: str = ""
    started_by: str = ""


def ordered(stored: StoredPlan, instance: Instance, event: InstanceEvent) -> LaunchOrder | None:
    """Return the launch that an event about an instance asks for, None when it asks for none. Pure."""
    plan, on_launch = stored.plan, stored.plan.on_launch
    if on_launch is None or not matches(plan.selection, instance.tags):
        return None
    service = service_of(plan, instance.tags)
    if service is None or (event.hook or None) != on_launch.hook:
        return None
    if event.kind == "running" and not _is_first_start(stored, instance, event):
        return None
    rule = plan.rule(on_launch.restore or on_launch.backup or "")
    hook = HookRef(event.group, event.hook, LAUNCHING, event.at) if event.hook else None
    work = LaunchWork(
        instance_id=instance.id,
        on_launch=on_launch,
        began_at=event.at,
        rule=id_of(rule) if rule else None,
        hook=hook,
        as_it_is="it enters a warm pool, and is served when it leaves it" if event.to_warm_pool else "",
        identity=plan.identity,
        awaits_terminations=bool(hook and _is_saved(plan, on_launch.restore)),
    )
    return LaunchOrder(plan, service, work, event.token, instance.tags.get(TAG_JOB, ""))


def _is_saved(plan: Plan, rule: str | None) -> bool:
    """Return whether instances are kept at a hook until this rule has backed them up."""
    on_terminate = plan.on_terminate
    return on_terminate is not None and on_terminate.hook is not None and rule in on_terminate.backup


def _is_first_start(stored: StoredPlan, instance: Instance, event: InstanceEvent) -> bool:
    """Return whether an instance that runs was made just now: one that was stopped has its data."""
    if stored.launches_since is None or event.at < stored.launches_since:
        return False
    return instance.created_at is None or event.at < instance.created_at + FIRST_START_WITHIN


def _is_started(order: LaunchOrder, known: Mapping[str, AnyJob]) -> bool:
    """Return whether a job of this plan has started the instance: that job opens its launch."""
    job = known.get(order.started_by)
    return job is not None and job.method == "start" and job.plan == order.plan.name


def _shares_wait(other: LaunchOrder, order: LaunchOrder) -> bool:
    """Return whether a launch of another plan works on the same instance at the same hook."""
    wait = order.work.instance_id, order.work.hook
    return (
        order.work.hook is not None
        and other is not order
        and wait == (other.work.instance_id, other.work.hook)
    )


def _again(order: LaunchOrder, known: AnyJob | None) -> str:
    """Return what tells apart the job that lets an instance go on as it is; "" when its launch is under way,
    or the event is an old one of a launch that is over."""
    work = order.work
    if work.hook is None:
        return ""
    is_over = known is None or known.state is JobState.COMPLETED
    if not work.as_it_is and not (is_over and known and work.began_at > known.updated_at):
        return ""
    return order.token or f"since {work.began_at:%Y-%m-%dT%H:%M}"


def restore_request(
    job: LaunchJob, point: RecoveryPoint, artefact: Artefact, rule: Rule, staging_vaults: Sequence[str]
) -> AnyRequest:
    """Return the child job that restores a point onto the instance of a launch."""
    instance = job.work.instance_id
    if isinstance(artefact.content, SnapshotSet):
        onto = AttachedRestoreWork(point.id, artefact.vault, artefact.content.region, instance, id_of(rule))
        return attached_restore_request(point, onto, job.id, job.nominal_at)
    onto_rule = (instance, id_of(rule))
    return service_restore_request(point, artefact, onto_rule, staging_vaults, job.id, job.nominal_at)
