"""A right taken from a function ends its jobs with a reason that names it; when it is back, work goes on."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from stage import HOME_REGION
from tests.packaging.story import SCRIPTS, encrypted_stage, launch_encrypted
from tests.support.deployment import NEVER, Deployment, Document

WORKER = "AdvanceJobs"
KEPT = {"count": 5}
RULES: list[Document] = [
    {"name": "blocks", "kind": "snapshot", "schedule": NEVER, "lifecycle": KEPT},
    {"name": "files", "kind": "service", "schedule": NEVER, "lifecycle": KEPT, **SCRIPTS},
]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with encrypted_stage(tmp_path_factory.mktemp("cloud")) as (cloud, stage):
        app = Deployment(cloud, stage)
        launch_encrypted(app, stage.keys[HOME_REGION])
        app.store_plan("orders", {"selection": {"tags": {"app": "orders"}}, "rules": RULES})
        for rule in ("blocks", "files"):
            app.make_point("orders", rule)
        data = {"ImageId": "ami-12345678", "InstanceType": "t3.micro"}
        app.ec2().create_launch_template(LaunchTemplateName="orders", LaunchTemplateData=data)
        yield app


@contextmanager
def without(app: Deployment, function: str, action: str) -> Iterator[None]:
    """Take an action from every statement of a function's role as long as the context lasts."""
    iam = app.cloud.client("iam", "us-east-1")
    role = app.cloud.functions.get(f"farshore-{function}").role_arn.rpartition("/")[2]
    [name] = iam.list_role_policies(RoleName=role)["PolicyNames"]
    named = {"RoleName": role, "PolicyName": name}
    before = iam.get_role_policy(**named)["PolicyDocument"]
    statements = [
        {**each, "Action": left}
        for each in before["Statement"]
        if (left := [one for one in each["Action"] if one != action])
    ]
    assert statements != before["Statement"], f"{function} has no right to {action}"
    put(iam, named, {**before, "Statement": statements})
    try:
        yield
    finally:
        put(iam, named, before)


def put(iam: Any, named: Document, policy: Document) -> None:
    """Set the policy of a role."""
    iam.put_role_policy(**named, PolicyDocument=json.dumps(policy))


def back_up(rule: str) -> Callable[[Deployment], str]:
    """Ask for a backup."""
    return lambda app: app.post("/backups", {"plan": "orders", "rule": rule})[0]


def copy(rule: str, vault: str) -> Callable[[Deployment], str]:
    """Ask for a copy of the newest point of a rule."""

    def ask(app: Deployment) -> str:
        newest, *_ = app.everything("/recovery-points", rule=rule, state="AVAILABLE")
        return app.post(f"/recovery-points/{newest['id']}/copies", {"vault": vault})[0]

    return ask


def restore_a_volume(app: Deployment) -> str:
    """Ask for a volume of the newest snapshot."""
    order = {"service": "orders", "rule": "blocks", "target": {"availability_zone": f"{HOME_REGION}a"}}
    return app.post("/restores", order)[0]


def start_an_instance(app: Deployment) -> str:
    """Ask for an instance with the newest files."""
    order = {"service": "orders", "rule": "files", "launch_template": {"name": "orders"}}
    return app.post("/launches", order)[0]


@dataclass(frozen=True, slots=True)
class Taken:
    """A right of the worker, a request whose job needs it, and the resource that the job's reason names."""

    action: str
    ask: Callable[[Deployment], str]
    resource: str


TAKEN = (
    Taken("ec2:CreateSnapshots", back_up("blocks"), ":instance/i-"),
    Taken("ec2:CreateTags", back_up("blocks"), f"arn:aws:ec2:{HOME_REGION}::snapshot/*"),
    Taken("ec2:DescribeVolumes", back_up("blocks"), "farshore-AdvanceJobs"),
    Taken("ssm:SendCommand", back_up("files"), f"arn:aws:ssm:{HOME_REGION}::document/AWS-RunShellScript"),
    Taken("ssm:DescribeInstanceInformation", back_up("files"), "farshore-AdvanceJobs"),
    Taken("s3:PutObject", back_up("files"), "arn:aws:s3:::farshore-vault-home/"),
    Taken("kms:GenerateDataKey", back_up("files"), f"arn:aws:kms:{HOME_REGION}:"),
    Taken("ec2:CopySnapshot", copy("blocks", "dr"), "::snapshot/"),
    Taken("s3:GetObject", copy("files", "dr"), "arn:aws:s3:::farshore-vault-home/"),
    Taken("secretsmanager:GetSecretValue", copy("files", "offsite"), ":secret:farshore/offsite-"),
    Taken("ec2:CreateVolume", restore_a_volume, ":snapshot/snap-"),
    Taken("ec2:RunInstances", start_an_instance, ":instance/*"),
)


@pytest.mark.long
@pytest.mark.parametrize("taken", TAKEN, ids=lambda taken: taken.action)
def test_a_job_without_a_right_fails_and_names_it_and_the_next_with_it_succeeds(
    app: Deployment, taken: Taken
) -> None:
    with without(app, WORKER, taken.action):
        job = taken.ask(app)
        app.finish()
    failed = app.job(job)
    assert failed["state"] == "FAILED", failed
    for part in (taken.action, taken.resource, "farshore-AdvanceJobsRole", "grant it in the policy"):
        assert part in failed["reason"], (part, failed["reason"])
    assert "Encoded authorization" not in failed["reason"]

    again = taken.ask(app)
    app.finish()
    assert app.job(again)["state"] == "COMPLETED", app.job(again)


@pytest.mark.parametrize(
    ("ask", "reason"),
    [(copy("blocks", "dr"), "Given key ID is not accessible"), (restore_a_volume, "EC2 could not make vol-")],
    ids=["copy", "volume"],
)
def test_what_needs_a_key_that_may_not_be_used_fails_when_ebs_finds_out(
    app: Deployment, ask: Callable[[Deployment], str], reason: str
) -> None:
    app.make_point("orders", "blocks")
    with without(app, WORKER, "kms:CreateGrant"):
        job = ask(app)
        app.finish()
    assert app.job(job)["state"] == "FAILED", app.job(job)
    assert reason in app.job(job)["reason"]


def test_messages_wait_while_their_function_may_not_poll_and_their_jobs_go_on_after_that(
    app: Deployment,
) -> None:
    with without(app, WORKER, "sqs:ReceiveMessage"):
        job = back_up("blocks")(app)
        app.cloud.advance(timedelta(minutes=5))
        assert app.job(job)["state"] == "QUEUED"
    app.finish()
    assert app.job(job)["state"] == "COMPLETED"


def test_a_request_that_the_api_may_not_carry_out_says_which_right_it_lacks(app: Deployment) -> None:
    with without(app, "APIHandler", "dynamodb:Query"):
        answer = app.ask("GET", "/jobs")
    assert answer.status >= 500
    assert "dynamodb:Query on resource: arn:aws:dynamodb:" in answer.document["detail"]
    assert app.ask("GET", "/jobs").status == 200
