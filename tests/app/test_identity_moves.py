"""A service's addresses and names lead to the instance that it was restored onto, and to no other."""

import pytest

from stage import HOME_REGION
from tests.app.test_launches import KEEPS_DATA, launches, planned, with_a_point
from tests.support.deployment import Deployment, Document, service_rule
from tests.support.groups import Group


class Names:
    """An Elastic IP, a record, a network interface and a target group."""

    def __init__(self, app: Deployment) -> None:
        self.app = app
        self.allocation = app.ec2().allocate_address(Domain="vpc")["AllocationId"]
        self.route53 = app.cloud.client("route53", "us-east-1")
        zone = self.route53.create_hosted_zone(Name="example.internal", CallerReference="one")
        self.zone = zone["HostedZone"]["Id"].rpartition("/")[2]
        self.elb = app.cloud.client("elbv2", HOME_REGION)
        vpc = app.ec2().describe_vpcs()["Vpcs"][0]["VpcId"]
        made = self.elb.create_target_group(
            Name="orders", Protocol="TCP", Port=5432, VpcId=vpc, TargetType="instance"
        )
        self.group = made["TargetGroups"][0]["TargetGroupArn"]
        subnets = app.ec2().describe_subnets(
            Filters=[{"Name": "availability-zone", "Values": ["eu-central-1a"]}]
        )
        subnet = subnets["Subnets"][0]["SubnetId"]
        made = app.ec2().create_network_interface(SubnetId=subnet)
        self.interface = made["NetworkInterface"]["NetworkInterfaceId"]

    @property
    def identity(self) -> Document:
        """The plan's identity."""
        return {
            "elastic_ip": self.allocation,
            "eni": self.interface,
            "dns": {"zone": self.zone, "name": "orders.example.internal"},
            "target_group": self.group,
        }

    def holders(self) -> dict[str, object]:
        """Who has each part; the record by the instance whose private address it has."""
        ec2 = self.app.ec2()
        (address,) = ec2.describe_addresses(AllocationIds=[self.allocation])["Addresses"]
        (interface,) = ec2.describe_network_interfaces(NetworkInterfaceIds=[self.interface])[
            "NetworkInterfaces"
        ]
        records = self.route53.list_resource_record_sets(HostedZoneId=self.zone)["ResourceRecordSets"]
        values = [
            value["Value"] for each in records if each["Type"] == "A" for value in each["ResourceRecords"]
        ]
        instances = [
            each for found in ec2.describe_instances()["Reservations"] for each in found["Instances"]
        ]
        by_address = {each.get("PrivateIpAddress"): each["InstanceId"] for each in instances}
        health = self.elb.describe_target_health(TargetGroupArn=self.group)["TargetHealthDescriptions"]
        targets = [each["Target"]["Id"] for each in health if each["TargetHealth"]["State"] != "draining"]
        return {
            "elastic_ip": address.get("InstanceId") or None,
            "eni": interface.get("Attachment", {}).get("InstanceId"),
            "dns": [by_address.get(value, value) for value in values],
            "target_group": targets,
        }


def all_with(instance: str | None) -> dict[str, object]:
    """The holders when one instance has all, or nobody."""
    listed = [instance] if instance else []
    return {"elastic_ip": instance, "eni": instance, "dns": listed, "target_group": listed}


@pytest.fixture
def names(app: Deployment) -> Names:
    return Names(app)


def test_the_identity_follows_the_service_from_one_instance_to_the_next(
    app: Deployment, names: Names
) -> None:
    planned(app, identity=names.identity)
    group = Group(app)
    first = group.only()
    assert names.holders() == all_with(first)
    (app.directory(first) / "data").write_text("kept\n")

    group.replace(first)
    app.pass_time(minutes=3)
    second = group.only()

    assert second != first
    assert names.holders() == all_with(second)
    assert "identity is with" in launches(app)[-1]["reason"]


@pytest.mark.long
def test_an_instance_that_is_not_verified_gets_nothing(app: Deployment, names: Names) -> None:
    with_verify = service_rule(**KEEPS_DATA | {"verify": "exit 1"})
    planned(app, with_verify, identity=names.identity)
    with_a_point(app)
    Group(app)
    app.pass_time(minutes=3)

    assert launches(app)[0]["state"] == "FAILED"
    assert names.holders() == all_with(None)


@pytest.mark.long
def test_what_was_moved_goes_back_when_the_launch_fails_after_that(app: Deployment, names: Names) -> None:
    identity = {**names.identity, "target_group": names.group}
    planned(app, identity=identity)
    with_a_point(app)
    old = app.run_instance("other")
    app.ec2().associate_address(AllocationId=names.allocation, InstanceId=old)
    app.faults(
        {
            "match": {"service": "elbv2", "operation": "RegisterTargets"},
            "effect": {"error": {"code": "AccessDenied", "status": 403, "message": "not allowed"}},
        }
    )
    group = Group(app)
    app.pass_time(minutes=2)
    group.autoscaling.set_desired_capacity(AutoScalingGroupName="orders", DesiredCapacity=0)
    app.pass_time(minutes=8)

    assert names.holders() == {**all_with(None), "elastic_ip": old, "dns": names.holders()["dns"]}
    (launch, *_) = launches(app)
    assert f"is with {old}" in launch["reason"]
    assert launch["state"] == "FAILED"
    assert "RegisterTargets failed" in launch["reason"]
    assert "ABANDON" in launch["reason"]
