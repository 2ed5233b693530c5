"""`python -m benchmarks.static_s3 FILE`: one object, served fast, as S3 answers HEAD and ranged GET.

It checks nothing and answers every key with the same file, straight from the page cache: a source that is
never what limits a transfer. It prints its URL and serves until its standard input ends.
"""

import hashlib
import re
import sys
import threading
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class OneObject(BaseHTTPRequestHandler):
    """Answers with a range of the file, or with all of it."""

    protocol_version = "HTTP/1.1"
    file: Path
    etag: str

    def do_HEAD(self) -> None:
        """Describe the object."""
        self._begin()

    def do_GET(self) -> None:
        """Send the range asked for; the kernel copies the bytes."""
        start, length = self._begin()
        with self.file.open("rb") as file:
            self.wfile.flush()
            self.connection.sendfile(file, start, length)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _begin(self) -> tuple[int, int]:
        size = self.file.stat().st_size
        asked = RANGE.fullmatch(self.headers.get("Range", ""))
        start, last = (int(asked[1]), min(int(asked[2] or size), size - 1)) if asked else (0, size - 1)
        self.send_response(206 if asked else 200)
        self.send_header("ETag", f'"{self.etag}"')
        self.send_header("Last-Modified", formatdate(self.file.stat().st_mtime, usegmt=True))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last - start + 1))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{last}/{size}")
        self.end_headers()
        return start, last - start + 1


def main() -> None:
    """Serve."""
    OneObject.file = Path(sys.argv[1])
    with OneObject.file.open("rb") as file:
        OneObject.etag = hashlib.file_digest(file, "md5").hexdigest()  # as of an object put in one piece
    server = ThreadingHTTPServer(("127.0.0.1", 0), OneObject)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
