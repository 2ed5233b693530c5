"""The local cloud as its users see it: `python -P -m stage` in a process of its own, at addresses that it
prints.

Everything the story does goes through these: AWS calls through boto3, the API and the control server through
HTTP. Nothing of the app or of the local cloud is imported here.
"""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote, urlencode

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

HOME, DR = "eu-central-1", "eu-west-1"
LOCAL = Path(__file__).parent.parent / "local"
STOP_SECONDS = 30
CREDENTIALS = ("test", "test")
"""The operator's."""
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Requests to this machine do not use the proxy that the environment may name."""


class RefusedError(Exception):
    """A server answered an error; `document` is the body of its answer."""

    def __init__(self, request: str, status: int, document: str) -> None:
        super().__init__(f"{request}: {status} {document}")
        self.status = status
        self.document = document


class NotStartedError(Exception):
    """The local cloud did not start."""


@dataclass(frozen=True, slots=True)
class Server:
    """An HTTP server that speaks JSON; that of the API accepts only signed requests."""

    url: str
    signed: bool = False

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        """Send a request and return the document in its answer.

        Raises:
            RefusedError: the answer is an error.
        """
        content = None if body is None else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url, headers = self.url + path, {"Content-Type": "application/json", **named}
        if self.signed:
            request = AWSRequest(method, url, headers, content)
            SigV4Auth(Credentials(*CREDENTIALS), "execute-api", HOME).add_auth(request)
            headers = dict(request.headers.items())
        to_send = urllib.request.Request(url, content, headers, method=method)  # noqa: S310 (our own address)
        try:
            with DIRECT.open(to_send) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise RefusedError(f"{method} {path}", error.code, error.read().decode()) from error

    def get(self, path: str, **query: str) -> Any:
        """Send a GET request and return the document in its answer."""
        return self.ask("GET", f"{path}?{urlencode(query, safe='', quote_via=quote)}" if query else path)


@dataclass(frozen=True, slots=True)
class DemoCloud:
    """The addresses of a local cloud; `vaults` has the place of each vault, to look at it."""

    aws_url: str
    api: Server
    control: Server
    vaults: Mapping[str, str]
    session: boto3.Session = field(default_factory=lambda: boto3.Session(*CREDENTIALS))
    _clients: dict[tuple[str, str], Any] = field(default_factory=dict)

    def client(self, service: str, region: str) -> Any:
        """Return a boto3 client of the AWS endpoint; one is made per service and region."""
        if (service, region) not in self._clients:
            make: Any = self.session.client
            config = Config(retries={"total_max_attempts": 1}, proxies={})
            self._clients[service, region] = make(
                service, region_name=region, endpoint_url=self.aws_url, config=config
            )
        return self._clients[service, region]

    def now(self) -> datetime:
        """Return the simulated time."""
        return datetime.fromisoformat(self.control.get("/clock")["now"])

    def advance(self, by: timedelta) -> datetime:
        """Let simulated time pass; everything that becomes due has happened when this returns."""
        answer = self.control.ask("POST", "/clock", {"advance": f"{by // timedelta(milliseconds=1)}ms"})
        return datetime.fromisoformat(answer["now"])

    def advance_to(self, when: datetime) -> datetime:
        """Let simulated time pass until `when`, unless it is past: the clock also runs by itself."""
        left = when - self.now()
        return self.advance(left) if left > timedelta(0) else self.now()

    def directory(self, instance_id: str) -> Path:
        """Return the directory that is the file system of an instance."""
        return Path(self.control.get("/instances")[instance_id])

    @property
    def offsite_folder(self) -> Path | None:
        """The folder of the off-site vault; None if it is not a folder."""
        where = self.vaults["offsite"]
        return None if "://" in where else Path(where)

    def calls(self, caller: str = "function") -> Mapping[str, Mapping[str, int]]:
        """Return how often the app's functions, or others (`other`), called AWS, by operation."""
        counts: Mapping[str, Mapping[str, int]] = self.control.get("/calls", caller=caller)
        return counts


@contextmanager
def local_cloud(offsite: str, log: TextIO) -> Iterator[DemoCloud]:
    """Run a local cloud for as long as the context lasts; its output and the app's go to `log`.

    Raises:
        NotStartedError: it did not start; `log` says why.
    """
    ports = dict.fromkeys(("AWS_PORT", "API_PORT", "CONTROL_PORT"), "0")
    environment = {**os.environ, **ports, "OFFSITE": offsite, "PYTHONPATH": str(LOCAL), "SIGNED": "1"}
    command = [sys.executable, "-P", "-m", "stage"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, stderr=log, text=True) as process:
        try:
            ready = process.stdout.readline() if process.stdout else ""
            if not ready:
                raise NotStartedError
            said = json.loads(ready)
            yield DemoCloud(
                said["aws"], Server(said["api"], signed=True), Server(said["control"]), said["vaults"]
            )
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
