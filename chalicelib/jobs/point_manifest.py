"""Makes a recovery point's manifests from what the catalog knows of it. Pure.

Invariant: what a manifest says comes from the catalog, or was compared with it: whoever may write in a vault
can change its objects, and that must not be carried into another vault.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from chalicelib.catalog.recovery_point import RecoveryPoint, SnapshotRef
from chalicelib.vaults.manifest import Manifest, SnapshotOf

# A point's record and manifest name this many of its instances; the manifest lists all snapshots.
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
    """Return snapshots of a region in the form of a manifest."""
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
    """Return the source of snapshots for a manifest: the first instances, and their region."""
    return {"instances": " ".join(list(instances)[:INSTANCES_NAMED]), "region": region}


def source_of_file(source: Mapping[str, Any]) -> dict[str, str]:
    """Return the source of a file for a manifest: its instance, and the scripts that restore it."""
    scripts = {name: source[name] for name in ("restore", "verify") if source.get(name)}
    return {"instance": next(iter(source.get("instances", ())), ""), **scripts}
