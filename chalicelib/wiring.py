"""Puts Farshore together: the one place that knows which part is built of which.

Built once per process, when a handler first asks; AWS clients and off-site drivers only when they are first
used.
"""

import os
from datetime import UTC, datetime
from functools import cache, cached_property
from typing import TYPE_CHECKING

from chalicelib.aws.clients import Clients
from chalicelib.aws.ec2 import Ec2
from chalicelib.aws.queue import PokeQueue
from chalicelib.aws.secrets import Secrets
from chalicelib.aws.ssm import Ssm
from chalicelib.backup.service_scripts import ServiceBackup
from chalicelib.backup.snapshots import SnapshotBackup
from chalicelib.backup.tick import BackupTick
from chalicelib.catalog.advance import Engine
from chalicelib.catalog.job import JobKind
from chalicelib.catalog.store import CopySlots, JobStore, PlanStore, PointStore, Table
from chalicelib.errors import VaultMissing
from chalicelib.recovery.services import ServiceRestore
from chalicelib.recovery.volumes import VolumeRestore
from chalicelib.replication.objects import ObjectCopy
from chalicelib.replication.offsite import SegmentCopy
from chalicelib.replication.regions import Destination, SnapshotCopy
from chalicelib.retention.artefacts import ArtefactStore
from chalicelib.retention.expire import Expire
from chalicelib.retention.sweep import LifecycleSweep
from chalicelib.settings import PRIMARY, OffsiteVaultConfig, S3VaultConfig, Settings, read_settings
from chalicelib.vaults.s3 import S3Vault
from chalicelib.vaults.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Mapping


def utc_now() -> datetime:
    """Tell the time."""
    return datetime.now(UTC)


class Farshore:
    """Every part of one stage, built when first used."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.now = utc_now
        self._clients = Clients(settings.home_region)
        self._vaults: dict[str, Vault] = {}
        self._ec2: dict[str, Ec2] = {}

    @cached_property
    def table(self) -> Table:
        """The catalog's table."""
        return Table(self._clients.dynamodb(), self.settings.table)

    @cached_property
    def plans(self) -> PlanStore:
        """The plans of the catalog."""
        return PlanStore(self.table)

    @cached_property
    def points(self) -> PointStore:
        """The recovery points of the catalog."""
        return PointStore(self.table, self.now)

    @cached_property
    def jobs(self) -> JobStore:
        """The jobs of the catalog."""
        return JobStore(self.table)

    @cached_property
    def queue(self) -> PokeQueue:
        """The jobs queue."""
        return PokeQueue(self._clients.sqs(), self.settings.jobs_queue_url)

    @cached_property
    def ssm(self) -> Ssm:
        """Systems Manager of the home region."""
        return Ssm(self._clients.ssm(), once=self._clients.ssm(once=True))

    @cached_property
    def secrets(self) -> Secrets:
        """The credentials of other clouds."""
        return Secrets(self._clients.secrets())

    def ec2(self, region: str) -> Ec2:
        """EC2 of a region."""
        if region not in self._ec2:
            self._ec2[region] = Ec2(
                self._clients.ec2(region), region, once=self._clients.ec2(region, once=True)
            )
        return self._ec2[region]

    @property
    def home_ec2(self) -> Ec2:
        """EC2 of the home region."""
        return self.ec2(self.settings.home_region)

    def vault(self, name: str) -> Vault:
        """Open a vault.

        Raises:
            VaultMissing: the settings name no such vault.
        """
        if name not in self._vaults:
            match self.settings.vaults.get(name):
                case S3VaultConfig() as config:
                    client = self._clients.s3(config.region)
                    self._vaults[name] = S3Vault(name, client, config.bucket, config.region, config.kms_key)
                case OffsiteVaultConfig() as config:
                    self._vaults[name] = self._offsite(name, config)
                case None:
                    raise VaultMissing(
                        f"it is not configured; there are {', '.join(sorted(self.settings.vaults))}",
                        operation="opening",
                        resource=f"vault {name}",
                    )
        return self._vaults[name]

    def s3_vault(self, name: str) -> S3Vault:
        """Open a vault that is known to be in S3.

        Raises:
            VaultMissing: there is none of that name in S3.
        """
        vault = self.vault(name)
        if not isinstance(vault, S3Vault):
            raise VaultMissing("it is not in S3", operation="opening", resource=f"vault {name}")
        return vault

    def _offsite(self, name: str, config: OffsiteVaultConfig) -> Vault:
        from chalicelib.vaults.offsite import open_offsite

        credentials = self.secrets.secret(config.credentials) if config.credentials else {}
        return open_offsite(
            name,
            provider=config.provider,
            container=config.container,
            options=config.options,
            credentials=credentials,
        )

    @cached_property
    def vault_kinds(self) -> "Mapping[str, str]":
        """The kind of each vault, `s3` or `libcloud`, by its name."""
        return {name: config.kind for name, config in self.settings.vaults.items()}

    @cached_property
    def engine(self) -> Engine:
        """What advances jobs, with every method there is."""
        primary, home = self.s3_vault(PRIMARY), self.home_ec2
        slots = CopySlots(self.table, self.settings.copy_slots)
        artefacts = ArtefactStore(self.vault, self.ec2)
        return Engine(
            jobs=self.jobs,
            points=self.points,
            queue=self.queue,
            now=self.now,
            methods={
                (JobKind.BACKUP, "snapshot"): SnapshotBackup(home, self.points, primary, self.vault_kinds),
                (JobKind.BACKUP, "service"): ServiceBackup(
                    home, self.ssm, self.points, primary, self.vault_kinds, self.now
                ),
                (JobKind.COPY, "snapshot"): SnapshotCopy(
                    self.points, primary, self.destination, slots, self.queue
                ),
                (JobKind.COPY, "object"): ObjectCopy(self.points, primary, self.s3_vault, self.now),
                (JobKind.COPY, "segments"): SegmentCopy(self.points, primary, self.vault, self.now),
                (JobKind.RESTORE, "volume"): VolumeRestore(self.ec2),
                (JobKind.RESTORE, "service"): ServiceRestore(
                    home, self.ssm, self.vault, self.s3_vault, self.now
                ),
                (JobKind.EXPIRE, "lifecycle"): Expire(self.jobs, self.points, artefacts, self.now),
            },
        )

    def destination(self, vault: str) -> Destination:
        """The region of an S3 vault, as a destination of snapshot copies.

        Raises:
            VaultMissing: there is no such vault in S3.
        """
        opened = self.s3_vault(vault)
        config = self.settings.vaults[vault]
        if not isinstance(config, S3VaultConfig):
            raise VaultMissing("it is not in S3", operation="opening", resource=f"vault {vault}")
        return Destination(config, self.ec2(config.region), opened)

    @cached_property
    def backup_tick(self) -> BackupTick:
        """What opens due backups."""
        return BackupTick(self.engine, self.plans, self.home_ec2, self.settings.deployment, self.now)

    @cached_property
    def lifecycle_sweep(self) -> LifecycleSweep:
        """What opens the daily expire jobs."""
        return LifecycleSweep(self.engine, self.plans, self.now)


@cache
def farshore() -> Farshore:
    """Return this process's Farshore, set up from the environment."""
    return Farshore(read_settings(os.environ))
