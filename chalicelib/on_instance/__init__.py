"""What runs on the users' instances: shell scripts, sent through SSM, and how to read what they answer.

The scripts are data beside this module. `runner.sh` holds what both need (one run per job, how a user's
script is started); `backup.sh` and `restore.sh` do the work. An instance needs a POSIX shell, curl and the
coreutils, and holds no credentials of ours: it gets presigned URLs that open one object.

Invariant: whatever a user writes into a name or a script reaches the shell as data, quoted here and nowhere
else.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib.resources import files
from typing import Final, Literal

from chalicelib.errors import ScriptFailed

# Parts a run may have: the report (one hash per part) must fit in the 24,000 characters of standard output
# that SSM returns, and the signatures in its 64 KB document.
# https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetCommandInvocation.html
MAX_PARTS: Final = 300

SCRIPT_EXITED: Final = 10
EMPTY_OUTPUT: Final = 11
TRANSFER_FAILED: Final = 12
OUTPUT_TOO_LARGE: Final = 13
TOOL_MISSING: Final = 14
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
    WRONG_BYTES: "the instance did not get the bytes that were backed up; nothing was restored",
    RESTORE_FAILED: "the restore script failed",
    VERIFY_FAILED: "the verify script failed",
    RAN_BEFORE: "this job has run on the instance before, and runs there only once",
}
_OUR_LINE: Final = "farshore: "
# What SSM's agent adds at the end (aws/amazon-ssm-agent, agent/plugins/runscript/runscript.go).
_SSM_LINE = re.compile(r"failed to run commands: exit status \d+")
LAST_WORDS: Final = 600
# What a job that ended well keeps of what its scripts said.
KEPT_WORDS: Final = 2000
# What opens something in a presigned URL, should a script print one.
_OPENS = re.compile(r"(X-Amz-(?:Credential|Security-Token|Signature)=)[^&\s\"']+")
_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class Persistence:
    """How a run goes on over a bad network: `pause_seconds` before the second try, then twice as long each
    time, up to a minute; until nothing has come of it for `patience_seconds`."""

    patience_seconds: int = 1800
    pause_seconds: int = 1
    stall_seconds: int = 60  # a connection that moves less than 1 KiB/s for so long is given up


@dataclass(frozen=True, slots=True)
class BackupRun:
    """One run of a user's backup script.

    Part n is sent to `{url_base}&partNumber={n}&X-Amz-Signature={signatures[n - 1]}`.
    """

    job: str
    service: str
    script: str  # a path on the instance, or the text of a script
    url_base: str
    signatures: Sequence[str]
    part_sizes: Sequence[int]  # whole MiB; one for each signature
    timeout: timedelta  # when SSM ends the run
    output: Literal["pipe", "file"] = "pipe"
    persistence: Persistence = Persistence()

    def __post_init__(self) -> None:
        """Refuse what could not run; these are faults of ours, not of a user."""
        _check_job(self.job)
        if not 0 < len(self.signatures) == len(self.part_sizes) <= MAX_PARTS:
            raise ValueError(f"{len(self.signatures)} signatures for {len(self.part_sizes)} parts")
        if any(size % 1048576 for size in self.part_sizes):
            raise ValueError("parts are cut at whole MiB")


@dataclass(frozen=True, slots=True)
class RestoreRun:
    """One run of a user's restore script, then of the verify script if there is one, on what `url` gives.

    What came is compared with `sha256`, or, where that is None, with the size and hash of each part.
    """

    job: str
    service: str
    url: str
    size_bytes: int
    sha256: str | None
    restore: str  # a path on the instance, or the text of a script
    timeout: timedelta  # when SSM ends the run
    verify: str | None = None
    parts: Sequence[tuple[int, str]] = ()
    persistence: Persistence = Persistence()

    def __post_init__(self) -> None:
        """Refuse what could not run; these are faults of ours, not of a user."""
        _check_job(self.job)
        if self.sha256 is None and sum(size for size, _ in self.parts) != self.size_bytes:
            raise ValueError("neither a hash of the whole nor those of all its parts")


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


def is_path(script: str) -> bool:
    """Tell a path on the instance from the text of a script: one word that starts with `/` or `./`."""
    return script.startswith(("/", "./")) and not any(character.isspace() for character in script)


def backup_command(run: BackupRun) -> str:
    """Write the shell text that makes one backup; its standard output is what `parse_report` reads."""
    assignments = {
        **_script_of("SCRIPT", run.script),
        "JOB": run.job,
        "SERVICE": run.service,
        "OUTPUT_MODE": run.output,
        "URL_BASE": run.url_base,
        "SIGNATURES": " ".join(run.signatures),
        "PART_MIB": " ".join(str(size // 1048576) for size in run.part_sizes),
        **_persistence(run.persistence, run.timeout),
    }
    return _command(assignments, "backup.sh")


def restore_command(run: RestoreRun) -> str:
    """Write the shell text that fetches, checks and restores one backup; exit code 0: restored, verified."""
    assignments = {
        **_script_of("RESTORE", run.restore),
        **_script_of("VERIFY", run.verify or ""),
        "JOB": run.job,
        "SERVICE": run.service,
        "URL": run.url,
        "SIZE_BYTES": str(run.size_bytes),
        "SHA256": run.sha256 or "",
        "PARTS": "" if run.sha256 else "\n".join(f"{size} {sha256}" for size, sha256 in run.parts),
        **_persistence(run.persistence, run.timeout),
    }
    return _command(assignments, "restore.sh")


def parse_report(stdout: str) -> BackupReport:
    """Read a backup run's report.

    Raises:
        ScriptFailed: it is not a whole report (cut off, or another program wrote into it).
    """
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
    """Say why a run failed: what its exit code means, what the runner adds, the script's last words."""
    why = _WHY_BY_EXIT_CODE.get(exit_code, f"it ended with exit code {exit_code}")
    ours = (line.removeprefix(_OUR_LINE) for line in stderr.splitlines() if line.startswith(_OUR_LINE))
    return ": ".join((why, *ours)) + last_words(stderr)


def last_words(said: str) -> str:
    """Quote the end of what a user's script said, as the end of a sentence; what is not its own is left
    out."""
    words = words_of(said, LAST_WORDS)
    return f"; its last words: {words}" if words else ""


def words_of(said: str, limit: int = KEPT_WORDS) -> str:
    """Return the last `limit` characters of what a user's scripts said; what is not their own is left out,
    and what would open something."""
    lines = (line for line in said.splitlines() if not line.startswith(_OUR_LINE))
    words = "\n".join(line for line in lines if not _SSM_LINE.fullmatch(line)).strip()
    return _OPENS.sub(r"\1...", words)[-limit:]


def _parse_part(line: str) -> ReportedPart:
    part = re.fullmatch(r"(\d+) (\d+) ([0-9a-f]{64})", line)
    if not part:
        raise _not_a_report(line)
    return ReportedPart(int(part[1]), int(part[2]), part[3])


def _not_a_report(text: str) -> ScriptFailed:
    return ScriptFailed(f"not a whole report: ...{text[-200:]!r}", operation="reading the runner's report")


def _script_of(variable: str, script: str) -> dict[str, str]:
    path = is_path(script)
    return {f"{variable}_PATH": script if path else "", f"{variable}_TEXT": "" if path else script}


def _persistence(persistence: Persistence, timeout: timedelta) -> dict[str, str]:
    """Let the runner give up a little before SSM ends it, so that it can say what was wrong."""
    seconds = int(timeout.total_seconds())
    return {
        "TRY_FOR_SECONDS": str(seconds - min(60, seconds // 10)),
        "PATIENCE_SECONDS": str(persistence.patience_seconds),
        "PAUSE_SECONDS": str(persistence.pause_seconds),
        "STALL_SECONDS": str(persistence.stall_seconds),
    }


def _command(assignments: dict[str, str], script: str) -> str:
    """Put the assignments before the scripts; a name that the agent exports would else be exported anew."""
    here = files(__package__)
    return "\n".join(
        [
            f"unset {' '.join(assignments)}",
            *(f"{name}={shlex.quote(value)}" for name, value in assignments.items()),
            *(_without_comments(here.joinpath(name).read_text("utf-8")) for name in ("runner.sh", script)),
        ]
    )


def _without_comments(script: str) -> str:
    return "".join(line for line in script.splitlines(keepends=True) if not line.lstrip().startswith("#"))


def _check_job(job: str) -> None:
    if not _JOB_ID.fullmatch(job):
        raise ValueError(f"a job id that cannot name a folder: {job!r}")
