"""Elastic IPs, network interfaces, records and target groups through our adapters, on the local cloud."""

from datetime import timedelta
from typing import Any

import pytest

from chalicelib.aws.clients import Clients
from chalicelib.aws.ec2_network import Ec2Network
from chalicelib.aws.elbv2 import Target, TargetGroups
from chalicelib.aws.route53 import ARecord, Route53
from chalicelib.errors import Conflict, NotFound, Retryable
from local_cloud.cloud import Cloud
from local_cloud.control.faults import Effect, Error, Fault, Match
from tests.aws.conftest import HOME

NAME = "orders.example.internal"


@pytest.fixture
def network(clients: Clients) -> Ec2Network:
    return Ec2Network(clients.ec2(), unretried=clients.ec2(retries=False))


@pytest.fixture
def route53(clients: Clients) -> Route53:
    return Route53(clients.route53())


@pytest.fixture
def target_groups(clients: Clients) -> TargetGroups:
    return TargetGroups(clients.elbv2())


@pytest.fixture
def zone(cloud: Cloud) -> str:
    made = cloud.client("route53", "us-east-1").create_hosted_zone(
        Name="example.internal", CallerReference="once"
    )
    return str(made["HostedZone"]["Id"]).rpartition("/")[2]


@pytest.fixture
def group(cloud: Cloud) -> str:
    (vpc, *_) = cloud.client("ec2", HOME).describe_vpcs()["Vpcs"]
    made = cloud.client("elbv2", HOME).create_target_group(
        Name="orders", Protocol="TCP", Port=5432, VpcId=vpc["VpcId"], TargetType="instance"
    )
    return str(made["TargetGroups"][0]["TargetGroupArn"])


def launch(cloud: Cloud, count: int = 1) -> list[str]:
    answer = cloud.client("ec2", HOME).run_instances(ImageId="ami-12345678", MinCount=count, MaxCount=count)
    cloud.advance(timedelta(minutes=1))
    return [str(instance["InstanceId"]) for instance in answer["Instances"]]


def allocate(cloud: Cloud) -> str:
    return str(cloud.client("ec2", HOME).allocate_address(Domain="vpc")["AllocationId"])


def interface_beside(cloud: Cloud, instance: str) -> str:
    """Create a network interface in the subnet of an instance."""
    ec2 = cloud.client("ec2", HOME)
    (found,) = ec2.describe_instances(InstanceIds=[instance])["Reservations"]
    made = ec2.create_network_interface(SubnetId=found["Instances"][0]["SubnetId"])
    return str(made["NetworkInterface"]["NetworkInterfaceId"])


def failing(cloud: Cloud, service: str, operation: str, code: str) -> None:
    match = Match(service=service, operation=operation)
    cloud.faults.replace([Fault(match=match, effect=Effect(error=Error(code=code, status=400)))])


def test_an_instance_has_a_primary_interface_with_its_addresses(cloud: Cloud, network: Ec2Network) -> None:
    (instance,) = launch(cloud)
    (found,) = cloud.client("ec2", HOME).describe_instances(InstanceIds=[instance])["Reservations"]
    (primary,) = network.interfaces_of(instance)
    assert (primary.instance_id, primary.device_index, primary.status) == (instance, 0, "in-use")
    assert primary.private_address == found["Instances"][0]["PrivateIpAddress"]
    assert primary.public_address == found["Instances"][0]["PublicIpAddress"]
    assert primary.availability_zone == found["Instances"][0]["Placement"]["AvailabilityZone"]


def test_an_elastic_ip_moves_in_one_call_and_is_freed(cloud: Cloud, network: Ec2Network) -> None:
    ip = allocate(cloud)
    first, second = (network.interfaces_of(each)[0] for each in launch(cloud, 2))
    network.associate(ip, first.id, None, takes_over=True)
    held = network.elastic_ip(ip)
    assert held is not None
    assert (held.interface_id, held.private_address) == (first.id, first.private_address)
    network.associate(ip, second.id, second.private_address, takes_over=True)
    moved = network.elastic_ip(ip)
    assert moved is not None
    assert moved.interface_id == second.id
    assert network.interfaces([second.id])[second.id].public_address == moved.public_address
    network.disassociate(moved.association_id or "")
    network.disassociate(moved.association_id or "")
    freed = network.elastic_ip(ip)
    assert freed is not None
    assert (freed.association_id, freed.interface_id, freed.private_address) == (None, None, None)


def test_an_elastic_ip_that_is_not_taken_over_stays_with_its_holder(
    cloud: Cloud, network: Ec2Network
) -> None:
    ip = allocate(cloud)
    first, second = (network.interfaces_of(each)[0] for each in launch(cloud, 2))
    network.associate(ip, first.id, None, takes_over=False)
    with pytest.raises(Retryable, match=r"Resource\.AlreadyAssociated"):
        network.associate(ip, second.id, None, takes_over=False)
    held = network.elastic_ip(ip)
    assert held is not None
    assert held.interface_id == first.id


def test_what_does_not_exist_is_left_out(cloud: Cloud, network: Ec2Network) -> None:
    assert network.elastic_ip("eipalloc-00000000000000000") is None
    assert network.interfaces(["eni-00000000000000000"]) == {}
    assert network.interfaces([]) == {}
    assert network.interfaces_of("i-00000000000000000") == ()
    with pytest.raises(NotFound, match=r"InvalidNetworkInterfaceID\.NotFound"):
        network.attach("eni-00000000000000000", launch(cloud)[0], 1)


def test_an_interface_is_attached_and_detached(cloud: Cloud, network: Ec2Network) -> None:
    (instance,) = launch(cloud)
    eni = interface_beside(cloud, instance)
    assert (network.interfaces([eni])[eni].status, network.interfaces([eni])[eni].instance_id) == (
        "available",
        None,
    )
    network.attach(eni, instance, 1)
    cloud.advance(timedelta(seconds=3))
    attached = network.interfaces([eni])[eni]
    assert (attached.instance_id, attached.device_index) == (instance, 1)
    assert [each.device_index for each in network.interfaces_of(instance)] == [0, 1]
    network.detach(attached.attachment_id or "")
    cloud.advance(timedelta(seconds=3))
    network.detach(attached.attachment_id or "")
    assert network.interfaces([eni])[eni].instance_id is None


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("InvalidNetworkInterface.InUse", Retryable),
        ("AttachmentLimitExceeded", Conflict),
        ("InvalidInstanceID.NotFound", NotFound),
    ],
)
def test_a_refused_attachment_is_an_error(
    cloud: Cloud, network: Ec2Network, code: str, expected: type[Exception]
) -> None:
    failing(cloud, "ec2", "AttachNetworkInterface", code)
    with pytest.raises(expected, match=code):
        network.attach("eni-1", "i-1", 1)


def test_detaching_what_is_being_detached_is_no_error_and_a_primary_interface_is_one(
    cloud: Cloud, network: Ec2Network
) -> None:
    failing(cloud, "ec2", "DetachNetworkInterface", "IncorrectState")
    network.detach("eni-attach-1")
    failing(cloud, "ec2", "DetachNetworkInterface", "OperationNotPermitted")
    with pytest.raises(Conflict, match="OperationNotPermitted"):
        network.detach("eni-attach-1")


def test_a_record_is_created_and_replaced(zone: str, route53: Route53) -> None:
    assert route53.a_record(zone, NAME) is None
    assert route53.upsert(zone, NAME, ["10.0.0.1"], 60)
    assert route53.a_record(zone, f"{NAME.upper()}.") == ARecord(("10.0.0.1",), 60)
    route53.upsert(zone, NAME, ["10.0.0.2", "10.0.0.3"], 300)
    assert route53.a_record(zone, NAME) == ARecord(("10.0.0.2", "10.0.0.3"), 300)


def test_only_the_record_of_that_very_name_is_found(zone: str, route53: Route53) -> None:
    route53.upsert(zone, f"z.{NAME}", ["10.0.0.1"], 60)
    assert route53.a_record(zone, NAME) is None
    assert route53.a_record(zone, f"a.{NAME}") is None


def test_a_wildcard_record_is_found_as_it_is_named(zone: str, route53: Route53) -> None:
    route53.upsert(zone, "*.example.internal", ["10.0.0.1"], 60)
    assert route53.a_record(zone, "*.example.internal") == ARecord(("10.0.0.1",), 60)


@pytest.mark.parametrize(
    "more",
    [
        {"SetIdentifier": "one", "Weight": 10, "TTL": 60, "ResourceRecords": [{"Value": "10.0.0.1"}]},
        {
            "AliasTarget": {
                "HostedZoneId": "Z215JYRZR1TBD5",
                "DNSName": "lb.eu-central-1.elb.amazonaws.com",
                "EvaluateTargetHealth": False,
            }
        },
    ],
    ids=["weighted", "alias"],
)
def test_a_record_that_is_not_simple_is_recognised(
    cloud: Cloud, zone: str, route53: Route53, more: dict[str, Any]
) -> None:
    change = {"Action": "CREATE", "ResourceRecordSet": {"Name": NAME, "Type": "A", **more}}
    cloud.client("route53", "us-east-1").change_resource_record_sets(
        HostedZoneId=zone, ChangeBatch={"Changes": [change]}
    )
    found = route53.a_record(zone, NAME)
    assert found is not None
    assert not found.simple


def test_a_zone_that_does_not_exist_is_named(cloud: Cloud, route53: Route53) -> None:
    with pytest.raises(NotFound, match=f"{NAME} in Z0123456789"):
        route53.a_record("Z0123456789", NAME)
    with pytest.raises(NotFound, match="NoSuchHostedZone"):
        route53.upsert("Z0123456789", NAME, ["10.0.0.1"], 60)


def test_a_change_under_way_is_tried_again_later(cloud: Cloud, zone: str, route53: Route53) -> None:
    failing(cloud, "route53", "ChangeResourceRecordSets", "PriorRequestNotComplete")
    with pytest.raises(Retryable):
        route53.upsert(zone, NAME, ["10.0.0.1"], 60)


def test_targets_are_registered_and_deregistered(
    cloud: Cloud, group: str, target_groups: TargetGroups
) -> None:
    first, second = launch(cloud, 2)
    target_groups.register(group, [Target(first), Target(second, 6432)])
    assert set(target_groups.targets(group)) == {Target(first, 5432), Target(second, 6432)}
    target_groups.deregister(group, [Target(first, 5432)])
    assert target_groups.targets(group) == (Target(second, 6432),)


def test_a_target_group_that_does_not_exist_is_named(cloud: Cloud, target_groups: TargetGroups) -> None:
    missing = f"arn:aws:elasticloadbalancing:{HOME}:123456789012:targetgroup/none/0123456789abcdef"
    with pytest.raises(NotFound, match="targetgroup/none"):
        target_groups.targets(missing)
    with pytest.raises(NotFound, match="TargetGroupNotFound"):
        target_groups.register(missing, [Target("i-1")])


@pytest.mark.parametrize("code", ["InvalidTarget", "TooManyRegistrationsForTargetId"])
def test_a_refused_target_is_a_conflict(
    cloud: Cloud, group: str, target_groups: TargetGroups, code: str
) -> None:
    failing(cloud, "elbv2", "RegisterTargets", code)
    with pytest.raises(Conflict, match=code):
        target_groups.register(group, [Target("i-1")])
