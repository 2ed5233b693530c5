"""Writes of a transaction: what each does to one item, its condition, and what a refusal means. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal

from boto3.dynamodb.conditions import Attr as Attr
from boto3.dynamodb.conditions import ConditionBase, ConditionExpressionBuilder

from chalicelib.catalog.store.items import Item, encode, encoded

# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html
MOST_WRITES = 100


class Role(StrEnum):
    """What it means when a write of a transaction is refused."""

    FENCE = "the job has moved on, or another worker has it"
    STATE = "the record is not in the state on which the decision was based"
    OPEN = "the record exists already, so nothing is lost"
    CLAIM = "another job holds it"
    RELEASE = "it is no longer held, so nothing is lost"
    NEWER = "a newer value is recorded, so nothing is lost"


AS_GOOD = (Role.RELEASE, Role.NEWER)


@dataclass(frozen=True, slots=True)
class Write:
    """One write of a transaction: a key, what to do there, and the condition under which it may be done.

    With `put` the whole item is stored, with `deletes` it is removed, else attributes change: `sets` are set,
    `adds` are added to numbers and sets, `takes` are removed from sets, `drops` are removed. `belongs_to`
    names the job whose opening it is a part of.
    """

    key: tuple[str, str]
    role: Role = Role.STATE
    put: Item | None = None
    deletes: bool = False
    sets: Mapping[str, Any] = field(default_factory=dict)
    adds: Mapping[str, Any] = field(default_factory=dict)
    takes: Mapping[str, Any] = field(default_factory=dict)
    drops: tuple[str, ...] = ()
    condition: ConditionBase | None = None
    belongs_to: str = ""

    @property
    def operation(self) -> Literal["Put", "Update", "Delete"]:
        """The type of DynamoDB write that it is."""
        return "Put" if self.put is not None else "Delete" if self.deletes else "Update"

    def merged(self, other: "Write") -> "Write":
        """Return one write that does both: DynamoDB takes only one for each item in a transaction.

        Additions to an item that is put whole become part of it, and its condition then always holds. Where
        both set or drop an attribute, the other's value is used, and no path is named twice.
        """
        if self.put is not None:
            added = {name: self.put.get(name, set()) | values for name, values in other.adds.items()}
            return replace(self, put={**self.put, **other.sets, **added})
        both = self.condition & other.condition if self.condition and other.condition else None
        return replace(
            self,
            sets={
                name: value for name, value in {**self.sets, **other.sets}.items() if name not in other.drops
            },
            adds=_united(self.adds, other.adds),
            takes=_united(self.takes, other.takes),
            drops=tuple(dict.fromkeys(n for n in (*self.drops, *other.drops) if n not in other.sets)),
            condition=both or self.condition or other.condition,
        )

    def request(self) -> dict[str, Any]:
        """Return the request for DynamoDB, without the table."""
        pk, sk = self.key
        if self.put is not None:
            request: dict[str, Any] = {"Item": encoded({"pk": pk, "sk": sk, **self.put})}
        else:
            request = {"Key": {"pk": encode(pk), "sk": encode(sk)}}
        names: dict[str, str] = {}
        values: dict[str, Any] = {}
        if self.operation == "Update":
            request["UpdateExpression"] = self._changes(names, values)
        if self.condition is not None:
            built = ConditionExpressionBuilder().build_expression(self.condition)
            request["ConditionExpression"] = built.condition_expression
            names |= built.attribute_name_placeholders
            values |= built.attribute_value_placeholders
        if names:
            request["ExpressionAttributeNames"] = names
        if values:
            request["ExpressionAttributeValues"] = {name: encode(value) for name, value in values.items()}
        return request

    def _changes(self, names: dict[str, str], values: dict[str, Any]) -> str:
        """Return the update expression; add the placeholders that it uses to `names` and `values`."""
        clauses = []
        for verb, link, changes in (
            ("SET", " = ", self.sets),
            ("ADD", " ", self.adds),
            ("DELETE", " ", self.takes),
        ):
            parts = []
            for name, value in changes.items():
                number = len(names)
                names[f"#u{number}"], values[f":u{number}"] = name, value
                parts.append(f"#u{number}{link}:u{number}")
            clauses += [f"{verb} {', '.join(parts)}"] if parts else []
        gone = []
        for name in self.drops:
            gone.append(f"#u{len(names)}")
            names[gone[-1]] = name
        return " ".join((*clauses, *([f"REMOVE {', '.join(gone)}"] if gone else [])))


def _united(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return the additions to, or removals from, each attribute together: sets united, numbers summed."""
    both = {**first, **second}
    for name in first.keys() & second.keys():
        one, other = first[name], second[name]
        both[name] = one | other if isinstance(one, set) else one + other
    return both


def one_for_each_item(writes: Iterable[Write]) -> list[Write]:
    """Return the writes with those of one item merged, in the order of the first of each."""
    by_key: dict[tuple[str, str], Write] = {}
    for write in writes:
        before = by_key.get(write.key)
        if before is not None and write.put is not None:
            by_key[write.key] = write.merged(before)
        else:
            by_key[write.key] = before.merged(write) if before is not None else write
    return list(by_key.values())
