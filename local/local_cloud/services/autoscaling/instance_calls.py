"""The calls about instances of groups: terminated, attached, detached, called unhealthy, described.

https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_TerminateInstanceInAutoScalingGroup.html,
API_AttachInstances.html, API_DetachInstances.html, API_DescribeAutoScalingInstances.html
"""

from collections.abc import Mapping
from typing import Any

from local_cloud.call import Call, Handler, PassOn
from local_cloud.services.autoscaling.activities import Activity, describe_activity
from local_cloud.services.autoscaling.groups import GROUP_TAG, Member, group_of, groups_of, member_of
from local_cloud.services.autoscaling.lifecycle import details_of
from local_cloud.services.autoscaling.requests import check_decrement, invalid, managed, members_named
from local_cloud.services.autoscaling.scaling import Scaling
from local_cloud.services.autoscaling.warm_pools import describe_member
from local_cloud.services.autoscaling.world import World
from local_cloud.services.ec2.world import Region

INSTANCES_PER_PAGE = 50
BY_REQUEST = "At {at} instance {id} was {done} in response to a user request."


class InstanceCalls:
    """Answers calls about instances of groups."""

    def __init__(self, world: World, scaling: Scaling) -> None:
        """Have `scaling` see to the capacity."""
        self._world = world
        self._scaling = scaling
        self._lifecycle = scaling.lifecycle

    def handlers(self) -> Mapping[str, Handler]:
        """Return the operations done here."""
        return {
            "TerminateInstanceInAutoScalingGroup": self._terminate,
            "AttachInstances": self._attach,
            "DetachInstances": self._detach,
            "SetInstanceHealth": self._set_health,
            "DescribeAutoScalingInstances": self._describe,
        }

    def _terminate(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        """Terminate one instance, or several of a group."""
        params, region = call.params, Region.of(call)
        ids = params.get("InstanceIds") or [params.get("InstanceId", "")]
        members = [managed(region, each) for each in ids]
        if warm := [member.instance_id for member in members if member.is_warm]:
            raise invalid(f"Instance {warm[0]} is in a warm pool and cannot be terminated by this operation.")
        decrement = params.get("ShouldDecrementDesiredCapacity", False)
        if decrement:
            for group in {member.group for member in members}:
                check_decrement(group, sum(member.is_counted for member in members if member.group is group))
        activities = [self._terminate_one(member, decrement=decrement) for member in members]
        shown = [describe_activity(each) for each in activities]
        return {"Activities": shown} if params.get("InstanceIds") else {"Activity": shown[0]}

    def _terminate_one(self, member: Member, *, decrement: bool) -> Activity:
        if decrement and member.is_counted:
            member.group.set_desired_capacity((member.group.desired_capacity or 0) - 1)
        return self._lifecycle.terminate(member, self._by_request(member, "taken out of service"))

    def _attach(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        """Take running instances into a group; they wait for its hooks as new ones do."""
        region, group, ids = Region.of(call), group_of(call), call.params.get("InstanceIds", ())
        desired = (group.desired_capacity or 0) + len(ids)
        if desired > (group.max_size or 0):
            raise invalid(
                f"Instances {ids} cannot be attached: the group's desired capacity would be {desired}, above "
                f"its max size {group.max_size}."
            )
        instances = region.instances(ids)
        for instance in instances:
            if instance.state != "running":
                raise invalid(f"Invalid Instance ID(s): [{instance.id}] is not in the running state.")
            if other := member_of(groups_of(region), instance.id):
                raise invalid(
                    f"Instance {instance.id} is already part of AutoScalingGroup:{other.group.name}"
                )
        group.set_desired_capacity(desired)
        for instance in instances:
            instance.add_tags({GROUP_TAG: group.name})
            activity = Activity(
                group.name,
                group.arn,
                f"Attaching an existing EC2 instance: {instance.id}",
                "",
                self._world.now(),
                {},
            )
            member = Member(group, instance, activity, self._world.now())
            activity.cause, activity.details = self._by_request(member, "attached"), details_of(member)
            self._lifecycle.join(member)
        return {}

    def _detach(self, call: Call, pass_on: PassOn) -> None:
        group = group_of(call)
        members = members_named(group, call.params.get("InstanceIds", ()))
        if call.params.get("ShouldDecrementDesiredCapacity"):
            check_decrement(group, len(members))
        for member in members:
            self._lifecycle.leave(member)
        pass_on()
        self._scaling.look_at(group)

    def _set_health(self, call: Call, pass_on: PassOn) -> None:
        member = managed(Region.of(call), call.params["InstanceId"])
        if call.params["HealthStatus"] not in ("Healthy", "Unhealthy"):
            raise invalid("Valid instance health states are: [Healthy, Unhealthy].")
        pass_on()
        if member.health_status == "Unhealthy":
            self._lifecycle.fail(member)

    def _by_request(self, member: Member, done: str) -> str:
        at = f"{self._world.now():%Y-%m-%dT%H:%M:%SZ}"
        return BY_REQUEST.format(at=at, id=member.instance_id, done=done)

    def _describe(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        """Show instances, also those in warm pools."""
        ids = call.params.get("InstanceIds")
        shown = [
            describe_member(member) | {"AutoScalingGroupName": group.name}
            for group in groups_of(Region.of(call))
            for member in (*group.members, *group.warm_members)
            if not ids or member.instance_id in ids
        ]
        first = int(call.params.get("NextToken", "0"))
        last = first + call.params.get("MaxRecords", INSTANCES_PER_PAGE)
        more = {"NextToken": str(last)} if len(shown) > last else {}
        return {"AutoScalingInstances": shown[first:last], **more}
