"""What is let go, and what stays: in EC2, in S3 and off-site lies just what the lifecycle keeps."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import pytest

from chalicelib.plans.lifecycle import Keep, Lifecycle, Point, decide_lifecycle
from tests.support.deployment import Deployment, Document, newest, parse_time, service_rule, snapshot_rule
from tests.support.thoroughness import amount

DAYS = amount(40, 16)
"""Enough for every vault to let go of points; with forty, those of weeks and a month ago are judged too."""
DAILY = "cron(0 2 * * ? *)"
DATA_ONLY = {"boot": False}


def _pass_days(app: Deployment, days: int) -> None:
    """Let days pass, with ticks about two o'clock only."""
    for _ in range(days):
        two = app.now.replace(hour=2, minute=0, second=0, microsecond=0) + timedelta(days=1)
        app.skip_to(two - timedelta(minutes=1))
        app.pass_until(two + timedelta(minutes=6))


MANY_DAYS: Mapping[str, tuple[Document, Mapping[str, Lifecycle]]] = {
    "snapshots": (
        snapshot_rule(
            schedule=DAILY,
            volumes=DATA_ONLY,
            lifecycle={"keep": {"daily": 7, "weekly": 4, "monthly": 2}, "min_keep": 2},
            copies=[{"vault": "dr", "lifecycle": {"keep": {"daily": 3, "weekly": 2}}}],
        ),
        {
            "primary": Lifecycle(keep=Keep(daily=7, weekly=4, monthly=2), min_keep=2),
            "dr": Lifecycle(keep=Keep(daily=3, weekly=2)),
        },
    ),
    "files": (
        service_rule(
            schedule=DAILY,
            lifecycle={"keep": {"daily": 5, "weekly": 3}, "min_keep": 2},
            copies=[
                {"vault": "dr", "lifecycle": {"age": "10d"}},
                {"vault": "offsite", "lifecycle": {"count": 4}},
            ],
        ),
        {
            "primary": Lifecycle(keep=Keep(daily=5, weekly=3), min_keep=2),
            "dr": Lifecycle(age=timedelta(days=10)),
            "offsite": Lifecycle(count=4),
        },
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("what", MANY_DAYS)
def test_after_many_days_just_what_the_lifecycle_keeps_is_there(app: Deployment, what: str) -> None:
    rule, lifecycles = MANY_DAYS[what]
    app.run_instance("orders")
    app.put_plan("orders", rule)
    app.take_no_inventory()
    _pass_days(app, DAYS)
    app.skip_to(app.now.replace(hour=23, minute=58))
    app.pass_time(minutes=10)  # past the sweep, which judges the copies that came last
    points = app.points()
    made = [(point["id"], parse_time(point["created_at"])) for point in points]
    assert len(made) == DAYS
    for vault, lifecycle in lifecycles.items():
        assert _ids_in(app, vault, points) == _kept(made, lifecycle), vault
    gone = [each for point in points for each in point["artefacts"] if each["state"] == "DELETED"]
    assert all(each["reason"].startswith("no longer kept by") for each in gone)
    assert app.discrepancies() == []


def _kept(made: list[tuple[str, datetime]], lifecycle: Lifecycle) -> set[str]:
    """Apply a lifecycle day by day, as the app does, and say what it leaves."""
    kept: list[Point] = []
    for point_id, at in made:
        kept.append(Point(point_id, at, good=True))
        verdicts = decide_lifecycle(kept, lifecycle, at + timedelta(hours=1), complete=True)
        ids = {verdict.id for verdict in verdicts if verdict.keep}
        kept = [point for point in kept if point.id in ids]
    return {point.id for point in kept}


def _ids_in(app: Deployment, vault: str, points: list[Document]) -> set[str]:
    """Return the points of which something lies in a vault."""
    if vault != "offsite" and (snapshots := app.snapshots(vault)):
        tags = (tag for each in snapshots.values() for tag in each["Tags"])
        return {tag["Value"] for tag in tags if tag["Key"] == "farshore:recovery-point"}
    keys = app.keys(vault)
    return {point["id"] for point in points if any(point["id"] in key for key in keys)}


@pytest.mark.long
def test_a_snapshot_that_an_ami_uses_stays_and_goes_when_that_is_deregistered(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", snapshot_rule(volumes=DATA_ONLY, lifecycle=newest(1)))
    app.back_up("orders")
    app.pass_time(minutes=5)
    (snapshot,) = app.snapshots()
    image = app.ec2().register_image(
        Name="golden",
        RootDeviceName="/dev/sda1",
        BlockDeviceMappings=[{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": snapshot}}],
    )["ImageId"]
    app.back_up("orders")
    app.pass_time(minutes=5)
    (old, new) = app.points()
    assert (old["state"], new["state"]) == ("EXPIRED", "AVAILABLE")
    assert old["artefacts"][0]["state"] == "EXPIRED"
    assert (
        old["artefacts"][0]["reason"]
        == f"{snapshot} is used by an AMI; it is deleted once the AMI is deregistered"
    )
    assert snapshot in app.snapshots()
    assert {job["state"] for job in app.jobs(kind="expire")} == {"COMPLETED"}
    _pass_days(app, 2)
    assert snapshot in app.snapshots()
    app.ec2().deregister_image(ImageId=image)
    _pass_days(app, 2)
    assert app.points()[0]["state"] == "DELETED"
    assert app.snapshots().keys() == set(new["artefacts"][0]["snapshot_ids"])
    assert app.discrepancies() == []


@pytest.mark.long
def test_the_points_of_a_terminated_instance_are_let_go_in_time(app: Deployment) -> None:
    instance = app.run_instance("orders")
    three_days = {"age": "3d", "min_keep": 1}
    app.put_plan("orders", snapshot_rule(schedule=DAILY, volumes=DATA_ONLY, lifecycle=three_days))
    _pass_days(app, 3)
    app.terminate(instance)
    assert len(app.snapshots()) == 3
    _pass_days(app, 6)
    assert [point["state"] for point in app.points()] == ["DELETED", "DELETED", "AVAILABLE"]
    assert len(app.snapshots()) == 1, "the newest good point is never deleted"
    assert app.discrepancies() == []


@pytest.mark.long
def test_what_a_failed_backup_left_is_cleaned_and_its_point_forgotten(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", snapshot_rule())
    denied = {"code": "AccessDenied", "status": 403}
    app.faults({"match": {"service": "s3", "operation": "PutObject"}, "effect": {"error": denied}})
    app.back_up("orders")
    app.pass_time(minutes=30)
    (failed,) = app.points()
    assert failed["state"] == "FAILED"
    assert "AccessDenied" in failed["reason"]
    assert app.snapshots() == {}
    app.faults()
    app.skip_to(app.now + timedelta(days=92))
    assert app.points() == []
    assert app.discrepancies() == []


def test_a_failed_file_backup_leaves_no_part_and_no_upload(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", service_rule(script='echo half > "$2"; exit 3'))
    job_id = app.back_up("orders")
    app.pass_time(minutes=10)
    job = app.job(job_id)
    assert job["state"] == "FAILED"
    assert "script exited 3" in job["reason"]
    assert (app.uploads("primary"), app.keys("primary")) == ([], set())
    assert app.discrepancies() == []


EVERY_DAY_FOR_TWO = snapshot_rule(
    schedule=DAILY, volumes=DATA_ONLY, lifecycle={"count": 2}, copies=[{"vault": "dr"}]
)
EDITS: Mapping[str, Document | None] = {
    "the plan": None,
    "the rule": {**EVERY_DAY_FOR_TWO, "name": "another"},
    "the kind": service_rule(schedule=DAILY, name=EVERY_DAY_FOR_TWO["name"], lifecycle={"count": 2}),
    "the vault": {**EVERY_DAY_FOR_TWO, "copies": []},
    "the limit": {**EVERY_DAY_FOR_TWO, "lifecycle": {"count": 5}},
}


@pytest.mark.long
@pytest.mark.parametrize("gone", EDITS)
def test_what_a_plan_no_longer_names_is_kept(app: Deployment, gone: str) -> None:
    app.run_instance("orders")
    app.put_plan("orders", EVERY_DAY_FOR_TWO)
    _pass_days(app, 2)
    edit = EDITS[gone]
    if edit is None:
        app.ask("DELETE", "/plans/orders", status=200)
    else:
        app.put_plan("orders", edit)
    before = {point["id"] for point in app.points()}
    _pass_days(app, 3)
    left = {point["id"]: point for point in app.points() if point["id"] in before}
    vaults = {"dr"} if gone == "the vault" else {"primary", "dr"}
    assert [_lies_in(point) >= vaults for point in left.values()] == [True] * 2


def _lies_in(point: Document) -> set[str]:
    return {each["vault"] for each in point["artefacts"] if each["state"] == "AVAILABLE"}
