"""What happens to a call at the endpoint: counted, faulted, throttled, answered in its own protocol."""

import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from little_stack import AWAY, HOME, LittleStack
from local_cloud.call import Quotas
from local_cloud.cloud import Cloud
from local_cloud.control.faults import Caller

CALLS = {
    "dynamodb": lambda client: client.list_tables(),
    "sqs": lambda client: client.list_queues(),
    "ec2": lambda client: client.describe_availability_zones(),
    "s3": lambda client: client.list_buckets(),
    "sts": lambda client: client.get_caller_identity(),
    "kms": lambda client: client.list_keys(),
}


@pytest.mark.parametrize("service", CALLS)
def test_a_call_is_counted_by_service_and_operation(cloud: Cloud, service: str) -> None:
    CALLS[service](cloud.client(service, HOME))
    CALLS[service](cloud.client(service, AWAY))

    [(counted, operations)] = cloud.calls.by_operation().items()
    assert counted == service
    assert list(operations.values()) == [2]


def test_calls_of_functions_are_counted_apart(little: LittleStack) -> None:
    little.tell()
    little.cloud.settle()

    assert little.cloud.calls.by_operation(Caller.FUNCTION) == {"dynamodb": {"PutItem": 1, "UpdateItem": 1}}
    assert little.cloud.calls.by_operation(Caller.OTHER) == {"events": {"PutEvents": 1}}


def test_each_call_is_shown_with_the_function_that_made_it(little: LittleStack) -> None:
    seen: list[tuple[str, str | None]] = []
    little.cloud.calls.on_call.append(
        lambda target, _, function: seen.append((target.operation, function and function.partition("-")[2]))
    )
    little.tell()
    little.cloud.settle()

    assert seen == [("PutEvents", None), ("UpdateItem", "OnEvent"), ("PutItem", "OnEvent")]


def test_each_answer_is_shown_with_its_status(little: LittleStack) -> None:
    seen: list[tuple[str, str | None, int]] = []
    little.cloud.calls.on_answer.append(
        lambda target, function, status: seen.append((target.operation, function, status))
    )
    error = {"code": "SlowDown", "status": 503, "message": "Please."}
    fault = {"match": {"operation": "PutEvents"}, "effect": {"error": error}, "count": 1}
    little.cloud.faults.replace([fault])
    with pytest.raises(ClientError, match="SlowDown"):
        little.tell()
    little.tell()
    little.cloud.settle()

    assert seen == [
        ("PutEvents", None, 503),
        ("PutEvents", None, 200),
        ("UpdateItem", "little-OnEvent", 200),
        ("PutItem", "little-OnEvent", 200),
    ]


@pytest.mark.parametrize("service", CALLS)
def test_an_error_that_is_asked_for_reaches_the_client_in_its_protocol(cloud: Cloud, service: str) -> None:
    error = {"code": "SlowDown", "status": 503, "message": "Please."}
    cloud.faults.replace([{"match": {"service": service}, "effect": {"error": error}, "skip": 1, "count": 1}])
    client = cloud.client(service, HOME)

    CALLS[service](client)
    with pytest.raises(ClientError) as raised:
        CALLS[service](client)
    CALLS[service](client)

    response: Any = raised.value.response
    assert (response["Error"]["Code"], response["Error"]["Message"]) == ("SlowDown", "Please.")
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 503


def test_a_fault_meets_only_the_resource_and_the_caller_it_names(cloud: Cloud) -> None:
    match = {"service": "dynamodb", "operation": "DescribeTable", "resource": "orders", "caller": "other"}
    cloud.faults.replace([{"match": match, "effect": {"error": {"code": "Broken", "status": 500}}}])
    client = cloud.client("dynamodb", HOME)

    with pytest.raises(ClientError, match="Broken"):
        client.describe_table(TableName="orders")
    with pytest.raises(ClientError, match="ResourceNotFound"):
        client.describe_table(TableName="others")


def read_often(client: Any) -> None:
    """Read more often than a full bucket and what it gains meanwhile allow."""
    for _ in range(100):
        client.describe_volumes()


def test_an_empty_bucket_of_tokens_refuses_until_simulated_time_fills_it(tmp_path: Path) -> None:
    with Cloud(tmp_path, start_at=datetime(2030, 1, 1, tzinfo=UTC)) as cloud:
        client = cloud.client("ec2", HOME)
        for _ in range(50):
            client.describe_volumes()
        with pytest.raises(ClientError) as raised:
            read_often(client)
        assert raised.value.response["Error"]["Code"] == "RequestLimitExceeded"
        assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
        client.describe_volumes(MaxResults=5)
        cloud.client("ec2", AWAY).describe_volumes()

        cloud.advance(2 * Quotas().instance_pending)
        client.describe_volumes()


def test_a_service_that_is_not_there_is_refused_by_name(cloud: Cloud) -> None:
    with pytest.raises(ClientError, match="no service braket"):
        cloud.client("braket", HOME).search_devices(filters=[])


def test_a_request_that_is_not_aws_is_refused(cloud: Cloud) -> None:
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(f"{cloud.aws.url}/x", timeout=5)  # noqa: S310  loopback
    raised.value.close()
    assert raised.value.code == 403


def test_a_key_of_s3_keeps_its_odd_letters(cloud: Cloud) -> None:
    client = cloud.client("s3", HOME)
    client.create_bucket(Bucket="odd-letters", CreateBucketConfiguration={"LocationConstraint": HOME})
    key = "a b/ü+%2F/..;x"
    client.put_object(Bucket="odd-letters", Key=key, Body=b"0123456789")

    assert [each["Key"] for each in client.list_objects_v2(Bucket="odd-letters")["Contents"]] == [key]
    assert client.get_object(Bucket="odd-letters", Key=key, Range="bytes=2-4")["Body"].read() == b"234"
    assert client.head_object(Bucket="odd-letters", Key=key)["ContentLength"] == 10


def test_after_a_reset_nothing_is_left(little: LittleStack) -> None:
    little.send("later", delay=60)
    little.cloud.client("ec2", HOME).run_instances(ImageId="ami-12345678", MinCount=1, MaxCount=1)
    little.cloud.faults.replace([{"match": {"event": "x"}, "effect": {"drop": True}}])
    little.cloud.reset()

    assert little.cloud.client("dynamodb", HOME).list_tables()["TableNames"] == []
    assert little.cloud.client("ec2", HOME).describe_instances()["Reservations"] == []
    assert little.cloud.ec2.directories() == {}
    assert little.cloud.faults.to_document() == []
    little.pass_time(hours=1)
    assert little.cloud.calls.by_operation(Caller.FUNCTION) == {}
