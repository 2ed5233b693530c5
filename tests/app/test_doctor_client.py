"""`make doctor` on a stage: what a person reads, the exit code, and a canary followed to its end."""

import io
import json
from typing import Any

import pytest

from deploy.doctor import examine, report
from local_cloud.signing import OPERATOR_KEY, OPERATOR_SECRET
from stage import DR_BUCKET, HOME_REGION
from tests.support.deployment import NEVER, Deployment

FILES = {
    "name": "files",
    "kind": "service",
    "schedule": NEVER,
    "script": 'echo hi > "$2"',
    "lifecycle": {"count": 9},
}
BLOCKS = {"name": "blocks", "kind": "snapshot", "schedule": NEVER, "lifecycle": {"count": 9}}


class Terminal(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def ticked(app: Deployment, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """The app after its first ticks, with an operator's environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", OPERATOR_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", OPERATOR_SECRET)
    monkeypatch.setenv("AWS_ENDPOINT_URL", app.cloud.aws.url)
    app.pass_time(minutes=6)
    return app


def run(app: Deployment, out: io.StringIO | None = None, **variables: str) -> tuple[int, str, str]:
    """Run the client; simulated time passes while it waits. Return its exit code and what it printed."""
    out, err = out or io.StringIO(), io.StringIO()
    environ = {"STAGE": "local", "REGION": HOME_REGION, "API": f"{app.cloud.api.url}/api", **variables}
    code = examine(environ, out, err, lambda seconds: void(app.pass_time(seconds=seconds)))
    return code, out.getvalue(), err.getvalue()


def void(_: object) -> None:
    """Return nothing."""


def test_a_healthy_stage_is_a_table_of_80_columns_without_colours(ticked: Deployment) -> None:
    code, out, err = run(ticked)
    assert code == 0, out
    lines = out.splitlines()
    assert lines[0].startswith(f"{HOME_REGION}/local, examined at 20")
    assert max(map(len, lines)) <= 80
    assert "\033" not in out
    assert lines[-1] == "healthy: 16 ok"
    assert [line.split()[0] for line in lines if " ok " in line][:3] == ["you", "identity", "regions"]
    assert "probing vaults: dr, offsite, primary" in err
    assert "waiting for vaults" in err


def test_colours_are_for_terminals_alone(ticked: Deployment) -> None:
    _, out, _ = run(ticked, Terminal())
    assert "\033[32mok      \033[0m" in out
    _, out, _ = run(ticked, Terminal(), NO_COLOR="1")
    assert "\033" not in out


def test_a_failed_check_has_its_remedy_below_it_and_exit_code_1(ticked: Deployment) -> None:
    ticked.s3("dr").delete_bucket(Bucket=DR_BUCKET)
    code, out, _ = run(ticked)
    assert code == 1
    words = " ".join(out.split())
    assert f"buckets failed vault dr: bucket {DR_BUCKET} does not exist -> deploy the stack" in words
    assert out.splitlines()[-1].startswith("NOT healthy: ")


@pytest.mark.long
def test_the_document_is_printed_alone_for_programs(ticked: Deployment) -> None:
    code, out, _ = run(ticked, JSON="1")
    document = json.loads(out)
    assert (code, document["healthy"]) == (0, True)
    assert document["checks"][0]["check"] == "you"
    assert document["checks"][0]["reason"].endswith("user/operator in account 123456789012")


def test_a_stage_of_another_account_is_said() -> None:
    found = {
        "deployment": "d",
        "examined_at": "t",
        "healthy": True,
        "checks": [{"check": "you", "state": "warning", "reason": "r", "remedy": "is this the stage?"}],
    }
    assert list(report(found, coloured=False))[-1] == "healthy: 1 warning"


def test_the_address_comes_from_the_outputs_of_the_stack(ticked: Deployment) -> None:
    code, _, err = run(ticked, API="")
    assert code == 2
    assert f"stack farshore-local of {HOME_REGION} cannot be looked at" in err
    assert "name it with STACK=..." in err
    template: Any = {
        "Resources": {"Q": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "of-the-stack"}}},
        "Outputs": {"EndpointURL": {"Value": f"{ticked.cloud.api.url}/api/"}},
    }
    ticked.cloud.client("cloudformation", HOME_REGION).create_stack(
        StackName="farshore-local", TemplateBody=json.dumps(template)
    )
    code, out, _ = run(ticked, API="")
    assert code == 0, out


def test_an_api_that_does_not_answer_or_refuses_is_exit_code_2(ticked: Deployment) -> None:
    code, out, err = run(ticked, API="http://127.0.0.1:9")
    assert (code, out) == (2, "")
    assert "http://127.0.0.1:9/doctor does not answer" in err
    code, _, err = run(ticked, CANARY="gone")
    assert code == 2
    assert "POST /doctor: " in err
    assert "gone" in err


@pytest.mark.long
@pytest.mark.parametrize("rule", [FILES, BLOCKS], ids=["service", "snapshot"])
def test_a_canary_is_followed_until_it_can_be_restored(ticked: Deployment, rule: dict[str, Any]) -> None:
    ticked.run_instance("orders")
    ticked.put_plan("orders", rule)
    code, out, _ = run(ticked, CANARY="orders")
    assert code == 0, out
    [point] = ticked.points()
    words = " ".join(out.split())
    assert f"canary ok {point['id']} of orders ({rule['kind']}, " in words
    assert "can be restored: " in words
    assert out.splitlines()[-1] == "healthy: 17 ok"
    assert point["note"] == "canary of the doctor"


def test_a_canary_that_fails_is_exit_code_1_and_says_why(ticked: Deployment) -> None:
    ticked.run_instance("orders")
    ticked.put_plan("orders", {**FILES, "script": "exit 3"})
    code, out, _ = run(ticked, CANARY="orders/files")
    assert code == 1
    words = " ".join(out.split())
    assert "canary failed backup-" in words
    assert "is FAILED: " in words
    assert out.splitlines()[-1].startswith("NOT healthy")
