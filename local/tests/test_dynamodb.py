"""DynamoDB as the endpoint answers it: order, pages, writes that are followed, items that expire."""

import random
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from little_stack import HOME
from local_cloud.cloud import Cloud

Key = dict[str, dict[str, str]]


@pytest.fixture
def tables(cloud: Cloud) -> Any:
    client = cloud.client("dynamodb", HOME)
    names = ("pk", "sk", "kind", "at")
    client.create_table(
        TableName="t",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by_kind",
                "KeySchema": [
                    {"AttributeName": "kind", "KeyType": "HASH"},
                    {"AttributeName": "at", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    )
    return client


def put(client: Any, pk: str, sk: str, **more: str) -> None:
    given = {"pk": pk, "sk": sk, **more}
    client.put_item(TableName="t", Item={name: {"S": value} for name, value in given.items()})


def by_kind(client: Any, kind: str, **more: Any) -> list[str]:
    """Return the partition keys of all items of a kind, in order, page by page."""
    found: list[str] = []
    request = {
        "TableName": "t",
        "IndexName": "by_kind",
        "KeyConditionExpression": "kind = :kind",
        "ExpressionAttributeValues": {":kind": {"S": kind}},
        **more,
    }
    while True:
        page = client.query(**request)
        found += [item["pk"]["S"] for item in page["Items"]]
        if "LastEvaluatedKey" not in page:
            return found
        request["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def test_an_index_is_in_order_whatever_the_order_of_writes_and_the_size_of_pages(tables: Any) -> None:
    numbers = list(range(40))
    random.Random(7).shuffle(numbers)
    assert by_kind(tables, "job") == []
    for number in numbers:
        put(tables, f"p{number:02}", "x", kind="job", at=f"{number:02}")
        put(tables, f"q{number:02}", "x", kind="point", at=f"{number:02}")

    expected = [f"p{number:02}" for number in range(40)]
    assert by_kind(tables, "job") == expected
    assert by_kind(tables, "job", Limit=7) == expected
    assert by_kind(tables, "job", Limit=9, ScanIndexForward=False) == expected[::-1]


def test_every_kind_of_write_is_followed(tables: Any) -> None:
    for number in range(5):
        put(tables, f"p{number}", "x", kind="job", at=str(number))
    assert len(by_kind(tables, "job")) == 5

    def key(number: int) -> Key:
        return {"pk": {"S": f"p{number}"}, "sk": {"S": "x"}}

    tables.delete_item(TableName="t", Key=key(0))
    tables.update_item(
        TableName="t",
        Key=key(1),
        UpdateExpression="SET kind = :kind",
        ExpressionAttributeValues={":kind": {"S": "done"}},
    )
    tables.update_item(TableName="t", Key=key(2), UpdateExpression="REMOVE kind")
    tables.transact_write_items(TransactItems=[{"Delete": {"TableName": "t", "Key": key(3)}}])
    tables.batch_write_item(
        RequestItems={"t": [{"PutRequest": {"Item": {**key(9), **typed(kind="job", at="0")}}}]}
    )

    assert by_kind(tables, "job") == ["p9", "p4"]
    assert by_kind(tables, "done") == ["p1"]


def test_pages_are_cut_by_the_size_that_items_have_now(tables: Any) -> None:
    for number in range(4):
        put(tables, f"p{number}", "x", kind="job", at=str(number), text="a" * 200_000)
    request = {
        "TableName": "t",
        "IndexName": "by_kind",
        "KeyConditionExpression": "kind = :kind",
        "ExpressionAttributeValues": {":kind": {"S": "job"}},
    }
    assert tables.query(**request)["Count"] == 4
    tables.update_item(
        TableName="t",
        Key=typed(pk="p0", sk="x"),
        UpdateExpression="SET more = :more",
        ExpressionAttributeValues={":more": {"S": "b" * 190_000}},
    )
    put(tables, "p1", "x", kind="job", at="1", text="a" * 390_000)
    page = tables.query(**request)
    assert (page["Count"], page["LastEvaluatedKey"]["pk"]) == (3, {"S": "p2"})
    assert by_kind(tables, "job") == ["p0", "p1", "p2", "p3"]


def test_a_refused_write_changes_no_order(tables: Any) -> None:
    put(tables, "p", "x", kind="job", at="1")
    assert by_kind(tables, "job") == ["p"]
    with pytest.raises(ClientError, match="ConditionalCheckFailed"):
        tables.put_item(
            TableName="t",
            Item=typed(pk="p", sk="x", kind="done", at="1"),
            ConditionExpression="attribute_not_exists(pk)",
        )
    assert (by_kind(tables, "job"), by_kind(tables, "done")) == (["p"], [])


def test_a_refused_transaction_changes_no_item(tables: Any) -> None:
    put(tables, "put", "x", kind="job", at="1")
    put(tables, "updated", "x", kind="job", at="2")
    put(tables, "deleted", "x", kind="job", at="3")
    before = sorted(tables.scan(TableName="t")["Items"], key=lambda item: item["pk"]["S"])
    update = {"UpdateExpression": "SET kind = :kind", "ExpressionAttributeValues": {":kind": {"S": "done"}}}
    there_already = {"ConditionExpression": "attribute_not_exists(pk)"}
    writes: list[dict[str, dict[str, Any]]] = [
        {"Put": {"Item": typed(pk="new", sk="x", kind="job", at="4")}},
        {"Put": {"Item": typed(pk="put", sk="x", kind="done", at="1")}},
        {"Update": {"Key": typed(pk="updated", sk="x"), **update}},
        {"Delete": {"Key": typed(pk="deleted", sk="x")}},
        {"Put": {"Item": typed(pk="put", sk="y"), **there_already}},
        {"ConditionCheck": {"Key": typed(pk="other", sk="x"), "ConditionExpression": "attribute_exists(pk)"}},
    ]
    in_table: list[Any] = [
        {kind: {"TableName": "t", **write}} for each in writes for kind, write in each.items()
    ]
    with pytest.raises(ClientError, match="TransactionCanceled"):
        tables.transact_write_items(TransactItems=in_table)

    after = sorted(tables.scan(TableName="t")["Items"], key=lambda item: item["pk"]["S"])
    assert (after, by_kind(tables, "job")) == (before, ["put", "updated", "deleted"])
    tables.transact_write_items(TransactItems=in_table[:-1])
    assert (by_kind(tables, "job"), by_kind(tables, "done")) == (["new"], ["put", "updated"])


def test_a_query_of_an_unknown_index_is_refused(tables: Any) -> None:
    with pytest.raises(ClientError, match="nope"):
        by_kind(tables, "job", IndexName="nope")


def test_a_name_that_no_expression_uses_is_refused_even_where_nothing_is_found(tables: Any) -> None:
    with pytest.raises(ClientError, match="unused"):
        by_kind(tables, "job", ExpressionAttributeNames={"#unused": "kind"})


def test_an_item_whose_time_is_past_goes_within_hours(cloud: Cloud, tables: Any) -> None:
    wanted = {"Enabled": True, "AttributeName": "expires_at"}
    tables.update_time_to_live(TableName="t", TimeToLiveSpecification=wanted)
    for name, after in (("old", timedelta(hours=1)), ("young", timedelta(days=1))):
        expires_at = str(int((cloud.clock.now() + after).timestamp()))
        item = {**typed(pk=name, sk="x", kind="job", at="1"), "expires_at": {"N": expires_at}}
        tables.put_item(TableName="t", Item=item)
    assert by_kind(tables, "job") == ["old", "young"]

    cloud.advance(timedelta(hours=13))
    assert by_kind(tables, "job") == ["young"]
    assert tables.scan(TableName="t")["Count"] == 1


def typed(**attributes: str) -> Key:
    return {name: {"S": value} for name, value in attributes.items()}


def test_a_transaction_that_is_sent_again_with_its_token_is_done_once(cloud: Cloud, tables: Any) -> None:
    key = {"pk": {"S": "p"}, "sk": {"S": "x"}}
    put_once = {"TableName": "t", "Item": key, "ConditionExpression": "attribute_not_exists(pk)"}
    for _ in range(2):
        tables.transact_write_items(TransactItems=[{"Put": put_once}], ClientRequestToken="one")
    with pytest.raises(ClientError, match="TransactionCanceledException"):
        tables.transact_write_items(TransactItems=[{"Put": put_once}], ClientRequestToken="another")
    cloud.advance(timedelta(minutes=11))
    with pytest.raises(ClientError, match="TransactionCanceledException"):
        tables.transact_write_items(TransactItems=[{"Put": put_once}], ClientRequestToken="one")
