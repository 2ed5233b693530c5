"""What a machine is known by: addresses, interfaces, names, target groups; called with boto3 over HTTP."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from ec2_bench import refused
from little_stack import HOME
from local_cloud.cloud import Cloud
from scaled import ZONES, Scaled


class Machines(Scaled):
    """Two instances that run, `one` and `two`."""

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud)
        self.one, self.two = self.run(2)
        self.wait()
        self.balancers = cloud.client("elbv2", HOME)
        self.names = cloud.client("route53", "us-east-1")

    def run(self, count: int = 1, zone: str = ZONES[0]) -> list[str]:
        """Launch instances and return their ids; they do not run yet."""
        launched = self.ec2.run_instances(
            ImageId="ami-1", MinCount=count, MaxCount=count, Placement={"AvailabilityZone": zone}
        )
        return [each["InstanceId"] for each in launched["Instances"]]

    def public_ip(self, instance_id: str) -> str | None:
        """Return an instance's public address."""
        return self.instance(instance_id).get("PublicIpAddress")


@pytest.fixture
def machines(cloud: Cloud) -> Machines:
    return Machines(cloud)


def allocate(machines: Machines) -> tuple[str, str]:
    """Return a new address's allocation id and the address."""
    made = machines.ec2.allocate_address(Domain="vpc")
    return made["AllocationId"], made["PublicIp"]


def address(machines: Machines, allocation_id: str) -> dict[str, Any]:
    (found,) = machines.ec2.describe_addresses(AllocationIds=[allocation_id])["Addresses"]
    shown: dict[str, Any] = found
    return shown


def test_an_address_moves_unless_that_is_not_allowed(machines: Machines) -> None:
    allocation_id, public_ip = allocate(machines)
    associate = machines.ec2.associate_address
    first = associate(AllocationId=allocation_id, InstanceId=machines.one)["AssociationId"]
    again = associate(AllocationId=allocation_id, InstanceId=machines.one, AllowReassociation=False)
    assert again["AssociationId"] == first
    assert machines.public_ip(machines.one) == public_ip
    other = {"AllocationId": allocation_id, "InstanceId": machines.two}
    assert refused(associate, **other, AllowReassociation=False) == "Resource.AlreadyAssociated"
    second = associate(**other)["AssociationId"]
    assert second != first
    assert (address(machines, allocation_id)["InstanceId"], machines.public_ip(machines.two)) == (
        machines.two,
        public_ip,
    )
    assert machines.public_ip(machines.one) != public_ip
    assert refused(machines.ec2.disassociate_address, AssociationId=first) == "InvalidAssociationID.NotFound"
    assert refused(machines.ec2.release_address, AllocationId=allocation_id) == "InvalidIPAddress.InUse"
    machines.ec2.disassociate_address(AssociationId=second)
    assert "AssociationId" not in address(machines, allocation_id)
    machines.ec2.release_address(AllocationId=allocation_id)


def test_an_instance_has_one_address_and_gives_it_back(machines: Machines) -> None:
    (first, _), (second, public_ip) = allocate(machines), allocate(machines)
    associate = machines.ec2.associate_address
    associate(AllocationId=first, InstanceId=machines.one)
    taken = {"AllocationId": second, "InstanceId": machines.one}
    assert refused(associate, **taken, AllowReassociation=False) == "Resource.AlreadyAssociated"
    associate(**taken)
    assert "AssociationId" not in address(machines, first)
    assert machines.public_ip(machines.one) == public_ip
    machines.ec2.terminate_instances(InstanceIds=[machines.one])
    assert address(machines, second)["InstanceId"] == machines.one
    machines.wait()
    assert "AssociationId" not in address(machines, second)
    associate(AllocationId=second, InstanceId=machines.two)


def test_an_address_needs_an_instance_that_runs(machines: Machines) -> None:
    (pending,) = machines.run()
    allocation_id, _ = allocate(machines)
    associate = machines.ec2.associate_address
    assert refused(associate, AllocationId=allocation_id, InstanceId=pending) == "InvalidInstanceID"
    assert (
        refused(associate, AllocationId="eipalloc-0", InstanceId=machines.one)
        == "InvalidAllocationID.NotFound"
    )
    assert refused(associate, InstanceId=machines.one) == "MissingParameter"


def interface(machines: Machines) -> str:
    """Make an interface in the machines' subnet."""
    subnet = machines.instance(machines.one)["SubnetId"]
    made = machines.ec2.create_network_interface(SubnetId=subnet)
    return str(made["NetworkInterface"]["NetworkInterfaceId"])


def seen(machines: Machines, interface_id: str) -> tuple[str, str | None, str | None]:
    """Return an interface's status, that of its attachment, and its instance."""
    (found,) = machines.ec2.describe_network_interfaces(NetworkInterfaceIds=[interface_id])[
        "NetworkInterfaces"
    ]
    attachment = found.get("Attachment", {})
    return found["Status"], attachment.get("Status"), attachment.get("InstanceId")


def test_an_interface_moves_in_time(machines: Machines) -> None:
    eni, ec2 = interface(machines), machines.ec2
    to_one = {"NetworkInterfaceId": eni, "InstanceId": machines.one, "DeviceIndex": 1}
    to_two = to_one | {"InstanceId": machines.two}
    attachment = ec2.attach_network_interface(**to_one)["AttachmentId"]
    assert seen(machines, eni) == ("in-use", "attaching", machines.one)
    machines.wait(3)
    assert seen(machines, eni) == ("in-use", "attached", machines.one)
    assert refused(ec2.attach_network_interface, **to_two) == "InvalidNetworkInterface.InUse"
    assert refused(ec2.delete_network_interface, NetworkInterfaceId=eni) == "InvalidNetworkInterface.InUse"
    ec2.detach_network_interface(AttachmentId=attachment)
    assert seen(machines, eni) == ("in-use", "detaching", machines.one)
    assert refused(ec2.attach_network_interface, **to_two) == "InvalidNetworkInterface.InUse"
    machines.wait(3)
    assert seen(machines, eni) == ("available", None, None)
    assert refused(ec2.detach_network_interface, AttachmentId=attachment) == "InvalidAttachmentID.NotFound"
    ec2.attach_network_interface(**to_two)
    machines.wait(3)
    assert seen(machines, eni) == ("in-use", "attached", machines.two)
    ec2.terminate_instances(InstanceIds=[machines.two])
    machines.wait()
    assert seen(machines, eni) == ("available", None, None)
    ec2.delete_network_interface(NetworkInterfaceId=eni)


def test_an_interface_that_does_not_fit_is_refused(machines: Machines) -> None:
    eni, attach = interface(machines), machines.ec2.attach_network_interface
    (elsewhere,) = machines.run(zone=ZONES[1])
    machines.wait()
    whole = {"NetworkInterfaceId": eni, "InstanceId": machines.one, "DeviceIndex": 1}
    assert refused(attach, **whole | {"DeviceIndex": 0}) == "InvalidParameterValue"
    assert refused(attach, **whole | {"InstanceId": elsewhere}) == "InvalidParameterCombination"
    assert refused(attach, **whole | {"NetworkInterfaceId": "eni-0"}) == "InvalidNetworkInterfaceID.NotFound"
    first = machines.instance(machines.one)["NetworkInterfaces"][0]["NetworkInterfaceId"]
    (shown,) = machines.ec2.describe_network_interfaces(NetworkInterfaceIds=[first])["NetworkInterfaces"]
    with pytest.raises(ClientError, match="device index 0 cannot be detached"):
        machines.ec2.detach_network_interface(AttachmentId=shown["Attachment"]["AttachmentId"])


def record(action: str, value: str = "10.0.0.1", name: str = "db.example.org") -> dict[str, Any]:
    records = [{"Value": value}]
    whole = {"Name": name, "Type": "A", "TTL": 60, "ResourceRecords": records}
    return {"Changes": [{"Action": action, "ResourceRecordSet": whole}]}


def test_a_record_is_changed_and_the_change_takes_its_time(machines: Machines) -> None:
    zone = machines.names.create_hosted_zone(Name="example.org", CallerReference="1")["HostedZone"]["Id"]
    change = machines.names.change_resource_record_sets
    change(HostedZoneId=zone, ChangeBatch=record("UPSERT"))
    info = change(HostedZoneId=zone, ChangeBatch=record("UPSERT", "10.0.0.2"))["ChangeInfo"]
    assert info["Status"] == "PENDING"
    listed = machines.names.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
    assert [each["ResourceRecords"] for each in listed if each["Type"] == "A"] == [[{"Value": "10.0.0.2"}]]
    assert machines.names.get_change(Id=info["Id"])["ChangeInfo"]["Status"] == "PENDING"
    machines.wait(60)
    assert machines.names.get_change(Id=info["Id"])["ChangeInfo"]["Status"] == "INSYNC"
    assert refused(machines.names.get_change, Id="C0") == "NoSuchChange"
    change(HostedZoneId=zone, ChangeBatch=record("DELETE", "10.0.0.2"))


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        (record("CREATE"), "but it already exists"),
        (record("DELETE", "10.0.0.9"), "do not match the current values"),
        (record("DELETE", name="no.example.org"), "but it was not found"),
        (record("UPSERT", "here"), "not a valid IPv4 address"),
        (record("UPSERT", name="db.example.com"), "not permitted in zone"),
    ],
)
def test_a_record_that_cannot_be_is_refused(machines: Machines, batch: dict[str, Any], expected: str) -> None:
    zone = machines.names.create_hosted_zone(Name="example.org", CallerReference="1")["HostedZone"]["Id"]
    change = machines.names.change_resource_record_sets
    change(HostedZoneId=zone, ChangeBatch=record("UPSERT"))
    with pytest.raises(ClientError, match=expected) as failure:
        change(HostedZoneId=zone, ChangeBatch=batch)
    assert failure.value.response["Error"]["Code"] == "InvalidChangeBatch"
    assert refused(change, HostedZoneId="/hostedzone/Z0", ChangeBatch=record("UPSERT")) == "NoSuchHostedZone"


def target_group(machines: Machines) -> str:
    vpc = machines.instance(machines.one)["VpcId"]
    made = machines.balancers.create_target_group(Name="web", Protocol="TCP", Port=80, VpcId=vpc)
    return str(made["TargetGroups"][0]["TargetGroupArn"])


def health(machines: Machines, arn: str) -> dict[str, str]:
    shown = machines.balancers.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
    return {each["Target"]["Id"]: each["TargetHealth"]["State"] for each in shown}


def test_a_target_is_checked_and_drains(machines: Machines) -> None:
    arn, one = target_group(machines), machines.one
    group: dict[str, Any] = {"TargetGroupArn": arn, "Targets": [{"Id": one}]}
    machines.balancers.register_targets(**group)
    assert health(machines, arn) == {one: "initial"}
    machines.wait(31)
    assert health(machines, arn) == {one: "healthy"}
    machines.balancers.deregister_targets(**group)
    assert health(machines, arn) == {one: "draining"}
    machines.wait(301)
    assert health(machines, arn) == {}
    (named,) = machines.balancers.describe_target_health(**group)["TargetHealthDescriptions"]
    assert named["TargetHealth"]["Reason"] == "Target.NotRegistered"
    machines.balancers.deregister_targets(**group)
    machines.balancers.register_targets(**group)
    machines.ec2.stop_instances(InstanceIds=[one])
    machines.wait()
    assert health(machines, arn) == {one: "unused"}
    assert refused(machines.balancers.register_targets, **group) == "InvalidTarget"
    group["Targets"] = [{"Id": "i-0123456789abcdef0"}]
    assert refused(machines.balancers.register_targets, **group) == "InvalidTarget"
    machines.ec2.terminate_instances(InstanceIds=[one])
    machines.wait()
    assert health(machines, arn) == {}


def test_instances_of_a_group_are_targets_while_they_serve(machines: Machines) -> None:
    arn = target_group(machines)
    machines.create(1, TargetGroupARNs=[arn])
    machines.wait(60)
    instance_id = machines.only()
    assert health(machines, arn) == {instance_id: "healthy"}
    machines.scaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=0)
    machines.wait(2)
    assert health(machines, arn) == {instance_id: "draining"}


def test_a_group_takes_and_leaves_a_target_group(machines: Machines) -> None:
    arn = target_group(machines)
    machines.create(1)
    machines.wait(60)
    named = {"AutoScalingGroupName": "web", "TargetGroupARNs": [arn]}
    machines.scaling.attach_load_balancer_target_groups(**named)
    assert health(machines, arn) == {machines.only(): "initial"}
    machines.scaling.detach_load_balancer_target_groups(**named)
    assert health(machines, arn) == {machines.only(): "draining"}
