"""One DynamoDB table, typed: items in and out as plain Python values, conditions answered, pages followed.

Source of every limit here: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html
"""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from chalicelib.aws.errors import calling
from chalicelib.errors import InvalidInput, Problem, Throttled

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Item = dict[str, Any]
Record = TypeVar("Record")

_encode = TypeSerializer().serialize
_decode = TypeDeserializer().deserialize


@dataclass(frozen=True, slots=True)
class Page(Generic[Record]):
    """Some records and, unless they are the last, the cursor that continues behind them."""

    items: tuple[Record, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Refused:
    """A condition was not met; `item` is what lies in the table instead (None: nothing)."""

    item: Item | None


@dataclass(frozen=True, slots=True)
class Lookup:
    """What to read from an index: one partition, newest or oldest first, with equality filters on attributes.

    `before` bounds the sort key from above, exclusive; `containing` filters string-set attributes.
    """

    index: str
    partition: str
    equal: Mapping[str, str]
    containing: Mapping[str, str]
    before: str | None = None
    newest_first: bool = True


_INDEX_KEYS = {
    "by_type": ("type", "sorted_at"),
    "by_service": ("service_type", "sorted_at"),
    "wake": ("wake", "wake_at"),
}


class Table:
    """The catalog's table. Reads by key are strongly consistent; reads of an index are not, and callers
    allow for it."""

    def __init__(self, client: "DynamoDBClient", name: str) -> None:
        self.client = client
        self.name = name

    def get(self, pk: str, sk: str) -> Item | None:
        """Return the item under the key, or None."""
        with calling("GetItem", pk):
            answer = self.client.get_item(
                TableName=self.name, Key={"pk": _encode(pk), "sk": _encode(sk)}, ConsistentRead=True
            )
        return decoded(answer["Item"]) if "Item" in answer else None

    def put(self, item: Item) -> None:
        """Store the item, whatever lay there."""
        with calling("PutItem", str(item["pk"])):
            self.client.put_item(TableName=self.name, Item=encoded(item))

    def create(self, item: Item, *, or_state: str | None = None) -> bool:
        """Store the item unless its key is taken; say whether it was stored.

        With `or_state` it also replaces an item in that `state`.
        """
        request: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(pk)"}
        if or_state is not None:
            request = {
                "ConditionExpression": "attribute_not_exists(pk) OR #state = :state",
                "ExpressionAttributeNames": {"#state": "state"},
                "ExpressionAttributeValues": {":state": _encode(str(or_state))},
            }
        try:
            with calling("PutItem", str(item["pk"])):
                self.client.put_item(TableName=self.name, Item=encoded(item), **request)
        except ClientError as refusal:
            if _is_conditional(refusal):
                return False
            raise
        return True

    def replace(self, item: Item, attribute: str, value: str) -> bool:
        """Store the item in place of the one whose `attribute` has this value; say whether there was one."""
        try:
            with calling("PutItem", str(item["pk"])):
                self.client.put_item(
                    TableName=self.name,
                    Item=encoded(item),
                    ConditionExpression="#attribute = :value",
                    ExpressionAttributeNames={"#attribute": attribute},
                    ExpressionAttributeValues={":value": _encode(value)},
                )
        except ClientError as refusal:
            if _is_conditional(refusal):
                return False
            raise
        return True

    def update(
        self,
        pk: str,
        sk: str,
        expression: str,
        *,
        names: Mapping[str, str] | None = None,
        values: Mapping[str, Any] | None = None,
        condition: str | None = None,
    ) -> Item | Refused:
        """Apply an update expression; return the item as it then is, or `Refused` if the condition fails."""
        request: dict[str, Any] = {
            "TableName": self.name,
            "Key": {"pk": _encode(pk), "sk": _encode(sk)},
            "UpdateExpression": expression,
            "ReturnValues": "ALL_NEW",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        if names:
            request["ExpressionAttributeNames"] = dict(names)
        if values:
            request["ExpressionAttributeValues"] = {key: _encode(value) for key, value in values.items()}
        if condition:
            request["ConditionExpression"] = condition
        try:
            with calling("UpdateItem", pk):
                answer = self.client.update_item(**request)
        except ClientError as refusal:
            if not _is_conditional(refusal):
                raise
            old: Any = refusal.response.get("Item")
            return Refused(decoded(old) if old else None)
        return decoded(answer["Attributes"])

    def delete(self, pk: str, sk: str) -> bool:
        """Remove the item; say whether there was one."""
        with calling("DeleteItem", pk):
            answer = self.client.delete_item(
                TableName=self.name, Key={"pk": _encode(pk), "sk": _encode(sk)}, ReturnValues="ALL_OLD"
            )
        return "Attributes" in answer

    def transact(self, steps: Sequence[Mapping[str, Any]]) -> bool:
        """Carry out all `steps` (TransactWriteItems, table name left out) or none; say whether they were.

        Raises:
            Throttled: another transaction was at one of the items; nothing was written.
        """
        named: list[Any] = [
            {op: {"TableName": self.name, **body} for op, body in step.items()} for step in steps
        ]
        try:
            with calling("TransactWriteItems", self.name):
                self.client.transact_write_items(TransactItems=named)
        except ClientError as refusal:
            if refusal.response["Error"]["Code"] != "TransactionCanceledException":
                raise
            if _conditions_alone(refusal):
                return False
            raise Throttled(str(refusal), operation="TransactWriteItems", resource=self.name) from refusal
        return True

    def partition(self, pk: str, *, prefix: str = "", limit: int | None = None) -> Iterator[Item]:
        """Yield the items of a partition in the order of their sort keys, strongly consistent, all pages."""
        start: Any = None
        while True:
            request: dict[str, Any] = {
                "TableName": self.name,
                "KeyConditionExpression": "pk = :pk" + (" AND begins_with(sk, :prefix)" if prefix else ""),
                "ExpressionAttributeValues": {":pk": _encode(pk)}
                | ({":prefix": _encode(prefix)} if prefix else {}),
                "ConsistentRead": True,
            }
            if limit:
                request["Limit"] = limit
            if start:
                request["ExclusiveStartKey"] = start
            with calling("Query", pk):
                answer = self.client.query(**request)
            yield from map(decoded, answer["Items"])
            start = answer.get("LastEvaluatedKey")
            if not start or limit:
                return

    def page(self, lookup: Lookup, *, limit: int, cursor: str | None) -> Page[Item]:
        """Return up to `limit` matching items of an index and the cursor behind the last of them.

        Raises:
            InvalidInput: the cursor is not one of ours, or belongs to another lookup.
        """
        found: list[Item] = []
        start = _opened(cursor, lookup) if cursor else None
        while True:
            request = self._query(lookup, limit, start)
            with calling("Query", lookup.partition):
                answer = self.client.query(**request)
            found += map(decoded, answer["Items"])
            start = answer.get("LastEvaluatedKey")
            if len(found) > limit or (len(found) == limit and start):
                last = found[limit - 1]
                return Page(tuple(found[:limit]), _sealed(last, lookup))
            if not start:
                return Page(tuple(found), None)

    def every(self, lookup: Lookup) -> Iterator[Item]:
        """Yield all matching items of an index, however many pages they take; raise rather than stop
        short."""
        cursor: str | None = None
        while True:
            page = self.page(lookup, limit=500, cursor=cursor)
            yield from page.items
            cursor = page.cursor
            if cursor is None:
                return

    def _query(self, lookup: Lookup, limit: int, start: Any) -> dict[str, Any]:
        partition, order = _INDEX_KEYS[lookup.index]
        names = {"#partition": partition}
        values = {":partition": lookup.partition}
        key = "#partition = :partition"
        if lookup.before is not None:
            names["#order"], values[":before"] = order, lookup.before
            key += " AND #order < :before"
        filters = []
        for number, (name, value) in enumerate(lookup.equal.items()):
            names[f"#e{number}"], values[f":e{number}"] = name, value
            filters.append(f"#e{number} = :e{number}")
        for number, (name, value) in enumerate(lookup.containing.items()):
            names[f"#c{number}"], values[f":c{number}"] = name, value
            filters.append(f"contains(#c{number}, :c{number})")
        request: dict[str, Any] = {
            "TableName": self.name,
            "IndexName": lookup.index,
            "KeyConditionExpression": key,
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": {name: _encode(value) for name, value in values.items()},
            "ScanIndexForward": not lookup.newest_first,
            "Limit": max(limit, 100) if filters else limit,
        }
        if filters:
            request["FilterExpression"] = " AND ".join(filters)
        if start:
            request["ExclusiveStartKey"] = start
        return request


def encoded(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the item as DynamoDB takes it, without the attributes that are None."""
    return {name: _encode(value) for name, value in item.items() if value is not None}


def decoded(item: Mapping[str, Any]) -> Item:
    """Return the item as plain Python values (numbers as `Decimal`)."""
    return {name: _decode(value) for name, value in item.items()}


def stamp(moment: datetime) -> str:
    """Return a moment as it is stored: RFC 3339 UTC with microseconds, so that text sorts as time does."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def moment(text: str) -> datetime:
    """Read what `stamp` wrote."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def _is_conditional(error: ClientError) -> bool:
    return error.response["Error"]["Code"] == "ConditionalCheckFailedException"


def _conditions_alone(cancelled: ClientError) -> bool:
    """Say whether a transaction was cancelled for its conditions, and not for a conflict or for throttling.

    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
    """
    answer: Any = cancelled.response
    codes = {reason.get("Code", "None") for reason in answer.get("CancellationReasons", ())} - {"None"}
    return codes == {"ConditionalCheckFailed"}


def _key_names(lookup: Lookup) -> tuple[str, ...]:
    return ("pk", "sk", *_INDEX_KEYS[lookup.index])


def _sealed(item: Item, lookup: Lookup) -> str:
    key = {name: item[name] for name in _key_names(lookup)}
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def _opened(cursor: str, lookup: Lookup) -> dict[str, Any]:
    try:
        key = json.loads(base64.b64decode(cursor.encode(), altchars=b"-_", validate=True))
        names = {name for name in key if isinstance(key[name], str)}
        partition = key[_INDEX_KEYS[lookup.index][0]]
    except (binascii.Error, ValueError, KeyError, TypeError) as fault:
        raise _foreign(cursor) from fault
    if names != set(_key_names(lookup)) or partition != lookup.partition:
        raise _foreign(cursor)
    return encoded(key)


def _foreign(cursor: str) -> InvalidInput:
    return InvalidInput(
        "the cursor", [Problem("/cursor", cursor, "the `cursor` of the page before, unchanged")]
    )
