"""How a function's calls reach the endpoint when both are in one process: without a socket.

Sockets, a thread for each connection, and the writing and reading of HTTP cost as much as many an answer. So
what botocore has signed and would send is given to the endpoint as its server would give it, by the event in
which botocore lets others answer (`before-send`). The calls of functions alone go this way, which botocore
marks with the invocation's trace; those of operators, the demo and instances go over HTTP.

Invariant: the endpoint sees what the server would show it, and botocore what it would read.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.types import WSGIEnvironment

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ConnectionClosedError
from botocore.handlers import BUILTIN_HANDLERS
from urllib3 import HTTPHeaderDict

from local_cloud.server import AnswerLostError, Application, add_header, environ_of, framed

FIRST_CHUNK = 65536
_NEARBY: dict[str, Application] = {}
"""The endpoints in this process, by host and port."""


class Body(io.BytesIO):
    """The bytes of an answer, read as urllib3's are."""

    def stream(self, amount: int = FIRST_CHUNK) -> Iterator[bytes]:
        """Yield what is left, piece by piece."""
        while piece := self.read(amount):
            yield piece


@contextmanager
def short_way(url: str, application: Application) -> Iterator[None]:
    """Have calls of functions of this process to `url` answered by `application` for as long as it lasts."""
    host = url.partition("://")[2]
    _NEARBY[host] = application
    try:
        yield
    finally:
        del _NEARBY[host]


def answer(request: AWSPreparedRequest, **_: Any) -> AWSResponse | None:
    """Answer a function's call to an endpoint in this process; None: it is to be sent."""
    if "X-Amzn-Trace-Id" not in request.headers:
        return None
    host, slash, target = request.url.partition("://")[2].partition("/")
    application = _NEARBY.get(host)
    if application is None:
        return None
    try:
        answered = application(_environ(request, host, slash + target))
    except AnswerLostError as lost:
        raise ConnectionClosedError(endpoint_url=request.url, request=request, error=lost) from lost
    fields, body = framed(answered, request.method)
    headers: Any = HTTPHeaderDict(fields)
    return AWSResponse(request.url, answered.status, headers, Body(body))


def _environ(request: AWSPreparedRequest, host: str, target: str) -> WSGIEnvironment:
    environ = environ_of(request.method, target, "HTTP/1.1", int(host.rpartition(":")[2]))
    fields: list[tuple[str, Any]] = [
        ("Host", host),
        ("Accept-Encoding", "identity"),
        *request.headers.items(),
    ]
    for name, value in fields:
        if name.lower() != "transfer-encoding":
            add_header(environ, name, value.decode("latin-1") if isinstance(value, bytes) else value)
    body = _bytes_of(request.body)
    environ["CONTENT_LENGTH"] = str(len(body))
    environ["wsgi.input"] = io.BytesIO(body)
    return environ


def _bytes_of(body: Any) -> bytes:
    """Return the whole of a body: none, text, bytes, or a file to be read on from where it is."""
    if hasattr(body, "read"):
        body = body.read()
    return body.encode() if isinstance(body, str) else bytes(body or b"")


BUILTIN_HANDLERS.append(("before-send", answer))
