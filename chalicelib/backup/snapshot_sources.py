"""What a backup by snapshot takes of its instances: the volumes that the rule chooses, and those left out.
Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from chalicelib.aws.ec2 import Instance, Volume
from chalicelib.plans.selection import VolumeChoice, chooses


@dataclass(frozen=True, slots=True)
class ChosenVolume:
    """A volume to snapshot."""

    id: str
    device: str
    size_gib: int


@dataclass(frozen=True, slots=True)
class Source:
    """One instance to snapshot: its chosen volumes, the data volumes left out, and whether the boot volume is
    among the chosen."""

    instance: str
    volumes: tuple[ChosenVolume, ...]
    left_out: tuple[str, ...]
    boot: bool

    @property
    def intent(self) -> str:
        """The name of the call that snapshots it."""
        return f"CreateSnapshots of {self.instance}"


def sources_of(
    instances: Iterable[Instance], volumes: Mapping[str, Volume], choice: VolumeChoice
) -> tuple[Source, ...]:
    """Return what to snapshot of each instance; those that the rule leaves out whole are not among them."""
    return tuple(source for instance in instances if (source := _source(instance, volumes, choice)))


def _source(instance: Instance, volumes: Mapping[str, Volume], choice: VolumeChoice) -> Source | None:
    attached = [(each, volumes[each.volume_id]) for each in instance.volumes if each.volume_id in volumes]
    wanted = {volume.id for each, volume in attached if chooses(choice, boot=each.boot, tags=volume.tags)}
    if not wanted:
        return None
    return Source(
        instance.id,
        tuple(ChosenVolume(v.id, each.device, v.size_gib) for each, v in attached if v.id in wanted),
        tuple(v.id for each, v in attached if v.id not in wanted and not each.boot),
        any(v.id in wanted and each.boot for each, v in attached),
    )
