"""The scripts as an operator runs them, with the AWS command line, against an emulator of CloudFormation.

MiniStack knows change sets, the SAM transform, rollbacks, retained resources and imports. It finds the stack
of a resource only by the stack's name, so a stage under another stack's name is not tried here. Most of the
time goes by because the AWS command line looks only every 30 seconds whether a stack is ready.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.deploy.scripts import ROOT, VAULTS

HOME = "eu-central-1"
STARTS_WITHIN_SECONDS = 120
pytestmark = [pytest.mark.integration("ministack"), pytest.mark.timeout(900)]
Do = Callable[..., str]


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """The environment of a caller of a running MiniStack."""
    folder = tmp_path_factory.mktemp("ministack")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    own = {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": port, "IOT_MTLS_ENABLED": "0", "SFTP_ENABLED": "0"}
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(["ministack"], cwd=folder, env=os.environ | own, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        _await(f"{url}/_ministack/health", server)
        yield {
            "PATH": os.environ["PATH"],
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()


def _await(url: str, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + STARTS_WITHIN_SECONDS
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310  our own server
        except OSError:
            with suppress(subprocess.TimeoutExpired):
                pytest.fail(f"MiniStack ended with {server.wait(0.2)}")
        else:
            return
    pytest.fail("MiniStack does not answer")


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    """The packaged template."""
    document: dict[str, Any] = json.loads((ROOT / "build" / "package" / "sam.json").read_text())
    return document


@pytest.fixture
def checkout(tmp_path: Path, template: dict[str, Any]) -> Path:
    """A checkout whose packaged template a test may change."""
    folder = tmp_path / "checkout"
    package = folder / "build" / "package"
    package.mkdir(parents=True)
    for name in ("deploy", "chalicelib", ".chalice"):
        (folder / name).symlink_to(ROOT / name)
    (package / "deployment.zip").symlink_to(ROOT / "build" / "package" / "deployment.zip")
    (package / "sam.json").write_text(json.dumps(template))
    (folder / "vaults.json").write_text(json.dumps(VAULTS))
    return folder


@pytest.fixture
def do(aws: Mapping[str, str], checkout: Path) -> Do:
    """Run a script, which must end with the given code, and return what it said."""

    def run_it(script: str, *settings: str, code: int = 0) -> str:
        given = dict(each.split("=", 1) for each in ("YES=1", f"REGION={HOME}", *settings))
        done = subprocess.run(
            ["bash", checkout / "deploy" / script],
            env={**aws, "PYTHON": sys.executable, "HOME": str(checkout), **given},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == code, said
        return said

    return run_it


@pytest.fixture
def client(aws: Mapping[str, str]) -> Callable[[str], Any]:
    def client_of(service: str) -> Any:
        make: Any = boto3.client
        return make(
            service,
            region_name=HOME,
            endpoint_url=aws["AWS_ENDPOINT_URL"],
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    return client_of


def is_there(call: Callable[..., Any], **which: str) -> bool:
    try:
        call(**which)
    except ClientError:
        return False
    return True


def test_a_stage_is_deployed_updated_destroyed_taken_over_and_deleted(
    do: Do, client: Callable[[str], Any]
) -> None:
    stage = ("STAGE=prod", "VAULT_BUCKET=prod-home", "VAULTS=vaults.json")
    dynamodb, s3, cloudformation = client("dynamodb"), client("s3"), client("cloudformation")
    point = {"pk": {"S": "a"}, "sk": {"S": "b"}}

    first = do("deploy.sh", *stage)
    assert "EndpointURL" in first
    table = dynamodb.describe_table(TableName="farshore-prod")["Table"]
    assert table["DeletionProtectionEnabled"]
    assert s3.get_bucket_versioning(Bucket="prod-home")["Status"] == "Enabled"
    dynamodb.put_item(TableName="farshore-prod", Item=point)
    s3.put_object(Bucket="prod-home", Key="kept", Body=b"1")
    s3.put_object(Bucket="prod-home", Key="kept", Body=b"2")

    assert "execute-change-set" not in do("deploy.sh", *stage)

    assert "Modify" in do("deploy.sh", *stage, "GRACE=48h")
    [made] = cloudformation.describe_stacks(StackName="farshore-prod")["Stacks"]
    parameters = {each["ParameterKey"]: each["ParameterValue"] for each in made["Parameters"]}
    assert (parameters["Grace"], parameters["CatalogProtection"]) == ("48h", "on")

    refused = do("deploy.sh", "STAGE=prod", "VAULT_BUCKET=another", code=1)
    assert "write prod-home: a stage keeps its bucket" in refused
    twice = do("deploy.sh", "STAGE=prod", "VAULT_BUCKET=prod-home", "REGION=us-east-1", code=1)
    assert f"'prod' is deployed in {HOME} as the stack farshore-prod" in twice

    assert "Kept: the table farshore-prod" in do("destroy.sh", *stage)
    assert "Kept: the table farshore-prod" in do("destroy.sh", *stage)
    assert "take it over with ADOPT=1" in do("deploy.sh", *stage, code=1)
    do("deploy.sh", *stage, "ADOPT=1")
    assert dynamodb.get_item(TableName="farshore-prod", Key=point)["Item"] == point
    assert s3.get_object(Bucket="prod-home", Key="kept")["Body"].read() == b"2"

    assert "CONFIRM=prod" in do("destroy.sh", *stage, "DATA=delete", code=1)
    do("destroy.sh", *stage, "DATA=delete", "CONFIRM=prod")
    assert not is_there(dynamodb.describe_table, TableName="farshore-prod")
    assert not any(is_there(s3.head_bucket, Bucket=name) for name in ("prod-home", "my-farshore-dr"))


def test_a_first_deployment_that_fails_leaves_nothing_that_blocks_the_next(
    do: Do, client: Callable[[str], Any], checkout: Path, template: dict[str, Any]
) -> None:
    stage = ("STAGE=second", "VAULT_BUCKET=second-home")
    path = checkout / "build" / "package" / "sam.json"
    # Nobody signals the handle, so the stack fails when the table, the bucket and the functions are made.
    waiting = {
        "Handle": {"Type": "AWS::CloudFormation::WaitConditionHandle"},
        "Never": {
            "Type": "AWS::CloudFormation::WaitCondition",
            "DependsOn": ["Catalog", "VaultBucket", "Tick"],
            "Properties": {"Handle": {"Ref": "Handle"}, "Timeout": "1", "Count": 1},
        },
    }
    path.write_text(json.dumps({**template, "Resources": {**template["Resources"], **waiting}}))
    assert "mend what these events name and deploy again" in do("deploy.sh", *stage, code=1)
    assert not is_there(client("dynamodb").describe_table, TableName="farshore-second")
    assert not is_there(client("s3").head_bucket, Bucket="second-home")

    path.write_text(json.dumps(template))
    assert "was never made" in do("deploy.sh", *stage)
    assert is_there(client("s3").head_bucket, Bucket="second-home")
