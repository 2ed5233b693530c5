"""Cursors of lists that are read by the keys of their last item: opaque text outside, texts inside."""

import base64
import json

from chalicelib.errors import InvalidInput, Problem


def encode_cursor(*keys: str) -> str:
    """Return the cursor that holds these texts."""
    return base64.urlsafe_b64encode(json.dumps(keys).encode()).decode()


def decode_cursor(cursor: str | None, count: int) -> tuple[str, ...]:
    """Return the texts that a cursor holds, so many empty ones when there is none.

    Raises:
        InvalidInput: it is not one of ours.
    """
    if cursor is None:
        return ("",) * count
    try:
        keys = json.loads(base64.b64decode(cursor.encode(), altchars=b"-_", validate=True))
    except ValueError as fault:
        raise _foreign(cursor) from fault
    if not isinstance(keys, list) or [type(key) for key in keys] != [str] * count:
        raise _foreign(cursor)
    return tuple(keys)


def _foreign(cursor: str) -> InvalidInput:
    return InvalidInput(
        "the query", [Problem("/cursor", cursor, "the `cursor` of the page before, unchanged")]
    )
