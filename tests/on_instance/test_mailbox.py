"""Letters: the runner takes each once, and goes on with the next when one has ceased to open anything."""

import hashlib
import re
from itertools import islice
from typing import Any

import pytest

from chalicelib.on_instance import TRANSFER_FAILED, Persistence
from chalicelib.vaults.layout import part_sizes
from tests.on_instance.conftest import NO_PATIENCE, Bucket, Fault, Instance
from tests.on_instance.test_backup import MIB, report_of
from tests.on_instance.test_backup import a_run as a_backup
from tests.on_instance.test_restore import DATA
from tests.on_instance.test_restore import a_run as a_restore

PATIENT = Persistence(patience_seconds=60, pause_seconds=0, stall_seconds=1)
HASTY = Persistence(patience_seconds=2, pause_seconds=0, letter_seconds=0, tick_seconds=1)
SIZES = (MIB,) * 8


def test_a_letter_is_taken_before_anything_else_is_done(instance: Instance, bucket: Bucket) -> None:
    taken_at: list[bool] = []
    bucket.on_taken = lambda number: taken_at.append((instance.directory / "ran").exists())

    assert instance.run(a_restore(bucket, restore="touch ran")).returncode == 0

    assert (taken_at, bucket.taken) == ([False], [1])


@pytest.mark.parametrize("command", [a_backup, a_restore])
@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.STALL])
def test_a_letter_that_a_bad_network_loses_is_asked_for_again(
    instance: Instance, bucket: Bucket, command: Any, fault: Fault
) -> None:
    bucket.mail_faults = [fault, fault]
    script = {"script": 'echo data > "$2"'} if command is a_backup else {}

    ended = instance.run(command(bucket, persistence=PATIENT, **script))

    assert (ended.returncode, ended.stderr, bucket.taken) == (0, "", [1])


@pytest.mark.parametrize("command", [a_backup, a_restore])
def test_a_letter_that_somebody_else_has_taken_fails_the_run_at_once(
    instance: Instance, bucket: Bucket, command: Any
) -> None:
    script = {"script": "touch ran"} if command is a_backup else {"restore": "touch ran"}
    text = command(bucket, persistence=PATIENT, **script)
    bucket.letters[1] = b"taken\n"

    ended = instance.run(text)

    assert (ended.returncode, ended.stdout) == (TRANSFER_FAILED, "")
    assert "somebody else has taken the letter that was meant for this run" in ended.stderr
    assert not (instance.directory / "ran").exists()


def test_a_letter_that_is_cut_off_is_none(instance: Instance, bucket: Bucket) -> None:
    text = a_restore(bucket, restore="touch ran", persistence=NO_PATIENCE)
    bucket.letters[1] = bucket.letters[1][:-5]

    assert instance.run(text).returncode == TRANSFER_FAILED
    assert bucket.taken == []
    assert not (instance.directory / "ran").exists()


def test_more_parts_than_a_letter_names_come_with_the_next(instance: Instance, bucket: Bucket) -> None:
    def write_next(number: int) -> None:
        if number < 4:
            bucket.write_backup_letter(number + 1, SIZES[:2], first=2 * number + 1, last=8)

    bucket.on_taken = write_next
    command = a_backup(bucket, 'head -c 7500000 /dev/urandom > "$2"', persistence=PATIENT)
    bucket.write_backup_letter(1, SIZES[:2], last=8)

    ended = instance.run(command)

    assert (ended.returncode, ended.stderr, bucket.taken) == (0, "", [1, 2, 3, 4])
    assert report_of(ended.stdout, bucket).size_bytes == 7_500_000


def test_a_letter_that_is_late_is_waited_for(instance: Instance, bucket: Bucket) -> None:
    command = a_backup(bucket, 'head -c 2500000 /dev/urandom > "$2"', persistence=PATIENT)
    bucket.write_backup_letter(1, SIZES[:1], last=8)
    asked: list[int] = []

    def come_late(number: int) -> None:
        asked.append(number)
        if len(asked) == 3:
            bucket.write_backup_letter(2, SIZES[:4], first=1, last=8)

    bucket.on_missing_letter = come_late

    ended = instance.run(command)

    assert (ended.returncode, asked, bucket.taken) == (0, [2, 2, 2], [1, 2])
    report_of(ended.stdout, bucket)


def test_no_letter_that_comes_in_time_fails_the_run_and_is_told(instance: Instance, bucket: Bucket) -> None:
    command = a_backup(bucket, 'head -c 2500000 /dev/urandom > "$2"', persistence=NO_PATIENCE)
    bucket.write_backup_letter(1, SIZES[:1], last=8)

    ended = instance.run(command)

    assert (ended.returncode, ended.stdout) == (TRANSFER_FAILED, "")
    assert "part 2 could not be sent: no new letter has come" in ended.stderr


@pytest.mark.parametrize("output", ["pipe", "file"])
def test_a_part_whose_signature_has_expired_is_sent_with_the_next_letters(
    instance: Instance, bucket: Bucket, output: str
) -> None:
    bucket.spent = {"letter-1"}
    bucket.on_taken = lambda number: bucket.write_backup_letter(number + 1, SIZES)

    ended = instance.run(
        a_backup(bucket, 'head -c 2500000 /dev/urandom > "$2"', persistence=PATIENT, output=output)
    )

    assert (ended.returncode, ended.stderr, bucket.taken) == (0, "", [1, 2])
    report_of(ended.stdout, bucket)


def test_a_report_whose_url_has_expired_is_sent_with_the_next_letters(
    instance: Instance, bucket: Bucket
) -> None:
    def expire() -> None:
        bucket.spent = {"letter-1"}
        bucket.write_backup_letter(2, SIZES)

    bucket.after_part = expire

    ended = instance.run(a_backup(bucket, 'echo data > "$2"', persistence=PATIENT))

    assert (ended.returncode, ended.stderr, bucket.taken) == (0, "", [1, 2])
    report_of(ended.stdout, bucket)


def test_a_download_that_breaks_when_its_url_has_expired_goes_on_with_the_next_letters(
    instance: Instance, bucket: Bucket
) -> None:
    def expire() -> None:
        bucket.spent = {"letter-1"}
        bucket.write_restore_letter(2)

    bucket.faults, bucket.after_fault = [Fault.CLOSE], expire

    ended = instance.run(a_restore(bucket, persistence=PATIENT))

    assert (ended.returncode, ended.stderr, bucket.taken) == (0, "", [1, 2])
    assert bucket.ranges == ["bytes=0-", f"bytes={len(DATA) // 2}-"]
    assert (instance.directory / "restored").read_bytes() == DATA


def test_an_expired_url_with_no_letter_to_follow_is_told_with_what_s3_said(
    instance: Instance, bucket: Bucket
) -> None:
    bucket.spent = {"letter-1"}
    twice = Persistence(patience_seconds=10, pause_seconds=1)  # a second try, though the first took seconds

    ended = instance.run(a_restore(bucket, persistence=twice))

    assert ended.returncode == TRANSFER_FAILED
    assert "S3 answered 403 AccessDenied: Request has expired; no new letter has come" in ended.stderr


def test_a_large_download_is_asked_for_in_ranges_and_takes_letters_between_them(
    instance: Instance, bucket: Bucket
) -> None:
    bucket.on_taken = lambda number: bucket.write_restore_letter(number + 1)
    third = len(DATA) // 3 + 1

    ended = instance.run(
        a_restore(bucket, persistence=Persistence(pause_seconds=0, letter_seconds=0, range_bytes=third))
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    assert bucket.ranges == [
        f"bytes=0-{third - 1}",
        f"bytes={third}-{2 * third - 1}",
        f"bytes={2 * third}-",
    ]
    assert bucket.taken == [1, 2, 3, 4]
    assert (instance.directory / "restored").read_bytes() == DATA


def test_a_slow_download_is_asked_for_anew_with_each_letter(instance: Instance, bucket: Bucket) -> None:
    def write_next(number: int) -> None:
        bucket.write_restore_letter(number + 1)
        bucket.spent |= {f"letter-{number - 1}"}

    bucket.on_taken, bucket.seconds_per_mib = write_next, 2

    ended = instance.run(
        a_restore(bucket, persistence=Persistence(patience_seconds=2, pause_seconds=0, letter_seconds=1))
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(bucket.ranges) > 1
    assert len(bucket.taken) > 1
    assert (instance.directory / "restored").read_bytes() == DATA


@pytest.mark.parametrize("output", ["pipe", "file"])
def test_letters_are_taken_while_a_script_takes_its_time(
    instance: Instance, bucket: Bucket, output: str
) -> None:
    """A script may be quiet for longer than a session lasts: then what the first letter named is spent."""

    def write_next(number: int) -> None:
        bucket.write_backup_letter(number + 1, SIZES)
        bucket.spent |= {f"letter-{number - 1}"}
        if number == 3:
            (instance.directory / "go").touch()

    bucket.on_taken = write_next

    ended = instance.run(
        a_backup(
            bucket,
            'echo first > "$2"; while [ ! -e go ]; do sleep 0.1; done; echo last >> "$2"',
            output=output,
            persistence=HASTY,
        )
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(bucket.taken) >= 3
    assert bucket.whole == b"first\nlast\n"
    report_of(ended.stdout, bucket)


def test_a_letter_of_a_thousand_parts_is_read(instance: Instance, bucket: Bucket) -> None:
    sizes = tuple(islice(part_sizes(), 1000))

    ended = instance.run(a_backup(bucket, 'head -c 9000000 /dev/zero > "$2"', part_sizes=sizes))

    assert ended.returncode == 0
    assert [part.size_bytes for part in report_of(ended.stdout, bucket).parts] == [
        8 * MIB,
        9_000_000 - 8 * MIB,
    ]


def test_what_the_command_says_opens_nothing_once_the_run_has_begun(
    instance: Instance, bucket: Bucket
) -> None:
    """As whoever reads the history of commands would try."""
    command = a_restore(bucket)

    assert instance.run(command).returncode == 0

    assert "letter-1" not in command
    assert hashlib.sha256(DATA).hexdigest() in command
    assert bucket.letters[1] == b"taken\n"


@pytest.mark.parametrize(
    ("command", "name"),
    [
        *((a_backup, name) for name in ("next", "take", "base", "report")),
        *((a_restore, name) for name in ("next", "take", "get", "list")),
    ],
)
def test_a_letter_that_names_a_place_outside_of_the_vault_is_none(
    instance: Instance, bucket: Bucket, command: Any, name: str
) -> None:
    """As one laid by somebody who may write in the vault and not read there."""
    script = {"script": 'touch ran; echo data > "$2"'} if command is a_backup else {"restore": "touch ran"}
    text = command(bucket, persistence=PATIENT, **script)
    laid = f"{name} {bucket.root}.example/?x={bucket.root}/".encode()
    bucket.letters[1], changed = re.subn(rb"(?m)^" + name.encode() + rb" .*", laid, bucket.letters[1])
    assert changed == 1

    ended = instance.run(text)

    assert (ended.returncode, ended.stdout) == (TRANSFER_FAILED, "")
    assert "the letter that came names a place outside of the vault" in ended.stderr
    assert (bucket.taken, bucket.parts, bucket.ranges) == ([], {}, [])
    assert not (instance.directory / "ran").exists()


@pytest.mark.parametrize("output", ["pipe", "file"])
def test_a_later_letter_that_names_a_place_outside_of_the_vault_is_none(
    instance: Instance, bucket: Bucket, output: str
) -> None:
    def lay(number: int) -> None:
        bucket.write_backup_letter(number + 1, SIZES)
        laid = bucket.letters[number + 1].replace(bucket.url.encode(), b"http://127.0.0.1:9/")
        bucket.letters[number + 1] = laid

    bucket.on_taken = lay
    ended = instance.run(a_backup(bucket, 'echo data > "$2"', persistence=HASTY, output=output))

    assert (ended.returncode, bucket.taken) == (0, [1])
    report_of(ended.stdout, bucket)
