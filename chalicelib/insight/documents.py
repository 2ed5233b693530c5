"""Jobs and recovery points as the API shows them. Pure; the keys are a contract (docs/api.md)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from chalicelib.catalog.job import Job
from chalicelib.catalog.recovery_point import Artefact, RecoveryPoint

# What of a job's work and progress is worth showing, under the name it is shown by.
_SHOWN_WORK = ("recovery_point", "vault", "target")
_SHOWN_PROGRESS = {"instance": "instance_id", "command": "command_id", "made": "made", "error": "error"}


def job_document(job: Job) -> dict[str, Any]:
    """Return a job as JSON-able values."""
    document: dict[str, Any] = {
        "id": job.id,
        "kind": str(job.kind),
        "method": job.method,
        "state": str(job.state),
        "service": job.service,
        "plan": job.plan,
        "rule": job.rule,
        "nominal_at": rfc3339(job.nominal_at),
        "created_at": rfc3339(job.created_at),
        "updated_at": rfc3339(job.updated_at),
        "reason": job.reason,
        "late": bool(job.work.get("late", False)),
    }
    document |= {name: job.work[name] for name in _SHOWN_WORK if name in job.work}
    document |= {shown: job.progress[name] for name, shown in _SHOWN_PROGRESS.items() if name in job.progress}
    judged = job.progress.get("judged", job.work.get("judged"))
    if judged is not None:
        names = ("recovery_point", "vault", "keep", "reason")
        document["judged"] = [dict(zip(names, each, strict=True)) for each in judged]
    return document


def point_document(point: RecoveryPoint) -> dict[str, Any]:
    """Return a recovery point as JSON-able values."""
    return {
        "id": point.id,
        "service": point.service,
        "plan": point.plan,
        "rule": point.rule,
        "kind": str(point.kind),
        "state": str(point.state),
        "nominal_at": rfc3339(point.nominal_at),
        "created_at": rfc3339(point.created_at),
        "source": point.source,
        "size_bytes": point.size_bytes,
        "reason": point.reason,
        "artefacts": [_artefact_document(artefact) for _, artefact in sorted(point.artefacts.items())],
    }


def _artefact_document(artefact: Artefact) -> Mapping[str, Any]:
    document: dict[str, Any] = {
        "vault": artefact.vault,
        "state": str(artefact.state),
        "verified_at": rfc3339(artefact.verified_at) if artefact.verified_at else None,
        "reason": artefact.reason,
    }
    if artefact.snapshots:
        document["region"] = artefact.region
        document["snapshot_ids"] = [ref.id for ref in artefact.snapshots]
    else:
        document |= {"sha256": artefact.sha256, "folder": artefact.folder}
        document |= {"segments": artefact.segments} if artefact.segments else {"key": artefact.key}
    return document


def rfc3339(moment: datetime) -> str:
    """Write a moment in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
