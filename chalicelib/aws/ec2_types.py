"""EC2's resources as our types, and how they are read from EC2's answers.

Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Types.html
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import (
        InstanceTypeDef,
        SnapshotInfoTypeDef,
        SnapshotResponseTypeDef,
        SnapshotTypeDef,
        TagTypeDef,
        VolumeResponseTypeDef,
        VolumeTypeDef,
    )


@dataclass(frozen=True, slots=True)
class AttachedVolume:
    """A volume attached to an instance; `device` is its device name there, `boot` marks the root volume."""

    volume_id: str
    device: str
    boot: bool


@dataclass(frozen=True, slots=True)
class Instance:
    """One EC2 instance; `volumes` are its EBS volumes only, in EC2's order.

    `launched_at` is when it was last started: it changes with every start after a stop, not with a reboot.
    `created_at` is when it was made: a start after a stop leaves it. None: EC2 shows no root volume.
    `interfaces` are its network interfaces, by device index: the first is the one it was launched with.
    `client_token` is that of the call that launched it.
    """

    id: str
    state: str
    availability_zone: str
    tags: Mapping[str, str]
    volumes: tuple[AttachedVolume, ...]
    launched_at: datetime | None = None
    created_at: datetime | None = None
    type: str = ""
    interfaces: tuple[str, ...] = ()
    client_token: str = ""


@dataclass(frozen=True, slots=True)
class Attachment:
    """Where a volume is attached; `state` is attaching, attached, busy, detaching or detached.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_VolumeAttachment.html
    """

    instance_id: str
    device: str
    state: str


@dataclass(frozen=True, slots=True)
class Volume:
    """One EBS volume. States: https://docs.aws.amazon.com/ebs/latest/userguide/ebs-describing-volumes.html

    `iops` and `throughput` (MiB/s) are None where EC2 shows none; for a gp2 volume `iops` is its baseline.
    """

    id: str
    state: str
    availability_zone: str
    size_gib: int
    type: str
    tags: Mapping[str, str]
    snapshot_id: str | None
    iops: int | None = None
    throughput: int | None = None
    multi_attach: bool = False
    attachments: tuple[Attachment, ...] = ()
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class VolumeSpec:
    """The properties of a volume to create: sizes in GiB and MiB/s. None leaves the choice to the type."""

    size_gib: int
    type: str
    iops: int | None = None
    throughput: int | None = None
    multi_attach: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One EBS snapshot; `state` is pending, completed, error, recoverable or recovering.

    `message` says why it is in error. `size_gib` is the size of its volume, not its own. `volume_id` means
    nothing on a copy.
    """

    id: str
    volume_id: str
    state: str
    progress: str
    size_gib: int
    started_at: datetime
    tags: Mapping[str, str]
    message: str | None = None
    description: str = ""


def tags_from(tags: "Iterable[TagTypeDef]") -> dict[str, str]:
    """Return tags as a mapping."""
    return {tag["Key"]: tag["Value"] for tag in tags}


def instance_from(answer: "InstanceTypeDef") -> Instance:
    """Return an instance from an answer of DescribeInstances."""
    root = answer.get("RootDeviceName")
    return Instance(
        id=answer["InstanceId"],
        state=answer["State"]["Name"],
        availability_zone=answer["Placement"]["AvailabilityZone"],
        tags=tags_from(answer.get("Tags", ())),
        launched_at=answer.get("LaunchTime"),
        created_at=_created_at(answer),
        volumes=tuple(
            AttachedVolume(
                mapping["Ebs"]["VolumeId"], mapping["DeviceName"], boot=mapping["DeviceName"] == root
            )
            for mapping in answer.get("BlockDeviceMappings", ())
            if "Ebs" in mapping
        ),
        type=answer.get("InstanceType", ""),
        interfaces=_interfaces(answer),
        client_token=answer.get("ClientToken", ""),
    )


def _interfaces(answer: "InstanceTypeDef") -> tuple[str, ...]:
    """Return the ids of an instance's network interfaces, by device index where EC2 shows it."""
    interfaces = sorted(
        answer.get("NetworkInterfaces", ()), key=lambda each: each.get("Attachment", {}).get("DeviceIndex", 0)
    )
    return tuple(each["NetworkInterfaceId"] for each in interfaces)


def _created_at(answer: "InstanceTypeDef") -> datetime | None:
    """Return when an instance was made: when its root volume was attached."""
    root = answer.get("RootDeviceName")
    attached = [
        mapping["Ebs"].get("AttachTime")
        for mapping in answer.get("BlockDeviceMappings", ())
        if "Ebs" in mapping and mapping["DeviceName"] == root
    ]
    return attached[0] if attached else None


def volume_from(answer: "VolumeTypeDef | VolumeResponseTypeDef") -> Volume:
    """Return a volume from an answer of DescribeVolumes or CreateVolume."""
    return Volume(
        id=answer["VolumeId"],
        state=answer["State"],
        availability_zone=answer["AvailabilityZone"],
        size_gib=answer["Size"],
        type=answer["VolumeType"],
        tags=tags_from(answer.get("Tags", ())),
        snapshot_id=answer.get("SnapshotId") or None,
        iops=answer.get("Iops"),
        throughput=answer.get("Throughput"),
        multi_attach=answer.get("MultiAttachEnabled", False),
        attachments=tuple(
            Attachment(each["InstanceId"], each["Device"], each["State"])
            for each in answer.get("Attachments", ())
            if each["State"] != "detached"
        ),
        created_at=answer.get("CreateTime"),
    )


def snapshot_from(answer: "SnapshotTypeDef | SnapshotResponseTypeDef | SnapshotInfoTypeDef") -> Snapshot:
    """Return a snapshot from DescribeSnapshots or a creating call (which has no StateMessage)."""
    return Snapshot(
        id=answer["SnapshotId"],
        volume_id=answer["VolumeId"],
        state=answer["State"],
        progress=answer.get("Progress", ""),
        size_gib=answer["VolumeSize"],
        started_at=answer["StartTime"],
        tags=tags_from(answer.get("Tags", ())),
        message=str(answer.get("StateMessage") or "") or None,
        description=answer.get("Description", ""),
    )
