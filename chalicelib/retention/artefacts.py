"""What a recovery point consists of in one vault: whether it is there, and its deletion.

Deleting what is gone is done already.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from chalicelib.aws.ec2 import Ec2
from chalicelib.catalog.recovery_point import Artefact, RecoveryPoint
from chalicelib.catalog.store.points import PointStore
from chalicelib.errors import FarshoreError
from chalicelib.observability import logger
from chalicelib.vaults.layout import manifest_key, segment_key
from chalicelib.vaults.vault import Vault


@dataclass(frozen=True, slots=True)
class ArtefactStore:
    """Looks at points' artefacts and deletes them; `vaults` gives a vault by name, `ec2` EC2 by region."""

    points: PointStore
    vaults: Callable[[str], Vault]
    ec2: Callable[[str], Ec2]

    def missing_from(self, point: RecoveryPoint) -> frozenset[str]:
        """Return the vaults in which a point is recorded as good and is not whole.

        A vault that cannot be looked at is not among them: it may have it.
        """
        return frozenset(vault for vault in point.available_in() if self._is_missing(point, vault))

    def _is_missing(self, point: RecoveryPoint, vault: str) -> bool:
        ids = tuple(ref.id for ref in self.points.snapshots(point, vault))
        try:
            return bool(self.missing(vault, {point.id: (point.artefacts[vault], ids)}))
        except FarshoreError as error:
            logger().warning("vault not looked at", extra={"vault": vault, "error": str(error)})
            return False

    def missing(self, vault: str, artefacts: Mapping[str, tuple[Artefact, Iterable[str]]]) -> set[str]:
        """Return the keys of those artefacts, each with its snapshots, that are not whole in the vault.

        It takes one listing for each rule's folder, one call for 200 snapshots of a region.
        """
        with_files = (artefact for artefact, _ in artefacts.values() if not artefact.snapshot_count)
        keys = self._keys(vault, {artefact.folder for artefact in with_files})
        snapshots = self._snapshots(artefacts.values())
        return {
            key
            for key, (artefact, ids) in artefacts.items()
            if not (_has_files(artefact, keys) and snapshots.issuperset(ids))
        }

    def _keys(self, vault: str, folders: Iterable[str | None]) -> set[str]:
        """List what lies in the folders' parents: all points of one rule share one."""
        parents = {f"{folder.rstrip('/').rpartition('/')[0]}/" for folder in folders if folder}
        return {stored.key for parent in sorted(parents) for stored in self.vaults(vault).list(parent)}

    def _snapshots(self, artefacts: Iterable[tuple[Artefact, Iterable[str]]]) -> set[str]:
        by_region: dict[str, list[str]] = {}
        for artefact, ids in artefacts:
            by_region.setdefault(artefact.region or "", []).extend(ids)
        return {
            snapshot.id
            for region, ids in by_region.items()
            if ids
            for snapshot in self.ec2(region).snapshots_by_id(ids)
            if snapshot.state == "completed"
        }

    def delete_manifest(self, artefact: Artefact) -> None:
        """Delete the manifest, before what it lists: it never lists what is not there."""
        if artefact.folder is not None:
            self.vaults(artefact.vault).delete(manifest_key(artefact.folder))

    def delete_snapshot(self, artefact: Artefact, snapshot: str) -> None:
        """Delete one of the artefact's snapshots.

        Raises:
            SnapshotInUse: an AMI uses it.
        """
        if artefact.region is not None:
            self.ec2(artefact.region).delete_snapshot(snapshot)

    def delete_files(self, artefact: Artefact) -> None:
        """Delete the artefact's folder, the manifest first."""
        if artefact.folder is None:
            return
        vault = self.vaults(artefact.vault)
        self.delete_manifest(artefact)
        for stored in list(vault.list(artefact.folder)):
            vault.delete(stored.key)


def _has_files(artefact: Artefact, keys: set[str]) -> bool:
    """Return whether the manifest, the object and every segment of a file are among the keys."""
    if artefact.folder is None or artefact.snapshot_count:
        return True
    wanted = [manifest_key(artefact.folder), *([artefact.key] if artefact.key else [])]
    wanted += [segment_key(artefact.folder, number) for number in range(1, artefact.segments + 1)]
    return keys.issuperset(wanted)
