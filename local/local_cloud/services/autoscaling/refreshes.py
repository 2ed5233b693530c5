"""Instance refreshes: a group's instances are replaced batch by batch, through their hooks.

As many go at once as the minimum healthy percentage leaves, one at least; at 100 percent a new instance is in
service, and warm, before an old one goes. A refresh launches from the desired configuration at once, and
leaves it to the group; AWS does that at the end. Protected instances and those in standby are ignored, as by
default on AWS, and so are those in a warm pool. There are no checkpoints and no rollback.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/instance-refresh-overview.html
"""

import math
from collections.abc import Callable, Sequence

from local_cloud.services.autoscaling.events import refresh_changed
from local_cloud.services.autoscaling.groups import Group, Member, State
from local_cloud.services.autoscaling.launches import named_template
from local_cloud.services.autoscaling.lifecycle import Lifecycle
from local_cloud.services.autoscaling.refresh_request import Refresh
from local_cloud.services.autoscaling.world import World

CAUSE = "At {at} an instance was taken out of service in response to an instance refresh."


def decide_batch(refresh: Refresh, old: Sequence[Member], ready: int, desired: int) -> Sequence[Member]:
    """Return which of the old instances go now; `ready` are the group's in service and warm."""
    if refresh.launches_first:
        return old[: max(0, ready - desired)]
    least = min(math.ceil(desired * refresh.min_healthy / 100), max(desired - 1, 0))
    return old[: max(0, ready - least)]


class Refreshes:
    """The refreshes of all groups."""

    def __init__(self, world: World, lifecycle: Lifecycle, look_at: Callable[[Group], None]) -> None:
        """Replace instances in `world`; `look_at` has a group's capacity seen to, and `go_on` called."""
        self._world = world
        self._lifecycle = lifecycle
        self._look_at = look_at

    def begin(self, group: Group, refresh: Refresh) -> None:
        """Begin a refresh of all instances in service, but those that match if they are to be skipped."""
        if template := refresh.desired.get("LaunchTemplate"):
            group._set_launch_configuration("", dict(template), None)
        group.refreshes.append(refresh)
        skips, wanted = refresh.preferences.get("SkipMatching"), named_template(group)
        refresh.to_replace = frozenset(
            member.instance_id
            for member in group.members
            if member.is_counted
            and not member.protected_from_scale_in
            and not (skips and member.launch_template == wanted)
        )
        refresh.remaining = len(refresh.to_replace)
        self._look_at(group)

    def cancel(self, group: Group, refresh: Refresh) -> None:
        """End a refresh; what was replaced stays replaced."""
        refresh.status = "Cancelling"
        self._look_at(group)

    def go_on(self, group: Group) -> None:
        """Replace the next batch of a group's refresh, if there is one."""
        for refresh in group.refreshes:
            match refresh.status:
                case "Pending":
                    refresh.status = "InProgress"
                    self._tell(group, refresh, "Started")
                    self._replace(group, refresh)
                case "InProgress":
                    self._replace(group, refresh)
                case "Cancelling":
                    self._finish(group, refresh, "Cancelled", "Cancelled")

    def _replace(self, group: Group, refresh: Refresh) -> None:
        serving = [member for member in group.members if member.state == State.IN_SERVICE]
        old = [member for member in serving if member.instance_id in refresh.to_replace]
        ready = [member for member in serving if member in old or self._is_warm(refresh, group, member)]
        left = [
            member
            for member in group.members
            if member.is_counted and member.instance_id in refresh.to_replace
        ]
        new = len(ready) - len(old)
        refresh.remaining = max(len(left), len(refresh.to_replace) - new)
        if not left and new >= min(len(refresh.to_replace), group.desired_capacity or 0):
            refresh.remaining = 0
            self._finish(group, refresh, "Successful", "Succeeded")
            return
        batch = decide_batch(refresh, old, len(ready), group.desired_capacity or 0)
        if refresh.launches_first:
            group.surplus = 1 if len(left) > len(batch) else 0
        cause = CAUSE.format(at=f"{self._world.now():%Y-%m-%dT%H:%M:%SZ}")
        for member in batch:
            self._lifecycle.terminate(member, cause)
        if group.surplus:
            self._look_at_if_short(group)

    def _look_at_if_short(self, group: Group) -> None:
        """Have the instance launched that is to be there before an old one goes."""
        counted = sum(member.is_counted for member in group.members)
        if counted < (group.desired_capacity or 0) + group.surplus and not group.is_retrying:
            self._look_at(group)

    def _is_warm(self, refresh: Refresh, group: Group, member: Member) -> bool:
        """Return whether an instance is warmed up; one that is not is looked at again when it is."""
        if member.in_service_at is None:
            return True
        warm_at = member.in_service_at + refresh.warmup
        if warm_at <= self._world.now():
            return True
        self._world.at(warm_at, lambda: self._look_at(group), f"{member.instance_id} is warm")
        return False

    def _finish(self, group: Group, refresh: Refresh, status: str, told: str) -> None:
        refresh.end(status, self._world.now())
        group.surplus = 0
        self._tell(group, refresh, told)
        self._look_at(group)

    def _tell(self, group: Group, refresh: Refresh, what: str) -> None:
        self._world.tell(group.where, refresh_changed(what, group.name, group.arn, refresh.id))
