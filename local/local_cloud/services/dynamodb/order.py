"""The items of a table by partition and in order, for the table's own key and each of its indexes.

Invariant: after `refresh` of every item that was written, each ordering has exactly the items that have
its key attributes.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from moto.dynamodb.models.dynamo_type import DynamoType

Value = str | Decimal
Primary = tuple[Value, ...]
"""A table's key of an item: its partition key, and its sort key where the table has one."""


def value_of(typed: Any) -> Value | None:
    """Return a key attribute (moto's DynamoType) as something that sorts as DynamoDB sorts it.

    Strings sort by their UTF-8 bytes, which is the order of code points.
    """
    if typed is None:
        return None
    return Decimal(typed.value) if typed.type == "N" else str(typed.value)


def primary_of(attributes: Mapping[str, Any], key: Sequence[str]) -> Primary:
    """Return the key in an item's attributes (DynamoTypes)."""
    values = (value_of(attributes.get(name)) for name in key)
    return tuple(value for value in values if value is not None)


@dataclass(slots=True)
class Ordering:
    """The keys of a table's items, or of an index's, by partition and in order."""

    schema: list[dict[str, str]]
    partitions: dict[Value, list[tuple[Primary, Primary]]] = field(default_factory=dict)
    places: dict[Primary, tuple[Value, Primary]] = field(default_factory=dict)

    def put(self, primary: Primary, attributes: Mapping[str, Any]) -> None:
        """Insert an item; one that lacks a key attribute of the index is left out."""
        place = self.place_of(primary, attributes)
        if place is None:
            return
        insort(self.partitions.setdefault(place[0], []), (place[1], primary))
        self.places[primary] = place

    def place_of(self, primary: Primary, attributes: Mapping[str, Any]) -> tuple[Value, Primary] | None:
        """Return the partition that such an item has a place in, and what it sorts by there."""
        key = primary_of(attributes, [part["AttributeName"] for part in self.schema])
        return (key[0], (*key[1:], *primary)) if len(key) == len(self.schema) else None

    def remove(self, primary: Primary) -> None:
        """Remove an item, if it is there."""
        place = self.places.pop(primary, None)
        if place is None:
            return
        partition, key = place
        entries = self.partitions[partition]
        del entries[bisect_left(entries, (key, primary))]
        if not entries:
            del self.partitions[partition]


class TableOrder:
    """All orderings of one of moto's tables, and its items by key."""

    def __init__(self, table: Any) -> None:
        """Order the present items of the table."""
        self.table = table
        self.key = [name for name in (table.hash_key_attr, table.range_key_attr) if name]
        self.items: dict[Primary, Any] = {}
        self.orderings: dict[str | None, Ordering] = {None: Ordering(table.schema)}
        self.orderings |= {index.name: Ordering(index.schema) for index in table.all_indexes()}
        for item in items_of(table):
            self._place(primary_of(item.attrs, self.key), item)

    def is_of(self, table: Any) -> bool:
        """Return whether this is the order of that very table, not of one that had its name."""
        return self.table is table

    def items_in(self, index: str | None, partition: Value, before: Mapping[Primary, Any]) -> list[Any]:
        """Return the items (moto's) of a partition, in order; those in `before` as they were."""
        ordering = self.orderings[index]
        entries = ordering.partitions.get(partition, [])
        if not before:
            return [self.items[primary] for _, primary in entries]
        entries = [entry for entry in entries if entry[1] not in before]
        for primary, item in before.items():
            place = ordering.place_of(primary, item.attrs) if item is not None else None
            if place is not None and place[0] == partition:
                insort(entries, (place[1], primary))
        return [before.get(primary) or self.items[primary] for _, primary in entries]

    def all_items(self, before: Mapping[Primary, Any]) -> list[Any]:
        """Return all items (moto's) in the order of their keys; those in `before` as they were."""
        items = {**self.items, **before}
        return [items[primary] for primary in sorted(items) if items[primary] is not None]

    def primary_in(self, attributes: Mapping[str, Any]) -> Primary | None:
        """Return the key among `attributes`, as a client sends them; None where it is not whole."""
        if any(name not in attributes for name in self.key):
            return None
        return primary_of({name: DynamoType(attributes[name]) for name in self.key}, self.key)

    def refresh(self, attributes: Mapping[str, Any]) -> None:
        """Copy the new state of an item; its key is among `attributes`, as a client sends them."""
        primary = self.primary_in(attributes)
        if primary is None:
            return  # a write that was refused
        self.remove(primary)
        item = self.table.get_item(*(DynamoType(attributes[name]) for name in self.key))
        if item is not None:
            self._place(primary, item)

    def remove(self, primary: Primary) -> None:
        """Remove an item from every ordering, if it is there."""
        self.items.pop(primary, None)
        for ordering in self.orderings.values():
            ordering.remove(primary)

    def _place(self, primary: Primary, item: Any) -> None:
        self.items[primary] = item
        for ordering in self.orderings.values():
            ordering.put(primary, item.attrs)


def items_of(table: Any) -> Iterator[Any]:
    """Yield every item of one of moto's tables, in no order."""
    for held in table.items.values():
        if table.range_key_attr:
            yield from held.values()
        else:
            yield held
