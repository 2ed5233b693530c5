"""Writes frozen values as JSON and reads them back, each with the version of its shape.

Invariant: a stored value states its version; a version that this code does not know is an error that names
it, never a guess.
"""

import json
from functools import cache
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter

from chalicelib.errors import IntegrityFailure

Value = TypeVar("Value")
VERSION = 1


def to_text(value: Any) -> str:
    """Return a frozen dataclass as JSON."""
    return json.dumps({"v": VERSION, "is": _adapter(cast(Any, type(value))).dump_python(value, mode="json")})


def from_text(shape: type[Value], text: str) -> Value:
    """Return the value of this shape that `to_text` wrote.

    Raises:
        IntegrityFailure: it is of a version that this code does not know.
    """
    document, reader = json.loads(text), _adapter(cast(Any, shape))
    if document.get("v") != VERSION:
        raise IntegrityFailure(
            f"it has version {document.get('v')!r}, this code reads {VERSION}",
            operation="reading",
            resource=shape.__name__,
        )
    value: Value = reader.validate_python(document["is"])
    return value


@cache
def _adapter(shape: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(shape)
