"""The backup runner, run for real under every shell that an instance may have, against a real HTTP server."""

import hashlib
import json
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from chalicelib.errors import ScriptFailed
from chalicelib.on_instance import (
    EMPTY_OUTPUT,
    NO_ROOM,
    OUTPUT_TOO_LARGE,
    RAN_BEFORE,
    SCRIPT_EXITED,
    TRANSFER_FAILED,
    BackupReport,
    BackupRun,
    backup_command,
    digest_of_report,
    parse_report,
)
from tests.on_instance.conftest import NO_PATIENCE, Bucket, Instance, wait_until

MIB = 1048576


def a_run(bucket: Bucket, script: str, **changes: Any) -> str:
    """Write the command of a run of `script` with four parts of 1 MiB, but for what `changes` says."""
    part_sizes: Sequence[int] = changes.pop("part_sizes", (MIB, MIB, MIB, MIB))
    if changes.pop("with_letter", True):
        bucket.write_backup_letter(1, part_sizes)
    arguments: dict[str, Any] = {
        "job": "job-1",
        "service": "orders",
        "script": script,
        "address": bucket.address(1),
        "timeout": timedelta(hours=1),
        "persistence": NO_PATIENCE,
    }
    return backup_command(BackupRun(**arguments | changes))


def report_of(stdout: str, bucket: Bucket) -> BackupReport:
    """Read the report that a run has sent and hold it against what the bucket got."""
    assert bucket.report is not None
    report = parse_report(bucket.report, digest_of_report(stdout))
    assert report.size_bytes == len(bucket.whole)
    assert report.sha256 == hashlib.sha256(bucket.whole).hexdigest()
    assert [(part.number, part.size_bytes, part.sha256) for part in report.parts] == [
        (number, len(data), hashlib.sha256(data).hexdigest()) for number, data in sorted(bucket.parts.items())
    ]
    return report


@pytest.mark.parametrize("output", ["pipe", "file"])
@pytest.mark.parametrize(
    ("size", "parts"), [(1, 1), (MIB - 1, 1), (MIB, 1), (MIB + 1, 2), (3 * MIB, 3), (4 * MIB, 4)]
)
def test_what_the_script_writes_is_uploaded_in_parts(
    instance: Instance, bucket: Bucket, size: int, parts: int, output: str
) -> None:
    script = instance.script(f'#!/bin/sh\nhead -c {size} /dev/urandom > "$2"; echo done >&2')

    ended = instance.run(a_run(bucket, script, output=output))

    assert (ended.returncode, ended.stderr) == (0, "done\n")
    report = report_of(ended.stdout, bucket)
    assert (report.size_bytes, len(report.parts)) == (size, parts)
    assert instance.left_behind() == []


def test_part_sizes_may_grow(instance: Instance, bucket: Bucket) -> None:
    script = instance.script('#!/bin/sh\nhead -c 7000000 /dev/urandom > "$2"')

    ended = instance.run(a_run(bucket, script, part_sizes=(MIB, 2 * MIB, 4 * MIB, 8 * MIB)))

    assert [len(bucket.parts[number]) for number in (1, 2, 3)] == [MIB, 2 * MIB, 7_000_000 - 3 * MIB]
    report_of(ended.stdout, bucket)


def test_a_hundred_megabytes_go_through_the_pipe(instance: Instance, bucket: Bucket) -> None:
    script = instance.script('#!/bin/sh\nhead -c 100000000 /dev/urandom > "$2"')

    ended = instance.run(a_run(bucket, script, part_sizes=(8 * MIB,) * 12))

    assert report_of(ended.stdout, bucket).size_bytes == 100_000_000


def test_the_script_gets_its_arguments_and_its_environment(instance: Instance, bucket: Bucket) -> None:
    script = instance.script(
        '#!/bin/sh\nprintf "%s|%s|%s|%s|%s" "$#" "$1" "$FARSHORE_SERVICE" "$FARSHORE_JOB" "$PWD" > "$2"\n'
        '[ "$2" = "$FARSHORE_OUTPUT" ] && [ -p "$2" ] && [ -z "${NEXT_URL-}${TAKE_URL-}" ]'
    )

    instance.run(a_run(bucket, script, service="""a 'quoted' "name" with $HOME `id` \\ and ü日本"""))

    name = """a 'quoted' "name" with $HOME `id` \\ and ü日本"""
    assert bucket.whole.decode() == f"2|{name}|{name}|job-1|{instance.directory}"


@pytest.mark.parametrize(
    ("script", "written"),
    [
        ('printf %s "$1" > "$2"', b"orders"),
        ('#!/bin/sh -e\nfalse || printf %s "$-" > "$2"; false; exit 0', None),
        (
            f"#!{sys.executable}\nimport sys\nopen(sys.argv[2], 'w').write('ü from ' + sys.argv[1])",
            "ü from orders".encode(),
        ),
        ("#!/usr/bin/env python3\nimport sys\nopen(sys.argv[2], 'w').write('x')", b"x"),
        (
            "cat > \"$2\" <<'END'\nlines with 'quotes', $dollars,\n  `ticks` and \\ slashes\nEND",
            b"lines with 'quotes', $dollars,\n  `ticks` and \\ slashes\n",
        ),
    ],
    ids=["sh", "shebang with an option", "python", "env python", "here document"],
)
def test_an_inline_script_runs_under_its_own_interpreter(
    instance: Instance, bucket: Bucket, script: str, written: bytes | None
) -> None:
    ended = instance.run(a_run(bucket, script))

    if written is None:
        assert ended.returncode == SCRIPT_EXITED
    else:
        assert (ended.returncode, bucket.whole) == (0, written)


def test_a_relative_path_is_looked_up_in_the_working_directory(instance: Instance, bucket: Bucket) -> None:
    instance.script('#!/bin/sh\necho here > "$2"', "make-backup")

    instance.run(a_run(bucket, "./make-backup"))

    assert bucket.whole == b"here\n"


def test_a_script_may_open_the_pipe_again_and_again(instance: Instance, bucket: Bucket) -> None:
    ended = instance.run(a_run(bucket, 'for n in 1 2 3 4 5; do echo $n >> "$2"; sleep 0.05; done'))

    assert bucket.whole == b"1\n2\n3\n4\n5\n"
    report_of(ended.stdout, bucket)


def test_a_script_that_seeks_writes_to_a_file(instance: Instance, bucket: Bucket) -> None:
    seek = (
        "#!/usr/bin/env python3\nimport sys\n"
        "f = open(sys.argv[2], 'r+b')\nf.write(b'x' * 10)\nf.seek(2)\nf.write(b'yy')"
    )

    ended = instance.run(a_run(bucket, seek, output="file"))

    assert ended.returncode == 0
    assert bucket.whole == b"xxyyxxxxxx"


def test_a_failed_script_leaves_no_report(instance: Instance, bucket: Bucket) -> None:
    ended = instance.run(a_run(bucket, "echo cannot connect; exit 3"))

    assert (ended.returncode, ended.stdout) == (SCRIPT_EXITED, "")
    assert "farshore: backup script exited 3" in ended.stderr
    assert "cannot connect" in ended.stderr
    assert instance.left_behind() == []


@pytest.mark.parametrize("end", ["exit 7", "kill -KILL $$"])
@pytest.mark.parametrize("output", ["pipe", "file"])
def test_half_a_backup_leaves_no_report(instance: Instance, bucket: Bucket, output: str, end: str) -> None:
    ended = instance.run(a_run(bucket, f'head -c 1500000 /dev/zero > "$2"; {end}', output=output))

    assert (ended.returncode, ended.stdout) == (SCRIPT_EXITED, "")
    assert "script exited" in ended.stderr


@pytest.mark.parametrize(
    "script", ["true", ': > "$2"', "echo all is well"], ids=["unopened", "opened", "elsewhere"]
)
@pytest.mark.parametrize("output", ["pipe", "file"])
def test_an_empty_output_is_a_failure(instance: Instance, bucket: Bucket, script: str, output: str) -> None:
    ended = instance.run(a_run(bucket, script, output=output))

    assert (ended.returncode, ended.stdout, bucket.parts) == (EMPTY_OUTPUT, "", {})


@pytest.mark.parametrize(("status", "code"), [(403, "InvalidAccessKeyId"), (503, "SlowDown")])
@pytest.mark.parametrize("number", [1, 2, 4])
def test_a_refused_part_fails_the_run(
    instance: Instance, bucket: Bucket, number: int, status: int, code: str
) -> None:
    bucket.refuse[number] = (status, code)

    ended = instance.run(a_run(bucket, 'head -c 4000000 /dev/zero > "$2"'))

    assert (ended.returncode, ended.stdout) == (TRANSFER_FAILED, "")
    assert f"part {number} of " in ended.stderr
    assert f"S3 answered {status} {code}: So it is." in ended.stderr
    assert sorted(bucket.parts) == list(range(1, number))


def test_a_script_whose_upload_failed_is_told_by_its_pipe(instance: Instance, bucket: Bucket) -> None:
    bucket.refuse[1] = (403, "AccessDenied")

    ended = instance.run(a_run(bucket, 'exec cat /dev/zero > "$2"'))

    assert ended.returncode == TRANSFER_FAILED


def test_an_output_larger_than_its_parts_is_a_failure(instance: Instance, bucket: Bucket) -> None:
    ended = instance.run(a_run(bucket, f'head -c {4 * MIB + 1} /dev/zero > "$2"'))

    assert (ended.returncode, ended.stdout) == (OUTPUT_TOO_LARGE, "")


def test_a_job_runs_once(instance: Instance, bucket: Bucket) -> None:
    script = 'echo ran >> ran; echo data > "$2"'
    first = instance.run(a_run(bucket, script))
    bucket.parts.clear()

    again = instance.run(a_run(bucket, script))

    assert (first.returncode, again.returncode, again.stdout) == (0, RAN_BEFORE, "")
    assert (instance.directory / "ran").read_text() == "ran\n"
    assert bucket.parts == {}
    assert instance.run(a_run(bucket, script, job="job-2")).returncode == 0


def test_a_second_run_leaves_the_first_alone(instance: Instance, bucket: Bucket) -> None:
    first = instance.start(
        a_run(bucket, 'while [ ! -e go ]; do sleep 0.02; done; echo data > "$2"; touch went')
    )
    while not (instance.state / "farshore" / "job-1" / "out" / "output").exists():
        assert first.poll() is None

    assert instance.run(a_run(bucket, "echo x")).returncode == RAN_BEFORE
    (instance.directory / "go").touch()
    stdout, _ = first.communicate(timeout=20)

    assert first.returncode == 0
    report_of(stdout, bucket)


def test_a_state_folder_that_is_not_ours_is_refused(instance: Instance, bucket: Bucket) -> None:
    elsewhere = instance.directory / "elsewhere"
    elsewhere.mkdir()
    (instance.state / "farshore").symlink_to(elsewhere)

    ended = instance.run(a_run(bucket, 'echo x > "$2"'))

    assert ended.returncode == NO_ROOM
    assert f"{instance.state}/farshore is a link, or belongs to somebody else; remove it" in ended.stderr
    assert list(elsewhere.iterdir()) == []


def test_only_the_last_words_of_a_script_are_kept(instance: Instance, bucket: Bucket) -> None:
    ended = instance.run(a_run(bucket, "seq 1 200000; echo the last word; exit 1"))

    assert ended.stderr.endswith("the last word\nfarshore: backup script exited 1\n")
    assert len(ended.stderr) < 4200


def test_a_process_that_the_script_leaves_behind_does_not_keep_the_run(
    instance: Instance, bucket: Bucket
) -> None:
    ended = instance.run(a_run(bucket, 'sleep 5 2>/dev/null & echo data > "$2"'))

    assert ended.returncode == 0
    report_of(ended.stdout, bucket)


BACKGROUND = {
    "holds it": '(sleep 1; echo more) > "$2" &',
    "holds it quietly": '(sleep 1; echo more) > "$2" 2>/dev/null </dev/null &',
    "holds it for longer than anything else": '(sleep 4; echo more) >> "$2" 2>/dev/null &',
    "opens it again": '(exec 3>>"$2"; sleep 1; echo more >&3) &',
}


@pytest.mark.parametrize("child", BACKGROUND.values(), ids=BACKGROUND)
@pytest.mark.parametrize("output", ["pipe", "file"])
def test_a_process_left_behind_that_holds_the_output_is_waited_for(
    instance: Instance, bucket: Bucket, child: str, output: str
) -> None:
    ended = instance.run(a_run(bucket, f'echo data > "$2"\n{child}\nsleep 0.2', output=output))

    assert (ended.returncode, bucket.whole.splitlines()[-1]) == (0, b"more")
    report_of(ended.stdout, bucket)


@pytest.mark.parametrize("output", ["pipe", "file"])
def test_a_process_that_opens_the_output_after_the_script_has_ended_fails_the_run(
    instance: Instance, bucket: Bucket, output: str
) -> None:
    child = '(while [ ! -e go ]; do sleep 0.02; done; echo more > "$2"; touch went) >/dev/null 2>&1 &'
    bucket.before_answer = lambda: go_and_wait_for(instance, "went")

    ended = instance.run(a_run(bucket, f'head -c {MIB + 1000} /dev/zero > "$2"\n{child}', output=output))

    assert (ended.returncode, ended.stdout) == (SCRIPT_EXITED, "")
    assert (
        "a process that the script left behind wrote to its output after the script had ended" in ended.stderr
    )
    assert instance.left_behind() == []


def go_and_wait_for(instance: Instance, name: str) -> None:
    """Let a waiting script go on, once it has ended itself, and wait for the file that says it did."""
    output = instance.state / "farshore" / "job-1" / "out" / "output"
    wait_until(lambda: not output.exists() or (instance.directory / "go").exists(), "the script does not end")
    (instance.directory / "go").touch()
    wait_until((instance.directory / name).exists, "nothing was written late")


def test_a_script_that_replaces_the_pipe_fails(instance: Instance, bucket: Bucket) -> None:
    ended = instance.run(a_run(bucket, 'echo first > "$2"; echo second > other; mv other "$2"'))

    assert (ended.returncode, ended.stdout) == (SCRIPT_EXITED, "")
    assert "something else in the place of the pipe" in ended.stderr


def test_a_file_may_be_put_in_the_place_of_the_output_file(instance: Instance, bucket: Bucket) -> None:
    ended = instance.run(a_run(bucket, 'echo data > other; mv other "$2"', output="file"))

    assert (ended.returncode, bucket.whole) == (0, b"data\n")


def test_a_process_that_the_script_leaves_behind_elsewhere_does_not_keep_the_run(
    instance: Instance, bucket: Bucket
) -> None:
    began = time.monotonic()

    ended = instance.run(a_run(bucket, 'sleep 30 2>/dev/null & echo data > "$2"'))

    assert ended.returncode == 0
    assert time.monotonic() - began < 25
    report_of(ended.stdout, bucket)


def test_the_largest_command_fits_in_an_ssm_document(bucket: Bucket) -> None:
    # 64 KB: https://docs.aws.amazon.com/general/latest/gr/ssm.html
    url = f"https://example.com/{'k' * 300}?X-Amz-Security-Token={'t' * 2000}"

    command = a_run(bucket, "x" * 32 * 1024, address=(url, url))

    assert len(json.dumps({"commands": [command]})) < 60_000


def a_report(parts: int) -> bytes:
    """Write a report of parts of one byte each."""
    text = "".join(f"{number} 1 {'f' * 64}\n" for number in range(1, parts + 1))
    return f"farshore-report 1\nbytes {parts}\nsha256 {'a' * 64}\n{text}end\n".encode()


def test_a_report_may_have_as_many_parts_as_s3_takes() -> None:
    report = a_report(10_000)
    assert len(parse_report(report, hashlib.sha256(report).hexdigest()).parts) == 10_000


@pytest.mark.parametrize("cut", [1, 4, 60, 160])
def test_a_report_that_is_cut_off_is_refused(cut: int) -> None:
    whole = a_report(2)
    parse_report(whole, hashlib.sha256(whole).hexdigest())

    for text, digest in ((whole[: -cut - 1], whole), (whole[: -cut - 1], whole[: -cut - 1])):
        with pytest.raises(ScriptFailed):
            parse_report(text, hashlib.sha256(digest).hexdigest())


def test_a_report_that_was_put_in_the_place_of_another_is_refused() -> None:
    with pytest.raises(ScriptFailed, match="not the one that the runner sent"):
        parse_report(a_report(3), hashlib.sha256(a_report(2)).hexdigest())


@pytest.mark.parametrize(
    "stdout", ["", "farshore-reported 1\n", f"x\nfarshore-reported 1\nsha256 {'a' * 64}\nend\n"]
)
def test_what_does_not_name_a_report_is_refused(stdout: str) -> None:
    with pytest.raises(ScriptFailed):
        digest_of_report(stdout)
