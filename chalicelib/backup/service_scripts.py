"""A service backup: the user's script runs on one of its instances and is streamed into the primary vault.

The instance uploads parts through presigned URLs from its mailbox in the vault, and puts its report there.
Only this job turns the parts into an object, after the script has succeeded and the parts in S3 match the
report. Invariant: an incomplete backup is never a recovery point, and a finished point has been read back
part by part. Hashes of the whole are computed from the bytes that were read; the instance's own are only
compared with them. No restore works on the instance while the script runs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import islice, zip_longest

from chalicelib.aws.ec2 import Ec2
from chalicelib.aws.ssm import Ssm
from chalicelib.backup.point import (
    failure_writes,
    folder_of,
    follow_ups,
    record_of,
    suspicion,
    tags_of,
    why_without_data,
)
from chalicelib.backup.service_progress import (
    Reported,
    ServiceBackupProgress,
    ServiceJob,
    key_of,
    manifest_of,
    named,
    new_point,
    parts_of,
    point_of,
    reported,
    source_of,
)
from chalicelib.catalog.recovery_point import Lineage, PointState, RecoveryPoint
from chalicelib.catalog.store import points
from chalicelib.catalog.store.points import PointStore
from chalicelib.catalog.store.rules import RuleStore
from chalicelib.catalog.store.writes import Write
from chalicelib.errors import Conflict, FarshoreError, IntegrityFailure, NotFound
from chalicelib.jobs.claims import lock_of_instance
from chalicelib.jobs.decision import Children, Cleaning, Decision, Do, Fail, Finish, Step, Wait
from chalicelib.jobs.handler import Turn
from chalicelib.jobs.job import AnyJob
from chalicelib.jobs.removal import remove
from chalicelib.jobs.script_run import (
    INTENT,
    Adopt,
    Choose,
    Ended,
    Machines,
    Remove,
    RunSeen,
    ScriptFailed,
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
from chalicelib.jobs.work import BackupWork, CopyMethods
from chalicelib.on_instance import (
    BackupReport,
    BackupRun,
    PartsToSend,
    backup_command,
    backup_letter,
    digest_of_report,
    parse_report,
)
from chalicelib.plans.model import Kind, ServiceRule
from chalicelib.plans.values import PRIMARY
from chalicelib.vaults.layout import MAX_PARTS, manifest_key, part_sizes
from chalicelib.vaults.mailbox import ADDRESS_LIVES, WRITES_LIVE, Mailbox
from chalicelib.vaults.manifest import identity, to_json
from chalicelib.vaults.read_back import PinnedObject, check_whole, read_back
from chalicelib.vaults.s3 import S3Object, S3Vault

# A read-back stops this long before the worker's time is up.
MARGIN = timedelta(minutes=1)
UPLOAD_INTENT = "CreateMultipartUpload"
# Recorded with all progress before the report is removed: earlier steps need the report.
MAILBOX_INTENT = "removing the mailbox"
# How many parts a letter lets a run send: each is signed, and most runs need but a few. The first letter
# lasts 20 s at the rate that S3 gives one connection. A later one is up to four minutes old when it is taken,
# and the next one is there four minutes later: from part 225 on that allows four times that rate. A run that
# is faster waits for its next letter.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance-design-patterns.html
PARTS_OF_FIRST_LETTER = 96
PARTS_PER_LETTER = 256


@dataclass(frozen=True, slots=True)
class ServiceObservation:
    """The rule, an upload that the job does not know yet, the run of the script; the points of the lineage,
    and the launch of the instance.

    At the end also what is in the vault: the object, and the size of its manifest.
    """

    rule: ServiceRule
    upload: str | None = None
    run: RunSeen = field(default_factory=RunSeen)
    lineage: tuple[RecoveryPoint, ...] = ()
    launch: AnyJob | None = None
    stored: S3Object | None = None
    manifest_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class StartUpload:
    """Begin the multipart upload, or adopt the one that was found."""

    found: str | None


@dataclass(frozen=True, slots=True)
class ReadReport:
    """Record what the runner reports, and the last lines of the script's output."""

    stdout: str
    said: str


@dataclass(frozen=True, slots=True)
class FinishUpload:
    """Turn the parts into an object, if they are those reported."""


@dataclass(frozen=True, slots=True)
class ReadBack:
    """Read the object's parts, from the first one not yet read, and compare their hashes."""


@dataclass(frozen=True, slots=True)
class WriteManifest:
    """Write the manifest of the finished point; `suspect` says why it is suspect."""

    rule: ServiceRule
    suspect: str = ""


Action = (
    Choose
    | StartUpload
    | WriteLetter
    | Send
    | Adopt
    | ReadReport
    | FinishUpload
    | ReadBack
    | WriteManifest
    | Remove
)


@dataclass(frozen=True, slots=True)
class ServiceBackup:
    """Makes recovery points with users' scripts. `methods` has, by vault name, how copies are made;
    `launch_of` gives the launch of an instance for a plan, if there was one."""

    ec2: Ec2
    ssm: Ssm
    points: PointStore
    rules: RuleStore
    primary: S3Vault
    methods: CopyMethods
    launch_of: Callable[[str, str], AnyJob | None]
    now: Callable[[], datetime]
    work = BackupWork
    progress = ServiceBackupProgress
    deadline = timedelta(days=3)

    def observe(self, job: ServiceJob, children: Children) -> ServiceObservation:
        """Return only what the job's next step depends on."""
        seen, progress = ServiceObservation(self._rule(job)), job.progress
        if job.failure is not None:
            return self._observe_failed(job, seen)
        if progress.run.instance is not None and progress.upload is None:
            return replace(seen, upload=self._upload_begun(job))
        if progress.report is None:
            return replace(seen, run=self._observe_run(job))
        if progress.parts_read == progress.report.parts and not progress.described:
            lineage = Lineage(job.plan, job.rule, Kind.SERVICE, job.service)
            launch = self.launch_of(job.plan, progress.run.instance or "")
            return replace(seen, lineage=self.points.of_lineage(lineage), launch=launch)
        if progress.described:
            stored = self.primary.head(key_of(job))
            return replace(
                seen, stored=stored, manifest_bytes=self.primary.size(manifest_key(folder_of(job)))
            )
        return seen

    def _observe_failed(self, job: ServiceJob, seen: ServiceObservation) -> ServiceObservation:
        if job.progress.report is not None or (job.intent is None and job.progress.run.command is None):
            return seen  # the run has ended, and who deletes its file cannot look at it
        if job.intent is not None and job.intent.name == UPLOAD_INTENT:
            return replace(seen, upload=self._upload_begun(job))
        return replace(seen, run=self._observe_run(job))

    def _observe_run(self, job: ServiceJob) -> RunSeen:
        mailbox = self._mailbox(job) if job.failure is None else None
        machines = Machines(self.ssm, self.ec2)
        seen = observe_run(machines, mailbox, job, job.progress.run, job.work.instances)
        runs = seen.invocation is not None and not seen.invocation.finished
        return replace(seen, uploaded_bytes=self._uploaded(job)) if runs and job.failure is None else seen

    def _uploaded(self, job: ServiceJob) -> int | None:
        """Return how many bytes S3 holds of the upload; None when S3 does not answer: the run goes on."""
        try:
            held = self.primary.uploaded_parts(key_of(job), job.progress.upload or "")
        except FarshoreError:
            return None
        return sum(part.size_bytes for part in held)

    def decide(self, job: ServiceJob, seen: ServiceObservation, now: datetime) -> Decision[Action]:
        """Choose an instance, open the upload, run the script, close and read back, write the manifest."""
        progress = job.progress
        if progress.run.instance is not None and progress.upload is None:
            begun = points.creating(new_point(job, PointState.CREATING, "being made", seen.rule), now)
            return Do(StartUpload(seen.upload), "opening the upload", UPLOAD_INTENT, first=(begun,))
        if progress.report is None:
            return self._decide_run(job, seen, now)
        if progress.etag is None:
            return Do(FinishUpload(), "closing the upload")
        if progress.parts_read < progress.report.parts:
            return Do(ReadBack(), "reading the object back")
        if not progress.described:
            size = progress.report.size_bytes
            why = why_without_data(seen.launch, seen.lineage) or suspicion(
                seen.rule.expect, size, seen.lineage
            )
            return Do(WriteManifest(seen.rule, why), "writing the manifest")
        mailbox = progress.removal.due(mailbox_names(job), now)
        if mailbox and not isinstance(mailbox, Wait):  # a mailbox never delays the point
            return Do(Remove(mailbox), "removing the mailbox", MAILBOX_INTENT)
        if (gone := _not_as_read(job, seen)) is not None:
            return Fail(f"backup of {job.service}: {gone}")
        point = point_of(job, seen.rule, now)
        writes = record_of(point, now)
        opens = follow_ups(job, point, seen.rule, self.methods, now)
        said = f"{point.size_bytes:,} bytes, {named(point.artefacts[PRIMARY])}"
        return Finish(f"{said}; {point.flag}" if point.is_flagged else said, writes, opens)

    def _decide_run(self, job: ServiceJob, seen: ServiceObservation, now: datetime) -> Decision[Action]:
        run = job.progress.run
        match decide_run(job, run, seen.run, now, seen.rule.timeout):
            case Ended(stdout=stdout, said=said):
                return Do(ReadReport(stdout, said), "the script has succeeded")
            case ScriptFailed(reason=reason):
                return Fail(f"backup of {job.service} on {run.instance}: {reason}")
            case Fail(reason=reason):
                return Fail(f"backup of {job.service} on {', '.join(job.work.instances)}: {reason}")
            case step:
                return step

    def clean_up(self, job: ServiceJob, seen: ServiceObservation, now: datetime) -> Cleaning[Action]:
        """Stop the script and remove the upload; wait long enough to find calls whose answers were lost."""
        reason = job.failure.reason if job.failure else job.reason
        if job.intent is not None and job.intent.name == UPLOAD_INTENT and seen.upload is not None:
            return Do(StartUpload(seen.upload), f"cleaning up after: {reason}")
        stops = (
            None
            if job.progress.report
            else still_stopping(job.progress.run, seen.run, now, seen.rule.timeout)
        )
        cleaning = clean_up_run(job, seen.run.commands, _made(job), stops, now)
        match cleaning:
            case Do(action=Remove(what=what)) if any(each.startswith("object ") for each in what):
                return replace(cleaning, deletes=True)
        return cleaning or Finish(reason, failure_writes(job, source_of(job, None), seen.rule, now))

    def abandon(self, job: ServiceJob, now: datetime) -> tuple[Write, ...]:
        """Record the failure."""
        return failure_writes(job, source_of(job, None), self._rule(job), now)

    def leftovers(self, job: ServiceJob) -> tuple[str, ...]:
        """Return the command, upload, objects and mailbox that still exist."""
        return job.progress.removal.left_of((*_made(job), *mailbox_names(job)))

    def act(self, job: ServiceJob, action: Action, turn: Turn) -> Step[ServiceBackupProgress]:
        """Carry out one action."""
        progress = job.progress
        match action:
            case Choose() | Send() | Adopt():
                run, rest = advanced(job, progress.run, action, partial(self._send, job))
                return Step(replace(progress, run=run), rest=rest)
            case StartUpload(found=found):
                upload = found or self.primary.start_upload(key_of(job), tags_of(job))
                return Step(replace(progress, upload=upload))
            case WriteLetter():
                text = partial(self._letter, job, action.number)
                run = wrote(self._mailbox(job), progress.run, action, text, self.now())
                return Step(replace(progress, run=run))
            case ReadReport(stdout=stdout, said=said):
                unlocks, run = (
                    (lock_of_instance(progress.run.instance or ""),),
                    replace(progress.run, said=said),
                )
                return Step(replace(progress, report=self._take_down(job, stdout), run=run), unlocks=unlocks)
            case FinishUpload():
                return Step(replace(progress, etag=self._finish_upload(job)))
            case ReadBack():
                return Step(self._read_back(job, turn.until))
            case WriteManifest(rule=rule, suspect=suspect):
                manifest = manifest_of(job, rule, self._report(job), suspect)
                self.primary.put(manifest_key(folder_of(job)), to_json(manifest).encode())
                return Step(replace(progress, described=True, suspect=suspect))
            case Remove(what=what):
                removal = remove(
                    progress.removal, what, self._removing(job), self.now(), at_end=job.failure is None
                )
                return Step(replace(progress, removal=removal))

    def _rule(self, job: ServiceJob) -> ServiceRule:
        rule = self.rules.get(job.work.rule)
        if not isinstance(rule, ServiceRule):
            raise TypeError(f"{job.id} is a service backup of a {rule.kind} rule")
        return rule

    def _upload_begun(self, job: ServiceJob) -> str | None:
        return self.primary.find_upload(key_of(job)) if job.intent is not None else None

    def _mailbox(self, job: ServiceJob) -> Mailbox:
        return Mailbox(self.primary, job.id)

    def _letter(self, job: ServiceJob, number: int) -> str:
        """Return the letter: which parts the run may send, and where its next letter will be.

        It begins with the last part that S3 holds, which the run may be sending again.
        """
        mailbox, key, upload = self._mailbox(job), key_of(job), job.progress.upload or ""
        held = self.primary.uploaded_parts(key, upload)
        first = held[-1].number if held else 1
        most = PARTS_OF_FIRST_LETTER if number == 1 else PARTS_PER_LETTER
        numbers = range(first, min(first + most, MAX_PARTS + 1))
        urls = self.primary.presign_parts(key, upload, numbers, WRITES_LIVE)
        sizes = islice(part_sizes(), first - 1, None)
        parts = PartsToSend(urls.base, first, MAX_PARTS, tuple(zip(sizes, urls.signatures, strict=False)))
        return backup_letter(mailbox.address(number + 1), mailbox.report_url(), parts)

    def _send(self, job: ServiceJob) -> str:
        rule, sent = self._rule(job), job.progress.run
        run = BackupRun(
            job=job.id,
            service=job.service,
            script=rule.script,
            address=self._mailbox(job).address(sent.letter, ADDRESS_LIVES),
            timeout=rule.timeout,
            output=rule.output,
        )
        return self.ssm.send(
            sent.instance or "",
            backup_command(run),
            comment=job.mark(INTENT),
            timeout=rule.timeout,
            working_directory=rule.working_directory,
        )

    def _take_down(self, job: ServiceJob, stdout: str) -> Reported:
        """Return the contents of the report."""
        digest = digest_of_report(stdout)
        report = parse_report(self._mailbox(job).report(), digest)
        parts_sha256 = identity(parts_of(report))
        return Reported(digest, report.size_bytes, report.sha256, len(report.parts), parts_sha256)

    def _report(self, job: ServiceJob) -> BackupReport:
        """Return the report, read again: it must have the recorded digest."""
        return parse_report(self._mailbox(job).report(), reported(job).digest)

    def _finish_upload(self, job: ServiceJob) -> str:
        """Close the upload if S3 holds exactly the parts reported, unless that was done before."""
        key, upload, report = key_of(job), job.progress.upload or "", self._report(job)
        reported = [part.size_bytes for part in report.parts]
        try:
            held = self.primary.uploaded_parts(key, upload)
            if unlike := _unlike([part.size_bytes for part in held], reported):
                raise IntegrityFailure(unlike, operation="CompleteMultipartUpload", resource=key)
            return self.primary.finish_upload(key, upload, held).etag
        except (NotFound, Conflict):
            made = self.primary.head(key)
            if made is None or made.size_bytes != report.size_bytes:
                raise
            return made.etag

    def _read_back(self, job: ServiceJob, until: datetime) -> ServiceBackupProgress:
        """Read the next parts back; compare the instance's hash of the whole with the one computed."""
        progress, report = job.progress, self._report(job)
        found = PinnedObject(self.primary, key_of(job), progress.etag or "")
        parts = [(part.size_bytes, part.sha256) for part in report.parts]
        verified = read_back(found, parts, progress.parts_read, lambda: self.now() >= until - MARGIN)
        check_whole(report.sha256, verified, "the instance", f"{self.primary.name}:{found.key}")
        return replace(progress, parts_read=verified.parts, sha256=verified.sha256)

    def _removing(self, job: ServiceJob) -> Callable[[str], None]:
        def remove_one(what: str) -> None:
            word, _, id = what.partition(" ")
            match word:
                case "command":
                    self.ssm.cancel(id)
                case "mailbox":
                    self._mailbox(job).remove()
                case "upload":
                    self.primary.abort_upload(key_of(job), id)
                case _:
                    self.primary.delete(id)

        return remove_one


def _made(job: ServiceJob) -> tuple[str, ...]:
    """Return what the job has begun or made, each as one word and its id.

    After the report, the upload may have been closed without the job's knowledge.
    """
    progress = job.progress
    made = [f"command {progress.run.command}"] if progress.run.command else []
    made += [f"upload {progress.upload}"] if progress.upload else []
    if progress.report is not None:
        made += [f"object {manifest_key(folder_of(job))}", f"object {key_of(job)}"]
    return tuple(made)


def _unlike(held: Sequence[int], reported: Sequence[int]) -> str | None:
    """Return where the sizes of the parts that S3 holds first differ from those reported."""
    for number, (there, said) in enumerate(zip_longest(held, reported, fillvalue=0), start=1):
        if there != said:
            return f"S3 holds {there:,} bytes of part {number}, the instance says that it sent {said:,}"
    return None


def _not_as_read(job: ServiceJob, seen: ServiceObservation) -> str | None:
    """Return what is wrong with the object in the vault; None: it is the one that was read back."""
    stored, where = seen.stored, f"primary:{key_of(job)}"
    if stored is None:
        return f"{where} has disappeared since it was read back; find out who or what deletes in this bucket"
    if (stored.etag, stored.size_bytes) != (job.progress.etag, reported(job).size_bytes):
        return f"{where} was replaced after it was read back; find out who or what writes to this bucket"
    if not seen.manifest_bytes:
        return f"{where} has lost its manifest; find out who or what deletes in this bucket"
    return None
