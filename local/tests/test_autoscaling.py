"""Auto Scaling groups and their lifecycle hooks, called with boto3 over HTTP."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from ec2_bench import refused
from little_stack import HOME
from local_cloud.cloud import Cloud
from scaled import LAUNCHING, TERMINATING, ZONES, Scaled

LAUNCH_ACTION = "EC2 Instance-launch Lifecycle Action"
TERMINATE_ACTION = "EC2 Instance-terminate Lifecycle Action"


@pytest.fixture
def scaled(cloud: Cloud) -> Scaled:
    return Scaled(cloud)


def tags_of(described: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in described["Tags"]}


def message(failure: pytest.ExceptionInfo[ClientError]) -> str:
    return str(failure.value.response["Error"]["Message"])


def test_a_group_launches_its_instances_in_time_and_spreads_them(scaled: Scaled) -> None:
    scaled.create(
        2, Tags=[{"Key": "app", "Value": "shop", "PropagateAtLaunch": True}, {"Key": "own", "Value": "x"}]
    )
    assert scaled.states() == {}

    scaled.wait(1)
    assert list(scaled.states().values()) == ["Pending", "Pending"]
    scaled.wait(10)
    assert list(scaled.states().values()) == ["InService", "InService"]

    shown = [scaled.instance(each) for each in scaled.states()]
    assert sorted(each["Placement"]["AvailabilityZone"] for each in shown) == ZONES
    template_id = scaled.group()["LaunchTemplate"]["LaunchTemplateId"]
    assert tags_of(shown[0]) == {
        "app": "shop",
        "from": "template",
        "aws:autoscaling:groupName": "web",
        "aws:ec2launchtemplate:id": template_id,
        "aws:ec2launchtemplate:version": "1",
    }
    assert {each["State"]["Name"] for each in shown} == {"running"}
    assert {each["InstanceType"] for each in shown} == {"t3.micro"}
    assert scaled.cloud.ec2.directory(shown[0]["InstanceId"]).is_dir()
    volumes = scaled.ec2.describe_volumes(Filters=[{"Name": "tag:disk", "Values": ["yes"]}])["Volumes"]
    assert len(volumes) == 4


def test_an_instance_in_service_is_told_and_described(scaled: Scaled) -> None:
    scaled.create()
    scaled.wait()

    instance_id = scaled.only()
    (event,) = scaled.events("EC2 Instance Launch Successful")
    group = scaled.group()
    arn = f"arn:aws:ec2:{HOME}:123456789012:instance/{instance_id}"
    assert (event["source"], event["resources"]) == ("aws.autoscaling", [group["AutoScalingGroupARN"], arn])
    detail = event["detail"]
    assert detail["Description"] == f"Launching a new EC2 instance: {instance_id}"
    assert detail["Details"]["Availability Zone"] == ZONES[0]
    assert (detail["EC2InstanceId"], detail["Origin"], detail["Destination"]) == (
        instance_id,
        "EC2",
        "AutoScalingGroup",
    )
    (activity,) = scaled.scaling.describe_scaling_activities(AutoScalingGroupName="web")["Activities"]
    assert (activity["ActivityId"], activity["StatusCode"]) == (detail["ActivityId"], "Successful")
    (listed,) = scaled.scaling.describe_auto_scaling_instances(InstanceIds=[instance_id])[
        "AutoScalingInstances"
    ]
    assert (listed["LifecycleState"], listed["HealthStatus"]) == ("InService", "Healthy")
    assert listed["LaunchTemplate"]["Version"] == "1"


def test_a_group_of_a_launch_configuration_in_subnets(scaled: Scaled) -> None:
    vpc = scaled.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        scaled.ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone=zone)["Subnet"][
            "SubnetId"
        ]
        for n, zone in enumerate(ZONES)
    ]
    scaled.scaling.create_launch_configuration(
        LaunchConfigurationName="old",
        ImageId="ami-12345678",
        InstanceType="t3.small",
        UserData="#!/bin/sh",
        BlockDeviceMappings=[{"DeviceName": "/dev/sdg", "Ebs": {"VolumeSize": 2}}],
    )
    scaled.scaling.create_auto_scaling_group(
        AutoScalingGroupName="web",
        LaunchConfigurationName="old",
        MinSize=2,
        MaxSize=2,
        VPCZoneIdentifier=",".join(subnets),
    )
    scaled.wait()
    shown = [scaled.instance(each) for each in scaled.states()]
    assert sorted(each["SubnetId"] for each in shown) == sorted(subnets)
    assert {each["InstanceType"] for each in shown} == {"t3.small"}
    assert {block["DeviceName"] for block in shown[0]["BlockDeviceMappings"]} == {"/dev/sda1", "/dev/sdg"}
    (event, _) = scaled.events("EC2 Instance Launch Successful")
    assert event["detail"]["Details"]["Subnet ID"] in subnets


def test_desired_capacity_is_reached_in_both_directions(scaled: Scaled) -> None:
    scaled.create(1)
    scaled.wait()
    scaled.scaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=3)
    scaled.wait()
    first = set(scaled.states())
    assert len(first) == 3
    scaled.scaling.update_auto_scaling_group(AutoScalingGroupName="web", MaxSize=2)
    scaled.wait()
    assert len(scaled.states()) == 2
    assert scaled.group()["DesiredCapacity"] == 2
    (event,) = scaled.events("EC2 Instance Terminate Successful")
    (gone,) = first - set(scaled.states())
    assert event["detail"]["Description"] == f"Terminating EC2 instance: {gone}"
    assert (event["detail"]["Origin"], event["detail"]["Destination"]) == ("AutoScalingGroup", "EC2")


def test_a_protected_instance_stays(scaled: Scaled) -> None:
    scaled.create(2)
    scaled.wait()
    one, two = scaled.states()
    scaled.scaling.set_instance_protection(
        AutoScalingGroupName="web", InstanceIds=[one], ProtectedFromScaleIn=True
    )
    scaled.scaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=0)
    scaled.wait()
    assert (list(scaled.states()), two in scaled.states()) == ([one], False)


def test_a_terminated_instance_is_replaced_unless_it_is_not_wanted(scaled: Scaled) -> None:
    scaled.create(1)
    scaled.wait()
    first = scaled.only()
    answer = scaled.scaling.terminate_instance_in_auto_scaling_group(
        InstanceId=first, ShouldDecrementDesiredCapacity=False
    )
    assert answer["Activity"]["Description"] == f"Terminating EC2 instance: {first}"
    assert answer["Activity"]["StatusCode"] == "InProgress"
    assert scaled.states() == {first: "Terminating"}
    scaled.wait()
    second = scaled.only()
    assert second != first
    scaled.scaling.terminate_instance_in_auto_scaling_group(
        InstanceId=second, ShouldDecrementDesiredCapacity=True
    )
    scaled.wait()
    assert scaled.states() == {}


@pytest.mark.parametrize("how", ["terminate_instances", "stop_instances"])
def test_an_instance_that_ends_by_itself_is_replaced(scaled: Scaled, how: str) -> None:
    scaled.create(1)
    scaled.wait()
    first = scaled.only()
    getattr(scaled.ec2, how)(InstanceIds=[first])
    scaled.wait(30)
    assert scaled.only() != first
    assert scaled.instance(first)["State"]["Name"] == "terminated"


def test_instances_join_and_leave_a_group(scaled: Scaled) -> None:
    scaled.create(0)
    answer = scaled.ec2.run_instances(ImageId="ami-1", MinCount=1, MaxCount=1)
    instance_id = answer["Instances"][0]["InstanceId"]
    attach = {"AutoScalingGroupName": "web", "InstanceIds": [instance_id]}
    assert refused(scaled.scaling.attach_instances, **attach) == "ValidationError"
    scaled.wait()
    scaled.scaling.attach_instances(**attach)
    scaled.wait()
    assert scaled.states() == {instance_id: "InService"}
    assert tags_of(scaled.instance(instance_id))["aws:autoscaling:groupName"] == "web"
    scaled.scaling.detach_instances(**attach, ShouldDecrementDesiredCapacity=True)
    scaled.wait()
    assert scaled.states() == {}
    assert scaled.instance(instance_id)["State"]["Name"] == "running"


def test_a_deleted_group_takes_its_instances_along_only_by_force(scaled: Scaled) -> None:
    scaled.create(2)
    scaled.hook(TERMINATING)
    scaled.wait()
    ids = list(scaled.states())
    delete = scaled.scaling.delete_auto_scaling_group
    assert refused(delete, AutoScalingGroupName="web") == "ResourceInUse"
    delete(AutoScalingGroupName="web", ForceDelete=True)
    assert scaled.scaling.describe_auto_scaling_groups()["AutoScalingGroups"] == []
    scaled.wait()
    assert {scaled.instance(each)["State"]["Name"] for each in ids} == {"terminated"}
    assert scaled.events(TERMINATE_ACTION) == []
    assert len(scaled.events("EC2 Instance Terminate Successful")) == 2


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"MinSize": 3, "MaxSize": 2}, "must be greater than or equal to min bound"),
        ({"DesiredCapacity": 11}, "must be between"),
        ({"LaunchTemplate": {"LaunchTemplateName": "none"}}, "does not exist"),
        ({"LaunchTemplate": {"LaunchTemplateName": "web", "Version": "7"}}, "version 7 does not exist"),
        ({"AvailabilityZones": ["mars-1a"]}, "Invalid availability zones: [mars-1a]"),
        ({"VPCZoneIdentifier": "subnet-0"}, "subnet ID 'subnet-0' does not exist"),
        (
            {"LifecycleHookSpecificationList": [{"LifecycleHookName": "h", "LifecycleTransition": "x"}]},
            "Invalid",
        ),
    ],
)
def test_a_group_that_cannot_be_is_refused(scaled: Scaled, params: dict[str, Any], expected: str) -> None:
    with pytest.raises(ClientError) as failure:
        scaled.create(**params)
    assert expected in message(failure)
    assert scaled.scaling.describe_auto_scaling_groups()["AutoScalingGroups"] == []


def test_what_a_group_does_not_have_is_refused_in_awss_words(scaled: Scaled) -> None:
    scaled.create(1, MinSize=1, MaxSize=2)
    scaled.wait()
    with pytest.raises(ClientError, match="above max value 2"):
        scaled.scaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=3)
    with pytest.raises(ClientError, match="No managed instance found"):
        scaled.scaling.terminate_instance_in_auto_scaling_group(
            InstanceId="i-0123456789abcdef0", ShouldDecrementDesiredCapacity=False
        )
    with pytest.raises(ClientError, match="violate group's min size"):
        scaled.scaling.terminate_instance_in_auto_scaling_group(
            InstanceId=scaled.only(), ShouldDecrementDesiredCapacity=True
        )
    with pytest.raises(ClientError, match="AutoScalingGroup name not found"):
        scaled.scaling.set_desired_capacity(AutoScalingGroupName="none", DesiredCapacity=1)
    assert refused(scaled.create) == "AlreadyExists"


def test_a_launch_waits_for_its_hook(scaled: Scaled) -> None:
    scaled.create(
        LifecycleHookSpecificationList=[
            {
                "LifecycleHookName": "hook",
                "LifecycleTransition": LAUNCHING,
                "NotificationMetadata": "for us",
                "HeartbeatTimeout": 300,
            }
        ]
    )
    scaled.wait(60)
    instance_id = scaled.only()
    assert scaled.states() == {instance_id: "Pending:Wait"}
    (event,) = scaled.events(LAUNCH_ACTION)
    assert event["resources"] == [scaled.group()["AutoScalingGroupARN"]]
    token = event["detail"].pop("LifecycleActionToken")
    assert len(token) == 36
    assert event["detail"] == {
        "AutoScalingGroupName": "web",
        "LifecycleHookName": "hook",
        "EC2InstanceId": instance_id,
        "LifecycleTransition": LAUNCHING,
        "NotificationMetadata": "for us",
        "Origin": "EC2",
        "Destination": "AutoScalingGroup",
    }
    assert scaled.events("EC2 Instance Launch Successful") == []
    scaled.complete(LifecycleActionToken=token)
    assert scaled.states() == {instance_id: "Pending:Proceed"}
    scaled.wait()
    assert scaled.states() == {instance_id: "InService"}
    assert len(scaled.events("EC2 Instance Launch Successful")) == 1
    with pytest.raises(ClientError) as failure:
        scaled.complete(LifecycleActionToken=token)
    assert message(failure) == f"No active Lifecycle Action found with token {token}"
    with pytest.raises(ClientError) as failure:
        scaled.complete(InstanceId=instance_id)
    assert message(failure) == f"No active Lifecycle Action found with instance ID {instance_id}"


def test_an_abandoned_launch_is_terminated_and_made_again(scaled: Scaled) -> None:
    scaled.create(0)
    scaled.hook(LAUNCHING)
    scaled.scaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=1)
    scaled.wait()
    first = scaled.only()
    scaled.complete("ABANDON", InstanceId=first)
    scaled.wait(2)
    assert sorted(scaled.states().values())[0] == "Pending"
    scaled.wait()
    second = scaled.only()
    assert scaled.states() == {second: "Pending:Wait"}
    assert second != first
    assert scaled.instance(first)["State"]["Name"] == "terminated"
    (event,) = scaled.events("EC2 Instance Launch Unsuccessful")
    assert event["detail"]["EC2InstanceId"] == first
    assert "was abandoned: Lifecycle Action Completed with ABANDON Result" in event["detail"]["StatusMessage"]


@pytest.mark.parametrize(("default", "after"), [("CONTINUE", "InService"), ("ABANDON", None)])
def test_a_hook_that_nobody_completes_ends_with_its_default(
    scaled: Scaled, default: str, after: str | None
) -> None:
    scaled.create(0)
    scaled.hook(LAUNCHING, HeartbeatTimeout=60, DefaultResult=default)
    scaled.scaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=1)
    scaled.wait(50)
    first = scaled.only()
    assert scaled.states() == {first: "Pending:Wait"}
    scaled.wait(20)
    assert scaled.states().get(first) == after


def test_heartbeats_prolong_a_wait_up_to_the_global_timeout(scaled: Scaled) -> None:
    scaled.create(0)
    scaled.hook(LAUNCHING, HeartbeatTimeout=30, DefaultResult="CONTINUE")
    (hook,) = scaled.scaling.describe_lifecycle_hooks(AutoScalingGroupName="web")["LifecycleHooks"]
    assert (hook["GlobalTimeout"], hook["HeartbeatTimeout"], hook["DefaultResult"]) == (3000, 30, "CONTINUE")
    scaled.scaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=1)
    scaled.wait(10)
    instance_id = scaled.only()
    beat = {"AutoScalingGroupName": "web", "LifecycleHookName": "hook", "InstanceId": instance_id}
    beats = 0
    while scaled.states()[instance_id] == "Pending:Wait":
        scaled.scaling.record_lifecycle_action_heartbeat(**beat)
        scaled.wait(20)
        beats += 1
    assert 148 <= beats <= 151
    assert refused(scaled.scaling.record_lifecycle_action_heartbeat, **beat) == "ValidationError"


def test_all_hooks_of_a_launch_must_be_completed(scaled: Scaled) -> None:
    scaled.create(0)
    for name in ("one", "two"):
        scaled.hook(LAUNCHING, name)
    scaled.scaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=1)
    scaled.wait()
    first, second = scaled.events(LAUNCH_ACTION)
    assert first["detail"]["LifecycleActionToken"] != second["detail"]["LifecycleActionToken"]
    instance_id = scaled.only()
    scaled.complete(name="two", InstanceId=instance_id)
    scaled.wait()
    assert scaled.states() == {instance_id: "Pending:Wait"}
    with pytest.raises(ClientError, match="No active Lifecycle Action found"):
        scaled.complete(name="two", InstanceId=instance_id)
    scaled.complete(name="one", InstanceId=instance_id)
    scaled.wait()
    assert scaled.states() == {instance_id: "InService"}


@pytest.mark.parametrize("result", ["CONTINUE", "ABANDON"])
def test_a_terminating_instance_still_runs_while_it_waits(scaled: Scaled, result: str) -> None:
    scaled.create(1)
    scaled.hook(TERMINATING)
    scaled.wait()
    instance_id = scaled.only()
    volumes = {each["Ebs"]["VolumeId"] for each in scaled.instance(instance_id)["BlockDeviceMappings"]}
    scaled.scaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=0)
    scaled.wait(600)
    assert scaled.states() == {instance_id: "Terminating:Wait"}
    assert scaled.instance(instance_id)["State"]["Name"] == "running"
    ssm = scaled.cloud.client("ssm", HOME)
    sent = ssm.send_command(
        InstanceIds=[instance_id],
        DocumentName="AWS-RunShellScript",
        Parameters={"commands": ["echo still here"]},
    )
    scaled.wait(5)
    said = ssm.get_command_invocation(CommandId=sent["Command"]["CommandId"], InstanceId=instance_id)
    assert (said["Status"], said["StandardOutputContent"]) == ("Success", "still here\n")

    (event,) = scaled.events(TERMINATE_ACTION)
    assert (event["detail"]["Origin"], event["detail"]["Destination"]) == ("AutoScalingGroup", "EC2")
    scaled.complete(result, LifecycleActionToken=event["detail"]["LifecycleActionToken"])
    assert scaled.states() == {instance_id: "Terminating:Proceed"}
    scaled.wait(1)
    assert scaled.instance(instance_id)["State"]["Name"] == "shutting-down"
    attached = scaled.ec2.describe_volumes(VolumeIds=sorted(volumes))["Volumes"]
    assert {each["State"] for each in attached} == {"in-use"}
    scaled.wait()
    assert scaled.states() == {}
    (left,) = scaled.ec2.describe_volumes()["Volumes"]
    assert (left["State"], left["VolumeId"] in volumes) == ("available", True)


@pytest.mark.parametrize("transition", [LAUNCHING, TERMINATING])
def test_a_deleted_hook_lets_go_of_what_waits_for_it(scaled: Scaled, transition: str) -> None:
    scaled.create(0)
    scaled.hook(transition)
    scaled.scaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=1)
    scaled.wait()
    instance_id = scaled.only()
    if transition == TERMINATING:
        scaled.scaling.terminate_instance_in_auto_scaling_group(
            InstanceId=instance_id, ShouldDecrementDesiredCapacity=False
        )
        scaled.wait()
    assert scaled.states()[instance_id].endswith(":Wait")
    delete = {"AutoScalingGroupName": "web", "LifecycleHookName": "hook"}
    scaled.scaling.delete_lifecycle_hook(**delete)
    scaled.wait()
    assert scaled.instance(instance_id)["State"]["Name"] == "terminated"
    assert list(scaled.states().values()) == ["InService"]
    assert refused(scaled.scaling.delete_lifecycle_hook, **delete) == "ValidationError"


def test_an_instance_terminated_while_its_launch_waits_is_given_up(scaled: Scaled) -> None:
    scaled.create(0)
    scaled.hook(LAUNCHING)
    scaled.scaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=1)
    scaled.wait()
    first = scaled.only()
    scaled.ec2.terminate_instances(InstanceIds=[first])
    scaled.wait()
    with pytest.raises(ClientError, match="No active Lifecycle Action found"):
        scaled.complete(InstanceId=first)
    assert first not in scaled.states()
    assert list(scaled.states().values()) == ["Pending:Wait"]


def test_the_hook_of_a_termination_begins_also_where_the_instance_is_gone(scaled: Scaled) -> None:
    scaled.create(1)
    scaled.hook(TERMINATING)
    scaled.wait()
    first = scaled.only()
    scaled.ec2.terminate_instances(InstanceIds=[first])
    scaled.wait()
    assert (scaled.states()[first], scaled.instance(first)["State"]["Name"]) == (
        "Terminating:Wait",
        "terminated",
    )
    (shown,) = [each for each in scaled.group()["Instances"] if each["InstanceId"] == first]
    assert shown["HealthStatus"] == "Unhealthy"
    scaled.complete(InstanceId=first)
    scaled.wait()
    assert first not in scaled.states()
    assert [
        each["detail"]["EC2InstanceId"] for each in scaled.events("EC2 Instance Terminate Successful")
    ] == [first]


def test_an_abandoned_launch_passes_the_hook_of_a_termination(scaled: Scaled) -> None:
    scaled.create(0)
    for transition in (LAUNCHING, TERMINATING):
        scaled.hook(transition, transition.rpartition("_")[2].lower())
    scaled.scaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=1)
    scaled.wait()
    first = scaled.only()
    scaled.complete("ABANDON", "launching", InstanceId=first)
    scaled.wait()
    assert scaled.states()[first] == "Terminating:Wait"
    scaled.complete("ABANDON", "terminating", InstanceId=first)
    scaled.wait()
    assert first not in scaled.states()


def test_an_instance_called_unhealthy_is_replaced(scaled: Scaled) -> None:
    scaled.create(1)
    scaled.wait()
    first = scaled.only()
    scaled.scaling.set_instance_health(InstanceId=first, HealthStatus="Unhealthy")
    scaled.wait(30)
    assert scaled.only() != first


def test_standby_and_policies_change_the_capacity_in_time(scaled: Scaled) -> None:
    scaled.create(1)
    scaled.wait()
    first = scaled.only()
    named = {"AutoScalingGroupName": "web", "InstanceIds": [first]}
    scaled.scaling.enter_standby(**named, ShouldDecrementDesiredCapacity=True)
    scaled.wait()
    assert scaled.states() == {first: "Standby"}
    scaled.scaling.exit_standby(**named)
    scaled.wait()
    assert scaled.states() == {first: "InService"}
    scaled.scaling.put_scaling_policy(
        AutoScalingGroupName="web", PolicyName="more", AdjustmentType="ChangeInCapacity", ScalingAdjustment=2
    )
    scaled.scaling.execute_policy(AutoScalingGroupName="web", PolicyName="more")
    scaled.wait()
    assert list(scaled.states().values()) == ["InService"] * 3


def test_a_suspended_group_launches_once_it_is_resumed(scaled: Scaled) -> None:
    scaled.create(0)
    named = {"AutoScalingGroupName": "web", "ScalingProcesses": ["Launch"]}
    scaled.scaling.suspend_processes(**named)
    scaled.scaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=1)
    scaled.wait()
    assert scaled.states() == {}
    scaled.scaling.resume_processes(**named)
    scaled.wait()
    assert list(scaled.states().values()) == ["InService"]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"HeartbeatTimeout": 29}, "between 30 and 7200"),
        ({"HeartbeatTimeout": 7201}, "between 30 and 7200"),
        ({"DefaultResult": "MAYBE"}, "Invalid Default Result"),
        ({"LifecycleHookName": "a b"}, "regular expression"),
        ({"LifecycleTransition": "autoscaling:EC2_INSTANCE_SLEEPING"}, "Invalid Lifecycle Transition"),
    ],
)
def test_a_hook_that_cannot_be_is_refused(scaled: Scaled, params: dict[str, Any], expected: str) -> None:
    scaled.create(0)
    whole = {
        "AutoScalingGroupName": "web",
        "LifecycleHookName": "h",
        "LifecycleTransition": LAUNCHING,
        **params,
    }
    with pytest.raises(ClientError) as failure:
        scaled.scaling.put_lifecycle_hook(**whole)
    assert expected in message(failure)


def test_a_hook_put_again_keeps_what_is_not_named(scaled: Scaled) -> None:
    scaled.create(0)
    scaled.hook(LAUNCHING, HeartbeatTimeout=7200, NotificationMetadata="kept")
    scaled.scaling.put_lifecycle_hook(
        AutoScalingGroupName="web", LifecycleHookName="hook", DefaultResult="CONTINUE"
    )
    (hook,) = scaled.scaling.describe_lifecycle_hooks(AutoScalingGroupName="web")["LifecycleHooks"]
    assert hook == {
        "LifecycleHookName": "hook",
        "AutoScalingGroupName": "web",
        "LifecycleTransition": LAUNCHING,
        "NotificationMetadata": "kept",
        "HeartbeatTimeout": 7200,
        "GlobalTimeout": 172800,
        "DefaultResult": "CONTINUE",
    }


def test_completing_needs_a_result_and_someone(scaled: Scaled) -> None:
    scaled.create(0)
    with pytest.raises(ClientError, match="Lifecycle Action Result"):
        scaled.complete("PERHAPS", InstanceId="i-0123456789abcdef0")
    with pytest.raises(ClientError, match="must be specified"):
        scaled.complete()


@pytest.mark.parametrize(("effect", "times"), [({"drop": True}, 0), ({"duplicate": 2}, 2)])
def test_a_hooks_event_is_lost_or_doubled_on_demand(
    scaled: Scaled, effect: dict[str, object], times: int
) -> None:
    scaled.cloud.faults.replace([{"match": {"event": LAUNCH_ACTION}, "effect": effect}])
    scaled.create(0)
    scaled.hook(LAUNCHING)
    scaled.scaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=1)
    scaled.wait()
    assert len(scaled.events(LAUNCH_ACTION)) == times
    scaled.complete(InstanceId=scaled.only())
    scaled.wait()
    assert list(scaled.states().values()) == ["InService"]


def test_nothing_of_a_group_is_left_after_a_reset(scaled: Scaled) -> None:
    scaled.create(2)
    scaled.hook(LAUNCHING)
    scaled.wait()
    scaled.cloud.reset()
    scaled.wait(10_000)
    assert scaled.scaling.describe_auto_scaling_groups()["AutoScalingGroups"] == []
    again = Scaled(scaled.cloud)
    again.create(1)
    again.wait()
    assert list(again.states().values()) == ["InService"]
