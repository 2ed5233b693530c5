"""What a backup snapshots of its instances, and by which calls. Pure.

CreateSnapshots takes an instance's volumes at one moment, but can leave out only a limited number of its data
volumes; where the rule leaves out more, each chosen volume is taken by a CreateSnapshot of its own.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from chalicelib.aws.ec2 import AttachedVolume, Instance, Volume
from chalicelib.catalog.recovery_point import (
    TAG_SOURCE_DEVICE,
    TAG_SOURCE_DEVICES,
    TAG_SOURCE_INSTANCE,
    TAG_SOURCE_VOLUME,
)
from chalicelib.jobs.work import snapshot_call, volume_call
from chalicelib.plans.selection import VolumeChoice, chooses

# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceSpecification.html
LEFT_OUT_AT_MOST = 40
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions
TAG_VALUE_CHARACTERS = 256
# A snapshot has room for 50 tags; these and our other tags are fewer than half of them.
DEVICE_TAGS = 16

ALONE = "snapshotted by a call of its own, not at one moment with the other volumes of its instance"
ATTACHED_MEANWHILE = "attached to its instance after the volumes were chosen, before they were snapshotted"


@dataclass(frozen=True, slots=True)
class ChosenVolume:
    """A volume to snapshot, as it was when it was chosen.

    One that came `meanwhile` was found in the answer of CreateSnapshots.
    """

    id: str
    device: str
    size_gib: int
    type: str = ""
    iops: int | None = None
    throughput: int | None = None
    multi_attach: bool = False
    meanwhile: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """An instance to snapshot: its chosen volumes, the data volumes left out; `boot`: is it chosen, too?"""

    instance: str
    volumes: tuple[ChosenVolume, ...]
    left_out: tuple[str, ...]
    boot: bool

    @property
    def one_by_one(self) -> bool:
        """Whether more volumes are left out than one CreateSnapshots can leave out."""
        return len(self.left_out) > LEFT_OUT_AT_MOST

    @property
    def calls(self) -> "tuple[Call, ...]":
        """The calls that snapshot it."""
        if self.one_by_one:
            return tuple(Call(self, (volume,)) for volume in self.volumes)
        return (Call(self, self.volumes),)

    def remark_on(self, volume: ChosenVolume) -> str:
        """Return what an operator should know of the snapshot of one of its volumes, or ""."""
        if volume.meanwhile:
            return ATTACHED_MEANWHILE
        return ALONE if self.one_by_one and len(self.volumes) > 1 else ""


@dataclass(frozen=True, slots=True)
class Call:
    """One call that snapshots volumes of an instance."""

    source: Source
    volumes: tuple[ChosenVolume, ...]

    @property
    def operation(self) -> str:
        """EC2's name of the operation."""
        return "CreateSnapshot" if self.source.one_by_one else "CreateSnapshots"

    @property
    def intent(self) -> str:
        """The name of this call among the calls of a job."""
        if self.source.one_by_one:
            return volume_call(self.volumes[0].id, self.source.instance)
        return snapshot_call(self.source.instance)

    @property
    def tags(self) -> dict[str, str]:
        """The tags that say where its snapshots come from; all snapshots of one call get the same ones.

        Of several volumes they list each with its device, as far as there is room: EC2 itself knows the
        volume of each snapshot.
        """
        of_instance = {TAG_SOURCE_INSTANCE: self.source.instance}
        if len(self.volumes) == 1:
            (volume,) = self.volumes
            return {**of_instance, TAG_SOURCE_VOLUME: volume.id, TAG_SOURCE_DEVICE: volume.device}
        return {**of_instance, **dict(_device_tags(self.volumes))}


def sources_of(
    instances: Iterable[Instance], volumes: Mapping[str, Volume], choice: VolumeChoice
) -> tuple[Source, ...]:
    """Return what to snapshot of each instance, without instances that the rule leaves out completely.

    A volume that several of the instances have attached (EBS Multi-Attach) is taken with the first of them.
    """
    sources: list[Source] = []
    taken: set[str] = set()
    for instance in instances:
        attached = [(each, volumes[each.volume_id]) for each in instance.volumes if each.volume_id in volumes]
        wanted = [
            chosen(each, volume)
            for each, volume in attached
            if volume.id not in taken and chooses(choice, boot=each.boot, tags=volume.tags)
        ]
        ids = {volume.id for volume in wanted}
        if ids:
            left_out = (v.id for each, v in attached if v.id not in ids and not each.boot)
            boot = any(v.id in ids and each.boot for each, v in attached)
            sources.append(Source(instance.id, tuple(wanted), tuple(left_out), boot))
        taken |= ids
    return tuple(sources)


def chosen(attached: AttachedVolume, volume: Volume, *, meanwhile: bool = False) -> ChosenVolume:
    """Return a volume to snapshot, as it is now and as it is attached."""
    return ChosenVolume(
        id=volume.id,
        device=attached.device,
        size_gib=volume.size_gib,
        type=volume.type,
        iops=volume.iops,
        throughput=volume.throughput,
        multi_attach=volume.multi_attach,
        meanwhile=meanwhile,
    )


def _device_tags(volumes: Iterable[ChosenVolume]) -> Iterator[tuple[str, str]]:
    """Yield tags that list volumes with their devices, as many in a tag as fit."""
    number, text = 1, ""
    for volume in volumes:
        entry = f"{volume.device}={volume.id}"
        if text and len(text) + 1 + len(entry) > TAG_VALUE_CHARACTERS:
            yield _numbered(number), text
            number, text = number + 1, ""
        if number > DEVICE_TAGS:
            return
        text = f"{text} {entry}" if text else entry
    yield _numbered(number), text


def _numbered(number: int) -> str:
    return TAG_SOURCE_DEVICES if number == 1 else f"{TAG_SOURCE_DEVICES}-{number}"
