"""The sizes of items and of their attributes, as moto counts them, in bytes, at a fraction of the cost.

moto enforces the size limit by measuring the whole item before each attribute that is set, so an item of
forty attributes is measured forty times when it is created. Here a new item's attributes are added up, and an
ASCII text is measured without encoding it. Invariant: exactly what moto would refuse is refused.
"""

from typing import Any

from moto.dynamodb.exceptions import ItemSizeTooLarge
from moto.dynamodb.models import dynamo_type
from moto.dynamodb.models.dynamo_type import DynamoType

MODELS: dict[str, Any] = vars(dynamo_type)
"""moto keeps its types from mypy."""
SIZE: Any = vars(DynamoType)["size"]
PLAIN = ("S", "N")
"""Types whose values are texts and measured as such."""
LARGEST_ITEM_BYTES = 405_000
"""moto's, between the 400 KB that AWS documents and what it lets through."""


def quicken() -> None:
    """Replace moto's implementations with the faster ones."""
    # setattr, since mypy takes no assignment to a method
    setattr(DynamoType, "size", size)  # noqa: B010
    setattr(MODELS["LimitedSizeDict"], "__setitem__", set_attribute)  # noqa: B010
    setattr(MODELS["Item"], "__init__", make_item)  # noqa: B010


def text_bytes(text: str | bytes) -> int:
    """Return the bytes of a text in UTF-8, or of what is bytes already."""
    return len(text) if isinstance(text, bytes) or text.isascii() else len(text.encode())


def size(self: Any) -> int:
    """Return the bytes of an attribute's value."""
    if self.type == "S":
        return text_bytes(self.value)
    if self.type == "M":
        return sum(text_bytes(key) + size(value) for key, value in self.value.items())
    if self.type == "L":
        return sum(map(size, self.value))
    return int(SIZE(self))


def bytes_of(value: Any) -> int:
    """Return the size of an attribute of an item, in bytes."""
    return size(value) if type(value) is DynamoType else text_bytes(str(value))


def set_attribute(self: Any, name: str, value: Any) -> None:
    """Set an attribute of an item that stays within its limit."""
    total = text_bytes(name) + bytes_of(value)
    for key, each in self.items():
        held: Any = getattr(each, "value", None)
        is_plain = type(held) is str and key.isascii() and held.isascii() and each.type in PLAIN
        total += len(key) + len(held) if is_plain else text_bytes(key) + bytes_of(each)
    check(total)
    dict.__setitem__(self, name, value)


def make_item(self: Any, hash_key: Any, range_key: Any, attrs: dict[str, Any]) -> None:
    """Create an item from attributes as a client sends them."""
    self.hash_key, self.range_key = hash_key, range_key
    self.attrs = MODELS["LimitedSizeDict"]()
    total = 0
    for name, typed in attrs.items():
        value = DynamoType(typed)
        total += text_bytes(name) + size(value)
        check(total)
        dict.__setitem__(self.attrs, name, value)


def check(item_bytes: int) -> None:
    """Refuse an item that is too large."""
    if item_bytes > LARGEST_ITEM_BYTES:
        raise ItemSizeTooLarge
