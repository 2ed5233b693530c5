"""Cursors of lists that are read by a pair of keys: opaque text outside, two texts inside."""

import base64
import json

from chalicelib.errors import InvalidInput, Problem


def encode_cursor(first: str, second: str) -> str:
    """Return the cursor that holds two texts."""
    return base64.urlsafe_b64encode(json.dumps([first, second]).encode()).decode()


def decode_cursor(cursor: str | None) -> tuple[str, str]:
    """Return the texts that a cursor holds, two empty ones when there is none.

    Raises:
        InvalidInput: it is not one of ours.
    """
    if cursor is None:
        return "", ""
    try:
        first, second = json.loads(base64.b64decode(cursor.encode(), altchars=b"-_", validate=True))
        if isinstance(first, str) and isinstance(second, str):
            return first, second
    except (ValueError, TypeError) as fault:
        raise _foreign(cursor) from fault
    raise _foreign(cursor)


def _foreign(cursor: str) -> InvalidInput:
    return InvalidInput(
        "the query", [Problem("/cursor", cursor, "the `cursor` of the page before, unchanged")]
    )
