"""Scripts to which nothing is transferred, run for real under every shell an instance may have."""

from datetime import timedelta
from typing import Any

import pytest

from chalicelib.on_instance import (
    LAUNCH_FAILED,
    NOT_STARTED,
    RAN_BEFORE,
    RESTORE_FAILED,
    VERIFY_FAILED,
    ScriptsRun,
    are_run,
    explain_exit,
    scripts_command,
)
from tests.on_instance.conftest import Instance, processes_of, wait_until

VOLUMES = {"/dev/sdg": "vol-0b", "/dev/sdf": "vol-0a"}
MOUNT = 'echo "$1 $FARSHORE_SERVICE $FARSHORE_JOB" >mounted; printf "%s\\n" $FARSHORE_VOLUMES >>mounted'


def scripts(**changes: Any) -> ScriptsRun:
    """Return a run of `MOUNT`, but for what `changes` says."""
    arguments: dict[str, Any] = {
        "job": "job-1",
        "service": "orders db",
        "script": MOUNT,
        "timeout": timedelta(hours=1),
        "volumes": VOLUMES,
    }
    return ScriptsRun(**arguments | changes)


def a_run(**changes: Any) -> str:
    """Write the command of such a run."""
    return scripts_command(scripts(**changes))


def test_the_script_is_told_the_volumes_by_device(instance: Instance) -> None:
    ended = instance.run(a_run())

    assert (ended.returncode, ended.stderr) == (0, "")
    told = (instance.directory / "mounted").read_text().splitlines()
    assert told == ["orders db orders db job-1", "/dev/sdf=vol-0a", "/dev/sdg=vol-0b"]
    assert ended.stdout == (
        "farshore-restored 1\nvolumes /dev/sdf=vol-0a /dev/sdg=vol-0b\nverified no\nend\n"
    )
    assert are_run(ended.stdout, scripts())
    assert not are_run(ended.stdout, scripts(verify="true"))
    assert not are_run(ended.stdout, scripts(volumes={"/dev/sdf": "vol-0c"}))
    assert instance.left_behind() == []


def test_the_verify_script_runs_after_it(instance: Instance) -> None:
    verify = '[ "$1" = "orders db" ] && grep -q "^/dev/sdg=vol-0b$" mounted'

    ended = instance.run(a_run(verify=verify))

    assert ended.returncode == 0
    assert are_run(ended.stdout, scripts(verify=verify))


def test_a_script_of_a_launch_has_no_volumes(instance: Instance) -> None:
    run = scripts(script='echo "[$FARSHORE_VOLUMES]" >told; cat >>told', volumes={}, at_launch=True)

    ended = instance.run(scripts_command(run))

    assert (ended.returncode, ended.stderr) == (0, "")
    assert (instance.directory / "told").read_text() == "[]\n"
    assert are_run(ended.stdout, run)


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        (
            {"script": "echo no device >&2; exit 3", "verify": "touch ran"},
            RESTORE_FAILED,
            "the restore script failed: restore script exited 3; its last words: no device",
        ),
        (
            {"verify": "echo stale; exit 4"},
            VERIFY_FAILED,
            "the restore script succeeded, but the verify script failed: verify script exited 4;"
            " its last words: stale",
        ),
        (
            {"script": "exit 5", "at_launch": True},
            LAUNCH_FAILED,
            "the launch script failed: launch script exited 5",
        ),
        (
            {"script": "/opt/none", "at_launch": True},
            NOT_STARTED,
            "the script could not be started: launch script /opt/none: there is no such file on this"
            " instance; put it there, or write the script's text in the plan",
        ),
    ],
)
def test_what_failed_is_said(instance: Instance, changes: dict[str, Any], code: int, said: str) -> None:
    ended = instance.run(a_run(**changes))

    assert (ended.returncode, ended.stdout) == (code, "")
    assert explain_exit(ended.returncode, ended.stderr) == said
    assert not (instance.directory / "ran").exists()
    assert instance.left_behind() == []


def test_a_job_runs_once_on_an_instance(instance: Instance) -> None:
    again = a_run(script="echo run >>runs")

    assert [instance.run(again).returncode for _ in range(2)] == [0, RAN_BEFORE]
    assert (instance.directory / "runs").read_text() == "run\n"


def test_a_run_that_is_stopped_ends_its_script(instance: Instance) -> None:
    process = instance.start(a_run(script="echo >begun; sleep 60; touch ended"))
    wait_until((instance.directory / "begun").exists, "the script did not begin")

    process.terminate()
    process.communicate(timeout=20)

    assert process.returncode == 143
    wait_until(lambda: "sh" not in " ".join(processes_of(process.pid)), "the script runs on")
    assert not (instance.directory / "ended").exists()
    wait_until(lambda: instance.left_behind() == [], "files were left")


def test_a_script_that_starts_a_server_ends_the_run(instance: Instance) -> None:
    ended = instance.run(a_run(script="sleep 50 & echo $! >server"))

    assert ended.returncode == 0
    instance.run(f"kill {(instance.directory / 'server').read_text()}")


@pytest.mark.parametrize("volumes", [{"/dev/s df": "vol-0a"}, {"/dev/sdf": "vol-0a vol-0b"}])
def test_volumes_that_are_no_words_are_refused(volumes: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="as words"):
        scripts(volumes=volumes)
