"""A call that goes the short way looks the same from both ends as one over HTTP."""

import io
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError

from local_cloud.server import AnswerLostError, HttpAnswer, Server
from local_cloud.short_way import short_way

FROM_CALL_TO_CALL = {"HTTP_X_AMZ_DATE", "HTTP_AUTHORIZATION", "HTTP_AMZ_SDK_INVOCATION_ID"}
"""What differs between two calls, whichever way they go."""
ERROR = b"<Error><Code>NoSuchKey</Code><Message>None such.</Message></Error>"


class Recorder:
    """An endpoint that keeps what it is shown, and answers by the key that is asked for."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def __call__(self, environ: dict[str, Any]) -> HttpAnswer:
        self.seen.append({**environ, "wsgi.input": environ["wsgi.input"].getvalue()})
        if environ["PATH_INFO"].endswith("lost"):
            raise AnswerLostError
        if environ["PATH_INFO"].endswith("none"):
            return HttpAnswer(404, {"Content-Type": "application/xml"}, ERROR)
        if environ["REQUEST_METHOD"] == "HEAD":
            return HttpAnswer(200, {"content-length": "7", "x-amz-meta-a": "b"})
        return HttpAnswer(200, [("ETag", '"e"'), ("X-Of", "one"), ("X-Of", "two")], b"content")


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def server(recorder: Recorder) -> Iterator[Server]:
    server = Server(recorder)
    server.start()
    yield server
    server.close()


@pytest.fixture
def s3(server: Server, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client in a function."""
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "AdvanceJobs")
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-5759e988-bd862e3fe1be46a994272793")
    return botocore.session.Session().create_client(
        "s3",
        region_name="eu-central-1",
        endpoint_url=server.url,
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, proxies={}),
    )


CALLS: dict[str, Callable[[Any], Any]] = {
    "bytes": lambda s3: s3.put_object(Bucket="b", Key="a b/c+d", Body=b"\x00\xff", Metadata={"a": "b"}),
    "a file": lambda s3: s3.put_object(Bucket="b", Key="k", Body=io.BytesIO(b"of a file")),
    "nothing": lambda s3: s3.put_object(Bucket="b", Key="k", Body=b""),
    "a query": lambda s3: s3.get_object(Bucket="b", Key="k", VersionId="ä/&= +", ResponseContentType="a/b"),
    "a head": lambda s3: s3.head_object(Bucket="b", Key="k"),
    "a download": lambda s3: s3.get_object(Bucket="b", Key="k", Range="bytes=0-3"),
    "an error": lambda s3: s3.get_object(Bucket="b", Key="none"),
    "a lost answer": lambda s3: s3.get_object(Bucket="b", Key="lost"),
}


def _answered(s3: Any, call: Callable[[Any], Any]) -> object:
    """Return what a client makes of the answer to a call."""
    try:
        answer = call(s3)
    except ClientError as error:
        return error.response
    except ConnectionClosedError as error:
        return type(error)
    if "Body" in answer:
        answer["Body"] = (answer["Body"].read(3), answer["Body"].read())
    return answer


@pytest.mark.parametrize("name", CALLS)
def test_both_ways_look_the_same_from_both_ends(
    server: Server, recorder: Recorder, s3: Any, name: str
) -> None:
    ends = []
    for way in (nullcontext(), short_way(server.url, recorder)):
        with way:
            ends.append(_answered(s3, CALLS[name]))
    over_http, shorter = ({**seen} for seen in recorder.seen)
    for key in FROM_CALL_TO_CALL:
        assert (over_http.pop(key) != shorter.pop(key)) or key != "HTTP_AMZ_SDK_INVOCATION_ID"
    assert shorter == over_http
    assert ends[0] == ends[1]


def test_only_calls_of_functions_to_an_endpoint_that_is_there_go_the_short_way(
    server: Server, recorder: Recorder, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = Recorder()
    with short_way(server.url, elsewhere):
        s3.head_object(Bucket="b", Key="k")
        monkeypatch.delenv("AWS_LAMBDA_FUNCTION_NAME")
        s3.head_object(Bucket="b", Key="k")
    assert (len(elsewhere.seen), len(recorder.seen)) == (1, 1)
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "AdvanceJobs")
    s3.head_object(Bucket="b", Key="k")
    assert (len(elsewhere.seen), len(recorder.seen)) == (1, 2)
