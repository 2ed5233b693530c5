"""Listens to EventBridge as any user can: a rule puts the events of EC2 and SSM on a queue."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from demo.ground import DemoCloud

NAME = "demo-listens"
PATTERN = {"source": ["aws.ec2", "aws.ssm"]}


@dataclass(frozen=True, slots=True)
class Heard:
    """An event: its time, kind and details."""

    at: datetime
    kind: str
    region: str
    detail: dict[str, Any]

    @property
    def text(self) -> str:
        """The event in one line; empty if it is of no interest to a reader."""
        detail = self.detail
        match self.kind:
            case "EBS Snapshot Notification":
                snapshot = detail["snapshot_id"].rpartition("/")[2]
                return f"EBS event: {detail['event']} of {snapshot} in {self.region} {detail['result']}"
            case "EBS Multi-Volume Snapshots Completion Status":
                return (
                    f"EBS event: {detail['event']} of {len(detail['snapshots'])} snapshots {detail['result']}"
                )
            case "EC2 Command Invocation Status-change Notification":
                return f"SSM event: command on {detail['instance-id']}: {detail['status']}"
            case "EC2 Instance State-change Notification":
                return f"EC2 event: {detail['instance-id']} is {detail['state']}"
        return ""


def policy_for(queue_arn: str, rule_arn: str) -> dict[str, Any]:
    """Return the policy with which a queue takes events from a rule."""
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": rule_arn}},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


class Listener:
    """Receives the events of a region from its creation on."""

    def __init__(self, ground: DemoCloud, region: str) -> None:
        """Create the rule and the queue."""
        self._sqs, self._events = ground.client("sqs", region), ground.client("events", region)
        self._queue = self._sqs.create_queue(QueueName=NAME)["QueueUrl"]
        found = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])
        arn = found["Attributes"]["QueueArn"]
        rule = self._events.put_rule(Name=NAME, EventPattern=json.dumps(PATTERN))["RuleArn"]
        policy = {"Policy": json.dumps(policy_for(arn, rule))}
        self._sqs.set_queue_attributes(QueueUrl=self._queue, Attributes=policy)
        self._events.put_targets(Rule=NAME, Targets=[{"Id": "queue", "Arn": arn}])

    def heard(self) -> Iterator[Heard]:
        """Yield the events since the last call."""
        while messages := self._receive():
            for message in messages:
                self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
                event = json.loads(message["Body"])
                at = datetime.fromisoformat(event["time"])
                yield Heard(at, event["detail-type"], event["region"], event["detail"])

    def close(self) -> None:
        """Delete the rule and the queue."""
        self._events.remove_targets(Rule=NAME, Ids=["queue"])
        self._events.delete_rule(Name=NAME)
        self._sqs.delete_queue(QueueUrl=self._queue)

    def _receive(self) -> list[dict[str, Any]]:
        answer = self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10, WaitTimeSeconds=0)
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages
