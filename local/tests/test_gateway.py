"""The API's front door: events in, answers out."""

import json
import urllib.error
import urllib.request
from typing import Any

from little_stack import LittleStack


def ask(
    little: LittleStack, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, Any, Any]:
    """Send a request and answer status, headers and document."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(little.cloud.api.url + path, body, given, method=method)  # noqa: S310  loopback
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
