"""Jobs and recovery points as the API shows them. Pure; the keys are a contract (docs/api.md)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from chalicelib.catalog.recovery_point import Artefact, RecoveryPoint
from chalicelib.jobs.job import AnyJob, AnyRequest
from chalicelib.jobs.leftovers import Leftover
from chalicelib.jobs.work import ServiceRestoreWork, VolumeRestoreWork
from chalicelib.plans.durations import render_duration
from chalicelib.plans.model import ServiceRule


def job_document(job: AnyJob) -> dict[str, Any]:
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
        "deadline": rfc3339(job.deadline),
        "reason": job.reason,
        "late": bool(getattr(job.work, "late", False)),
    }
    document |= _present(parent=job.parent, parts=job.children or None, left=list(job.left) or None)
    if job.failure is not None:
        document["error"] = job.failure.reason
    return document | _work_document(job.work) | _progress_document(job.progress)


def _work_document(work: Any) -> dict[str, Any]:
    """Return what of a job's work is worth showing."""
    document = _present(
        recovery_point=getattr(work, "recovery_point", None), vault=getattr(work, "vault", None)
    )
    match work:
        case ServiceRestoreWork(instance_id=instance):
            document["target"] = {"instance_id": instance}
        case VolumeRestoreWork(availability_zone=zone, size_gib=size, type=type):
            document["target"] = _present(availability_zone=zone, size=size, type=type)
    return document


def _progress_document(progress: Any) -> dict[str, Any]:
    """Return what of a job's progress is worth showing."""
    run = getattr(progress, "run", None)
    judged = getattr(progress, "judged", None)
    document = _present(
        instance_id=getattr(run, "instance", None),
        command_id=getattr(run, "command", None),
        said=getattr(run, "said", "") or None,
        made=dict(getattr(progress, "made", {})) or None,
    )
    if judged is not None:
        names = ("point", "vault", "keep", "reason")
        rows = ({name: getattr(each, name) for name in names} for each in judged)
        document["judged"] = [{"recovery_point": row.pop("point"), **row} for row in rows]
    return document


def _present(**keys: Any) -> dict[str, Any]:
    return {key: value for key, value in keys.items() if value is not None}


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
        "source": {name: value for name, value in point.source.items() if name != "rule"},
        "size_bytes": point.size_bytes,
        "reason": point.reason,
        "artefacts": [_artefact_document(artefact) for _, artefact in sorted(point.artefacts.items())],
        **({"hold": point.hold} if point.hold is not None else {}),
    }


def restore_preview(planned: AnyRequest, rule: ServiceRule | None) -> dict[str, Any]:
    """Return what a restore would do, for a dry run; `rule` has the scripts of a service."""
    document = {"reason": planned.reason, "method": planned.method, **_work_document(planned.work)}
    match planned.work:
        case ServiceRestoreWork(artefact=artefact) as work:
            document |= {
                "folder": artefact.folder,
                "key": artefact.key,
                "segments": artefact.segments,
                "staging_vaults": list(work.staging_vaults),
                "size_bytes": work.size_bytes,
                "sha256": artefact.sha256,
                "parts_sha256": artefact.parts_sha256,
            }
        case VolumeRestoreWork(region=region):
            document["region"] = region
    if rule is not None:
        document |= {
            "restore": rule.restore,
            "verify": rule.verify,
            "timeout": render_duration(rule.timeout),
            "working_directory": rule.working_directory,
        }
    return document


def leftover_document(leftover: Leftover) -> dict[str, Any]:
    """Return something that a job made and could not remove."""
    return {
        "finding": "leftover",
        "what": leftover.what,
        "job": leftover.job,
        "service": leftover.service,
        "reason": leftover.reason,
        "since": rfc3339(leftover.since),
    }


def _artefact_document(artefact: Artefact) -> Mapping[str, Any]:
    document: dict[str, Any] = {
        "vault": artefact.vault,
        "state": str(artefact.state),
        "verified_at": rfc3339(artefact.verified_at) if artefact.verified_at else None,
        "reason": artefact.reason,
    }
    if artefact.let_go_at:
        document["let_go_at"] = rfc3339(artefact.let_go_at)
    if artefact.snapshot_count:
        document["region"] = artefact.region
        document["snapshot_count"] = artefact.snapshot_count
        document["snapshot_ids"] = [ref.id for ref in artefact.snapshots]
    else:
        hashes = {"sha256": artefact.sha256, "parts_sha256": artefact.parts_sha256}
        document |= {**hashes, "folder": artefact.folder}
        document |= {"segments": artefact.segments} if artefact.segments else {"key": artefact.key}
    return document


def rfc3339(moment: datetime) -> str:
    """Write a moment in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
