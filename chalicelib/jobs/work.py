"""What jobs of each kind are asked to do, and how one capability asks for another's work. Pure.

Each request names what makes a job the same job: its id follows from that, so asking twice opens one job.
Invariant: no work grows with what it is for; what is larger is in records of its own or in child jobs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import PlainSerializer

from chalicelib.aws.ec2_launch import LaunchTemplate, Place
from chalicelib.catalog.location import Location
from chalicelib.catalog.recovery_point import Artefact, Lineage, Origin, RecoveryPoint, Segments
from chalicelib.catalog.store.instances import name_of
from chalicelib.catalog.store.rules import RuleId
from chalicelib.jobs.job import AnyJob, AnyRequest, Budget, JobId, JobKind, JobRequest, id_of_request
from chalicelib.jobs.lifecycle_wait import HookRef
from chalicelib.plans.declared import Declared
from chalicelib.plans.launches import Identity, OnLaunch, OnTerminate
from chalicelib.plans.model import Kind, Plan
from chalicelib.plans.values import PRIMARY

CopyMethods = Mapping[str, Mapping[Kind, str]]
"""By vault and kind of recovery point, how a point gets into the vault: the method of the copy job."""

# What a plan declares is stored in a job as it stands in the plan.
AS_DOCUMENT: Final = PlainSerializer(Declared.document)

# A backup of every instance of a service, if they are more than this, is made by child jobs, each of as many.
INSTANCES_PER_JOB = 10
# A script runs on the first of so many instances that can run it.
CANDIDATES = 200
# What a partial point lacks is named up to this number.
MOST_NAMED = 20
# What tells apart the last backups of an instance at its group's hook: it goes only once.
AT_HOOK: Final = "hook"


def snapshot_call(instance: str) -> str:
    """Return the name of the call that snapshots an instance; its mark is in the snapshots' descriptions."""
    return f"CreateSnapshots of {instance}"


def volume_call(volume: str, instance: str) -> str:
    """Return the name of the call that snapshots one volume of an instance."""
    return f"CreateSnapshot of {volume} of {instance}"


def copy_call(snapshot: str) -> str:
    """Return the name of the call that copies a snapshot; its mark is in the copy's description."""
    return f"CopySnapshot of {snapshot}"


@dataclass(frozen=True, slots=True)
class Terms:
    """What a recovery point was made for, and what was said with a request for it: a note, how long it is
    kept whatever its lifecycle says, and whether it is held."""

    origin: Origin = Origin.SCHEDULE
    note: str = ""
    keep: timedelta | None = None
    held: bool = False


@dataclass(frozen=True, slots=True)
class BackupWork:
    """A recovery point to make of these instances, under a rule. `left_out` names what of the service was not
    asked for.

    `listed` names the record that lists them instead, where they are many; `shard` is which part of the point
    a child job makes; `tries` counts the failed ones before it that were due at the same moment. One that is
    `unseen` was missed because nobody could tell what there is to back up.
    """

    recovery_point: str
    rule: RuleId
    instances: tuple[str, ...] = ()
    listed: str | None = None
    instance_count: int = 0
    late: bool = False
    tries: int = 0
    shard: int | None = None
    terms: Terms = field(default_factory=Terms)
    left_out: tuple[str, ...] = ()
    unseen: bool = False

    @property
    def due(self) -> bool:
        """Whether a schedule or an RPO wants it, and not an operator: the next one supersedes it."""
        return self.terms.origin in (Origin.SCHEDULE, Origin.RPO)


@dataclass(frozen=True, slots=True)
class CopyWork:
    """A recovery point to copy into a vault; `shard` is the part of its snapshots that a child job copies.

    One that is `due`, because the rule says so and not an operator, is tried again until it is there.
    """

    recovery_point: str
    vault: str
    due: bool = False
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
    """Volumes to make of a point's snapshots; None keeps what was recorded of each (GiB, MiB/s)."""

    recovery_point: str
    vault: str
    region: str
    availability_zone: str
    size_gib: int | None = None
    type: str | None = None
    iops: int | None = None
    throughput: int | None = None
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
class AttachedRestoreWork:
    """Volumes to make of a point's snapshots and to attach to an instance of their region; the scripts of a
    rule (None: there are none) mount and prove them."""

    recovery_point: str
    vault: str
    region: str
    instance_id: str
    rule: RuleId | None


@dataclass(frozen=True, slots=True)
class LaunchWork:
    """What to do with an instance that starts: what its plan says, with the id of the rule that it names.

    With a `hook` its group waits for it. `as_it_is` says why nothing is done with it but to tell the group to
    go on. Where its group's instances are backed up before they go, it `awaits_terminations`. `beside` are
    the jobs of other plans for the same wait. Where a `recovery_point` and `vault` are named, that one is
    restored instead of the newest.
    """

    instance_id: str
    on_launch: Annotated[OnLaunch, AS_DOCUMENT]
    began_at: datetime
    rule: RuleId | None = None
    hook: HookRef | None = None
    as_it_is: str = ""
    awaits_terminations: bool = False
    beside: tuple[str, ...] = ()
    identity: Annotated[Identity, AS_DOCUMENT] | None = None
    recovery_point: str | None = None
    vault: str | None = None


@dataclass(frozen=True, slots=True)
class StartWork:
    """Instances to start: `count` of them from a version of a launch template, in `places`, one after the
    other or spread over them, with these tags; each is launched like `on_launch` says, from this point.

    `terminates` says that instances whose launch does not succeed are terminated.
    """

    recovery_point: str
    vault: str
    rule: RuleId
    on_launch: Annotated[OnLaunch, AS_DOCUMENT]
    template: LaunchTemplate
    count: int
    places: tuple[Place, ...]
    tags: Mapping[str, str]
    spread: bool = False
    identity: Annotated[Identity, AS_DOCUMENT] | None = None
    terminates: bool = False


@dataclass(frozen=True, slots=True)
class ScriptWork:
    """A script to run on an instance that starts."""

    instance_id: str
    script: str
    timeout: timedelta


@dataclass(frozen=True, slots=True)
class TerminationWork:
    """What to back up before an instance goes: `rules` are those that can still be done; `beside` are the
    jobs of other plans for the same wait."""

    instance_id: str
    on_terminate: Annotated[OnTerminate, AS_DOCUMENT]
    rules: tuple[str, ...]
    why: str
    began_at: datetime
    hook: HookRef | None = None
    beside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InventoryWork:
    """Where to compare the catalog with the world: a region, a vault, or (neither) in the catalog itself."""

    region: str | None = None
    vault: str | None = None


@dataclass(frozen=True, slots=True)
class ProbeWork:
    """A vault to write a small object to, to read it back from, and to delete it in."""

    vault: str


@dataclass(frozen=True, slots=True)
class Cause:
    """Why backups are made now: the moment they were due, and `key` when it was not a schedule that asked.

    `tries` counts the failed ones before that were due at the same moment. What is `unseen` cannot be made
    now; the run that is made of it later is another one.
    """

    nominal_at: datetime
    reason: str
    key: str | None = None
    late: bool = False
    tries: int = 0
    terms: Terms = field(default_factory=Terms)
    unseen: bool = False

    @property
    def identity(self) -> tuple[str, ...]:
        """What makes two causes the same: the moment they were due, or else the key, at any time, and what
        was said with it."""
        if self.key is None:
            again = ("try", str(self.tries)) if self.tries else ()
            return ("schedule", self.nominal_at.isoformat(), *again, *(("unseen",) if self.unseen else ()))
        terms = self.terms
        said = (terms.note, str(terms.keep), str(terms.held)) if terms != Terms(terms.origin) else ()
        return ("key", self.key, *said)


@dataclass(frozen=True, slots=True)
class Target:
    """What a backup is made of: a service's instances, under a rule of a plan, in a deployment and region;
    `left_out` are those that it is not made of. `paced_by` is the rule's."""

    lineage: Lineage
    rule: RuleId
    instances: Sequence[str]
    deployment: str
    region: str
    left_out: tuple[str, ...] = ()
    paced_by: str | None = None

    @property
    def is_large(self) -> bool:
        """Whether the backup is made in parts, and its instances are listed in records of their own."""
        return self.paced_by is not None and len(set(self.instances)) > INSTANCES_PER_JOB


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
        tries=cause.tries,
        terms=cause.terms,
        left_out=few_of(target.left_out),
        unseen=cause.unseen,
    )
    paced_by = target.paced_by if ids and not in_parts else None
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
        budget=Budget(paced_by, target.region, len(ids)) if paced_by else None,
    )


def missed_request(target: Target, cause: Cause, why: str) -> JobRequest[BackupWork]:
    """Record that the backup due by `cause` could not be made: a job that is over when it is opened."""
    return replace(backup_request(target, cause), missed=f"MISSED: {why}")


def few_of(names: Sequence[str]) -> tuple[str, ...]:
    """Return names as a record holds them: the first, and how many more there are."""
    more = len(names) - MOST_NAMED
    return (*names[:MOST_NAMED], f"{more} more") if more > 0 else tuple(names)


def backup_part(job: AnyJob, number: int, instances: Sequence[str], region: str) -> AnyRequest:
    """Ask for one part of a large snapshot backup: a child job of `job`."""
    part = replace(
        job.work, instances=tuple(instances), listed=None, instance_count=len(instances), shard=number
    )
    return _part_of(job, number, part, Budget("CreateSnapshots", region, len(instances)))


def copy_method(methods: CopyMethods, kind: Kind, vault: str) -> str:
    """Return how a point of `kind` gets into a vault.

    For a vault that the settings no longer name it is as for the primary one: the job fails and says so.
    """
    return methods.get(vault, methods[PRIMARY])[kind]


def copy_request(
    point: RecoveryPoint, vault: str, method: str, cause: str = "", *, due: bool = True, tries: int = 0
) -> JobRequest[CopyWork]:
    """Ask that `point` be copied into `vault`; `method` is `snapshot`, `object` or `segments`.

    One job per point, vault, cause and try: the rule's own copy has no cause, one that an operator asks for
    has one.
    """
    again = (f"try {tries + 1}",) if tries else ()
    return JobRequest(
        kind=JobKind.COPY,
        method=method,
        service=point.service,
        plan=point.plan,
        rule=point.rule,
        nominal_at=point.nominal_at,
        key=(point.id, vault, cause, *again),
        work=CopyWork(point.id, vault, due),
        reason=", ".join((f"copy of {point.id} into {vault}", *again)),
        pins=((point.id, PRIMARY),),
    )


def copy_part(job: AnyJob, number: int) -> AnyRequest:
    """Ask for the copy of one shard of a point's snapshots: a child job of `job`."""
    return _part_of(job, number, replace(job.work, shard=number))


def volume_part(job: AnyJob, number: int) -> AnyRequest:
    """Ask for the volumes of one shard of a point's snapshots: a child job of `job`."""
    return _part_of(job, number, replace(job.work, shard=number))


def service_restore_request(
    point: RecoveryPoint,
    artefact: Artefact,
    onto: tuple[str, RuleId],
    staging_vaults: Iterable[str],
    cause: str,
    now: datetime,
) -> JobRequest[ServiceRestoreWork]:
    """Ask that a point's file be restored `onto` an instance with the scripts of a rule: one job for each
    point, vault and cause. A file in segments is put together in the first of `staging_vaults` that answers.
    """
    instance, rule = onto
    return JobRequest(
        kind=JobKind.RESTORE,
        method="service",
        service=point.service,
        plan=point.plan,
        rule=point.rule,
        nominal_at=now,
        key=(point.id, artefact.vault, cause),
        work=ServiceRestoreWork(
            recovery_point=point.id,
            vault=artefact.vault,
            instance_id=instance,
            artefact=artefact,
            size_bytes=point.size_bytes,
            rule=rule,
            staging_vaults=tuple(staging_vaults) if isinstance(artefact.content, Segments) else (),
        ),
        reason=f"restore of {point.id} from {artefact.vault} onto {instance}",
        pins=((point.id, artefact.vault),),
    )


def attached_restore_request(
    point: RecoveryPoint, work: AttachedRestoreWork, cause: str, now: datetime
) -> JobRequest[AttachedRestoreWork]:
    """Ask that a point's data volumes be attached to an instance: one job for each point, vault and cause."""
    return JobRequest(
        kind=JobKind.RESTORE,
        method="attached",
        service=point.service,
        plan=point.plan,
        rule=point.rule,
        nominal_at=now,
        key=(point.id, work.vault, cause),
        work=work,
        reason=f"restore of {point.id} from {work.vault} onto {work.instance_id}",
        budget=Budget("CreateVolume", work.region),
        pins=((point.id, work.vault),),
    )


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


def launch_id(deployment: str, plan: str, instance_id: str) -> JobId:
    """Return the id of the job that launches an instance for a plan: there is one, ever."""
    return id_of_request(JobKind.LAUNCH, "launch", (deployment, plan, instance_id))


def launch_request(
    plan: str, service: str, work: LaunchWork, deployment: str, again: str = ""
) -> JobRequest[LaunchWork]:
    """Ask that an instance be launched for a plan; `again` makes another job of one that waits once more."""
    on_launch = work.on_launch
    return JobRequest(
        kind=JobKind.LAUNCH,
        method="launch",
        service=service,
        plan=plan,
        rule=on_launch.restore or on_launch.backup or "",
        nominal_at=work.began_at,
        key=(deployment, plan, work.instance_id, *((again,) if again else ())),
        work=work,
        reason=f"launch of {work.instance_id} for {service}",
    )


def start_request(plan: str, service: str, work: StartWork, key: str, now: datetime) -> JobRequest[StartWork]:
    """Ask that instances be started for a service: one job for each plan, service and `key`."""
    instances = "1 instance" if work.count == 1 else f"{work.count} instances"
    return JobRequest(
        kind=JobKind.LAUNCH,
        method="start",
        service=service,
        plan=plan,
        rule=work.on_launch.restore or "",
        nominal_at=now,
        key=(plan, service, key),
        work=work,
        reason=f"start of {instances} for {service}, from {work.recovery_point} in {work.vault}",
        pins=((work.recovery_point, work.vault),),
    )


def termination_id(deployment: str, plan: str, instance_id: str, key: str = AT_HOOK) -> JobId:
    """Return the id of the job that backs an instance up before it goes: one for each `key`."""
    return id_of_request(JobKind.TERMINATION, "termination", (deployment, plan, instance_id, key))


def termination_request(
    plan: Plan, service: str, work: TerminationWork, deployment: str, key: str
) -> JobRequest[TerminationWork]:
    """Ask for the last backups of an instance that goes: one job for each instance and `key`."""
    return JobRequest(
        kind=JobKind.TERMINATION,
        method="termination",
        service=service,
        plan=plan.name,
        rule="",
        nominal_at=work.began_at,
        key=(deployment, plan.name, work.instance_id, key),
        work=work,
        reason=f"{work.instance_id} of {service} goes: {work.why}",
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


def probe_request(vault: str, cause: str, now: datetime) -> JobRequest[ProbeWork]:
    """Ask for a probe of a vault: one for each vault and cause."""
    return JobRequest(
        kind=JobKind.PROBE,
        method="vault",
        service="",
        plan="",
        rule="",
        nominal_at=now,
        key=(vault, cause),
        work=ProbeWork(vault),
        reason=f"probe of vault {vault}",
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
