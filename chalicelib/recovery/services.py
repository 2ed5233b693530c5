"""Restores a service backup onto an instance with the service's restore script, and verifies it.

The instance fetches the file through presigned URLs from its mailbox, checks its size and SHA-256, and only
then runs the restore script, and the verify script if there is one. A file that is off-site in segments is
first assembled in an S3 vault (staged), each segment checked, so that the instance needs nothing but URLs.
Invariant: a restore script is only given the bytes that were backed up.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from urllib.parse import quote

from chalicelib.aws.ec2 import Ec2
from chalicelib.aws.ssm import Ssm
from chalicelib.catalog.recovery_point import FileContent, Segments, StoredFile
from chalicelib.catalog.store.points import PointStore
from chalicelib.catalog.store.rules import RuleStore
from chalicelib.catalog.store.writes import Write
from chalicelib.errors import IntegrityFailure
from chalicelib.jobs.claims import lock_of_instance
from chalicelib.jobs.decision import Children, Cleaning, Decision, Do, Fail, Finish, Step, Wait
from chalicelib.jobs.handler import Turn
from chalicelib.jobs.job import Job, JobState
from chalicelib.jobs.removal import TRIES_AT_END, Removal, remove
from chalicelib.jobs.script_run import (
    INTENT,
    Adopt,
    Choose,
    Ended,
    Machines,
    Remove,
    RunSeen,
    ScriptFailed,
    ScriptRun,
    Send,
    WriteLetter,
    advanced,
    clean_up_run,
    decide_run,
    mailbox_names,
    observe_run,
    still_stopping,
    wrote,
)
from chalicelib.jobs.work import ServiceRestoreWork
from chalicelib.on_instance import (
    TRANSFER_FAILED,
    WRONG_BYTES,
    RestoreRun,
    is_restored,
    parts_list,
    restore_command,
    restore_letter,
)
from chalicelib.plans.model import ServiceRule
from chalicelib.recovery.staging import StagedFile, begin, stage
from chalicelib.vaults.layout import manifest_key
from chalicelib.vaults.mailbox import ADDRESS_LIVES, READS_LIVE, Mailbox
from chalicelib.vaults.manifest import check_describes, from_json
from chalicelib.vaults.s3 import S3Vault
from chalicelib.vaults.vault import Vault

# Staging stops this long before the worker's time is up.
MARGIN = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class ServiceRestoreProgress:
    """How far a restore is: the object checked or staged, the run of the scripts and its outcome, and, in
    cleaning, what was removed."""

    checked: bool = False
    staging: StagedFile | None = None
    run: ScriptRun = field(default_factory=ScriptRun)
    outcome: str | None = None
    removal: Removal = field(default_factory=Removal)


RestoreJob = Job[ServiceRestoreWork, ServiceRestoreProgress]


@dataclass(frozen=True, slots=True)
class ServiceRestoreObservation:
    """The rule, the run of its scripts, and, when fetching the file failed, other vaults that have it."""

    rule: ServiceRule
    run: RunSeen = field(default_factory=RunSeen)
    elsewhere: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """Check that the object is there and has the recorded size."""


@dataclass(frozen=True, slots=True)
class BeginStaging:
    """Begin the upload in an S3 vault in which the segments are assembled."""


@dataclass(frozen=True, slots=True)
class StageSegments:
    """Copy the next segments into that upload."""


@dataclass(frozen=True, slots=True)
class NoteOutcome:
    """Record that the scripts succeeded, and the last lines of their output, before what was staged is
    removed."""

    outcome: str
    said: str


Action = Check | BeginStaging | StageSegments | Choose | WriteLetter | Send | Adopt | NoteOutcome | Remove


@dataclass(frozen=True, slots=True)
class ServiceRestore:
    """Restores services. `vaults` returns any vault by its name, `s3_vaults` only those in S3."""

    ec2: Ec2
    ssm: Ssm
    points: PointStore
    rules: RuleStore
    vaults: Callable[[str], Vault]
    s3_vaults: Callable[[str], S3Vault]
    now: Callable[[], datetime]
    work = ServiceRestoreWork
    progress = ServiceRestoreProgress
    deadline = timedelta(days=3)

    def observe(self, job: RestoreJob, children: Children) -> ServiceRestoreObservation:
        """Return only what the job's next step depends on."""
        seen, progress = ServiceRestoreObservation(self._rule(job)), job.progress
        if job.failure is not None and not _is_fetchable(job):
            seen = replace(seen, elsewhere=self._elsewhere(job))
        failed_sure = job.failure is not None and job.intent is None and progress.run.command is None
        if progress.outcome is not None or failed_sure:
            return seen
        if not _is_fetchable(job):
            return seen
        mailbox = self._mailbox(job) if job.failure is None else None
        machines, wanted = Machines(self.ssm, self.ec2), [job.work.instance_id]
        seen = replace(seen, run=observe_run(machines, mailbox, job, progress.run, wanted))
        ended = seen.run.invocation
        lacked = ended is not None and ended.exit_code in (WRONG_BYTES, TRANSFER_FAILED)
        return replace(seen, elsewhere=self._elsewhere(job)) if lacked else seen

    def _elsewhere(self, job: RestoreJob) -> tuple[str, ...]:
        """Return the other vaults that have the point, the best first."""
        point = self.points.get(job.work.recovery_point)
        return tuple(vault for vault in point.available_in() if vault != job.work.vault) if point else ()

    def decide(self, job: RestoreJob, seen: ServiceRestoreObservation, now: datetime) -> Decision[Action]:
        """Stage or check the file, wait for the instance, run the scripts, remove their files."""
        outcome = job.progress.outcome
        if outcome is not None:
            return _decide_end(job, outcome, now)
        if not _is_fetchable(job):
            return _decide_fetch(job)
        match decide_run(job, job.progress.run, seen.run, now, seen.rule.timeout):
            case Ended(stdout=stdout, said=said):
                if not is_restored(stdout, job.work.size_bytes, verified=bool(seen.rule.verify)):
                    why = "it ended with exit code 0, but did not report a restore"
                    return Fail(
                        f"{_what(job)}: {why}; see in SSM what command {job.progress.run.command} printed"
                    )
                return Do(NoteOutcome(_success(job, seen.rule), said), "the scripts have succeeded")
            case ScriptFailed() as failure:
                return Fail(f"{_what(job)}: {_run_error(job, failure, seen.elsewhere)}")
            case Fail(reason=reason):
                return Fail(f"{_what(job)}: {reason}")
            case step:
                return step

    def clean_up(self, job: RestoreJob, seen: ServiceRestoreObservation, now: datetime) -> Cleaning[Action]:
        """Stop the script, remove what was staged, then end."""
        reason = job.failure.reason if job.failure else job.reason
        over = job.progress.outcome is not None
        stops = None if over else still_stopping(job.progress.run, seen.run, now, seen.rule.timeout)
        cleaning = clean_up_run(job, seen.run.commands, self._made(job), stops, now)
        if cleaning:
            return cleaning
        if job.failure and job.failure.outcome is JobState.FAILED and not _is_fetchable(job):
            reason = f"{reason}; {_from_elsewhere(job, seen.elsewhere)}"
        return Finish(reason if reason.startswith("restore of") else f"{_what(job)}: {reason}")

    def abandon(self, job: RestoreJob, now: datetime) -> tuple[Write, ...]:
        """Record nothing."""
        return ()

    def leftovers(self, job: RestoreJob) -> tuple[str, ...]:
        """Return the command, the staged object and the mailbox that are still there."""
        return job.progress.removal.left_of((*self._made(job), *mailbox_names(job)))

    @staticmethod
    def _made(job: RestoreJob) -> tuple[str, ...]:
        command = job.progress.run.command
        return (*((f"command {command}",) if command else ()), *_staged_names(job))

    def act(self, job: RestoreJob, action: Action, turn: Turn) -> Step[ServiceRestoreProgress]:
        """Carry out the action."""
        progress = job.progress
        match action:
            case Check():
                self._check(job)
                return Step(replace(progress, checked=True))
            case BeginStaging():
                return Step(
                    replace(progress, staging=begin(self.vaults(job.work.vault), self.s3_vaults, job))
                )
            case StageSegments():
                return Step(replace(progress, staging=self._stage(job, turn)))
            case Choose() | Send() | Adopt():
                run, rest = advanced(job, progress.run, action, partial(self._send, job))
                return Step(replace(progress, run=run), rest=rest)
            case WriteLetter():
                text = partial(self._letter, job, action.number)
                run = wrote(self._mailbox(job), progress.run, action, text, self.now())
                return Step(replace(progress, run=run))
            case NoteOutcome(outcome=outcome, said=said):
                unlocks, run = (lock_of_instance(job.work.instance_id),), replace(progress.run, said=said)
                return Step(replace(progress, outcome=outcome, run=run), unlocks=unlocks)
            case Remove(what=what):
                removal = remove(
                    progress.removal, what, self._removing(job), self.now(), at_end=job.failure is None
                )
                return Step(replace(progress, removal=removal))

    def _rule(self, job: RestoreJob) -> ServiceRule:
        rule = self.rules.get(job.work.rule)
        if not isinstance(rule, ServiceRule):
            raise TypeError(f"{job.id} is a service restore of a {rule.kind} rule")
        return rule

    def _removing(self, job: RestoreJob) -> Callable[[str], None]:
        def remove_one(what: str) -> None:
            word, _, id = what.partition(" ")
            if word == "command":
                self.ssm.cancel(id)
            elif word == "mailbox":
                self._mailbox(job).remove()
            elif job.progress.staging is not None:
                job.progress.staging.remove(self.s3_vaults(job.progress.staging.vault))

        return remove_one

    def _check(self, job: RestoreJob) -> None:
        vault, key = self.s3_vaults(job.work.vault), job.work.artefact.file(StoredFile).key
        found = vault.size(key)
        if found != job.work.size_bytes:
            raise IntegrityFailure(
                f"it has {found} bytes, the catalog says {job.work.size_bytes}"
                if found is not None
                else "it is not there",
                operation="checking",
                resource=f"{vault.name}:{key}",
            )

    def _stage(self, job: RestoreJob, turn: Turn) -> StagedFile:
        staged = _staging(job)
        offsite, into = self.vaults(job.work.vault), self.s3_vaults(staged.vault)
        return stage(offsite, into, job, staged, lambda: self.now() >= turn.until - MARGIN)

    def _file(self, job: RestoreJob) -> tuple[S3Vault, str]:
        """Return the vault and the key that the instance fetches the file from."""
        if _is_staged(job):
            staged = _staging(job)
            return self.s3_vaults(staged.vault), staged.key
        return self.s3_vaults(job.work.vault), job.work.artefact.file(StoredFile).key

    def _mailbox(self, job: RestoreJob) -> Mailbox:
        """Return the mailbox; it is in the vault of the file, as that one is known to answer."""
        vault, _ = self._file(job)
        return Mailbox(vault, job.id)

    def _letter(self, job: RestoreJob, number: int) -> str:
        """Return a letter: what the run may do for some minutes, and the address of its next letter."""
        vault, key = self._file(job)
        mailbox = Mailbox(vault, job.id)
        sha256 = job.work.artefact.file(FileContent).sha256
        parts_url = None if sha256 else mailbox.write_parts(parts_list(self._parts(job)))
        return restore_letter(mailbox.address(number + 1), vault.presign_get(key, READS_LIVE), parts_url)

    def _send(self, job: RestoreJob) -> str:
        rule, file, sent = self._rule(job), job.work.artefact.file(FileContent), job.progress.run
        run = RestoreRun(
            job=job.id,
            service=job.service,
            address=self._mailbox(job).address(sent.letter, ADDRESS_LIVES),
            size_bytes=job.work.size_bytes,
            sha256=file.sha256,
            restore=rule.restore or "",
            timeout=rule.timeout,
            verify=rule.verify,
            parts_sha256=file.parts_sha256,
        )
        return self.ssm.send(
            sent.instance or "",
            restore_command(run),
            comment=job.mark(INTENT),
            timeout=rule.timeout,
            working_directory=rule.working_directory,
        )

    def _parts(self, job: RestoreJob) -> list[tuple[int, str]]:
        """Return the size and hash of each part from the manifest, after checking it against the catalog."""
        vault, file = self.vaults(job.work.vault), job.work.artefact.file(FileContent)
        key = manifest_key(job.work.artefact.folder)
        where = f"{vault.name}:{key}"
        manifest = from_json(vault.get(key), where=where)
        check_describes(manifest, job.work.recovery_point, file.sha256, file.parts_sha256, where)
        return [(part.size_bytes, part.sha256) for part in manifest.parts]


def _is_staged(job: RestoreJob) -> bool:
    """Return whether the file is in segments, which have to be assembled first."""
    return isinstance(job.work.artefact.content, Segments)


def _is_fetchable(job: RestoreJob) -> bool:
    if _is_staged(job):
        return job.progress.staging is not None and job.progress.staging.whole
    return job.progress.checked


def _decide_fetch(job: RestoreJob) -> Decision[Action]:
    if not _is_staged(job):
        return Do(Check(), "checking the object")
    if job.progress.staging is None:
        return Do(BeginStaging(), "reading the manifest")
    return Do(StageSegments(), "assembling the segments")


def _decide_end(job: RestoreJob, outcome: str, now: datetime) -> Decision[Action]:
    """Remove the staged file and the mailbox; stop trying after a while, as the restore has succeeded."""
    removal, given = job.progress.removal, (*_staged_names(job), *mailbox_names(job))
    left = removal.left_of(given)
    if not left:
        return Finish(outcome)
    if removal.tries >= TRIES_AT_END:
        return Finish(f"{outcome}; left to the inventory, as it could not be removed: {', '.join(left)}")
    due = removal.due(given, now)
    if isinstance(due, Wait):
        return replace(due, reason=f"{outcome}; {due.reason}")
    return Do(Remove(due), "removing what the scripts were given")


def _staging(job: RestoreJob) -> StagedFile:
    if job.progress.staging is None:
        raise IntegrityFailure("nothing was staged", operation="restoring", resource=job.id)
    return job.progress.staging


def _staged_names(job: RestoreJob) -> tuple[str, ...]:
    staged = job.progress.staging
    return (f"staged {staged.vault}:{staged.key}",) if staged is not None else ()


def _what(job: RestoreJob) -> str:
    return f"restore of {job.work.recovery_point} from {job.work.vault} onto {job.work.instance_id}"


def _run_error(job: RestoreJob, failure: ScriptFailed, elsewhere: Sequence[str]) -> str:
    """Return why the run failed; if fetching was the cause, name the file and the vaults that have it."""
    if failure.exit_code not in (WRONG_BYTES, TRANSFER_FAILED):
        return failure.reason
    artefact = job.work.artefact
    where = artefact.content.key if isinstance(artefact.content, StoredFile) else artefact.folder
    return f"{artefact.vault}:{where}: {failure.reason}; {_from_elsewhere(job, elsewhere)}"


def _from_elsewhere(job: RestoreJob, elsewhere: Sequence[str]) -> str:
    """Return, in words, which other vaults have the point, and the request that restores from the best."""
    if not elsewhere:
        return "no other vault has this point; an older point may do: GET /recovery-points?service=" + quote(
            job.service
        )
    request = {
        "recovery_point": job.work.recovery_point,
        "vault": elsewhere[0],
        "target": {"instance_id": job.work.instance_id},
    }
    return f"the point is also in {', '.join(elsewhere)}: POST /restores {json.dumps(request)}"


def _success(job: RestoreJob, rule: ServiceRule) -> str:
    proof = "and its verify script passed" if rule.verify else "(the rule has no verify script)"
    return f"restored {job.work.size_bytes:,} bytes onto {job.progress.run.instance} {proof}"
