"""Plans restores: turns an operator's request into a restore job, or refuses it with every reason. Pure.

A dry run shows this plan and opens nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from chalicelib.catalog.recovery_point import Artefact, PointState, RecoveryPoint, SnapshotRef
from chalicelib.catalog.store.rules import RuleId, id_of
from chalicelib.catalog.values import InstanceRef
from chalicelib.errors import Conflict, InvalidInput, NotFound, Problem
from chalicelib.jobs.job import AnyRequest, Budget, JobKind, JobRequest
from chalicelib.jobs.volume_plan import Wanted, problems_of
from chalicelib.jobs.work import (
    AttachedRestoreWork,
    VolumeRestoreWork,
    attached_restore_request,
    service_restore_request,
)
from chalicelib.plans.declared import Declared, Fault, Maybe, worded
from chalicelib.plans.model import Plan, ServiceRule, SnapshotRule

WHAT = "the restore request"
_OF_VOLUMES = ("availability_zone", "size", "type", "iops", "throughput")


class RestoreTarget(Declared):
    """Where a restore goes: an instance; or for snapshots a zone, where volumes are made and attached to
    nothing."""

    instance_id: Annotated[
        Maybe[InstanceRef],
        Field(
            description="an instance of the home region; when it is stopped or its SSM agent is not online, "
            "it is waited for 15 minutes; of snapshots: data volumes are made of them and attached at the "
            "devices they were at, then the rule's `restore` mounts them"
        ),
    ] = None
    availability_zone: Annotated[
        Maybe[str],
        worded("an availability zone of the vault's region", title="zone"),
        Field(
            min_length=1,
            max_length=64,
            examples=["eu-west-1a"],
            description="of snapshots: where volumes are made, in the region of the vault; nothing attaches "
            "them",
        ),
    ] = None
    size: Annotated[
        Maybe[int],
        worded("GiB, at least the snapshot's", title="GiB"),
        Field(ge=1, le=65_536, examples=[100], description="of snapshots: the size of each volume"),
    ] = None
    type: Annotated[
        Maybe[str],
        worded("an EBS volume type", title="EBS volume type"),
        Field(
            min_length=1, max_length=32, examples=["gp3"], description="of snapshots: the type of each volume"
        ),
    ] = None
    iops: Annotated[
        Maybe[int],
        worded("IOPS", title="IOPS"),
        Field(ge=1, le=1_000_000, examples=[3000], description="of snapshots: the IOPS of each volume"),
    ] = None
    throughput: Annotated[
        Maybe[int],
        worded("MiB/s", title="MiB/s"),
        Field(ge=1, le=100_000, examples=[125], description="of snapshots: the throughput of each volume"),
    ] = None

    @classmethod
    def ties(cls, given: Mapping[str, Any], context: Any) -> Iterator[Fault]:
        """Yield a fault for each key of volumes beside `instance_id`."""
        if "instance_id" in given:
            yield from (
                ((key,), "not beside instance_id: leave it out") for key in _OF_VOLUMES if key in given
            )


@dataclass(frozen=True, slots=True)
class Order:
    """A restore as it was requested; `key` makes it unique; without a `vault`, the best one is chosen."""

    vault: str | None
    target: RestoreTarget
    key: str
    now: datetime


def newest_at(
    points: Sequence[RecoveryPoint], at: datetime | None, vault: str | None
) -> RecoveryPoint | None:
    """Return the newest point made at `at` or before that can be restored, from `vault` if one is named.

    A suspect or partial point is returned only if there is no good one.
    """
    usable = [
        point
        for point in points
        if (vault in point.available_in() if vault else point.available_in())
        and (at is None or point.created_at <= at)
    ]
    return max(usable, key=lambda point: (not point.is_flagged, point.created_at), default=None)


def plan_volume_restore(
    point: RecoveryPoint, artefact: Artefact, refs: Sequence[SnapshotRef], order: Order
) -> AnyRequest:
    """Return the job that makes volumes of an artefact's snapshots; `refs` are all of them.

    Raises:
        InvalidInput: the target is not one for snapshots, or EBS cannot make such volumes.
    """
    target, region = order.target, artefact.snapshots.region
    zone = target.availability_zone
    if zone is None or not zone.startswith(region) or zone == region:
        expected = f"a zone of {region}, where vault {artefact.vault} keeps the snapshots, such as {region}a"
        raise InvalidInput(WHAT, [Problem("/target/availability_zone", zone, expected)])
    wanted = Wanted(target.size, target.type, target.iops, target.throughput)
    if impossible := problems_of(refs, wanted):
        raise InvalidInput(WHAT, impossible)
    work = VolumeRestoreWork(
        recovery_point=point.id,
        vault=artefact.vault,
        region=region,
        availability_zone=str(zone),
        size_gib=wanted.size_gib,
        type=wanted.type,
        iops=wanted.iops,
        throughput=wanted.throughput,
    )
    reason = f"restore of {point.id} from {artefact.vault} to {zone}"
    return JobRequest(
        kind=JobKind.RESTORE,
        method="volume",
        service=point.service,
        plan=point.plan,
        rule=point.rule,
        nominal_at=order.now,
        key=(point.id, work.vault, order.key),
        work=work,
        reason=reason,
        budget=Budget("CreateVolume", region),
        pins=((point.id, work.vault),),
    )


def plan_attached_restore(
    point: RecoveryPoint, artefact: Artefact, plan: Plan | None, order: Order, home_region: str
) -> JobRequest[AttachedRestoreWork]:
    """Return the job that attaches volumes of an artefact's snapshots to the instance that is the target;
    `plan` is the point's plan as it is now, None when it is gone.

    Raises:
        InvalidInput: the snapshots are not in the region of the instances.
    """
    region = artefact.snapshots.region
    if region != home_region:
        expected = (
            f"a vault that keeps snapshots in {home_region}, where the instances are; those of "
            f"{artefact.vault} are in {region}, where they can be restored as volumes, with an "
            "availability_zone as target"
        )
        raise InvalidInput(WHAT, [Problem("/vault", artefact.vault, expected)])
    rule = plan.rule(point.rule) if plan else None
    stored = point.source.get("rule")
    work = AttachedRestoreWork(
        recovery_point=point.id,
        vault=artefact.vault,
        region=region,
        instance_id=order.target.instance_id or "",
        rule=id_of(rule) if isinstance(rule, SnapshotRule) else RuleId(stored) if stored else None,
    )
    return attached_restore_request(point, work, order.key, order.now)


def artefact_to_restore(point: RecoveryPoint, vault: str | None) -> Artefact:
    """Return the artefact to restore from: the one in `vault`, or, if no vault is named, the best one.

    Raises:
        Conflict: the point is no longer in any vault.
        NotFound: it is not in that vault.
    """
    available = point.available_in()
    if not available:
        said = [
            point.reason,
            *(each.reason for each in point.artefacts.values() if each.state is PointState.MISSING),
        ]
        raise Conflict(
            f"it is {point.state} and no longer in any vault"
            + (f" ({why})" if (why := "; ".join(filter(None, said))) else ""),
            operation="restoring",
            resource=point.id,
        )
    chosen = vault or available[0]
    artefact = point.in_vault(chosen)
    if artefact is not None and artefact.state is PointState.MISSING:
        raise Conflict(
            f"{artefact.reason}; it can be restored from: {', '.join(available)}",
            operation="restoring",
            resource=point.id,
        )
    if artefact is None or artefact.state is not PointState.AVAILABLE:
        raise NotFound(
            f"it is not in vault {chosen!r}; it can be restored from: {', '.join(available)}",
            operation="restoring",
            resource=point.id,
        )
    return artefact


def plan_service_restore(
    point: RecoveryPoint,
    artefact: Artefact,
    plan: Plan | None,
    order: Order,
    staging_vaults: Sequence[str],
) -> AnyRequest:
    """Return the job that restores a service; `plan` is its plan as it is now, None if it was removed.

    `staging_vaults` are the S3 vaults in which an off-site copy may be assembled, the best first.

    Raises:
        InvalidInput: the target is not one for a service, or there is no script that restores it.
    """
    instance = order.target.instance_id
    given = order.target.document()
    problems = [
        Problem(
            f"/target/{name}", given[name], "nothing: the point is a file, whose target is an instance_id"
        )
        for name in given
        if name != "instance_id"
    ]
    if instance is None:
        expected = "the id of an instance, such as i-0123456789abcdef0"
        problems.append(Problem("/target/instance_id", None, expected))
    rule = _rule_for(point, plan)
    if rule is None:
        expected = f"a `restore` script in rule {point.rule!r} of plan {point.plan!r}"
        problems.append(Problem("/recovery_point", point.id, expected))
    if problems or rule is None or instance is None:
        raise InvalidInput(WHAT, problems)
    return service_restore_request(point, artefact, (instance, rule), staging_vaults, order.key, order.now)


def _rule_for(point: RecoveryPoint, plan: Plan | None) -> RuleId | None:
    """Return the rule whose scripts restore the point: the plan's own, or else the one it was made under."""
    rule = plan.rule(point.rule) if plan else None
    if isinstance(rule, ServiceRule) and rule.restore:
        return id_of(rule)
    return RuleId(point.source["rule"]) if point.source.get("restore") else None
