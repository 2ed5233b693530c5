"""Scripts on instances through our adapter, on the local cloud: they really run."""

from datetime import timedelta

import pytest

from chalicelib.aws.clients import Clients
from chalicelib.aws.ssm import Ssm
from chalicelib.errors import Conflict, Unavailable
from local.cloud import Cloud
from local.faults import Effect, Error, Fault, Match
from tests.aws.conftest import HOME

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def ssm(clients: Clients) -> Ssm:
    return Ssm(clients.ssm(), once=clients.ssm(once=True))


def launch(cloud: Cloud) -> str:
    answer = cloud.client("ec2", HOME).run_instances(ImageId="ami-12345678", MinCount=1, MaxCount=1)
    return str(answer["Instances"][0]["InstanceId"])


@pytest.fixture
def instance_id(cloud: Cloud) -> str:
    launched = launch(cloud)
    cloud.advance(MINUTE)
    return launched


def send(ssm: Ssm, instance_id: str, script: str, comment: str = "farshore job-1") -> str:
    return ssm.send(instance_id, script, comment=comment, timeout=HOUR, working_directory=None)


def test_an_agent_is_offline_at_first(cloud: Cloud, ssm: Ssm) -> None:
    fresh = launch(cloud)
    assert ssm.agents([fresh]) == {}
    cloud.advance(MINUTE)
    found = ssm.agents([fresh, "i-0123456789abcdef0"])
    assert {instance: agent.online for instance, agent in found.items()} == {fresh: True}
    assert ssm.agents([]) == {}


def test_a_command_for_an_instance_without_agent_is_refused(cloud: Cloud, ssm: Ssm) -> None:
    with pytest.raises(Conflict, match="i-0123456789abcdef0"):
        send(ssm, "i-0123456789abcdef0", "true")


def test_a_script_runs_and_its_output_and_exit_code_come_back(
    cloud: Cloud, ssm: Ssm, instance_id: str
) -> None:
    command_id = send(ssm, instance_id, "echo out; echo err >&2; exit 3")
    cloud.advance(MINUTE)
    invocation = ssm.invocation(command_id, instance_id)
    assert invocation is not None
    assert invocation.finished
    assert (invocation.status, invocation.exit_code) == ("Failed", 3)
    assert invocation.stdout.strip() == "out"
    assert "err" in invocation.stderr


def test_a_script_runs_where_it_is_told(cloud: Cloud, ssm: Ssm, instance_id: str) -> None:
    command_id = ssm.send(instance_id, "pwd", comment="farshore job-1", timeout=HOUR, working_directory="/")
    cloud.advance(MINUTE)
    invocation = ssm.invocation(command_id, instance_id)
    assert invocation is not None
    assert (invocation.status, invocation.stdout.strip()) == ("Success", "/")


def test_what_ssm_does_not_know_is_none(ssm: Ssm, instance_id: str) -> None:
    unknown = "01234567-89ab-cdef-0123-456789abcdef"
    assert ssm.invocation(unknown, instance_id) is None
    assert ssm.comment_of(unknown) is None
    ssm.cancel(unknown)


def test_a_command_is_found_again_by_its_comment(cloud: Cloud, ssm: Ssm, instance_id: str) -> None:
    before = cloud.clock.now() - MINUTE
    mine = send(ssm, instance_id, "true", "farshore job-1")
    send(ssm, instance_id, "true", "farshore job-11")
    [found] = ssm.commands_commented("farshore job-1", before)
    assert (found.id, found.sent_at > before) == (mine, True)
    assert ssm.comment_of(mine) == "farshore job-1"
    cloud.advance(HOUR)
    assert ssm.commands_commented("farshore job-1", cloud.clock.now() - MINUTE) == ()


def test_a_cancelled_command_ends_without_an_exit_code_of_its_own(
    cloud: Cloud, ssm: Ssm, instance_id: str
) -> None:
    command_id = send(ssm, instance_id, "sleep 600")
    ssm.cancel(command_id)
    cloud.advance(MINUTE)
    invocation = ssm.invocation(command_id, instance_id)
    assert invocation is not None
    assert (invocation.status, invocation.exit_code) == ("Cancelled", None)


def test_a_send_whose_answer_is_lost_is_not_sent_again(cloud: Cloud, ssm: Ssm, instance_id: str) -> None:
    cloud.faults.replace(
        [
            Fault(
                match=Match(service="ssm", operation="SendCommand"),
                effect=Effect(error=Error(code="InternalServerError", status=500)),
            )
        ]
    )
    cloud.calls.clear()
    with pytest.raises(Unavailable):
        send(ssm, instance_id, "true")
    assert cloud.calls.by_operation()["ssm"]["SendCommand"] == 1


@pytest.mark.parametrize("comment", ["", "x" * 101])
def test_a_comment_that_ssm_would_refuse_is_refused_at_once(ssm: Ssm, comment: str) -> None:
    with pytest.raises(ValueError, match="comment"):
        send(ssm, "i-0123456789abcdef0", "true", comment)
