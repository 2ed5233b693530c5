"""`python -m stage`, started and ended as an operator does."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from stage import HOME_TEMPLATE

LOCAL = Path(__file__).parent.parent


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    if not HOME_TEMPLATE.exists():
        pytest.fail("there is no packaged template; `make package` makes it", pytrace=False)
    return {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(LOCAL)}


@pytest.fixture
def process(environ: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "stage"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environ) as process:
        yield process
        process.kill()


def ask(url: str, document: object = None) -> Any:
    body = None if document is None else json.dumps(document).encode()
    with urllib.request.urlopen(urllib.request.Request(url, body), timeout=30) as answer:  # noqa: S310  loopback
        return json.load(answer)


def test_it_says_where_everything_is_serves_and_cleans_up(
    process: subprocess.Popen[str], tmp_path: Path
) -> None:
    assert process.stdout
    where = json.loads(process.stdout.readline())

    assert where.keys() == {"aws", "api", "control", "vaults"}
    assert where["vaults"].keys() == {"primary", "dr", "offsite"}
    assert Path(where["vaults"]["offsite"]).is_dir()
    assert ask(where["api"] + "/plans")["items"] == []
    operator = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "eu-central-1"}
    ec2: Any = boto3.client("ec2", endpoint_url=where["aws"], **operator)  # type: ignore[call-overload]
    instance_id = ec2.run_instances(ImageId="ami-12345678", MinCount=1, MaxCount=1)["Instances"][0][
        "InstanceId"
    ]
    assert Path(ask(where["control"] + "/instances")[instance_id]).is_dir()
    ask(where["control"] + "/clock", {"advance": "1h"})
    assert ask(where["control"] + "/calls?caller=function")["dynamodb"]["Query"] > 0

    process.send_signal(signal.SIGTERM)
    rest, errors = process.communicate(timeout=30)
    assert (process.returncode, rest, errors) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("API_PORT", "http", "API_PORT='http' is not a port"),
        ("OFFSITE", "moon", "OFFSITE='moon' is not one of"),
    ],
)
def test_what_cannot_be_is_refused_at_the_start(
    environ: dict[str, str], variable: str, value: str, problem: str
) -> None:
    command = [sys.executable, "-m", "stage"]
    ended = subprocess.run(
        command, env={**environ, variable: value}, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert problem in ended.stderr
