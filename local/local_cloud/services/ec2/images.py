"""Images: what CreateImage and RegisterImage make keeps its block devices, so its snapshots are in use.

An image of an instance is `pending` until the snapshots of its volumes are complete. DeregisterImage,
moto's own, frees them. The instance is not rebooted.
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateImage.html, API_RegisterImage.html

moto: loses the block devices of an image.
Added: them, the images' snapshots, `pending`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from moto.ec2.models import EC2Backend
from moto.ec2.models.amis import Ami
from moto.ec2.models.instances import Instance
from moto.ec2.utils import random_ami_id

from local_cloud.call import AwsError, Call, Handler, PassOn
from local_cloud.services.ec2.instance_listing import instances_in
from local_cloud.services.ec2.snapshot_states import SnapshotState, usable_snapshot
from local_cloud.services.ec2.snapshots import Snapshots, Wanted
from local_cloud.services.ec2.tags import requested_tags
from local_cloud.services.ec2.world import Region, required


class Image(Ami):
    """An image with the block devices it was made with."""

    def __init__(
        self,
        backend: EC2Backend,
        *,
        instance: Instance | None = None,
        **named: Any,
    ) -> None:
        """Create the image without devices, and drop the snapshot that moto makes for every image."""
        super().__init__(backend, random_ami_id(), instance=instance, root_device_type="ebs", **named)
        del backend.snapshots[self.ebs_snapshot.id]
        self.devices: list[dict[str, Any]] = []

    @property
    def block_device_mappings(self) -> list[dict[str, Any]]:
        """Return the block devices as EC2 shows them."""
        return self.devices

    def settle(self, states: Sequence[SnapshotState]) -> None:
        """Become available, or failed if a snapshot of it is."""
        self.state = "failed" if any(state.state == "error" for state in states) else "available"


class Images:
    """The images of every account and region."""

    def __init__(self, snapshots: Snapshots) -> None:
        """Make an image's snapshots with `snapshots`."""
        self._snapshots = snapshots

    def handlers(self) -> Mapping[str, Handler]:
        """Return the operations done here."""
        return {"CreateImage": self.create_image, "RegisterImage": self.register_image}

    def create_image(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        """Begin an image of an instance: snapshots of its volumes, but for devices that are left out."""
        region = Region.of(call)
        (instance,) = instances_in(region, [required(call.params, "InstanceId")])
        name = _free_name(region, call.params)
        tags = requested_tags(call.params, "image", "snapshot")
        asked = {one["DeviceName"]: one for one in call.params.get("BlockDeviceMappings", ())}
        blocks = [
            (device, region.backend.get_volume(block.volume_id), bool(block.delete_on_termination))
            for device, block in instance.get_block_device_mapping
            if "NoDevice" not in asked.get(device, {})
        ]
        image = Image(
            region.backend,
            instance=instance,
            name=name,
            description=call.params.get("Description", ""),
            root_device_name=instance.root_device_name,
            state="pending",
            tags=tags["image"],
        )
        states = self._snapshots.begin(
            region,
            [Wanted(volume, tags["snapshot"]) for _, volume, _ in blocks],
            f"Created by CreateImage({instance.id}) for {image.id}",
            None,
            lambda: image.settle(states),
        )
        for (device, volume, goes), state in zip(blocks, states, strict=True):
            ebs = {
                "SnapshotId": state.id,
                "VolumeSize": volume.size,
                "VolumeType": volume.volume_type,
                "DeleteOnTermination": goes,
                "Encrypted": volume.encrypted,
            }
            image.devices.append({"DeviceName": device, "Ebs": ebs | asked.get(device, {}).get("Ebs", {})})
        region.backend.amis[image.id] = image
        return {"ImageId": image.id}

    def register_image(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        """Register an image of complete snapshots; it is available at once."""
        region = Region.of(call)
        name = _free_name(region, call.params)
        tags = requested_tags(call.params, "image")["image"]
        devices: list[dict[str, Any]] = []
        for mapping in call.params.get("BlockDeviceMappings", ()):
            ebs = mapping.get("Ebs", {})
            if snapshot_id := ebs.get("SnapshotId"):
                size = usable_snapshot(region, snapshot_id).volume_size
                ebs = {"VolumeSize": size, "VolumeType": "gp2", "DeleteOnTermination": True, **ebs}
            devices.append({**mapping, "Ebs": ebs})
        image = Image(
            region.backend,
            name=name,
            description=call.params.get("Description", ""),
            root_device_name=call.params.get("RootDeviceName", "/dev/sda1"),
            architecture=call.params.get("Architecture", "x86_64"),
            virtualization_type=call.params.get("VirtualizationType", "paravirtual"),
            tags=tags,
        )
        image.devices += devices
        region.backend.amis[image.id] = image
        return {"ImageId": image.id}


def _free_name(region: Region, params: Mapping[str, Any]) -> str:
    """Return the name of a new image, which no other of the account's may have."""
    name = str(required(params, "Name"))
    for image in region.backend.amis.values():
        if image.name == name and image.owner_id == region.account:
            raise AwsError("InvalidAMIName.Duplicate", f"AMI name {name} is already in use by AMI {image.id}")
    return name
