"""Restores a service backup onto an instance, with the service's own restore script, and proves it with its
verify script.

The instance fetches the file by a presigned URL, checks its size and SHA-256, and only then runs the script.
A file that lies off-site in segments is first put together in an S3 vault (staged), each segment checked, so
that the instance needs nothing but a URL. Invariant: bytes that are not what was backed up never reach a
restore script.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from chalicelib.aws.ec2 import Ec2
from chalicelib.aws.ssm import Ssm
from chalicelib.catalog.job import Decision, Do, Finish, Job, JobState, Wait
from chalicelib.errors import IntegrityFailure
from chalicelib.on_instance import TRANSFER_FAILED, WRONG_BYTES, RestoreRun, restore_command
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
from chalicelib.plans.durations import parse_duration
from chalicelib.recovery.staging import StagedFile, begin, stage
from chalicelib.vaults.s3 import S3Vault
from chalicelib.vaults.vault import Vault

# Staging stops this long before the worker's time is up.
MARGIN = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Seen:
    """The instance's state and agent while it is waited for, and the run of the script."""

    candidates: Candidates = NO_CANDIDATES
    run: RunSeen = NOTHING_SEEN


@dataclass(frozen=True, slots=True)
class Check:
    """See that the object is there and has the size it should have."""


@dataclass(frozen=True, slots=True)
class BeginStaging:
    """Begin the object in an S3 vault in which the segments are put together."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Put the next segments together in an S3 vault."""


@dataclass(frozen=True, slots=True)
class Choose:
    """The instance is ready."""

    instance: str


@dataclass(frozen=True, slots=True)
class Clean:
    """Remove what was staged."""


Action = Check | BeginStaging | Stage | Choose | Send | Adopt | Clean


@dataclass(frozen=True, slots=True)
class ServiceRestore:
    """Restores services. `vaults` gives any vault by its name; `s3_vaults` only those in S3."""

    ec2: Ec2
    ssm: Ssm
    vaults: Callable[[str], Vault]
    s3_vaults: Callable[[str], S3Vault]
    now: Callable[[], datetime]

    def observe(self, job: Job) -> Seen:
        """Look only at what the job's next step depends on."""
        if "error" in job.progress or not _is_fetchable(job):
            return Seen()
        if "instance" not in job.progress:
            wanted = [job.work["target"]["instance_id"]]
            return Seen(find_candidates(self.ec2, self.ssm, wanted))
        return Seen(run=observe_run(self.ssm, self.ec2, job))

    def decide(self, job: Job, seen: Seen, now: datetime) -> Decision[Action]:
        """Stage or check the file, wait for the instance, run the script, clean up."""
        if "outcome" in job.progress or "error" in job.progress:
            return self._decide_end(job)
        if not _is_fetchable(job):
            return _decide_fetch(job)
        if "instance" not in job.progress:
            match choose_instance(job, seen.candidates, now):
                case Do(action=instance, reason=reason):
                    return Do(Choose(instance), reason)
                case Wait() as wait:
                    return wait
                case Failed(reason=reason):
                    return self._decide_end(job.progressed({"error": reason}, now))
        match decide_run(job, seen.run, now, _timeout(job)):
            case Ended():
                return self._decide_end(job.progressed({"outcome": _success(job)}, now))
            case Failed() as failure:
                return self._decide_end(job.progressed({"error": _run_error(job, failure)}, now))
            case Wait() as wait:
                return wait
            case Do(action=action, reason=reason, intent=intent):
                return Do(action, reason, intent)

    def _decide_end(self, job: Job) -> Decision[Action]:
        if "staging" in job.progress and "cleaned" not in job.progress:
            return Do(Clean(), "removing what was staged")
        if "error" in job.progress:
            return self.give_up(job, str(job.progress["error"]), job.updated_at)
        return Finish(JobState.COMPLETED, str(job.progress["outcome"]))

    def act(self, job: Job, action: Action, until: datetime) -> Mapping[str, Any]:
        """Carry out one action."""
        match action:
            case Check():
                return self._check(job)
            case BeginStaging():
                begun = begin(self.vaults(job.work["vault"]), self.s3_vaults, job)
                return {"staging": begun.to_progress()}
            case Stage():
                offsite, into = self.vaults(job.work["vault"]), self.s3_vaults(_staged(job).vault)
                staged = stage(offsite, into, job, lambda: self.now() >= until - MARGIN)
                return {"staging": staged.to_progress()}
            case Choose(instance=instance):
                return {"instance": instance}
            case Send():
                return {"command": self._send(job)}
            case Adopt():
                return recorded(action, job)
            case Clean():
                staged = _staged(job)
                staged.remove(self.s3_vaults(staged.vault))
                return {"cleaned": True}

    def give_up(self, job: Job, reason: str, now: datetime) -> Finish:
        """End without a restore."""
        where = f"{job.work['recovery_point']} from {job.work['vault']}"
        return Finish(
            JobState.FAILED, f"restore of {where} onto {job.work['target']['instance_id']}: {reason}"
        )

    def _check(self, job: Job) -> Mapping[str, Any]:
        vault, key = self.s3_vaults(job.work["vault"]), job.work["key"]
        found = vault.size(key)
        if found != job.work["size_bytes"]:
            raise IntegrityFailure(
                f"it has {found} bytes, the catalog says {job.work['size_bytes']}"
                if found is not None
                else "it is not there",
                operation="checking",
                resource=f"{vault.name}:{key}",
            )
        return {"checked": True}

    def _send(self, job: Job) -> str:
        if job.work["segments"]:
            staged = _staged(job)
            vault, key = self.s3_vaults(staged.vault), staged.key
        else:
            vault, key = self.s3_vaults(job.work["vault"]), job.work["key"]
        run = RestoreRun(
            job=job.id,
            service=job.service,
            url=vault.presign_get(key, _timeout(job) + timedelta(hours=1)),
            size_bytes=job.work["size_bytes"],
            sha256=job.work["sha256"],
            restore=job.work["restore"],
            verify=job.work["verify"],
        )
        return self.ssm.send(
            job.progress["instance"],
            restore_command(run),
            comment=comment_of(job.id),
            timeout=_timeout(job),
            working_directory=job.work["working_directory"],
        )


def _is_fetchable(job: Job) -> bool:
    if job.work["segments"]:
        return bool(job.progress.get("staging", {}).get("whole"))
    return "checked" in job.progress


def _decide_fetch(job: Job) -> Decision[Action]:
    if not job.work["segments"]:
        return Do(Check(), "checking the object")
    if "staging" not in job.progress:
        return Do(BeginStaging(), "reading the manifest")
    return Do(Stage(), "putting segments together")


def _staged(job: Job) -> StagedFile:
    return StagedFile.from_progress(job.progress["staging"])


def _run_error(job: Job, failure: Failed) -> str:
    """Say why the run failed; name what it fetched when that was the fault."""
    if failure.exit_code not in (WRONG_BYTES, TRANSFER_FAILED):
        return failure.reason
    return f"{job.work['vault']}:{job.work['key'] or job.work['folder']}: {failure.reason}"


def _timeout(job: Job) -> timedelta:
    return parse_duration(job.work["timeout"])


def _success(job: Job) -> str:
    proof = "and its verify script passed" if job.work["verify"] else "(the rule has no verify script)"
    return f"restored {job.work['size_bytes']:,} bytes onto {job.progress['instance']} {proof}"
