"""What jobs of each kind are asked to do, and how one capability asks for another's work. Pure.

Each request names what makes a job the same job: its id follows from that, so asking twice opens one job.
Invariant: no work grows with what it is for; what is larger lies in records of its own or in child jobs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from chalicelib.catalog.location import Location
from chalicelib.catalog.recovery_point import Artefact, Lineage, RecoveryPoint
from chalicelib.catalog.store.instances import name_of
from chalicelib.catalog.store.rules import RuleId
from chalicelib.jobs.job import AnyJob, AnyRequest, Budget, JobKind, JobRequest
from chalicelib.plans.model import Kind

# A snapshot backup of more instances than this is made by child jobs, each of as many.
INSTANCES_PER_JOB = 10
# A script runs on the first of so many instances that can run it.
CANDIDATES = 200

# By (kind, method): the longest a job may take, whatever it waits for.
DEADLINES = {
    (JobKind.BACKUP, "snapshot"): timedelta(days=2),
    (JobKind.BACKUP, "service"): timedelta(days=3),
    (JobKind.COPY, "snapshot"): timedelta(days=7),
    (JobKind.COPY, "object"): timedelta(days=3),
    (JobKind.COPY, "segments"): timedelta(days=3),
    (JobKind.RESTORE, "volume"): timedelta(days=2),
    (JobKind.RESTORE, "service"): timedelta(days=3),
    (JobKind.EXPIRE, "lifecycle"): timedelta(days=1),
    (JobKind.EXPIRE, "request"): timedelta(days=9),
    (JobKind.INVENTORY, "region"): timedelta(days=1),
    (JobKind.INVENTORY, "vault"): timedelta(days=1),
    (JobKind.INVENTORY, "catalog"): timedelta(days=1),
}


def snapshot_call(instance: str) -> str:
    """Return the name of the call that snapshots an instance; its mark is in the snapshots' descriptions."""
    return f"CreateSnapshots of {instance}"


def copy_call(snapshot: str) -> str:
    """Return the name of the call that copies a snapshot; its mark is in the copy's description."""
    return f"CopySnapshot of {snapshot}"


@dataclass(frozen=True, slots=True)
class BackupWork:
    """A recovery point to make of these instances, under a rule.

    `listed` names the record that lists them instead, where they are many; `shard` is which part of the point
    a child job makes.
    """

    recovery_point: str
    rule: RuleId
    instances: tuple[str, ...] = ()
    listed: str | None = None
    instance_count: int = 0
    late: bool = False
    shard: int | None = None


@dataclass(frozen=True, slots=True)
class CopyWork:
    """A recovery point to copy into a vault; `shard` is the part of its snapshots that a child job copies."""

    recovery_point: str
    vault: str
    shard: int | None = None


@dataclass(frozen=True, slots=True)
class Release:
    """An artefact to let go, and why."""

    recovery_point: str
    vault: str
    reason: str


@dataclass(frozen=True, slots=True)
class ExpireWork:
    """The kind of the lineage to apply its rule's lifecycle to, as the plan then is; or the artefacts that an
    operator wants gone."""

    kind: Kind | None = None
    releases: tuple[Release, ...] = ()


@dataclass(frozen=True, slots=True)
class VolumeRestoreWork:
    """Volumes to make of a point's snapshots; `size_gib` None keeps each snapshot's own."""

    recovery_point: str
    vault: str
    region: str
    availability_zone: str
    size_gib: int | None = None
    type: str = "gp3"
    shard: int | None = None


@dataclass(frozen=True, slots=True)
class ServiceRestoreWork:
    """A service backup to put onto an instance with the scripts of a rule."""

    recovery_point: str
    vault: str
    instance_id: str
    artefact: Artefact
    size_bytes: int
    rule: RuleId
    staging_vaults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InventoryWork:
    """Where to compare the catalog with the world: a region, a vault, or (neither) in the catalog itself."""

    region: str | None = None
    vault: str | None = None


@dataclass(frozen=True, slots=True)
class Cause:
    """Why backups are made now: the moment they were due, and `key` when it was not a schedule that asked."""

    nominal_at: datetime
    reason: str
    key: str | None = None
    late: bool = False

    @property
    def identity(self) -> tuple[str, str]:
        """What makes two causes the same: the moment they were due, or else the key, at any time."""
        if self.key is None:
            return ("schedule", self.nominal_at.isoformat())
        return ("key", self.key)


@dataclass(frozen=True, slots=True)
class Target:
    """What a backup is made of: a service's instances, under a rule of a plan, in a deployment and region."""

    lineage: Lineage
    rule: RuleId
    instances: Sequence[str]
    deployment: str
    region: str

    @property
    def is_large(self) -> bool:
        """Whether the backup is made in parts, and its instances are listed in records of their own."""
        return self.lineage.kind is Kind.SNAPSHOT and len(set(self.instances)) > INSTANCES_PER_JOB


def backup_request(target: Target, cause: Cause) -> JobRequest[BackupWork]:
    """Ask for a recovery point: one for each plan, rule, kind, service and cause.

    The deployment keeps apart two of them with plans of one name. A large service's instances are to be
    stored in `InstanceLists` before the job is opened.
    """
    lineage = target.lineage
    identity = (target.deployment, lineage.plan, lineage.rule, lineage.service, *cause.identity)
    ids = tuple(sorted(set(target.instances)))
    in_parts = target.is_large
    work = BackupWork(
        recovery_point=lineage.point_id(*identity),
        rule=target.rule,
        instances=() if in_parts else ids[:CANDIDATES],
        listed=name_of(ids) if in_parts else None,
        instance_count=len(ids),
        late=cause.late,
    )
    paced = lineage.kind is Kind.SNAPSHOT and not in_parts
    return JobRequest(
        kind=JobKind.BACKUP,
        method=lineage.kind,
        service=lineage.service,
        plan=lineage.plan,
        rule=lineage.rule,
        nominal_at=cause.nominal_at,
        key=identity,
        work=work,
        reason=cause.reason,
        budget=Budget("CreateSnapshots", target.region, len(ids)) if paced else None,
    )


def backup_part(job: AnyJob, number: int, instances: Sequence[str], region: str) -> AnyRequest:
    """Ask for one part of a large snapshot backup: a child job of `job`."""
    part = replace(
        job.work, instances=tuple(instances), listed=None, instance_count=len(instances), shard=number
    )
    return _part_of(job, number, part, Budget("CreateSnapshots", region, len(instances)))


def copy_request(
    point: RecoveryPoint, vault: str, method: str, cause: str = "", source: str = "primary"
) -> JobRequest[CopyWork]:
    """Ask that `point` be copied into `vault`; `method` is `snapshot`, `object` or `segments`.

    One job per point, vault and cause: the rule's own copy has none, one that an operator asks for has one.
    """
    return JobRequest(
        kind=JobKind.COPY,
        method=method,
        service=point.service,
        plan=point.plan,
        rule=point.rule,
        nominal_at=point.nominal_at,
        key=(point.id, vault, cause),
        work=CopyWork(point.id, vault),
        reason=f"copy of {point.id} into {vault}",
        pins=((point.id, source),),
    )


def copy_part(job: AnyJob, number: int) -> AnyRequest:
    """Ask for the copy of one shard of a point's snapshots: a child job of `job`."""
    return _part_of(job, number, replace(job.work, shard=number))


def volume_part(job: AnyJob, number: int) -> AnyRequest:
    """Ask for the volumes of one shard of a point's snapshots: a child job of `job`."""
    return _part_of(job, number, replace(job.work, shard=number))


def expire_request(lineage: Lineage, now: datetime, cause: str) -> JobRequest[ExpireWork]:
    """Ask that the lifecycle be applied to a lineage: one job for each lineage and cause."""
    return JobRequest(
        kind=JobKind.EXPIRE,
        method="lifecycle",
        service=lineage.service,
        plan=lineage.plan,
        rule=lineage.rule,
        nominal_at=now,
        key=(lineage.plan, lineage.rule, lineage.kind, lineage.service, cause),
        work=ExpireWork(lineage.kind),
        reason=f"lifecycle of {lineage.service}, rule {lineage.rule}: {cause}",
    )


def release_request(
    point: RecoveryPoint, releases: Iterable[Release], now: datetime
) -> JobRequest[ExpireWork]:
    """Ask that artefacts of one point be let go because an operator wants it."""
    return JobRequest(
        kind=JobKind.EXPIRE,
        method="request",
        service=point.service,
        plan=point.plan,
        rule=point.rule,
        nominal_at=now,
        key=("delete", point.id, now.isoformat()),
        work=ExpireWork(releases=tuple(releases)),
        reason=f"deletion of {point.id}",
    )


def inventory_request(place: Location, cause: str, now: datetime) -> JobRequest[InventoryWork]:
    """Ask for an inventory of a place: one for each place and cause (a day, or a key)."""
    method = "region" if place.region is not None else "vault" if place.vault is not None else "catalog"
    return JobRequest(
        kind=JobKind.INVENTORY,
        method=method,
        service="",
        plan="",
        rule="",
        nominal_at=now,
        key=(place.name, cause),
        work=InventoryWork(place.region, place.vault),
        reason=f"inventory of {place.name}: {cause}",
    )


def _part_of(job: AnyJob, number: int, work: object, budget: Budget | None = None) -> AnyRequest:
    return JobRequest(
        kind=job.kind,
        method=job.method,
        service=job.service,
        plan=job.plan,
        rule=job.rule,
        nominal_at=job.nominal_at,
        key=(job.id, "part", str(number)),
        work=work,
        reason=f"part {number + 1} of {job.id}",
        budget=budget,
    )
