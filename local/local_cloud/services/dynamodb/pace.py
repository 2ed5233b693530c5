"""Makes moto render DynamoDB's results at a fraction of the cost.

A job's item has dozens of attributes. moto inspects each in a general way; and for each of the ten
members that an attribute value may have, its serialiser tries every spelling it knows, although the results
here have DynamoDB's own names already.
"""

import base64
import json
from typing import Any

from moto.core.responses import ActionContext, ActionResult
from moto.dynamodb import responses
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.utilities import dynamo_to_dict
from moto.dynamodb.responses import DynamoResult

JSON = "application/x-amz-json-1.0"
AS_THEY_ARE = frozenset({"S", "N", "BOOL", "NULL"})
"""Types whose values are written as they are held."""


def quicken() -> None:
    """Replace moto's loops with the faster ones."""
    # setattr, since mypy takes no assignment to a method
    setattr(DynamoResult, "execute_result", execute_result)  # noqa: B010
    vars(responses)["dynamo_to_dict"] = plain


def plain(value: Any) -> Any:
    """Return a result in Python's own types, as moto's function does whose place this takes."""
    kind = type(value)
    if kind is DynamoType and value.type in AS_THEY_ARE:
        return {value.type: value.value}
    if kind is DynamoType and value.type in ("M", "L"):
        return {value.type: plain(value.value)}
    if kind is list:
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return value if kind is str else dynamo_to_dict(value)


def execute_result(self: ActionResult, context: ActionContext) -> Any:
    """Render a result whose names are in the model; moto renders any other."""
    try:
        body = json.dumps(self.result, default=_binary)
    except TypeError:
        return ActionResult.execute_result(self, context)
    return 200, {"Content-Type": JSON}, body


def _binary(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    raise TypeError(f"{type(value).__name__} is not written here")
