"""Warm pools and instance refreshes of Auto Scaling groups, called with boto3 over HTTP."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from ec2_bench import refused
from local_cloud.cloud import Cloud
from scaled import LAUNCHING, TERMINATING, Scaled

LAUNCH_ACTION = "EC2 Instance-launch Lifecycle Action"
TERMINATE_ACTION = "EC2 Instance-terminate Lifecycle Action"


@pytest.fixture
def scaled(cloud: Cloud) -> Scaled:
    return Scaled(cloud)


def warm(scaled: Scaled) -> dict[str, str]:
    """Return the lifecycle state of each instance of the warm pool."""
    found = scaled.scaling.describe_warm_pool(AutoScalingGroupName="web")["Instances"]
    return {each["InstanceId"]: each["LifecycleState"] for each in found}


def put_pool(scaled: Scaled, **more: Any) -> None:
    scaled.scaling.put_warm_pool(AutoScalingGroupName="web", **more)


def desire(scaled: Scaled, count: int) -> None:
    scaled.scaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=count)


def ways(scaled: Scaled, kind: str) -> list[tuple[str, str]]:
    """Return from where to where the events of a kind say that an instance goes."""
    return [(each["detail"]["Origin"], each["detail"]["Destination"]) for each in scaled.events(kind)]


def test_a_warm_pool_holds_what_is_beyond_the_desired_capacity(scaled: Scaled) -> None:
    scaled.create(1, MaxSize=4)
    put_pool(scaled)
    scaled.wait(30)
    assert list(warm(scaled).values()) == ["Warmed:Stopped"] * 3
    assert {scaled.instance(each)["State"]["Name"] for each in warm(scaled)} == {"stopped"}
    assert scaled.group()["WarmPoolSize"] == 3
    assert list(scaled.states().values()) == ["InService"]
    listed = scaled.scaling.describe_auto_scaling_instances()["AutoScalingInstances"]
    assert sorted(each["LifecycleState"] for each in listed) == ["InService", *["Warmed:Stopped"] * 3]
    put_pool(scaled, MaxGroupPreparedCapacity=2)
    scaled.wait(30)
    assert len(warm(scaled)) == 1
    put_pool(scaled, MaxGroupPreparedCapacity=1, MinSize=2)
    scaled.wait(30)
    assert len(warm(scaled)) == 2


def test_an_instance_waits_for_the_hook_into_the_pool_and_out_of_it(scaled: Scaled) -> None:
    scaled.create(0, MaxSize=1)
    scaled.hook(LAUNCHING)
    put_pool(scaled)
    scaled.wait()
    (instance_id,) = warm(scaled)
    assert warm(scaled) == {instance_id: "Warmed:Pending:Wait"}
    assert ways(scaled, LAUNCH_ACTION) == [("EC2", "WarmPool")]
    scaled.complete(InstanceId=instance_id)
    assert warm(scaled) == {instance_id: "Warmed:Pending:Proceed"}
    scaled.wait()
    assert warm(scaled) == {instance_id: "Warmed:Stopped"}
    assert ways(scaled, "EC2 Instance Launch Successful") == [("EC2", "WarmPool")]

    desire(scaled, 1)
    scaled.wait(2)
    assert (warm(scaled), scaled.states()) == ({}, {instance_id: "Pending"})
    scaled.wait()
    assert scaled.states() == {instance_id: "Pending:Wait"}
    assert scaled.instance(instance_id)["State"]["Name"] == "running"
    assert ways(scaled, LAUNCH_ACTION)[1:] == [("WarmPool", "AutoScalingGroup")]
    scaled.complete(InstanceId=instance_id)
    scaled.wait()
    assert scaled.states() == {instance_id: "InService"}
    assert ways(scaled, "EC2 Instance Launch Successful")[1:] == [("WarmPool", "AutoScalingGroup")]


def test_a_pool_may_run_and_is_replaced_when_it_fails(scaled: Scaled) -> None:
    scaled.create(0)
    put_pool(scaled, PoolState="Running", MaxGroupPreparedCapacity=1)
    scaled.wait()
    (first,) = warm(scaled)
    assert warm(scaled) == {first: "Warmed:Running"}
    scaled.ec2.terminate_instances(InstanceIds=[first])
    scaled.wait(30)
    (second,) = warm(scaled)
    assert (second != first, warm(scaled)[second]) == (True, "Warmed:Running")
    assert ("WarmPool", "EC2") in ways(scaled, "EC2 Instance Terminate Successful")


def test_an_abandoned_instance_of_a_pool_is_made_again(scaled: Scaled) -> None:
    scaled.create(0)
    scaled.hook(LAUNCHING)
    put_pool(scaled, MaxGroupPreparedCapacity=1)
    scaled.wait()
    (first,) = warm(scaled)
    scaled.complete("ABANDON", InstanceId=first)
    assert warm(scaled) == {first: "Warmed:Terminating"}
    scaled.wait()
    (second,) = warm(scaled)
    assert (second != first, warm(scaled)[second]) == (True, "Warmed:Pending:Wait")


def test_an_instance_returns_to_the_pool_where_that_is_wanted(scaled: Scaled) -> None:
    scaled.create(1, MaxSize=1)
    scaled.hook(TERMINATING)
    put_pool(scaled, InstanceReusePolicy={"ReuseOnScaleIn": True})
    scaled.wait()
    instance_id = scaled.only()
    desire(scaled, 0)
    scaled.wait()
    assert scaled.states() == {instance_id: "Terminating:Wait"}
    assert ways(scaled, TERMINATE_ACTION) == [("AutoScalingGroup", "WarmPool")]
    scaled.complete(InstanceId=instance_id)
    scaled.wait()
    assert scaled.states() == {}
    assert warm(scaled)[instance_id] == "Warmed:Stopped"
    assert ways(scaled, "EC2 Instance Launch Successful")[-1] == ("AutoScalingGroup", "WarmPool")


@pytest.mark.parametrize("force", [True, False])
def test_a_deleted_pool_takes_its_instances_along(scaled: Scaled, force: bool) -> None:
    scaled.create(0)
    scaled.hook(TERMINATING, HeartbeatTimeout=30)
    put_pool(scaled, MaxGroupPreparedCapacity=2)
    scaled.wait(30)
    ids = list(warm(scaled))
    scaled.scaling.delete_warm_pool(AutoScalingGroupName="web", ForceDelete=force)
    status = scaled.scaling.describe_warm_pool(AutoScalingGroupName="web")["WarmPoolConfiguration"]["Status"]
    assert status == "PendingDelete"
    assert refused(put_pool, scaled=scaled) == "ValidationError"
    scaled.wait(5)
    expected = "Warmed:Terminating:Proceed" if force else "Warmed:Terminating:Wait"
    assert set(warm(scaled).values()) <= {expected, "Warmed:Terminated"}
    scaled.wait(60)
    assert "WarmPoolConfiguration" not in scaled.scaling.describe_warm_pool(AutoScalingGroupName="web")
    assert {scaled.instance(each)["State"]["Name"] for each in ids} == {"terminated"}
    assert refused(scaled.scaling.delete_warm_pool, AutoScalingGroupName="web") == "ValidationError"


def test_an_instance_of_a_pool_is_not_terminated_by_the_call_for_groups(scaled: Scaled) -> None:
    scaled.create(0)
    put_pool(scaled, MaxGroupPreparedCapacity=1)
    scaled.wait(30)
    (instance_id,) = warm(scaled)
    with pytest.raises(ClientError, match="in a warm pool"):
        scaled.scaling.terminate_instance_in_auto_scaling_group(
            InstanceId=instance_id, ShouldDecrementDesiredCapacity=False
        )
    with pytest.raises(ClientError, match="Invalid pool state"):
        put_pool(scaled, PoolState="Frozen")


def refresh(scaled: Scaled, **preferences: Any) -> str:
    """Start a refresh and return its id."""
    whole = {"InstanceWarmup": 0, **preferences}
    started = scaled.scaling.start_instance_refresh(AutoScalingGroupName="web", Preferences=whole)
    return str(started["InstanceRefreshId"])


def progress(scaled: Scaled) -> dict[str, Any]:
    """Return the newest refresh."""
    found = scaled.scaling.describe_instance_refreshes(AutoScalingGroupName="web")["InstanceRefreshes"]
    newest: dict[str, Any] = found[0]
    return newest


@pytest.mark.parametrize(
    ("preferences", "least"), [({}, 3), ({"MinHealthyPercentage": 50}, 2), ({"MinHealthyPercentage": 100}, 4)]
)
def test_a_refresh_replaces_all_and_keeps_enough_in_service(
    scaled: Scaled, preferences: dict[str, int], least: int
) -> None:
    scaled.create(4)
    scaled.wait()
    before = set(scaled.states())
    refresh_id = refresh(scaled, **preferences)
    fewest, most = 4, 0
    while progress(scaled)["Status"] in ("Pending", "InProgress"):
        states = list(scaled.states().values())
        fewest = min(fewest, states.count("InService"))
        most = max(most, sum(not state.startswith("Terminat") for state in states))
        scaled.wait(0.5)
    assert (fewest, most) == (least, 5 if least == 4 else 4)
    assert (progress(scaled)["Status"], progress(scaled)["PercentageComplete"]) == ("Successful", 100)
    scaled.wait()
    assert list(scaled.states().values()) == ["InService"] * 4
    assert before.isdisjoint(scaled.states())
    for what in ("Started", "Succeeded"):
        (event,) = scaled.events(f"EC2 Auto Scaling Instance Refresh {what}")
        assert event["detail"] == {"InstanceRefreshId": refresh_id, "AutoScalingGroupName": "web"}
        assert event["resources"] == [scaled.group()["AutoScalingGroupARN"]]


def test_a_refresh_waits_for_hooks_and_for_the_warmup(scaled: Scaled) -> None:
    scaled.create(2)
    scaled.wait()
    scaled.hook(LAUNCHING)
    old = set(scaled.states())
    refresh(scaled, InstanceWarmup=60)
    scaled.wait(600)
    assert len(old & set(scaled.states())) == 1
    assert (progress(scaled)["PercentageComplete"], progress(scaled)["InstancesToUpdate"]) == (0, 2)
    (new,) = set(scaled.states()) - old
    assert scaled.states()[new] == "Pending:Wait"
    scaled.complete(InstanceId=new)
    scaled.wait(55)
    assert len(old & set(scaled.states())) == 1
    scaled.wait(20)
    assert (progress(scaled)["PercentageComplete"], progress(scaled)["InstancesToUpdate"]) == (50, 1)
    (second,) = set(scaled.states()) - old - {new}
    scaled.complete(InstanceId=second)
    scaled.wait(90)
    assert progress(scaled)["Status"] == "Successful"


def test_a_refresh_takes_the_desired_template_and_skips_what_matches(scaled: Scaled) -> None:
    scaled.create(2)
    scaled.wait()
    named = {"LaunchTemplateName": "web", "Version": "2"}
    start = {"AutoScalingGroupName": "web", "DesiredConfiguration": {"LaunchTemplate": named}}
    with pytest.raises(ClientError, match="version 2 does not exist"):
        scaled.scaling.start_instance_refresh(**start)
    scaled.ec2.create_launch_template_version(
        LaunchTemplateName="web", LaunchTemplateData={"ImageId": "ami-2", "InstanceType": "t3.small"}
    )
    scaled.scaling.start_instance_refresh(
        **start, Preferences={"InstanceWarmup": 0, "MinHealthyPercentage": 0, "SkipMatching": True}
    )
    scaled.wait(60)
    assert progress(scaled)["Status"] == "Successful"
    assert {scaled.instance(each)["InstanceType"] for each in scaled.states()} == {"t3.small"}
    kept = scaled.states()
    refresh(scaled, SkipMatching=True)
    scaled.wait(60)
    assert (progress(scaled)["Status"], scaled.states()) == ("Successful", kept)


def test_a_cancelled_refresh_replaces_no_more(scaled: Scaled) -> None:
    scaled.create(3)
    scaled.wait()
    old = set(scaled.states())
    refresh(scaled, InstanceWarmup=600)
    named = {"AutoScalingGroupName": "web"}
    assert refused(scaled.scaling.start_instance_refresh, **named) == "InstanceRefreshInProgress"
    scaled.wait()
    scaled.scaling.cancel_instance_refresh(**named)
    assert progress(scaled)["Status"] == "Cancelling"
    scaled.wait(3600)
    assert progress(scaled)["Status"] == "Cancelled"
    assert len(old & set(scaled.states())) == 2
    assert len(scaled.events("EC2 Auto Scaling Instance Refresh Cancelled")) == 1
    assert refused(scaled.scaling.cancel_instance_refresh, **named) == "ActiveInstanceRefreshNotFound"


@pytest.mark.parametrize(
    "preferences",
    [
        {"MinHealthyPercentage": 101},
        {"MinHealthyPercentage": 10, "MaxHealthyPercentage": 120},
    ],
)
def test_a_refresh_that_cannot_be_is_refused(scaled: Scaled, preferences: dict[str, int]) -> None:
    scaled.create(1)
    assert refused(refresh, scaled=scaled, **preferences) == "ValidationError"
