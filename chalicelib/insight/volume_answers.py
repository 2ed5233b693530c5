"""The volumes that a restore makes, and its target, as the API answers them. Pure."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from chalicelib.catalog.recovery_point import SnapshotRef
from chalicelib.catalog.values import Answer, present, says
from chalicelib.jobs.volume_plan import PlannedVolume, Wanted, planned_volume, wanted_by
from chalicelib.jobs.work import (
    AttachedRestoreWork,
    BackupWork,
    InventoryWork,
    ServiceRestoreWork,
    VolumeRestoreWork,
)
from chalicelib.plans.declared import Maybe

# At most this many volumes are listed; each child job of a larger restore lists its own.
VOLUMES_LISTED = 100


class TargetAnswer(Answer):
    """Where a restore goes: an instance, or the zone and kind of its volumes."""

    instance_id: Annotated[Maybe[str], says("the instance that is restored onto")] = None
    availability_zone: Annotated[Maybe[str], says("the zone of the volumes")] = None
    size: Annotated[Maybe[int], says("GiB of each volume, as requested")] = None
    type: Annotated[Maybe[str], says("the EBS volume type, as requested")] = None
    iops: Annotated[Maybe[int], says("IOPS of each volume, as requested")] = None
    throughput: Annotated[Maybe[int], says("MiB/s of each volume, as requested")] = None


class VolumeSource(Answer):
    """The volume that a snapshot was made of."""

    instance: str
    device: str
    volume: str


class VolumeAnswer(Answer):
    """A volume that a restore makes of a snapshot."""

    snapshot: Annotated[str, says("the snapshot it is made of")]
    source: Annotated[VolumeSource, says("the instance, device and volume that the snapshot was made of")]
    size: Annotated[int, says("GiB")]
    type: Annotated[str, says("its EBS volume type")]
    iops: Annotated[int | None, says("its IOPS; null if the type determines it")]
    throughput: Annotated[int | None, says("its MiB/s; null if the type determines it")]
    multi_attach: Annotated[bool, says("whether several instances may attach it")]
    differs: Annotated[tuple[str, ...], says("how it differs from the recorded volume, and why")]
    volume: Annotated[Maybe[str], says("the volume, once it is made")] = None
    remark: Annotated[Maybe[str], says("a remark on this snapshot")] = None


def work_keys(work: Any) -> dict[str, Any]:
    """Return the part of a job's work that is shown."""
    keys = present(recovery_point=getattr(work, "recovery_point", None), vault=getattr(work, "vault", None))
    match work:
        case InventoryWork(region=region):
            keys |= present(region=region)
        case BackupWork(terms=terms):
            keys |= present(origin=terms.origin, note=terms.note or None)
        case ServiceRestoreWork(instance_id=instance) | AttachedRestoreWork(instance_id=instance):
            keys["target"] = TargetAnswer(instance_id=instance)
        case VolumeRestoreWork(availability_zone=zone) as work:
            spec = present(size=work.size_gib, type=work.type, iops=work.iops, throughput=work.throughput)
            keys["target"] = TargetAnswer(availability_zone=zone, **spec)
    return keys


def volume_keys(
    work: Any, refs: Sequence[SnapshotRef], made: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the keys of an answer that list the volumes of a restore, the first of them one by one.

    `made` has the ids of existing volumes, by snapshot. Other work has no such keys.
    """
    if not isinstance(work, AttachedRestoreWork | VolumeRestoreWork) or not refs:
        return {}
    wanted = wanted_by(work) if isinstance(work, VolumeRestoreWork) else Wanted()
    listed = (
        _volume_answer(planned_volume(ref, wanted), (made or {}).get(ref.id)) for ref in refs[:VOLUMES_LISTED]
    )
    return {"volume_count": len(refs), "volumes": tuple(listed)}


def _volume_answer(planned: PlannedVolume, volume: str | None) -> VolumeAnswer:
    ref, spec = planned.ref, planned.spec
    return VolumeAnswer(
        snapshot=ref.id,
        source=VolumeSource(instance=ref.instance_id, device=ref.device, volume=ref.volume_id),
        size=spec.size_gib,
        type=spec.type,
        iops=spec.iops,
        throughput=spec.throughput,
        multi_attach=spec.multi_attach,
        differs=planned.differs,
        **present(volume=volume, remark=ref.remark or None),
    )
