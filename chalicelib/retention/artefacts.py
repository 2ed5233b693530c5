"""Checks whether the artefacts of recovery points are in their vaults, and deletes them.

Deleting is idempotent: it succeeds when the artefact is gone already.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from chalicelib.aws.ec2 import Ec2
from chalicelib.catalog.recovery_point import Artefact, RecoveryPoint
from chalicelib.catalog.store.points import PointStore
from chalicelib.errors import FarshoreError
from chalicelib.observability import logger
from chalicelib.vaults.layout import manifest_key
from chalicelib.vaults.vault import Vault


@dataclass(frozen=True, slots=True)
class ArtefactStore:
    """Checks and deletes points' artefacts; `vaults` returns a vault by name, `ec2` EC2 by region."""

    points: PointStore
    vaults: Callable[[str], Vault]
    ec2: Callable[[str], Ec2]

    def missing_from(self, point: RecoveryPoint) -> frozenset[str]:
        """Return the vaults in which a point is recorded as good but is not complete.

        A vault that cannot be read is not among them: the point may be there.
        """
        return frozenset(vault for vault in point.available_in() if self._is_missing(point, vault))

    def _is_missing(self, point: RecoveryPoint, vault: str) -> bool:
        ids = tuple(ref.id for ref in self.points.snapshots(point, vault))
        try:
            return bool(self.missing(vault, {point.id: (point.artefacts[vault], ids)}))
        except FarshoreError as error:
            logger().warning("vault could not be read", extra={"vault": vault, "error": str(error)})
            return False

    def missing(self, vault: str, artefacts: Mapping[str, tuple[Artefact, Iterable[str]]]) -> set[str]:
        """Return the keys of the artefacts (each given with its snapshots) that are incomplete in the vault.

        This costs one listing for each rule's folder and one call for each 200 snapshots of a region.
        """
        keys = self._keys(vault, {each.folder for each, _ in artefacts.values() if each.object_keys})
        snapshots = self._snapshots(artefacts.values())
        return {
            key
            for key, (artefact, ids) in artefacts.items()
            if not (artefact.object_keys <= keys and snapshots.issuperset(ids))
        }

    def _keys(self, vault: str, folders: Iterable[str]) -> set[str]:
        """Return the keys below the folders' parents: all points of one rule share one parent."""
        parents = {f"{folder.rstrip('/').rpartition('/')[0]}/" for folder in folders}
        return {stored.key for parent in sorted(parents) for stored in self.vaults(vault).list(parent)}

    def _snapshots(self, artefacts: Iterable[tuple[Artefact, Iterable[str]]]) -> set[str]:
        by_region: dict[str, list[str]] = {}
        for artefact, ids in artefacts:
            by_region.setdefault(artefact.snapshots.region, []).extend(ids)
        return {
            snapshot.id
            for region, ids in by_region.items()
            if ids
            for snapshot in self.ec2(region).snapshots_by_id(ids)
            if snapshot.state == "completed"
        }

    def delete_manifest(self, artefact: Artefact) -> None:
        """Delete the manifest. This comes first, so that a manifest never lists objects that are gone."""
        if artefact.folder:
            self.vaults(artefact.vault).delete(manifest_key(artefact.folder))

    def delete_snapshot(self, artefact: Artefact, snapshot: str) -> None:
        """Delete one of the artefact's snapshots.

        Raises:
            SnapshotInUse: an AMI uses the snapshot.
        """
        self.ec2(artefact.snapshots.region).delete_snapshot(snapshot)

    def delete_files(self, artefact: Artefact) -> None:
        """Delete the artefact's folder, the manifest first."""
        if not artefact.folder:
            return
        vault = self.vaults(artefact.vault)
        self.delete_manifest(artefact)
        for stored in list(vault.list(artefact.folder)):
            vault.delete(stored.key)
