"""What all routes share: reading and checking requests, answers, and problem documents (RFC 9457).

Invariant: every error of a handler becomes an `application/problem+json` answer that names the fault; only an
unexpected error is a 500, and is logged with its trace.
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
    Misconfigured,
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
# `curl -d` declares a form unless told otherwise; what it sends here is JSON or YAML.
_UNSAID = ("application/x-www-form-urlencoded", "text/plain", "")
# Chalice accepts any body; `document_of` refuses, with a problem document, what it cannot read.
ANY_CONTENT = ["*/*"]

# No name or id is this long, and DynamoDB allows no longer sort key.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
LONGEST_TEXT_BYTES = 1024


class UnknownContent(InvalidInput):
    """The content type of the body is not supported."""


class TooLarge(InvalidInput):
    """The body is larger than any that is accepted."""


class KeyReused(InvalidInput):
    """An `Idempotency-Key` was used before with another body."""


_STATUS: Mapping[type[FarshoreError], HTTPStatus] = {
    UnknownContent: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    KeyReused: HTTPStatus.UNPROCESSABLE_ENTITY,
    Misconfigured: HTTPStatus.INTERNAL_SERVER_ERROR,
    InvalidInput: HTTPStatus.BAD_REQUEST,
    NotFound: HTTPStatus.NOT_FOUND,
    VaultMissing: HTTPStatus.CONFLICT,
    Conflict: HTTPStatus.CONFLICT,
    Denied: HTTPStatus.BAD_GATEWAY,
    Retryable: HTTPStatus.SERVICE_UNAVAILABLE,
}


class Api(Chalice):
    """Chalice, with a problem document when a route does not have the method that was sent."""

    def __call__(self, event: Any, context: Any) -> Any:
        """Answer a request."""
        asked = event.get("requestContext", {})
        method, allowed = asked.get("httpMethod"), sorted(self.routes.get(asked.get("resourcePath"), ()))
        if not allowed or method in allowed:
            return super().__call__(event, context)
        why = f"{asked['resourcePath']} does not have {method}; it has {', '.join(allowed)}"
        refusal = problem(HTTPStatus.METHOD_NOT_ALLOWED, why)
        refusal.headers["Allow"] = ", ".join(allowed)
        return refusal.to_dict()


@dataclass(frozen=True, slots=True)
class Asked(Generic[Q, B]):
    """A request, read and checked: its query, its body, and the names in its path."""

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
    """Return a view of a route: it reads the request, calls the handler, and answers, also if that raises.

    `read_body` reads a body whose model needs to know more than the document."""

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
            detail = f"an unexpected error ({type(error).__name__}); the function's log has the details"
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
            raise NotFound("no name and no id is this long", resource=f"{name[:50]}...")
    query = route.query.read(query_of(request), "the query")
    document = document_of(request) if route.has_body else {}
    body = read_body(document, named) if read_body else route.body.read(document, "the body")
    return Asked(query, body, named, request)


def problem_of(error: FarshoreError) -> Response:
    """Return the problem document of one of our errors."""
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
    """Return the status that a route declares for an answer; None is an empty one."""
    wanted = type(answered) if answered is not None else None
    return next(status for status, model in route.answers if model is wanted)


def answer(document: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Return a JSON answer."""
    return Response(json.dumps(document), {"Content-Type": JSON}, int(status))


def no_content() -> Response:
    """Return an empty answer."""
    return Response("", {}, int(HTTPStatus.NO_CONTENT))


def document_of(request: Request) -> Any:
    """Return a body that is one JSON object or YAML mapping; an empty body gives no keys.

    Raises:
        UnknownContent: its content type is neither.
        TooLarge: it is larger than a document may be.
        InvalidInput: it is neither, or has a key twice.
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
