"""What becomes of an instance in its group: from `Pending` to `InService`, and from there to `Terminated`.

Each state lasts a step, or as long as EC2 or the hooks take. An abandoned launch is terminated like any other
instance, with the hooks of a termination. An instance that does not run any more is noticed by the health
check, and goes the same way.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-lifecycle.html and
ec2-auto-scaling-health-checks.html
"""

from collections.abc import Callable

from local_cloud.services.autoscaling.activities import Activity
from local_cloud.services.autoscaling.events import (
    ENDED,
    LAUNCHED,
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
        member.group.members.append(member)
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
        elif state == "terminated" and member.lifecycle_state == State.TERMINATING_PROCEED:
            self._end(member)
        elif state != "pending" and not member.is_ending:
            self.fail(member)

    def fail(self, member: Member) -> None:
        """Call an instance unhealthy, and have it replaced."""
        member.health_status = "Unhealthy"
        cause = UNHEALTHY.format(at=f"{self._world.now():%Y-%m-%dT%H:%M:%SZ}")

        def replace() -> None:
            if not member.group.is_suspended("ReplaceUnhealthy"):
                self.terminate(member, cause)

        self._world.later(self._world.quotas.health_check, replace, f"{member.instance_id} is replaced")

    def terminate(self, member: Member, cause: str) -> Activity:
        """Take an instance out of service and terminate it, after its hooks; return the activity."""
        if member.is_ending or not self.knows(member.instance_id):
            return member.activity
        self._waits.forget(member.instance_id)
        member.activity.end("Cancelled", self._world.now())
        member.activity = self._activity(member, cause)
        member.lifecycle_state = State.TERMINATING
        self._targets.deregister(member)
        self._world.soon(lambda: self._ask_to_go(member), f"{member.instance_id} terminates")
        self._on_change(member.group)
        return member.activity

    def terminate_at_once(self, member: Member) -> None:
        """Terminate an instance of a group that is deleted, whatever it waits for."""
        self._waits.forget(member.instance_id)
        self._targets.deregister(member)
        if not member.is_ending:
            member.activity = self._activity(member, "The Auto Scaling group was deleted.")
        member.lifecycle_state = State.TERMINATING_PROCEED
        self._shut_down(member)

    def clear(self) -> None:
        """Forget all instances."""
        self._members.clear()

    def _activity(self, member: Member, cause: str) -> Activity:
        group = member.group
        activity = Activity(
            group=group.name,
            group_arn=group.arn,
            description=f"Terminating EC2 instance: {member.instance_id}",
            cause=cause,
            started_at=self._world.now(),
            details=details_of(member),
        )
        group.activities.append(activity)
        return activity

    def _arrive(self, member: Member) -> None:
        """Let an instance that runs wait for the hooks of a launch, if there are any."""
        if member.lifecycle_state != State.PENDING:
            return
        if self._wait(member, LAUNCHING, lambda outcome: self._decide_launch(member, outcome)):
            member.lifecycle_state = State.PENDING_WAIT
        else:
            self._serve(member)

    def _decide_launch(self, member: Member, outcome: Outcome) -> None:
        if outcome.result == ABANDON:
            reason = f"Instance failed to complete user's Lifecycle Action: {outcome.reason}"
            now = self._world.now()
            member.activity.end("Cancelled", now, reason)
            self._world.tell(
                member.group.where, launch_failed(member.activity, arn_of(member), LAUNCHED, now)
            )
            self.terminate(member, f"At {now:%Y-%m-%dT%H:%M:%SZ} an instance was abandoned by a hook.")
            return
        member.lifecycle_state = State.PENDING_PROCEED
        self._world.soon(lambda: self._serve(member), f"{member.instance_id} enters service")

    def _serve(self, member: Member) -> None:
        """Put an instance in service."""
        if member.lifecycle_state not in (State.PENDING, State.PENDING_PROCEED):
            return
        member.lifecycle_state = State.IN_SERVICE
        member.activity.end("Successful", now := self._world.now())
        self._targets.register(member)
        self._world.tell(member.group.where, launch_succeeded(member.activity, arn_of(member), LAUNCHED, now))
        self._on_change(member.group)

    def _ask_to_go(self, member: Member) -> None:
        """Let an instance wait for the hooks of a termination, if there are any."""
        if member.lifecycle_state != State.TERMINATING:
            return
        if self._wait(member, TERMINATING, lambda _: self._proceed(member)):
            member.lifecycle_state = State.TERMINATING_WAIT
        else:
            self._proceed(member)

    def _wait(self, member: Member, transition: str, then: Callable[[Outcome], None]) -> bool:
        """Wait for the hooks of a transition, if there are any."""
        group = member.group
        if not (hooks := group.hooks_of(transition)):
            return False
        member.activity.status = "MidLifecycleAction"
        way = LAUNCHED if transition == LAUNCHING else ENDED
        with_arns = [(hook, group.arn) for hook in hooks]
        self._waits.begin(group.where, member.instance_id, with_arns, way, then)
        return True

    def _proceed(self, member: Member) -> None:
        member.lifecycle_state = State.TERMINATING_PROCEED
        self._world.soon(lambda: self._shut_down(member), f"{member.instance_id} shuts down")

    def _shut_down(self, member: Member) -> None:
        """Terminate the instance in EC2; it may be gone already."""
        if member.instance.state == "terminated":
            self._end(member)
        else:
            self._world.terminate(member.group.where, member.instance)

    def _end(self, member: Member) -> None:
        """Let a terminated instance be seen for one step more."""
        if member.lifecycle_state == State.TERMINATED:
            return
        member.lifecycle_state = State.TERMINATED
        member.activity.end("Successful", now := self._world.now())
        self._world.tell(
            member.group.where, termination_succeeded(member.activity, arn_of(member), ENDED, now)
        )
        self._world.soon(lambda: self._forget(member), f"{member.instance_id} is forgotten")

    def _forget(self, member: Member) -> None:
        self._members.pop(member.instance_id, None)
        if member in member.group.members:
            member.group.members.remove(member)


def arn_of(member: Member) -> str:
    """Return an instance's ARN."""
    where = member.group.where
    return f"arn:aws:ec2:{where.name}:{where.account}:instance/{member.instance_id}"


def details_of(member: Member) -> dict[str, str]:
    """Return where an instance is, as activities say it."""
    subnet = member.instance.subnet_id
    return {"Availability Zone": member.availability_zone} | ({"Subnet ID": subnet} if subnet else {})
