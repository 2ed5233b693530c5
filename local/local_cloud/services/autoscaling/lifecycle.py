"""What becomes of an instance in its group: from `Pending` to `InService`, and from there to `Terminated`.

Each state lasts a step, or as long as EC2 or the hooks take. An abandoned launch is terminated like any other
instance, with the hooks of a termination (AWS does not say; so whoever handles them must expect both). An
instance that does not run any more is noticed by the health check, and goes the same way: the hooks of its
termination begin when it is gone. In a warm pool the states are `Warmed:` ones, and an instance is ready
where it would be in service; it waits for the hooks of a launch there, and again when it leaves for the
group.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-lifecycle.html and
ec2-auto-scaling-health-checks.html, warm-pool-instance-lifecycle.html
"""

from collections.abc import Callable

from local_cloud.services.autoscaling.activities import Activity
from local_cloud.services.autoscaling.events import (
    Place,
    launch_failed,
    launch_succeeded,
    termination_succeeded,
)
from local_cloud.services.autoscaling.groups import Group, Member, State
from local_cloud.services.autoscaling.hooks import ABANDON, LAUNCHING, TERMINATING
from local_cloud.services.autoscaling.targets import Targets
from local_cloud.services.autoscaling.waits import Outcome, Waits
from local_cloud.services.autoscaling.world import World

UNHEALTHY = (
    "At {at} an instance was taken out of service in response to an EC2 health check that indicated it had "
    "been terminated or stopped."
)


class Lifecycle:
    """The instances of all groups."""

    def __init__(
        self, world: World, waits: Waits, targets: Targets, on_change: Callable[[Group], None]
    ) -> None:
        """Move instances on in `world`; `on_change` is told of groups that may have too few or too many."""
        self._world = world
        self._waits = waits
        self._targets = targets
        self._on_change = on_change
        self._members: dict[str, Member] = {}

    def knows(self, instance_id: str) -> bool:
        """Return whether an instance is, or was lately, in a group."""
        return instance_id in self._members

    def join(self, member: Member) -> None:
        """Take an instance into its group, as `Pending`; if it runs, it goes on from there by itself."""
        self._members[member.instance_id] = member
        (member.group.warm_members if member.is_warm else member.group.members).append(member)
        member.group.activities.append(member.activity)
        vars(member.instance)["autoscaling_group"] = member.group  # of which moto's activities tell
        if member.instance.state == "running":
            self._world.soon(lambda: self._arrive(member), f"{member.instance_id} goes on")

    def leave(self, member: Member) -> None:
        """Let go of an instance that is detached from its group."""
        self._waits.forget(member.instance_id)
        self._members.pop(member.instance_id, None)
        self._targets.deregister(member)

    def ec2_changed(self, instance_id: str, state: str) -> None:
        """Act on an instance's new state in EC2."""
        if not (member := self._members.get(instance_id)):
            return
        if state == "running":
            self._arrive(member)
        elif state in ("stopping", "stopped") and member.is_warm:
            self._rest(member, stopped=state == "stopped")
        elif state == "terminated" and member.state == State.TERMINATING_PROCEED:
            self._end(member)
        elif state != "pending" and not member.is_ending:
            self.fail(member)

    def take(self, member: Member) -> None:
        """Take an instance out of the warm pool, into the group."""
        group = member.group
        group.warm_members.remove(member)
        group.members.append(member)
        member.is_warm, member.origin, member.state = False, Place.WARM_POOL, State.PENDING
        member.activity = self._activity(member, "Launching a new EC2 instance from warm pool", "")
        if member.instance.state == "stopped":
            self._world.start(group.where, member.instance)
        else:
            self._world.soon(lambda: self._arrive(member), f"{member.instance_id} goes on")

    def fail(self, member: Member) -> None:
        """Call an instance unhealthy, and have it replaced."""
        member.health_status = "Unhealthy"
        cause = UNHEALTHY.format(at=f"{self._world.now():%Y-%m-%dT%H:%M:%SZ}")

        def replace() -> None:
            if not member.group.is_suspended("ReplaceUnhealthy"):
                self.terminate(member, cause)

        self._world.later(self._world.quotas.health_check, replace, f"{member.instance_id} is replaced")

    def terminate(self, member: Member, cause: str, *, returns: bool = False) -> Activity:
        """Take an instance out of service, after its hooks, and terminate it; return the activity.

        One that `returns` goes to the warm pool instead.
        """
        if member.is_ending or not self.knows(member.instance_id):
            return member.activity
        self._waits.forget(member.instance_id)
        member.activity.end("Cancelled", self._world.now())
        member.activity = self._activity(member, "Terminating EC2 instance", cause)
        member.state, member.returns = State.TERMINATING, returns
        self._targets.deregister(member)
        self._world.soon(lambda: self._ask_to_go(member), f"{member.instance_id} terminates")
        self._on_change(member.group)
        return member.activity

    def terminate_at_once(self, member: Member) -> None:
        """Terminate an instance of a group that is deleted, whatever it waits for."""
        self._waits.forget(member.instance_id)
        self._targets.deregister(member)
        if not member.is_ending:
            cause = "The Auto Scaling group was deleted."
            member.activity = self._activity(member, "Terminating EC2 instance", cause)
        member.returns = False
        member.state = State.TERMINATING_PROCEED
        self._shut_down(member)

    def clear(self) -> None:
        """Forget all instances."""
        self._members.clear()

    def _activity(self, member: Member, what: str, cause: str) -> Activity:
        group = member.group
        activity = Activity(
            group=group.name,
            group_arn=group.arn,
            description=f"{what}: {member.instance_id}",
            cause=cause,
            started_at=self._world.now(),
            details=details_of(member),
        )
        group.activities.append(activity)
        return activity

    def _arrive(self, member: Member) -> None:
        """Let an instance that runs wait for the hooks of a launch, if there are any."""
        if member.state != State.PENDING:
            return
        if self._wait(member, LAUNCHING, lambda outcome: self._decide_launch(member, outcome)):
            member.state = State.PENDING_WAIT
        else:
            self._serve(member)

    def _decide_launch(self, member: Member, outcome: Outcome) -> None:
        if outcome.result == ABANDON:
            reason = f"Instance failed to complete user's Lifecycle Action: {outcome.reason}"
            now = self._world.now()
            member.activity.end("Cancelled", now, reason)
            self._world.tell(
                member.group.where, launch_failed(member.activity, arn_of(member), member.way_in, now)
            )
            self.terminate(member, f"At {now:%Y-%m-%dT%H:%M:%SZ} an instance was abandoned by a hook.")
            return
        member.state = State.PENDING_PROCEED
        self._world.soon(lambda: self._serve(member), f"{member.instance_id} enters service")

    def _serve(self, member: Member) -> None:
        """Put an instance in service."""
        if member.state not in (State.PENDING, State.PENDING_PROCEED):
            return
        if member.is_warm:
            self._warm(member)
            return
        member.state, member.in_service_at = State.IN_SERVICE, self._world.now()
        self._targets.register(member)
        self._tell_success(member)

    def _warm(self, member: Member) -> None:
        """Let an instance be ready in the warm pool, once it has stopped if it is to be."""
        pool = member.group.warm_pool
        if pool and pool.pool_state == "Running":
            member.state = State.RUNNING
            self._tell_success(member)
            return
        member.state = State.PENDING_PROCEED
        self._world.stop(member.group.where, member.instance)

    def _rest(self, member: Member, *, stopped: bool) -> None:
        """Take note that an instance of the warm pool stops: it was told to, or it fails."""
        if member.state == State.PENDING_PROCEED and stopped:
            pool = member.group.warm_pool
            is_hibernated = pool and pool.pool_state == "Hibernated"
            member.state = State.HIBERNATED if is_hibernated else State.STOPPED
            self._tell_success(member)
        elif member.state in (State.PENDING, State.PENDING_WAIT, State.RUNNING):
            self.fail(member)

    def _tell_success(self, member: Member) -> None:
        """Tell that an instance is where it was to go."""
        member.activity.end("Successful", now := self._world.now())
        event = launch_succeeded(member.activity, arn_of(member), member.way_in, now)
        self._world.tell(member.group.where, event)
        self._on_change(member.group)

    def _ask_to_go(self, member: Member) -> None:
        """Let an instance wait for the hooks of a termination, if there are any."""
        if member.state != State.TERMINATING:
            return
        if self._wait(member, TERMINATING, lambda _: self._proceed(member)):
            member.state = State.TERMINATING_WAIT
        else:
            self._proceed(member)

    def _wait(self, member: Member, transition: str, then: Callable[[Outcome], None]) -> bool:
        """Wait for the hooks of a transition, if there are any."""
        group = member.group
        if not (hooks := group.hooks_of(transition)):
            return False
        member.activity.status = "MidLifecycleAction"
        way = member.way_in if transition == LAUNCHING else member.way_out
        with_arns = [(hook, group.arn) for hook in hooks]
        self._waits.begin(group.where, member.instance_id, with_arns, way, then)
        return True

    def _proceed(self, member: Member) -> None:
        member.state = State.TERMINATING_PROCEED
        self._world.soon(lambda: self._shut_down(member), f"{member.instance_id} shuts down")

    def _shut_down(self, member: Member) -> None:
        """Terminate the instance in EC2, where it may be gone already, or return it to the warm pool."""
        if member.returns and member.instance.state == "running" and member.group.warm_pool:
            self._return(member)
        elif member.instance.state == "terminated":
            self._end(member)
        else:
            self._world.terminate(member.group.where, member.instance)

    def _return(self, member: Member) -> None:
        """Let an instance enter the warm pool, through the hooks of a launch."""
        member.activity.end("Successful", self._world.now())
        member.group.members.remove(member)
        member.group.warm_members.append(member)
        member.returns, member.is_warm, member.origin = False, True, Place.GROUP
        member.state = State.PENDING
        member.activity = self._activity(member, "Returning EC2 instance to warm pool", "")
        self._arrive(member)

    def _end(self, member: Member) -> None:
        """Let a terminated instance be seen for one step more."""
        if member.state == State.TERMINATED:
            return
        member.state = State.TERMINATED
        member.activity.end("Successful", now := self._world.now())
        self._world.tell(
            member.group.where, termination_succeeded(member.activity, arn_of(member), member.way_out, now)
        )
        self._world.soon(lambda: self._forget(member), f"{member.instance_id} is forgotten")

    def _forget(self, member: Member) -> None:
        self._members.pop(member.instance_id, None)
        for holder in (member.group.members, member.group.warm_members):
            if member in holder:
                holder.remove(member)
        self._on_change(member.group)


def arn_of(member: Member) -> str:
    """Return an instance's ARN."""
    where = member.group.where
    return f"arn:aws:ec2:{where.name}:{where.account}:instance/{member.instance_id}"


def details_of(member: Member) -> dict[str, str]:
    """Return where an instance is, as activities say it."""
    subnet = member.instance.subnet_id
    return {"Availability Zone": member.availability_zone} | ({"Subnet ID": subnet} if subnet else {})
