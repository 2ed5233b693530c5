"""The calls about groups: made, changed, deleted; their policies, target groups and activities.

https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_CreateAutoScalingGroup.html,
API_UpdateAutoScalingGroup.html, API_DeleteAutoScalingGroup.html, API_DescribeScalingActivities.html
"""

from collections.abc import Mapping
from typing import Any

from local_cloud.call import AwsError, Call, Handler, PassOn
from local_cloud.services.autoscaling.activities import describe_activity
from local_cloud.services.autoscaling.groups import State, group_named, group_of, groups_of
from local_cloud.services.autoscaling.hooks import read_hook
from local_cloud.services.autoscaling.requests import check_creation, check_desired, check_update
from local_cloud.services.autoscaling.scaling import Scaling
from local_cloud.services.autoscaling.targets import Targets
from local_cloud.services.ec2.world import Region
from local_cloud.services.elbv2 import target_group

ACTIVITIES_PER_PAGE = 100


class GroupCalls:
    """Answers calls about groups."""

    def __init__(self, scaling: Scaling, targets: Targets) -> None:
        """Have `scaling` see to the capacity."""
        self._scaling = scaling
        self._targets = targets

    def handlers(self) -> Mapping[str, Handler]:
        """Return the operations done here."""
        changed_by_moto = ("EnterStandby", "ExitStandby", "ResumeProcesses")
        return {
            "CreateAutoScalingGroup": self._create,
            "UpdateAutoScalingGroup": self._update,
            "SetDesiredCapacity": self._set_desired,
            "DeleteAutoScalingGroup": self._delete,
            "AttachLoadBalancerTargetGroups": self._attach_target_groups,
            "DetachLoadBalancerTargetGroups": self._detach_target_groups,
            "DescribeScalingActivities": self._describe_activities,
            "ExecutePolicy": self._execute_policy,
            **dict.fromkeys(changed_by_moto, self._changed_by_moto),
        }

    def _create(self, call: Call, pass_on: PassOn) -> None:
        region, params = Region.of(call), call.params
        check_creation(region, params)
        name = params["AutoScalingGroupName"]
        hooks = [read_hook(name, each, None) for each in params.get("LifecycleHookSpecificationList", ())]
        if pass_on().status_code == 200:
            group = group_named(region, name)
            group.hooks |= {hook.name: hook for hook in hooks}
            self._scaling.look_at(group)

    def _update(self, call: Call, pass_on: PassOn) -> None:
        group = group_of(call)
        check_update(group, call.params)
        desired = group.desired_capacity
        if pass_on().status_code == 200:
            group.set_desired_capacity(call.params.get("DesiredCapacity", desired))
            self._scaling.look_at(group)

    def _set_desired(self, call: Call, pass_on: PassOn) -> None:
        group = group_of(call)
        check_desired(group, call.params["DesiredCapacity"])
        pass_on()
        self._scaling.look_at(group)

    def _delete(self, call: Call, pass_on: PassOn) -> None:
        group = group_of(call)
        members = [*group.members, *group.warm_members]
        if members and not call.params.get("ForceDelete"):
            raise AwsError(
                "ResourceInUse",
                "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance "
                "request(s) still in the group.",
            )
        pass_on()
        for member in members:
            self._scaling.lifecycle.terminate_at_once(member)

    def _attach_target_groups(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        """Make the instances in service targets of more target groups."""
        group, arns = group_of(call), call.params["TargetGroupARNs"]
        for arn in arns:
            target_group(group.where, arn)
        group.append_target_groups(arns)
        for member in group.members:
            if member.lifecycle_state == State.IN_SERVICE:
                self._targets.register(member, arns)
        return {}

    def _detach_target_groups(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        """Let the instances be targets of some target groups no more."""
        group, arns = group_of(call), call.params["TargetGroupARNs"]
        group.target_group_arns = [arn for arn in group.target_group_arns if arn not in arns]
        for member in group.members:
            self._targets.deregister(member, arns)
        return {}

    def _execute_policy(self, call: Call, pass_on: PassOn) -> None:
        """Let moto set a capacity, in a group that the call need not name."""
        pass_on()
        for group in groups_of(Region.of(call)):
            self._scaling.look_at(group)

    def _changed_by_moto(self, call: Call, pass_on: PassOn) -> None:
        group = group_of(call)
        pass_on()
        self._scaling.look_at(group)

    def _describe_activities(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        """Show the activities of a group or of all, the newest first."""
        name, ids = call.params.get("AutoScalingGroupName"), call.params.get("ActivityIds")
        groups = [group_of(call)] if name else groups_of(Region.of(call))
        found = [
            activity for group in groups for activity in group.activities if not ids or activity.id in ids
        ]
        found.sort(key=lambda activity: activity.started_at, reverse=True)
        first = int(call.params.get("NextToken", "0"))
        last = first + call.params.get("MaxRecords", ACTIVITIES_PER_PAGE)
        more = {"NextToken": str(last)} if len(found) > last else {}
        return {"Activities": [describe_activity(activity) for activity in found[first:last]], **more}
