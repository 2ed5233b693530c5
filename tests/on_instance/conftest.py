"""The shells that the runner must work under, a bucket's worth of HTTP server, and an instance to run on."""

import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.shells import SHELLS, require


@dataclass(slots=True)
class Bucket:
    """What an HTTP server on loopback was sent, and what it is to answer."""

    url: str
    parts: dict[int, bytes] = field(default_factory=dict)
    refuse: dict[int, int] = field(
        default_factory=dict
    )  # part number -> status, once for each time it is listed
    refused: list[int] = field(default_factory=list)
    served: bytes = b""

    @property
    def whole(self) -> bytes:
        """All parts that arrived, in order."""
        return b"".join(self.parts[number] for number in sorted(self.parts))


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    """Serve one object's upload and download on loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    made = Bucket(f"http://127.0.0.1:{server.server_port}/bucket/key?uploadId=u")
    server.RequestHandlerClass = _serving(made)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


def _serving(bucket: Bucket) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            number = int(query["partNumber"][0])
            data = self.rfile.read(int(self.headers["Content-Length"]))
            if number in bucket.refuse:
                bucket.refused.append(number)
                return self._answer(bucket.refuse[number], b"<Error/>")
            if query["X-Amz-Signature"] != [f"signature-{number}"]:
                return self._answer(403, b"<Error><Code>SignatureDoesNotMatch</Code></Error>")
            bucket.parts[number] = data
            return self._answer(200, b"")

        def do_GET(self) -> None:
            self._answer(200 if bucket.served else 404, bucket.served)

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


@dataclass(frozen=True, slots=True)
class Instance:
    """A folder to run in, another for the runner's own state, and one of the shells."""

    shell: tuple[str, ...]
    directory: Path
    state: Path

    def start(self, command: str) -> "subprocess.Popen[str]":
        """Run a command as SSM's agent does: in a session of its own, standard input closed."""
        return subprocess.Popen(
            [*self.shell, "-c", command],
            cwd=self.directory,
            env={
                "PATH": "/usr/local/bin:/usr/bin:/bin",
                "TMPDIR": str(self.state),
                "HOME": str(self.directory),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, command: str) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
        process = self.start(command)
        stdout, stderr = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def script(self, text: str, name: str = "backup") -> str:
        """Lay an executable script and return its path."""
        path = self.directory / name
        path.write_text(text)
        path.chmod(0o755)
        return str(path)

    def left_behind(self) -> list[str]:
        """List the files, not the folders, that the runner left."""
        return sorted(
            str(path.relative_to(self.state)) for path in self.state.rglob("*") if not path.is_dir()
        )


@pytest.fixture(params=SHELLS)
def instance(request: pytest.FixtureRequest, tmp_path: Path) -> Instance:
    """Give an instance with each shell in turn."""
    require(request.param)
    directory, state = tmp_path / "home", tmp_path / "state"
    directory.mkdir()
    state.mkdir()
    return Instance(request.param, directory, state)


def processes_of(session: int) -> list[str]:
    """List the processes that run in a session: what a runner has left alive."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            command, _, rest = stat.read_text().rpartition(") ")
        except (FileNotFoundError, ProcessLookupError):
            continue
        # proc(5): state, parent, process group, session
        state, _, _, owner = rest.split()[:4]
        if int(owner) == session and state != "Z":
            found.append(command)
    return found
