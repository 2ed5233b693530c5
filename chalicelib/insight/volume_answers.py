"""The volumes that a restore makes, and where it goes, as the API answers them. Pure."""

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

# What an answer lists of a restore's volumes; of a larger one each child job lists its own.
VOLUMES_LISTED = 100


class TargetAnswer(Answer):
    """Where a restore goes: an instance, or the zone and kind of its volumes."""

    instance_id: Annotated[Maybe[str], says("the instance that is restored onto")] = None
    availability_zone: Annotated[Maybe[str], says("the zone of the volumes")] = None
    size: Annotated[Maybe[int], says("GiB of each volume, as it was asked for")] = None
    type: Annotated[Maybe[str], says("the EBS volume type, as it was asked for")] = None
    iops: Annotated[Maybe[int], says("IOPS of each volume, as they were asked for")] = None
    throughput: Annotated[Maybe[int], says("MiB/s of each volume, as they were asked for")] = None


class VolumeSource(Answer):
    """What a snapshot was first made of."""

    instance: str
    device: str
    volume: str


class VolumeAnswer(Answer):
    """A volume that a restore makes of a snapshot."""

    snapshot: Annotated[str, says("the snapshot it is made of")]
    source: Annotated[VolumeSource, says("the instance, device and volume the snapshot was made of")]
    size: Annotated[int, says("GiB")]
    type: Annotated[str, says("its EBS volume type")]
    iops: Annotated[int | None, says("its IOPS; null where the type says it")]
    throughput: Annotated[int | None, says("its MiB/s; null where the type says it")]
    multi_attach: Annotated[bool, says("whether several instances may attach it")]
    differs: Annotated[tuple[str, ...], says("in what it differs from the recorded volume, and why")]
    volume: Annotated[Maybe[str], says("the volume, when it is there")] = None
    remark: Annotated[Maybe[str], says("what to know of this snapshot")] = None


def work_keys(work: Any) -> dict[str, Any]:
    """Return what of a job's work is worth showing."""
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
    """Return the volumes that a restore makes of snapshots, the first of them one by one; `made` has the ids
    of those that are there, by their snapshots. Nothing for work of another kind.
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
