"""What scripts are given and what the runner needs: the declaration, the runner and the page say the same."""

import re
import shutil
from pathlib import Path

import pytest

from chalicelib.on_instance.contract import (
    ARGUMENTS,
    BOTH_RESTORES,
    RUNNERS,
    TOOLS,
    VARIABLES,
    Runner,
    Script,
    document,
    tools,
)
from tests.on_instance.conftest import Bucket, Instance
from tests.on_instance.test_backup import a_run, report_of
from tests.on_instance.test_restore import DATA, by_parts
from tests.on_instance.test_restore import a_run as a_restore
from tests.on_instance.test_scripts import a_run as a_run_of_scripts

PAGE = (Path(__file__).parents[2] / "docs" / "scripts.md").read_text(encoding="utf-8")
TELL = (
    'printf \'%s\\n\' "$#" "$1" "$2" >{name};'
    " env | sed -n 's/^\\(FARSHORE_[A-Z]*\\)=\\(.*\\)/\\1 \\2/p' >>{name}"
)


def test_the_page_has_the_tables_of_the_declaration() -> None:
    between = re.search(r"<!-- given -->\n(.*?)<!-- end -->", PAGE, re.DOTALL)
    assert between is not None
    assert between[1] == document()


@pytest.mark.parametrize("output", ["pipe", "file"])
def test_scripts_are_given_what_is_declared_and_nothing_else(
    instance: Instance, bucket: Bucket, output: str
) -> None:
    told = {Script.BACKUP: "a", Script.RESTORE: "b", Script.VERIFY: "c"}
    backup = TELL.format(name="a") + '; cat >>a; echo data >"$2"'
    restore, verify = (TELL.format(name=each) + f"; cat >>{each}.in" for each in "bc")

    assert instance.run(a_run(bucket, backup, service="orders", output=output)).returncode == 0
    command = a_restore(bucket, restore=restore, verify=verify, service="orders", job="job-2")
    assert instance.run(command).returncode == 0

    for script, name in told.items():
        count, first, second, *variables = (instance.directory / name).read_text().splitlines()
        declared = {each.name for each in ARGUMENTS if script in each.scripts}
        assert (f"${count}" in declared, f"${int(count) + 1}" in declared) == (True, False)
        values = dict(line.split(" ", 1) for line in variables)
        assert set(values) == {each.name for each in VARIABLES if script in each.scripts}
        assert (first, values["FARSHORE_SERVICE"]) == ("orders", "orders")
        assert second == values.get("FARSHORE_OUTPUT", values.get("FARSHORE_INPUT"))
    for script in BOTH_RESTORES:
        assert (instance.directory / f"{told[script]}.in").read_bytes() == DATA


def test_scripts_alone_are_given_what_is_declared_and_nothing_else(instance: Instance) -> None:
    tell = "echo $# $1 >told; env | sed -n 's/^\\(FARSHORE_[A-Z]*\\)=\\(.*\\)/\\1 \\2/p' >>told; cat >>told"

    command = a_run_of_scripts(script="true", verify=tell, service="orders", volumes={"/dev/sdf": "vol-0a"})
    assert instance.run(command).returncode == 0

    arguments, *variables = (instance.directory / "told").read_text().splitlines()
    assert arguments == "1 orders"
    values = dict(line.split(" ", 1) for line in variables)
    assert set(values) == {each.name for each in VARIABLES if Script.VOLUMES in each.scripts}
    assert (values["FARSHORE_SERVICE"], values["FARSHORE_VOLUMES"]) == ("orders", "/dev/sdf=vol-0a")


def only_what_is_declared(instance: Instance, runner: Runner) -> Path:
    """Make a folder with the declared tools alone, those of the shell's own package."""
    folder = instance.directory / "tools"
    folder.mkdir()
    for tool in tools(runner):
        found = shutil.which("busybox" if instance.shell[0] == "busybox" and tool != "curl" else tool)
        assert found is not None
        (folder / tool).symlink_to(Path(found).resolve())
    return folder


@pytest.mark.parametrize("output", ["pipe", "file"])
def test_a_backup_needs_the_declared_tools_and_no_other(
    instance: Instance, bucket: Bucket, output: str
) -> None:
    path = only_what_is_declared(instance, Runner.BACKUP)

    ended = instance.run(f"PATH={path}\n" + a_run(bucket, 'echo data >"$2"', output=output))

    assert (ended.returncode, ended.stderr) == (0, "")
    report_of(ended.stdout, bucket)
    assert instance.left_behind() == []


@pytest.mark.parametrize("whole", [True, False])
def test_a_restore_needs_the_declared_tools_and_no_other(
    instance: Instance, bucket: Bucket, whole: bool
) -> None:
    path = only_what_is_declared(instance, Runner.RESTORE)
    checks = {} if whole else by_parts(bucket)

    ended = instance.run(
        f"PATH={path}\n" + a_restore(bucket, restore="cat >restored", verify="true", **checks)
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    assert (instance.directory / "restored").read_bytes() == DATA
    assert instance.left_behind() == []


def test_scripts_alone_need_the_declared_tools_and_no_other(instance: Instance) -> None:
    path = only_what_is_declared(instance, Runner.SCRIPTS)

    ended = instance.run(
        f"PATH={path}\n" + a_run_of_scripts(script="echo >mounted", verify="test -s mounted")
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    assert instance.left_behind() == []


@pytest.mark.parametrize("tool", [each.name for each in TOOLS])
def test_a_declared_tool_that_is_missing_is_named_before_anything_runs(
    instance: Instance, bucket: Bucket, tool: str
) -> None:
    runner = next(each for each in RUNNERS[::-1] if tool in tools(each))
    path = only_what_is_declared(instance, runner)
    (path / tool).unlink()
    match runner:
        case Runner.BACKUP:
            command = a_run(bucket, "true")
        case Runner.RESTORE:
            command = a_restore(bucket, restore="true")
        case Runner.SCRIPTS:
            command = a_run_of_scripts(script="true")

    ended = instance.run(f"PATH={path}\n" + command)

    assert ended.stderr == f"farshore: this instance has no {tool} on the PATH ({path})\n"
    assert bucket.taken == []
