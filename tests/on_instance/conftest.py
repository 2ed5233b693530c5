"""The shells that the runner must work under, a bucket's worth of HTTP server, and an instance to run on."""

import hashlib
import os
import re
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qs, urlsplit

import pytest

from chalicelib.on_instance import (
    TAKEN,
    TAKEN_MD5,
    PartsToSend,
    Persistence,
    backup_letter,
    restore_letter,
)
from tests.support.shells import SHELLS, require

NO_PATIENCE: Final = Persistence(patience_seconds=0)
LOOKS_EVERY_SECONDS: Final = 0.01
"""How often a server looks whether it is to end: at Python's own half a second, most of a test is waiting."""


class Fault(StrEnum):
    """What a bad network, or S3 on a bad day, does to one request."""

    RESET = "reset"  # the connection is reset before an answer, or in the middle of the answer's body
    CLOSE = "close"  # the same, but it is closed
    STALL = "stall"  # nothing more comes, and the connection stays open
    SLOW_DOWN = "503"  # S3 asks for patience
    TIMED_OUT = "400"  # S3 got no byte for a while
    PROXY = "502"  # what is no S3 answers


ERRORS: Final = {
    Fault.SLOW_DOWN: (503, "SlowDown", "Please reduce your request rate."),
    Fault.TIMED_OUT: (400, "RequestTimeout", "Your socket connection was not read from or written to."),
    Fault.PROXY: (502, "", ""),
}


@dataclass(slots=True)
class Bucket:
    """What an HTTP server on loopback was sent, and what it is to answer."""

    url: str
    parts: dict[int, bytes] = field(default_factory=dict)
    refuse: dict[int, tuple[int, str]] = field(default_factory=dict)  # part number -> status, S3's code
    refuse_unread: bool = False  # S3 refuses a part before it has read it, and closes
    refuse_download: tuple[int, str] | None = None
    served: bytes = b""
    faults: list[Fault] = field(default_factory=list)  # of the next requests for the backup, one each
    mail_faults: list[Fault] = field(default_factory=list)  # of the next requests for letters and the report
    after_fault: Callable[[], None] | None = None
    before_answer: Callable[[], None] | None = None
    after_part: Callable[[], None] | None = None
    knows_ranges: bool = True
    seconds_per_mib: float = 0  # how slowly the backup is served
    letters: dict[int, bytes] = field(default_factory=dict)  # as they lie in the mailbox
    report: bytes | None = None
    parts_list: bytes = b""
    on_taken: Callable[[int], None] | None = None  # a letter was taken: the app's turn
    on_missing_letter: Callable[[int], None] | None = None
    spent: set[str] = field(default_factory=set)  # URLs' words of letters whose signatures have expired
    ranges: list[str] = field(default_factory=list)  # of the downloads, in order
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def root(self) -> str:
        """Its address."""
        return self.url.partition("/bucket")[0]

    def address(self, number: int) -> tuple[str, str]:
        """Return a letter: where to get it, and where to put that it was taken."""
        return (
            f"{self.root}/mailbox/letter/{number}?X-Amz-Signature=get",
            f"{self.root}/mailbox/letter/{number}?X-Amz-Signature=put",
        )

    def write_backup_letter(
        self, number: int, sizes: Sequence[int], first: int = 1, last: int | None = None
    ) -> None:
        """Let a run send the parts from `first` on, which have these sizes."""
        parts = [
            (size, (f"date-{part}", f"signature-{part}-{number}"))
            for part, size in enumerate(sizes, start=first)
        ]
        to_send = PartsToSend(self.url, first, last or len(sizes), parts)
        report_url = f"{self.root}/report?X-Amz-Signature=letter-{number}"
        self.letters[number] = backup_letter(self.address(number + 1), report_url, to_send).encode()

    def write_restore_letter(self, number: int) -> None:
        """Let a run get the backup."""
        url = f"{self.url}&X-Amz-Signature=letter-{number}"
        text = restore_letter(
            self.address(number + 1), url, f"{self.root}/parts?X-Amz-Signature=letter-{number}"
        )
        self.letters[number] = text.encode()

    @property
    def taken(self) -> list[int]:
        """The letters that were taken."""
        return [number for number, text in sorted(self.letters.items()) if text == TAKEN]

    @property
    def whole(self) -> bytes:
        """All parts that arrived, in order."""
        return b"".join(self.parts[number] for number in sorted(self.parts))

    @property
    def etag(self) -> str:
        """Return the bytes served. S3's ETags are opaque: this one has capitals."""
        return f'"{hashlib.sha256(self.served).hexdigest().upper()}"'


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    """Serve one object's upload and download on loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    made = Bucket(f"http://127.0.0.1:{server.server_port}/bucket/key?uploadId=u")
    server.RequestHandlerClass = _serving(made)
    thread = threading.Thread(target=server.serve_forever, args=(LOOKS_EVERY_SECONDS,), daemon=True)
    thread.start()
    yield made
    made.released.set()
    server.shutdown()
    server.server_close()
    thread.join()


def s3_error(code: str, message: str = "So it is.") -> bytes:
    """Write an error as S3 does, or none."""
    text = f"<Error><Code>{code}</Code><Message>{message}</Message><RequestId>1</RequestId></Error>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode() if code else b""


def _serving(bucket: Bucket) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        @property
        def _query(self) -> dict[str, list[str]]:
            return parse_qs(urlsplit(self.path).query)

        @property
        def _number(self) -> int:
            return int(self._query["partNumber"][0])

        def handle_expect_100(self) -> bool:
            """Return what a client asks before it sends a part."""
            if bucket.refuse_unread and self._number in bucket.refuse:
                self._refuse_unread()
                return False
            return super().handle_expect_100()

        def _refuse_unread(self) -> None:
            status, code = bucket.refuse[self._number]
            self._answer(status, s3_error(code))
            self.close_connection = True

        @property
        def _letter(self) -> int | None:
            found = re.fullmatch(r"/mailbox/letter/(\d+)", urlsplit(self.path).path)
            return int(found[1]) if found else None

        def _put_mail(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            if bucket.mail_faults:
                return self._do(bucket.mail_faults.pop(0))
            if self._letter is None:
                if self._query["X-Amz-Signature"][0] in bucket.spent:
                    return self._answer(403, s3_error("AccessDenied", "Request has expired"))
                bucket.report = data
                return self._answer(200, b"")
            if (data, self.headers["Content-MD5"]) != (TAKEN, TAKEN_MD5):
                return self._answer(403, s3_error("SignatureDoesNotMatch"))
            bucket.letters[self._letter] = data
            if bucket.on_taken:
                bucket.on_taken(self._letter)
            return self._answer(200, b"")

        def _get_letter(self, number: int) -> None:
            if bucket.mail_faults:
                return self._do(bucket.mail_faults.pop(0))
            if number not in bucket.letters and bucket.on_missing_letter:
                bucket.on_missing_letter(number)
            if number not in bucket.letters:
                return self._answer(404, s3_error("NoSuchKey"))
            return self._answer(200, bucket.letters[number])

        def do_PUT(self) -> None:
            if not self.path.startswith("/bucket/"):
                return self._put_mail()
            query, number, length = self._query, self._number, int(self.headers["Content-Length"])
            if bucket.refuse_unread and number in bucket.refuse:
                return self._refuse_unread()
            if bucket.faults:
                self.rfile.read(length // 2)
                return self._do(bucket.faults.pop(0))
            data = self.rfile.read(length)
            if bucket.before_answer:
                bucket.before_answer()
            if number in bucket.refuse:
                status, code = bucket.refuse[number]
                return self._answer(status, s3_error(code))
            part, _, letter = query["X-Amz-Signature"][0].rpartition("-")
            if f"letter-{letter}" in bucket.spent:
                return self._answer(403, s3_error("AccessDenied", "Request has expired"))
            if (part, query["X-Amz-Date"]) != (f"signature-{number}", [f"date-{number}"]):
                return self._answer(403, s3_error("SignatureDoesNotMatch"))
            bucket.parts[number] = data
            if bucket.after_part:
                bucket.after_part()
            return self._answer(200, b"")

        def do_GET(self) -> None:
            if self._letter is not None:
                return self._get_letter(self._letter)
            if self.path.startswith("/parts"):
                return self._answer(200, bucket.parts_list)
            if self._query["X-Amz-Signature"][0] in bucket.spent:
                return self._answer(403, s3_error("AccessDenied", "Request has expired"))
            bucket.ranges.append(self.headers.get("Range", ""))
            if bucket.refuse_download or not bucket.served:
                status, code = bucket.refuse_download or (404, "NoSuchKey")
                return self._answer(status, s3_error(code))
            if self.headers.get("If-Match", bucket.etag) != bucket.etag:
                return self._answer(412, s3_error("PreconditionFailed"))
            status, body, headers = 200, bucket.served, {"ETag": bucket.etag}
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", bucket.ranges[-1])
            if asked and bucket.knows_ranges:
                start, end = int(asked[1]), int(asked[2] or len(bucket.served) - 1)
                status, body = 206, bucket.served[start : end + 1]
                last = start + len(body) - 1
                headers["Content-Range"] = f"bytes {start}-{last}/{len(bucket.served)}"
            if bucket.seconds_per_mib:
                return self._answer_slowly(status, body, headers)
            if not bucket.faults:
                return self._answer(status, body, headers)
            fault = bucket.faults.pop(0)
            if fault not in ERRORS:
                self._answer(status, body[: len(body) // 2], headers, length=len(body))
                self.wfile.flush()
            return self._do(fault)

        def _answer_slowly(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
            self._answer(status, b"", headers, length=len(body))
            block = 1 << 16
            for start in range(0, len(body), block):
                bucket.released.wait(bucket.seconds_per_mib / 16)
                try:
                    self.wfile.write(body[start : start + block])
                except ConnectionError:  # the client has had enough
                    self.close_connection = True
                    return

        def _do(self, fault: Fault) -> None:
            if fault in ERRORS:
                status, code, message = ERRORS[fault]
                self._answer(status, s3_error(code, message))
            if fault is Fault.STALL:
                bucket.released.wait()
            if fault is Fault.RESET:
                # RST, not FIN, when it is closed: https://man7.org/linux/man-pages/man7/socket.7.html
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                os.close(self.connection.detach())
            self.close_connection = True
            if bucket.after_fault:
                bucket.after_fault()

        def _answer(
            self,
            status: int,
            body: bytes,
            headers: Mapping[str, str] = MappingProxyType({}),
            length: int | None = None,
        ) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body) if length is None else length))
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
        """Run a command as SSM's agent does: in a session of its own, standard input closed.

        Signals are what they are by default, whatever the tests were started from: `nohup` ignores SIGHUP,
        and a shell keeps to what was ignored when it began.
        """
        return subprocess.Popen(
            ["env", "--default-signal", *self.shell, "-c", command],
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
        """List the files, not the folders, that the runner left; it may be removing them meanwhile."""
        walked = os.walk(self.state)  # passes over a folder that goes while it looks, as rglob does not
        return sorted(
            str((Path(folder) / name).relative_to(self.state))
            for folder, _, files in walked
            for name in files
        )


@pytest.fixture(params=SHELLS)
def instance(request: pytest.FixtureRequest, tmp_path: Path) -> Instance:
    """Give an instance with each shell in turn."""
    require(request.param)
    directory, state = tmp_path / "home", tmp_path / "state"
    directory.mkdir()
    state.mkdir()
    return Instance(request.param, directory, state)


def wait_until(true: Callable[[], bool], why: str) -> None:
    """Look again and again, for at most 20 seconds."""
    pause = threading.Event()
    for _ in range(2000):
        if true():
            return
        pause.wait(0.01)
    pytest.fail(why)


def processes_of(session: int) -> list[str]:
    """List the processes that run in a session: what a runner has left alive."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):  # not */stat: that fails on one that goes meanwhile
        try:
            command, _, rest = (process / "stat").read_text().rpartition(") ")
        except (FileNotFoundError, ProcessLookupError):
            continue
        # proc(5): state, parent, process group, session
        state, _, _, owner = rest.split()[:4]
        if int(owner) == session and state != "Z":
            found.append(command)
    return found
