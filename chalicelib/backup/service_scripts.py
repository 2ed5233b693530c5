"""A service backup: the user's script, run on one of the service's instances, streamed into the primary
vault.

The instance uploads parts through presigned URLs; only this job, after the script has ended well and what S3
holds has been compared with what the script wrote, makes an object of them. Invariant: nothing half-made is
ever a recovery point, and a finished point has been read back and found right, part by part.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from chalicelib.aws.ec2 import Ec2
from chalicelib.aws.ssm import Ssm
from chalicelib.backup.handover import follow_ups
from chalicelib.backup.point import folder_of, made_before, point_without_artefacts, tags_of
from chalicelib.catalog.job import Decision, Do, Finish, Job, JobState, Wait
from chalicelib.catalog.recovery_point import (
    Artefact,
    PointState,
    RecoveryPoint,
)
from chalicelib.catalog.store import PointStore
from chalicelib.errors import Conflict, IntegrityFailure, NotFound
from chalicelib.on_instance import MAX_PARTS, BackupRun, backup_command, parse_report
from chalicelib.on_instance.run import (
    NO_CANDIDATES,
    NOTHING_SEEN,
    Adopt,
    Candidates,
    Ended,
    Failed,
    RunSeen,
    Send,
    choose_instance,
    comment_of,
    decide_run,
    find_candidates,
    observe_run,
    recorded,
)
from chalicelib.plans.model import ServiceRule, read_rule
from chalicelib.vaults.layout import data_key, manifest_key, part_sizes
from chalicelib.vaults.manifest import Manifest, PartHash, to_json
from chalicelib.vaults.read_back import read_back
from chalicelib.vaults.s3 import S3Vault

# A read-back stops this long before the worker's time is up.
MARGIN = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Seen:
    """Instances while one is being chosen, the run of the script, an upload begun before the job knew of it,
    and after an error the point, if it was recorded as made."""

    candidates: Candidates = NO_CANDIDATES
    upload: str | None = None
    run: RunSeen = NOTHING_SEEN
    recorded: RecoveryPoint | None = None


@dataclass(frozen=True, slots=True)
class Choose:
    """Settle on the instance."""

    instance: str


@dataclass(frozen=True, slots=True)
class StartUpload:
    """Begin the multipart upload, or go on with the one found."""

    found: str | None


@dataclass(frozen=True, slots=True)
class ReadReport:
    """Take down what the runner reports."""

    stdout: str


@dataclass(frozen=True, slots=True)
class FinishUpload:
    """Make an object of the parts, once they are those reported."""


@dataclass(frozen=True, slots=True)
class ReadBack:
    """Read the object's parts, from the first not yet read, and compare their hashes with those reported."""


@dataclass(frozen=True, slots=True)
class Describe:
    """Write the manifest of the finished point."""

    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Abort:
    """Stop the script and throw away what was uploaded."""


Action = Choose | StartUpload | Send | Adopt | ReadReport | FinishUpload | ReadBack | Describe | Abort


@dataclass(frozen=True, slots=True)
class ServiceBackup:
    """Makes recovery points with users' scripts. `vault_kinds` tells, by vault name, how copies are made."""

    ec2: Ec2
    ssm: Ssm
    points: PointStore
    primary: S3Vault
    vault_kinds: Mapping[str, str]
    now: Callable[[], datetime]

    def observe(self, job: Job) -> Seen:
        """Look only at what the job's next step depends on."""
        if "error" in job.progress:
            found = None if "upload" in job.progress else self._upload_begun(job)
            return Seen(upload=found, recorded=made_before(self.points, job))
        if "instance" not in job.progress:
            return Seen(find_candidates(self.ec2, self.ssm, job.work["instances"]))
        if "upload" not in job.progress:
            return Seen(upload=self._upload_begun(job))
        if "report" not in job.progress:
            return Seen(run=observe_run(self.ssm, self.ec2, job))
        return Seen()

    def decide(self, job: Job, seen: Seen, now: datetime) -> Decision[Action]:
        """Choose an instance, open the upload, run the script, close the upload, read it back, describe
        it."""
        progress = job.progress
        if seen.recorded:
            opens = follow_ups(job, seen.recorded, self.vault_kinds, now)
            return Finish(JobState.COMPLETED, "the recovery point is recorded", opens=opens)
        if "error" in progress:
            return self._decide_failed(job, seen, now)
        if "instance" not in progress:
            return self._decide_instance(job, seen, now)
        if "upload" not in progress:
            return Do(StartUpload(seen.upload), "opening the upload", "CreateMultipartUpload")
        if "report" not in progress:
            return self._decide_run(job, seen, now)
        if "etag" not in progress:
            return Do(FinishUpload(), "closing the upload")
        if progress.get("read_back", 0) < len(progress["report"]["parts"]):
            return Do(ReadBack(), "reading the object back")
        if "described" not in progress:
            return Do(Describe(_manifest(job)), "writing the manifest")
        point = _point(job, now)
        size = f"{point.size_bytes:,} bytes, SHA-256 {point.artefacts['primary'].sha256}"
        return Finish(JobState.COMPLETED, size, point, follow_ups(job, point, self.vault_kinds, now))

    def _decide_instance(self, job: Job, seen: Seen, now: datetime) -> Decision[Action]:
        match choose_instance(job, seen.candidates, now):
            case Do(action=instance, reason=reason):
                return Do(Choose(instance), reason)
            case Wait() as wait:
                return wait
            case Failed(reason=reason):
                instances = ", ".join(job.work["instances"])
                return self.give_up(job, f"backup of {job.service} on {instances}: {reason}", now)

    def _decide_run(self, job: Job, seen: Seen, now: datetime) -> Decision[Action]:
        step = decide_run(job, seen.run, now, _timeout(job))
        match step:
            case Ended(stdout=stdout):
                return Do(ReadReport(stdout), "the script has ended well")
            case Failed(reason=reason):
                error = f"backup of {job.service} on {job.progress['instance']}: {reason}"
                return self._decide_failed(job.progressed({"error": error}, now), seen, now)
            case Wait() as wait:
                return wait
            case Do(action=action, reason=reason, intent=intent):
                return Do(action, reason, intent)

    def _decide_failed(self, job: Job, seen: Seen, now: datetime) -> Decision[Action]:
        begun = job.progress.get("upload") or seen.upload
        if begun and "aborted" not in job.progress:
            return Do(Abort(), f"throwing away what was uploaded: {job.progress['error']}")
        return self.give_up(job, str(job.progress["error"]), now)

    def act(self, job: Job, action: Action, until: datetime) -> Mapping[str, Any]:
        """Carry out one action."""
        match action:
            case Choose(instance=instance):
                self.points.create(_failed_or_new(job, PointState.CREATING, "being made"))
                return {"instance": instance}
            case StartUpload(found=found):
                return {"upload": found or self.primary.start_upload(_key(job), tags_of(job))}
            case Send():
                return {"command": self._send(job)}
            case Adopt():
                return recorded(action, job)
            case ReadReport(stdout=stdout):
                report = parse_report(stdout)
                parts = [[part.size_bytes, part.sha256] for part in report.parts]
                return {"report": {"size": report.size_bytes, "sha256": report.sha256, "parts": parts}}
            case FinishUpload():
                return {"etag": self._finish_upload(job)}
            case ReadBack():
                return self._read_back(job, until)
            case Describe(manifest=manifest):
                self.primary.put(manifest_key(folder_of(job)), to_json(manifest).encode())
                return {"described": True}
            case Abort():
                return self._abort(job)

    def give_up(self, job: Job, reason: str, now: datetime) -> Finish:
        """Record the point as failed, so that it is never mistaken for one to restore from."""
        return Finish(JobState.FAILED, reason, _failed_or_new(job, PointState.FAILED, reason))

    def _upload_begun(self, job: Job) -> str | None:
        if "CreateMultipartUpload" not in job.intents:
            return None
        return self.primary.find_upload(_key(job))

    def _send(self, job: Job) -> str:
        rule = _rule(job)
        expires = _timeout(job) + timedelta(hours=1)
        urls = self.primary.presign_parts(_key(job), job.progress["upload"], MAX_PARTS, expires)
        run = BackupRun(
            job=job.id,
            service=job.service,
            script=rule.script,
            url_base=urls.base,
            signatures=urls.signatures,
            part_sizes=tuple(islice(part_sizes(), MAX_PARTS)),
            output=rule.output,
        )
        return self.ssm.send(
            job.progress["instance"],
            backup_command(run),
            comment=comment_of(job.id),
            timeout=_timeout(job),
            working_directory=rule.working_directory,
        )

    def _finish_upload(self, job: Job) -> str:
        """Close the upload if S3 holds just the parts reported; adopt the object if that was done before."""
        key, upload = _key(job), job.progress["upload"]
        reported = [size for size, _ in job.progress["report"]["parts"]]
        try:
            held = self.primary.uploaded_parts(key, upload)
            sizes = [part.size_bytes for part in held]
            if sizes != reported:
                raise IntegrityFailure(
                    f"S3 holds parts of {sizes} bytes, the runner sent {reported}",
                    operation="CompleteMultipartUpload",
                    resource=key,
                )
            return self.primary.finish_upload(key, upload, held).etag
        except (NotFound, Conflict):
            made = self.primary.head(key)
            if made is None or made.size_bytes != job.progress["report"]["size"]:
                raise
            return made.etag

    def _read_back(self, job: Job, until: datetime) -> Mapping[str, Any]:
        parts = [(size, sha256) for size, sha256 in job.progress["report"]["parts"]]
        done = job.progress.get("read_back", 0)
        return {
            "read_back": read_back(self.primary, _key(job), parts, done, lambda: self.now() >= until - MARGIN)
        }

    def _abort(self, job: Job) -> Mapping[str, Any]:
        command = job.progress.get("command")
        if command:
            self.ssm.cancel(command)
        upload = job.progress.get("upload") or self._upload_begun(job)
        if upload:
            self.primary.abort_upload(_key(job), upload)
        if "report" in job.progress:  # from then on the upload may have been closed unknown to the job
            self.primary.delete(manifest_key(folder_of(job)))
            self.primary.delete(_key(job))
        return {"aborted": True}


def _rule(job: Job) -> ServiceRule:
    rule = read_rule(job.work["rule"])
    if not isinstance(rule, ServiceRule):
        raise TypeError(f"{job.id} is a service backup of a {rule.kind} rule")
    return rule


def _timeout(job: Job) -> timedelta:
    return _rule(job).timeout


def _scripts(job: Job) -> dict[str, str]:
    """Return the scripts that put a backup back, as they are in force when it is made."""
    rule = _rule(job)
    return {name: text for name, text in (("restore", rule.restore), ("verify", rule.verify)) if text}


def _key(job: Job) -> str:
    return data_key(folder_of(job))


def _source(job: Job) -> dict[str, Any]:
    return {"instances": [job.progress["instance"]] if "instance" in job.progress else [], **_scripts(job)}


def _failed_or_new(job: Job, state: PointState, reason: str) -> RecoveryPoint:
    return point_without_artefacts(job, state, _source(job), reason)


def _point(job: Job, now: datetime) -> RecoveryPoint:
    report = job.progress["report"]
    artefact = Artefact(
        vault="primary",
        state=PointState.AVAILABLE,
        folder=folder_of(job),
        key=_key(job),
        etag=job.progress["etag"],
        sha256=report["sha256"],
        verified_at=now,
    )
    point = _failed_or_new(job, PointState.AVAILABLE, "")
    return replace(
        point,
        created_at=job.intents["SendCommand"],
        size_bytes=report["size"],
        artefacts={"primary": artefact},
    )


def _manifest(job: Job) -> Manifest:
    report = job.progress["report"]
    return Manifest(
        recovery_point=job.work["recovery_point"],
        service=job.service,
        plan=job.plan,
        rule=job.rule,
        kind="service",
        nominal_at=job.nominal_at,
        created_at=job.intents["SendCommand"],
        source={"instance": job.progress["instance"], **_scripts(job)},
        size_bytes=report["size"],
        sha256=report["sha256"],
        parts=tuple(PartHash(size, sha256) for size, sha256 in report["parts"]),
    )
