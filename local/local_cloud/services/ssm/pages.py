"""Pages of a list, as SSM hands them out: `MaxResults` items and an opaque `NextToken`.

Invariant: a page starts right after the item the last one ended with, wherever that is by then, so new
items in front of it, between two calls, neither repeat items nor hide them.
"""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from local_cloud.call import AwsError

Item = TypeVar("Item")


def page(
    items: Sequence[Item], name: Callable[[Item], str], params: Mapping[str, Any], default: int
) -> tuple[Sequence[Item], str | None]:
    """Return the page of `items` that `params` asks for, and the token of the next one; `name` is unique."""
    begin = 0
    if token := params.get("NextToken"):
        begin = _position(items, name, token) + 1
    end = begin + int(params.get("MaxResults", default))
    shown = items[begin:end]
    more = end < len(items) and len(shown) > 0
    return shown, base64.urlsafe_b64encode(name(shown[-1]).encode()).decode() if more else None


def _position(items: Sequence[Item], name: Callable[[Item], str], token: str) -> int:
    try:
        last = base64.urlsafe_b64decode(token.encode()).decode()
        return [name(item) for item in items].index(last)
    except (ValueError, binascii.Error) as exc:
        raise AwsError("InvalidNextToken", "The specified token is not valid.") from exc
