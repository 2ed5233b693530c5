"""Attacks from outside that once had something lost, left over or held for ever."""

import base64
import json
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from chalicelib.errors import Denied
from chalicelib.jobs.removal import LONGEST_WHY, Removal, remove
from tests.support.deployment import Deployment, Document, service_rule, snapshot_rule


def _error(service: str, operation: str, code: str, resource: str = "", **which: object) -> Document:
    match = {"service": service, "operation": operation, "caller": "function", "resource": resource}
    return {"match": match, "effect": {"error": {"code": code}}, **which}


def _conflicts_at(key: str) -> Document:
    """Let DynamoDB cancel a transaction at this key as often as it is tried at once."""
    return _error("dynamodb", "TransactWriteItems", "TransactionCanceledException", key, count=3)


def _finish(app: Deployment, within: timedelta = timedelta(hours=12)) -> None:
    end = app.now + within
    while app.unfinished():
        assert app.now < end, app.unfinished()
        app.pass_time(minutes=5)


def _fleet(app: Deployment, number: int) -> None:
    app.ec2().run_instances(
        ImageId="ami-12345678",
        InstanceType="t3.micro",
        MinCount=number,
        MaxCount=number,
        BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1}}],
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "app", "Value": "fleet"}]}],
    )
    app.pass_time(seconds=15)
    app.put_plan("fleet", snapshot_rule(volumes={"boot": False}))


# what is in memory when a commit comes to nothing


def test_a_point_has_all_its_parts_though_the_commit_that_opens_them_met_another(app: Deployment) -> None:
    """DynamoDB cancels a transaction that conflicts with another; the parts are not there then."""
    _fleet(app, 12)
    app.faults(_conflicts_at("child#"))
    job = app.back_up("fleet")
    _finish(app)
    assert app.faults_met() >= 3
    assert app.job(job)["state"] == "COMPLETED"
    [artefact] = app.point(app.job(job)["recovery_point"])["artefacts"]
    assert (artefact.get("snapshot_count"), len(app.snapshots())) == (12, 12)


def test_a_copy_runs_in_no_slot_that_it_did_not_get(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", snapshot_rule(volumes={"boot": False}))
    job = app.back_up("orders")
    _finish(app)
    point = app.point(app.job(job)["recovery_point"])
    app.faults(_conflicts_at("slot#"))
    app.copy(point, "dr")
    seen = []
    while app.unfinished():
        app.pass_time(seconds=1)
        if any(each["State"] == "pending" for each in app.snapshots("dr").values()):
            seen.append(app.slots_in_use("dr"))
    assert set(seen) == {1}
    assert app.discrepancies() == []


# a job ends though its world cannot be seen


def test_a_job_that_cannot_be_looked_at_is_cancelled_all_the_same(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", snapshot_rule())
    unseen = _error("ec2", "DescribeVolumes", "RequestLimitExceeded")
    app.faults(unseen)
    job = app.back_up("orders")
    app.pass_time(minutes=20)
    app.ask("POST", f"/jobs/{job}/cancel", status=202)
    app.pass_time(minutes=20)
    assert app.job(job)["state"] == "CANCELLED"


def test_a_job_whose_cleaning_cannot_be_looked_at_ends_within_its_time(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", snapshot_rule())
    killed = {"match": {"service": "ec2", "operation": "CreateSnapshots"}, "effect": {"kill": "before"}}
    app.faults({**killed, "count": 1}, _error("ec2", "DescribeSnapshots", "UnauthorizedOperation"))
    job = app.back_up("orders")
    app.pass_time(minutes=20)
    app.ask("POST", f"/jobs/{job}/cancel", status=202)
    app.pass_time(minutes=20)
    app.cloud.clock.advance_to(app.now + timedelta(days=1))
    app.pass_time(minutes=20)
    assert app.job(job)["state"] in ("CANCELLED", "FAILED")


def test_a_job_ends_though_its_point_was_settled_by_another(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", snapshot_rule())
    app.faults(_error("ec2", "DescribeVolumes", "RequestLimitExceeded"))
    job = app.back_up("orders")
    point = app.job(job)["recovery_point"]
    dynamodb = app.cloud.client("dynamodb", "eu-central-1")
    (table,) = dynamodb.list_tables()["TableNames"]
    key = {"pk": {"S": f"points#{point[3:19]}"}, "sk": {"S": point}}
    dynamodb.put_item(TableName=table, Item={**key, "state": {"S": "DELETED"}})
    app.ask("POST", f"/jobs/{job}/cancel", status=202)
    app.pass_time(minutes=5)
    app.cloud.clock.advance_to(app.now + timedelta(days=1))
    app.pass_time(minutes=10)
    assert app.job(job)["state"] == "CANCELLED"


def _in_use(app: Deployment, snapshot: str) -> None:
    disk = {"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": snapshot}}
    app.ec2().register_image(Name=snapshot, RootDeviceName="/dev/sda1", BlockDeviceMappings=[disk])


@pytest.mark.long
def test_a_part_that_cannot_be_cleaned_up_keeps_no_other_part_from_it(app: Deployment) -> None:
    _fleet(app, 22)
    app.faults(_error("s3", "PutObject", "ServiceUnavailable", "manifest.json"))
    job = app.back_up("fleet")
    app.pass_time(minutes=10)
    assert len(app.snapshots()) == 22
    for snapshot in app.snapshots():
        _in_use(app, snapshot)
        break
    app.ask("POST", f"/jobs/{job}/cancel", status=202)
    app.pass_time(hours=2)
    assert list(app.snapshots()) == [snapshot]
    app.cloud.clock.advance_to(app.now + timedelta(days=2))
    app.pass_time(minutes=20)
    assert (app.job(job)["state"], app.job(job)["left"]) == ("CANCELLED", [snapshot])
    assert [found["what"] for found in app.listing("inventory")] == [snapshot]


@pytest.mark.long
def test_parts_are_cleaned_up_though_one_of_them_took_all_its_time(app: Deployment) -> None:
    _fleet(app, 12)
    last = {"service": "ec2", "operation": "CreateSnapshots"}
    app.faults(
        {"match": {"event": "*"}, "effect": {"delay": "5m"}},
        {"match": last, "effect": {"error": {"code": "PendingSnapshotLimitExceeded"}}, "skip": 11},
    )
    job = app.back_up("fleet")
    app.pass_time(minutes=15)
    assert len(app.snapshots()) == 11
    [part] = [
        each for each in app.jobs() if each["reason"] != app.job(job)["reason"] and each["state"] == "RUNNING"
    ]
    [held] = [each for each, told in app.snapshots().items() if part["id"] in told["Description"]]
    _in_use(app, held)
    app.ask("POST", f"/jobs/{job}/cancel", status=202)
    app.pass_time(days=1, hours=3)
    _finish(app, timedelta(days=2))
    assert list(app.snapshots()) == [held]
    assert [found["what"] for found in app.listing("inventory")] == [held]


# retention


def _backed_up(app: Deployment, *rules: Document) -> Document:
    job = app.back_up("orders", rule=rules[0]["name"])
    _finish(app)
    return app.point(app.job(job)["recovery_point"])


@pytest.mark.long
def test_no_copy_is_made_where_a_failed_one_is_being_deleted(app: Deployment) -> None:
    """The good copy was deleted with what the failed one had left."""
    app.run_instance("orders")
    rule = service_rule()
    app.put_plan("orders", rule)
    point = _backed_up(app, rule)
    app.faults(_error("s3", "CopyObject", "AccessDenied"))
    app.copy(point, "dr")
    _finish(app)
    app.faults(_error("s3", "DeleteObject", "ServiceUnavailable"))
    app.pass_time(days=1, hours=12, minutes=10)
    [expire] = [job for job in app.unfinished() if job["kind"] == "expire"]
    asked = ("POST", f"/recovery-points/{point['id']}/copies", {"vault": "dr"})
    app.ask(*asked, status=409)
    app.faults()
    _finish(app)
    assert app.job(expire["id"])["state"] == "COMPLETED"
    app.ask(*asked, status=202)
    _finish(app)
    assert {each["state"] for each in app.point(point["id"])["artefacts"]} == {"AVAILABLE"}
    assert app.discrepancies() == []


# what is made is known


def test_a_volume_that_was_made_unseen_is_named_when_its_restore_is_cancelled(app: Deployment) -> None:
    app.run_instance("orders")
    rule = snapshot_rule(volumes={"boot": False})
    app.put_plan("orders", rule)
    point = _backed_up(app, rule)
    killed = {"service": "ec2", "operation": "CreateVolume", "caller": "function"}
    app.faults({"match": killed, "effect": {"kill": "after"}, "count": 1})
    job = app.restore(point, "primary", availability_zone="eu-central-1a")
    app.pass_time(seconds=1)
    [volume] = app.restored_volumes()
    app.ask("POST", f"/jobs/{job}/cancel", status=202)
    _finish(app)
    assert app.job(job)["state"] == "CANCELLED"
    assert app.job(job)["left"] == [volume]


# one operation at a target at a time


def test_no_backup_counts_that_is_made_while_a_cancelled_restore_still_runs(app: Deployment) -> None:
    """SSM answers a cancel at once; the agent stops the script when it hears of it."""
    slow = service_rule(
        restore="echo $$ > began; for n in 1 2 3 4; do sleep 1; done",
        script='grep "State:.[RS]" "/proc/$(cat began)/status" 2> none > none && : > torn; echo data > "$2"',
    )
    instance = app.run_instance("orders")
    app.put_plan("orders", slow)
    point = _backed_up(app, slow)
    app.faults(_error("ssm", "CancelCommand", "InvalidCommandId"))

    def cancel_and_back_up() -> None:
        app.ask("POST", f"/jobs/{restore}/cancel", status=202)
        app.back_up("orders")

    restore = app.restore(point, "primary", instance_id=instance)
    app.once_written(instance, "began", cancel_and_back_up, minutes=1)
    _finish(app)
    assert app.job(restore)["state"] == "CANCELLED"
    assert [job["state"] for job in app.jobs(kind="backup")] == ["COMPLETED"] * 2
    assert not (app.directory(instance) / "torn").exists()


# pacing


def test_a_throttled_deletion_of_the_lifecycle_slows_all(app: Deployment) -> None:
    app.run_instance("orders")
    rule = snapshot_rule(volumes={"boot": False})
    app.put_plan("orders", rule)
    older = _backed_up(app, rule)
    _backed_up(app, rule)
    app.faults(_error("ec2", "DeleteSnapshot", "RequestLimitExceeded"))
    app.ask("DELETE", f"/recovery-points/{older['id']}", status=202)
    app.pass_time(seconds=3)
    assert app.faults_met()
    dynamodb = app.cloud.client("dynamodb", "eu-central-1")
    (table,) = dynamodb.list_tables()["TableNames"]
    key = {"pk": {"S": "pace#eu-central-1"}, "sk": {"S": "DeleteSnapshot"}}
    assert "held_until" in dynamodb.get_item(TableName=table, Key=key)["Item"]
    app.faults()
    _finish(app)
    assert app.point(older["id"])["state"] == "DELETED"


# nothing grows in one item


def test_what_is_refused_is_told_in_few_words() -> None:
    """EC2's refusal of a missing right is a kilobyte long, and a job may meet hundreds."""

    def refuse(snapshot: str) -> None:
        raise Denied("encoded " * 200, operation="DeleteSnapshot", resource=snapshot)

    removal = remove(Removal(), ["snap-1"], refuse, datetime.now(UTC))
    assert len(removal.refused["snap-1"]) <= LONGEST_WHY


# from outside


@pytest.mark.parametrize("key", [[1], [], 0, "text", {"pk": "", "sk": "", "type": "job", "sorted_at": ""}])
def test_a_forged_cursor_is_refused_and_breaks_nothing(app: Deployment, key: object) -> None:
    cursor = quote(base64.urlsafe_b64encode(json.dumps(key).encode()))
    app.ask("GET", f"/jobs?cursor={cursor}", status=400)


# a batch is not a fate shared


def test_a_region_whose_slots_cannot_be_looked_at_stops_no_schedule(app: Deployment) -> None:
    app.run_instance("orders")
    rule = snapshot_rule(volumes={"boot": False})
    app.put_plan("orders", rule)
    point = _backed_up(app, rule)
    app.faults(
        {"match": {"event": "EBS Snapshot Notification"}, "effect": {"delay": "1h"}},
        _error("ec2", "DescribeSnapshots", "UnauthorizedOperation", "eu-west-1"),
    )
    app.copy(point, "dr")
    app.pass_time(seconds=5)
    assert app.slots_in_use("dr") == 1
    app.put_plan("orders", snapshot_rule(volumes={"boot": False}, schedule="rate(5 minutes)"))
    before = len(app.jobs(kind="backup"))
    app.pass_time(minutes=16)
    assert len(app.jobs(kind="backup")) >= before + 3
