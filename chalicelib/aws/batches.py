"""Cuts a sequence into batches that one request may carry."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")


def in_batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield the items in order, `size` at a time; the last batch may be shorter, none is empty."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
