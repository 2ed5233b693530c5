"""Does moto's work on expressions once for each expression, where the result is always the same.

A job's item has dozens of attributes, and the app sends the same few expressions again and again. For each
node of an update expression, moto's validators compute again which kinds of node they check; the first three
of them check every node's whole subtree, though the result depends only on the expression itself. A condition
is parsed twice for each write, with a regular expression made for each token. Invariant: an expression that
moto refuses is refused by moto, every time.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from moto.dynamodb import comparisons
from moto.dynamodb.parsing import ast_nodes, expressions, validators

NODES: dict[str, Any] = vars(ast_nodes)
"""What the module defines; moto keeps its types from mypy."""
VALIDATORS: dict[str, Any] = vars(validators)
OF_THE_EXPRESSION = tuple(
    VALIDATORS[name]
    for name in ("ActionCountValidator", "OverlappingPathsValidator", "UpdateHashRangeKeyValidator")
)
"""Validators that look at nothing but the expression, its names and the table's keys, and change nothing."""
REMEMBERED = 1024
"""How many expressions are remembered, with the names and values they came with."""
CONDITIONS: Any = vars(comparisons)["ConditionExpressionParser"]
PARSE_CONDITION: Callable[[Any], Any] = CONDITIONS.parse


def quicken() -> None:
    """Replace moto's implementations with the faster ones."""
    # setattr, since mypy takes no assignment to a method
    setattr(NODES["DepthFirstTraverser"], "traverse", traverse)  # noqa: B010
    setattr(NODES["Node"], "find_clauses", find_clauses)  # noqa: B010
    setattr(VALIDATORS["Validator"], "validate", validate)  # noqa: B010
    setattr(validators, "deepcopy", copied)  # noqa: B010
    CONDITIONS.parse = parse_condition
    parser: Any = vars(expressions)["UpdateExpressionParser"]
    if not isinstance(vars(parser)["make"], staticmethod):
        make = parser.make

        @lru_cache(REMEMBERED)  # what is parsed is copied before it is changed
        def parsed(expression: str) -> Any:
            node = make(expression)
            node.sound_with = set()
            return node

        parser.make = staticmethod(parsed)


LEAVES = frozenset({str, int, bool})
"""What a node has below it that is no node; most of what is below them all."""
KINDS: dict[tuple[Any, str], bool] = {}
"""Whether a class is one of moto's kinds of node; `isinstance` would ask an abstract class each time."""
LOOKED_AT: defaultdict[tuple[Any, ...], dict[Any, bool]] = defaultdict(dict)
"""The kinds of node that a kind of validator looks at, or does not, as far as it has met them."""


def is_kind_of(kind: type[Any], name: str) -> bool:
    """Return whether a class is one of moto's kinds of node."""
    key = (kind, name)
    if key not in KINDS:
        KINDS[key] = issubclass(kind, NODES[name])
    return KINDS[key]


def traverse(self: Any, node: Any) -> Any:
    """Go through the nodes depth first, as moto's method of this name does."""
    validator, looked_at = type(self), self.nodes_to_be_processed()
    looks = LOOKED_AT[validator, *looked_at]
    prepares = validator.pre_processing_of_child is not NODES["DepthFirstTraverser"].pre_processing_of_child

    def visit(node: Any, child_id: int) -> Any:
        for number, child in enumerate(node.children or ()):
            if prepares:
                self.pre_processing_of_child(node, number)
            if type(child) not in LEAVES and is_kind_of(type(child), "Node"):
                visit(child, number)
        kind = type(node)
        if kind not in looks:
            looks[kind] = issubclass(kind, looked_at)
        if not looks[kind]:
            return node
        parent, processed = node.parent, self.process(node)
        processed.parent = parent
        if parent:
            parent.children[child_id] = processed
        return processed

    return visit(node, -1)


def find_clauses(self: Any, clause_types: Any) -> list[Any]:
    """Return the nodes of these very types, none below another, as moto's method of this name does."""
    clauses = []
    for child in self.children or ():
        kind = type(child)
        if kind in clause_types:
            clauses.append(child)
        elif is_kind_of(kind, "Expression") or is_kind_of(kind, "UpdateExpressionFunction"):
            clauses += find_clauses(child, clause_types)
    return clauses


def copied(node: Any) -> Any:
    """Copy a parsed expression, whose leaves are texts, node by node; anything else as `deepcopy` does."""
    kind = type(node)
    if not is_kind_of(kind, "Node") or is_kind_of(kind, "DDBTypedValue"):
        return deepcopy(node)
    return twin_of(node)


def twin_of(node: Any) -> Any:
    """Copy a node and those below it."""
    twin = object.__new__(type(node))
    vars(twin).update(vars(node))
    if node.children is None:
        return twin
    twin.children = list(node.children)
    for number, child in enumerate(node.children):
        if type(child) not in LEAVES and is_kind_of(type(child), "Node"):
            below = twin.children[number] = copied(child)
            below.parent = twin
    return twin


def validate(self: Any) -> Any:
    """Validate an update expression; validators of the expression alone run only once for it.

    What is parsed knows the names and table keys that it is sound with, and so does every copy of it.
    """
    node = self.node_to_validate
    names = self.expression_attribute_names or {}
    sound_with = (*sorted(names.items()), *self.table.table_key_attrs)
    is_sound = sound_with in node.sound_with
    for validator in self.processors:
        if not (is_sound and isinstance(validator, OF_THE_EXPRESSION)):
            node = validator.traverse(node)
    node.sound_with.add(sound_with)
    return node


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that was parsed: what it asks of an item, and the names and values found in it."""

    asks: Any
    names: list[str]
    values: list[str]


CONDITIONS_KNOWN: OrderedDict[str, Condition] = OrderedDict()
"""Conditions by their text, names and values; the latest last."""


def parse_condition(self: Any) -> Any:
    """Parse a condition, or know it from before; nothing of what it asks changes while it is asked."""
    if not self.condition_expression:
        return PARSE_CONDITION(self)
    key = repr((self.condition_expression, self.expression_attribute_names, self.expression_attribute_values))
    known = CONDITIONS_KNOWN.get(key)
    if known is None:
        asks = PARSE_CONDITION(self)
        known = Condition(asks, self.expr_attr_names_found, self.expr_attr_values_found)
        CONDITIONS_KNOWN[key] = known
        if len(CONDITIONS_KNOWN) > REMEMBERED:
            CONDITIONS_KNOWN.popitem(last=False)
    self.expr_attr_names_found = list(known.names)
    self.expr_attr_values_found = list(known.values)
    return known.asks
