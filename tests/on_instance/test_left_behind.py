"""What a killed run leaves on the instance: nothing of the backup, at the latest once another run begins."""

import os
import signal
from pathlib import Path

import pytest

from chalicelib.on_instance import RAN_BEFORE
from tests.on_instance.conftest import Bucket, Fault, Instance, processes_of, wait_until
from tests.on_instance.test_backup import MIB
from tests.on_instance.test_backup import a_run as a_backup
from tests.on_instance.test_restore import a_run

WAITS = "touch began; exec sleep 1000"


@pytest.fixture
def without_setsid(tmp_path: Path) -> str:
    """Lay a PATH on which there is no setsid, so that the guard is killed together with its group."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for folder in ("/usr/bin", "/bin"):
        for tool in Path(folder).iterdir():
            if tool.name != "setsid" and not (tools / tool.name).exists():
                (tools / tool.name).symlink_to(tool)
    return f"PATH={tools}\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_killed_restore_leaves_nothing_of_the_backup(
    instance: Instance, bucket: Bucket, number: signal.Signals
) -> None:
    process = instance.start(a_run(bucket, restore=WAITS))
    wait_until((instance.directory / "began").exists, "the restore script did not begin")
    assert any("backup" in path for path in instance.left_behind())

    os.killpg(process.pid, number)
    process.communicate(timeout=20)

    wait_until(lambda: not instance.left_behind(), "the backup lies there still")
    assert [path.name for path in (instance.state / "farshore").iterdir()] == ["job-1"]
    assert instance.run(a_run(bucket)).returncode == RAN_BEFORE


def test_a_restore_killed_in_its_download_leaves_nothing(instance: Instance, bucket: Bucket) -> None:
    bucket.faults = [Fault.STALL]
    process = instance.start(a_run(bucket))
    downloaded = instance.state / "farshore" / "job-1" / "backup"
    wait_until(lambda: downloaded.exists() and downloaded.stat().st_size > 0, "nothing is downloaded")

    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=20)

    wait_until(lambda: not instance.left_behind(), "the backup lies there still")


def test_a_restore_whose_shell_alone_is_killed_leaves_nothing(instance: Instance, bucket: Bucket) -> None:
    process = instance.start(a_run(bucket, restore="touch began; while [ ! -e go ]; do sleep 0.02; done"))
    wait_until((instance.directory / "began").exists, "the restore script did not begin")

    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: not instance.left_behind(), "the backup lies there still")
    (instance.directory / "go").touch()
    process.communicate(timeout=20)

    wait_until(lambda: not processes_of(process.pid), f"{processes_of(process.pid)} still run")


@pytest.mark.parametrize("output", ["pipe", "file"])
def test_a_killed_backup_leaves_nothing(instance: Instance, bucket: Bucket, output: str) -> None:
    script = f'head -c {MIB + 5} /dev/zero > "$2"; {WAITS}'
    process = instance.start(a_backup(bucket, script, output=output))
    wait_until((instance.directory / "began").exists, "the script did not begin")

    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=20)

    wait_until(lambda: not instance.left_behind(), "the output lies there still")


def test_what_a_run_left_that_died_with_its_guard_is_purged_by_the_next(
    instance: Instance, bucket: Bucket, without_setsid: str
) -> None:
    process = instance.start(without_setsid + a_run(bucket, restore=WAITS))
    wait_until((instance.directory / "began").exists, "the restore script did not begin")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=20)
    assert any(path.endswith("backup") for path in instance.left_behind())

    ended = instance.run(a_backup(bucket, 'echo data > "$2"', job="job-2"))

    assert ended.returncode == 0
    assert instance.left_behind() == []
    assert instance.run(a_run(bucket)).returncode == RAN_BEFORE


def test_a_run_that_is_under_way_is_not_purged(instance: Instance, bucket: Bucket) -> None:
    waits = 'touch began; while [ ! -e go ]; do sleep 0.02; done; cmp "$2" - && touch same'
    first = instance.start(a_run(bucket, restore=waits))
    wait_until((instance.directory / "began").exists, "the restore script did not begin")

    second = instance.run(a_backup(bucket, 'echo data > "$2"', job="job-2"))
    (instance.directory / "go").touch()
    first.communicate(timeout=20)

    assert (first.returncode, second.returncode) == (0, 0)
    assert (instance.directory / "same").exists()


def test_no_guard_outlives_its_run(instance: Instance, bucket: Bucket) -> None:
    assert instance.run(a_run(bucket)).returncode == 0

    wait_until(lambda: not guards_of(instance), "a guard is still there")


def guards_of(instance: Instance) -> list[str]:
    """List the guards that run for an instance."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"guard" in words and str(instance.state).encode() in b" ".join(words):
            found.append(process.name)
    return found
