"""Functions that note what they are given in a DynamoDB table, as an app on AWS would."""

import json
import os
from typing import Any

import boto3


def table() -> Any:
    return boto3.resource("dynamodb").Table(os.environ["NOTES"])


def note(kind: str, document: object) -> None:
    """Add a note; notes of a kind are in the order they were made."""
    notes = table()
    number = notes.update_item(
        Key={"kind": kind, "number": 0},
        UpdateExpression="ADD made :one",
        ExpressionAttributeValues={":one": 1},
        ReturnValues="UPDATED_NEW",
    )["Attributes"]["made"]
    notes.put_item(Item={"kind": kind, "number": number, "document": json.dumps(document)})


def on_schedule(event: dict[str, Any], context: Any) -> None:
    note("schedule", {**event, "left": context.get_remaining_time_in_millis()})


def on_event(event: dict[str, Any], _: Any) -> None:
    note("event", event)
    if event["detail"].get("fail"):
        raise RuntimeError("told to fail")


def on_messages(event: dict[str, Any], _: Any) -> dict[str, Any]:
    failed = []
    for record in event["Records"]:
        note("message", record)
        if record["body"] == "break":
            raise RuntimeError("told to break")
        if record["body"] == "again":
            boto3.client("sqs").send_message(QueueUrl=os.environ["WORK"], MessageBody="again")
        if record["body"] == "fail":
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}


def api(event: dict[str, Any], _: Any) -> dict[str, Any]:
    if event["path"] == "/things/broken":
        return {"status": "of no known shape"}
    boto3.client("sqs").send_message(QueueUrl=os.environ["WORK"], MessageBody=event["httpMethod"])
    return {"statusCode": 201, "headers": {"X-Thing": "yes"}, "body": json.dumps(event)}
