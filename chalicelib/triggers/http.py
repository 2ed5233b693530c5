"""What every route shares: bodies in, answers out, and a problem document (RFC 9457) for whatever is wrong.

Invariant: whatever a handler raises becomes an `application/problem+json` answer that names the fault; only
an error nobody foresaw is a 500, and that one is logged whole.
"""

import base64
import json
from collections.abc import Callable, Mapping
from functools import wraps
from http import HTTPStatus
from typing import Any

import yaml
from chalice.app import Request, Response

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

JSON = "application/json"
YAML = ("application/yaml", "application/x-yaml", "text/yaml")
# `curl -d` says it sends a form when nobody tells it otherwise; what it sends here is JSON.
_AS_JSON = (JSON, "application/x-www-form-urlencoded", "text/plain", "")
# Chalice lets any body in; `body_of` refuses those it cannot read, with a problem document.
ANY_CONTENT = ["*/*"]

DEFAULT_LIMIT = 50
LARGEST_LIMIT = 500
# No name or id of ours is as long, and DynamoDB takes no sort key that is longer.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
LONGEST_TEXT_BYTES = 1024


class UnknownContent(InvalidInput):
    """The body is of a type that is not read here."""


_STATUS: Mapping[type[FarshoreError], HTTPStatus] = {
    UnknownContent: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    InvalidInput: HTTPStatus.BAD_REQUEST,
    NotFound: HTTPStatus.NOT_FOUND,
    VaultMissing: HTTPStatus.CONFLICT,
    Conflict: HTTPStatus.CONFLICT,
    Denied: HTTPStatus.BAD_GATEWAY,
    Retryable: HTTPStatus.SERVICE_UNAVAILABLE,
}


def answering(handler: Callable[..., Response]) -> Callable[..., Response]:
    """Answer with a problem document when the handler raises."""

    @wraps(handler)
    def answered(**names: str) -> Response:
        log = logger()
        try:
            return _not_so_long(names) or handler(**names)
        except FarshoreError as error:
            return problem_of(error)
        except Exception as error:
            log.exception("a request failed", extra={"handler": handler.__name__})
            count("RequestFailed", handler=handler.__name__)
            detail = f"an error nobody foresaw ({type(error).__name__}); it is in the function's log"
            return problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail)

    return answered


def _not_so_long(names: Mapping[str, str]) -> Response | None:
    """Return a 404 for a name or id in the path that is longer than any there can be."""
    strange = [name for name in names.values() if len(name.encode()) > LONGEST_TEXT_BYTES]
    why = "no name and no id is as long"
    return problem_of(NotFound(why, resource=f"{strange[0][:50]}...")) if strange else None


def problem_of(error: FarshoreError) -> Response:
    """Return an error of ours as a problem document."""
    status = next(
        (status for kind, status in _STATUS.items() if isinstance(error, kind)),
        HTTPStatus.INTERNAL_SERVER_ERROR,
    )
    errors = [
        {"pointer": each.pointer, "value": each.value, "expected": each.expected}
        for each in (error.problems if isinstance(error, InvalidInput) else ())
    ]
    return problem(status, str(error), **({"errors": errors} if errors else {}))


def problem(status: HTTPStatus, detail: str, **more: Any) -> Response:
    """Return a problem document."""
    body = {"type": "about:blank", "title": status.phrase, "status": int(status), "detail": detail, **more}
    return Response(json.dumps(body, default=str), {"Content-Type": "application/problem+json"}, int(status))


def answer(body: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Return a JSON answer."""
    return Response(json.dumps(body), {"Content-Type": JSON}, int(status))


def no_content() -> Response:
    """Return an empty answer."""
    return Response("", {}, int(HTTPStatus.NO_CONTENT))


def body_of(
    request: Request, *, known: frozenset[str] | None = None, required: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Read a body that is one JSON object (or YAML mapping).

    Raises:
        UnknownContent: its content type is neither.
        InvalidInput: it is not, or has keys that are not `known`, or lacks a `required` one.
    """
    text = text_of(request)
    content_type = (request.headers.get("content-type") or "").split(";")[0].strip().lower()
    is_yaml = content_type in YAML
    if not is_yaml and content_type not in _AS_JSON:
        expected = f"{JSON} or {YAML[0]}"
        raise UnknownContent("the headers", [Problem("/Content-Type", content_type, expected)])
    try:
        document = yaml.safe_load(text) if is_yaml else json.loads(text)
    except (ValueError, yaml.YAMLError) as fault:
        what = "YAML" if is_yaml else "JSON"
        raise InvalidInput("the body", [Problem("", text[:200], f"{what}: {fault}")]) from fault
    if not isinstance(document, dict):
        raise InvalidInput("the body", [Problem("", document, "one JSON object")])
    problems = [
        Problem(f"/{key}", document[key], f"no such key here; there are {', '.join(sorted(known))}")
        for key in document
        if known is not None and key not in known
    ]
    problems += [Problem(f"/{key}", None, "this key is required") for key in required if key not in document]
    if problems:
        raise InvalidInput("the body", problems)
    return document


def text_of(request: Request) -> str:
    """Return a body as text."""
    body = request.raw_body
    return body.decode("utf-8", errors="replace") if isinstance(body, bytes) else body


def query_of(request: Request, *known: str) -> dict[str, str]:
    """Return the query parameters.

    Raises:
        InvalidInput: there is one that the route does not know, or that is too long.
    """
    query: dict[str, str] = dict(request.query_params or {})
    strange = [
        Problem(f"/{name}", query[name], f"no such parameter here; there are {', '.join(known) or 'none'}")
        for name in query
        if name not in known
    ]
    strange += [
        Problem(f"/{name}", f"{text[:50]}...", f"at most {LONGEST_TEXT_BYTES} bytes")
        for name, text in query.items()
        if len(text.encode()) > LONGEST_TEXT_BYTES
    ]
    if strange:
        raise InvalidInput("the query", strange)
    return query


def limit_of(query: Mapping[str, str]) -> int:
    """Return how many items a page may have.

    Raises:
        InvalidInput: it is not a number from 1 to 500.
    """
    text = query.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text) <= LARGEST_LIMIT:
        raise InvalidInput(
            "the query", [Problem("/limit", text, f"a whole number from 1 to {LARGEST_LIMIT}")]
        )
    return int(text)


def page_of(items: Mapping[str, Any], query: Mapping[str, str]) -> dict[str, Any]:
    """Return a page of a short list, in the order of its keys; the cursor is the last key shown.

    Raises:
        InvalidInput: the limit is not a number, or the cursor not one of ours.
    """
    limit, after = limit_of(query), query.get("cursor", "")
    try:
        last = base64.b64decode(after.encode(), altchars=b"-_", validate=True).decode()
    except ValueError as fault:
        foreign = Problem("/cursor", after, "the `cursor` of the page before, unchanged")
        raise InvalidInput("the query", [foreign]) from fault
    left = sorted(key for key in items if key > last)
    shown = left[:limit]
    cursor = base64.urlsafe_b64encode(shown[-1].encode()).decode() if len(left) > limit else None
    return {"items": [items[key] for key in shown], "cursor": cursor}


def flag_of(query: Mapping[str, str], name: str) -> bool:
    """Return a true or false parameter; false when it is not given.

    Raises:
        InvalidInput: it is neither.
    """
    text = query.get(name, "false")
    if text not in ("true", "false"):
        raise InvalidInput("the query", [Problem(f"/{name}", text, "true or false")])
    return text == "true"
