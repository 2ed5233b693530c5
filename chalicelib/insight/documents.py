"""Jobs and recovery points as the API shows them. Pure; the keys are a contract (docs/api.md)."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from chalicelib.catalog.recovery_point import (
    Artefact,
    DueCopy,
    FileContent,
    RecoveryPoint,
    Segments,
    SnapshotRef,
    SnapshotSet,
    StoredFile,
)
from chalicelib.catalog.store.findings import Finding
from chalicelib.jobs.job import AnyJob, AnyRequest
from chalicelib.jobs.volume_plan import PlannedVolume, planned_volume, wanted_by
from chalicelib.jobs.work import BackupWork, InventoryWork, ServiceRestoreWork, VolumeRestoreWork
from chalicelib.plans.durations import render_duration
from chalicelib.plans.model import ServiceRule

# What an answer lists of a restore's volumes; of a larger one each child job lists its own.
VOLUMES_LISTED = 100


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
    document |= _present(superseded=job.superseded or None)
    if job.failure is not None:
        document["error"] = job.failure.reason
    return document | _work_document(job.work) | _progress_document(job.progress)


def _work_document(work: Any) -> dict[str, Any]:
    """Return what of a job's work is worth showing."""
    document = _present(
        recovery_point=getattr(work, "recovery_point", None), vault=getattr(work, "vault", None)
    )
    if isinstance(work, InventoryWork):
        document |= _present(region=work.region)
    match work:
        case BackupWork(terms=terms):
            document |= _present(origin=str(terms.origin), note=terms.note or None)
        case ServiceRestoreWork(instance_id=instance):
            document["target"] = {"instance_id": instance}
        case VolumeRestoreWork(availability_zone=zone) as work:
            document["target"] = _present(
                availability_zone=zone,
                size=work.size_gib,
                type=work.type,
                iops=work.iops,
                throughput=work.throughput,
            )
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
        suspect=getattr(progress, "suspect", "") or None,
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
        "origin": str(point.origin),
        **_said_of(point),
    }


def _said_of(point: RecoveryPoint) -> dict[str, Any]:
    """Return what was said of a point, and what is wrong with it, where there is anything."""
    return _present(
        note=point.note or None,
        keep_until=rfc3339(point.keep_until) if point.keep_until else None,
        hold=point.hold,
        partial=True if point.left_out else None,
        left_out=list(point.left_out) or None,
        suspect=point.suspect if point.is_suspect else None,
        confirmed=point.confirmed,
        copies_due=[_due_document(vault, due) for vault, due in sorted(point.due.items())] or None,
    )


def _due_document(vault: str, due: DueCopy) -> dict[str, Any]:
    return {"vault": vault, "tries": due.tries, "next_try_at": rfc3339(due.at) if due.at else None}


def restore_preview(planned: AnyRequest, rule: ServiceRule | None) -> dict[str, Any]:
    """Return what a restore would do, for a dry run; `rule` has the scripts of a service."""
    document = {"reason": planned.reason, "method": planned.method, **_work_document(planned.work)}
    match planned.work:
        case ServiceRestoreWork(artefact=artefact) as work:
            document |= _content_document(artefact)
            document |= {"staging_vaults": list(work.staging_vaults), "size_bytes": work.size_bytes}
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


def volumes_document(
    work: Any, refs: Sequence[SnapshotRef], made: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the volumes that a restore makes of snapshots, the first of them one by one; `made` has the ids
    of those that are there, by their snapshots. Nothing for work of another kind.
    """
    if not isinstance(work, VolumeRestoreWork) or not refs:
        return {}
    wanted = wanted_by(work)
    listed = [
        _volume_document(planned_volume(ref, wanted), (made or {}).get(ref.id))
        for ref in refs[:VOLUMES_LISTED]
    ]
    return {"volume_count": len(refs), "volumes": listed}


def _volume_document(planned: PlannedVolume, volume: str | None) -> dict[str, Any]:
    ref, spec = planned.ref, planned.spec
    return {
        "snapshot": ref.id,
        "source": {"instance": ref.instance_id, "device": ref.device, "volume": ref.volume_id},
        "size": spec.size_gib,
        "type": spec.type,
        "iops": spec.iops,
        "throughput": spec.throughput,
        "multi_attach": spec.multi_attach,
        "differs": list(planned.differs),
        **_present(volume=volume, remark=ref.remark or None),
    }


def finding_document(finding: Finding) -> dict[str, Any]:
    """Return a difference between the catalog and the world."""
    document = _present(
        finding=str(finding.kind),
        what=finding.what,
        region=finding.place.region,
        vault=finding.place.vault,
        job=finding.job or None,
        recovery_point=finding.point or None,
        service=finding.service or None,
    )
    removed_after = rfc3339(finding.removed_after) if finding.removed_after else None
    return {
        **document,
        "reason": finding.reason,
        "since": rfc3339(finding.since),
        "last_seen": rfc3339(finding.last_seen),
        "removed_after": removed_after,
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
    return document | _content_document(artefact)


def _content_document(artefact: Artefact) -> dict[str, Any]:
    match artefact.content:
        case SnapshotSet(region=region, snapshot_count=number, snapshots=refs):
            return {"region": region, "snapshot_count": number, "snapshot_ids": [ref.id for ref in refs]}
        case StoredFile(key=key) as file:
            return {**_file_document(file, artefact.folder), "key": key}
        case Segments(segment_count=number) as file:
            return {**_file_document(file, artefact.folder), "segments": number}
    return _present(folder=artefact.folder or None)


def _file_document(file: FileContent, folder: str) -> dict[str, Any]:
    return {"sha256": file.sha256, "parts_sha256": file.parts_sha256, "folder": folder}


def rfc3339(moment: datetime) -> str:
    """Write a moment in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
