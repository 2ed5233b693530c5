"""How a recovery point's manifests are written from what the catalog knows of it. Pure.

Invariant: what a manifest says comes of the catalog, or was compared with it: who may write in a vault can
change what lies there, and it must not be carried into another one.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from chalicelib.catalog.recovery_point import RecoveryPoint, SnapshotRef
from chalicelib.vaults.manifest import Manifest, SnapshotOf

# So many of its instances a point's record and manifest name; the manifest lists all snapshots.
INSTANCES_NAMED = 20


def manifest_of(point: RecoveryPoint, source: Mapping[str, str], **pieces: Any) -> Manifest:
    """Return the manifest of a point as the catalog has it, with its pieces in one vault."""
    return Manifest(
        recovery_point=point.id,
        service=point.service,
        plan=point.plan,
        rule=point.rule,
        kind=point.kind.value,
        nominal_at=point.nominal_at,
        created_at=point.created_at,
        source=source,
        size_bytes=point.size_bytes,
        origin=point.origin.value,
        note=point.note,
        keep_until=point.keep_until,
        left_out=point.left_out,
        suspect=point.suspect,
        **pieces,
    )


def snapshots_of(refs: Iterable[SnapshotRef], region: str) -> tuple[SnapshotOf, ...]:
    """Return snapshots of a region as a manifest lists them."""
    return tuple(
        SnapshotOf(
            snapshot_id=ref.id,
            region=region,
            volume_id=ref.volume_id,
            instance_id=ref.instance_id,
            device=ref.device,
            size_gib=ref.size_gib,
            type=ref.type,
            iops=ref.iops,
            throughput=ref.throughput,
            multi_attach=ref.multi_attach,
            remark=ref.remark,
        )
        for ref in refs
    )


def source_of_snapshots(instances: Iterable[str], region: str) -> dict[str, str]:
    """Return what a manifest says of where snapshots come from: the first instances, and their region."""
    return {"instances": " ".join(list(instances)[:INSTANCES_NAMED]), "region": region}


def source_of_file(source: Mapping[str, Any]) -> dict[str, str]:
    """Return what a manifest says of where a file comes from: its instance, and the scripts that put it back,
    as the point's own `source` has them."""
    scripts = {name: source[name] for name in ("restore", "verify") if source.get(name)}
    return {"instance": next(iter(source.get("instances", ())), ""), **scripts}
