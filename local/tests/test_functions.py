"""How a function is run: its environment, its limits, its end."""

import os
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from little_stack import HOME, role_of
from local_cloud.cloud import Cloud
from local_cloud.lambda_.functions import Function, FunctionError

ROLE = "of-all-functions"
ROLE_ARN = f"arn:aws:iam::123456789012:role/{ROLE}"


def tell_environment(_: object, context: Any) -> dict[str, str]:
    names = (
        "COLOUR",
        "AWS_REGION",
        "AWS_PROFILE",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    )
    told = {name: os.environ[name] for name in names if name in os.environ}
    return {**told, "arn": context.invoked_function_arn, "memory": context.memory_limit_in_mb}


def count_queues(*_: object) -> int:
    return len(boto3.client("sqs").list_queues().get("QueueUrls", ()))


def call_after_death(*_: object) -> str:
    """Ignore that AWS refuses, as a function with a broad `except` would."""
    for _attempt in range(3):
        try:
            count_queues()
        except ClientError as error:
            code = error.response["Error"]["Code"]
    return code


def answer_what_is_no_json(*_: object) -> object:
    return object()


def answer_too_much(*_: object) -> str:
    return "x" * (6 * 1024 * 1024)


@pytest.fixture(autouse=True)
def _profile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this machine's user work with a profile."""
    monkeypatch.setenv("AWS_PROFILE", "somebody")


@pytest.fixture
def cloud(cloud: Cloud) -> Cloud:
    role_of(cloud, {"Action": "*", "Resource": "*"}, name=ROLE)
    for handler in (
        tell_environment,
        count_queues,
        call_after_death,
        answer_what_is_no_json,
        answer_too_much,
    ):
        cloud.functions.add(function(handler.__name__))
    return cloud


def function(handler: str, *, name: str = "", timeout: float = 60) -> Function:
    limit = timedelta(seconds=timeout)
    environment = {"COLOUR": "red"}
    return Function(
        name or handler, f"{__name__}.{handler}", HOME, ROLE_ARN, environment, timeout=limit, memory_mb=256
    )


def test_a_function_finds_lambdas_environment_and_leaves_none_behind(cloud: Cloud) -> None:
    before = dict(os.environ)
    assert cloud.functions.invoke("tell_environment", {}) == {
        "COLOUR": "red",
        "AWS_REGION": HOME,
        "AWS_LAMBDA_FUNCTION_NAME": "tell_environment",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "arn": f"arn:aws:lambda:{HOME}:123456789012:function:tell_environment",
        "memory": "256",
    }
    assert dict(os.environ) == before


def test_a_killed_function_is_refused_everything_and_counts_as_crashed(cloud: Cloud) -> None:
    match = {"service": "sqs", "caller": "function"}
    cloud.faults.replace([{"match": match, "effect": {"kill": "before"}, "count": 1}])
    with pytest.raises(FunctionError, match="was killed"):
        cloud.functions.invoke("call_after_death", {})
    assert cloud.calls.by_operation() == {"sqs": {"ListQueues": 3}}
    assert cloud.functions.invoke("count_queues", {}) == 0  # the next invocation lives


def test_each_invocation_that_is_over_is_shown_however_it_ended(cloud: Cloud) -> None:
    ended: list[tuple[str, bool]] = []
    cloud.functions.on_end.append(lambda name, seconds: ended.append((name, seconds >= 0)))
    cloud.functions.invoke("count_queues", {})
    with pytest.raises(FunctionError):
        cloud.functions.invoke("answer_what_is_no_json", {})
    assert ended == [("count_queues", True), ("answer_what_is_no_json", True)]


def test_a_function_that_runs_past_its_time_is_cut_off(cloud: Cloud) -> None:
    cloud.functions.add(function("call_after_death", name="slow", timeout=0))
    with pytest.raises(FunctionError, match="ran past its 0 s"):
        cloud.functions.invoke("slow", {})
    assert cloud.calls.by_operation() == {"sqs": {"ListQueues": 3}}


@pytest.mark.parametrize("name", ["answer_what_is_no_json", "answer_too_much"])
def test_an_answer_that_lambda_cannot_carry_fails(cloud: Cloud, name: str) -> None:
    with pytest.raises(FunctionError):
        cloud.functions.invoke(name, {})


def test_an_environment_of_more_than_4_kb_cannot_be_deployed(cloud: Cloud) -> None:
    with pytest.raises(ValueError, match="4096"):
        cloud.functions.add(Function("big", "x.y", HOME, ROLE_ARN, {"BIG": "x" * 4096}))
