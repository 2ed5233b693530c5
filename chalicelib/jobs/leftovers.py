"""Resources that jobs made and could not remove in time: findings that the daily inventory checks. Pure."""

from collections.abc import Iterable
from datetime import datetime

from chalicelib.catalog.location import Location
from chalicelib.catalog.store.findings import Finding, FindingKind, noting
from chalicelib.catalog.store.writes import Write
from chalicelib.jobs.job import AnyJob
from chalicelib.plans.values import PRIMARY

# A job's last commit has room for this many; the inventory adds the others from the job's own record.
NOTED_AT_ONCE = 40


def leaving(job: AnyJob, left: Iterable[str], now: datetime) -> list[Write]:
    """Return the writes that list what a job left, as many as fit into its last commit."""
    return [noting(leftover(job, what, now)) for what in list(left)[:NOTED_AT_ONCE]]


def leftover(job: AnyJob, what: str, now: datetime) -> Finding:
    """Return the finding of one resource that a job left, at the place where it was made."""
    return Finding(
        place=_place(job, what),
        kind=FindingKind.LEFTOVER,
        what=what,
        reason=job.reason,
        since=now,
        last_seen=now,
        job=job.id,
        point=getattr(job.work, "recovery_point", ""),
        service=job.service,
    )


def _place(job: AnyJob, what: str) -> Location:
    """Return where a job made what it left: restored volumes in a region, everything else in a vault."""
    region = getattr(job.work, "region", None)
    if region:
        return Location(region=region)
    word, _, rest = what.partition(" ")
    if job.kind == "expire":  # POINT VAULT
        return Location(vault=rest)
    if word == "staged":  # VAULT:KEY
        return Location(vault=rest.partition(":")[0])
    vault = getattr(job.work, "vault", PRIMARY) if job.kind in ("copy", "probe") else PRIMARY
    return Location(vault=vault)
