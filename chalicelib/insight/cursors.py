"""Encodes cursors of lists: the keys of a page's last item, as one opaque text."""

import base64
import json

from chalicelib.errors import InvalidInput, Problem


def encode_cursor(*keys: str) -> str:
    """Return the cursor that holds these texts."""
    return base64.urlsafe_b64encode(json.dumps(keys).encode()).decode()


def decode_cursor(cursor: str | None, count: int) -> tuple[str, ...]:
    """Return the `count` texts in a cursor; without a cursor, as many empty ones.

    Raises:
        InvalidInput: it is not a cursor with this many texts.
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
