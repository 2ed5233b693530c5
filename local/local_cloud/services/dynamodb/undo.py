"""Undoes a failed transaction at the cost of its items.

To be able to undo it, moto copies whole tables before each TransactWriteItems; with some thousand items in a
table, that is most of the time of a job. Here only the items in the transaction are copied, and restored when
moto would have restored the table. Invariant: after a refused transaction every item is as it was before.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from moto.dynamodb.models.dynamo_type import DynamoType


class Undo:
    """The items of one of moto's tables as they were."""

    def __init__(self, table: Any, named: Iterable[Mapping[str, Any]]) -> None:
        """Copy the items whose keys are among the attributes `named`, as a client sends them."""
        self._table = table
        self._before: list[tuple[tuple[Any, ...], Any]] = []
        names = [name for name in (table.hash_key_attr, table.range_key_attr) if name]
        for attributes in named:
            if all(name in attributes for name in names):
                key = tuple(DynamoType(attributes[name]) for name in names)
                self._before.append((key, copy.deepcopy(table.get_item(*key))))

    @contextmanager
    def in_place_of_a_copy(self) -> Iterator[None]:
        """While the context lasts, give moto the table itself when it copies it."""
        self._table.__deepcopy__ = lambda _: self._table  # shadows the method; calls run one at a time
        try:
            yield
        finally:
            del self._table.__deepcopy__

    def put_back(self) -> None:
        """Restore every item."""
        for key, item in self._before:
            if item is None:
                self._table.delete_item(key[0], key[1] if len(key) > 1 else None)
            elif len(key) > 1:
                self._table.items[key[0]][key[1]] = item
            else:
                self._table.items[key[0]] = item
