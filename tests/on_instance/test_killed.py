"""A runner that is killed, in every way an agent or an operator kills one: nothing reported, nothing left."""

import os
import signal
import subprocess

import pytest

from chalicelib.on_instance import RAN_BEFORE
from tests.on_instance.conftest import Bucket, Instance, processes_of, wait_until
from tests.on_instance.test_backup import MIB, a_run

WRITES_FOR_EVER = 'exec cat /dev/zero > "$2"'
WAITS_FOR_EVER = 'echo data > "$2"; exec sleep 1000'


def kill_group(process: "subprocess.Popen[str]", number: signal.Signals) -> None:
    """Do as SSM's agent does when a command's time is up or it is cancelled."""
    os.killpg(process.pid, number)


def kill_alone(process: "subprocess.Popen[str]", number: signal.Signals) -> None:
    """Send the signal to the runner's shell and to nothing that it started."""
    os.kill(process.pid, number)


@pytest.mark.parametrize("output", ["pipe", "file"])
@pytest.mark.parametrize("script", [WRITES_FOR_EVER, WAITS_FOR_EVER], ids=["writing", "waiting"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP])
def test_a_killed_group_reports_nothing_and_leaves_nothing_running(
    instance: Instance, bucket: Bucket, script: str, output: str, number: signal.Signals
) -> None:
    if output == "file":
        script = script.replace("/dev/zero", "/dev/null; sleep 1000")
    process = instance.start(a_run(bucket, f"touch began; {script}", part_sizes=(MIB,) * 100))
    wait_until((instance.directory / "began").exists, "the script did not begin")

    kill_group(process, number)
    stdout, _ = process.communicate(timeout=20)

    assert process.returncode != 0
    assert stdout == ""
    wait_until(lambda: not processes_of(process.pid), f"{processes_of(process.pid)} still run")
    assert instance.run(a_run(bucket, "echo x")).returncode == RAN_BEFORE


@pytest.mark.parametrize("script", [WRITES_FOR_EVER, WAITS_FOR_EVER], ids=["writing", "waiting"])
def test_a_runner_told_to_end_ends_all_that_it_started_and_cleans_up(
    instance: Instance, bucket: Bucket, script: str
) -> None:
    process = instance.start(a_run(bucket, f"touch began; {script}", part_sizes=(MIB,) * 100))
    wait_until((instance.directory / "began").exists, "the script did not begin")

    kill_alone(process, signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=20)

    assert (process.returncode, stdout) == (143, "")
    assert "stopped by SIGTERM" in stderr
    wait_until(lambda: not processes_of(process.pid), f"{processes_of(process.pid)} still run")


def test_readers_of_a_killed_runner_end_with_the_script(instance: Instance, bucket: Bucket) -> None:
    script = 'touch began; while [ ! -e go ]; do sleep 0.02; done; echo data > "$2"'
    process = instance.start(a_run(bucket, script))
    wait_until((instance.directory / "began").exists, "the script did not begin")

    kill_alone(process, signal.SIGKILL)
    (instance.directory / "go").touch()
    stdout, _ = process.communicate(timeout=20)

    assert stdout == ""
    wait_until(lambda: not processes_of(process.pid), f"{processes_of(process.pid)} still run")


@pytest.mark.parametrize("output", ["pipe", "file"])
def test_a_run_whose_hashing_is_killed_before_it_begins_fails_and_leaves_nothing_running(
    instance: Instance, bucket: Bucket, output: str
) -> None:
    folder = instance.directory / "bin"
    folder.mkdir()
    kills = "pkill -KILL -s $(ps -o sid= -p $$) -x sha256sum"
    (folder / "tee").write_text(f'#!/bin/sh\n{kills}\nexec /usr/bin/tee "$@"\n')
    (folder / "tee").chmod(0o755)

    process = instance.start(f"PATH={folder}:$PATH\n" + a_run(bucket, 'echo data >"$2"', output=output))
    stdout, stderr = process.communicate(timeout=20)

    assert process.returncode != 0
    assert stdout == ""
    assert "farshore: " in stderr
    wait_until(lambda: not processes_of(process.pid), f"{processes_of(process.pid)} still run")
    assert instance.left_behind() == []
