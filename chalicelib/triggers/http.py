"""What every route shares: requests read and checked, answers, and a problem document (RFC 9457) for whatever
is wrong.

Invariant: whatever a handler raises becomes an `application/problem+json` answer that names the fault; only
an error nobody foresaw is a 500, and that one is logged whole.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from http import HTTPStatus
from typing import Any, Generic
from urllib.parse import unquote

from chalice.app import Chalice, Request, Response

from chalicelib.errors import (
    Conflict,
    Denied,
    FarshoreError,
    InvalidInput,
    NotFound,
    Problem,
    Retryable,
    VaultMissing,
)
from chalicelib.observability import count, logger
from chalicelib.plans.declared import Declared
from chalicelib.plans.reading import LARGEST_BYTES, load_document
from chalicelib.plans.words import shown
from chalicelib.triggers.routes import B, Q, Route

JSON = "application/json"
PROBLEM = "application/problem+json"
YAML = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml", "text/vnd.yaml")
# `curl -d` says it sends a form when nobody tells it otherwise; what it sends here is JSON or YAML.
_UNSAID = ("application/x-www-form-urlencoded", "text/plain", "")
# Chalice lets any body in; `document_of` refuses those it cannot read, with a problem document.
ANY_CONTENT = ["*/*"]

# No name or id of ours is as long, and DynamoDB takes no sort key that is longer.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
LONGEST_TEXT_BYTES = 1024


class UnknownContent(InvalidInput):
    """The body is of a type that is not read here."""


class TooLarge(InvalidInput):
    """The body is larger than any that is read here."""


class KeyReused(InvalidInput):
    """An `Idempotency-Key` was used before with another body."""


_STATUS: Mapping[type[FarshoreError], HTTPStatus] = {
    UnknownContent: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    KeyReused: HTTPStatus.UNPROCESSABLE_ENTITY,
    InvalidInput: HTTPStatus.BAD_REQUEST,
    NotFound: HTTPStatus.NOT_FOUND,
    VaultMissing: HTTPStatus.CONFLICT,
    Conflict: HTTPStatus.CONFLICT,
    Denied: HTTPStatus.BAD_GATEWAY,
    Retryable: HTTPStatus.SERVICE_UNAVAILABLE,
}


class Api(Chalice):
    """Chalice, with a problem document where a route has not the method that was sent."""

    def __call__(self, event: Any, context: Any) -> Any:
        """Answer a request."""
        asked = event.get("requestContext", {})
        method, allowed = asked.get("httpMethod"), sorted(self.routes.get(asked.get("resourcePath"), ()))
        if not allowed or method in allowed:
            return super().__call__(event, context)
        why = f"{asked['resourcePath']} takes no {method}; it takes {', '.join(allowed)}"
        refusal = problem(HTTPStatus.METHOD_NOT_ALLOWED, why)
        refusal.headers["Allow"] = ", ".join(allowed)
        return refusal.to_dict()


@dataclass(frozen=True, slots=True)
class Asked(Generic[Q, B]):
    """A request that was read: its query and body, and the names in its path."""

    query: Q
    body: B
    names: Mapping[str, str]
    request: Request


def answering(
    route: Route[Q, B],
    handler: Callable[[Asked[Q, B]], Response],
    request_of: Callable[[], Request],
    read_body: Callable[[Any, Mapping[str, str]], B] | None = None,
) -> Callable[..., Response]:
    """Return what reads a route's request, has it handled, and answers with a problem document when that
    raises. `read_body` reads a body where its model needs to know more."""

    @wraps(handler)
    def answered(**names: str) -> Response:
        log = logger()
        try:
            return handler(_read(route, request_of(), names, read_body))
        except FarshoreError as error:
            return problem_of(error)
        except Exception as error:
            log.exception("a request failed", extra={"handler": handler.__name__})
            count("RequestFailed", handler=handler.__name__)
            detail = f"an error nobody foresaw ({type(error).__name__}); it is in the function's log"
            return problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail)

    return answered


def _read(
    route: Route[Q, B],
    request: Request,
    names: Mapping[str, str],
    read_body: Callable[[Any, Mapping[str, str]], B] | None,
) -> Asked[Q, B]:
    named = {key: unquote(name) for key, name in names.items()}
    for name in named.values():
        if len(name.encode("utf-8", "surrogatepass")) > LONGEST_TEXT_BYTES:
            raise NotFound("no name and no id is as long", resource=f"{name[:50]}...")
    query = route.query.read(query_of(request), "the query")
    document = document_of(request) if route.has_body else {}
    body = read_body(document, named) if read_body else route.body.read(document, "the body")
    return Asked(query, body, named, request)


def problem_of(error: FarshoreError) -> Response:
    """Return an error of ours as a problem document."""
    status = next(
        (status for kind, status in _STATUS.items() if isinstance(error, kind)),
        HTTPStatus.INTERNAL_SERVER_ERROR,
    )
    if not isinstance(error, InvalidInput):
        return problem(status, str(error))
    errors = [
        {"pointer": each.pointer, "value": shown(each.value), "expected": each.expected}
        for each in error.problems
    ]
    return problem(status, str(error), errors=errors)


def problem(status: HTTPStatus, detail: str, **more: Any) -> Response:
    """Return a problem document."""
    body = {"type": "about:blank", "title": status.phrase, "status": int(status), "detail": detail, **more}
    return Response(json.dumps(body, default=str), {"Content-Type": PROBLEM}, int(status))


def status_of(route: Route[Any, Any], answered: Declared | None) -> HTTPStatus:
    """Return the status that a route has for an answer, None being an empty one."""
    wanted = type(answered) if answered is not None else None
    return next(status for status, model in route.answers if model is wanted)


def answer(document: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Return a JSON answer."""
    return Response(json.dumps(document), {"Content-Type": JSON}, int(status))


def no_content() -> Response:
    """Return an empty answer."""
    return Response("", {}, int(HTTPStatus.NO_CONTENT))


def document_of(request: Request) -> Any:
    """Read a body that is one JSON object or YAML mapping; an empty one has no keys.

    Raises:
        UnknownContent: its content type is neither.
        TooLarge: it is larger than a document may be.
        InvalidInput: it is not, or says a key twice.
    """
    content_type = (request.headers.get("content-type") or "").split(";")[0].strip().lower()
    if content_type not in (JSON, *YAML, *_UNSAID):
        expected = f"{JSON} or {YAML[0]}"
        raise UnknownContent("the headers", [Problem("/Content-Type", content_type, expected)])
    text = text_of(request)
    if not text.strip():
        return {}
    document = load_document(text, is_yaml=content_type != JSON)
    if not isinstance(document, dict):
        raise InvalidInput("the body", [Problem("", shown(document), "one JSON object")])
    return document


def text_of(request: Request) -> str:
    """Return a body as text.

    Raises:
        TooLarge: it is larger than a document may be.
        InvalidInput: it is not UTF-8.
    """
    try:
        body = request.raw_body
        text = body.decode() if isinstance(body, bytes) else body
    except UnicodeError as fault:
        raise InvalidInput("the body", [Problem("", None, f"a text in UTF-8: {fault}")]) from fault
    if len(body) > LARGEST_BYTES:
        expected = f"at most {LARGEST_BYTES:,} bytes"
        raise TooLarge("the body", [Problem("", f"{len(body):,} bytes", expected)])
    return text


def query_of(request: Request) -> dict[str, str]:
    """Return the query parameters.

    Raises:
        InvalidInput: one is given more than once.
    """
    given = request.query_params
    if given is None:
        return {}
    query: dict[str, str] = dict(given)
    twice = [
        Problem(f"/{name}", shown(", ".join(values)), "one value: it is given more than once")
        for name in query
        if len(values := given.getlist(name)) > 1
    ]
    if twice:
        raise InvalidInput("the query", twice)
    return query
