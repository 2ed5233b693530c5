"""A service of more instances than one job holds: made, copied, restored and let go in parts."""

from datetime import timedelta

import pytest

from tests.support.deployment import Deployment, Document, snapshot_rule

INSTANCES = 23


def _finish(app: Deployment) -> None:
    end = app.now + timedelta(hours=12)
    while app.unfinished():
        assert app.now < end, app.unfinished()
        app.pass_time(minutes=5)


@pytest.fixture
def fleet(app: Deployment) -> Deployment:
    app.ec2().run_instances(
        ImageId="ami-12345678",
        InstanceType="t3.micro",
        MinCount=INSTANCES,
        MaxCount=INSTANCES,
        BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1}}],
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "app", "Value": "fleet"}]}],
    )
    app.pass_time(seconds=15)
    app.put_plan("fleet", snapshot_rule(volumes={"boot": False}, copies=[{"vault": "dr"}]))
    return app


def _made(app: Deployment) -> Document:
    job = app.back_up("fleet")
    _finish(app)
    assert app.job(job)["state"] == "COMPLETED", app.job(job)
    return app.point(app.job(job)["recovery_point"])


@pytest.mark.long
def test_it_is_one_point_with_a_snapshot_of_each_instance_in_both_regions(fleet: Deployment) -> None:
    point = _made(fleet)
    assert {each["vault"]: each["snapshot_count"] for each in point["artefacts"]} == {
        "primary": INSTANCES,
        "dr": INSTANCES,
    }
    assert (len(fleet.snapshots("primary")), len(fleet.snapshots("dr"))) == (INSTANCES, INSTANCES)
    assert fleet.calls("ec2", "CreateSnapshots") == INSTANCES
    assert (fleet.slots_in_use("dr"), fleet.dead_letters()) == (0, [])


@pytest.mark.long
def test_it_is_restored_volume_by_volume(fleet: Deployment) -> None:
    point = _made(fleet)
    job = fleet.restore(point, "dr", availability_zone="eu-west-1a")
    _finish(fleet)
    assert fleet.job(job)["state"] == "COMPLETED"
    assert len(fleet.restored_volumes("dr")) == INSTANCES


@pytest.mark.long
def test_it_is_let_go_whole(fleet: Deployment) -> None:
    older = _made(fleet)
    _made(fleet)
    fleet.ask("DELETE", f"/recovery-points/{older['id']}", status=202)
    _finish(fleet)
    assert fleet.point(older["id"])["state"] == "DELETED"
    assert (len(fleet.snapshots("primary")), len(fleet.snapshots("dr"))) == (INSTANCES, INSTANCES)


@pytest.mark.long
@pytest.mark.parametrize("how", ["cancel", "failure"])
def test_what_its_parts_made_goes_when_it_fails(fleet: Deployment, how: str) -> None:
    if how == "failure":
        refused = {"match": {"service": "ec2", "operation": "CreateSnapshots"}, "skip": 12, "count": 1}
        fleet.faults({**refused, "effect": {"error": {"code": "UnauthorizedOperation", "status": 403}}})
    job = fleet.back_up("fleet")
    fleet.pass_time(seconds=4)
    if how == "cancel":
        fleet.ask("POST", f"/jobs/{job}/cancel", status=202)
    _finish(fleet)
    assert fleet.job(job)["state"] == ("FAILED" if how == "failure" else "CANCELLED")
    assert [point["state"] for point in fleet.points()] == ["FAILED"]
    assert fleet.snapshots() == {}
    assert fleet.dead_letters() == []


@pytest.mark.long
def test_a_part_of_a_large_service_is_a_partial_point(fleet: Deployment) -> None:
    found = fleet.ec2().describe_instances(Filters=[{"Name": "tag:app", "Values": ["fleet"]}])
    ids = sorted(each["InstanceId"] for each in found["Reservations"][0]["Instances"])
    job = fleet.back_up("fleet", instance_ids=ids[:12])
    _finish(fleet)
    point = fleet.point(fleet.job(job)["recovery_point"])
    assert (point["partial"], point["left_out"]) == (True, ids[12:])
    assert point["artefacts"][0]["snapshot_count"] == 12
    job = fleet.back_up("fleet", instance_ids=ids[:1])
    _finish(fleet)
    left_out = fleet.point(fleet.job(job)["recovery_point"])["left_out"]
    assert left_out == [*ids[1:21], "2 more"]
