"""Items as plain Python values, and as DynamoDB has them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

Item = dict[str, Any]

encode = TypeSerializer().serialize
decode = TypeDeserializer().deserialize


def encoded(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the item as DynamoDB takes it, without the attributes that are None."""
    return {name: encode(value) for name, value in item.items() if value is not None}


def decoded(item: Mapping[str, Any]) -> Item:
    """Return the item as plain Python values (numbers as `Decimal`)."""
    return {name: decode(value) for name, value in item.items()}


def stamp(moment: datetime) -> str:
    """Return a moment as it is stored: RFC 3339 UTC with microseconds, so that text sorts as time does."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def moment(text: str) -> datetime:
    """Read what `stamp` wrote."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
