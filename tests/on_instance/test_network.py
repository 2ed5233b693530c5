"""The runner over a bad network: under every shell, against a server that resets, stalls, refuses, closes."""

import os
import signal
import threading
from datetime import timedelta
from typing import Any

import pytest

from chalicelib.on_instance import TRANSFER_FAILED, WRONG_BYTES, Persistence
from tests.on_instance.conftest import Bucket, Fault, Instance, processes_of, wait_until
from tests.on_instance.test_backup import MIB, a_run, report_of
from tests.on_instance.test_restore import DATA
from tests.on_instance.test_restore import a_run as a_restore

PATIENT = Persistence(patience_seconds=60, pause_seconds=0, stall_seconds=1)
WRITES_A_LITTLE = 'head -c 2500000 /dev/urandom > "$2"'
TOUCHES = {"restore": "touch ran", "verify": "touch ran"}


@pytest.mark.parametrize("fault", Fault)
def test_a_part_that_a_bad_network_loses_is_sent_again(
    instance: Instance, bucket: Bucket, fault: Fault
) -> None:
    bucket.faults = [fault]

    ended = instance.run(a_run(bucket, WRITES_A_LITTLE, persistence=PATIENT))

    assert (ended.returncode, ended.stderr) == (0, "")
    assert report_of(ended.stdout, bucket).size_bytes == 2_500_000


def test_a_part_is_sent_again_as_often_as_it_takes(instance: Instance, bucket: Bucket) -> None:
    bucket.faults = [Fault.RESET, Fault.SLOW_DOWN, Fault.CLOSE] * 5

    ended = instance.run(a_run(bucket, WRITES_A_LITTLE, persistence=PATIENT))

    assert (ended.returncode, bucket.faults) == (0, [])
    report_of(ended.stdout, bucket)


@pytest.mark.parametrize("fault", Fault)
def test_a_download_that_breaks_goes_on(instance: Instance, bucket: Bucket, fault: Fault) -> None:
    bucket.faults = [fault]

    ended = instance.run(a_restore(bucket, persistence=PATIENT))

    assert (ended.returncode, ended.stderr) == (0, "")
    assert (instance.directory / "restored").read_bytes() == DATA
    assert len(bucket.ranges) == 2


def test_a_download_goes_on_where_it_broke(instance: Instance, bucket: Bucket) -> None:
    bucket.faults = [Fault.CLOSE, Fault.SLOW_DOWN, Fault.CLOSE]
    half, quarter = len(DATA) // 2, len(DATA) // 4

    ended = instance.run(a_restore(bucket, persistence=PATIENT))

    assert ended.returncode == 0
    assert bucket.ranges == ["bytes=0-", f"bytes={half}-", f"bytes={half}-", f"bytes={half + quarter}-"]


def test_a_download_that_gets_on_may_break_as_often_as_it_likes(instance: Instance, bucket: Bucket) -> None:
    bucket.faults = [Fault.CLOSE] * 12

    ended = instance.run(a_restore(bucket, persistence=PATIENT))

    assert (ended.returncode, len(bucket.ranges)) == (0, 13)


def test_halves_of_two_objects_are_never_put_together(instance: Instance, bucket: Bucket) -> None:
    bucket.faults = [Fault.CLOSE]

    def replace() -> None:
        bucket.served = bytes(reversed(DATA))

    bucket.after_fault = replace

    ended = instance.run(a_restore(bucket, persistence=PATIENT, **TOUCHES))

    assert (ended.returncode, ended.stdout) == (WRONG_BYTES, "")
    assert "the backup was replaced while it was downloaded" in ended.stderr
    assert not (instance.directory / "ran").exists()
    assert instance.left_behind() == []


def test_a_server_that_knows_no_ranges_is_asked_for_the_whole_again(
    instance: Instance, bucket: Bucket
) -> None:
    bucket.knows_ranges = False
    bucket.faults = [Fault.CLOSE]

    ended = instance.run(a_restore(bucket, persistence=PATIENT))

    assert (ended.returncode, ended.stderr) == (0, "")
    assert (instance.directory / "restored").read_bytes() == DATA


REFUSALS = [
    (403, "SignatureDoesNotMatch"),
    (403, "AccessDenied"),
    (404, "NoSuchUpload"),
    (400, "EntityTooSmall"),
]


@pytest.mark.parametrize(("status", "code"), REFUSALS)
def test_what_s3_refuses_for_good_is_told_at_once(
    instance: Instance, bucket: Bucket, status: int, code: str
) -> None:
    bucket.refuse[2] = (status, code)

    ended = instance.run(a_run(bucket, WRITES_A_LITTLE, persistence=Persistence()))

    assert (ended.returncode, ended.stdout) == (TRANSFER_FAILED, "")
    told = f"part 2 of {MIB} bytes could not be uploaded: S3 answered {status} {code}: So it is.\n"
    assert f"farshore: {told}" in ended.stderr


def test_what_s3_refuses_without_reading_it_is_told_too(instance: Instance, bucket: Bucket) -> None:
    bucket.refuse[1], bucket.refuse_unread = (403, "AccessDenied"), True

    ended = instance.run(
        a_run(bucket, 'head -c 30000000 /dev/zero > "$2"', part_sizes=(32 * MIB,), persistence=PATIENT)
    )

    assert "S3 answered 403 AccessDenied: So it is.\n" in ended.stderr


@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (404, "NoSuchKey")])
def test_a_download_that_s3_refuses_is_told_at_once(
    instance: Instance, bucket: Bucket, status: int, code: str
) -> None:
    bucket.refuse_download = (status, code)

    ended = instance.run(a_restore(bucket, persistence=Persistence(), **TOUCHES))

    assert (ended.returncode, ended.stdout) == (TRANSFER_FAILED, "")
    assert f"0 of {len(DATA)} bytes came: S3 answered {status} {code}: So it is.\n" in ended.stderr
    assert not (instance.directory / "ran").exists()
    assert instance.left_behind() == []


def test_a_refusal_in_the_middle_of_a_download_is_told(instance: Instance, bucket: Bucket) -> None:
    bucket.faults = [Fault.CLOSE]

    def expire() -> None:
        bucket.refuse_download = (403, "AccessDenied")

    bucket.after_fault = expire

    ended = instance.run(a_restore(bucket, persistence=PATIENT, **TOUCHES))

    assert ended.returncode == TRANSFER_FAILED
    assert f"{len(DATA) // 2} of {len(DATA)} bytes came: S3 answered 403 AccessDenied" in ended.stderr


@pytest.mark.parametrize("command", [a_run, a_restore])
def test_a_run_gives_up_before_its_time_is_up_and_says_why(
    instance: Instance, bucket: Bucket, command: Any
) -> None:
    bucket.faults = [Fault.STALL] * 9
    arguments: dict[str, Any] = {
        "timeout": timedelta(seconds=2),
        "persistence": Persistence(stall_seconds=60),
    }
    if command is a_run:
        arguments["script"] = WRITES_A_LITTLE

    ended = instance.run(command(bucket, **arguments))

    assert (ended.returncode, ended.stdout) == (TRANSFER_FAILED, "")
    assert "s of trying" in ended.stderr
    assert len(bucket.faults) >= 7


def test_patience_ends_with_what_s3_said_last(instance: Instance, bucket: Bucket) -> None:
    bucket.faults = [Fault.RESET, *[Fault.SLOW_DOWN] * 100]
    twice = Persistence(patience_seconds=10, pause_seconds=1)  # a second try, though the first took seconds

    ended = instance.run(a_run(bucket, WRITES_A_LITTLE, persistence=twice))

    assert ended.returncode == TRANSFER_FAILED
    assert "S3 answered 503 SlowDown: Please reduce your request rate.; given up after" in ended.stderr


@pytest.mark.parametrize("command", [a_run, a_restore])
def test_a_runner_that_waits_for_the_network_can_be_told_to_end(
    instance: Instance, bucket: Bucket, command: Any
) -> None:
    failed = threading.Event()
    bucket.faults, bucket.after_fault = [Fault.SLOW_DOWN], failed.set
    arguments: dict[str, Any] = {"persistence": Persistence(patience_seconds=3000, pause_seconds=1000)}
    if command is a_run:
        arguments["script"] = WRITES_A_LITTLE
    process = instance.start(command(bucket, **arguments))
    assert failed.wait(20)
    wait_until(
        lambda: any(each.endswith("(sleep") for each in processes_of(process.pid)), "the runner does not wait"
    )

    os.kill(process.pid, signal.SIGTERM)
    process.communicate(timeout=20)

    assert process.returncode == 143
    wait_until(lambda: not processes_of(process.pid), f"{processes_of(process.pid)} still run")
    assert instance.left_behind() == []


JUMPS = """#!/bin/sh
# The clock of an instance, which is set while a run works.
if [ -e {home}/set ]; then echo 1800000000; else echo 1700000000; fi
"""


@pytest.mark.parametrize("command", [a_run, a_restore])
def test_a_clock_that_is_set_while_a_run_works_changes_nothing(
    instance: Instance, bucket: Bucket, command: Any
) -> None:
    home = instance.directory
    instance.script(JUMPS.format(home=home), "date")
    bucket.faults = [Fault.CLOSE, Fault.CLOSE]
    bucket.after_fault = (home / "set").touch
    arguments: dict[str, Any] = {"persistence": Persistence(patience_seconds=60, pause_seconds=0)}
    if command is a_run:
        arguments["script"] = WRITES_A_LITTLE

    ended = instance.run(f"PATH={home}:$PATH\n" + command(bucket, **arguments))

    assert (ended.returncode, ended.stderr) == (0, "")
