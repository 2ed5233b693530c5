"""Faults that a test can ask for at one call: lost answers, calls that hang, reads of the past, outsiders."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from little_stack import HOME, LittleStack
from local_cloud.cloud import Cloud
from local_cloud.recognise import Target

Document = dict[str, Any]


def fault(effect: Document, *, service: str = "dynamodb", count: int | None = 1, **match: str) -> Document:
    return {"match": {"service": service, **match}, "effect": effect, "count": count}


def numbers(little: LittleStack) -> list[int]:
    """Return what the events that were noted say, in the order of their notes."""
    return [event["detail"]["n"] for event in little.notes("event")]


def calls_of_events(cloud: Cloud) -> list[str]:
    """Return a list that the operations which functions call are added to."""
    made: list[str] = []

    def look(target: Target, _: object, function: str | None) -> None:
        if function:
            made.append(target.operation)

    cloud.calls.on_call.append(look)
    return made


# lose


def test_a_lost_answer_closes_the_connection_after_the_call_took_effect(cloud: Cloud) -> None:
    client = cloud.client("sqs", HOME)
    cloud.faults.replace([fault({"lose": True}, service="sqs")])
    with pytest.raises(ConnectionClosedError):
        client.create_queue(QueueName="made")
    assert client.list_queues()["QueueUrls"][0].endswith("/made")


def test_a_lost_answer_may_be_an_error_instead(cloud: Cloud) -> None:
    client = cloud.client("sqs", HOME)
    cloud.faults.replace([fault({"lose": {"code": "InternalError", "status": 500}}, service="sqs")])
    with pytest.raises(ClientError, match="InternalError"):
        client.create_queue(QueueName="made")
    assert client.list_queues()["QueueUrls"][0].endswith("/made")


# hang


def test_while_a_call_hangs_other_functions_run(little: LittleStack) -> None:
    little.cloud.faults.replace([fault({"hang": "30s"}, operation="UpdateItem")])
    made = calls_of_events(little.cloud)
    little.tell(n=1)
    little.pass_time(seconds=10)
    little.tell(n=2)
    little.pass_time(seconds=10)
    assert made == ["UpdateItem", "UpdateItem", "PutItem"]
    assert numbers(little) == [2]
    little.pass_time(seconds=20)
    assert numbers(little) == [1, 2]  # the number that the first one took before it hung


def test_a_call_that_hangs_before_its_effect_takes_effect_late(little: LittleStack) -> None:
    little.cloud.faults.replace([fault({"hang_before": "30s"}, operation="UpdateItem")])
    little.tell(n=1)
    little.pass_time(seconds=10)
    little.tell(n=2)
    little.pass_time(seconds=30)
    assert numbers(little) == [2, 1]


def test_several_calls_hang_at_once_and_go_on_in_the_order_of_their_times(little: LittleStack) -> None:
    hangs = [fault({"hang": span}, operation="UpdateItem") for span in ("50s", "20s", "40s")]
    little.cloud.faults.replace(hangs)
    made: list[int] = []
    for n in (1, 2, 3):
        little.tell(n=n)
        little.cloud.settle()
    for _ in range(60):
        little.pass_time(seconds=1)
        made += [n for n in numbers(little) if n not in made]
    assert made == [2, 3, 1]


def test_a_function_has_its_own_environment_again_when_its_call_goes_on(little: LittleStack) -> None:
    events = little.cloud.functions.get("little-OnEvent")
    elsewhere = replace(events, environment={**events.environment, "NOTES": "other-notes"})
    little.cloud.faults.replace([fault({"hang": "30s"}, operation="UpdateItem")])
    little.tell(n=1)
    little.pass_time(seconds=10)
    little.cloud.functions.add(elsewhere)
    little.tell(n=2, fail=True)
    little.pass_time(seconds=30)
    assert numbers(little) == [1]


def test_a_hanging_call_takes_no_time_of_its_functions_own(little: LittleStack) -> None:
    little.cloud.faults.replace([fault({"hang": "2h"}, operation="UpdateItem")])
    little.pass_time(minutes=5)
    little.pass_time(hours=3)
    lefts = [note["left"] for note in little.notes("schedule")]
    assert min(lefts) > 30_000


def test_a_message_comes_back_while_its_function_still_hangs(little: LittleStack) -> None:
    little.cloud.faults.replace([fault({"hang": "90s"}, operation="UpdateItem")])
    little.send("slow")
    little.pass_time(seconds=70)
    assert [note["attributes"]["ApproximateReceiveCount"] for note in little.notes("message")] == ["2"]
    little.pass_time(minutes=5)
    assert len(little.notes("message")) == 2
    assert little.waiting("dead") == []


def test_what_hangs_when_the_cloud_is_emptied_is_over(little: LittleStack) -> None:
    little.cloud.faults.replace([fault({"hang": "30s"}, operation="UpdateItem")])
    little.tell(n=1)
    little.cloud.settle()
    ended: list[str] = []
    little.cloud.functions.on_end.append(lambda name, _: ended.append(name))
    little.cloud.reset()
    assert ended == ["little-OnEvent"]


def test_only_calls_of_functions_hang(little: LittleStack) -> None:
    little.cloud.faults.replace([fault({"hang": "30s"}, count=None)])
    little.cloud.client("dynamodb", HOME).list_tables()
    assert little.cloud.faults.to_document()[0]["met"] == 0


# then


def test_an_outsider_changes_tags_at_a_functions_call(little: LittleStack) -> None:
    ec2 = little.cloud.client("ec2", HOME)
    volume = ec2.create_volume(AvailabilityZone=f"{HOME}a", Size=1)["VolumeId"]
    tags = {"Resources": [volume], "Tags": [{"Key": "whose", "Value": "mine"}]}
    call = {"service": "ec2", "operation": "CreateTags", "region": HOME, "params": tags}
    little.cloud.faults.replace([fault({"then": call}, operation="UpdateItem")])
    little.tell(n=1)
    little.cloud.settle()
    assert ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["Tags"] == tags["Tags"]
    assert numbers(little) == [1]


def test_something_of_the_tests_own_is_done_between_two_calls_of_a_function(little: LittleStack) -> None:
    made = calls_of_events(little.cloud)
    then: Callable[[], object] = lambda: made.append("then")  # noqa: E731
    little.cloud.faults.replace([fault({"then": then}, operation="UpdateItem")])
    little.tell(n=1)
    little.cloud.settle()
    assert made == ["UpdateItem", "then", "PutItem"]


# stale


@pytest.fixture
def table(cloud: Cloud) -> Any:
    client = cloud.client("dynamodb", HOME)
    names = ("pk", "sk", "kind")
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
                    {"AttributeName": "sk", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    )
    return client


def key(sk: str) -> Document:
    return {"pk": {"S": "p"}, "sk": {"S": sk}}


def put(table: Any, sk: str, kind: str) -> None:
    table.put_item(TableName="t", Item={**key(sk), "kind": {"S": kind}})


def of_kind(table: Any, kind: str) -> list[str]:
    found = table.query(
        TableName="t",
        IndexName="by_kind",
        KeyConditionExpression="kind = :kind",
        ExpressionAttributeValues={":kind": {"S": kind}},
    )
    return [item["sk"]["S"] for item in found["Items"]]


def test_an_index_is_stale_by_the_time_asked_for_and_the_table_is_not(cloud: Cloud, table: Any) -> None:
    for sk in "abc":
        put(table, sk, "job")
    cloud.faults.replace([fault({"stale": "10m"}, count=None)])
    put(table, "a", "point")
    table.delete_item(TableName="t", Key=key("b"))
    put(table, "d", "job")
    table.transact_write_items(
        TransactItems=[{"Put": {"TableName": "t", "Item": {**key("e"), "kind": {"S": "job"}}}}]
    )
    assert (of_kind(table, "job"), of_kind(table, "point")) == (["a", "b", "c"], [])
    condition = {
        "KeyConditionExpression": "pk = :pk",
        "ExpressionAttributeValues": {":pk": {"S": "p"}},
    }
    whole = table.query(TableName="t", ConsistentRead=True, **condition)["Items"]
    assert [item["sk"]["S"] for item in whole] == list("acde")
    stale = table.query(TableName="t", **condition)["Items"]
    assert [item["sk"]["S"] for item in stale] == list("abc")


def test_a_stale_index_follows_at_its_distance(cloud: Cloud, table: Any) -> None:
    cloud.faults.replace([fault({"stale": "10m"}, count=None)])
    put(table, "a", "job")
    cloud.advance(timedelta(minutes=6))
    put(table, "b", "job")
    assert of_kind(table, "job") == []
    cloud.advance(timedelta(minutes=5))
    assert of_kind(table, "job") == ["a"]
    cloud.advance(timedelta(minutes=6))
    assert of_kind(table, "job") == ["a", "b"]


def test_reads_by_key_are_stale_unless_they_are_consistent(cloud: Cloud, table: Any) -> None:
    put(table, "a", "job")
    cloud.faults.replace([fault({"stale": "10m"}, count=None)])
    table.update_item(
        TableName="t",
        Key=key("a"),
        UpdateExpression="SET kind = :kind",
        ExpressionAttributeValues={":kind": {"S": "point"}},
    )
    put(table, "b", "job")

    def kinds(**consistent: bool) -> list[list[str]]:
        one = table.get_item(TableName="t", Key=key("a"), **consistent)
        many = table.batch_get_item(RequestItems={"t": {"Keys": [key("a"), key("b")], **consistent}})
        scan = table.scan(TableName="t", **consistent)
        found = ([one["Item"]], many["Responses"]["t"], scan["Items"])
        return [[item["kind"]["S"] for item in items] for items in found]

    assert kinds() == [["job"], ["job"], ["job"]]
    assert kinds(ConsistentRead=True) == [["point"], ["point", "job"], ["point", "job"]]
    assert cloud.faults.to_document()[0]["met"] == 3


# lag


def test_a_listing_that_lags_does_not_show_what_was_just_made(cloud: Cloud) -> None:
    ec2 = cloud.client("ec2", HOME)
    old = ec2.create_volume(AvailabilityZone=f"{HOME}a", Size=1)["VolumeId"]
    cloud.advance(timedelta(minutes=2))
    new = ec2.create_volume(AvailabilityZone=f"{HOME}a", Size=1)["VolumeId"]
    cloud.advance(timedelta(seconds=10))
    cloud.faults.replace([fault({"lag": "1m"}, service="ec2", count=None)])
    assert [volume["VolumeId"] for volume in ec2.describe_volumes()["Volumes"]] == [old]
    with pytest.raises(ClientError, match=r"InvalidVolume\.NotFound"):
        ec2.describe_volumes(VolumeIds=[new])
    cloud.advance(timedelta(minutes=1))
    assert {volume["VolumeId"] for volume in ec2.describe_volumes()["Volumes"]} == {old, new}


def test_a_snapshot_is_pending_for_as_long_as_its_listing_lags(cloud: Cloud) -> None:
    ec2 = cloud.client("ec2", HOME)
    volume = ec2.create_volume(AvailabilityZone=f"{HOME}a", Size=1)["VolumeId"]
    cloud.advance(timedelta(seconds=10))
    snapshot = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    cloud.advance(timedelta(seconds=20))
    cloud.faults.replace([fault({"lag": "18s"}, service="ec2", count=None)])
    assert ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"][0]["State"] == "pending"
    cloud.advance(timedelta(seconds=20))
    assert ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"][0]["State"] == "completed"


def test_instances_their_agents_and_their_commands_are_listed_late(cloud: Cloud) -> None:
    ec2, ssm = cloud.client("ec2", HOME), cloud.client("ssm", HOME)
    launched = ec2.run_instances(ImageId="ami-12345678", MinCount=1, MaxCount=1)
    instance = launched["Instances"][0]["InstanceId"]
    cloud.advance(timedelta(seconds=15))
    ssm.send_command(
        InstanceIds=[instance], DocumentName="AWS-RunShellScript", Parameters={"commands": ["true"]}
    )

    def found() -> tuple[int, int, int, int]:
        return (
            len(ec2.describe_instances()["Reservations"]),
            len(ssm.describe_instance_information()["InstanceInformationList"]),
            len(ssm.list_commands()["Commands"]),
            len(ssm.list_command_invocations()["CommandInvocations"]),
        )

    cloud.faults.replace([fault({"lag": "1m"}, service=service, count=None) for service in ("ec2", "ssm")])
    assert found() == (0, 0, 0, 0)
    cloud.advance(timedelta(minutes=2))
    assert found() == (1, 1, 1, 1)


# chains of invocations


def test_a_chain_through_a_queue_ends_in_the_dead_letters_after_sixteen_invocations(
    little: LittleStack,
) -> None:
    little.send("again")
    little.pass_time(minutes=10)
    assert len(little.notes("message")) == 16
    assert little.waiting("dead") == ["again"]


def test_a_function_that_may_loop_goes_on(little: LittleStack) -> None:
    looping = replace(little.cloud.functions.get("little-OnMessages"), may_loop=True)
    little.cloud.functions.add(looping)
    match = {"service": "sqs", "operation": "SendMessage", "caller": "function"}
    little.cloud.faults.replace([{"match": match, "effect": {"kill": "before"}, "skip": 30}])
    little.send("again")
    little.cloud.settle()
    assert len(little.notes("message")) > 30
    assert little.waiting("dead") == []


def test_messages_from_outside_are_no_chain_however_many(little: LittleStack) -> None:
    for number in range(40):
        little.send(str(number))
        little.cloud.settle()
    assert len(little.notes("message")) == 40
