"""DynamoDB: items in order, items that expire, reads that are not up to date.

AWS: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/Welcome.html; items expire some time after
their time (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/howitworks-ttl.html).
moto: keeps the tables and applies every rule of a call. It reads the whole table for each Query and
sorts it twice, copies whole tables before each transaction, and keeps expired items.
Added: a Query is shown only the items of the partition that it asks for, a transaction copies its own items
alone, time to live deletes, stale reads on demand.

The replacements of moto's methods are for speed only, and halve the time of the suite:
`pytest tests/app/test_retention.py` takes 57 s of processor time, and without one of them `undo` 97 s,
`expressions` 80 s, `order` 69 s, `pace` 64 s, `sizes` 60 s; without all of them 118 s.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from moto.core.exceptions import ServiceException
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.parsing.key_condition_expression import parse_expression

from local_cloud.call import ACCOUNT, Call, Handler, PassOn, StandIn
from local_cloud.control.clock import Clock
from local_cloud.control.timeline import Timeline
from local_cloud.passing import lock_of, moto_backend
from local_cloud.services.dynamodb import expressions, pace, sizes
from local_cloud.services.dynamodb.history import Before, History
from local_cloud.services.dynamodb.order import TableOrder, primary_of, value_of
from local_cloud.services.dynamodb.undo import Undo

SWEEP_EVERY = timedelta(hours=6)
"""AWS promises days; sooner here, so that forty days show it."""
TOKENS_LAST = timedelta(minutes=10)
"""https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html"""
PLAIN = frozenset(
    {
        "TableName",
        "IndexName",
        "KeyConditionExpression",
        "ExpressionAttributeNames",
        "ExpressionAttributeValues",
        "ConsistentRead",
        "ScanIndexForward",
        "Limit",
    }
)
NAME = re.compile(r"[#:]\w+")
"""A name or a value of an expression's own."""
REARRANGING = ("UpdateTable", "ExecuteStatement", "BatchExecuteStatement", "ExecuteTransaction")
"""Operations after which a table's order is rebuilt."""


@dataclass(frozen=True, slots=True)
class Past:
    """The part of DynamoDB that answers reads of the past."""

    operations: Mapping[str, Handler]
    service = "dynamodb"

    def handlers(self) -> Mapping[str, Handler]:
        """Return what is handled here, by operation."""
        return self.operations


class DynamoDb:
    """DynamoDB of one cloud."""

    service = "dynamodb"

    def __init__(self, clock: Clock, timeline: Timeline, staleness: Callable[[], timedelta]) -> None:
        """Keep what stale reads need, as far back as `staleness`."""
        self._clock = clock
        self._timeline = timeline
        self._history = History(clock.now, staleness)
        self._tokens: dict[str, datetime] = {}
        self._orders: dict[tuple[str, str], TableOrder] = {}
        for part in (expressions, pace, sizes):
            part.quicken()

    def handlers(self) -> Mapping[str, Handler]:
        """Narrow queries, follow writes, let items expire."""
        return {
            "Query": self._query,
            "PutItem": self._follow,
            "UpdateItem": self._follow,
            "DeleteItem": self._follow,
            "BatchWriteItem": self._follow,
            "TransactWriteItems": self._transact,
            "UpdateTimeToLive": self._expire_items,
            **dict.fromkeys(REARRANGING, self._forget_orders),
        }

    @property
    def past(self) -> StandIn:
        """Answers reads of the past, which otherwise go to moto."""
        return Past(dict.fromkeys(("GetItem", "BatchGetItem", "Scan"), self._read))

    def clear(self) -> None:
        """Forget every order, what items were, and every token."""
        self._orders.clear()
        self._history.clear()
        self._tokens.clear()

    def _query(self, call: Call, pass_on: PassOn) -> Mapping[str, Any] | None:
        """Have moto answer from one partition; a query that it would refuse it gets unchanged."""
        order = self._order(call.region, str(call.params.get("TableName")))
        partition = partition_asked_for(call.params, order) if order else None
        if order is None or partition is None:
            return None
        items = order.items_in(call.params.get("IndexName"), partition, self._before(call, order))
        if not items and is_plain(call.params):
            return {"Items": [], "Count": 0, "ScannedCount": 0}
        order.table.all_items = lambda: items  # shadows the method for this call; calls run one at a time
        try:
            pass_on()
        finally:
            del order.table.all_items
        return None

    def _read(self, call: Call, pass_on: PassOn) -> None:
        """Have moto answer from the tables as they were."""
        names = call.params.get("RequestItems", (call.params.get("TableName"),))
        orders = [order for name in names if (order := self._order(call.region, str(name)))]
        with ExitStack() as stack:
            for order in orders:
                stack.enter_context(shown_as_it_was(order, self._before(call, order)))
            pass_on()

    def _before(self, call: Call, order: TableOrder) -> Before:
        return self._history.changed_since(self._clock.now() - call.behind, order) if call.behind else {}

    def _remember(self, call: Call) -> None:
        """Keep what a write will write over, if a stale read may ask for it."""
        if not self._history.wanted:
            return
        for name, attributes in written(call.params):
            order = self._order(call.region, name)
            primary = order.primary_in(attributes) if order else None
            if order is not None and primary is not None:
                self._history.before_write(order, primary)

    def _transact(self, call: Call, pass_on: PassOn) -> Mapping[str, Any] | None:
        """Have moto write all or nothing, once for each token, without copying all existing items."""
        now, token = self._clock.now(), call.params.get("ClientRequestToken")
        self._tokens = {each: at for each, at in self._tokens.items() if at > now - TOKENS_LAST}
        if token in self._tokens:
            return {}
        self._remember(call)
        named: dict[str, list[Mapping[str, Any]]] = {}
        for name, attributes in written(call.params):
            named.setdefault(name, []).append(attributes)
        found = ((find_table(call.region, name), attributes) for name, attributes in named.items())
        undos = [Undo(table, attributes) for table, attributes in found if table is not None]
        with ExitStack() as stack:
            for undo in undos:
                stack.enter_context(undo.in_place_of_a_copy())
            done = pass_on().status_code == 200
        for undo in undos if not done else ():
            undo.put_back()
        if done and token:
            self._tokens[token] = now
        self._take_over(call)
        return None

    def _follow(self, call: Call, pass_on: PassOn) -> None:
        """Have moto write, then copy the new state of each named item."""
        self._remember(call)
        pass_on()
        self._take_over(call)

    def _take_over(self, call: Call) -> None:
        for table, attributes in written(call.params):
            order = self._orders.get((call.region, table))
            if order is not None and order.is_of(find_table(call.region, table)):
                order.refresh(attributes)

    def _forget_orders(self, _: Call, pass_on: PassOn) -> None:
        pass_on()
        self._orders.clear()

    def _order(self, region: str, name: str) -> TableOrder | None:
        """Return a table's order, made when it is first asked for; None if there is no such table."""
        table = find_table(region, name)
        if table is None:
            return None
        order = self._orders.get((region, name))
        if order is None or not order.is_of(table):
            order = self._orders[region, name] = TableOrder(table)
        return order

    def _expire_items(self, call: Call, pass_on: PassOn) -> None:
        if pass_on().status_code == 200:
            self._plan_sweep(call.region, call.params["TableName"])

    def _plan_sweep(self, region: str, name: str) -> None:
        self._timeline.after(SWEEP_EVERY, lambda: self._sweep(region, name), f"expired items of {name}")

    def _sweep(self, region: str, name: str) -> None:
        """Delete the items whose time is past, and come back later; a table that is gone is let be."""
        with lock_of("dynamodb"):
            order = self._order(region, name)
            if order is None or order.table.ttl.get("TimeToLiveStatus") != "ENABLED":
                return
            now = self._clock.now().timestamp()
            attribute = order.table.ttl["AttributeName"]
            for item in list(order.items.values()):
                expires_at = item.attrs.get(attribute)
                if expires_at is not None and expires_at.type == "N" and float(expires_at.value) < now:
                    primary = primary_of(item.attrs, order.key)
                    if self._history.wanted:
                        self._history.before_write(order, primary)
                    order.table.delete_item(item.hash_key, item.range_key)
                    order.remove(primary)
        self._plan_sweep(region, name)


@contextmanager
def shown_as_it_was(order: TableOrder, before: Before) -> Iterator[None]:
    """Have moto read a table with the items in `before` as they were; calls run one at a time."""
    table = order.table
    present = table.get_item

    def get_item(hash_key: Any, range_key: Any = None, projection_expression: Any = None) -> Any:
        primary = tuple(value for each in (hash_key, range_key) if (value := value_of(each)) is not None)
        if primary not in before:
            return present(hash_key, range_key, projection_expression)
        item = before[primary]
        return item.project(projection_expression) if item and projection_expression else item

    table.get_item, table.all_items = get_item, lambda: order.all_items(before)
    try:
        yield
    finally:
        del table.get_item, table.all_items


def find_table(region: str, name: str) -> Any | None:
    """Return moto's table."""
    return moto_backend("dynamodb")[ACCOUNT][region].tables.get(name)


def partition_asked_for(params: Mapping[str, Any], order: TableOrder) -> Any | None:
    """Return the partition in a Query's key condition; None if moto has to report what is wrong."""
    ordering = order.orderings.get(params.get("IndexName"))
    expression = params.get("KeyConditionExpression")
    if ordering is None or not expression:
        return None
    try:
        names = params.get("ExpressionAttributeNames", {})
        conditions, _, _ = parse_expression(
            expression, params.get("ExpressionAttributeValues", {}), names, ordering.schema
        )
    except (ServiceException, ValueError, KeyError):
        return None
    if len(conditions) != 1:
        return None
    [(_, typed)] = conditions
    return value_of(DynamoType(typed))


def is_plain(params: Mapping[str, Any]) -> bool:
    """Return whether a Query with a valid key condition has nothing else that could be wrong.

    Most of an idle app's queries are of this kind and find nothing; they do not need moto.
    """
    names = (*params.get("ExpressionAttributeNames", ()), *params.get("ExpressionAttributeValues", ()))
    wrong_read = params.get("ConsistentRead") and "IndexName" in params
    return (
        params.keys() <= PLAIN
        and set(NAME.findall(params["KeyConditionExpression"])) == {*names}
        and not wrong_read
    )


def written(params: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Yield table and key attributes (among others) of every item that a write names."""
    if "TableName" in params:
        yield params["TableName"], params.get("Item") or params.get("Key", {})
    for table, requests in params.get("RequestItems", {}).items():
        for request in requests:
            yield (
                table,
                request.get("PutRequest", {}).get("Item") or request.get("DeleteRequest", {}).get("Key", {}),
            )
    for action in params.get("TransactItems", ()):
        for write in action.values():
            yield write["TableName"], write.get("Item") or write.get("Key", {})
