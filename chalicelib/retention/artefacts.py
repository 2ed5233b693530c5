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
from chalicelib.vaults.layout import manifest_key
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
        keys = self._keys(vault, {each.folder for each, _ in artefacts.values() if each.object_keys})
        snapshots = self._snapshots(artefacts.values())
        return {
            key
            for key, (artefact, ids) in artefacts.items()
            if not (artefact.object_keys <= keys and snapshots.issuperset(ids))
        }

    def _keys(self, vault: str, folders: Iterable[str]) -> set[str]:
        """List what lies in the folders' parents: all points of one rule share one."""
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
        """Delete the manifest, before what it lists: it never lists what is not there."""
        if artefact.folder:
            self.vaults(artefact.vault).delete(manifest_key(artefact.folder))

    def delete_snapshot(self, artefact: Artefact, snapshot: str) -> None:
        """Delete one of the artefact's snapshots.

        Raises:
            SnapshotInUse: an AMI uses it.
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
