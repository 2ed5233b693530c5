"""The restore runner, run for real under every shell an instance may have, against a real HTTP server."""

import hashlib
from datetime import timedelta
from typing import Any

import pytest

from chalicelib.on_instance import (
    RAN_BEFORE,
    RESTORE_FAILED,
    TRANSFER_FAILED,
    VERIFY_FAILED,
    WRONG_BYTES,
    RestoreRun,
    explain_exit,
    parts_list,
    restore_command,
    words_of,
)
from tests.on_instance.conftest import NO_PATIENCE, Bucket, Instance

MIB = 1048576
DATA = bytes(range(256)) * 5000
KEEP = 'cat > restored; cmp "$2" restored; echo "$1 $FARSHORE_SERVICE $FARSHORE_JOB" > named'


def a_run(bucket: Bucket, **changes: Any) -> str:
    """Write the command of a restore of `DATA` by `KEEP`, but for what `changes` says."""
    bucket.served = bucket.served or DATA
    bucket.write_restore_letter(1)
    arguments: dict[str, Any] = {
        "job": "job-1",
        "service": "orders db",
        "address": bucket.address(1),
        "size_bytes": len(DATA),
        "sha256": hashlib.sha256(DATA).hexdigest(),
        "restore": KEEP,
        "timeout": timedelta(hours=1),
        "persistence": NO_PATIENCE,
    }
    return restore_command(RestoreRun(**arguments | changes))


def test_the_script_gets_the_backup_on_standard_input_and_as_a_path(
    instance: Instance, bucket: Bucket
) -> None:
    ended = instance.run(a_run(bucket))

    assert (ended.returncode, ended.stderr) == (0, "")
    assert (instance.directory / "restored").read_bytes() == DATA
    assert (instance.directory / "named").read_text() == "orders db orders db job-1\n"
    assert ended.stdout == f"farshore-restored 1\nbytes {len(DATA)}\nverified no\nend\n"
    assert instance.left_behind() == []


def test_the_verify_script_runs_after_the_restore(instance: Instance, bucket: Bucket) -> None:
    verify = instance.script('#!/bin/sh\n[ "$1" = "orders db" ] && cmp "$2" restored', "verify")

    ended = instance.run(a_run(bucket, verify=verify))

    assert ended.returncode == 0
    assert "verified yes" in ended.stdout


@pytest.mark.parametrize(
    ("served", "said"),
    [
        (DATA[:-1], f"expected bytes 0- of {len(DATA)}, got bytes 0-{len(DATA) - 2}/{len(DATA) - 1}"),
        (DATA + b"x", f"expected bytes 0- of {len(DATA)}, got bytes 0-{len(DATA)}/{len(DATA) + 1}"),
        (b"X" + DATA[1:], f"expected SHA-256 {hashlib.sha256(DATA).hexdigest()}, got "),
    ],
    ids=["short", "long", "changed"],
)
def test_wrong_bytes_reach_no_script(instance: Instance, bucket: Bucket, served: bytes, said: str) -> None:
    bucket.served = served

    ended = instance.run(a_run(bucket, restore="touch ran", verify="touch ran"))

    assert (ended.returncode, ended.stdout) == (WRONG_BYTES, "")
    assert said in ended.stderr
    assert not (instance.directory / "ran").exists()
    assert instance.left_behind() == []


def parts_of(data: bytes) -> list[tuple[int, str]]:
    """Cut data at whole MiB, as the runner does."""
    pieces = [data[start : start + MIB] for start in range(0, len(data), MIB)]
    return [(len(piece), hashlib.sha256(piece).hexdigest()) for piece in pieces]


def by_parts(bucket: Bucket) -> dict[str, Any]:
    """Have a restore check `DATA` by its parts."""
    bucket.parts_list = parts_list(parts_of(DATA)).encode()
    return {"sha256": None, "parts_sha256": hashlib.sha256(bucket.parts_list).hexdigest()}


def test_a_list_of_parts_that_is_not_the_one_meant_is_not_believed(
    instance: Instance, bucket: Bucket
) -> None:
    meant = by_parts(bucket)
    bucket.served = DATA[::-1]
    bucket.parts_list = parts_list(parts_of(bucket.served)).encode()

    ended = instance.run(a_run(bucket, **meant, restore="touch ran"))

    assert (ended.returncode, ended.stdout) == (WRONG_BYTES, "")
    assert "of the list of its parts, got " in ended.stderr
    assert not (instance.directory / "ran").exists()


def test_a_file_whose_whole_has_no_hash_is_checked_by_its_parts(instance: Instance, bucket: Bucket) -> None:
    ended = instance.run(a_run(bucket, **by_parts(bucket)))

    assert (ended.returncode, ended.stderr) == (0, "")
    assert (instance.directory / "restored").read_bytes() == DATA


@pytest.mark.parametrize("at", [0, MIB, len(DATA) - 1])
def test_a_part_that_is_not_what_was_backed_up_reaches_no_script(
    instance: Instance, bucket: Bucket, at: int
) -> None:
    bucket.served = DATA[:at] + bytes([DATA[at] ^ 1]) + DATA[at + 1 :]

    ended = instance.run(a_run(bucket, **by_parts(bucket), restore="touch ran"))

    number, (_, expected) = at // MIB + 1, parts_of(DATA)[at // MIB]
    assert (ended.returncode, ended.stdout) == (WRONG_BYTES, "")
    assert f"expected SHA-256 {expected} of part {number}, got " in ended.stderr
    assert not (instance.directory / "ran").exists()


def test_a_backup_that_cannot_be_fetched_reaches_no_script(instance: Instance, bucket: Bucket) -> None:
    nowhere = "http://127.0.0.1:1/nothing?here"
    ended = instance.run(a_run(bucket, restore="touch ran", address=(nowhere, nowhere)))

    assert ended.returncode == TRANSFER_FAILED
    assert not (instance.directory / "ran").exists()


def test_a_failed_restore_is_not_verified(instance: Instance, bucket: Bucket) -> None:
    ended = instance.run(a_run(bucket, restore="echo no room; exit 4", verify="touch verified"))

    assert (ended.returncode, ended.stdout) == (RESTORE_FAILED, "")
    assert ended.stderr == "no room\nfarshore: restore script exited 4\n"
    assert not (instance.directory / "verified").exists()


def test_a_failed_verify_fails_the_run(instance: Instance, bucket: Bucket) -> None:
    ended = instance.run(a_run(bucket, verify="echo tables are missing; exit 5"))

    assert (ended.returncode, ended.stdout) == (VERIFY_FAILED, "")
    assert ended.stderr == "tables are missing\nfarshore: verify script exited 5\n"


def test_a_restore_runs_once(instance: Instance, bucket: Bucket) -> None:
    first = instance.run(a_run(bucket, restore="echo ran >> ran"))
    again = instance.run(a_run(bucket, restore="echo ran >> ran"))

    assert (first.returncode, again.returncode) == (0, RAN_BEFORE)
    assert (instance.directory / "ran").read_text() == "ran\n"


def test_a_server_that_the_script_starts_does_not_keep_the_run(instance: Instance, bucket: Bucket) -> None:
    ended = instance.run(a_run(bucket, restore="sleep 3 & echo started"))

    assert ended.returncode == 0


def test_both_scripts_have_last_words_and_ssm_keeps_why_it_failed(instance: Instance, bucket: Bucket) -> None:
    talks = "seq 1 99999 >&2; echo the last word"

    ended = instance.run(a_run(bucket, restore=talks, verify=f"{talks}; exit 3"))

    assert len(ended.stderr) < 8000  # what SSM returns
    assert ended.stderr.count("the last word\n") == 2
    assert ended.stderr.endswith("farshore: verify script exited 3\n")


def test_the_runners_own_lines_are_no_words_of_a_script() -> None:
    assert words_of("farshore: ours\n  theirs\nfailed to run commands: exit status 1\n") == "theirs"
    assert words_of("a" * 5000 + "b") == "a" * 1999 + "b"


def test_what_a_script_says_in_the_runners_name_is_cut() -> None:
    said = "farshore: nonsense\n" + "farshore: " + "a" * 8000
    why = explain_exit(RESTORE_FAILED, said * 9 + "\nfarshore: restore script exited 1\n")
    assert why.startswith("the restore script failed: ")
    assert why.endswith("restore script exited 1")
    assert len(why) < 2000


@pytest.mark.parametrize("braces", ["{{ssm:/prod/password}}", "{{ workingDirectory }}", "{{{{.ID}}}}"])
def test_ssm_finds_no_name_of_a_parameter_in_a_command(
    instance: Instance, bucket: Bucket, braces: str
) -> None:
    command = a_run(bucket, restore=f"printf '%s' '{braces}' > said", service=braces)

    assert "{{" not in command
    assert instance.run(command).returncode == 0
    assert (instance.directory / "said").read_text() == braces
