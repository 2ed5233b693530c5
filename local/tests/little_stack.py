"""The tests' own little stack on a local cloud, and an endpoint with nothing behind it."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from local_cloud.cloud import Cloud
from local_cloud.cloudformation.template import Stack, StackPlan
from local_cloud.control.clock import Clock
from local_cloud.control.faults import Faults
from local_cloud.control.timeline import Timeline
from local_cloud.endpoint import CallCount, Endpoint
from local_cloud.lambda_.executions import Executions
from local_cloud.services.iam.authority import Authority
from local_cloud.services.iam.roles import Roles
from local_cloud.services.iam.sessions import Session, Sessions
from local_cloud.services.iam.signatures import Signatures

HERE = Path(__file__).parent / "stack"
HOME, AWAY = "eu-central-1", "eu-west-1"
PLANS = (
    StackPlan("little", HERE / "sam.json", HOME, {"BucketName": "little-bucket"}),
    StackPlan("little-away", HERE / "away.yaml", AWAY, {"HomeRegion": HOME}),
)


TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}


def policy_of(*statements: dict[str, Any]) -> dict[str, Any]:
    """Return a policy of statements that allow what they name, unless they say otherwise."""
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow"} | each for each in statements]}


def policy_of_queue(queue_arn: str, rule_arn: str) -> str:
    """Return a policy of a queue that lets one rule send to it."""
    statement = {
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": rule_arn}},
    }
    return json.dumps(policy_of(statement))


def role_of(cloud: Cloud, *statements: dict[str, Any], name: str = "tried") -> str:
    """Make a role with one policy and return its ARN."""
    return cloud.roles.add(name, TRUST, {"all": policy_of(*statements)})


def bare_endpoint(clock: Clock, timeline: Timeline, *others: Session) -> Endpoint:
    """Return an endpoint that nothing stands behind yet: no faults, no limits, no functions.

    The operator and `others` may sign.
    """
    sessions = Sessions()
    for session in others:
        sessions.add(session)
    return Endpoint(
        calls=CallCount(),
        faults=Faults(),
        buckets=None,
        executions=Executions(timeline),
        sessions=sessions,
        signatures=Signatures(clock.now, sessions),
        authority=Authority(sessions, Roles()),
        call_from_outside=lambda call: None,
    )


class LittleStack:
    """The cloud with the little stack deployed, and what its functions noted."""

    def __init__(self, cloud: Cloud, stack: Stack) -> None:
        self.cloud = cloud
        self.outputs = stack.outputs()
        self.sqs = cloud.client("sqs", HOME)
        self.events = cloud.client("events", HOME)

    def notes(self, kind: str) -> list[Any]:
        """Return what the functions noted of a kind, in order."""
        found = self.cloud.client("dynamodb", HOME).query(
            TableName="notes",
            KeyConditionExpression="kind = :kind AND #n > :zero",
            ExpressionAttributeNames={"#n": "number"},
            ExpressionAttributeValues={":kind": {"S": kind}, ":zero": {"N": "0"}},
        )
        return [json.loads(item["document"]["S"]) for item in found["Items"]]

    def send(self, *bodies: str, delay: int = 0) -> None:
        """Put messages on the work queue."""
        for body in bodies:
            self.sqs.send_message(QueueUrl=self.outputs["WorkUrl"], MessageBody=body, DelaySeconds=delay)

    def tell(self, region: str = HOME, **detail: Any) -> None:
        """Put an event that a function is told of."""
        entry = {"Source": "a.test", "DetailType": "Told", "Detail": json.dumps(detail)}
        self.cloud.client("events", region).put_events(Entries=[entry])

    def waiting(self, queue: str) -> list[str]:
        """Return the bodies of the messages that wait on a queue."""
        url = self.sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        found = self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0)
        return [message["Body"] for message in found.get("Messages", ())]

    def pass_time(self, **span: float) -> datetime:
        """Let simulated time pass."""
        return self.cloud.advance(timedelta(**span))
