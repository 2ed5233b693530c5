"""What AWS refuses, forgets or answers oddly costs a job at most: never a good point, nor a copy slot."""

from datetime import timedelta

import pytest
from moto.backends import get_backend

from tests.support.deployment import BUCKETS, Deployment, Document, service_rule, snapshot_rule

ZONE = "eu-central-1a"


def _error(service: str, operation: str, code: str, resource: str = "", **which: int) -> Document:
    match = {"service": service, "operation": operation, "resource": resource, "caller": "function"}
    return {"match": match, "effect": {"error": {"code": code}}, **which}


def _finish(app: Deployment, within: timedelta = timedelta(hours=12)) -> None:
    end = app.now + within
    while app.unfinished():
        assert app.now < end, app.unfinished()
        app.pass_time(minutes=5)


def _ready(app: Deployment, rule: Document, **plan: object) -> None:
    app.run_instance("orders")
    app.put_plan("orders", rule, **plan)


@pytest.mark.parametrize("code", ["InvalidParameterValue", "UnauthorizedOperation"])
def test_a_copy_that_ec2_refuses_keeps_no_slot(app: Deployment, code: str) -> None:
    _ready(app, snapshot_rule(copies=[{"vault": "dr"}]))
    app.faults(_error("ec2", "CopySnapshot", code))
    app.back_up("orders")
    _finish(app)
    [copy] = app.jobs(kind="copy")
    assert (copy["state"], app.slots_in_use("dr")) == ("FAILED", 0)


@pytest.mark.long
@pytest.mark.parametrize("number", range(4))
def test_slots_are_given_back_when_transactions_collide(app: Deployment, number: int) -> None:
    _ready(app, snapshot_rule(copies=[{"vault": "dr"}]))
    app.faults(_error("dynamodb", "TransactWriteItems", "TransactionCanceledException", skip=number, count=1))
    app.back_up("orders")
    _finish(app)
    [copy] = app.jobs(kind="copy")
    assert (copy["state"], app.slots_in_use("dr")) == ("COMPLETED", 0)


def test_a_refusal_that_nobody_knows_fails_the_job_with_the_words_of_aws(app: Deployment) -> None:
    _ready(app, snapshot_rule())
    app.faults(_error("ec2", "CreateSnapshots", "SomethingNew"))
    job = app.back_up("orders")
    _finish(app)
    assert app.job(job)["state"] == "FAILED"
    assert "CreateSnapshots failed" in app.job(job)["reason"]
    assert "[SomethingNew]" in app.job(job)["reason"]


def test_a_job_ends_even_if_cleaning_up_kills_its_workers(app: Deployment) -> None:
    _ready(app, snapshot_rule())
    app.faults(_error("ec2", "DescribeSnapshots", "SomethingNew"))
    job = app.back_up("orders")
    _finish(app)
    assert app.job(job)["state"] == "FAILED"


@pytest.mark.parametrize("rule", [snapshot_rule(), service_rule()], ids=["snapshot", "service"])
def test_a_point_on_record_survives_the_workers_that_die_after_recording_it(
    app: Deployment, rule: Document
) -> None:
    _ready(app, {**rule, "copies": [{"vault": "dr"}]})
    app.faults(_error("dynamodb", "UpdateItem", "SomethingNew", resource="newest_at"))
    job = app.back_up("orders")
    _finish(app)
    assert app.job(job)["state"] == "COMPLETED"
    [point] = app.points()
    assert {each["vault"]: each["state"] for each in point["artefacts"]} == {
        "primary": "AVAILABLE",
        "dr": "AVAILABLE",
    }
    assert [each for each in app.discrepancies() if "dead letter" not in each] == []


@pytest.mark.long
def test_a_service_of_the_longest_name_is_backed_up_and_known_to_the_sweep(app: Deployment) -> None:
    name = "\N{SLIGHTLY SMILING FACE}" * 256
    _ready(app, snapshot_rule(copies=[{"vault": "dr"}]), service=name)
    job = app.back_up("orders")
    app.pass_time(minutes=30)
    assert app.job(job)["state"] == "COMPLETED", app.job(job)["reason"]
    app.pass_time(days=1)
    assert any("sweep" not in each["id"] and each["service"] == name for each in app.jobs(kind="expire"))
    assert app.discrepancies() == []


def test_a_restore_fails_when_its_volumes_vanish(app: Deployment) -> None:
    """EC2 takes a volume away again that it cannot decrypt."""
    _ready(app, snapshot_rule())
    job = app.back_up("orders")
    app.pass_time(minutes=1)
    restore = app.restore(app.point(app.job(job)["recovery_point"]), "primary", availability_zone=ZONE)
    app.pass_time(seconds=1)
    there = get_backend("ec2")["123456789012"]["eu-central-1"].volumes
    made = list(app.restored_volumes())
    for volume in made:
        del there[volume]
    _finish(app)
    assert app.job(restore)["state"] == "FAILED"
    assert all(volume in app.job(restore)["reason"] for volume in made)


def _two_points(app: Deployment, rule: Document) -> Document:
    """Make two points and answer the older."""
    _ready(app, rule)
    for _ in range(2):
        app.back_up("orders")
        _finish(app)
    return app.points()[0]


def _states(app: Deployment, point: Document) -> dict[str, str]:
    return {each["vault"]: each["state"] for each in app.point(point["id"])["artefacts"]}


def test_a_vault_that_is_out_of_reach_holds_up_no_deletion_in_another(app: Deployment) -> None:
    point = _two_points(app, service_rule(copies=[{"vault": "dr"}]))
    app.faults(_error("s3", "DeleteObject", "ServiceUnavailable", resource=BUCKETS["dr"]))
    app.ask("DELETE", f"/recovery-points/{point['id']}", status=202)
    app.pass_time(minutes=10)
    assert _states(app, point) == {"dr": "EXPIRED", "primary": "DELETED"}
    app.faults()
    _finish(app)
    assert _states(app, point) == {"dr": "DELETED", "primary": "DELETED"}
    assert app.discrepancies() == []
