"""The API's front door: events in, answers out."""

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from little_stack import HOME, PLANS, LittleStack
from local_cloud.cloud import Cloud
from local_cloud.signing import OPERATOR, signed


def ask(
    little: LittleStack, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, Any, Any]:
    """Send a signed request and answer status, headers and document."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    url = little.cloud.api.url + path
    return send(method, url, signed(method, url, given, body, region=HOME), body)


def send(method: str, url: str, headers: dict[str, str], body: bytes | None = None) -> tuple[int, Any, Any]:
    """Send a request as it is."""
    request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310  loopback
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  loopback
            return answer.status, answer.headers, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, error.headers, json.load(error)


def test_a_request_arrives_as_a_proxy_event_and_the_answer_goes_back(little: LittleStack) -> None:
    status, headers, event = ask(
        little,
        "PUT",
        "/things/a%20b?x=1&x=2&y=",
        b'{"n": 1}',
        Content_Type="application/json",
        Idempotency_Key="k",
    )

    assert (status, headers["X-Thing"]) == (201, "yes")
    assert event["resource"] == "/things/{name}"
    assert event["path"] == "/things/a b"
    assert event["pathParameters"] == {"name": "a b"}
    assert event["queryStringParameters"] == {"x": "2", "y": ""}
    assert event["multiValueQueryStringParameters"] == {"x": ["1", "2"], "y": [""]}
    assert event["headers"]["Idempotency-Key"] == "k"
    assert (event["body"], event["isBase64Encoded"]) == ('{"n": 1}', False)
    assert event["requestContext"]["resourcePath"] == "/things/{name}"


def test_a_binary_body_travels_in_base64(little: LittleStack) -> None:
    _, _, event = ask(little, "POST", "/things/x", b"\x00\xff", Content_Type="application/octet-stream")
    assert (event["body"], event["isBase64Encoded"]) == ("AP8=", True)


def test_a_stage_in_the_path_is_taken_off(little: LittleStack) -> None:
    assert ask(little, "GET", "/live/things/x")[2]["path"] == "/things/x"


def test_an_unknown_route_is_refused_as_on_aws(little: LittleStack) -> None:
    assert ask(little, "GET", "/nothing")[::2] == (403, {"message": "Missing Authentication Token"})


def test_an_answer_of_no_known_shape_is_a_bad_gateway(little: LittleStack) -> None:
    assert ask(little, "GET", "/things/broken")[::2] == (502, {"message": "Internal server error"})


def test_what_a_request_sets_going_is_done_when_the_cloud_settles(little: LittleStack) -> None:
    ask(little, "GET", "/things/x")
    little.cloud.settle()
    assert [record["body"] for record in little.notes("message")] == ["GET"]


INVALID_TOKEN = "The security token included in the request is invalid."
MISMATCH = "The request signature we calculated does not match the signature you provided."


def test_an_unsigned_request_is_refused_as_on_aws(little: LittleStack) -> None:
    answer = send("GET", f"{little.cloud.api.url}/things/x", {})
    assert answer[::2] == (403, {"message": "Missing Authentication Token"})


def test_an_unsigned_request_is_let_in_where_no_signature_is_asked_for(tmp_path: Path) -> None:
    with Cloud(tmp_path) as cloud:
        cloud.deploy(PLANS)
        assert send("GET", f"{cloud.api.url}/things/x", {})[0] == 201
        url = f"{cloud.api.url}/things/x"
        headers = signed("GET", url, {}, None, region=HOME, by=Credentials("test", "guess"))
        assert send("GET", url, headers)[0] == 403


@pytest.mark.parametrize(
    ("by", "said"),
    [
        (Credentials("AKIANOBODY", "test"), INVALID_TOKEN),
        (Credentials("test", "guess"), MISMATCH),
        (Credentials("ASIALOCALFUNCTION0000", "secret-of-the-local-functions"), INVALID_TOKEN),
    ],
)
def test_a_request_that_is_wrongly_signed_is_refused(little: LittleStack, by: Credentials, said: str) -> None:
    url = f"{little.cloud.api.url}/things/x"
    status, _, document = send("GET", url, signed("GET", url, {}, None, region=HOME, by=by))
    assert (status, document["message"].startswith(said)) == (403, True)


def test_a_signature_holds_for_its_method_path_query_body_and_headers_alone(little: LittleStack) -> None:
    url = f"{little.cloud.api.url}/things/a%20b?x=%3A%20&y=1&empty="
    headers = signed("PUT", url, {"x-amz-meta-a": "one  two"}, b"body", region=HOME)
    assert send("PUT", url, headers, b"body")[0] == 201
    assert send("POST", url, headers, b"body")[0] == 403
    assert send("PUT", url.replace("a%20b", "ab"), headers, b"body")[0] == 403
    assert send("PUT", url.replace("y=1", "y=2"), headers, b"body")[0] == 403
    assert send("PUT", url, headers, b"else")[0] == 403
    assert send("PUT", url, headers | {"X-Amz-Meta-A": "two"}, b"body")[0] == 403
    assert send("PUT", url, headers | {"X-Amz-Meta-B": "more"}, b"body")[0] == 403


def test_a_signature_for_another_service_is_refused(little: LittleStack) -> None:
    url = f"{little.cloud.api.url}/things/x"
    request = AWSRequest("GET", url)
    SigV4Auth(OPERATOR, "sqs", HOME).add_auth(request)
    status, _, document = send("GET", url, dict(request.headers.items()))
    assert (status, document) == (
        403,
        {"message": "Credential should be scoped to correct service: 'execute-api'."},
    )
