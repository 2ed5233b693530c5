"""Volumes: created from nothing or from a snapshot's contents, attached, detached, deleted.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateVolume.html, API_AttachVolume.html,
API_DetachVolume.html, API_DeleteVolume.html; idempotency by `ClientToken`:
https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html. States of attachments:
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_VolumeAttachment.html. The bytes of a volume are
there as soon as it is `attaching`, and until it is no longer `detaching`.

moto: keeps the volumes and their attachments; makes, attaches and detaches them at once, and attaches one
twice.
Added: `creating`, `attaching` and `detaching` for a while, what types take of sizes, IOPS and throughput,
client tokens, contents, events.
"""

import re
from collections.abc import Mapping
from typing import Any

from moto.ec2.models.elastic_block_store import Volume, VolumeAttachment
from moto.ec2.models.instances import Instance

from local_cloud.call import AwsError, Call, Handler, PassOn
from local_cloud.services.ec2.disks import Disks, folder_of
from local_cloud.services.ec2.events import volume_changed
from local_cloud.services.ec2.snapshot_states import SnapshotStates, usable_snapshot
from local_cloud.services.ec2.tags import requested_tags
from local_cloud.services.ec2.volume_listing import describe_attachment, describe_volume
from local_cloud.services.ec2.volume_types import check_type, performance
from local_cloud.services.ec2.world import Region, World, required

DEVICE = re.compile(r"(/dev/)?[a-z][a-z0-9]{1,15}")


class Volumes:
    """The volumes of every account and region."""

    def __init__(self, world: World, disks: Disks, snapshots: SnapshotStates) -> None:
        """Keep the bytes on `disks`; those of snapshots are in the trees of `snapshots`."""
        self._world = world
        self._disks = disks
        self._snapshots = snapshots
        self._creating: set[str] = set()
        self._failures: dict[str, str] = {}
        self._requests: dict[tuple[Region, str], tuple[dict[str, Any], str]] = {}

    def handlers(self) -> Mapping[str, Handler]:
        """Return the operations done here."""
        return {
            "CreateVolume": self.create_volume,
            "AttachVolume": self.attach_volume,
            "DetachVolume": self.detach_volume,
            "DeleteVolume": self.delete_volume,
        }

    def create_volume(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        """Create a volume that is `creating` for a while; the same client token gives the same volume."""
        region = Region.of(call)
        token = call.params.get("ClientToken")
        asked = {name: value for name, value in call.params.items() if name != "ClientToken"}
        if token and (region, token) in self._requests:
            before, volume_id = self._requests[region, token]
            earlier = region.backend.get_volume(volume_id)
            if before != asked:
                raise AwsError(
                    "IdempotentParameterMismatch",
                    "Arguments on this idempotent request are inconsistent with arguments used in previous "
                    "request(s).",
                )
            return describe_volume(region, earlier, self.state(earlier))
        tags = requested_tags(call.params, "volume")["volume"]
        volume = self.make(region, required(call.params, "AvailabilityZone"), call.params)
        volume.add_tags(tags)
        if token:
            self._requests[region, token] = asked, volume.id
        self._creating.add(volume.id)
        failure = self._failures.pop(call.params.get("SnapshotId", ""), "")
        self._world.later(
            self._world.quotas.volume_creating,
            lambda: self._created(region, volume.id, failure),
            f"{volume.id} available",
        )
        return describe_volume(region, volume, self.state(volume))

    def fail(self, snapshot_id: str, reason: str) -> None:
        """Make the next volume of a snapshot fail: it is `creating`, then gone.

        https://docs.aws.amazon.com/ebs/latest/userguide/ebs-cloud-watch-events.html
        """
        self._failures[snapshot_id] = reason

    def make(self, region: Region, zone: str, wanted: Mapping[str, Any]) -> Volume:
        """Make a volume in `zone` with its bytes; `wanted` is a CreateVolume or the `Ebs` of a
        device mapping.
        """
        backend = region.backend
        check_type(wanted)
        if backend.get_zone_by_name(zone) is None:
            raise AwsError("InvalidZone.NotFound", f"The zone '{zone}' does not exist.")
        size = wanted.get("Size", wanted.get("VolumeSize"))
        tree = None
        if snapshot_id := wanted.get("SnapshotId"):
            smallest = usable_snapshot(region, snapshot_id).volume_size
            size = smallest if size is None else size
            check_size(size, snapshot_id, smallest)
            tree = self._snapshots.tree(snapshot_id)
        if size is None:
            raise AwsError("MissingParameter", "The request must contain the parameter size/snapshot")
        shown = performance(wanted, size)
        volume = backend.create_volume(
            size=size,
            zone_name=zone,
            snapshot_id=snapshot_id,
            encrypted=wanted.get("Encrypted", False),
            kms_key_id=wanted.get("KmsKeyId"),
            volume_type=wanted.get("VolumeType"),
            iops=wanted.get("Iops"),
            throughput=wanted.get("Throughput"),
            multi_attach_enabled=wanted.get("MultiAttachEnabled"),
        )
        volume.iops, volume.throughput = shown["iops"], shown["throughput"]
        self._disks.create(volume.id, tree)
        return volume

    def attach_volume(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        """Attach an available volume to an instance of its zone."""
        region = Region.of(call)
        backend = region.backend
        volume = backend.get_volume(required(call.params, "VolumeId"))
        (instance,) = region.instances([required(call.params, "InstanceId")])
        device = required(call.params, "Device")
        check_device(device)
        if self.state(volume) == "creating":
            raise AwsError("IncorrectState", f"{volume.id} is not 'available'.")
        _check_attachment(volume, instance, device)
        backend.attach_volume(volume.id, instance.id, device)
        self._disks.attach(volume.id, instance.id, device, root=device == instance.root_device_name)
        (attachment,) = volume.attachments
        attachment.status = "attaching"
        self._world.later(
            self._world.quotas.volume_attaching,
            lambda: self._attached(region, attachment),
            f"{volume.id} attached",
        )
        return describe_attachment(attachment)

    def detach_volume(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        """Detach a volume; the root volume only from a stopped instance."""
        region = Region.of(call)
        volume = region.backend.get_volume(required(call.params, "VolumeId"))
        attachment = volume.attachment
        if attachment is None:
            raise AwsError("IncorrectState", f"Volume '{volume.id}' is in the '{self.state(volume)}' state.")
        if attachment.status == "detaching":
            raise AwsError("IncorrectState", f"Volume '{volume.id}' is in the 'detaching' state.")
        instance = attachment.instance
        named = call.params.get("InstanceId", instance.id), call.params.get("Device", attachment.device)
        if named != (instance.id, attachment.device):
            raise AwsError(
                "InvalidAttachment.NotFound",
                f"The volume '{volume.id}' is not attached to instance '{named[0]}' as device '{named[1]}'.",
            )
        if attachment.device == instance.root_device_name and instance.state != "stopped":
            raise AwsError(
                "OperationNotPermitted",
                f"Unable to detach root volume '{attachment.device}' from instance '{instance.id}'",
            )
        attachment.status = "detaching"
        self._world.later(
            self._world.quotas.volume_detaching,
            lambda: self._detached(region, attachment),
            f"{volume.id} detached",
        )
        return describe_attachment(attachment)

    def delete_volume(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        """Delete a volume that is not attached."""
        self.delete(Region.of(call), required(call.params, "VolumeId"))
        return {}

    def state(self, volume: Volume) -> str:
        """Return `creating`, `available` or `in-use`."""
        return "creating" if volume.id in self._creating else volume.status

    def delete(self, region: Region, volume_id: str) -> None:
        """Delete a volume with its bytes, and put the event on the bus."""
        region.backend.delete_volume(volume_id)
        region.backend.tags.pop(volume_id, None)
        self._disks.delete(volume_id)
        self._world.tell(
            region, volume_changed(region.account, region.name, volume_id, "deleteVolume", "deleted")
        )

    def clear(self) -> None:
        """Forget what is under way."""
        self._creating.clear()
        self._failures.clear()
        self._requests.clear()

    def _attached(self, region: Region, attachment: VolumeAttachment) -> None:
        """Be attached, unless the instance is gone or the volume is being detached by now."""
        volume = attachment.volume
        if _holds(region, attachment) and attachment.status == "attaching":
            attachment.status = "attached"
            self._world.tell(
                region, volume_changed(region.account, region.name, volume.id, "attachVolume", "attached")
            )

    def _detached(self, region: Region, attachment: VolumeAttachment) -> None:
        """Be detached, unless the instance is gone by now. EBS tells it to CloudTrail alone."""
        volume = attachment.volume
        if _holds(region, attachment):
            self._disks.detach(volume.id)
            region.backend.detach_volume(volume.id, attachment.instance.id, attachment.device)

    def _created(self, region: Region, volume_id: str, failure: str) -> None:
        self._creating.discard(volume_id)
        if volume_id not in region.backend.volumes:
            return
        if failure:
            region.backend.delete_volume(volume_id)
            region.backend.tags.pop(volume_id, None)
            self._disks.delete(volume_id)
        result = "failed" if failure else "available"
        event = volume_changed(region.account, region.name, volume_id, "createVolume", result, failure)
        self._world.tell(region, event)


def _holds(region: Region, attachment: VolumeAttachment) -> bool:
    """Return whether an attachment is still the one of its volume."""
    volume = region.backend.volumes.get(attachment.volume.id)
    return volume is not None and volume.attachment is attachment


def check_device(name: str) -> None:
    """Refuse what cannot be a device's name."""
    if not DEVICE.fullmatch(name):
        raise AwsError(
            "InvalidParameterValue",
            f"Value ({name}) for parameter device is invalid. {name} is not a valid EBS device name.",
        )


def _check_attachment(volume: Volume, instance: Instance, device: str) -> None:
    """Refuse to attach a volume that is in use, or where it does not fit."""
    if volume.attachment:
        raise AwsError("VolumeInUse", f"{volume.id} is already attached to an instance")
    if instance.state not in ("running", "stopped"):
        raise AwsError("IncorrectState", f"Instance '{instance.id}' is not 'running'.")
    if volume.availability_zone != instance.availability_zone:
        raise AwsError(
            "InvalidVolume.ZoneMismatch",
            f"The volume '{volume.id}' is not in the same availability zone as instance '{instance.id}'",
        )
    if any(folder_of(device) == folder_of(used) for used in instance.block_device_mapping):
        raise AwsError(
            "InvalidParameterValue",
            f"Invalid value '{device}' for unixDevice. Attachment point {device} is already in use",
        )


def check_size(
    size_gib: int, snapshot_id: str, smallest_gib: int, *, code: str = "InvalidParameterValue"
) -> None:
    """Refuse a volume that its snapshot does not fit in."""
    if size_gib < smallest_gib:
        raise AwsError(
            code,
            f"Volume of size {size_gib}GB is smaller than snapshot '{snapshot_id}', "
            f"expect size >= {smallest_gib}GB",
        )
