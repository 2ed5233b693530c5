"""Idempotency keys: a POST repeated with the same `Idempotency-Key` gets the first answer and does nothing.

Keys are kept for a day in the catalog's table, by Powertools. A key belongs to a route; the same key with
another body is refused (https://docs.aws.amazon.com/powertools/python/latest/utilities/idempotency/).
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyAlreadyInProgressError,
    IdempotencyPersistenceLayerError,
    IdempotencyValidationError,
)
from chalice.app import Request

from chalicelib.aws.errors import translated_errors
from chalicelib.catalog.store.table import Refused
from chalicelib.errors import Conflict, InvalidInput, Problem
from chalicelib.ids import fingerprint
from chalicelib.triggers.http import KeyReused, text_of
from chalicelib.wiring import Farshore

REMEMBERED_SECONDS = 24 * 60 * 60
LONGEST_KEY = 255


def idempotent(
    app: Farshore, request: Request, work: Callable[[], tuple[HTTPStatus, Any]]
) -> tuple[HTTPStatus, Any]:
    """Do `work` and return its status and JSON answer; for a key that was used before, those of the first
    time.

    Raises:
        InvalidInput: the key is empty or too long.
        KeyReused: it was used before with another body.
        Conflict: the first request with this key is still being processed.
        Retryable: the catalog could not be read.
    """
    key = key_of(request)
    if key is None:
        return work()
    store = DynamoDBPersistenceLayer(
        table_name=app.settings.table,
        key_attr="pk",
        sort_key_attr="sk",
        static_pk_value="idempotency",
        expiry_attr="expires_at",
        boto3_client=app.table.client,
    )
    config = IdempotencyConfig(
        event_key_jmespath="[route, key]",
        payload_validation_jmespath="body",
        expires_after_seconds=REMEMBERED_SECONDS,
        lambda_context=request.lambda_context,  # a request that dies frees its key when its time is up
    )

    def done_once(*, wanted: dict[str, str]) -> Any:
        return work()

    done_once = idempotent_function(
        done_once, data_keyword_argument="wanted", persistence_store=store, config=config
    )
    wanted = {"route": request.path, "key": key, "body": _canonical(text_of(request))}
    try:
        with _unwrapped(app.settings.table):
            status, document = done_once(wanted=wanted)
    except IdempotencyValidationError as reused:
        expected = "a key of its own for another body: this one was used before"
        raise KeyReused("the headers", [Problem("/Idempotency-Key", key, expected)]) from reused
    except IdempotencyAlreadyInProgressError as working:
        why = "the first request with this key is still being processed; send it again in half a minute"
        raise Conflict(why, resource=f"Idempotency-Key {key!r}") from working
    return HTTPStatus(status), document


@contextmanager
def _unwrapped(table: str) -> Iterator[None]:
    """Raise our error for what DynamoDB answered, rather than the one in which Powertools wraps it."""
    try:
        yield
    except IdempotencyPersistenceLayerError as failed:
        if not isinstance(failed.__cause__, Exception):
            raise
        with translated_errors("keeping the Idempotency-Key", table):
            raise failed.__cause__ from None


def request_identity(app: Farshore, request: Request) -> str:
    """Return what identifies this request: API Gateway's id of it, or of the first request with its key."""
    key, own = key_of(request), str(request.context["requestId"])
    if key is None:
        return own
    # Expires a little before the answer does, so that a key in new use is never taken for the old one.
    now = int(app.now().timestamp())
    kept = app.table.update(
        "request",
        fingerprint(request.path, key),
        "SET request_id = :own, expires_at = :until",
        values={":own": own, ":until": now + REMEMBERED_SECONDS - 60, ":now": now},
        condition="attribute_not_exists(pk) OR expires_at < :now",
    )
    if isinstance(kept, Refused) and kept.item is not None:
        return str(kept.item["request_id"])
    return own


def key_of(request: Request) -> str | None:
    """Return the request's idempotency key; None if it has none.

    Raises:
        InvalidInput: it is empty or too long.
    """
    key = request.headers.get("idempotency-key")
    if key is not None and not 1 <= len(key) <= LONGEST_KEY:
        expected = f"1 to {LONGEST_KEY} characters"
        raise InvalidInput("the headers", [Problem("/Idempotency-Key", key, expected)])
    return str(key) if key is not None else None


def _canonical(body: str) -> str:
    """Return a body in a canonical form, equal for two spellings of one JSON document."""
    try:
        return json.dumps(json.loads(body), sort_keys=True)
    except ValueError:
        return body
