"""What stands in moto's and Python's place for the sake of speed answers what they would answer."""

import io
from http.client import HTTPMessage
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.core.model_instances import model_data

from little_stack import HOME
from local_cloud import http_pace
from local_cloud.cloud import Cloud

KEY = {"pk": {"S": "one"}}
HALF_BYTES = 210_000
"""More than half of what an item may have."""


@pytest.fixture
def table(cloud: Cloud) -> Any:
    client = cloud.client("dynamodb", HOME)
    client.create_table(
        TableName="t",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "kind")],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by_kind",
                "KeySchema": [{"AttributeName": "kind", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["parts", "size"]},
            }
        ],
    )
    return client


def update(table: Any, expression: str, **more: Any) -> Any:
    return table.update_item(TableName="t", Key=KEY, UpdateExpression=expression, **more)


@pytest.mark.parametrize(
    "block",
    [
        b"Server: amazon.com\r\nContent-Type: text/xml; a=b \r\nEmpty:\r\nX: \xe9\r\n\r\n",
        b"Set: one\r\nSet: two\r\n\r\n",
        b"Long: one\r\n two\r\nNext: three\r\n\r\n",
        b"Bare: line\nfeeds: only\n\n",
        b"not a field\r\nA: b\r\n\r\n",
        b"A : b\r\n\r\n",
        b"\r\n",
    ],
)
def test_header_fields_are_what_python_reads(block: bytes) -> None:
    ours, pythons = (read(io.BytesIO(block)) for read in (http_pace.parse_headers, http_pace.READ))
    assert isinstance(ours, HTTPMessage)
    assert ours.items() == pythons.items()
    assert list(map(type, ours.defects)) == list(map(type, pythons.defects))


def test_an_item_that_is_too_large_is_refused_however_it_grows(table: Any) -> None:
    half = {"S": "x" * HALF_BYTES}
    with pytest.raises(ClientError, match="size"):
        table.put_item(TableName="t", Item={**KEY, "a": half, "b": half})
    table.put_item(TableName="t", Item={**KEY, "a": half})
    for typed in (half, {"S": "é" * (HALF_BYTES // 2)}, {"L": [half]}, {"M": {"m": half}}):
        with pytest.raises(ClientError, match="size"):
            update(table, "SET b = :b", ExpressionAttributeValues={":b": typed})
    update(table, "SET b = :b", ExpressionAttributeValues={":b": {"S": "x" * (HALF_BYTES // 2)}})


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("SET a = :v SET b = :v", {}),
        ("SET #a = :v, #b = :v", {"#a": "a", "#b": "a"}),
        ("SET pk = :v", {}),
        ("SET a = :v, b = :missing", {}),
        ("SET a = nothing + :v", {}),
    ],
)
def test_an_update_that_is_refused_is_refused_each_time(
    table: Any, expression: str, names: dict[str, str]
) -> None:
    given = {"ExpressionAttributeValues": {":v": {"N": "1"}}}
    for _ in range(3):
        with pytest.raises(ClientError):
            update(table, expression, **given, **({"ExpressionAttributeNames": names} if names else {}))
    assert "Item" not in table.get_item(TableName="t", Key=KEY)


def test_one_expression_does_with_each_item_and_value_what_it_says(table: Any) -> None:
    for number, weight in (("3", "3"), ("4", "7"), ("4", "11")):
        update(
            table,
            "SET weight = if_not_exists(weight, :zero) + :more",
            ConditionExpression="attribute_not_exists(weight) OR weight < :limit",
            ExpressionAttributeValues={":zero": {"N": "0"}, ":more": {"N": number}, ":limit": {"N": "9"}},
        )
        assert table.get_item(TableName="t", Key=KEY)["Item"]["weight"] == {"N": weight}
    with pytest.raises(ClientError, match="ConditionalCheckFailed"):
        update(
            table,
            "SET weight = :v",
            ConditionExpression="weight < :limit",
            ExpressionAttributeValues={":v": {"N": "0"}, ":limit": {"N": "9"}},
        )


def test_an_index_shows_what_it_has_and_nothing_else(table: Any) -> None:
    parts = {"M": {"list": {"L": [{"N": "1"}, {"BOOL": True}, {"NULL": True}]}, "raw": {"B": b"\x00\xff"}}}
    item = {**KEY, "kind": {"S": "k"}, "parts": parts, "size": {"N": "1.50"}}
    table.put_item(TableName="t", Item={**item, "hidden": {"S": "x"}})
    [found] = table.query(
        TableName="t",
        IndexName="by_kind",
        KeyConditionExpression="kind = :k",
        ExpressionAttributeValues={":k": {"S": "k"}},
    )["Items"]
    assert found == item


def test_a_key_signs_and_a_symmetric_one_encrypts(cloud: Cloud) -> None:
    kms = cloud.client("kms", HOME)
    pair = kms.create_key(KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
    signed = {"KeyId": pair, "Message": b"text", "SigningAlgorithm": "RSASSA_PSS_SHA_256"}
    assert kms.verify(**signed, Signature=kms.sign(**signed)["Signature"])["SignatureValid"]
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    sealed = kms.encrypt(KeyId=key, Plaintext=b"text")["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"text"


def test_after_a_reset_moto_keeps_nothing_of_what_it_made(cloud: Cloud, table: Any) -> None:
    table.put_item(TableName="t", Item=KEY)
    cloud.reset()
    kept: list[Any] = [vars(model)["instances_tracked"] for model in model_data["dynamodb"].values()]
    assert kept == [[]] * len(kept)
