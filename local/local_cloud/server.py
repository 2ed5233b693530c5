"""A small HTTP/1.1 server for loopback: keep-alive, one thread per connection, whole bodies in memory.

It exists for speed: a call to the local cloud costs as much in a general server's header parsing as in its
answer, and forty simulated days make tens of thousands of calls. With waitress the demo takes a fifth more
processor time, with werkzeug's two fifths, and waitress changes the names of header fields, S3's metadata
among them. It serves this machine only and binds to 127.0.0.1. Framing follows RFC 9112 as far as AWS
clients and curl use it: Content-Length, chunked request bodies, Expect.
"""

import contextlib
import io
import logging
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import BinaryIO
from urllib.parse import unquote_to_bytes
from wsgiref.types import WSGIEnvironment

LOG = logging.getLogger(__name__)
HOST = "127.0.0.1"
BODILESS = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
FRAMING = frozenset({"content-length", "transfer-encoding", "connection", "status"})


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What a client gets back; a HEAD request's `Content-Length` is taken from the headers."""

    status: int
    headers: Mapping[str, str] | list[tuple[str, str]]
    body: bytes = b""


Application = Callable[[WSGIEnvironment], HttpAnswer]


class MalformedRequestError(Exception):
    """What came over the connection is not HTTP/1.1 as this server reads it."""


class AnswerLostError(Exception):
    """Raised by an application: the connection is closed, and the client gets no answer."""


class Server:
    """Serves one application on one loopback port, from `start` to `close`."""

    def __init__(self, application: Application, port: int = 0) -> None:
        """Bind to `port`; 0 takes any free one."""
        self._application = application
        self._listener = socket.create_server((HOST, port), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Return where clients reach it."""
        return f"http://{HOST}:{self.port}"

    def start(self) -> None:
        """Accept connections from now on."""
        threading.Thread(target=self._accept, name=f"accept-{self.port}", daemon=True).start()

    def close(self) -> None:
        """Refuse new connections and cut the open ones."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.add(connection)
        try:
            with connection, connection.makefile("rb") as stream:
                try:
                    self._converse(connection, stream)
                except MalformedRequestError as error:
                    refusal = HttpAnswer(400, {"Content-Type": "text/plain"}, str(error).encode())
                    connection.sendall(render(refusal, "GET", keep_alive=False))
        except OSError:
            LOG.debug("a client left port %s in the middle of a request", self.port)
        finally:
            with self._lock:
                self._connections.discard(connection)

    def _converse(self, connection: socket.socket, stream: BinaryIO) -> None:
        """Answer requests until the client, a request or a lost answer ends the connection."""
        while environ := read_request(stream, connection, self.port):
            try:
                answer = self._application(environ)
            except AnswerLostError:
                return
            keep_alive = keeps_alive(environ)
            connection.sendall(render(answer, environ["REQUEST_METHOD"], keep_alive=keep_alive))
            if not keep_alive:
                return


def read_request(stream: BinaryIO, connection: socket.socket, port: int) -> WSGIEnvironment | None:
    """Read one request as a WSGI environment whose body is a BytesIO; None at the end of the connection.

    `RAW_URI` keeps the path as it came, percent-encoding and all, which S3 keys and signatures need.

    Raises:
        MalformedRequestError: what came is not a request.
    """
    line = stream.readline(65537).decode("latin-1")
    if not line:
        return None
    try:
        method, target, protocol = line.split()
    except ValueError as error:
        raise MalformedRequestError(f"request line {line!r}") from error
    environ = environ_of(method, target, protocol, port)
    read_headers(stream, environ)
    if environ.get("HTTP_EXPECT", "").lower() == "100-continue":
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = read_body(stream, environ)
    environ["CONTENT_LENGTH"] = str(len(body))
    environ["wsgi.input"] = io.BytesIO(body)
    return environ


def environ_of(method: str, target: str, protocol: str, port: int) -> WSGIEnvironment:
    """Return what the first line of a request says, as WSGI has it."""
    path, _, query = target.partition("?")
    return {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_latin1(path),
        "QUERY_STRING": query,
        "RAW_URI": target,
        "REQUEST_URI": target,
        "SERVER_NAME": HOST,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": protocol,
        "REMOTE_ADDR": HOST,
        "wsgi.url_scheme": "http",
    }


def read_headers(stream: BinaryIO, environ: WSGIEnvironment) -> None:
    """Add the header fields to `environ`."""
    while (line := stream.readline(65537)) not in (b"\r\n", b"\n"):
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon:
            raise MalformedRequestError(f"header line {line!r}")
        add_header(environ, name, value.strip())


def add_header(environ: WSGIEnvironment, name: str, value: str) -> None:
    """Add a header field under its WSGI name; a repeated field is joined with a comma."""
    key = name.upper().replace("-", "_")
    if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        key = f"HTTP_{key}"
    environ[key] = f"{environ[key]},{value}" if key in environ else value


def read_body(stream: BinaryIO, environ: WSGIEnvironment) -> bytes:
    """Read the whole body, chunked or of the length announced."""
    if environ.pop("HTTP_TRANSFER_ENCODING", "").lower() == "chunked":
        return b"".join(read_chunks(stream))
    try:
        length = int(environ.get("CONTENT_LENGTH") or 0)
    except ValueError as error:
        raise MalformedRequestError(f"Content-Length {environ['CONTENT_LENGTH']!r}") from error
    body = stream.read(length)
    if len(body) < length:
        raise MalformedRequestError(f"{len(body)} of {length} bytes of the body came")
    return body


def read_chunks(stream: BinaryIO) -> Iterable[bytes]:
    """Yield the chunks of a chunked body and drop its trailers (RFC 9112, 7.1)."""
    while True:
        line = stream.readline(65537)
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError as error:
            raise MalformedRequestError(f"chunk size {line!r}") from error
        if size == 0:
            break
        yield stream.read(size)
        stream.readline()
    while stream.readline(65537) not in (b"\r\n", b"\n", b""):
        pass


def unquote_latin1(path: str) -> str:
    """Undo percent-encoding the WSGI way: the bytes of the path, read as latin-1 (PEP 3333)."""
    return unquote_to_bytes(path).decode("latin-1") if "%" in path else path


def keeps_alive(environ: WSGIEnvironment) -> bool:
    """Return whether the client will send another request on this connection."""
    connection = environ.get("HTTP_CONNECTION", "").lower()
    return bool(environ["SERVER_PROTOCOL"] == "HTTP/1.1" and connection != "close")


def render(answer: HttpAnswer, method: str, *, keep_alive: bool) -> bytes:
    """Return the bytes of a response."""
    headers, body = framed(answer, method)
    lines = [
        f"HTTP/1.1 {answer.status} {phrase(answer.status)}",
        *(f"{name}: {text}" for name, text in headers),
    ]
    if not keep_alive:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def framed(answer: HttpAnswer, method: str) -> tuple[list[tuple[str, str]], bytes]:
    """Return the header fields and the body as they are sent; the framing headers are
    always ours."""
    items = answer.headers.items() if isinstance(answer.headers, Mapping) else answer.headers
    length = len(answer.body)
    headers = []
    for name, value in items:
        if name.lower() not in FRAMING:
            headers.append((name, value))
        elif method == "HEAD" and name.lower() == "content-length":
            length = int(value)
    if answer.status in BODILESS:
        return headers, b""
    headers.append(("Content-Length", str(length)))
    return headers, b"" if method == "HEAD" else answer.body


def phrase(status: int) -> str:
    """Return the reason phrase of a status, or nothing for one HTTP does not name."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
