"""What a finished backup asks of the others: its copies, and the lifecycle of its lineage. Pure."""

from collections.abc import Mapping
from datetime import datetime

from chalicelib.catalog.job import Job, JobRequest
from chalicelib.catalog.recovery_point import RecoveryPoint
from chalicelib.catalog.requests import copy_request, expire_request
from chalicelib.plans.model import Kind, read_rule


def follow_ups(
    job: Job, point: RecoveryPoint, vault_kinds: Mapping[str, str], now: datetime
) -> tuple[JobRequest, ...]:
    """Return the jobs that follow a finished backup; the same ones however often it is asked.

    A vault that the settings no longer name gets a copy job, too, which fails and says so: a good backup must
    not fail for it.
    """
    rule = read_rule(job.work["rule"])
    copies = tuple(
        copy_request(point, copy.vault, copy_method(point.kind, vault_kinds.get(copy.vault, "s3")))
        for copy in rule.copies
    )
    lifecycle = expire_request(
        plan=job.plan,
        rule=job.rule,
        service=job.service,
        now=now,
        occasion=f"after {point.id}",
        rule_document=job.work["rule"],
    )
    return (*copies, lifecycle)


def copy_method(kind: Kind, vault_kind: str) -> str:
    """Return how a point of `kind` gets into a vault of `vault_kind` (`s3` or `libcloud`)."""
    if kind is Kind.SNAPSHOT:
        return "snapshot"
    return "object" if vault_kind == "s3" else "segments"
