"""The shell scripts that run on users' instances, sent through SSM, and the parsers of their output.

The scripts are data beside this module. `runner.sh` holds what all need (one run per job, how a user's script
is started); `backup.sh`, `restore.sh` and `scripts.sh` do the work, the last two behind `restoring.sh`, which
runs a restore and a verify script. `contract` declares what an instance must have for that, and what scripts
are given. An instance holds no credentials of ours: it gets presigned URLs that open one object.

Invariant: names and scripts of users reach the shell as data, and are quoted here only.
"""

import base64
import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.resources import files
from typing import Final, Literal

from chalicelib.errors import ScriptFailed
from chalicelib.on_instance.contract import BOTH_RESTORES, Runner, Script, exports, tools
from chalicelib.plans.values import is_path

# The runner replaces a letter that it has taken with this.
TAKEN: Final = b"taken\n"
TAKEN_MD5: Final = base64.b64encode(hashlib.md5(TAKEN, usedforsecurity=False).digest()).decode()

SCRIPT_EXITED: Final = 10
EMPTY_OUTPUT: Final = 11
TRANSFER_FAILED: Final = 12
OUTPUT_TOO_LARGE: Final = 13
TOOL_MISSING: Final = 14
NOT_STARTED: Final = 15
NO_ROOM: Final = 16
WRONG_BYTES: Final = 20
RESTORE_FAILED: Final = 21
VERIFY_FAILED: Final = 22
LAUNCH_FAILED: Final = 23
RAN_BEFORE: Final = 75

_WHY_BY_EXIT_CODE: Final = {
    SCRIPT_EXITED: "the backup script failed",
    EMPTY_OUTPUT: "the backup script wrote nothing to its output",
    TRANSFER_FAILED: "the transfer between the instance and the vault failed",
    OUTPUT_TOO_LARGE: "the backup is larger than its upload has room for",
    TOOL_MISSING: "the instance lacks a tool",
    NOT_STARTED: "the script could not be started",
    NO_ROOM: "the instance has no room for the files of the run",
    WRONG_BYTES: "the instance did not get the bytes that were backed up; nothing was restored",
    RESTORE_FAILED: "the restore script failed",
    VERIFY_FAILED: "the restore script succeeded, but the verify script failed",
    LAUNCH_FAILED: "the launch script failed",
    RAN_BEFORE: "this job has run on the instance before, and runs there only once",
}
# The remedies that the runner, which knows more, does not add itself.
_REMEDY_BY_EXIT_CODE: Final = {
    EMPTY_OUTPUT: "it has to write to the path in $2",
    TRANSFER_FAILED: "the instance has to reach the vault's bucket over HTTPS: look at its route, proxy, DNS"
    " and endpoint policy",
    OUTPUT_TOO_LARGE: "S3 takes 10,000 parts: back up less with one script",
    TOOL_MISSING: "install it there",
    NO_ROOM: "free some, or give the SSM agent a TMPDIR on a larger disk: a backup needs room for one part,"
    " one with `output: file` and a restore for the whole file",
}
_END: Final = "end\n"
_OUR_LINE: Final = "farshore: "
_NOTE: Final = "farshore: note: "
# What the SSM agent adds at the end (aws/amazon-ssm-agent, agent/plugins/runscript/runscript.go).
_SSM_LINE = re.compile(r"failed to run commands: exit status \d+")
LAST_WORDS: Final = 600
OUR_LINES: Final = 3  # a run itself writes at most this many lines
# How many characters of its scripts' output a successful job keeps.
KEPT_WORDS: Final = 2000
_LINE_ENDS = re.compile(r"[ \t]*\r+\n|\r+\Z")
_VOLUME = re.compile(r"[A-Za-z0-9/._-]+=vol-[0-9a-f]+")
_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class Persistence:
    """How a run retries over a bad network: it waits `pause_seconds` before the second try, then twice as
    long each time, up to a minute, and gives up after `patience_seconds` without progress."""

    patience_seconds: int = 1800
    pause_seconds: int = 1
    stall_seconds: int = 60  # a connection slower than 1 KiB/s for this long is closed
    letter_seconds: int = 600  # a letter this old is replaced with the next one, if there is one
    tick_seconds: int = 5  # how often that is checked while nothing is sent
    range_bytes: int = 1024**3  # the size of the ranges of a download


@dataclass(frozen=True, slots=True)
class BackupRun:
    """One run of a user's backup script; its letters (`backup_letter`) allow the uploads."""

    job: str
    service: str
    script: str  # a path on the instance, or the text of a script
    address: tuple[str, str]  # URLs that get the first letter, and replace it with `TAKEN`
    timeout: timedelta  # when SSM ends the run
    output: Literal["pipe", "file"] = "pipe"
    persistence: Persistence = Persistence()

    def __post_init__(self) -> None:
        """Raise for what could not run; such faults are ours, not a user's."""
        _check_job(self.job)


@dataclass(frozen=True, slots=True)
class PartsToSend:
    """Where the parts from number `first` on are sent, each with its size in bytes (whole MiB), date and
    signature.

    Part n goes to `{url_base}&partNumber={n}&X-Amz-Date={date}&X-Amz-Signature={signature}`. An upload has at
    most `last` parts.
    """

    url_base: str
    first: int
    last: int
    parts: Sequence[tuple[int, tuple[str, str]]]

    def __post_init__(self) -> None:
        """Raise for what could not be sent; such faults are ours, not a user's."""
        if any(size % 1048576 for size, _ in self.parts):
            raise ValueError("the size of a part is in whole MiB")


@dataclass(frozen=True, slots=True)
class RestoreRun:
    """One run of a user's restore script, then of the verify script if there is one.

    Its letters (`restore_letter`) have the URL of the backup. The download is compared with `sha256`, or, if
    that is None, with the hashes of its parts, in a list whose own hash is `parts_sha256`.
    """

    job: str
    service: str
    address: tuple[str, str]  # URLs that get the first letter, and replace it with `TAKEN`
    size_bytes: int
    sha256: str | None
    restore: str  # a path on the instance, or the text of a script
    timeout: timedelta  # when SSM ends the run
    verify: str | None = None
    parts_sha256: str | None = None
    persistence: Persistence = Persistence()

    def __post_init__(self) -> None:
        """Raise for what could not run; such faults are ours, not a user's."""
        _check_job(self.job)
        if self.sha256 is None and self.parts_sha256 is None:
            raise ValueError("neither a hash of the whole nor one of its parts")


@dataclass(frozen=True, slots=True)
class ScriptsRun:
    """One run of a user's script, then of the verify script if there is one, to which nothing is transferred:
    one that mounts `volumes` (their ids by device), or, `at_launch`, whatever a launch asks for."""

    job: str
    service: str
    script: str  # a path on the instance, or the text of a script
    timeout: timedelta  # when SSM ends the run
    verify: str | None = None
    volumes: Mapping[str, str] = field(default_factory=dict)
    at_launch: bool = False

    def __post_init__(self) -> None:
        """Refuse what could not run; these are faults of ours, not of a user."""
        _check_job(self.job)
        if not all(_VOLUME.fullmatch(word) for word in self.words):
            raise ValueError(f"volumes that scripts cannot be told as words: {self.words}")

    @property
    def words(self) -> tuple[str, ...]:
        """The volumes as scripts are told them: `DEVICE=VOLUME_ID`."""
        return tuple(f"{device}={volume}" for device, volume in sorted(self.volumes.items()))


@dataclass(frozen=True, slots=True)
class ReportedPart:
    """One part, as the runner uploaded it."""

    number: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What the runner read from the script and uploaded in full; the script succeeded."""

    size_bytes: int
    sha256: str
    parts: tuple[ReportedPart, ...]


def as_a_shell_reads(script: str) -> str:
    """Return a script whose lines end in LF only, without blanks or a byte order mark around it.

    A rule that an earlier version stored may have them.
    """
    return _LINE_ENDS.sub("\n", script.removeprefix("\ufeff")).strip()


def backup_command(run: BackupRun) -> str:
    """Return the shell text that makes one backup; `digest_of_report` reads its standard output."""
    assignments = {
        **_script_of("SCRIPT", run.script),
        "JOB": run.job,
        "SERVICE": run.service,
        "OUTPUT_MODE": run.output,
        **_first_letter(run.address),
        **_persistence(run.persistence, run.timeout),
    }
    return _command(assignments, Runner.BACKUP, (Script.BACKUP,))


def restore_command(run: RestoreRun) -> str:
    """Return the shell text that fetches, checks, restores and verifies one backup."""
    assignments = {
        **_script_of("RESTORE", run.restore),
        **_script_of("VERIFY", run.verify or ""),
        "FAILS_AS": str(RESTORE_FAILED),
        "JOB": run.job,
        "SERVICE": run.service,
        **_first_letter(run.address),
        "SIZE_BYTES": str(run.size_bytes),
        "SHA256": run.sha256 or "",
        "PARTS_SHA256": run.parts_sha256 or "",
        "RANGE_BYTES": str(run.persistence.range_bytes),
        **_persistence(run.persistence, run.timeout),
    }
    return _command(assignments, Runner.RESTORE, BOTH_RESTORES)


def scripts_command(run: ScriptsRun) -> str:
    """Write the shell text that runs a user's scripts; its standard output is what `are_run` reads."""
    assignments = {
        **_script_of("RESTORE", run.script),
        **_script_of("VERIFY", run.verify or ""),
        "NAME": "launch" if run.at_launch else "restore",
        "FAILS_AS": str(LAUNCH_FAILED if run.at_launch else RESTORE_FAILED),
        "JOB": run.job,
        "SERVICE": run.service,
        "VOLUMES": " ".join(run.words),
        **_persistence(Persistence(), run.timeout),
    }
    return _command(assignments, Runner.SCRIPTS, (Script.VOLUMES,))


def backup_letter(address: tuple[str, str], report_url: str, parts: PartsToSend) -> str:
    """Return a letter of a backup: where to send parts and the report, and the next letter's address."""
    head = _letter(
        address, report=report_url, base=parts.url_base, first=str(parts.first), last=str(parts.last)
    )
    lines = "".join(f"{size // 1048576} {date} {signature}\n" for size, (date, signature) in parts.parts)
    return f"{head.removesuffix(_END)}parts\n{lines}{_END}"


def restore_letter(address: tuple[str, str], url: str, parts_url: str | None) -> str:
    """Return a letter of a restore: the URLs of the backup and of the list of its parts, and the next
    letter's address. Without `parts_url`, the backup is checked as a whole."""
    return _letter(address, get=url, list=parts_url)


def parts_list(parts: Sequence[tuple[int, str]]) -> str:
    """Return the list of parts (size in bytes, SHA-256) against which a restore is checked."""
    return "".join(f"{size} {sha256}\n" for size, sha256 in parts)


def is_restored(stdout: str, size_bytes: int, *, verified: bool) -> bool:
    """Return whether a restore run says that it has restored these many bytes and, where it had a verify
    script, `verified` them; an exit code of 0 alone says nothing of it."""
    return stdout == _report(f"bytes {size_bytes}", verified)


def are_run(stdout: str, run: ScriptsRun) -> bool:
    """Return whether a run says that its scripts ended well; an exit code of 0 alone says nothing of it."""
    return stdout == _report(f"volumes {' '.join(run.words) or 'none'}", bool(run.verify))


def _report(line: str, verified: bool) -> str:
    return f"farshore-restored 1\n{line}\nverified {'yes' if verified else 'no'}\nend\n"


def digest_of_report(stdout: str) -> str:
    """Return the SHA-256 of the report in the mailbox, as the runner printed it.

    Raises:
        ScriptFailed: the output has none (it was cut off, or another program wrote into it).
    """
    said = re.fullmatch(r"farshore-reported 1\nsha256 ([0-9a-f]{64})\nend\n?", stdout)
    if not said:
        raise _not_a_report(stdout)
    return said[1]


def parse_report(text: bytes, digest: str) -> BackupReport:
    """Return a backup run's report, after checking it against the SHA-256 that the runner printed.

    Raises:
        ScriptFailed: it is another report, or incomplete.
    """
    if hashlib.sha256(text).hexdigest() != digest:
        why = f"the report in the mailbox is not the one that the runner sent, with SHA-256 {digest}"
        raise ScriptFailed(why, operation="reading the runner's report")
    return _parse_report(text.decode("ascii", "replace"))


def _parse_report(stdout: str) -> BackupReport:
    lines = stdout.splitlines()
    head = re.fullmatch(r"farshore-report 1 bytes (\d+) sha256 ([0-9a-f]{64})", " ".join(lines[:3]))
    parts = tuple(_parse_part(line) for line in lines[3:-1])
    if not head or lines[-1] != "end" or [part.number for part in parts] != list(range(1, len(parts) + 1)):
        raise _not_a_report(stdout)
    report = BackupReport(int(head[1]), head[2], parts)
    if not parts or sum(part.size_bytes for part in parts) != report.size_bytes:
        raise _not_a_report(stdout)
    return report


def explain_exit(exit_code: int, stderr: str) -> str:
    """Return why a run failed: the meaning of its exit code, the runner's notes, a remedy, the last words."""
    why = _WHY_BY_EXIT_CODE.get(exit_code, f"it ended with exit code {exit_code}")
    ours = [line for line in stderr.splitlines() if line.startswith(_OUR_LINE)]
    facts = [line.removeprefix(_OUR_LINE)[-LAST_WORDS:] for line in ours if not line.startswith(_NOTE)]
    remedy = _REMEDY_BY_EXIT_CODE.get(exit_code)
    return ": ".join((why, *facts[-OUR_LINES:])) + (f"; {remedy}" if remedy else "") + last_words(stderr)


def last_words(said: str) -> str:
    """Return the end of a script's output, and the runner's notes, as the end of a sentence."""
    words = words_of(said, LAST_WORDS)
    return f"; its last words: {words}" if words else ""


def words_of(said: str, limit: int = KEPT_WORDS) -> str:
    """Return the runner's notes and the end of the scripts' output: `limit` characters at most.

    Lines that are neither are left out.
    """
    lines = said.splitlines()
    notes = [line.removeprefix(_OUR_LINE) for line in lines if line.startswith(_NOTE)]
    own = (line for line in lines if not line.startswith(_OUR_LINE) and not _SSM_LINE.fullmatch(line))
    noted = "\n".join(notes[:OUR_LINES])[:limit]
    words = "\n".join(own).strip()[-(limit - len(noted)) :] if len(noted) < limit else ""
    return f"{noted}\n{words}".strip()[-limit:]


def _parse_part(line: str) -> ReportedPart:
    part = re.fullmatch(r"(\d+) (\d+) ([0-9a-f]{64})", line)
    if not part:
        raise _not_a_report(line)
    return ReportedPart(int(part[1]), int(part[2]), part[3])


def _not_a_report(text: str) -> ScriptFailed:
    return ScriptFailed(f"not a whole report: ...{text[-200:]!r}", operation="reading the runner's report")


def _script_of(variable: str, script: str) -> dict[str, str]:
    text = as_a_shell_reads(script)
    path = is_path(text)
    return {f"{variable}_PATH": text if path else "", f"{variable}_TEXT": "" if path else text}


def _persistence(persistence: Persistence, timeout: timedelta) -> dict[str, str]:
    """Return the runner's limits; it gives up a little before SSM ends it, to be able to say why."""
    seconds = int(timeout.total_seconds())
    return {
        "TRY_FOR_SECONDS": str(max(1, seconds - min(60, max(2, seconds // 10)))),
        "PATIENCE_SECONDS": str(persistence.patience_seconds),
        "PAUSE_SECONDS": str(persistence.pause_seconds),
        "STALL_SECONDS": str(persistence.stall_seconds),
        "TICK_SECONDS": str(persistence.tick_seconds),
        "LETTER_SECONDS": str(persistence.letter_seconds),
    }


def _first_letter(address: tuple[str, str]) -> dict[str, str]:
    return {"NEXT_URL": address[0], "TAKE_URL": address[1], "TAKEN_MD5": TAKEN_MD5}


def _letter(address: tuple[str, str], **lines: str | None) -> str:
    named = {"next": address[0], "take": address[1], **lines}
    text = "".join(f"{name} {value}\n" for name, value in named.items() if value is not None)
    return f"farshore-letter 1\n{text}{_END}"


def _command(assignments: dict[str, str], runner: Runner, given: Sequence[Script]) -> str:
    """Return the assignments, then the scripts. Names are unset first, in case the agent exports them."""
    here = files(__package__)
    assignments["TOOLS"] = " ".join(tools(runner))
    shared = ("runner.sh",) if runner is Runner.BACKUP else ("runner.sh", "restoring.sh")
    return "\n".join(
        [
            f"unset {' '.join(assignments)}",
            *(f"{name}={_quoted(value)}" for name, value in assignments.items()),
            exports(given),
            *(_compact(here.joinpath(name).read_text("utf-8")) for name in (*shared, f"{runner}.sh")),
        ]
    )


def _quoted(value: str) -> str:
    """Return a value quoted for the shell, and without two braces in a row.

    SSM substitutes parameters, also secret ones, for `{{ NAME }}` and `{{ssm:NAME}}` anywhere in a command.

    https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-param-runcommand.html
    """
    return re.sub(r"\{(?=\{)", "{''", shlex.quote(value))


def _compact(script: str) -> str:
    """Return a script without comments and indentation: SSM accepts 64 KB."""
    lines = (line.lstrip() for line in script.splitlines(keepends=True))
    return "".join(line for line in lines if line and not line.startswith("#"))


def _check_job(job: str) -> None:
    if not _JOB_ID.fullmatch(job):
        raise ValueError(f"a job id that cannot name a folder: {job!r}")
