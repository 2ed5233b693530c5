"""DescribeInstances: instances as EC2 shows them, in their reservations, filtered and page by page.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstances.html

moto: pages whole reservations, and lacks some of the filters.
Added: the documented filters, pages, instances that were terminated.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from moto.ec2.models.instances import Instance

from local_cloud.call import AwsError, Call, Handler, PassOn
from local_cloud.services.ec2.filters import Field, by_id_and_tags, exact_values, member, page, passes
from local_cloud.services.ec2.tags import tags_of
from local_cloud.services.ec2.world import Region, aware

INSTANCE_ID = re.compile(r"i-[0-9a-f]{8}([0-9a-f]{9})?")

PLAIN = {
    "InstanceId": "id",
    "ImageId": "image_id",
    "InstanceType": "instance_type",
    "KeyName": "key_name",
    "AmiLaunchIndex": "ami_launch_index",
    "PrivateDnsName": "private_dns_name",
    "PrivateIpAddress": "private_ip",
    "PublicDnsName": "public_dns_name",
    "PublicIpAddress": "public_ip",
    "SubnetId": "subnet_id",
    "VpcId": "vpc_id",
    "Architecture": "architecture",
    "ClientToken": "client_token",
    "EbsOptimized": "ebs_optimized",
    "Hypervisor": "hypervisor",
    "InstanceLifecycle": "lifecycle",
    "Platform": "platform",
    "RootDeviceName": "root_device_name",
    "RootDeviceType": "root_device_type",
    "SourceDestCheck": "source_dest_check",
    "StateTransitionReason": "state_transition_reason",
    "VirtualizationType": "virtualization_type",
}
"""EC2's members and moto's names of them, where the value needs no change."""

FIELDS: dict[str, Field] = {
    "architecture": member("Architecture"),
    "availability-zone": member("Placement", "AvailabilityZone"),
    "block-device-mapping.attach-time": member("BlockDeviceMappings", "Ebs", "AttachTime"),
    "block-device-mapping.delete-on-termination": member("BlockDeviceMappings", "Ebs", "DeleteOnTermination"),
    "block-device-mapping.device-name": member("BlockDeviceMappings", "DeviceName"),
    "block-device-mapping.status": member("BlockDeviceMappings", "Ebs", "Status"),
    "block-device-mapping.volume-id": member("BlockDeviceMappings", "Ebs", "VolumeId"),
    "client-token": member("ClientToken"),
    "dns-name": member("PublicDnsName"),
    "group-id": member("SecurityGroups", "GroupId"),
    "group-name": member("SecurityGroups", "GroupName"),
    "image-id": member("ImageId"),
    "instance-id": member("InstanceId"),
    "instance-lifecycle": member("InstanceLifecycle"),
    "instance-state-code": member("State", "Code"),
    "instance-state-name": member("State", "Name"),
    "instance-type": member("InstanceType"),
    "instance.group-id": member("SecurityGroups", "GroupId"),
    "instance.group-name": member("SecurityGroups", "GroupName"),
    "ip-address": member("PublicIpAddress"),
    "key-name": member("KeyName"),
    "launch-time": member("LaunchTime"),
    "monitoring-state": member("Monitoring", "State"),
    "owner-id": member("OwnerId"),
    "private-dns-name": member("PrivateDnsName"),
    "private-ip-address": member("PrivateIpAddress"),
    "platform": member("Platform"),
    "reservation-id": member("ReservationId"),
    "root-device-name": member("RootDeviceName"),
    "root-device-type": member("RootDeviceType"),
    "source-dest-check": member("SourceDestCheck"),
    "state-reason-code": member("StateReason", "Code"),
    "subnet-id": member("SubnetId"),
    "tenancy": member("Placement", "Tenancy"),
    "virtualization-type": member("VirtualizationType"),
    "vpc-id": member("VpcId"),
}


class InstanceListing:
    """The instances of every account and region, to look at."""

    def handlers(self) -> Mapping[str, Handler]:
        """Return the operations done here."""
        return {"DescribeInstances": self.describe_instances}

    def describe_instances(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        """Describe instances in their reservations; an id that does not exist is an error."""
        region = Region.of(call)
        filters = call.params.get("Filters", ())
        test, may_pass = passes(filters, FIELDS), by_id_and_tags(filters, FIELDS, "instance-id")
        ids = set(call.params.get("InstanceIds", ()))
        if ids:
            instances_in(region, sorted(ids))
        reservations, token = page(
            _reservations(region, ids or exact_values(filters, "instance-id")),
            call.params,
            key=lambda found: found[0],
            ids="instancesSet" if ids else "",
        )
        shown, backend = [], region.backend
        for reservation_id, instances in reservations:
            wanted = [
                one for one in instances if may_pass({"InstanceId": one.id, "Tags": tags_of(backend, one.id)})
            ]
            reservation = describe_reservation(region, reservation_id, wanted)
            about = {"ReservationId": reservation_id, "OwnerId": region.account}
            kept = [instance for instance in reservation["Instances"] if test(instance | about)]
            if kept:
                shown.append({**reservation, "Instances": kept})
        answer: dict[str, Any] = {"Reservations": shown}
        return answer | ({"NextToken": token} if token else {})


def _reservations(region: Region, ids: Collection[str] | None) -> list[tuple[str, list[Instance]]]:
    """Return reservations by id with their instances: all, or those of some ids with just these instances."""
    if ids is None:
        return [(each.id, list(each.instances)) for each in list(region.backend.reservations.values())]
    found = {each.id: each for one in ids if (each := region.reservation_of(one)) is not None}
    return [(each.id, [one for one in each.instances if one.id in ids]) for each in found.values()]


def instances_in(region: Region, ids: Sequence[str]) -> list[Instance]:
    """Find instances of the region, in the order of `ids`.

    Raises:
        AwsError: one is malformed or does not exist, or none is named.
    """
    if not ids:
        raise AwsError("MissingParameter", "The request must contain the parameter InstanceId")
    for one in ids:
        if not INSTANCE_ID.fullmatch(one):
            raise AwsError("InvalidInstanceID.Malformed", f'Invalid id: "{one}"')
    return region.instances(ids)


def describe_reservation(
    region: Region, reservation_id: str, instances: Sequence[Instance]
) -> dict[str, Any]:
    """Return instances that were launched together, as EC2 shows them."""
    return {
        "ReservationId": reservation_id,
        "OwnerId": region.account,
        "Groups": [],
        "Instances": [_describe(region, instance) for instance in instances],
    }


def _describe(region: Region, instance: Instance) -> dict[str, Any]:
    shown: dict[str, Any] = {name: getattr(instance, attribute) for name, attribute in PLAIN.items()}
    reason = instance.state_reason
    shown |= {
        "State": {"Code": instance.state_code, "Name": instance.state},
        "StateReason": {"Code": reason.code, "Message": reason.message} if reason.code else None,
        "LaunchTime": aware(instance.launch_time),
        "Placement": {
            "AvailabilityZone": instance.availability_zone,
            "GroupName": instance.placement.group_name,
            "Tenancy": instance.placement.tenancy,
        },
        "Monitoring": {"State": instance.monitoring_state},
        "SecurityGroups": [
            {"GroupId": group.id, "GroupName": group.name} for group in instance.security_groups
        ],
        "BlockDeviceMappings": _devices(instance),
        "NetworkInterfaces": [
            {
                "NetworkInterfaceId": interface.id,
                "SubnetId": interface.subnet.id,
                "VpcId": interface.subnet.vpc_id,
                "PrivateIpAddress": interface.private_ip_address,
                "Status": interface.status,
                "OwnerId": region.account,
            }
            for interface in instance.network_interfaces
        ],
        "Tags": tags_of(region.backend, instance.id) or None,
    }
    return {name: value for name, value in shown.items() if value is not None}


def _devices(instance: Instance) -> list[dict[str, Any]]:
    return [
        {
            "DeviceName": name,
            "Ebs": {
                "VolumeId": block.volume_id,
                "Status": "attached",
                "AttachTime": aware(block.attach_time),
                "DeleteOnTermination": bool(block.delete_on_termination),
            },
        }
        for name, block in instance.get_block_device_mapping
    ]
