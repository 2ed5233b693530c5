"""One DynamoDB table, typed: plain Python values in and out, conditions as results, pages followed.

Source of every limit here:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html
"""

import base64
import binascii
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from botocore.exceptions import ClientError

from chalicelib.aws.batches import in_batches
from chalicelib.aws.errors import translated_errors
from chalicelib.catalog.store.items import Item, decoded, encode, encoded
from chalicelib.catalog.store.writes import AS_GOOD, MOST_WRITES, Write, one_for_each_item
from chalicelib.errors import InvalidInput, Problem, Throttled, Unavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Record = TypeVar("Record")


@dataclass(frozen=True, slots=True)
class Page(Generic[Record]):
    """Some records and the cursor that continues after them; None after the last."""

    items: tuple[Record, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Refused:
    """A condition was not met; `item` is what is in the table instead (None: nothing)."""

    item: Item | None


READ_AT_ONCE = 100
# The SDK does not retry a transaction that conflicted with another one.
CONFLICTS_MET = 3
PUT_AT_ONCE = 25
# A filter may leave out a hundred thousand records of an index: a page stops looking after this many reads.
MOST_LOOKS = 4
IN_PARALLEL = 8


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
    """The catalog's table.

    Reads by key are strongly consistent; reads of an index are not, and callers allow for it.
    """

    def __init__(self, client: "DynamoDBClient", name: str) -> None:
        self.client = client
        self.name = name

    def get(self, pk: str, sk: str) -> Item | None:
        """Return the item under the key, or None."""
        with translated_errors("GetItem", pk):
            answer = self.client.get_item(
                TableName=self.name, Key={"pk": encode(pk), "sk": encode(sk)}, ConsistentRead=True
            )
        return decoded(answer["Item"]) if "Item" in answer else None

    def put(self, item: Item) -> None:
        """Store the item, in place of any other."""
        with translated_errors("PutItem", str(item["pk"])):
            self.client.put_item(TableName=self.name, Item=encoded(item))

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
        """Apply an update expression; return the updated item, or `Refused` if the condition fails."""
        request: dict[str, Any] = {
            "TableName": self.name,
            "Key": {"pk": encode(pk), "sk": encode(sk)},
            "UpdateExpression": expression,
            "ReturnValues": "ALL_NEW",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        if names:
            request["ExpressionAttributeNames"] = dict(names)
        if values:
            request["ExpressionAttributeValues"] = {key: encode(value) for key, value in values.items()}
        if condition:
            request["ConditionExpression"] = condition
        try:
            with translated_errors("UpdateItem", pk):
                answer = self.client.update_item(**request)
        except ClientError as refusal:
            if not _is_conditional(refusal):
                raise
            old: Any = refusal.response.get("Item")
            return Refused(decoded(old) if old else None)
        return decoded(answer["Attributes"])

    def delete(self, pk: str, sk: str) -> bool:
        """Remove the item; return whether there was one."""
        with translated_errors("DeleteItem", pk):
            answer = self.client.delete_item(
                TableName=self.name, Key={"pk": encode(pk), "sk": encode(sk)}, ReturnValues="ALL_OLD"
            )
        return "Attributes" in answer

    def commit(self, writes: Sequence[Write]) -> tuple[Write, ...]:
        """Carry out all writes or none; return those whose condition was not met (none: all is done).

        Raises:
            Throttled: another transaction was at one of the items; nothing was written.
        """
        writes = one_for_each_item(writes)
        if len(writes) > MOST_WRITES:
            raise ValueError(f"a transaction of {len(writes)} writes; DynamoDB takes {MOST_WRITES}")
        if len(writes) == 1:
            return self._commit_one(writes[0])
        for left in reversed(range(CONFLICTS_MET)):
            try:
                return self._transact(writes)
            except Throttled:
                if not left:
                    raise
        return ()

    def commit_outcome(self, writes: Sequence[Write]) -> tuple[Write, ...]:
        """Carry out all writes or none; return the refused ones whose refusal matters."""
        left = list(writes)
        while refused := self.commit(left):
            if not all(write.role in AS_GOOD for write in refused):
                return refused
            as_good = {write.key for write in refused}
            left = [write for write in left if write.key not in as_good]
        return ()

    def _transact(self, writes: Sequence[Write]) -> tuple[Write, ...]:
        steps: list[Any] = [{each.operation: {"TableName": self.name, **each.request()}} for each in writes]
        try:
            with translated_errors("TransactWriteItems", self.name):
                self.client.transact_write_items(TransactItems=steps)
        except ClientError as refusal:
            if refusal.response["Error"]["Code"] != "TransactionCanceledException":
                raise
            refused = _refused(refusal, writes)
            if not refused:
                raise Throttled(str(refusal), operation="TransactWriteItems", resource=self.name) from refusal
            return refused
        return ()

    def _commit_one(self, write: Write) -> tuple[Write, ...]:
        request: Any = {"TableName": self.name, **write.request()}
        try:
            match write.operation:
                case "Put":
                    with translated_errors("PutItem", write.key[0]):
                        self.client.put_item(**request)
                case "Update":
                    with translated_errors("UpdateItem", write.key[0]):
                        self.client.update_item(**request)
                case "Delete":
                    with translated_errors("DeleteItem", write.key[0]):
                        self.client.delete_item(**request)
        except ClientError as refusal:
            if _is_conditional(refusal):
                return (write,)
            raise
        return ()

    def get_all(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Item]:
        """Return the items under these keys, by key, strongly consistent; missing ones are left out."""
        found: dict[tuple[str, str], Item] = {}
        for batch in in_batches(keys, READ_AT_ONCE):
            found |= self._get_batch(batch)
        return found

    def _get_batch(self, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Item]:
        left: Any = {
            self.name: {
                "Keys": [{"pk": encode(pk), "sk": encode(sk)} for pk, sk in keys],
                "ConsistentRead": True,
            }
        }
        found: dict[tuple[str, str], Item] = {}
        for _ in range(READ_AT_ONCE):
            with translated_errors("BatchGetItem", self.name):
                answer = self.client.batch_get_item(RequestItems=left)
            for item in map(decoded, answer["Responses"].get(self.name, ())):
                found[item["pk"], item["sk"]] = item
            left = answer.get("UnprocessedKeys")
            if not left:
                return found
        raise Unavailable(
            "DynamoDB left keys unread again and again", operation="BatchGetItem", resource=self.name
        )

    def put_all(self, items: Iterable[Item]) -> None:
        """Store many items, in place of any others; some may be stored when it raises."""
        batches = list(in_batches(items, PUT_AT_ONCE))
        if len(batches) <= 1:
            for batch in batches:
                self._put_batch(batch)
            return
        with ThreadPoolExecutor(IN_PARALLEL) as pool:
            list(pool.map(self._put_batch, batches))

    def _put_batch(self, items: Sequence[Item]) -> None:
        left: Any = {self.name: [{"PutRequest": {"Item": encoded(item)}} for item in items]}
        for _ in range(READ_AT_ONCE):
            with translated_errors("BatchWriteItem", self.name):
                answer = self.client.batch_write_item(RequestItems=left)
            left = answer.get("UnprocessedItems")
            if not left:
                return
        raise Unavailable(
            "DynamoDB left items unwritten again and again", operation="BatchWriteItem", resource=self.name
        )

    def partition(
        self, pk: str, *, prefix: str = "", limit: int | None = None, after: str | None = None
    ) -> Iterator[Item]:
        """Yield the items of a partition in the order of their sort keys, strongly consistent, all pages.

        `after` starts after this sort key; `limit` stops after this many items.
        """
        start: Any = {"pk": encode(pk), "sk": encode(after)} if after is not None else None
        while True:
            request: dict[str, Any] = {
                "TableName": self.name,
                "KeyConditionExpression": "pk = :pk" + (" AND begins_with(sk, :prefix)" if prefix else ""),
                "ExpressionAttributeValues": {":pk": encode(pk)}
                | ({":prefix": encode(prefix)} if prefix else {}),
                "ConsistentRead": True,
            }
            if limit:
                request["Limit"] = limit
            if start:
                request["ExclusiveStartKey"] = start
            with translated_errors("Query", pk):
                answer = self.client.query(**request)
            yield from map(decoded, answer["Items"])
            start = answer.get("LastEvaluatedKey")
            if not start or limit:
                return

    def page(self, lookup: Lookup, *, limit: int, cursor: str | None) -> Page[Item]:
        """Return up to `limit` matching items of an index and the cursor after the last of them.

        A call does the work of one page: where a filter leaves most of an index out, it may hold fewer items
        than asked for, or none, and still have a cursor.

        Raises:
            InvalidInput: the cursor is not one of ours, or belongs to another lookup.
        """
        found: list[Item] = []
        start: Any = _opened(cursor, lookup) if cursor else None
        for _ in range(MOST_LOOKS):
            request = self._query(lookup, limit, start)
            with translated_errors("Query", lookup.partition):
                answer = self.client.query(**request)
            found += map(decoded, answer["Items"])
            start = answer.get("LastEvaluatedKey")
            if len(found) > limit or (len(found) == limit and start):
                return Page(tuple(found[:limit]), _sealed(found[limit - 1], lookup))
            if not start:
                return Page(tuple(found), None)
        return Page(tuple(found), _sealed(decoded(start), lookup))

    def every(self, lookup: Lookup) -> Iterator[Item]:
        """Yield all matching items of an index, on all pages; raise rather than stop short."""
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
            "ExpressionAttributeValues": {name: encode(value) for name, value in values.items()},
            "ScanIndexForward": not lookup.newest_first,
            "Limit": 1000 if filters else limit,
        }
        if filters:
            request["FilterExpression"] = " AND ".join(filters)
        if start:
            request["ExclusiveStartKey"] = start
        return request


def _is_conditional(error: ClientError) -> bool:
    return error.response["Error"]["Code"] == "ConditionalCheckFailedException"


def _refused(cancelled: ClientError, writes: Sequence[Write]) -> tuple[Write, ...]:
    """Return the writes whose condition was not met; none when it was a conflict or throttling instead.

    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
    """
    answer: Any = cancelled.response
    codes = [reason.get("Code", "None") for reason in answer.get("CancellationReasons", ())]
    if set(codes) - {"None"} != {"ConditionalCheckFailed"}:
        return ()
    return tuple(write for write, code in zip(writes, codes, strict=True) if code != "None")


def _key_names(lookup: Lookup) -> tuple[str, ...]:
    return ("pk", "sk", *_INDEX_KEYS[lookup.index])


def _sealed(item: Item, lookup: Lookup) -> str:
    key = {name: item[name] for name in _key_names(lookup)}
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def _opened(cursor: str, lookup: Lookup) -> dict[str, Any]:
    try:
        key = json.loads(base64.b64decode(cursor.encode(), altchars=b"-_", validate=True))
        names = {name for name, value in key.items() if isinstance(value, str) and value}
        partition = key[_INDEX_KEYS[lookup.index][0]]
    except (binascii.Error, AttributeError, ValueError, KeyError, TypeError) as fault:
        raise _foreign(cursor) from fault
    if names != set(_key_names(lookup)) or partition != lookup.partition:
        raise _foreign(cursor)
    return encoded(key)


def _foreign(cursor: str) -> InvalidInput:
    return InvalidInput(
        "the cursor", [Problem("/cursor", cursor, "the `cursor` of the page before, unchanged")]
    )
