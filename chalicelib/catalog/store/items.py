"""Converts items between plain Python values and DynamoDB's format."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

Item = dict[str, Any]

encode = TypeSerializer().serialize
decode = TypeDeserializer().deserialize


def encoded(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the item in DynamoDB's format, without the attributes that are None."""
    return {name: encode(value) for name, value in item.items() if value is not None}


def decoded(item: Mapping[str, Any]) -> Item:
    """Return the item as plain Python values (numbers as `Decimal`)."""
    return {name: decode(value) for name, value in item.items()}


def stamp(moment: datetime) -> str:
    """Return a time as it is stored: RFC 3339 UTC with microseconds, so that texts sort as times do."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def moment(text: str) -> datetime:
    """Return the time that `stamp` wrote."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
