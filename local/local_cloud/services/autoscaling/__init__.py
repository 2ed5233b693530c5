"""Auto Scaling: groups whose instances come and go in time, and wait for lifecycle hooks on their way.

An instance of a group is an instance of EC2's stand-in. `groups` has what moto keeps, `requests` what it
refuses; `scaling` decides how many instances there are, `launches` what they are, `lifecycle` what becomes of
each; `hooks` and `waits` have the lifecycle hooks; `activities` and `events` say what happened.

AWS: https://docs.aws.amazon.com/autoscaling/ec2/APIReference/Welcome.html.
moto: keeps groups, launch configurations, policies, tags; describes them; launches at once, and in silence.
Added: states that last, lifecycle actions, events, replacements, activities, refusals.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from local_cloud.call import AwsError, Call, CloudContext, Handler, PassOn
from local_cloud.passing import lock_of
from local_cloud.services.autoscaling.activities import Activity, describe_activity
from local_cloud.services.autoscaling.groups import (
    GROUP_TAG,
    Group,
    Member,
    State,
    group_named,
    groups_of,
    make_groups_ours,
    member_of,
)
from local_cloud.services.autoscaling.hooks import HOOKS_PER_GROUP, Hook, describe_hook, read_hook
from local_cloud.services.autoscaling.lifecycle import details_of
from local_cloud.services.autoscaling.requests import (
    check_creation,
    check_decrement,
    check_desired,
    check_update,
    invalid,
    managed,
    members_named,
)
from local_cloud.services.autoscaling.scaling import Scaling
from local_cloud.services.autoscaling.targets import Targets
from local_cloud.services.autoscaling.waits import Waits
from local_cloud.services.autoscaling.world import World
from local_cloud.services.ec2 import Ec2
from local_cloud.services.ec2.world import Region
from local_cloud.services.elbv2 import LoadBalancers, target_group

ACTIVITIES_PER_PAGE = 100
BY_REQUEST = "At {at} instance {id} was {done} in response to a user request."


class AutoScaling:
    """Auto Scaling of one cloud, all its accounts and regions."""

    service = "autoscaling"

    def __init__(self, ground: CloudContext, ec2: Ec2, balancers: LoadBalancers) -> None:
        """Stand on `ground`; the instances are those of `ec2`, and targets of `balancers`."""
        make_groups_ours()
        self._world = World(ground, ec2)
        self._waits = Waits(self._world)
        self._targets = Targets(balancers)
        self._scaling = Scaling(self._world, self._waits, self._targets)
        self._lifecycle = self._scaling.lifecycle
        ec2.on_state.append(self._note_state)

    def handlers(self) -> Mapping[str, Handler]:
        """Return what is not moto's alone, by operation."""
        handlers: dict[str, Handler] = {
            "CreateAutoScalingGroup": self._create,
            "UpdateAutoScalingGroup": self._update,
            "SetDesiredCapacity": self._set_desired,
            "DeleteAutoScalingGroup": self._delete,
            "TerminateInstanceInAutoScalingGroup": self._terminate,
            "AttachInstances": self._attach,
            "DetachInstances": self._detach,
            "AttachLoadBalancerTargetGroups": self._attach_target_groups,
            "DetachLoadBalancerTargetGroups": self._detach_target_groups,
            "SetInstanceHealth": self._set_health,
            "DescribeScalingActivities": self._describe_activities,
            "PutLifecycleHook": self._put_hook,
            "DescribeLifecycleHooks": self._describe_hooks,
            "DeleteLifecycleHook": self._delete_hook,
            "CompleteLifecycleAction": self._of_region(self._waits.complete),
            "RecordLifecycleActionHeartbeat": self._of_region(self._waits.record_heartbeat),
        }
        for operation in ("EnterStandby", "ExitStandby", "ResumeProcesses"):
            handlers[operation] = self._changed_by_moto
        handlers["ExecutePolicy"] = self._execute_policy
        return {operation: with_ec2(handler) for operation, handler in handlers.items()}

    def clear(self) -> None:
        """Forget what is under way; moto's groups are moto's to reset."""
        self._waits.clear()
        self._lifecycle.clear()

    def _note_state(self, _: str, instance_id: str, state: str) -> None:
        """Have an instance's new state acted on, once EC2 is done with it."""
        if self._lifecycle.knows(instance_id):
            self._world.later(
                timedelta(0),
                lambda: self._lifecycle.ec2_changed(instance_id, state),
                f"{instance_id} is {state}, Auto Scaling hears",
            )

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
        group = _group(call)
        check_update(group, call.params)
        desired = group.desired_capacity
        if pass_on().status_code == 200:
            group.set_desired_capacity(call.params.get("DesiredCapacity", desired))
            self._scaling.look_at(group)

    def _set_desired(self, call: Call, pass_on: PassOn) -> None:
        group = _group(call)
        check_desired(group, call.params["DesiredCapacity"])
        pass_on()
        self._scaling.look_at(group)

    def _delete(self, call: Call, pass_on: PassOn) -> None:
        group = _group(call)
        members = list(group.members)
        if members and not call.params.get("ForceDelete"):
            raise AwsError(
                "ResourceInUse",
                "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance "
                "request(s) still in the group.",
            )
        pass_on()
        for member in members:
            self._lifecycle.terminate_at_once(member)

    def _terminate(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        """Terminate one instance, or several of a group."""
        params, region = call.params, Region.of(call)
        ids = params.get("InstanceIds") or [params.get("InstanceId", "")]
        members = [managed(region, each) for each in ids]
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
        region, group, ids = Region.of(call), _group(call), call.params.get("InstanceIds", ())
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
        group = _group(call)
        members = members_named(group, call.params.get("InstanceIds", ()))
        if call.params.get("ShouldDecrementDesiredCapacity"):
            check_decrement(group, len(members))
        for member in members:
            self._lifecycle.leave(member)
        pass_on()
        self._scaling.look_at(group)

    def _attach_target_groups(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        """Make the instances in service targets of more target groups."""
        group, arns = _group(call), call.params["TargetGroupARNs"]
        for arn in arns:
            target_group(group.where, arn)
        group.append_target_groups(arns)
        for member in group.members:
            if member.lifecycle_state == State.IN_SERVICE:
                self._targets.register(member, arns)
        return {}

    def _detach_target_groups(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        """Let the instances be targets of some target groups no more."""
        group, arns = _group(call), call.params["TargetGroupARNs"]
        group.target_group_arns = [arn for arn in group.target_group_arns if arn not in arns]
        for member in group.members:
            self._targets.deregister(member, arns)
        return {}

    def _set_health(self, call: Call, pass_on: PassOn) -> None:
        member = managed(Region.of(call), call.params["InstanceId"])
        if call.params["HealthStatus"] not in ("Healthy", "Unhealthy"):
            raise invalid("Valid instance health states are: [Healthy, Unhealthy].")
        pass_on()
        if member.health_status == "Unhealthy":
            self._lifecycle.fail(member)

    def _execute_policy(self, call: Call, pass_on: PassOn) -> None:
        """Let moto set a capacity, in a group that the call need not name."""
        pass_on()
        for group in groups_of(Region.of(call)):
            self._scaling.look_at(group)

    def _changed_by_moto(self, call: Call, pass_on: PassOn) -> None:
        group = _group(call)
        pass_on()
        self._scaling.look_at(group)

    def _describe_activities(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        """Show the activities of a group or of all, the newest first."""
        name, ids = call.params.get("AutoScalingGroupName"), call.params.get("ActivityIds")
        groups = [_group(call)] if name else groups_of(Region.of(call))
        found = [
            activity for group in groups for activity in group.activities if not ids or activity.id in ids
        ]
        found.sort(key=lambda activity: activity.started_at, reverse=True)
        first = int(call.params.get("NextToken", "0"))
        last = first + call.params.get("MaxRecords", ACTIVITIES_PER_PAGE)
        more = {"NextToken": str(last)} if len(found) > last else {}
        return {"Activities": [describe_activity(activity) for activity in found[first:last]], **more}

    def _put_hook(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        group, name = _group(call), call.params.get("LifecycleHookName", "")
        hook = read_hook(group.name, call.params, group.hooks.get(name))
        if name not in group.hooks and len(group.hooks) >= HOOKS_PER_GROUP:
            raise AwsError("LimitExceeded", f"The group has {HOOKS_PER_GROUP} lifecycle hooks already.")
        group.hooks[name] = hook
        return {}

    def _describe_hooks(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        group, names = _group(call), call.params.get("LifecycleHookNames")
        return {
            "LifecycleHooks": [
                describe_hook(hook) for hook in group.hooks.values() if not names or hook.name in names
            ]
        }

    def _delete_hook(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        group, name = _group(call), call.params["LifecycleHookName"]
        hook: Hook | None = group.hooks.pop(name, None)
        if hook is None:
            raise invalid(f"No Lifecycle Hook found with name {name} for group {group.name}")
        self._waits.end_hook(group.where, hook)
        return {}

    def _of_region(self, act: Callable[[Region, Mapping[str, Any]], None]) -> Handler:
        """Return a handler of a call that changes something, and answers nothing, of a group's."""

        def handle(call: Call, _: PassOn) -> Mapping[str, Any]:
            _group(call)
            act(Region.of(call), call.params)
            return {}

        return handle

    def _by_request(self, member: Member, done: str) -> str:
        at = f"{self._world.now():%Y-%m-%dT%H:%M:%SZ}"
        return BY_REQUEST.format(at=at, id=member.instance_id, done=done)


def with_ec2(handler: Handler) -> Handler:
    """Hold EC2's lock, too, while a call is answered."""

    def handle(call: Call, pass_on: PassOn) -> Mapping[str, Any] | None:
        with lock_of("ec2"):
            return handler(call, pass_on)

    return handle


def _group(call: Call) -> Group:
    """Return the group that a call names, by name or ARN."""
    return group_named(Region.of(call), call.params.get("AutoScalingGroupName", "").rpartition("/")[2])
