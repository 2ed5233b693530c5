"""Who may call AWS, and how each service says no to all others."""

import http.client
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from little_stack import HOME
from local_cloud.cloud import Cloud

CALLS = {
    "dynamodb": lambda client: client.list_tables(),
    "sqs": lambda client: client.list_queues(),
    "ec2": lambda client: client.describe_availability_zones(),
    "s3": lambda client: client.list_buckets(),
    "sts": lambda client: client.get_caller_identity(),
    "ssm": lambda client: client.list_commands(),
    "events": lambda client: client.list_rules(),
    "secretsmanager": lambda client: client.list_secrets(),
    "lambda": lambda client: client.list_functions(),
}


def client_of(cloud: Cloud, service: str, key: str, secret: str, token: str | None = None) -> Any:
    make: Any = boto3.Session(key, secret, token, region_name=HOME).client
    return make(service, endpoint_url=cloud.aws.url, config=Config(retries={"total_max_attempts": 1}))


def refusal(service: str, client: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        CALLS[service](client)
    response: Any = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


@pytest.mark.parametrize(
    ("service", "unknown", "mismatch"),
    [
        ("s3", ("InvalidAccessKeyId", 403), ("SignatureDoesNotMatch", 403)),
        ("ec2", ("AuthFailure", 401), ("AuthFailure", 401)),
        ("sts", ("InvalidClientTokenId", 403), ("SignatureDoesNotMatch", 403)),
        ("sqs", ("InvalidClientTokenId", 403), ("SignatureDoesNotMatch", 403)),
        ("dynamodb", ("UnrecognizedClientException", 400), ("InvalidSignatureException", 400)),
        ("ssm", ("UnrecognizedClientException", 400), ("InvalidSignatureException", 400)),
        ("events", ("UnrecognizedClientException", 400), ("InvalidSignatureException", 400)),
        ("secretsmanager", ("UnrecognizedClientException", 400), ("InvalidSignatureException", 400)),
        ("lambda", ("UnrecognizedClientException", 403), ("InvalidSignatureException", 403)),
    ],
)
def test_a_wrong_key_and_a_wrong_secret_are_refused_in_the_words_of_the_service(
    cloud: Cloud, service: str, unknown: tuple[str, int], mismatch: tuple[str, int]
) -> None:
    assert refusal(service, client_of(cloud, service, "AKIANOBODY", "test")) == unknown
    assert refusal(service, client_of(cloud, service, "test", "guess")) == mismatch


def test_temporary_keys_need_their_session(cloud: Cloud) -> None:
    session = cloud.sessions.of_function("f", "arn:aws:iam::123456789012:role/r")
    rightly = client_of(cloud, "dynamodb", session.access_key, session.secret, session.token)
    assert refusal("dynamodb", rightly) == ("FunctionKilled", 399)  # signed by a function, and none runs
    for token in (None, "another-session"):
        client = client_of(cloud, "dynamodb", session.access_key, session.secret, token)
        assert refusal("dynamodb", client) == ("UnrecognizedClientException", 400)


def test_a_refused_call_changes_nothing(cloud: Cloud) -> None:
    with pytest.raises(ClientError):
        client_of(cloud, "sqs", "test", "guess").create_queue(QueueName="q")
    assert "QueueUrls" not in cloud.client("sqs", HOME).list_queues()


def test_a_body_that_was_changed_on_its_way_is_refused(cloud: Cloud) -> None:
    sent: list[Any] = []
    client = client_of(cloud, "sqs", "test", "test")
    client.meta.events.register("before-send.sqs.CreateQueue", lambda request, **_: sent.append(request))
    client.create_queue(QueueName="mine")
    [request] = sent
    changed = request.body.replace(b"mine", b"else")

    assert post(request.url, request.headers, request.body)[0] == 200
    status, body = post(request.url, request.headers, changed)
    assert (status, b"SignatureDoesNotMatch" in body) == (403, True)


def post(url: str, headers: Any, body: bytes) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    given = {name: value.decode() if isinstance(value, bytes) else value for name, value in headers.items()}
    connection.request("POST", "/", body, given)
    answer = connection.getresponse()
    try:
        return answer.status, answer.read()
    finally:
        connection.close()
