"""Capacity: a group has as many instances as it is to have, or soon will.

After anything that may change that, the group is looked at: what is missing is launched, zone by zone, and
what is too much is terminated, or returned to the warm pool. A launch that EC2 refuses is tried in the other
zones, and again after a while, for ever, as AWS does.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-termination-policies.html (here: from
the zone with the most instances the oldest, never a protected one, and only such as are in service)
"""

from collections import Counter
from collections.abc import Sequence

from local_cloud.call import AwsError
from local_cloud.services.autoscaling.activities import Activity
from local_cloud.services.autoscaling.events import Place, Way, launch_failed
from local_cloud.services.autoscaling.groups import GROUP_TAG, READY, Group, Member, State
from local_cloud.services.autoscaling.launches import instance_types, launch_params, named_template, places
from local_cloud.services.autoscaling.lifecycle import Lifecycle, details_of
from local_cloud.services.autoscaling.refreshes import Refreshes
from local_cloud.services.autoscaling.targets import Targets
from local_cloud.services.autoscaling.waits import Waits
from local_cloud.services.autoscaling.warm_pools import pool_size, reuses
from local_cloud.services.autoscaling.world import World

DIFFERENCE = "At {at} an instance was {done} in response to a difference between desired and actual capacity"


def decide_scale_in(members: Sequence[Member], excess: int) -> list[Member]:
    """Return the instances to terminate, at most `excess`; `members` are the oldest first."""
    left = [
        member
        for member in members
        if member.state == State.IN_SERVICE and not member.protected_from_scale_in
    ]
    chosen: list[Member] = []
    while left and len(chosen) < excess:
        sizes = Counter(member.availability_zone for member in left)
        chosen.append(max(left, key=lambda member: sizes[member.availability_zone]))
        left.remove(chosen[-1])
    return chosen


class Scaling:
    """The capacity of all groups."""

    def __init__(self, world: World, waits: Waits, targets: Targets) -> None:
        """Launch and terminate in `world`."""
        self._world = world
        self.lifecycle = Lifecycle(world, waits, targets, self.look_at)
        self.refreshes = Refreshes(world, self.lifecycle, self.look_at)

    def look_at(self, group: Group) -> None:
        """Have a group looked at soon."""
        self._world.soon(lambda: self._fit(group), f"{group.name} is looked at")

    def _fit(self, group: Group) -> None:
        """Launch what is missing, terminate what is too much, in the group and in its warm pool."""
        if group.is_deleted:
            return
        counted = [member for member in group.members if member.is_counted]
        missing = (group.desired_capacity or 0) + group.surplus - len(counted)
        self._grow(group, missing)
        if missing < 0 and not group.is_suspended("Terminate"):
            cause, returns = self._cause("taken out of service"), reuses(group)
            for member in decide_scale_in(counted, -missing):
                self.lifecycle.terminate(member, cause, returns=returns)
        self._fit_pool(group)
        self.refreshes.go_on(group)

    def _grow(self, group: Group, missing: int) -> None:
        """Add instances, from the warm pool as far as they are ready there."""
        if missing <= 0 or group.is_suspended("Launch"):
            return
        ready = [member for member in group.warm_members if member.state in READY][:missing]
        for member in ready:
            self.lifecycle.take(member)
        self._launch_all(group, missing - len(ready), warm=False)

    def _fit_pool(self, group: Group) -> None:
        """Keep the warm pool at its size; one that is deleted goes once it is empty."""
        there = [member for member in group.warm_members if not member.is_ending]
        returning = sum(member.returns for member in group.members)
        missing = pool_size(group) - len(there) - returning
        if not group.is_suspended("Launch"):
            self._launch_all(group, missing, warm=True)
        if missing < 0 and not group.is_suspended("Terminate"):
            cause = self._cause("taken out of the warm pool")
            for member in there[missing:]:  # those that came last
                self.lifecycle.terminate(member, cause)
        if group.pool_is_deleted and not group.warm_members:
            group.warm_pool, group.pool_is_deleted = None, False

    def _launch_all(self, group: Group, count: int, *, warm: bool) -> None:
        if group.is_retrying:
            return
        for _ in range(count):
            if not self._launch(group, warm=warm):
                self._try_again(group)
                return

    def _launch(self, group: Group, *, warm: bool) -> bool:
        """Launch one instance where EC2 has room for it; return whether it has."""
        for zone, subnet_id in places(group):
            for instance_type in instance_types(group):
                try:
                    self._launch_in(group, (zone, subnet_id), instance_type, warm=warm)
                except AwsError as refused:
                    way = Way(Place.EC2, Place.WARM_POOL if warm else Place.GROUP)
                    self._note_failure(group, (zone, subnet_id), refused, way)
                else:
                    return True
        return False

    def _launch_in(
        self, group: Group, place: tuple[str, str | None], instance_type: str | None, *, warm: bool
    ) -> None:
        params = launch_params(group, *place, instance_type)
        instance = self._world.launch(group.where, params, {GROUP_TAG: group.name})
        member = Member(
            group=group,
            instance=instance,
            activity=self._activity(group, f": {instance.id}", *place),
            joined_at=self._world.now(),
            is_warm=warm,
            protected_from_scale_in=group.new_instances_protected_from_scale_in,
            launch_template=named_template(group),
            launch_configuration_name=group.launch_config.name if group.launch_config else None,
        )
        member.activity.details = details_of(member)
        self.lifecycle.join(member)

    def _note_failure(self, group: Group, place: tuple[str, str | None], refused: AwsError, way: Way) -> None:
        activity = self._activity(group, f".  Status Reason: {refused.message}", *place)
        activity.end("Failed", now := self._world.now(), f"{refused.message} Launching EC2 instance failed.")
        group.activities.append(activity)
        self._world.tell(group.where, launch_failed(activity, None, way, now))

    def _activity(self, group: Group, what: str, zone: str, subnet_id: str | None) -> Activity:
        return Activity(
            group=group.name,
            group_arn=group.arn,
            description=f"Launching a new EC2 instance{what}",
            cause=self._cause("started"),
            started_at=self._world.now(),
            details={"Availability Zone": zone} | ({"Subnet ID": subnet_id} if subnet_id else {}),
        )

    def _cause(self, done: str) -> str:
        return DIFFERENCE.format(at=f"{self._world.now():%Y-%m-%dT%H:%M:%SZ}", done=done) + "."

    def _try_again(self, group: Group) -> None:
        group.is_retrying = True

        def again() -> None:
            group.is_retrying = False
            self._fit(group)

        self._world.later(self._world.quotas.launch_retry, again, f"{group.name} tries to launch again")
