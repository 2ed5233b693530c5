"""SSM agents and commands, called with boto3 over HTTP; the scripts really run."""

import json
import os
import select
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from wsgiref.types import WSGIEnvironment

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from little_stack import bare_endpoint
from local_cloud.call import ACCOUNT, CloudContext, Quotas
from local_cloud.control.clock import Clock
from local_cloud.control.timeline import Timeline
from local_cloud.endpoint import Endpoint
from local_cloud.passing import moto_backend
from local_cloud.server import HttpAnswer, Server
from local_cloud.services.ssm import Ssm

REGION = "eu-central-1"
START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
INVOCATION_CHANGED = "EC2 Command Invocation Status-change Notification"
COMMAND_CHANGED = "EC2 Command Status-change Notification"


@dataclass
class World:
    """An SSM on loopback, instances of moto's whose states the test sets, and what reached EventBridge."""

    root: Path
    clock: Clock
    timeline: Timeline
    ssm: Any
    ec2: Any
    stand_in: Ssm = field(init=False)
    states: dict[str, str] = field(default_factory=dict)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def directory(self, instance_id: str) -> Path:
        return self.root / "instances" / instance_id

    def launch(self, **tags: str) -> str:
        """Launch an instance; its agent is not online yet."""
        wanted = [{"Key": key, "Value": value} for key, value in tags.items()]
        launched = self.ec2.run_instances(
            ImageId="ami-12345678",
            MinCount=1,
            MaxCount=1,
            TagSpecifications=[{"ResourceType": "instance", "Tags": wanted}] if wanted else [],
        )
        instance_id: str = launched["Instances"][0]["InstanceId"]
        self.start(instance_id)
        return instance_id

    def online(self, **tags: str) -> str:
        """Launch an instance and wait for its agent."""
        instance_id = self.launch(**tags)
        self.advance(60)
        return instance_id

    def start(self, instance_id: str) -> None:
        self.states[instance_id] = "running"
        self.stand_in.running(REGION, instance_id)

    def stop(self, instance_id: str) -> None:
        self.states[instance_id] = "stopped"
        self.stand_in.stopped(REGION, instance_id)

    def terminate(self, instance_id: str) -> None:
        self.states[instance_id] = "terminated"
        self.stand_in.gone(REGION, instance_id)

    def fifo(self, instance_id: str) -> Path:
        """Make a FIFO in the instance's directory, for its script to tell that it has started."""
        started = self.directory(instance_id) / "started"
        started.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(started)
        return started

    def advance(self, seconds: float) -> None:
        self.timeline.run_until(self.clock.now() + timedelta(seconds=seconds))

    def send(self, instance_id: str, *lines: str, **more: Any) -> str:
        parameters = {"commands": list(lines)} | more.pop("parameters", {})
        sent = self.ssm.send_command(
            InstanceIds=[instance_id], DocumentName="AWS-RunShellScript", Parameters=parameters, **more
        )
        command_id: str = sent["Command"]["CommandId"]
        return command_id

    def result(self, command_id: str, instance_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.ssm.get_command_invocation(CommandId=command_id, InstanceId=instance_id)
        return answer

    def run(self, instance_id: str, *lines: str, **more: Any) -> dict[str, Any]:
        command_id = self.send(instance_id, *lines, **more)
        self.advance(60)
        return self.result(command_id, instance_id)

    def statuses(self, detail_type: str) -> list[str]:
        return [event["detail"]["status"] for _, event in self.events if event["detail-type"] == detail_type]


@dataclass
class Gate:
    """A server whose endpoint each test brings, so that clients are made once."""

    endpoint: Endpoint | None = None

    def __call__(self, environ: WSGIEnvironment) -> HttpAnswer:
        assert self.endpoint
        return self.endpoint(environ)


@pytest.fixture(scope="module")
def gate() -> Iterator[tuple[Gate, Any, Any]]:
    made = Gate()
    server = Server(made)
    server.start()
    session = boto3.Session("test", "test", region_name=REGION)
    unchecked = Config(parameter_validation=False)
    ssm = session.client("ssm", endpoint_url=server.url, config=unchecked)
    yield made, ssm, session.client("ec2", endpoint_url=server.url)
    server.close()


@pytest.fixture
def world(tmp_path: Path, gate: tuple[Gate, Any, Any]) -> Iterator[World]:
    moto_backend("ec2").reset()
    moto_backend("ssm").reset()
    with Clock(START) as clock:
        timeline = Timeline(clock, patience=timedelta(seconds=20))
        made = World(tmp_path, clock, timeline, gate[1], gate[2])

        def emit(region: str, event: dict[str, Any]) -> None:
            made.events.append((region, event))

        ground = CloudContext(clock, timeline, emit, tmp_path, Quotas())
        made.stand_in = Ssm(ground, made.directory, lambda account, region, name: made.states.get(name))
        gate[0].endpoint = bare_endpoint(clock, timeline)
        gate[0].endpoint.attach([made.stand_in])
        yield made
        made.stand_in.reset()


def code_of(caught: pytest.ExceptionInfo[ClientError]) -> str:
    return str(caught.value.response["Error"]["Code"])


def pings(world: World, **filters: Any) -> dict[str, str]:
    listed = world.ssm.describe_instance_information(**filters)["InstanceInformationList"]
    return {each["InstanceId"]: each["PingStatus"] for each in listed}


def test_agent_is_online_only_a_while_after_the_instance_runs(world: World) -> None:
    instance_id = world.launch()
    world.advance(1)
    assert pings(world) == {}
    with pytest.raises(ClientError) as caught:
        world.send(instance_id, "true")
    assert code_of(caught) == "InvalidInstanceId"
    world.advance(60)
    assert pings(world) == {instance_id: "Online"}


def test_agent_of_a_stopped_instance_is_lost_and_comes_back_when_it_starts(world: World) -> None:
    instance_id = world.online()
    world.stop(instance_id)
    assert pings(world) == {instance_id: "ConnectionLost"}
    world.start(instance_id)
    assert pings(world) == {instance_id: "ConnectionLost"}
    world.advance(60)
    assert pings(world) == {instance_id: "Online"}


def test_terminated_instance_is_no_managed_node_any_more(world: World) -> None:
    instance_id = world.online()
    world.terminate(instance_id)
    assert pings(world) == {}
    with pytest.raises(ClientError) as caught:
        world.send(instance_id, "true")
    assert code_of(caught) == "InvalidInstanceId"


def test_instance_tagged_so_never_has_an_agent(world: World) -> None:
    world.online(**{"local:ssm-agent": "none"})
    assert pings(world) == {}


def test_instances_are_filtered_by_id_ping_status_and_tag(world: World) -> None:
    orders, users = world.online(app="orders"), world.online(app="users")
    world.stop(users)
    assert pings(world, Filters=[{"Key": "InstanceIds", "Values": [orders]}]) == {orders: "Online"}
    assert pings(world, Filters=[{"Key": "PingStatus", "Values": ["ConnectionLost"]}]).keys() == {users}
    assert pings(world, Filters=[{"Key": "tag:app", "Values": ["orders"]}]).keys() == {orders}
    assert pings(world, Filters=[{"Key": "tag-key", "Values": ["app"]}]).keys() == {orders, users}
    with pytest.raises(ClientError) as caught:
        pings(world, Filters=[{"Key": "Colour", "Values": ["red"]}])
    assert code_of(caught) == "InvalidFilterKey"


def test_instances_come_in_pages_of_ten_unless_asked_otherwise(world: World) -> None:
    launched = {world.launch() for _ in range(12)}
    world.advance(60)
    first = world.ssm.describe_instance_information()
    assert len(first["InstanceInformationList"]) == 10
    paginator = world.ssm.get_paginator("describe_instance_information")
    pages = list(paginator.paginate(PaginationConfig={"PageSize": 5}))
    assert [len(page["InstanceInformationList"]) for page in pages] == [5, 5, 2]
    assert {each["InstanceId"] for page in pages for each in page["InstanceInformationList"]} == launched
    with pytest.raises(ClientError) as caught:
        world.ssm.describe_instance_information(MaxResults=51)
    assert code_of(caught) == "ValidationException"
    with pytest.raises(ClientError) as caught:
        world.ssm.describe_instance_information(NextToken="bm9uZQ==")
    assert code_of(caught) == "InvalidNextToken"


def test_script_really_runs_in_the_instances_directory_with_the_agents_environment(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance_id = world.online()
    for name in ("AWS_SECRET_ACCESS_KEY", "HOME", "PATH", "USER", "SHELL", "VIRTUAL_ENV"):
        monkeypatch.setenv(name, "/nothing/a/script/may/see")
    result = world.run(instance_id, "echo hello > greeting", "pwd", "env")
    assert (result["Status"], result["ResponseCode"]) == ("Success", 0)
    home = world.directory(instance_id)
    assert (home / "greeting").read_text() == "hello\n"
    said = result["StandardOutputContent"].splitlines()
    assert said[0] == str(home)
    given = dict(line.split("=", 1) for line in said[1:])
    assert given.keys() - {"PWD", "OLDPWD", "SHLVL", "_"} == {
        "PATH",
        "TMPDIR",
        "LANG",
        "SSM_COMMAND_ID",
        "AWS_SSM_INSTANCE_ID",
        "AWS_SSM_REGION_NAME",
    }
    system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert (given["PATH"], given["TMPDIR"]) == (f"{home}/usr/local/bin:{system}", f"{home}/tmp")


def test_script_finds_the_instances_own_tools_and_no_other_instances(world: World) -> None:
    mine, other = world.online(), world.online()
    tool = world.directory(mine) / "usr" / "local" / "bin" / "tool"
    tool.parent.mkdir(parents=True)
    tool.write_text("#!/bin/sh\necho mine\n")
    tool.chmod(0o755)
    assert world.run(mine, "tool")["StandardOutputContent"] == "mine\n"
    assert world.run(other, "tool")["ResponseCode"] == 127


def test_files_of_a_script_have_the_modes_that_the_agents_have(world: World) -> None:
    instance_id, before = world.online(), os.umask(0o077)
    try:
        world.run(instance_id, "echo x > made")
    finally:
        os.umask(before)
    assert (world.directory(instance_id) / "made").stat().st_mode & 0o777 == 0o644


def test_exit_code_and_both_outputs_of_a_failed_script_are_kept(world: World) -> None:
    result = world.run(world.online(), "echo out", "echo err >&2", "exit 3")
    assert (result["Status"], result["StatusDetails"], result["ResponseCode"]) == ("Failed", "Failed", 3)
    assert result["StandardOutputContent"] == "out\n"
    assert result["StandardErrorContent"] == "err\nfailed to run commands: exit status 3"


def test_script_with_its_own_interpreter_is_run_by_it(world: World) -> None:
    assert (
        world.run(world.online(), "#!/bin/cat", "no shell")["StandardOutputContent"]
        == "#!/bin/cat\nno shell\n"
    )


def test_exit_code_137_counts_as_timed_out_as_the_agent_has_it(world: World) -> None:
    result = world.run(world.online(), "exit 137")
    assert (result["Status"], result["ResponseCode"]) == ("TimedOut", 137)


def test_background_process_keeps_the_command_in_progress_while_it_holds_an_output(world: World) -> None:
    instance_id = world.online()
    free = world.run(instance_id, "sleep 60 > /dev/null 2>&1 &", "echo done")
    assert (free["Status"], free["StandardOutputContent"]) == ("Success", "done\n")
    held = world.run(instance_id, "sleep 60 &", "echo done", parameters={"executionTimeout": ["1"]})
    assert (held["Status"], held["StandardOutputContent"]) == ("TimedOut", "done\n")


def test_output_beyond_what_ssm_keeps_is_cut_with_the_agents_mark(world: World) -> None:
    result = world.run(
        world.online(), "head -c 100000 /dev/zero | tr '\\0' x", "head -c 9000 /dev/zero | tr '\\0' y >&2"
    )
    assert result["Status"] == "Success"
    out, err = result["StandardOutputContent"], result["StandardErrorContent"]
    assert (len(out), out[-21:]) == (24_000, "x--output truncated--")
    assert (len(err), err[-21:]) == (8_000, "y--output truncated--")


def test_working_directory_that_is_missing_fails_the_command(world: World) -> None:
    instance_id = world.online()
    result = world.run(instance_id, "pwd", parameters={"workingDirectory": ["/no/such/place"]})
    assert (result["Status"], result["ResponseCode"]) == ("Failed", 1)
    assert "/no/such/place" in result["StandardErrorContent"]
    result = world.run(instance_id, "pwd", parameters={"workingDirectory": [str(world.root)]})
    assert result["StandardOutputContent"] == f"{world.root}\n"


def test_script_that_outlasts_its_time_is_killed_with_its_children(world: World) -> None:
    instance_id = world.online()
    lines = ("echo begun", "(sleep 30; echo late > late) &", "echo $! > child", "sleep 30")
    result = world.run(instance_id, *lines, parameters={"executionTimeout": ["2"]})
    assert (result["Status"], result["StatusDetails"]) == ("TimedOut", "ExecutionTimedOut")
    assert (result["ResponseCode"], result["StandardOutputContent"]) == (137, "begun\n")
    assert has_ended((world.directory(instance_id) / "child").read_text())
    assert not (world.directory(instance_id) / "late").exists()


def has_ended(pid: str) -> bool:
    """Return whether a process that was killed ends within a few seconds."""
    try:
        process = os.pidfd_open(int(pid))
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], 10)[0])
    finally:
        os.close(process)


def test_simulated_time_does_not_step_over_a_running_script(world: World) -> None:
    instance_id = world.online()
    command_id = world.send(instance_id, "sleep 0.3")
    world.advance(3000)
    assert world.result(command_id, instance_id)["Status"] == "Success"


def test_cancelled_command_is_killed_and_says_so(world: World) -> None:
    instance_id = world.online()
    started = world.fifo(instance_id)
    command_id = world.send(instance_id, "echo > started", "sleep 30")
    begun = threading.Thread(target=lambda: world.advance(10))
    begun.start()
    started.read_bytes()
    world.ssm.cancel_command(CommandId=command_id)
    begun.join()
    result = world.result(command_id, instance_id)
    assert (result["Status"], result["ResponseCode"]) == ("Cancelled", 137)
    assert world.statuses(INVOCATION_CHANGED) == ["InProgress", "Cancelling", "Cancelled"]


def test_command_cancelled_before_it_is_delivered_never_runs(world: World) -> None:
    instance_id = world.online()
    command_id = world.send(instance_id, "touch ran")
    world.ssm.cancel_command(CommandId=command_id)
    world.advance(60)
    assert world.result(command_id, instance_id)["Status"] == "Cancelled"
    assert not (world.directory(instance_id) / "ran").exists()


def test_invocation_is_not_there_in_the_moment_after_sending(world: World) -> None:
    instance_id = world.online()
    command_id = world.send(instance_id, "true")
    with pytest.raises(ClientError) as caught:
        world.result(command_id, instance_id)
    assert code_of(caught) == "InvocationDoesNotExist"


def test_command_to_a_stopped_instance_waits_and_runs_when_it_is_back(world: World) -> None:
    instance_id = world.online()
    world.stop(instance_id)
    command_id = world.send(instance_id, "touch ran", TimeoutSeconds=600)
    world.advance(60)
    assert world.result(command_id, instance_id)["Status"] == "Delayed"
    world.start(instance_id)
    world.advance(60)
    assert world.result(command_id, instance_id)["Status"] == "Success"


def test_command_that_cannot_be_delivered_in_time_never_runs_and_times_out(world: World) -> None:
    instance_id = world.online()
    world.stop(instance_id)
    command_id = world.send(
        instance_id, "touch ran", TimeoutSeconds=60, parameters={"executionTimeout": ["600"]}
    )
    world.advance(120)
    world.start(instance_id)
    world.advance(120)
    assert world.result(command_id, instance_id)["Status"] == "Delayed"
    world.advance(600)
    result = world.result(command_id, instance_id)
    assert (result["Status"], result["StatusDetails"]) == ("TimedOut", "DeliveryTimedOut")
    assert not (world.directory(instance_id) / "ran").exists()


def test_terminating_an_instance_kills_its_script_whose_end_nobody_reports(world: World) -> None:
    instance_id = world.online()
    started = world.fifo(instance_id)
    command_id = world.send(
        instance_id,
        "setsid sleep 60 > /dev/null 2>&1 &",
        "echo $! > child",
        "echo > started",
        "sleep 60",
    )
    begun = threading.Thread(target=lambda: world.advance(10))
    begun.start()
    started.read_bytes()
    world.terminate(instance_id)
    begun.join()
    assert has_ended((world.directory(instance_id) / "child").read_text())
    assert world.result(command_id, instance_id)["Status"] == "InProgress"
    world.advance(2 * 3600 + 60)
    assert world.result(command_id, instance_id)["StatusDetails"] == "DeliveryTimedOut"


def test_command_that_waits_for_a_terminated_instance_is_undeliverable(world: World) -> None:
    instance_id = world.online()
    world.stop(instance_id)
    command_id = world.send(instance_id, "true")
    world.advance(10)
    world.terminate(instance_id)
    result = world.result(command_id, instance_id)
    assert (result["Status"], result["StatusDetails"]) == ("Failed", "Undeliverable")


def test_changes_of_status_are_told_to_eventbridge_in_the_documented_shape(world: World) -> None:
    instance_id = world.online()
    command_id = world.send(instance_id, "true")
    world.advance(60)
    assert world.statuses(INVOCATION_CHANGED) == ["InProgress", "Success"]
    assert world.statuses(COMMAND_CHANGED) == ["InProgress", "Success"]
    region, event = next(each for each in world.events if each[1]["detail-type"] == INVOCATION_CHANGED)
    assert (region, event["source"]) == (REGION, "aws.ssm")
    assert event["resources"] == [f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/{instance_id}"]
    detail = event["detail"]
    assert (detail["command-id"], detail["instance-id"]) == (command_id, instance_id)
    assert detail["document-name"] == "AWS-RunShellScript"
    assert detail["requested-date-time"].startswith("2026-03-01T12:01:0")
    assert detail["requested-date-time"].endswith("Z")


def test_commands_are_listed_newest_first_filtered_and_paged(world: World) -> None:
    instance_id, other = world.online(), world.online()
    first = world.send(instance_id, "true", Comment="first one")
    world.advance(3600)
    second = world.send(instance_id, "exit 1", Comment="second one")
    world.advance(60)

    def listed(**params: Any) -> list[str]:
        return [each["CommandId"] for each in world.ssm.list_commands(**params)["Commands"]]

    assert listed() == [second, first]
    assert listed(CommandId=first) == [first]
    assert listed(InstanceId=instance_id) == [second, first]
    assert listed(InstanceId=other) == []
    assert listed(Filters=[{"key": "InvokedAfter", "value": "2026-03-01T12:30:00Z"}]) == [second]
    assert listed(Filters=[{"key": "InvokedBefore", "value": "2026-03-01T12:30:00Z"}]) == [first]
    assert listed(Filters=[{"key": "Status", "value": "Failed"}]) == [second]
    pages = world.ssm.get_paginator("list_commands").paginate(PaginationConfig={"PageSize": 1})
    assert [each["Comment"] for page in pages for each in page["Commands"]] == [
        "second one",
        "first one",
    ]
    invocations = world.ssm.list_command_invocations(CommandId=second, Details=True)["CommandInvocations"]
    assert [each["ResponseCode"] for each in invocations[0]["CommandPlugins"]] == [1]


def test_command_to_many_instances_succeeds_when_it_did_on_all(world: World) -> None:
    fine, broken = world.online(), world.online()
    (world.directory(broken) / "broken").mkdir(parents=True)
    sent = world.ssm.send_command(
        InstanceIds=[fine, broken],
        DocumentName="AWS-RunShellScript",
        Parameters={"commands": ["test ! -e broken"]},
    )
    world.advance(60)
    command = world.ssm.list_commands(CommandId=sent["Command"]["CommandId"])["Commands"][0]
    assert (command["Status"], command["TargetCount"], command["ErrorCount"]) == ("Failed", 2, 1)


def test_targets_reach_the_instances_with_their_tags(world: World) -> None:
    orders, _ = world.online(app="orders"), world.online(app="users")

    def statuses(*values: str) -> dict[str, str]:
        sent = world.ssm.send_command(
            Targets=[{"Key": "tag:app", "Values": list(values)}],
            DocumentName="AWS-RunShellScript",
            Parameters={"commands": ["true"]},
        )
        world.advance(60)
        listed = world.ssm.list_command_invocations(CommandId=sent["Command"]["CommandId"])
        return {each["InstanceId"]: each["Status"] for each in listed["CommandInvocations"]}

    assert statuses("orders") == {orders: "Success"}
    assert statuses("nobody") == {}


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"DocumentName": "No-Such-Document"}, "InvalidDocument"),
        ({"Parameters": {}}, "InvalidParameters"),
        ({"Parameters": {"commands": ["true"], "colour": ["red"]}}, "InvalidParameters"),
        ({"Parameters": {"commands": ["true"], "executionTimeout": ["172801"]}}, "InvalidParameters"),
        ({"Parameters": {"commands": ["true"], "executionTimeout": ["0"]}}, "InvalidParameters"),
        ({"TimeoutSeconds": 29}, "ValidationException"),
        ({"TimeoutSeconds": 2_592_001}, "ValidationException"),
        ({"Comment": "x" * 101}, "ValidationException"),
        ({"InstanceIds": ["i-0123456789abcdef0"]}, "InvalidInstanceId"),
        ({"InstanceIds": [f"i-{number:017x}" for number in range(51)]}, "ValidationException"),
        ({"InstanceIds": []}, "ValidationException"),
        ({"DocumentVersion": "7"}, "InvalidDocumentVersion"),
        ({"OutputS3BucketName": "bucket"}, "ValidationException"),
    ],
)
def test_command_that_aws_would_refuse_is_refused(world: World, params: dict[str, Any], code: str) -> None:
    fine = {
        "InstanceIds": [world.online()],
        "DocumentName": "AWS-RunShellScript",
        "Parameters": {"commands": ["true"]},
    }
    with pytest.raises(ClientError) as caught:
        world.ssm.send_command(**(fine | params))
    assert code_of(caught) == code


DOCUMENT = {
    "schemaVersion": "2.2",
    "parameters": {
        "executionId": {"type": "String", "default": "None"},
        "command": {
            "type": "String",
            "default": "dry-run",
            "allowedValues": ["pre-script", "post-script", "dry-run"],
        },
    },
    "mainSteps": [
        {
            "action": "aws:runShellScript",
            "name": "hook",
            "precondition": {"StringEquals": ["platformType", "Linux"]},
            "inputs": {
                "timeoutSeconds": 120,
                "runCommand": ["echo {{ command }} for {{executionId}}", "exit 204"],
            },
        },
        {
            "action": "aws:runPowerShellScript",
            "name": "windows",
            "precondition": {"StringEquals": ["platformType", "Windows"]},
            "inputs": {"runCommand": ["exit 1"]},
        },
    ],
}


def test_users_document_runs_with_its_parameters_filled_in(world: World) -> None:
    instance_id = world.online()
    world.ssm.create_document(Content=json.dumps(DOCUMENT), Name="my-hook", DocumentType="Command")
    sent = world.ssm.send_command(
        InstanceIds=[instance_id], DocumentName="my-hook", Parameters={"command": ["pre-script"]}
    )
    world.advance(60)
    result = world.result(sent["Command"]["CommandId"], instance_id)
    assert (result["ResponseCode"], result["PluginName"]) == (204, "hook")
    assert result["StandardOutputContent"] == "pre-script for None\n"
    with pytest.raises(ClientError) as caught:
        world.ssm.send_command(
            InstanceIds=[instance_id], DocumentName="my-hook", Parameters={"command": ["thaw"]}
        )
    assert code_of(caught) == "InvalidParameters"


def test_steps_of_a_document_run_one_after_the_other_and_one_that_fails_fails_all(world: World) -> None:
    instance_id = world.online()
    steps = [
        {"action": "aws:runShellScript", "name": name, "inputs": {"runCommand": [line]}}
        for name, line in (("first", "echo one > file; exit 5"), ("second", "cat file"))
    ]
    content = json.dumps({"schemaVersion": "2.2", "mainSteps": steps})
    world.ssm.create_document(Content=content, Name="two-steps", DocumentType="Command")
    sent = world.ssm.send_command(InstanceIds=[instance_id], DocumentName="two-steps")
    world.advance(60)
    named = {"CommandId": sent["Command"]["CommandId"], "InstanceId": instance_id}
    first, second = (
        world.ssm.get_command_invocation(**named, PluginName=name) for name in ("first", "second")
    )
    assert (first["ResponseCode"], second["StandardOutputContent"]) == (5, "one\n")
    assert world.statuses(INVOCATION_CHANGED)[-1] == "Failed"
    with pytest.raises(ClientError) as caught:
        world.ssm.get_command_invocation(**named)
    assert code_of(caught) == "InvalidPluginName"


def test_documents_and_parameters_that_are_not_ours_are_motos(world: World) -> None:
    world.ssm.put_parameter(Name="colour", Value="red", Type="String")
    assert world.ssm.get_parameter(Name="colour")["Parameter"]["Value"] == "red"
    described = world.ssm.describe_document(Name="AWS-RunShellScript")["Document"]
    assert (described["Owner"], described["DocumentType"]) == ("Amazon", "Command")
    content = json.loads(world.ssm.get_document(Name="AWS-RunShellScript")["Content"])
    assert content["parameters"].keys() == {"commands", "workingDirectory", "executionTimeout"}
    with pytest.raises(ClientError) as caught:
        world.ssm.describe_document(Name="No-Such-Document")
    assert code_of(caught) == "InvalidDocument"


def test_another_regions_commands_and_instances_are_not_seen(world: World) -> None:
    instance_id = world.online()
    command_id = world.send(instance_id, "true")
    world.advance(60)
    there = boto3.client(
        "ssm",
        "us-east-1",
        endpoint_url=world.ssm.meta.endpoint_url,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    assert there.describe_instance_information()["InstanceInformationList"] == []
    assert there.list_commands()["Commands"] == []
    with pytest.raises(ClientError) as caught:
        there.get_command_invocation(CommandId=command_id, InstanceId=instance_id)
    assert code_of(caught) == "InvocationDoesNotExist"


def test_reset_kills_what_runs(world: World) -> None:
    instance_id = world.online()
    started = world.fifo(instance_id)
    world.send(instance_id, "echo $$ > pid", "echo > started", "sleep 60")
    begun = threading.Thread(target=lambda: world.advance(10))
    begun.start()
    started.read_bytes()
    world.stand_in.reset()
    begun.join()
    assert has_ended((world.directory(instance_id) / "pid").read_text())
    assert world.ssm.list_commands()["Commands"] == []
