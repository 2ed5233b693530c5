"""What runs on the users' instances: shell scripts, sent through SSM, and how to read what they answer.

The scripts are data beside this module. `runner.sh` holds what both need (one run per job, how a user's
script is started); `backup.sh` and `restore.sh` do the work. `contract` declares what an instance must have
for that, and what scripts are given. An instance holds no credentials of ours: it gets presigned URLs that
open one object.

Invariant: whatever a user writes into a name or a script reaches the shell as data, quoted here and nowhere
else.
"""

import base64
import hashlib
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib.resources import files
from typing import Final, Literal

from chalicelib.errors import ScriptFailed
from chalicelib.on_instance.contract import BOTH_RESTORES, Script, exports, tools
from chalicelib.plans.values import is_path

# What the runner puts in the place of a letter that it has taken.
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
    RAN_BEFORE: "this job has run on the instance before, and runs there only once",
}
# What to do about it, where the runner, which knows more, does not say so itself.
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
# What SSM's agent adds at the end (aws/amazon-ssm-agent, agent/plugins/runscript/runscript.go).
_SSM_LINE = re.compile(r"failed to run commands: exit status \d+")
LAST_WORDS: Final = 600
OUR_LINES: Final = 3  # a run says no more than that by itself
# What a job that ended well keeps of what its scripts said.
KEPT_WORDS: Final = 2000
_LINE_ENDS = re.compile(r"[ \t]*\r+\n|\r+\Z")
_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class Persistence:
    """How a run goes on over a bad network: `pause_seconds` before the second try, then twice as long each
    time, up to a minute; until nothing has come of it for `patience_seconds`."""

    patience_seconds: int = 1800
    pause_seconds: int = 1
    stall_seconds: int = 60  # a connection that moves less than 1 KiB/s for so long is given up
    letter_seconds: int = 600  # a letter this old is put away for the next one, if there is one
    tick_seconds: int = 5  # how often that is looked at while nothing is sent
    range_bytes: int = 1024**3  # what a download asks for at once


@dataclass(frozen=True, slots=True)
class BackupRun:
    """One run of a user's backup script, which uploads what its letters (`backup_letter`) let it."""

    job: str
    service: str
    script: str  # a path on the instance, or the text of a script
    address: tuple[str, str]  # URLs that get the first letter, and put `TAKEN` in its place
    timeout: timedelta  # when SSM ends the run
    output: Literal["pipe", "file"] = "pipe"
    persistence: Persistence = Persistence()

    def __post_init__(self) -> None:
        """Refuse what could not run; these are faults of ours, not of a user."""
        _check_job(self.job)


@dataclass(frozen=True, slots=True)
class PartsToSend:
    """Where parts are sent from number `first` on, each with its size in bytes (whole MiB), its date and its
    signature: part n to `{url_base}&partNumber={n}&X-Amz-Date={date}&X-Amz-Signature={signature}`. No upload
    has more than `last`."""

    url_base: str
    first: int
    last: int
    parts: Sequence[tuple[int, tuple[str, str]]]

    def __post_init__(self) -> None:
        """Refuse what could not be sent; these are faults of ours, not of a user."""
        if any(size % 1048576 for size, _ in self.parts):
            raise ValueError("parts are cut at whole MiB")


@dataclass(frozen=True, slots=True)
class RestoreRun:
    """One run of a user's restore script, then of the verify script if there is one, on what its letters
    (`restore_letter`) open.

    What came is compared with `sha256`, or, where that is None, with the hash of each part, as a list says
    whose own hash is `parts_sha256`.
    """

    job: str
    service: str
    address: tuple[str, str]  # URLs that get the first letter, and put `TAKEN` in its place
    size_bytes: int
    sha256: str | None
    restore: str  # a path on the instance, or the text of a script
    timeout: timedelta  # when SSM ends the run
    verify: str | None = None
    parts_sha256: str | None = None
    persistence: Persistence = Persistence()

    def __post_init__(self) -> None:
        """Refuse what could not run; these are faults of ours, not of a user."""
        _check_job(self.job)
        if self.sha256 is None and self.parts_sha256 is None:
            raise ValueError("neither a hash of the whole nor one of its parts")


@dataclass(frozen=True, slots=True)
class ReportedPart:
    """One part as the runner uploaded it."""

    number: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What the runner read from the script and uploaded: nothing less, and the script ended well."""

    size_bytes: int
    sha256: str
    parts: tuple[ReportedPart, ...]


def as_a_shell_reads(script: str) -> str:
    """Return a script whose lines end in LF alone, without blanks or a byte order mark around it: a rule that
    was stored by an earlier version may hold another one."""
    return _LINE_ENDS.sub("\n", script.removeprefix("\ufeff")).strip()


def backup_command(run: BackupRun) -> str:
    """Write the shell text that makes one backup; its standard output is what `digest_of_report` reads."""
    assignments = {
        **_script_of("SCRIPT", run.script),
        "JOB": run.job,
        "SERVICE": run.service,
        "OUTPUT_MODE": run.output,
        **_first_letter(run.address),
        **_persistence(run.persistence, run.timeout),
    }
    return _command(assignments, "backup.sh", (Script.BACKUP,))


def restore_command(run: RestoreRun) -> str:
    """Write the shell text that fetches, checks and restores one backup; exit code 0: restored, verified."""
    assignments = {
        **_script_of("RESTORE", run.restore),
        **_script_of("VERIFY", run.verify or ""),
        "JOB": run.job,
        "SERVICE": run.service,
        **_first_letter(run.address),
        "SIZE_BYTES": str(run.size_bytes),
        "SHA256": run.sha256 or "",
        "PARTS_SHA256": run.parts_sha256 or "",
        "RANGE_BYTES": str(run.persistence.range_bytes),
        **_persistence(run.persistence, run.timeout),
    }
    return _command(assignments, "restore.sh", BOTH_RESTORES)


def backup_letter(address: tuple[str, str], report_url: str, parts: PartsToSend) -> str:
    """Write what a backup may do for now: send parts, and its report; and the address of the next letter."""
    head = _letter(
        address, report=report_url, base=parts.url_base, first=str(parts.first), last=str(parts.last)
    )
    lines = "".join(f"{size // 1048576} {date} {signature}\n" for size, (date, signature) in parts.parts)
    return f"{head.removesuffix(_END)}parts\n{lines}{_END}"


def restore_letter(address: tuple[str, str], url: str, parts_url: str | None) -> str:
    """Write what a restore may do for now: get the backup from `url`, and the list of its parts, where it is
    to be checked by them; and the address of the next letter."""
    return _letter(address, get=url, list=parts_url)


def parts_list(parts: Sequence[tuple[int, str]]) -> str:
    """Write the list of parts (size in bytes, SHA-256) that a restore is checked by."""
    return "".join(f"{size} {sha256}\n" for size, sha256 in parts)


def is_restored(stdout: str, size_bytes: int, *, verified: bool) -> bool:
    """Return whether a restore run says that it has restored these many bytes and, where it had a verify
    script, `verified` them; an exit code of 0 alone says nothing of it."""
    said = "yes" if verified else "no"
    return stdout == f"farshore-restored 1\nbytes {size_bytes}\nverified {said}\nend\n"


def digest_of_report(stdout: str) -> str:
    """Return the SHA-256 of the report that lies in the mailbox, as the runner says it.

    Raises:
        ScriptFailed: it does not say it (cut off, or another program wrote into it).
    """
    said = re.fullmatch(r"farshore-reported 1\nsha256 ([0-9a-f]{64})\nend\n?", stdout)
    if not said:
        raise _not_a_report(stdout)
    return said[1]


def parse_report(text: bytes, digest: str) -> BackupReport:
    """Read a backup run's report, whose SHA-256 the runner said.

    Raises:
        ScriptFailed: it is not that report, or not a whole one.
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
    """Return why a run failed: what its exit code means, what the runner adds, the remedy, the last words."""
    why = _WHY_BY_EXIT_CODE.get(exit_code, f"it ended with exit code {exit_code}")
    ours = [line for line in stderr.splitlines() if line.startswith(_OUR_LINE)]
    facts = [line.removeprefix(_OUR_LINE)[-LAST_WORDS:] for line in ours if not line.startswith(_NOTE)]
    remedy = _REMEDY_BY_EXIT_CODE.get(exit_code)
    return ": ".join((why, *facts[-OUR_LINES:])) + (f"; {remedy}" if remedy else "") + last_words(stderr)


def last_words(said: str) -> str:
    """Quote the end of what a user's script said, and what the runner noted, as the end of a sentence."""
    words = words_of(said, LAST_WORDS)
    return f"; its last words: {words}" if words else ""


def words_of(said: str, limit: int = KEPT_WORDS) -> str:
    """Return what the runner noted, and the end of what a user's scripts said: `limit` characters at most.
    All else that is not their own is left out."""
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
    """Let the runner give up a little before SSM ends it, so that it can say what was wrong."""
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


def _command(assignments: dict[str, str], script: str, given: Sequence[Script]) -> str:
    """Put the assignments before the scripts; a name that the agent exports would else be exported anew."""
    here = files(__package__)
    assignments["TOOLS"] = " ".join(tools(restore=Script.BACKUP not in given))
    return "\n".join(
        [
            f"unset {' '.join(assignments)}",
            *(f"{name}={_quoted(value)}" for name, value in assignments.items()),
            exports(given),
            *(_compact(here.joinpath(name).read_text("utf-8")) for name in ("runner.sh", script)),
        ]
    )


def _quoted(value: str) -> str:
    """Quote a value for the shell. SSM puts parameters, secret ones too, in the place of `{{ NAME }}` and
    `{{ssm:NAME}}` wherever a command has them, so no two braces stay together.

    https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-param-runcommand.html
    """
    return re.sub(r"\{(?=\{)", "{''", shlex.quote(value))


def _compact(script: str) -> str:
    """Leave out comments and indentation, which mean nothing to a shell: SSM takes 64 KB."""
    lines = (line.lstrip() for line in script.splitlines(keepends=True))
    return "".join(line for line in lines if line and not line.startswith("#"))


def _check_job(job: str) -> None:
    if not _JOB_ID.fullmatch(job):
        raise ValueError(f"a job id that cannot name a folder: {job!r}")
