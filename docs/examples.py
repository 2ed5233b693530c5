"""The examples of docs/api.md: requests and what is answered. A test plays them; `openapi.json` has them."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chalicelib.plans.reading import load_document
from chalicelib.triggers.routes import ROUTES, AnyRoute

PAGE = Path(__file__).with_name("api.md")
EXAMPLE = re.compile(r"^```http\n(.*?)^```\n\n```json\n(\d+) [\w ]+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Example:
    """A request of the page, and what the page says is answered."""

    method: str
    path: str
    headers: dict[str, str]
    body: str
    status: int
    answer: Any

    @property
    def route(self) -> AnyRoute:
        """The route it is for."""
        path = self.path.partition("?")[0]
        return next(each for each in ROUTES if each.method == self.method and _fits(each.path, path))

    @property
    def document(self) -> Any:
        """The body, read."""
        return load_document(self.body, is_yaml=True)


def examples() -> Iterator[Example]:
    """Yield the examples in the order of the page."""
    for request, status, answer in EXAMPLE.findall(PAGE.read_text(encoding="utf-8")):
        head, _, body = request.partition("\n\n")
        line, *headers = head.splitlines()
        method, path = line.split(" ")
        named = dict(header.split(": ", 1) for header in headers)
        yield Example(method, path, named, body, int(status), json.loads(answer) if answer.strip() else None)


def _fits(pattern: str, path: str) -> bool:
    return re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", pattern), path) is not None
