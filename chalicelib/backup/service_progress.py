"""The progress of a service backup, and its point and manifest. Pure."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from chalicelib.backup.point import described, folder_of, point_without_artefacts
from chalicelib.catalog.recovery_point import Artefact, PointState, RecoveryPoint, StoredFile
from chalicelib.errors import IntegrityFailure
from chalicelib.jobs.job import Job
from chalicelib.jobs.point_manifest import source_of_file
from chalicelib.jobs.removal import Removal
from chalicelib.jobs.script_run import ScriptRun
from chalicelib.jobs.work import BackupWork
from chalicelib.on_instance import BackupReport
from chalicelib.plans.model import ServiceRule
from chalicelib.plans.values import PRIMARY
from chalicelib.vaults.layout import data_key
from chalicelib.vaults.manifest import Manifest, PartHash


@dataclass(frozen=True, slots=True)
class Reported:
    """What the runner has reported: its file, and the number of its parts.

    The report itself, whose SHA-256 is `digest`, stays in the mailbox until the manifest is written: a job's
    record has no room for 10,000 parts.
    """

    digest: str
    size_bytes: int
    sha256: str
    parts: int
    parts_sha256: str


@dataclass(frozen=True, slots=True)
class ServiceBackupProgress:
    """The progress of a service backup: its upload, the run of the script, its report, the finished object.

    Then how many parts were read back, and the hash of the whole if one turn read all of it; while cleaning
    up, what was removed.
    """

    upload: str | None = None
    run: ScriptRun = field(default_factory=ScriptRun)
    report: Reported | None = None
    etag: str | None = None
    parts_read: int = 0
    sha256: str | None = None
    described: bool = False
    suspect: str = ""
    removal: Removal = field(default_factory=Removal)


ServiceJob = Job[BackupWork, ServiceBackupProgress]


def reported(job: ServiceJob) -> Reported:
    """Return what the runner has reported.

    Raises:
        IntegrityFailure: there is no report.
    """
    if job.progress.report is None:
        raise IntegrityFailure("the script has not reported", operation="backing up", resource=job.id)
    return job.progress.report


def key_of(job: ServiceJob) -> str:
    """Return the key under which the backup is stored."""
    return data_key(folder_of(job))


def _scripts(rule: ServiceRule | None) -> dict[str, str]:
    """Return the scripts that restore a backup, as they are when it is made."""
    scripts = (("restore", rule.restore), ("verify", rule.verify)) if rule else ()
    return {name: text for name, text in scripts if text}


def new_point(job: ServiceJob, state: PointState, reason: str, rule: ServiceRule | None) -> RecoveryPoint:
    """Return the point in a state without an artefact."""
    return point_without_artefacts(job, state, source_of(job, rule), reason)


def source_of(job: ServiceJob, rule: ServiceRule | None) -> dict[str, Any]:
    """Return what the point is made of, and how it is restored."""
    instance = job.progress.run.instance
    return {"instances": [instance] if instance else [], "rule": job.work.rule, **_scripts(rule)}


def _taken_at(job: ServiceJob) -> datetime:
    """Return when the data was taken: no earlier than the script was sent."""
    return job.progress.run.sent_at or job.created_at


def point_of(job: ServiceJob, rule: ServiceRule, now: datetime) -> RecoveryPoint:
    """Return the point with the object that was read back."""
    report = reported(job)
    artefact = Artefact(
        vault=PRIMARY,
        state=PointState.AVAILABLE,
        content=StoredFile(
            key=key_of(job),
            etag=job.progress.etag or "",
            sha256=job.progress.sha256,
            parts_sha256=report.parts_sha256,
        ),
        folder=folder_of(job),
        verified_at=now,
    )
    return replace(
        new_point(job, PointState.AVAILABLE, "", rule),
        created_at=_taken_at(job),
        size_bytes=report.size_bytes,
        artefacts={PRIMARY: artefact},
        suspect=job.progress.suspect,
    )


def manifest_of(job: ServiceJob, rule: ServiceRule, report: BackupReport, suspect: str) -> Manifest:
    """Return the manifest: its hashes match the bytes; that of the whole was computed from them."""
    return Manifest(
        recovery_point=job.work.recovery_point,
        service=job.service,
        plan=job.plan,
        rule=job.rule,
        kind="service",
        nominal_at=job.nominal_at,
        created_at=_taken_at(job),
        source=source_of_file(source_of(job, rule)),
        size_bytes=report.size_bytes,
        sha256=job.progress.sha256,
        parts=parts_of(report),
        suspect=suspect,
        **described(job),
    )


def parts_of(report: BackupReport) -> tuple[PartHash, ...]:
    """Return the parts in the form of a manifest."""
    return tuple(PartHash(part.size_bytes, part.sha256) for part in report.parts)


def named(artefact: Artefact) -> str:
    """Return what identifies the bytes of a file: the hash that is known."""
    file = artefact.file(StoredFile)
    return f"SHA-256 {file.sha256}" if file.sha256 else f"SHA-256 over its parts {file.parts_sha256}"
