"""While a Query is answered nothing is written: items need no copies, and have the sizes they had before.

moto copies every item of an answer, attribute by attribute, before it writes the copies out, and measures
each twice for the page limit of 1 MB: half of what a Query takes that finds some dozen items. For each
attribute that an index has of an item it turns the whole item into Python's values; here what is asked for
by its name alone is taken as it is. Invariant:
outside of `reading` an item copies and measures itself as moto has it, and a size is forgotten when its item
is written.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from local_cloud.services.dynamodb.sizes import MODELS

ITEM: Any = MODELS["Item"]
COPY, SIZE, PROJECT = ITEM.__deepcopy__, ITEM.size, ITEM.project


class Reading:
    """Whether a Query is being answered; calls run one at a time."""

    now = False


@contextmanager
def reading() -> Iterator[None]:
    """Return a Query."""
    Reading.now = True
    try:
        yield
    finally:
        Reading.now = False


def written(item: Any) -> None:
    """Forget the size of an item that was written."""
    vars(item).pop("known_size", None)


def copied(self: Any, memo: dict[int, Any]) -> Any:
    """Copy an item for whoever might change it."""
    return self if Reading.now else COPY(self, memo)


def measured(self: Any) -> int:
    """Return the bytes of an item."""
    if not Reading.now:
        return int(SIZE(self))
    if "known_size" not in vars(self):
        self.known_size = SIZE(self)
    return int(self.known_size)


def projected(self: Any, paths: list[list[str]]) -> Any:
    """Return an item with some of its attributes alone."""
    if any(len(path) > 1 or path[0].endswith("]") for path in paths):
        return PROJECT(self, paths)
    twin = ITEM(self.hash_key, self.range_key, {})
    for name in (path[0] for path in paths):
        if name in self.attrs:
            value = self.attrs[name]
            dict.__setitem__(twin.attrs, name, value if Reading.now else deepcopy(value))
    return twin


def quicken() -> None:
    """Have moto's items know of `reading`."""
    ITEM.__deepcopy__ = copied
    ITEM.size = measured
    ITEM.project = projected
