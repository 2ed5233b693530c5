"""RunInstances: makes the instances of a launch, each with its volumes and its directory.

Any image id is accepted; an image that is not registered has an empty root volume of 8 GiB. Block
devices come from the image, then the launch template, then the request, the last of which takes precedence
(https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/block-device-mapping-concepts.html). Any other parameter
of the request takes precedence over that of the template; tags are merged by key
(https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/launch-instances-from-launch-template.html). The same
client token gives the same reservation, and other parameters with it are an error. Everything is checked
before anything is made.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RunInstances.html

moto: makes the instances and their volumes; takes five parameters from a template.
Added: block devices from three places, all of a template, client tokens, checks before anything is made.
"""

import re
from collections.abc import Mapping
from typing import Any

from moto.core.types import Base64EncodedString
from moto.ec2.models.instances import Instance, Reservation
from moto.ec2.utils import parse_user_data

from local_cloud.call import AwsError
from local_cloud.services.ec2.admission import Admission
from local_cloud.services.ec2.disks import Disks
from local_cloud.services.ec2.snapshot_states import usable_snapshot
from local_cloud.services.ec2.tags import requested_tags
from local_cloud.services.ec2.volume_types import check_type
from local_cloud.services.ec2.volumes import Volumes, check_device, check_size
from local_cloud.services.ec2.world import Region, required

ROOT_SIZE_GIB = 8
ROOT_DEVICE = "/dev/sda1"
VERSION = re.compile(r"\$Latest|\$Default|[1-9]\d*")
TAGGED = ("instance", "volume", "network-interface", "spot-instances-request")


class Launching:
    """Makes instances."""

    def __init__(self, volumes: Volumes, disks: Disks, admission: Admission) -> None:
        """Make their volumes with `volumes`, and their directories on `disks`, as `admission` lets."""
        self._volumes = volumes
        self._disks = disks
        self._admission = admission
        self._requests: dict[tuple[Region, str], tuple[Mapping[str, Any], str]] = {}

    def launched(self, region: Region, params: Mapping[str, Any]) -> Reservation | None:
        """Return what an earlier request with the same client token launched.

        Raises:
            AwsError: that request had other parameters.
        """
        asked, reservation_id = self._requests.get((region, params.get("ClientToken", "")), (params, ""))
        if asked != params:
            raise AwsError(
                "IdempotentParameterMismatch",
                "Arguments on this idempotent request are inconsistent with arguments used in previous "
                "request(s).",
            )
        return region.backend.reservations.get(reservation_id)

    def launch(self, region: Region, params: Mapping[str, Any]) -> Reservation:
        """Make the instances of a RunInstances, as many of `MaxCount` as there is room for."""
        backend = region.backend
        smallest, largest = _counts(params)
        template, from_template = launch_template(region, params)
        wanted = merged(template, params)
        tags = requested_tags(wanted, *TAGGED)
        image_id = wanted.get("ImageId")
        if not image_id:
            raise AwsError("MissingParameter", "The request must contain the parameter ImageId")
        devices = _devices(region, image_id, template, params)
        for device_name, device in devices.items():
            check_device(device_name)
            check_type(device)
            _check_source(region, device)
        profile = _profile(wanted)
        arguments = _launch_arguments(region, wanted)
        zone = arguments["placement"] = self._zone(region, arguments)
        count = self._admission.admit(region, zone, arguments["instance_type"], smallest, largest)
        reservation = backend.run_instances(
            image_id,
            count,
            _user_data(wanted),
            wanted.get("SecurityGroups", []),
            tags={"instance": tags["instance"] | from_template},
            block_device_mappings=[],
            **arguments,
        )
        for instance in reservation.instances:
            instance._state.name, instance._state.code = "pending", 0
            if profile:
                backend.associate_iam_instance_profile(instance.id, **profile)
            for name, device in devices.items():
                self._add_volume(region, instance, name, device, tags["volume"])
        if token := params.get("ClientToken"):
            self._requests[region, token] = params, reservation.id
        return reservation

    def clear(self) -> None:
        """Forget the requests."""
        self._requests.clear()

    def _zone(self, region: Region, arguments: Mapping[str, Any]) -> str:
        """Return the zone of a launch: its subnet's, or the one it names, or any with room."""
        subnets = [arguments["subnet_id"], *(each.get("SubnetId") for each in arguments["nics"])]
        if subnet_id := next(filter(None, subnets), None):
            return str(region.backend.get_subnet(subnet_id).availability_zone)
        return arguments["placement"] or self._admission.choose_zone(region, arguments["instance_type"])

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


def _counts(params: Mapping[str, Any]) -> tuple[int, int]:
    smallest, largest = int(required(params, "MinCount")), int(required(params, "MaxCount"))
    if not 1 <= smallest <= largest:
        raise AwsError(
            "InvalidParameterValue",
            f"Value ({smallest}) for parameter minCount is invalid. Expecting 1 to {largest} (maxCount).",
        )
    return smallest, largest


def launch_template(region: Region, params: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, str]]:
    """Return the data of the launch template that is named, if one is, and the tags that name it."""
    if not (named := params.get("LaunchTemplate")):
        return {}, {}
    if ("LaunchTemplateId" in named) == ("LaunchTemplateName" in named):
        raise AwsError(
            "InvalidParameterCombination" if "LaunchTemplateId" in named else "MissingParameter",
            "Specify either the launch template's LaunchTemplateId or its LaunchTemplateName, and not both.",
        )
    if not VERSION.fullmatch(named.get("Version", "$Default")):
        raise AwsError(
            "InvalidLaunchTemplateId.VersionNotFound",
            f"Could not find the specified version {named['Version']} for the launch template.",
        )
    if template_id := named.get("LaunchTemplateId"):
        template = region.backend.get_launch_template(template_id)
    else:
        template = region.backend.get_launch_template_by_name(named["LaunchTemplateName"])
    version = template.get_version(named.get("Version", "$Default"))
    data: Mapping[str, Any] = version.data
    tags = {
        "aws:ec2launchtemplate:id": template.id,
        "aws:ec2launchtemplate:version": str(version.number),
    }
    return data, tags


def merged(template: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a request on top of those of its template."""
    tags = [*template.get("TagSpecifications", ()), *params.get("TagSpecifications", ())]
    return {**template, **params, "TagSpecifications": tags}


def _user_data(wanted: Mapping[str, Any]) -> Base64EncodedString | None:
    """Return the user data as moto wants it; a template's it has read already."""
    given = wanted.get("UserData")
    return given if isinstance(given, Base64EncodedString) else parse_user_data(given)


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
