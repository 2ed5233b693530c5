"""Declares, once, what users' scripts are given and what the runner needs on an instance.

The runner exports these variables and checks for these tools; the tables of `docs/scripts.md` are made from
them (`document()`), and a test compares the page.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Script(StrEnum):
    """A user's script, by its key in a rule."""

    BACKUP = "script"
    RESTORE = "restore"
    VERIFY = "verify"


BOTH_RESTORES = (Script.RESTORE, Script.VERIFY)
ALL = tuple(Script)


@dataclass(frozen=True, slots=True)
class Given:
    """Something that scripts are given under a name; `value` is the runner's expression for it."""

    name: str
    scripts: Sequence[Script]
    meaning: str
    value: str = ""


ARGUMENTS = (
    Given("$1", ALL, "the service's name"),
    Given(
        "$2", (Script.BACKUP,), "the path to write the backup to: a named pipe, or with `output: file` a file"
    ),
    Given("$2", BOTH_RESTORES, "the path of the file that was backed up, whole and checked"),
    Given("standard input", (Script.BACKUP,), "empty"),
    Given("standard input", BOTH_RESTORES, "the file that was backed up, whole and checked"),
)
VARIABLES = (
    Given("FARSHORE_SERVICE", ALL, "the service's name, as `$1`", "$SERVICE"),
    Given("FARSHORE_JOB", ALL, "the id of the job, as in `GET /jobs/{id}`", "$JOB"),
    Given("FARSHORE_OUTPUT", (Script.BACKUP,), "the path to write the backup to, as `$2`", "$OUTPUT"),
    Given(
        "FARSHORE_INPUT", BOTH_RESTORES, "the path of the file that was backed up, as `$2`", "$WORK/backup"
    ),
)


@dataclass(frozen=True, slots=True)
class Tool:
    """A program that the runner calls."""

    name: str
    purpose: str
    backup: bool = True
    restore: bool = True


TOOLS = (
    Tool("sh", "the runner itself: any POSIX shell (dash, bash, busybox)"),
    Tool("curl", "sends parts, fetches backups and letters; 7.29 or newer"),
    Tool("sha256sum", "hashes every part and the whole"),
    Tool("cat", "passes on what scripts printed; lets the guard wait for the end of the run"),
    Tool("dd", "cuts the output into parts, reads a backup part by part"),
    Tool("find", "checks that the folder of the runs belongs to the user"),
    Tool("id", "the same"),
    Tool("mkdir", "makes the folder of the run, once"),
    Tool("mkfifo", "makes the pipe that a script writes to"),
    Tool("mktemp", "makes a folder that scripts do not know"),
    Tool("mv", "keeps the last words of a script", restore=False),
    Tool("rm", "removes what the run wrote"),
    Tool("sleep", "waits between two tries"),
    Tool("tail", "keeps the last words of a script"),
    Tool("tee", "reads a part once, to send and to hash it", restore=False),
    Tool("tr", "reads answers of S3"),
    Tool("wc", "measures files"),
)


def exports(scripts: Iterable[Script]) -> str:
    """Return a shell function `give` that exports what these scripts are given."""
    wanted = set(scripts)
    given = " ".join(f'{each.name}="{each.value}"' for each in VARIABLES if wanted & set(each.scripts))
    return f"give() {{\n    export {given}\n}}\n"


def tools(*, restore: bool) -> tuple[str, ...]:
    """Return the tools that a backup, or a restore, needs."""
    return tuple(each.name for each in TOOLS if (each.restore if restore else each.backup))


def document() -> str:
    """Return the tables of `docs/scripts.md`."""
    given = [(f"`{each.name}`", *_marks(each.scripts), each.meaning) for each in (*ARGUMENTS, *VARIABLES)]
    needed = [
        (f"`{each.name}`", "yes" if each.backup else "", "yes" if each.restore else "", each.purpose)
        for each in TOOLS
    ]
    return "\n".join(
        [
            _table(("given", *(f"`{each}`" for each in ALL), "what it is"), given),
            _table(("tool", "backup", "restore", "what for"), needed),
        ]
    )


def _marks(scripts: Sequence[Script]) -> tuple[str, ...]:
    return tuple("yes" if each in scripts else "" for each in ALL)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("|" + "".join(f" {cell} |" if cell else " |" for cell in line) + "\n" for line in lines)
