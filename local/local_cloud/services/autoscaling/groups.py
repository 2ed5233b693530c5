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

from local_cloud.call import AwsError
from local_cloud.services.autoscaling.activities import Activity
from local_cloud.services.autoscaling.hooks import Hook
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
    lifecycle_state: str = State.PENDING
    health_status: str = "Healthy"
    protected_from_scale_in: bool = False
    launch_template: dict[str, str] | None = None
    launch_configuration_name: str | None = None

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
        return self.lifecycle_state in COUNTED

    @property
    def is_ending(self) -> bool:
        """Return whether it is on its way out."""
        return self.lifecycle_state in ENDING


class Group(FakeAutoScalingGroup):
    """A group whose capacity is a number; its instances come and go in time."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Make the group as moto does, without instances."""
        self.hooks: dict[str, Hook] = {}
        self.activities: list[Activity] = []
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
        for member in group.members:
            if member.instance_id == instance_id:
                return member
    return None
