"""Deletes what a recovery point consists of in one vault. Deleting what is gone is done already."""

from collections.abc import Callable
from dataclasses import dataclass

from chalicelib.aws.ec2 import Ec2
from chalicelib.catalog.recovery_point import Artefact
from chalicelib.errors import SnapshotInUse
from chalicelib.vaults.layout import manifest_key
from chalicelib.vaults.vault import Vault


@dataclass(frozen=True, slots=True)
class ArtefactStore:
    """Deletes artefacts; `vaults` and `ec2` give a vault by its name and EC2 by its region."""

    vaults: Callable[[str], Vault]
    ec2: Callable[[str], Ec2]

    def delete(self, artefact: Artefact) -> None:
        """Delete snapshots and files, the manifest before what it lists: it never lists what is not there.

        Raises:
            SnapshotInUse: an AMI uses one of the snapshots; the others are deleted.
        """
        in_use: Exception | None = None
        if artefact.folder is not None:
            vault = self.vaults(artefact.vault)
            vault.delete(manifest_key(artefact.folder))
            for stored in list(vault.list(artefact.folder)):
                vault.delete(stored.key)
        if artefact.snapshots and artefact.region is not None:
            ec2 = self.ec2(artefact.region)
            for ref in artefact.snapshots:
                try:
                    ec2.delete_snapshot(ref.id)
                except SnapshotInUse as refusal:
                    in_use = refusal
        if in_use is not None:
            raise in_use
