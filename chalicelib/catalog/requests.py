"""How one capability asks for another's work: the requests from which jobs are opened. Pure.

Each function names what makes a job the same job: its id follows from that, so asking twice opens one job.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chalicelib.catalog.job import JobKind, JobRequest, fingerprint
from chalicelib.catalog.recovery_point import PointId, RecoveryPoint
from chalicelib.plans.model import Kind


@dataclass(frozen=True, slots=True)
class Occasion:
    """Why backups are made now: the moment they were due, and `key` when it was not a schedule that asked."""

    nominal_at: datetime
    reason: str
    key: str | None = None
    late: bool = False

    @property
    def identity(self) -> tuple[str, str]:
        """What makes two occasions the same: the moment they were due, or else the key, at any time."""
        if self.key is None:
            return ("schedule", self.nominal_at.isoformat())
        return ("key", self.key)


def backup_request(
    *,
    plan: str,
    rule: str,
    kind: Kind,
    service: str,
    instances: Sequence[str],
    occasion: Occasion,
    rule_document: Mapping[str, Any],
    deployment: str,
) -> JobRequest:
    """Ask for a recovery point of `service`: one for each plan, rule, service and occasion.

    `deployment` keeps apart two deployments with plans of one name: each adopts what carries its job's id.
    """
    identity = (deployment, plan, rule, service, *occasion.identity)
    work = {
        "recovery_point": point_id(*identity),
        "instances": sorted(instances),
        "rule": rule_document,
        "late": occasion.late,
    }
    return JobRequest(
        JobKind.BACKUP, kind, service, plan, rule, occasion.nominal_at, identity, work, occasion.reason
    )


def point_id(*identity: str) -> PointId:
    """Return the id of the recovery point that a backup with this identity makes."""
    return PointId(f"rp-{fingerprint(*identity)}")


def copy_request(point: RecoveryPoint, vault: str, method: str, occasion: str = "") -> JobRequest:
    """Ask that `point` be copied into `vault`; `method` is `snapshot`, `object` or `segments`.

    One job per point, vault and occasion: the rule's own copy has none, one asked for by an operator has
    its own.
    """
    return JobRequest(
        kind=JobKind.COPY,
        method=method,
        service=point.service,
        plan=point.plan,
        rule=point.rule,
        nominal_at=point.nominal_at,
        key=(point.id, vault, occasion),
        work={"recovery_point": point.id, "vault": vault},
        reason=f"copy of {point.id} into {vault}",
    )


def expire_request(
    *, plan: str, rule: str, service: str, now: datetime, occasion: str, rule_document: Mapping[str, Any]
) -> JobRequest:
    """Ask that the lifecycle be applied to a lineage: one job for each lineage and occasion."""
    return JobRequest(
        kind=JobKind.EXPIRE,
        method="lifecycle",
        service=service,
        plan=plan,
        rule=rule,
        nominal_at=now,
        key=(plan, rule, service, occasion),
        work={"rule": rule_document},
        reason=f"lifecycle of {service}, rule {rule}: {occasion}",
    )
