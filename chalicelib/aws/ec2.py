"""EC2 and EBS of one region as Farshore needs them: instances, volumes, snapshots.

A listing returns every page or raises. Results are our types. Nothing here retries, paces or decides.
Invariant: resources are tagged in the call that creates them, and a call that AWS has no idempotency token
for is sent once.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from chalicelib.aws.batches import in_batches
from chalicelib.aws.ec2_types import (
    AttachedVolume,
    Attachment,
    Instance,
    Snapshot,
    Volume,
    VolumeSpec,
    instance_from,
    snapshot_from,
    volume_from,
)
from chalicelib.aws.errors import translated_errors
from chalicelib.errors import Conflict, NotFound

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.literals import ResourceTypeType, VolumeTypeType
    from mypy_boto3_ec2.type_defs import (
        CopySnapshotRequestTypeDef,
        CreateVolumeRequestTypeDef,
        FilterTypeDef,
        TagSpecificationTypeDef,
    )

__all__ = ["AttachedVolume", "Attachment", "Ec2", "Filters", "Instance", "Snapshot", "Volume", "VolumeSpec"]

Filters = Iterable[tuple[str, Iterable[str]]]
Thing = TypeVar("Thing")

# At most 200 values in all filters of a call:
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Filtering.html
FILTER_VALUES = 200
PAGE = 1000
LIVING_STATES = ("pending", "running", "stopping", "stopped")


@dataclass(frozen=True, slots=True)
class Listed(Generic[Thing]):
    """A page of a listing, and the token that continues it; None after the last page."""

    things: tuple[Thing, ...]
    token: str | None


class Ec2:
    """EC2 of `region`. `unretried` is a client with `retries=False`, `own` the tags of all that it makes."""

    def __init__(
        self, client: "EC2Client", region: str, *, unretried: "EC2Client", own: Mapping[str, str]
    ) -> None:
        self._client = client
        self._unretried = unretried
        self._own = own
        self.region = region

    def is_foreign(self, tags: Mapping[str, str]) -> bool:
        """Return whether the tags say that another deployment made something."""
        return any(tags.get(key, value) != value for key, value in self._own.items())

    def instances(self, filters: Filters = ()) -> Iterator[Instance]:
        """Yield the instances that run or can run again, page by page; terminated ones are left out."""
        wanted = [*filters, ("instance-state-name", LIVING_STATES)]
        with translated_errors("DescribeInstances", None, self.region):
            pages = self._client.get_paginator("describe_instances").paginate(
                Filters=_filters(wanted), PaginationConfig={"PageSize": PAGE}
            )
            for page in pages:
                for reservation in page["Reservations"]:
                    yield from map(instance_from, reservation.get("Instances", ()))

    def instances_by_id(self, ids: Iterable[str]) -> list[Instance]:
        """Return the instances with these ids; missing and terminated ones are left out."""
        return [
            instance
            for batch in in_batches(ids, FILTER_VALUES - len(LIVING_STATES))
            for instance in self.instances([("instance-id", [_literal(id) for id in batch])])
        ]

    def volumes(self, ids: Iterable[str]) -> list[Volume]:
        """Return the volumes with these ids; missing ones are left out."""
        return [
            volume
            for batch in in_batches(ids, FILTER_VALUES)
            for volume in self._volumes([("volume-id", batch)])
        ]

    def volumes_tagged(self, key: str, value: str) -> list[Volume]:
        """Return the volumes that carry a tag, as far as this deployment made them."""
        tags = {key: value, **self._own}
        return list(self._volumes((f"tag:{each}", [_literal(tags[each])]) for each in tags))

    def snapshots_by_id(self, ids: Iterable[str]) -> list[Snapshot]:
        """Return the account's own snapshots with these ids; missing ones are left out."""
        return [
            snapshot
            for batch in in_batches(ids, FILTER_VALUES)
            for snapshot in self._snapshots([("snapshot-id", batch)])
        ]

    def not_completed(self, ids: Iterable[str]) -> tuple[str, ...]:
        """Return those of the ids, in order, whose snapshots are missing or not completed."""
        wanted = list(ids)
        there = {each.id for each in self.snapshots_by_id(wanted) if each.state == "completed"}
        return tuple(each for each in wanted if each not in there)

    def snapshots_described(self, beginning: str) -> list[Snapshot]:
        """Return the account's own snapshots whose description begins with this text, in any state.

        Unlike a tag, a snapshot's description cannot be changed after its creating call.
        """
        found = self._snapshots([("description", [f"{_literal(beginning)}*"])])
        return [snapshot for snapshot in found if snapshot.description.startswith(beginning)]

    def snapshots_pending(self) -> list[Snapshot]:
        """Return the account's own pending snapshots and copies."""
        return list(self._snapshots([("status", ["pending"])]))

    def snapshots_page(self, which: Filters, size: int, token: str | None) -> "Listed[Snapshot]":
        """Return a page of the account's own snapshots; it may have few or none though more follow."""
        more: Any = {"NextToken": token} if token else {}
        with translated_errors("DescribeSnapshots", None, self.region):
            page = self._client.describe_snapshots(
                OwnerIds=["self"], Filters=_filters(which), MaxResults=size, **more
            )
        return Listed(tuple(map(snapshot_from, page["Snapshots"])), page.get("NextToken") or None)

    def volumes_page(self, which: Filters, size: int, token: str | None) -> "Listed[Volume]":
        """Return a page of volumes; it may have few or none though more follow."""
        more: Any = {"NextToken": token} if token else {}
        with translated_errors("DescribeVolumes", None, self.region):
            page = self._client.describe_volumes(Filters=_filters(which), MaxResults=size, **more)
        return Listed(tuple(map(volume_from, page["Volumes"])), page.get("NextToken") or None)

    def create_snapshots(
        self,
        instance_id: str,
        *,
        boot: bool,
        exclude_volume_ids: Iterable[str],
        tags: Mapping[str, str],
        description: str,
    ) -> tuple[Snapshot, ...]:
        """Snapshot an instance's volumes at one moment, crash-consistent; all of them or none.

        `exclude_volume_ids` are data volumes, at most 40; `boot` includes the root volume. Not idempotent:
        call it only with the intent recorded. Source:
        https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateSnapshots.html
        """
        with translated_errors("CreateSnapshots", instance_id, self.region):
            answer = self._unretried.create_snapshots(
                InstanceSpecification={
                    "InstanceId": instance_id,
                    "ExcludeBootVolume": not boot,
                    "ExcludeDataVolumeIds": list(exclude_volume_ids),
                },
                Description=description,
                TagSpecifications=[self._tagged("snapshot", tags)],
            )
        return tuple(map(snapshot_from, answer["Snapshots"]))

    def create_snapshot(self, volume_id: str, *, tags: Mapping[str, str], description: str) -> Snapshot:
        """Snapshot one volume. Not idempotent: call it only with the intent recorded.

        Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateSnapshot.html
        """
        with translated_errors("CreateSnapshot", volume_id, self.region):
            answer = self._unretried.create_snapshot(
                VolumeId=volume_id,
                Description=description,
                TagSpecifications=[self._tagged("snapshot", tags)],
            )
        return snapshot_from(answer)

    def copy_snapshot(
        self,
        source_region: str,
        snapshot_id: str,
        *,
        tags: Mapping[str, str],
        kms_key: str | None,
        description: str,
    ) -> str:
        """Start copying a completed snapshot from another region into this one; return the copy's id.

        With `kms_key` (of this region) the copy is encrypted under it. Not idempotent: call it only with
        the intent recorded. Source:
        https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CopySnapshot.html
        """
        request: CopySnapshotRequestTypeDef = {
            "SourceRegion": source_region,
            "SourceSnapshotId": snapshot_id,
            "Description": description,
            "TagSpecifications": [self._tagged("snapshot", tags)],
        }
        if kms_key is not None:
            request |= {"Encrypted": True, "KmsKeyId": kms_key}
        with translated_errors("CopySnapshot", snapshot_id, self.region):
            return self._unretried.copy_snapshot(**request)["SnapshotId"]

    def delete_snapshot(self, snapshot_id: str) -> None:
        """Delete a snapshot, unless it is already gone.

        Raises:
            SnapshotInUse: an AMI uses it.
        """
        try:
            with translated_errors("DeleteSnapshot", snapshot_id, self.region):
                self._client.delete_snapshot(SnapshotId=snapshot_id)
        except NotFound:
            return

    def create_volume(
        self,
        snapshot_id: str,
        availability_zone: str,
        spec: VolumeSpec,
        *,
        tags: Mapping[str, str],
        client_token: str,
    ) -> Volume:
        """Create a volume from a snapshot; EC2's defaults apply to what the spec leaves open.

        Idempotent: one `client_token` (at most 64 ASCII characters) only ever makes one volume. Source:
        https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateVolume.html
        """
        request: CreateVolumeRequestTypeDef = {
            "SnapshotId": snapshot_id,
            "AvailabilityZone": availability_zone,
            "ClientToken": client_token,
            "TagSpecifications": [self._tagged("volume", tags)],
            "Size": spec.size_gib,
            "VolumeType": cast("VolumeTypeType", spec.type),  # EC2 refuses unknown types
        }
        if spec.iops is not None:
            request["Iops"] = spec.iops
        if spec.throughput is not None:
            request["Throughput"] = spec.throughput
        if spec.multi_attach:
            request["MultiAttachEnabled"] = True
        with translated_errors("CreateVolume", snapshot_id, self.region):
            return volume_from(self._client.create_volume(**request))

    def attach_volume(self, volume_id: str, instance_id: str, device: str) -> None:
        """Begin to attach an available volume to a running or stopped instance of its zone. Made again, it is
        refused. Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AttachVolume.html

        Raises:
            Conflict: the volume is attached already (`VolumeInUse`), it or the instance is in a state that
                does not allow it (`IncorrectState`), or the instance has no room for one more.
            Permanent: the device is taken, or is not one that the instance can have.
        """
        with translated_errors("AttachVolume", f"{volume_id} at {device} of {instance_id}", self.region):
            self._client.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device=device)

    def detach_volume(self, volume_id: str, instance_id: str) -> None:
        """Begin to detach a volume from an instance; one that is not attached there, or is being detached, is
        fine. Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DetachVolume.html"""
        try:
            with translated_errors("DetachVolume", f"{volume_id} from {instance_id}", self.region):
                self._client.detach_volume(VolumeId=volume_id, InstanceId=instance_id)
        except NotFound:
            return
        except Conflict as refusal:
            if refusal.code != "IncorrectState":
                raise

    def delete_volume(self, volume_id: str) -> None:
        """Delete a volume; one that is gone is fine.

        Raises:
            Conflict: it is attached.
        """
        try:
            with translated_errors("DeleteVolume", volume_id, self.region):
                self._client.delete_volume(VolumeId=volume_id)
        except NotFound:
            return

    def availability_zones(self) -> tuple[str, ...]:
        """Return the zones of the region that this account can use now."""
        with translated_errors("DescribeAvailabilityZones", None, self.region):
            answer = self._client.describe_availability_zones(Filters=_filters([("state", ["available"])]))
        return tuple(zone["ZoneName"] for zone in answer["AvailabilityZones"])

    def _volumes(self, filters: Filters) -> Iterator[Volume]:
        with translated_errors("DescribeVolumes", None, self.region):
            pages = self._client.get_paginator("describe_volumes").paginate(
                Filters=_filters(filters), PaginationConfig={"PageSize": PAGE}
            )
            for page in pages:
                yield from map(volume_from, page["Volumes"])

    def _snapshots(self, filters: Filters) -> Iterator[Snapshot]:
        with translated_errors("DescribeSnapshots", None, self.region):
            pages = self._client.get_paginator("describe_snapshots").paginate(
                OwnerIds=["self"], Filters=_filters(filters), PaginationConfig={"PageSize": PAGE}
            )
            for page in pages:
                yield from map(snapshot_from, page["Snapshots"])

    def _tagged(self, resource: "ResourceTypeType", tags: Mapping[str, str]) -> "TagSpecificationTypeDef":
        all_tags = {**tags, **self._own}
        return {
            "ResourceType": resource,
            "Tags": [{"Key": key, "Value": value} for key, value in sorted(all_tags.items())],
        }


def _filters(filters: Filters) -> "list[FilterTypeDef]":
    return [{"Name": name, "Values": list(values)} for name, values in filters]


def _literal(value: str) -> str:
    """Return a value in which EC2's filters read wildcards literally."""
    return "".join(f"\\{char}" if char in "*?\\" else char for char in value)
