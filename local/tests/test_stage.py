"""`python -m stage`, started and ended as an operator does."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def started(environ: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    command, pipe = [sys.executable, "-m", "stage"], subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environ) as process:
        yield process
        process.kill()


def ask(url: str, document: object = None) -> Any:
    body = None if document is None else json.dumps(document).encode()
    with urllib.request.urlopen(urllib.request.Request(url, body), timeout=30) as answer:  # noqa: S310  loopback
        return json.load(answer)


def told_lines(process: subprocess.Popen[str]) -> Iterator[str]:
    """Yield what people are told, line by line."""
    assert process.stderr
    for line in iter(process.stderr.readline, "Ctrl-C ends it.\n"):
        assert line, "it ended"
        yield line.strip()


def told(process: subprocess.Popen[str]) -> dict[str, str]:
    """Return the variables that people are told to set."""
    lines = [line.split() for line in told_lines(process)]
    return dict(word.split("=", 1) for words in lines if words[0] == "export" for word in words[1:])


def test_it_says_where_everything_is_serves_and_cleans_up(environ: dict[str, str], tmp_path: Path) -> None:
    with started(environ) as process:
        assert process.stdout
        where = json.loads(process.stdout.readline())

        assert where.keys() == {"aws", "api", "control", "vaults"}
        assert where["vaults"].keys() == {"primary", "dr", "offsite"}
        assert Path(where["vaults"]["offsite"]).is_dir()
        assert ask(where["api"] + "/plans")["items"] == []
        said = told(process)
        assert said["AWS_ENDPOINT_URL"] == where["aws"]
        assert (said["API"], said["CONTROL"]) == (where["api"], where["control"])
        session = boto3.Session(
            said["AWS_ACCESS_KEY_ID"], said["AWS_SECRET_ACCESS_KEY"], region_name=said["AWS_DEFAULT_REGION"]
        )
        ec2: Any = session.client("ec2", endpoint_url=said["AWS_ENDPOINT_URL"])
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


@pytest.mark.parametrize("signed", ["", "1"])
def test_the_curl_that_it_shows_is_answered(environ: dict[str, str], signed: str) -> None:
    environ["SIGNED"] = signed
    with started(environ) as process:
        lines = list(told_lines(process))
        shown = "\n".join(line for line in lines if line.startswith(("export", "curl")))
        for request, answered in ((shown, True), (unsigned(shown), not signed)):
            ran = subprocess.run(
                ["sh", "-c", request], capture_output=True, text=True, timeout=60, check=True
            )
            assert ('"items"' in ran.stdout) is answered


def unsigned(shown: str) -> str:
    """Return what is shown without what signs the request."""
    return re.sub(r"--aws-sigv4.* (?=\$)", "", shown)
