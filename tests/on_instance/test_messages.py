"""What a run says when it fails: what failed, on what, why, and what to do; one test per kind of message."""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from chalicelib.on_instance import (
    EMPTY_OUTPUT,
    NO_ROOM,
    NOT_STARTED,
    RESTORE_FAILED,
    SCRIPT_EXITED,
    TOOL_MISSING,
    TRANSFER_FAILED,
    VERIFY_FAILED,
    Persistence,
    explain_exit,
    words_of,
)
from tests.on_instance.conftest import Bucket, Instance
from tests.on_instance.test_backup import MIB, a_run, report_of
from tests.on_instance.test_restore import DATA
from tests.on_instance.test_restore import a_run as a_restore

Ended = subprocess.CompletedProcess[str]


def reason(ended: Ended) -> str:
    """Say what the job would say."""
    return explain_exit(ended.returncode, ended.stderr)


def lay(text: bytes, mode: int = 0o755) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(text)
        path.chmod(mode)

    return write


CANNOT_START: Mapping[str, tuple[Callable[[Path], None], str]] = {
    "missing": (lambda path: None, "there is no such file on this instance{where}; put it there"),
    "dangling": (lambda path: path.symlink_to("nowhere"), "there is no such file on this instance{where}"),
    "folder": (lambda path: path.mkdir(), "it is a folder, not a script"),
    "not executable": (lay(b"#!/bin/sh\n", 0o644), "it is not executable; chmod +x {path}"),
    "CR": (lay(b'#!/bin/sh\r\necho x > "$2"\r\n'), "its lines end in CR LF, as on Windows"),
    "CR without a first line": (lay(b'echo x > "$2"\r\n'), "convert it: sed -i 's/\\r$//' {path}"),
    "CR further down": (lay(b"#!/bin/sh\necho x\ncat > app.db\r\n"), "its lines end in CR LF"),
    "CR of another language": (lay(b"#!/usr/bin/env python3\r\nprint(1)\r\n"), "its lines end in CR LF"),
    "no interpreter": (
        lay(b"#!/opt/no/such/perl -w\n"),
        "its first line names /opt/no/such/perl, which this instance does not have; install it or change",
    ),
    "no interpreter on the PATH": (
        lay(b"#!/usr/bin/env -S python9 -u\n"),
        "its first line asks env for python9, which is not on the PATH (/usr/local/bin:/usr/bin:/bin)",
    ),
}


@pytest.mark.parametrize("path", ["/", "./"])
@pytest.mark.parametrize("case", CANNOT_START)
def test_a_script_that_cannot_start_says_which_of_all_reasons_it_is(
    instance: Instance, bucket: Bucket, case: str, path: str
) -> None:
    lay_it, said = CANNOT_START[case]
    script = f"{instance.directory}/run" if path == "/" else "./run"
    where = f" in {instance.directory}, where the script runs (working_directory)" if path == "./" else ""
    lay_it(instance.directory / "run")

    for ended, name in (
        (instance.run(a_run(bucket, script)), "backup"),
        (instance.run(a_restore(bucket, restore=script, job="job-2")), "restore"),
    ):
        assert (ended.returncode, ended.stdout) == (NOT_STARTED, "")
        assert reason(ended).startswith(f"the script could not be started: {name} script {script}: ")
        assert said.format(path=script, where=where) in ended.stderr
    assert bucket.parts == {}
    assert bucket.ranges == []  # nothing is fetched for a script that cannot start
    assert instance.left_behind() == []


def test_an_inline_script_whose_interpreter_is_missing_says_so(instance: Instance, bucket: Bucket) -> None:
    ended = instance.run(a_run(bucket, "#!/usr/bin/env ruby9\nputs 1"))

    assert ended.returncode == NOT_STARTED
    assert "its first line asks env for ruby9, which is not on the PATH" in ended.stderr


def test_a_verify_script_may_come_with_what_is_restored(instance: Instance, bucket: Bucket) -> None:
    brings = "printf '#!/bin/sh\\nexit 0\\n' > verify; chmod +x verify"

    assert instance.run(a_restore(bucket, restore=brings, verify="./verify")).returncode == 0
    ended = instance.run(a_restore(bucket, restore="true", verify="./other", job="job-2"))
    assert reason(ended).startswith(
        "the script could not be started: verify script ./other: there is no such"
    )


def test_a_program_with_a_cr_in_it_is_no_script_with_windows_lines(
    instance: Instance, bucket: Bucket
) -> None:
    packed = instance.script('#!/bin/sh\necho data > "$2"\nexit 0\n', "packed")
    with Path(packed).open("ab") as file:
        file.write(b"\x00\x01archive\r\nbehind it\r\n")

    assert instance.run(a_run(bucket, packed)).returncode == 0
    assert bucket.whole == b"data\n"


@pytest.mark.parametrize(
    "text",
    ["\ufeff{keep}\r\n", "{keep}\r\n", "{keep}\r", "\n{keep}  \r\n\r\n", "./restore\r\n", "./restore \n"],
)
def test_a_script_with_windows_lines_writes_no_file_with_a_cr_in_its_name(
    instance: Instance, bucket: Bucket, text: str
) -> None:
    """A rule that an earlier version stored may hold such a text."""
    instance.script("#!/bin/sh\ncat > app.db\n", "restore")

    ended = instance.run(a_restore(bucket, restore=text.format(keep="set -e\r\ncat > app.db")))

    assert ended.returncode == 0
    assert [path.name for path in instance.directory.iterdir() if path.name != "restore"] == ["app.db"]
    assert (instance.directory / "app.db").read_bytes() == DATA


SHELLS_WITH_PIPEFAIL = {
    "bash": "#!/bin/bash\n",
    "bash behind env": "#!/usr/bin/env bash\n",
    "bash with options": "#!/bin/bash -eu\n",
    "env with options": "#!/usr/bin/env -S bash -e\n",
}


@pytest.mark.parametrize("line", SHELLS_WITH_PIPEFAIL.values(), ids=SHELLS_WITH_PIPEFAIL)
def test_a_dump_that_fails_behind_a_pipe_fails_the_backup(
    instance: Instance, bucket: Bucket, line: str
) -> None:
    ended = instance.run(a_run(bucket, line + '(echo half; exit 3) | gzip > "$2"'))

    assert (ended.returncode, ended.stdout) == (SCRIPT_EXITED, "")
    assert "backup script exited 3" in ended.stderr


@pytest.mark.integration("busybox")
def test_an_sh_that_knows_pipefail_runs_with_it(instance: Instance, bucket: Bucket) -> None:
    sh = instance.directory / "bin" / "sh"
    sh.parent.mkdir()
    sh.symlink_to(str(shutil.which("busybox")))
    path = f"PATH={sh.parent}:$PATH\n"

    ended = instance.run(path + a_run(bucket, '(echo half; exit 3) | gzip > "$2"'))

    assert ended.returncode == SCRIPT_EXITED
    for script in ("(exit 3) | cat", "cat >/dev/null | true"):
        ended = instance.run(path + a_restore(bucket, restore=script, job=f"job-{len(script)}"))
        assert ended.returncode == (RESTORE_FAILED if "exit" in script else 0)


def test_a_shell_without_pipefail_is_told_to_whoever_reads_the_report(
    instance: Instance, bucket: Bucket
) -> None:
    sh = instance.directory / "bin" / "sh"
    sh.parent.mkdir()
    sh.symlink_to(str(shutil.which("dash")))

    ended = instance.run(f"PATH={sh.parent}:$PATH\n" + a_run(bucket, 'echo data | gzip > "$2"; echo done'))
    quiet = instance.run(
        f"PATH={sh.parent}:$PATH\n" + a_run(bucket, 'true || echo x; echo > "$2"', job="job-2")
    )

    assert ended.returncode == 0
    assert words_of(ended.stderr) == (
        "note: sh on this instance has no pipefail: a command of the backup script that fails before a |"
        " is not"
        " noticed; begin the script with #!/bin/bash, if there is one\ndone"
    )
    assert (quiet.returncode, quiet.stderr) == (0, "")
    report_of(quiet.stdout, bucket)


@pytest.mark.parametrize(
    "words", ['pg_dump: error: could not fsync file "$2": Invalid argument', "zip I/O error: Illegal seek"]
)
def test_what_no_pipe_can_do_is_told_with_what_helps(instance: Instance, bucket: Bucket, words: str) -> None:
    script = f"echo '{words}' >&2; exit 1"

    ended = instance.run(a_run(bucket, script))
    to_file = instance.run(a_run(bucket, script, output="file", job="job-2"))

    assert "its output is a named pipe, which cannot be synced, sought or cut: set `output: file`" in reason(
        ended
    )
    assert reason(ended).endswith(f"; its last words: {words}")
    assert "output: file" not in reason(to_file)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("no_such_command", "exited 127: a command in it was not found; the PATH is /usr/local/bin:"),
        ("true; ./data.txt", "exited 126: a command in it cannot be executed"),
        ("kill -KILL $$", "exited 137: it was killed by SIGKILL; did the instance run out of memory?"),
        ("kill -PIPE $$", "exited 141: it was killed by SIGPIPE"),
    ],
)
def test_an_exit_code_is_told_with_what_it_means(
    instance: Instance, bucket: Bucket, script: str, said: str
) -> None:
    (instance.directory / "data.txt").touch()

    commands: Sequence[tuple[Callable[[], str], int, str]] = (
        (lambda: a_run(bucket, script), SCRIPT_EXITED, "backup"),
        (lambda: a_restore(bucket, restore=script, job="job-2"), RESTORE_FAILED, "restore"),
        (lambda: a_restore(bucket, verify=script, job="job-3"), VERIFY_FAILED, "verify"),
    )
    for write, code, name in commands:
        ended = instance.run(write())
        assert ended.returncode == code
        assert f"farshore: {name} script {said}" in ended.stderr


def test_an_empty_output_is_told_with_where_to_write(instance: Instance, bucket: Bucket) -> None:
    ended = instance.run(a_run(bucket, "echo data"))

    assert ended.returncode == EMPTY_OUTPUT
    assert reason(ended) == (
        "the backup script wrote nothing to its output: the script exited 0 and wrote nothing; it has to"
        " write to"
        " the path in $2; its last words: data"
    )


def test_a_missing_tool_is_named_and_where_it_was_looked_for(instance: Instance, bucket: Bucket) -> None:
    (instance.directory / "sh").symlink_to("/bin/sh")

    ended = instance.run(f"PATH={instance.directory}\n" + a_run(bucket, 'echo x > "$2"'))

    assert ended.returncode == TOOL_MISSING
    assert reason(ended) == (
        f"the instance lacks a tool: this instance has no curl on the PATH ({instance.directory});"
        " install it there"
    )


@pytest.mark.parametrize("output", ["pipe", "file"])
def test_a_script_that_still_runs_when_its_time_is_nearly_up_has_said_its_words_before_it_is_killed(
    instance: Instance, bucket: Bucket, output: str
) -> None:
    script = 'echo dumped 3 of 9 tables; echo half > "$2"; touch began; while [ ! -e go ]; do sleep 0.1; done'
    process = instance.start(a_run(bucket, script, output=output, timeout=timedelta(seconds=4)))
    assert process.stderr is not None

    said = [process.stderr.readline() for _ in range(2)]
    os.killpg(process.pid, 9)  # as SSM ends a run
    process.communicate(timeout=20)

    assert said == [
        "farshore: the time of this run is nearly up, and the backup script still runs\n",
        "dumped 3 of 9 tables\n",
    ]


def test_the_words_of_a_restore_are_said_before_it_is_killed(instance: Instance, bucket: Bucket) -> None:
    process = instance.start(
        a_restore(bucket, restore="echo loading; sleep 60", timeout=timedelta(seconds=4), job="job-1")
    )
    assert process.stderr is not None
    said = [process.stderr.readline() for _ in range(2)]
    os.killpg(process.pid, 9)
    process.communicate(timeout=20)
    assert said[1] == "loading\n"


def test_words_are_kept_though_a_process_left_behind_holds_them(instance: Instance, bucket: Bucket) -> None:
    ended = instance.run(a_run(bucket, "echo no such table >&2; sleep 20 & exit 1"))

    assert ended.returncode == SCRIPT_EXITED
    assert "no such table\n" in ended.stderr


def on_a_small_disk(instance: Instance, mebibytes: int, command: str) -> Ended:
    """Run a command with the runner's files on a disk of its own, of this size."""
    mount = f"mount -t tmpfs -o size={mebibytes}m tmpfs {instance.state}"
    shell = " ".join(instance.shell)
    text = instance.directory / "command"
    text.write_text(command)
    ended = subprocess.run(
        [
            "unshare",
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            f'{mount} && exec {shell} "$0"',
            str(text),
        ],
        cwd=instance.directory,
        env={"PATH": os.environ["PATH"], "TMPDIR": str(instance.state)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "unshare failed" in ended.stderr or "mount: " in ended.stderr:
        pytest.skip(f"this machine lets nobody mount a disk: {ended.stderr}")
    return ended


FULL = "No space left on device; 0 KiB are free at "


@pytest.mark.parametrize("output", ["pipe", "file"])
def test_a_full_disk_is_no_failed_transfer(instance: Instance, bucket: Bucket, output: str) -> None:
    script = f'head -c {3 * MIB} /dev/urandom > "$2"'
    command = a_run(bucket, script, output=output, part_sizes=(4 * MIB,))

    ended = on_a_small_disk(instance, 2, command)

    if output == "pipe":
        assert (ended.returncode, ended.stdout) == (NO_ROOM, "")
        assert reason(ended).startswith(
            "the instance has no room for the files of the run: part 1 of 4 MiB could"
        )
        assert FULL in ended.stderr
        assert "free some, or give the SSM agent a TMPDIR on a larger disk" in reason(ended)
    else:
        assert (ended.returncode, ended.stdout) == (SCRIPT_EXITED, "")
        assert "a disk of this instance is full; 0 KiB are free at " in ended.stderr


def test_a_disk_too_small_for_the_backup_is_told_by_its_restore(instance: Instance, bucket: Bucket) -> None:
    ended = on_a_small_disk(instance, 1, a_restore(bucket, restore="touch ran"))

    assert (ended.returncode, ended.stdout) == (NO_ROOM, "")
    assert f"of {len(DATA)} bytes came: cannot write to " in ended.stderr
    assert FULL in ended.stderr
    assert not (instance.directory / "ran").exists()


def test_a_folder_that_cannot_be_written_is_told_with_what_the_system_says(
    instance: Instance, bucket: Bucket
) -> None:
    (instance.state / "file").touch()

    ended = instance.run(f"TMPDIR={instance.state}/file\n" + a_run(bucket, 'echo x > "$2"'))

    assert ended.returncode == NO_ROOM
    assert f"cannot write to {instance.state}/file/farshore: " in ended.stderr
    assert "Not a directory" in ended.stderr


def test_a_vault_that_cannot_be_reached_is_told_with_where_to_look(
    instance: Instance, bucket: Bucket
) -> None:
    nowhere = ("http://127.0.0.1:1/mailbox/a", "http://127.0.0.1:1/mailbox/b")
    no_patience: Any = Persistence(patience_seconds=0)

    ended = instance.run(a_run(bucket, "true", address=nowhere, persistence=no_patience))

    assert ended.returncode == TRANSFER_FAILED
    assert "Failed to connect" in ended.stderr or "onnection refused" in ended.stderr
    assert "look at its route, proxy, DNS and endpoint policy" in reason(ended)
