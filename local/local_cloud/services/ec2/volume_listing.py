"""DescribeVolumes: volumes as EC2 shows them, filtered and page by page.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeVolumes.html

moto: has no pages, and lacks some of the filters.
Added: the documented filters, pages.
"""

from collections.abc import Callable, Mapping
from typing import Any

from moto.ec2.models.elastic_block_store import Volume, VolumeAttachment

from local_cloud.call import Call, Handler, PassOn
from local_cloud.services.ec2.filters import (
    Field,
    by_id_and_tags,
    exact_values,
    member,
    page,
    passes,
    things_of,
)
from local_cloud.services.ec2.tags import tags_of
from local_cloud.services.ec2.world import Region, aware

FIELDS: dict[str, Field] = {
    "attachment.attach-time": member("Attachments", "AttachTime"),
    "attachment.delete-on-termination": member("Attachments", "DeleteOnTermination"),
    "attachment.device": member("Attachments", "Device"),
    "attachment.instance-id": member("Attachments", "InstanceId"),
    "attachment.status": member("Attachments", "State"),
    "availability-zone": member("AvailabilityZone"),
    "create-time": member("CreateTime"),
    "encrypted": member("Encrypted"),
    "multi-attach-enabled": member("MultiAttachEnabled"),
    "size": member("Size"),
    "snapshot-id": member("SnapshotId"),
    "status": member("State"),
    "volume-id": member("VolumeId"),
    "volume-type": member("VolumeType"),
}


class VolumeListing:
    """The volumes of every account and region, to look at."""

    def __init__(self, state: Callable[[Volume], str]) -> None:
        """Show what moto knows, and the `state` of each."""
        self._state = state

    def handlers(self) -> Mapping[str, Handler]:
        """Return the operations done here."""
        return {"DescribeVolumes": self.describe_volumes}

    def describe_volumes(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        """Describe volumes; an id that does not exist is an error."""
        region = Region.of(call)
        filters = call.params.get("Filters", ())
        test, may_pass = passes(filters, FIELDS), by_id_and_tags(filters, FIELDS, "volume-id")
        ids = dict.fromkeys(call.params.get("VolumeIds", ()))
        found, token = page(
            [region.backend.get_volume(one) for one in ids]
            if ids
            else things_of(region.backend.volumes, exact_values(filters, "volume-id")),
            call.params,
            key=lambda volume: f"{aware(volume.create_time).isoformat()} {volume.id}",
            ids="volumesSet" if ids else "",
        )
        backend = region.backend
        shown = [
            describe_volume(region, volume, self._state(volume))
            for volume in found
            if may_pass({"VolumeId": volume.id, "Tags": tags_of(backend, volume.id)})
        ]
        answer: dict[str, Any] = {"Volumes": [volume for volume in shown if test(volume)]}
        return answer | ({"NextToken": token} if token else {})


def describe_volume(region: Region, volume: Volume, state: str) -> dict[str, Any]:
    """Return a volume as EC2 shows it."""
    shown = {
        "VolumeId": volume.id,
        "VolumeType": volume.volume_type,
        "Size": volume.size,
        "SnapshotId": volume.snapshot_id or "",
        "AvailabilityZone": volume.availability_zone,
        "State": state,
        "CreateTime": aware(volume.create_time),
        "Encrypted": volume.encrypted,
        "KmsKeyId": volume.kms_key_id if volume.encrypted else None,
        "Iops": volume.iops,
        "Throughput": volume.throughput,
        "MultiAttachEnabled": bool(volume.multi_attach_enabled),
        "Attachments": [describe_attachment(one) for one in volume.attachments],
        "Tags": tags_of(region.backend, volume.id) or None,
    }
    return {name: value for name, value in shown.items() if value is not None}


def describe_attachment(attachment: VolumeAttachment) -> dict[str, Any]:
    mapped = attachment.instance.block_device_mapping[attachment.device]
    return {
        "VolumeId": attachment.volume.id,
        "InstanceId": attachment.instance.id,
        "Device": attachment.device,
        "State": attachment.status,
        "AttachTime": aware(attachment.attach_time),
        "DeleteOnTermination": bool(mapped.delete_on_termination),
    }
