"""Some of moto's inner loops for DynamoDB, doing what they did at a fraction of the cost.

A job's item has dozens of attributes. For each of the ten members that an attribute value may have, moto's
serialiser tries every spelling it knows; but what it is given here is in DynamoDB's own words already. And
for each node of an update expression, moto's validators work out anew which kinds of node they look at.
Together that is two thirds of an UpdateItem, and forty simulated days make thousands. Of what is left, a
third is parsing the same few expressions again, and copying what was parsed in the way that fits anything.
"""

import base64
import json
from copy import deepcopy
from functools import lru_cache
from typing import Any

from moto.core.responses import ActionContext, ActionResult
from moto.dynamodb.parsing import ast_nodes, expressions, validators
from moto.dynamodb.responses import DynamoResult

JSON = "application/x-amz-json-1.0"
NODES: dict[str, Any] = vars(ast_nodes)
"""What the module defines; moto keeps its types from mypy."""


def quicken() -> None:
    """Put the faster loops in the place of moto's."""
    # setattr, since mypy takes no assignment to a method
    setattr(DynamoResult, "execute_result", execute_result)  # noqa: B010
    setattr(NODES["DepthFirstTraverser"], "traverse_node_recursively", traverse)  # noqa: B010
    setattr(validators, "deepcopy", copied)  # noqa: B010
    parser: Any = vars(expressions)["UpdateExpressionParser"]
    if not isinstance(vars(parser)["make"], staticmethod):
        parsed = lru_cache(1024)(parser.make)  # what is parsed is copied before it is changed
        parser.make = staticmethod(parsed)


def execute_result(self: ActionResult, context: ActionContext) -> Any:
    """Write a result whose names are the model's; one with other things in it goes moto's way."""
    try:
        body = json.dumps(self.result, default=_binary)
    except TypeError:
        return ActionResult.execute_result(self, context)
    return 200, {"Content-Type": JSON}, body


def _binary(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    raise TypeError(f"{type(value).__name__} is not written here")


LOOKED_AT: dict[tuple[type[Any], type[Any]], bool] = {}
"""Whether a kind of validator looks at a kind of node: each looks at the same kinds always."""


def traverse(self: Any, node: Any, child_id: int = -1) -> Any:
    """Go through the nodes depth first, as moto's method of this name does."""
    if not isinstance(node, NODES["Node"]):
        return node
    parent = node.parent
    for number, child in enumerate(node.children or ()):
        self.pre_processing_of_child(node, number)
        self.traverse_node_recursively(child, number)
    kinds = (type(self), type(node))
    if kinds not in LOOKED_AT:
        LOOKED_AT[kinds] = isinstance(node, self.nodes_to_be_processed())
    if LOOKED_AT[kinds]:
        node = self.process(node)
        node.parent = parent
        if parent:
            parent.children[child_id] = node
    return node


def copied(node: Any) -> Any:
    """Copy a parsed expression, whose leaves are texts, node by node; anything else as `deepcopy` does."""
    if not isinstance(node, NODES["Node"]) or isinstance(node, NODES["DDBTypedValue"]):
        return deepcopy(node)
    twin = object.__new__(type(node))
    vars(twin).update(vars(node))
    if node.children is not None:
        twin.children = [copied(child) for child in node.children]
        for child in twin.children:
            if isinstance(child, NODES["Node"]):
                child.parent = twin
    return twin
