"""AWS says "later", again and again: everything is done in the end, and nothing twice."""

from collections.abc import Iterator

import pytest

from tests.support.deployment import Deployment, Document, service_rule, snapshot_rule

TRIES_OF_THE_SDK = 3
"""How often the SDK sends a call before the job meets the error; calls without a token it sends once."""
READS = (
    ("ec2", "DescribeSnapshots"),
    ("s3", "GetObject"),
    ("s3", "PutObject"),
    ("ssm", "GetCommandInvocation"),
    ("dynamodb", "UpdateItem"),
)
SENT_ONCE = (("ec2", "CreateSnapshots"), ("ec2", "CopySnapshot"), ("ssm", "SendCommand"))
CODES = {
    "ec2": {"code": "RequestLimitExceeded", "status": 503},
    "s3": {"code": "SlowDown", "status": 503},
    "ssm": {"code": "ThrottlingException", "status": 400},
    "dynamodb": {"code": "ProvisionedThroughputExceededException", "status": 400},
}


def _refusals(service: str, operation: str, count: int) -> Document:
    match = {"service": service, "operation": operation, "caller": "function"}
    return {"match": match, "effect": {"error": CODES[service]}, "count": count}


def _once() -> Iterator[Document]:
    for service, operation in SENT_ONCE:
        yield _refusals(service, operation, count=6)


def _everything(app: Deployment, *faults: Document) -> None:
    instance = app.run_instance("orders")
    app.put_plan(
        "orders",
        snapshot_rule(copies=[{"vault": "dr"}]),
        service_rule(copies=[{"vault": "dr"}, {"vault": "offsite"}]),
    )
    app.ask("POST", "/backups", {"plan": "orders"}, status=202)
    app.faults(*faults)
    app.pass_time(hours=3)
    assert all(fault["met"] > fault["count"] for fault in app.cloud.faults.to_document()), (
        "a fault that was not met"
    )
    app.faults()
    assert {job["state"] for job in app.jobs()} == {"COMPLETED"}
    assert {point["kind"]: len(point["artefacts"]) for point in app.points()} == {"snapshot": 2, "service": 3}
    assert (len(app.snapshots("primary")), len(app.snapshots("dr"))) == (2, 2)
    assert len((app.directory(instance) / "ran").read_text().split()) == 1
    assert app.discrepancies() == []


@pytest.mark.long
def test_calls_that_make_things_are_refused_for_a_while(app: Deployment) -> None:
    _everything(app, *_once())


@pytest.mark.long
@pytest.mark.parametrize(("service", "operation"), READS)
def test_a_call_is_refused_for_longer_than_the_sdk_tries(
    app: Deployment, service: str, operation: str
) -> None:
    _everything(app, _refusals(service, operation, count=TRIES_OF_THE_SDK))


def test_the_jobs_queue_does_not_take_messages_for_a_while(app: Deployment) -> None:
    refused = {"code": "RequestThrottled", "status": 403}
    match = {"service": "sqs", "operation": "SendMessageBatch", "caller": "function"}
    _everything(app, {"match": match, "effect": {"error": refused}, "count": TRIES_OF_THE_SDK})
