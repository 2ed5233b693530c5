"""Declares, once, what users' scripts are given and what the runner needs on an instance.

The runner exports these variables and checks for these tools; the tables of `docs/scripts.md` are made from
them (`document()`), and a test compares the page.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Script(StrEnum):
    """A script of a user's, by the key that it has in a rule of kind `service`; `VOLUMES` stands for both
    scripts of a rule of kind `snapshot`."""

    BACKUP = "script"
    RESTORE = "restore"
    VERIFY = "verify"
    VOLUMES = "volumes"


class Runner(StrEnum):
    """What runs scripts on an instance: the shell scripts of these names."""

    BACKUP = "backup"
    RESTORE = "restore"
    SCRIPTS = "scripts"


BOTH_RESTORES = (Script.RESTORE, Script.VERIFY)
ALL = tuple(Script)
_HEADS = {
    Script.BACKUP: "`script`",
    Script.RESTORE: "`restore`",
    Script.VERIFY: "`verify`",
    Script.VOLUMES: "of kind `snapshot`",
}


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
    Given("standard input", (Script.BACKUP, Script.VOLUMES), "empty"),
    Given("standard input", BOTH_RESTORES, "the file that was backed up, whole and checked"),
)
VARIABLES = (
    Given("FARSHORE_SERVICE", ALL, "the service's name, as `$1`", "$SERVICE"),
    Given("FARSHORE_JOB", ALL, "the id of the job, as in `GET /jobs/{id}`", "$JOB"),
    Given("FARSHORE_OUTPUT", (Script.BACKUP,), "the path to write the backup to, as `$2`", "$OUTPUT"),
    Given(
        "FARSHORE_INPUT", BOTH_RESTORES, "the path of the file that was backed up, as `$2`", "$WORK/backup"
    ),
    Given(
        "FARSHORE_VOLUMES",
        (Script.VOLUMES,),
        "the volumes that were attached, a word for each: `/dev/sdf=vol-0abc`",
        "$VOLUMES",
    ),
)


RUNNERS = tuple(Runner)
TRANSFERS = (Runner.BACKUP, Runner.RESTORE)


@dataclass(frozen=True, slots=True)
class Tool:
    """A program that runners call."""

    name: str
    purpose: str
    runners: Sequence[Runner] = RUNNERS


TOOLS = (
    Tool("sh", "the runner itself: any POSIX shell (dash, bash, busybox)"),
    Tool("curl", "sends parts, fetches backups and letters; 7.29 or newer", TRANSFERS),
    Tool("sha256sum", "hashes every part and the whole", TRANSFERS),
    Tool("cat", "hands on what scripts said; ends the run's files when the run was killed"),
    Tool("dd", "cuts the output into parts, reads a backup part by part; looks at scripts"),
    Tool("find", "sees to it that the folder of the runs is the user's own"),
    Tool("id", "the same"),
    Tool("mkdir", "makes the folder of the run, once"),
    Tool("mkfifo", "makes the pipe that a script writes to, and one that notices when the run is killed"),
    Tool("mktemp", "makes a folder that no script knows"),
    Tool("mv", "keeps the last words of a script", (Runner.BACKUP,)),
    Tool("rm", "removes what the run wrote"),
    Tool("sleep", "waits between two tries, or two looks at a script"),
    Tool("tail", "keeps the last words of a script"),
    Tool("tee", "reads a part once, to send and to hash it", (Runner.BACKUP,)),
    Tool("tr", "reads answers of S3, and scripts"),
    Tool("wc", "measures files", TRANSFERS),
)


def exports(scripts: Iterable[Script]) -> str:
    """Return a shell function `give` that exports what these scripts are given."""
    wanted = set(scripts)
    given = " ".join(f'{each.name}="{each.value}"' for each in VARIABLES if wanted & set(each.scripts))
    return f"give() {{\n    export {given}\n}}\n"


def tools(runner: Runner) -> tuple[str, ...]:
    """Return the tools that a runner needs."""
    return tuple(each.name for each in TOOLS if runner in each.runners)


def document() -> str:
    """Return the tables of `docs/scripts.md`."""
    given = [
        (f"`{each.name}`", *_marks(each.scripts, ALL), each.meaning) for each in (*ARGUMENTS, *VARIABLES)
    ]
    needed = [(f"`{each.name}`", *_marks(each.runners, RUNNERS), each.purpose) for each in TOOLS]
    return "\n".join(
        [
            _table(("given", *_HEADS.values(), "what it is"), given),
            _table(("tool", "backup", "restore of a file", "scripts alone", "what for"), needed),
        ]
    )


def _marks(wanted: Sequence[StrEnum], columns: Sequence[StrEnum]) -> tuple[str, ...]:
    return tuple("yes" if each in wanted else "" for each in columns)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("|" + "".join(f" {cell} |" if cell else " |" for cell in line) + "\n" for line in lines)
