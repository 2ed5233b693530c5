"""Turns what an operator asks for into a restore job, or refuses it with every reason. Pure.

A dry run is this plan, shown and not opened.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chalicelib.catalog.recovery_point import Artefact, PointState, RecoveryPoint, Segments, SnapshotRef
from chalicelib.catalog.store.rules import RuleId, id_of
from chalicelib.errors import Conflict, InvalidInput, NotFound, Problem
from chalicelib.jobs.job import AnyRequest, Budget, JobKind, JobRequest
from chalicelib.jobs.volume_plan import Wanted, problems_of
from chalicelib.jobs.work import ServiceRestoreWork, VolumeRestoreWork
from chalicelib.plans.model import Plan, ServiceRule

WHAT = "the restore request"
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/resource-ids.html
_INSTANCE_ID = re.compile(r"i-[0-9a-f]{8}([0-9a-f]{9})?")


@dataclass(frozen=True, slots=True)
class Order:
    """A restore as it was asked for; `key` makes it one of its kind, `vault` None leaves the choice to us."""

    vault: str | None
    target: Mapping[str, Any]
    key: str
    now: datetime


def newest_at(
    points: Sequence[RecoveryPoint], at: datetime | None, vault: str | None
) -> RecoveryPoint | None:
    """Return the newest point, of the moment `at` or before, that can be restored (from `vault`, where one is
    named); one that is suspect or partial only where there is no good one."""
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
    """Return the job that makes volumes of an artefact's snapshots, all of which `refs` are.

    Raises:
        InvalidInput: the target is not one for snapshots, or EBS cannot make the volumes so.
    """
    target, region = order.target, artefact.snapshots.region
    problems = _unknown(target, ("availability_zone", "size", "type", "iops", "throughput"))
    zone = target.get("availability_zone")
    if not isinstance(zone, str) or not zone.startswith(region) or zone == region:
        expected = f"a zone of {region}, where vault {artefact.vault} keeps the snapshots, e.g. {region}a"
        problems.append(Problem("/target/availability_zone", zone, expected))
    wrong = _wrong_types(target, max((ref.size_gib for ref in refs), default=1))
    if problems or wrong:
        raise InvalidInput(WHAT, [*problems, *wrong])
    wanted = Wanted(target.get("size"), target.get("type"), target.get("iops"), target.get("throughput"))
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
    return _request(point, "volume", order, work, reason, Budget("CreateVolume", region))


def _wrong_types(target: Mapping[str, Any], largest: int) -> list[Problem]:
    """Return the values of a target that can be right for no volume."""
    numbers = {"size": f"GiB, at least the snapshot's {largest}", "iops": "IOPS", "throughput": "MiB/s"}
    problems = [
        Problem(f"/target/{name}", value, expected)
        for name, expected in numbers.items()
        if (value := target.get(name)) is not None
        and (not isinstance(value, int) or isinstance(value, bool) or value < 1)
    ]
    if target.get("type") is not None and not isinstance(target["type"], str):
        problems.append(Problem("/target/type", target["type"], "an EBS volume type, e.g. gp3"))
    return problems


def artefact_to_restore(point: RecoveryPoint, vault: str | None) -> Artefact:
    """Return the artefact to restore from: that in `vault`, or where none is named, the best there is.

    Raises:
        Conflict: the point lies in no vault any more.
        NotFound: it is not in that one.
    """
    available = point.available_in()
    if not available:
        said = [
            point.reason,
            *(each.reason for each in point.artefacts.values() if each.state is PointState.MISSING),
        ]
        raise Conflict(
            f"it is {point.state} and lies in no vault any more"
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
    """Return the job that restores a service; `plan` is its plan as it is now, None when it is gone.

    `staging_vaults` are the S3 vaults in which an off-site copy may be put together, the best first.

    Raises:
        InvalidInput: the target is not one for a service, or there is no script that restores it.
    """
    target = order.target
    problems = _unknown(target, ("instance_id",))
    instance = target.get("instance_id")
    if not isinstance(instance, str) or not _INSTANCE_ID.fullmatch(instance):
        problems.append(
            Problem("/target/instance_id", instance, "the id of an instance, e.g. i-0123456789abcdef0")
        )
    rule = _rule_for(point, plan)
    if rule is None:
        expected = f"a `restore` script in rule {point.rule!r} of plan {point.plan!r}"
        problems.append(Problem("/recovery_point", point.id, expected))
    if problems or rule is None:
        raise InvalidInput(WHAT, problems)
    work = ServiceRestoreWork(
        recovery_point=point.id,
        vault=artefact.vault,
        instance_id=str(instance),
        artefact=artefact,
        size_bytes=point.size_bytes,
        rule=rule,
        staging_vaults=tuple(staging_vaults) if isinstance(artefact.content, Segments) else (),
    )
    reason = f"restore of {point.id} from {artefact.vault} onto {instance}"
    return _request(point, "service", order, work, reason)


def _rule_for(point: RecoveryPoint, plan: Plan | None) -> RuleId | None:
    """Return the rule whose scripts restore the point: the plan's own now, else the one it was made under."""
    rule = plan.rule(point.rule) if plan else None
    if isinstance(rule, ServiceRule) and rule.restore:
        return id_of(rule)
    return RuleId(point.source["rule"]) if point.source.get("restore") else None


def _unknown(target: Mapping[str, Any], known: Sequence[str]) -> list[Problem]:
    return [
        Problem(f"/target/{name}", target[name], f"no such key here; a target has {', '.join(known)}")
        for name in target
        if name not in known
    ]


def _request(
    point: RecoveryPoint,
    method: str,
    order: Order,
    work: VolumeRestoreWork | ServiceRestoreWork,
    reason: str,
    budget: Budget | None = None,
) -> AnyRequest:
    return JobRequest(
        kind=JobKind.RESTORE,
        method=method,
        service=point.service,
        plan=point.plan,
        rule=point.rule,
        nominal_at=order.now,
        key=(point.id, work.vault, order.key),
        work=work,
        reason=reason,
        budget=budget,
        pins=((point.id, work.vault),),
    )
