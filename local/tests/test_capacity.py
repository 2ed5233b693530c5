"""What EC2 has no room for, and what the account may not run, set through the control server."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ec2_bench import refused
from little_stack import HOME
from local_cloud.cloud import Cloud
from scaled import ZONES, Scaled


@pytest.fixture
def scaled(cloud: Cloud) -> Scaled:
    return Scaled(cloud)


def launcher(scaled: Scaled) -> Callable[..., dict[str, Any]]:
    def launch(count: int = 1, smallest: int = 1, **more: Any) -> dict[str, Any]:
        wanted = {"ImageId": "ami-1", "InstanceType": "m5.large", **more}
        answer: dict[str, Any] = scaled.ec2.run_instances(MinCount=smallest, MaxCount=count, **wanted)
        return answer

    return launch


def test_a_full_zone_refuses_and_another_takes_the_launch(scaled: Scaled) -> None:
    launch = launcher(scaled)
    scaled.cloud.capacity.replace({"zones": [{"zone": ZONES[0], "type": "m5.*", "free": 0}]})
    with pytest.raises(
        ClientError, match=f"sufficient m5.large capacity .* requested \\({ZONES[0]}\\)"
    ) as failure:
        launch(Placement={"AvailabilityZone": ZONES[0]})
    assert failure.value.response["Error"]["Code"] == "InsufficientInstanceCapacity"
    assert launch(InstanceType="t3.micro", Placement={"AvailabilityZone": ZONES[0]})["Instances"]
    assert launch(Placement={"AvailabilityZone": ZONES[1]})["Instances"]
    (anywhere,) = launch()["Instances"]
    assert anywhere["Placement"]["AvailabilityZone"] == ZONES[1]


def test_the_zone_of_a_subnet_counts(scaled: Scaled) -> None:
    vpc = scaled.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = scaled.ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24", AvailabilityZone=ZONES[1])["Subnet"]
    scaled.cloud.capacity.replace({"zones": [{"zone": ZONES[1], "free": 0}]})
    code = refused(launcher(scaled), SubnetId=subnet["SubnetId"])
    assert code == "InsufficientInstanceCapacity"


def test_a_launch_gets_what_there_is_room_for(scaled: Scaled) -> None:
    launch = launcher(scaled)
    scaled.cloud.capacity.replace({"zones": [{"free": 3}]})
    assert refused(launch, count=5, smallest=4) == "InsufficientInstanceCapacity"
    assert len(launch(count=5, smallest=2)["Instances"]) == 3
    assert scaled.cloud.capacity.to_document() == {
        "zones": [{"zone": "*", "type": "*", "free": 0}],
        "quotas": [],
    }


def test_a_stopped_instance_needs_room_to_start(scaled: Scaled) -> None:
    ids = [launcher(scaled)()["Instances"][0]["InstanceId"]]
    scaled.wait()
    scaled.ec2.stop_instances(InstanceIds=ids)
    scaled.wait()
    scaled.cloud.capacity.replace({"zones": [{"free": 0}]})
    assert refused(scaled.ec2.start_instances, InstanceIds=ids) == "InsufficientInstanceCapacity"
    scaled.cloud.capacity.replace({})
    scaled.ec2.start_instances(InstanceIds=ids)
    scaled.wait()
    assert scaled.instance(ids[0])["State"]["Name"] == "running"


@pytest.mark.parametrize(
    ("quota", "code"), [({"vcpus": 5}, "VcpuLimitExceeded"), ({"instances": 2}, "InstanceLimitExceeded")]
)
def test_quotas_count_what_is_pending_or_running(scaled: Scaled, quota: dict[str, int], code: str) -> None:
    launch = launcher(scaled)
    scaled.cloud.capacity.replace({"quotas": [{"region": HOME, **quota}]})
    ids = [each["InstanceId"] for each in launch(2)["Instances"]]
    assert refused(launch) == code
    scaled.wait()
    scaled.ec2.terminate_instances(InstanceIds=ids[:1])
    assert launch()["Instances"]


@pytest.mark.parametrize("quota", [{"vcpus": 7}, {"instances": 3}], ids=str)
def test_a_launch_gets_as_many_as_a_quota_allows(scaled: Scaled, quota: dict[str, int]) -> None:
    scaled.cloud.capacity.replace({"quotas": [{"region": HOME, **quota}]})
    assert len(launcher(scaled)(count=5)["Instances"]) == 3


def test_a_group_tries_the_other_zone_and_later_again(scaled: Scaled) -> None:
    scaled.cloud.capacity.replace({"zones": [{"zone": ZONES[0], "free": 0}, {"free": 1}]})
    scaled.create(2)
    scaled.wait()
    (there,) = [scaled.instance(each)["Placement"]["AvailabilityZone"] for each in scaled.states()]
    assert there == ZONES[1]
    failures = scaled.events("EC2 Instance Launch Unsuccessful")
    assert [each["detail"]["Details"]["Availability Zone"] for each in failures] == [
        ZONES[0],
        ZONES[0],
        ZONES[1],
    ]
    assert "We currently do not have sufficient t3.micro capacity" in failures[0]["detail"]["StatusMessage"]
    assert failures[0]["detail"]["StatusCode"] == "Failed"
    assert failures[0]["resources"] == [scaled.group()["AutoScalingGroupARN"]]
    scaled.cloud.capacity.replace({})
    scaled.wait(90)
    assert list(scaled.states().values()) == ["InService", "InService"]


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ([], "/: Input should be"),
        ({"zones": [{"zone": "a"}]}, "/zones/0/free: Field required"),
        ({"quotas": [{"vcpus": -1}]}, "/quotas/0/vcpus"),
        ({"rooms": []}, "/rooms: Extra inputs"),
    ],
)
def test_limits_that_cannot_be_are_refused(scaled: Scaled, document: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        scaled.cloud.capacity.replace(document)


def test_a_bucket_has_a_token_for_each_instance(scaled: Scaled) -> None:
    launch = launcher(scaled)
    scaled.cloud.capacity.replace({"zones": [{"free": 0}]})
    assert refused(launch, count=999) == "InsufficientInstanceCapacity"
    assert refused(launch, count=20) == "RequestLimitExceeded"
    scaled.wait(10)
    assert refused(launch, count=20) == "InsufficientInstanceCapacity"
