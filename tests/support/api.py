"""A client of the API: signed HTTP, answers, problem documents, lists page by page."""

import http.client
import json
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from botocore.credentials import Credentials

from local_cloud.signing import OPERATOR, signed
from stage import HOME_REGION

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API answered."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def document(self) -> Any:
        """The JSON of the body; None of an empty one."""
        return json.loads(self.text or "null")

    def problem(self, status: int) -> Document:
        """Return the problem document, having seen that it is a whole one (RFC 9457) of this status."""
        assert self.status == status, self.text
        assert self.headers["Content-Type"] == "application/problem+json", self.text
        problem: Document = self.document
        assert problem["status"] == status
        assert problem["type"] == "about:blank"
        assert problem["title"]
        assert problem["detail"]
        return problem

    def fault(self, status: int = 400) -> tuple[str, Any, str]:
        """Return the one fault of an input: pointer, value and what would be right."""
        [error] = self.problem(status)["errors"]
        return error["pointer"], error["value"], error["expected"]

    def faults(self, status: int = 400) -> dict[str, str]:
        """Return what would be right, by pointer."""
        return {error["pointer"]: error["expected"] for error in self.problem(status)["errors"]}


class Api:
    """The API of a stage."""

    def __init__(self, url: str, by: Credentials = OPERATOR, tls: ssl.SSLContext | None = None) -> None:
        """Ask at `url`, over TLS where `tls` says whom to trust."""
        self.api_url = url
        self.by = by
        self.tls = tls

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, object] | None = None,
        content_type: str = "application/json",
        key: str | None = None,
        status: int | None = None,
    ) -> Answer:
        """Send a signed request; a body that is bytes is sent as it is, anything else as JSON.

        With `status` any other answer fails the test.
        """
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {"Content-Type": content_type} if content is not None else {}
        headers |= {"Idempotency-Key": key} if key is not None else {}
        path += f"?{urlencode(query, safe='', quote_via=quote)}" if query else ""
        headers = signed(method, self.api_url + path, headers, content, region=HOME_REGION, by=self.by)
        answer = self.send(method, path, content, headers)
        assert status in (None, answer.status), f"{method} {path}: {answer}"
        return answer

    def send(self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]) -> Answer:
        """Send a request as it is, signed or not."""
        address = urlsplit(self.api_url)
        connection = (
            http.client.HTTPSConnection(address.netloc, timeout=60, context=self.tls)
            if self.tls
            else http.client.HTTPConnection(address.netloc, timeout=60)
        )
        try:
            connection.request(method, address.path + path, content, dict(headers))
            response = connection.getresponse()
            return Answer(response.status, dict(response.headers), response.read().decode())
        finally:
            connection.close()

    def get(self, path: str, **query: object) -> Any:
        """Ask for what must be there."""
        return self.ask("GET", path, query=query, status=200).document

    def pages(self, path: str, **query: object) -> Iterator[list[Document]]:
        """Follow the cursors of a list."""
        cursor: Document = {}
        while True:
            page = self.get(path, **query, **cursor)
            yield page["items"]
            if page["cursor"] is None:
                return
            cursor = {"cursor": page["cursor"]}

    def everything(self, path: str, **query: object) -> list[Document]:
        """List all there is, page by page."""
        return [item for page in self.pages(path, **query) for item in page]

    def job(self, job: str) -> Document:
        """Return a job."""
        found: Document = self.get(f"/jobs/{job}")
        return found

    def point(self, point: str) -> Document:
        """Return a recovery point."""
        found: Document = self.get(f"/recovery-points/{point}")
        return found
