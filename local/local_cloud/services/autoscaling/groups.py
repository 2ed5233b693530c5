"""Groups and their members, as moto keeps them: a group that launches nothing by itself, and what it holds.

moto's groups launch and terminate instances of moto's at once, wherever a capacity changes. The group here
notes the capacity alone, so that moto's operations can be left to moto, and `scaling` does the rest in time.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-lifecycle.html (states)
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from moto.autoscaling import models
from moto.autoscaling.models import FakeAutoScalingGroup, autoscaling_backends
from moto.ec2.models.instances import Instance

from local_cloud.call import AwsError, Call
from local_cloud.services.autoscaling.activities import Activity
from local_cloud.services.autoscaling.events import Place, Way
from local_cloud.services.autoscaling.hooks import Hook
from local_cloud.services.autoscaling.refresh_request import Refresh
from local_cloud.services.ec2.world import Region

GROUP_TAG = "aws:autoscaling:groupName"


class State(StrEnum):
    """What becomes of an instance in a group."""

    PENDING = "Pending"
    PENDING_WAIT = "Pending:Wait"
    PENDING_PROCEED = "Pending:Proceed"
    IN_SERVICE = "InService"
    STANDBY = "Standby"
    TERMINATING = "Terminating"
    TERMINATING_WAIT = "Terminating:Wait"
    TERMINATING_PROCEED = "Terminating:Proceed"
    TERMINATED = "Terminated"
    STOPPED = "Stopped"
    HIBERNATED = "Hibernated"
    RUNNING = "Running"


WARMED = "Warmed:"
"""Before the states of an instance in a warm pool."""
READY = (State.STOPPED, State.HIBERNATED, State.RUNNING)
"""The states of an instance that waits in a warm pool to be needed."""

COUNTED = (State.PENDING, State.PENDING_WAIT, State.PENDING_PROCEED, State.IN_SERVICE)
"""The states of the instances that make up the desired capacity."""
ENDING = (State.TERMINATING, State.TERMINATING_WAIT, State.TERMINATING_PROCEED, State.TERMINATED)


@dataclass(eq=False, slots=True)
class Member:
    """An instance in a group; moto reads its attributes, and shows them."""

    group: "Group"
    instance: Instance
    activity: Activity
    """The launch, or later the termination, that is under way or was the last."""
    joined_at: datetime
    state: State = State.PENDING
    is_warm: bool = False
    """Whether it is in the group's warm pool, or on its way there."""
    origin: Place = Place.EC2
    """Where it came from last."""
    returns: bool = False
    """Whether it goes back to the warm pool instead of being terminated."""
    in_service_at: datetime | None = None
    health_status: str = "Healthy"
    protected_from_scale_in: bool = False
    launch_template: dict[str, str] | None = None
    launch_configuration_name: str | None = None

    @property
    def lifecycle_state(self) -> str:
        """Return the state as AWS shows it."""
        return f"{WARMED}{self.state}" if self.is_warm else self.state.value

    @lifecycle_state.setter
    def lifecycle_state(self, shown: str) -> None:
        """Enter a state that moto sets: standby, or in service again."""
        self.state = State(shown)

    @property
    def way_in(self) -> Way:
        """Return from where to where its launch takes it."""
        return Way(self.origin, Place.WARM_POOL if self.is_warm else Place.GROUP)

    @property
    def way_out(self) -> Way:
        """Return from where to where its termination takes it."""
        origin = Place.WARM_POOL if self.is_warm else Place.GROUP
        return Way(origin, Place.WARM_POOL if self.returns else Place.EC2)

    @property
    def instance_id(self) -> str:
        """Return the instance's id."""
        return str(self.instance.id)

    @property
    def instance_type(self) -> str:
        """Return the instance's type."""
        return str(self.instance.instance_type)

    @property
    def availability_zone(self) -> str:
        """Return the instance's zone."""
        return str(self.instance.availability_zone)

    @property
    def auto_scaling_group_name(self) -> str:
        """Return the group's name."""
        return str(self.group.name)

    @property
    def is_counted(self) -> bool:
        """Return whether it is part of the desired capacity."""
        return not self.is_warm and self.state in COUNTED

    @property
    def is_ending(self) -> bool:
        """Return whether it is on its way out."""
        return self.state in ENDING


class Group(FakeAutoScalingGroup):
    """A group whose capacity is a number; its instances come and go in time."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Make the group as moto does, without instances."""
        self.hooks: dict[str, Hook] = {}
        self.activities: list[Activity] = []
        self.warm_members: list[Member] = []
        self.pool_is_deleted = False
        """Whether the warm pool goes as soon as it is empty."""
        self.refreshes: list[Refresh] = []
        self.surplus = 0
        """How many instances more than desired there may be while they are replaced."""
        self.is_retrying = False
        """Whether a launch that failed is to be tried again."""
        super().__init__(*args, **kwargs)

    def set_desired_capacity(self, new_capacity: int | None) -> None:
        """Note the capacity, within the group's bounds."""
        wanted = self.min_size if new_capacity is None else new_capacity
        self.desired_capacity = max(self.min_size or 0, min(self.max_size or 0, wanted or 0))

    @property
    def where(self) -> Region:
        """Return the account and region it is in."""
        return Region(self.account_id, self.region)

    @property
    def members(self) -> list[Member]:
        """Return its instances, the oldest first."""
        states: list[Any] = self.instance_states
        return states

    @property
    def warm_pool_size(self) -> int | None:
        """Return how many instances the warm pool has, if there is one."""
        return len(self.warm_members) if self.warm_pool else None

    @property
    def is_deleted(self) -> bool:
        """Return whether the group is gone."""
        return self.autoscaling_backend.autoscaling_groups.get(self.name) is not self

    def hooks_of(self, transition: str) -> list[Hook]:
        """Return the hooks of a transition."""
        return [hook for hook in self.hooks.values() if hook.transition == transition]

    def is_suspended(self, process: str) -> bool:
        """Return whether a process of the group is suspended."""
        return process in self._suspended_processes


def make_groups_ours() -> None:
    """Have moto make groups of this kind."""
    vars(models)["FakeAutoScalingGroup"] = Group


def groups_of(region: Region) -> Iterator[Group]:
    """Return the groups of a region."""
    yield from autoscaling_backends[region.account][region.name].autoscaling_groups.values()  # type: ignore[misc]


def group_named(region: Region, name: str) -> Group:
    """Return a group.

    Raises:
        AwsError: there is none of that name.
    """
    for group in groups_of(region):
        if group.name == name:
            return group
    raise AwsError(
        "ValidationError", f"AutoScalingGroup name not found - AutoScalingGroup '{name}' not found"
    )


def member_of(groups: Iterable[Group], instance_id: str) -> Member | None:
    """Return the instance as a group has it."""
    for group in groups:
        for member in (*group.members, *group.warm_members):
            if member.instance_id == instance_id:
                return member
    return None


def group_of(call: Call) -> Group:
    """Return the group that a call names, by name or ARN."""
    return group_named(Region.of(call), call.params.get("AutoScalingGroupName", "").rpartition("/")[2])
