"""HTTP framing, byte by byte."""

import socket
from collections.abc import Iterator

import pytest

from local_cloud.server import HttpAnswer, Server

ECHO_HEADERS = {"X-Echo": "yes"}


@pytest.fixture
def server() -> Iterator[Server]:
    def echo(environ: dict[str, object]) -> HttpAnswer:
        stream = environ["wsgi.input"]
        text = f"{environ['REQUEST_METHOD']} {environ['RAW_URI']} {environ['PATH_INFO']} "
        return HttpAnswer(200, ECHO_HEADERS, text.encode("latin-1") + stream.getvalue())  # type: ignore[attr-defined]

    server = Server(echo)
    server.start()
    yield server
    server.close()


def talk(server: Server, sent: bytes) -> bytes:
    """Send bytes, end, and answer everything that comes back."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_requests_follow_one_another_on_a_connection(server: Server) -> None:
    answered = talk(server, b"GET /a HTTP/1.1\r\n\r\nPOST /b HTTP/1.1\r\nContent-Length: 2\r\n\r\nxy")
    assert answered.count(b"HTTP/1.1 200 OK") == 2
    assert answered.endswith(b"POST /b /b xy")


def test_a_connection_closes_when_the_client_says_so(server: Server) -> None:
    answered = talk(server, b"GET /a HTTP/1.1\r\nConnection: close\r\n\r\nGET /b HTTP/1.1\r\n\r\n")
    assert answered.count(b"HTTP/1.1 200 OK") == 1
    assert b"Connection: close" in answered


def test_a_chunked_body_is_put_together(server: Server) -> None:
    chunks = b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: t\r\n\r\n"
    assert talk(server, b"PUT /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks).endswith(
        b"/c abcde"
    )


def test_a_client_that_expects_to_be_told_is_told_to_continue(server: Server) -> None:
    answered = talk(server, b"PUT /d HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx")
    assert answered.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


def test_a_head_has_no_body_and_a_path_keeps_its_encoding(server: Server) -> None:
    assert talk(server, b"HEAD /e HTTP/1.1\r\n\r\n").endswith(b"\r\n\r\n")
    assert talk(server, b"GET /a%2Fb%20c HTTP/1.1\r\n\r\n").endswith(b"GET /a%2Fb%20c /a/b c ")


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"PUT / HTTP/1.1\r\nContent-Length: two\r\n\r\n",
        b"PUT / HTTP/1.1\r\nContent-Length: 5\r\n\r\nx",
        b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_request_gets_no_answer_of_the_application(server: Server, sent: bytes) -> None:
    answered = talk(server, sent)
    assert answered.startswith(b"HTTP/1.1 400")
    assert b"X-Echo" not in answered
