"""EC2 Auto Scaling of one region as Farshore needs it: instances that wait at a lifecycle hook.

A waiting instance is named by its group and id, and not by the token of its event: the event may be lost.
Invariant: completing or extending a wait that is over changes nothing.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks.html
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from chalicelib.aws.batches import in_batches
from chalicelib.aws.errors import translated_errors
from chalicelib.errors import Conflict

if TYPE_CHECKING:
    from mypy_boto3_autoscaling import AutoScalingClient

# https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeAutoScalingInstances.html
PAGE = 50
LAUNCHING = "autoscaling:EC2_INSTANCE_LAUNCHING"
TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"
# The states in which an instance waits, by the transition of the hook that it waits at.
WAITING_STATES = {
    LAUNCHING: frozenset({"Pending:Wait", "Warmed:Pending:Wait"}),
    TERMINATING: frozenset({"Terminating:Wait", "Warmed:Terminating:Wait"}),
}
# What the states of an instance begin with that is not in service yet.
BEFORE_SERVICE = ("Pending", "Warmed")


@dataclass(frozen=True, slots=True)
class GroupInstance:
    """An instance of an Auto Scaling group, and its lifecycle state there: `Pending:Wait`, `InService` ..."""

    id: str
    group: str
    state: str

    def waits_for(self, transition: str) -> bool:
        """Return whether it waits at a hook of this transition."""
        return self.state in WAITING_STATES[transition]


@dataclass(frozen=True, slots=True)
class LifecycleHook:
    """A lifecycle hook of a group: an instance waits for `heartbeat`, extended by each heartbeat that is
    recorded, and for `total` at most; then `default_result` (CONTINUE or ABANDON) holds."""

    group: str
    name: str
    transition: str
    heartbeat: timedelta
    total: timedelta
    default_result: str


class AutoScaling:
    """Auto Scaling of the home region."""

    def __init__(self, client: "AutoScalingClient") -> None:
        self._client = client

    @property
    def _region(self) -> str:
        return self._client.meta.region_name

    def instances(self, ids: Iterable[str]) -> dict[str, GroupInstance]:
        """Return those of the named instances that are in a group, by id."""
        return {
            each.id: each
            for batch in in_batches(ids, PAGE)
            for each in self._instances({"InstanceIds": batch})
        }

    def all_instances(self) -> Iterator[GroupInstance]:
        """List the instances of all groups, page by page."""
        yield from self._instances({})

    def members(self, group: str) -> tuple[GroupInstance, ...]:
        """Return the instances of a group; none when there is no such group."""
        with translated_errors("DescribeAutoScalingGroups", group, self._region):
            found = self._client.describe_auto_scaling_groups(AutoScalingGroupNames=[group])
        return tuple(
            GroupInstance(each["InstanceId"], group, each["LifecycleState"])
            for described in found["AutoScalingGroups"]
            for each in described["Instances"]
        )

    def hooks(self, group: str) -> tuple[LifecycleHook, ...]:
        """List a group's hooks; none when there is no such group."""
        with translated_errors("DescribeLifecycleHooks", group, self._region):
            answer = self._client.describe_lifecycle_hooks(AutoScalingGroupName=group)
        return tuple(
            LifecycleHook(
                group=group,
                name=each["LifecycleHookName"],
                transition=each["LifecycleTransition"],
                heartbeat=timedelta(seconds=each["HeartbeatTimeout"]),
                total=timedelta(seconds=each["GlobalTimeout"]),
                default_result=each["DefaultResult"],
            )
            for each in answer["LifecycleHooks"]
        )

    def record_heartbeat(self, group: str, hook: str, instance_id: str) -> None:
        """Let an instance wait for one heartbeat more; one that waits no more is left as it is.

        https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_RecordLifecycleActionHeartbeat.html
        """
        try:
            with translated_errors("RecordLifecycleActionHeartbeat", instance_id, self._region):
                self._client.record_lifecycle_action_heartbeat(
                    AutoScalingGroupName=group, LifecycleHookName=hook, InstanceId=instance_id
                )
        except Conflict:
            return

    def complete(self, group: str, hook: str, instance_id: str, result: str) -> None:
        """End an instance's wait with `CONTINUE` or `ABANDON`; one that waits no more is left as it is.

        https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_CompleteLifecycleAction.html
        """
        try:
            with translated_errors("CompleteLifecycleAction", instance_id, self._region):
                self._client.complete_lifecycle_action(
                    AutoScalingGroupName=group,
                    LifecycleHookName=hook,
                    InstanceId=instance_id,
                    LifecycleActionResult=result,
                )
        except Conflict:
            return

    def _instances(self, which: "dict[str, list[str]]") -> Iterator[GroupInstance]:
        with translated_errors("DescribeAutoScalingInstances", None, self._region):
            pages = self._client.get_paginator("describe_auto_scaling_instances").paginate(
                **which,
                PaginationConfig={"PageSize": PAGE},
            )
            for page in pages:
                for each in page["AutoScalingInstances"]:
                    yield GroupInstance(
                        each["InstanceId"], each["AutoScalingGroupName"], each["LifecycleState"]
                    )
