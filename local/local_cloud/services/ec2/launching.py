"""RunInstances: makes the instances of a launch, each with its volumes and its directory.

Any image id is accepted; an image that is not registered has an empty root volume of 8 GiB. Block
devices come from the image, then the launch template, then the request, the last of which takes precedence
(https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/block-device-mapping-concepts.html). The same client
token gives the same reservation. Everything is checked before anything is made.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RunInstances.html

moto: makes the instances and their volumes.
Added: block devices from three places, client tokens, checks before anything is made.
"""

from collections.abc import Mapping
from typing import Any

from moto.ec2.models.instances import Instance, Reservation
from moto.ec2.utils import parse_user_data

from local_cloud.call import AwsError, Call
from local_cloud.services.ec2.disks import Disks
from local_cloud.services.ec2.snapshot_states import usable_snapshot
from local_cloud.services.ec2.tags import requested_tags
from local_cloud.services.ec2.volume_types import check_type
from local_cloud.services.ec2.volumes import Volumes, check_device, check_size
from local_cloud.services.ec2.world import Region, required

ROOT_SIZE_GIB = 8
ROOT_DEVICE = "/dev/sda1"
TAGGED = ("instance", "volume", "network-interface", "spot-instances-request")


class Launching:
    """Makes instances."""

    def __init__(self, volumes: Volumes, disks: Disks) -> None:
        """Make their volumes with `volumes`, and their directories on `disks`."""
        self._volumes = volumes
        self._disks = disks
        self._requests: dict[tuple[Region, str], str] = {}

    def launched(self, call: Call) -> Reservation | None:
        """Return what an earlier call with the same client token launched."""
        reservation = self._requests.get((Region.of(call), call.params.get("ClientToken", "")))
        return Region.of(call).backend.reservations.get(reservation or "")

    def launch(self, call: Call) -> Reservation:
        """Make the instances of a RunInstances, as many as `MaxCount` says, with their volumes."""
        region = Region.of(call)
        backend = region.backend
        count = _count(call.params)
        tags = requested_tags(call.params, *TAGGED)
        template = _template(region, call.params)
        image_id = call.params.get("ImageId") or template.get("ImageId")
        if not image_id:
            raise AwsError("MissingParameter", "The request must contain the parameter ImageId")
        devices = _devices(region, image_id, template, call.params)
        for device_name, device in devices.items():
            check_device(device_name)
            check_type(device)
            _check_source(region, device)
        profile = _profile(call.params)
        reservation = backend.run_instances(
            image_id,
            count,
            parse_user_data(call.params.get("UserData")),
            call.params.get("SecurityGroups", []),
            tags={kind: named for kind, named in tags.items() if kind == "instance"},
            block_device_mappings=[],
            **_launch_arguments(region, call.params),
        )
        for instance in reservation.instances:
            instance._state.name, instance._state.code = "pending", 0
            if profile:
                backend.associate_iam_instance_profile(instance.id, **profile)
            for name, device in devices.items():
                self._add_volume(region, instance, name, device, tags["volume"])
        if token := call.params.get("ClientToken"):
            self._requests[region, token] = reservation.id
        return reservation

    def clear(self) -> None:
        """Forget the requests."""
        self._requests.clear()

    def _add_volume(
        self, region: Region, instance: Instance, name: str, device: Mapping[str, Any], tags: dict[str, str]
    ) -> None:
        """Make and attach a volume of a launch."""
        volume = self._volumes.make(region, str(instance.availability_zone), device)
        volume.add_tags(tags)
        root = name == instance.root_device_name
        kept = not device.get("DeleteOnTermination", root)
        region.backend.attach_volume(volume.id, instance.id, name, delete_on_termination=not kept)
        self._disks.attach(volume.id, instance.id, name, root=root)


def _count(params: Mapping[str, Any]) -> int:
    smallest, largest = int(required(params, "MinCount")), int(required(params, "MaxCount"))
    if not 1 <= smallest <= largest:
        raise AwsError(
            "InvalidParameterValue",
            f"Value ({smallest}) for parameter minCount is invalid. Expecting 1 to {largest} (maxCount).",
        )
    return largest


def _template(region: Region, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the data of the launch template that is named, if one is."""
    if not (named := params.get("LaunchTemplate")):
        return {}
    version = region.backend._get_template_from_args(dict(named))
    data: Mapping[str, Any] = version.data
    return data


def _devices(
    region: Region, image_id: str, template: Mapping[str, Any], params: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return the `Ebs` part of every device of a launch by device name, the root device first."""
    image = region.backend.amis.get(image_id)
    root = (image.root_device_name if image else None) or ROOT_DEVICE
    devices: dict[str, dict[str, Any]] = {root: {"DeleteOnTermination": True}}
    for mappings in (
        image.block_device_mappings if image else (),
        template.get("BlockDeviceMappings", ()),
        params.get("BlockDeviceMappings", ()),
    ):
        for mapping in mappings:
            name = mapping["DeviceName"]
            if "NoDevice" in mapping:
                devices.pop(name, None)
            elif "Ebs" in mapping:
                devices[name] = devices.get(name, {}) | mapping["Ebs"]
    if root not in devices:
        raise AwsError("InvalidBlockDeviceMapping", f"The root device {root} cannot be left out")
    if not devices[root].get("SnapshotId"):
        devices[root].setdefault("VolumeSize", ROOT_SIZE_GIB)
    return devices


def _check_source(region: Region, device: Mapping[str, Any]) -> None:
    """Refuse a device that no volume could be made for."""
    size, snapshot_id = device.get("VolumeSize"), device.get("SnapshotId")
    if size is None and snapshot_id is None:
        raise AwsError("MissingParameter", "The request must contain the parameter size or snapshotId")
    if snapshot_id:
        smallest = usable_snapshot(region, snapshot_id).volume_size
        check_size(size or smallest, snapshot_id, smallest, code="InvalidBlockDeviceMapping")


def _profile(params: Mapping[str, Any]) -> dict[str, str]:
    """Return the instance profile of a launch as moto wants it."""
    named = params.get("IamInstanceProfile", {})
    names = {"Name": "iam_instance_profile_name", "Arn": "iam_instance_profile_arn"}
    return {names[key]: value for key, value in named.items() if key in names}


def _launch_arguments(region: Region, params: Mapping[str, Any]) -> dict[str, Any]:
    """Translate the rest of a RunInstances to moto's arguments."""
    placement = params.get("Placement", {})
    monitored = params.get("Monitoring", {}).get("Enabled")
    return {
        "instance_type": params.get("InstanceType", "m1.small"),
        "is_instance_type_default": not params.get("InstanceType"),
        "placement": placement.get("AvailabilityZone"),
        "placement_hostid": placement.get("HostId"),
        "region_name": region.name,
        "subnet_id": params.get("SubnetId"),
        "key_name": params.get("KeyName"),
        "security_group_ids": list(params.get("SecurityGroupIds", ())),
        "nics": list(params.get("NetworkInterfaces", ())),
        "private_ip": params.get("PrivateIpAddress"),
        "ebs_optimized": params.get("EbsOptimized", False),
        "disable_api_stop": params.get("DisableApiStop", False),
        "disable_api_termination": params.get("DisableApiTermination", False),
        "instance_initiated_shutdown_behavior": params.get("InstanceInitiatedShutdownBehavior"),
        "instance_market_options": params.get("InstanceMarketOptions", {}).get("MarketType", {}),
        "launch_template": dict(params.get("LaunchTemplate", {})),
        "hibernation_options": params.get("HibernationOptions", {}),
        "monitoring_state": "enabled" if monitored else "disabled",
        "ipv6_address_count": params.get("Ipv6AddressCount"),
        "metadata_options": params.get("MetadataOptions", {}),
        "client_token": params.get("ClientToken", ""),
    }
