"""Volumes are restored onto an instance; whatever goes wrong, nothing stays half-attached."""

import random
from collections.abc import Mapping
from typing import Any

import pytest

from tests.app.playing import rest
from tests.support.deployment import REGIONS, Deployment, Document, snapshot_rule

MOUNT = 'printf "%s\\n" $FARSHORE_VOLUMES > told; cat volumes/sdf/data > mounted'
VERIFY = 'cmp mounted volumes/sdf/data && [ "$1" = orders ]'
DATA_ONLY = {"boot": False}


def a_point(app: Deployment, **rule: Any) -> tuple[str, Document, bytes]:
    """Make a point of an instance with one data volume; return the instance, the point and the data."""
    instance, data = app.run_instance("orders"), random.Random(7).randbytes(100_000)
    (app.directory(instance) / "volumes" / "sdf" / "data").write_bytes(data)
    app.put_plan("orders", snapshot_rule(**{"restore": MOUNT, "verify": VERIFY, "timeout": "2m", **rule}))
    job_id = app.back_up("orders")
    app.pass_time(seconds=60)
    return instance, app.point(app.job(job_id)["recovery_point"]), data


def restored(app: Deployment, point: Document, onto: str, **passing: float) -> Document:
    """Return the job of a restore that is over."""
    job_id = app.restore(point, "primary", instance_id=onto)
    app.pass_time(**(passing or {"minutes": 2}))
    rest(app, lambda: app.job(job_id)["state"] in ("QUEUED", "RUNNING"))
    return app.job(job_id)


def volumes_of(app: Deployment, job: Document) -> Mapping[str, Document]:
    """Fetch the volumes that a job has made and that are there."""
    return {
        id: volume
        for id, volume in app.restored_volumes().items()
        if {"Key": "farshore:job", "Value": job["id"]} in volume["Tags"]
    }


def test_a_volume_is_made_attached_mounted_and_proven(app: Deployment) -> None:
    _, point, data = a_point(app)
    fresh = app.run_instance("fresh", volumes=0)

    job = restored(app, point, fresh)

    assert job["state"] == "COMPLETED", job["reason"]
    [(id, volume)] = volumes_of(app, job).items()
    assert job["reason"] == (
        f"restored {id} at /dev/sdf of {fresh}, mounted by the restore script and its verify script passed"
    )
    [attachment] = volume["Attachments"]
    assert (attachment["InstanceId"], attachment["Device"], attachment["State"]) == (
        fresh,
        "/dev/sdf",
        "attached",
    )
    assert (app.directory(fresh) / "mounted").read_bytes() == data
    assert (app.directory(fresh) / "told").read_text() == f"/dev/sdf={id}\n"
    assert (job["target"], job["volume_count"]) == ({"instance_id": fresh}, 1)
    assert job["volumes"][0]["volume"] == id
    assert app.discrepancies() == []


def test_an_instance_that_has_just_been_launched_is_waited_for(app: Deployment) -> None:
    _, point, data = a_point(app)
    fresh = app.run_instance("fresh", volumes=0, wait=False)

    job = restored(app, point, fresh)

    assert job["state"] == "COMPLETED", job["reason"]
    assert (app.directory(fresh) / "mounted").read_bytes() == data


def test_without_a_restore_script_it_is_said_that_nothing_mounted_them(app: Deployment) -> None:
    _, point, data = a_point(app)
    app.put_plan("orders", snapshot_rule())
    fresh = app.run_instance("fresh", volumes=0)

    job = restored(app, point, fresh)

    [id] = volumes_of(app, job)
    assert (job["state"], job["reason"]) == (
        "COMPLETED",
        f"restored {id} at /dev/sdf of {fresh}; the rule has no restore script, so nothing has mounted or "
        "verified them",
    )
    assert (app.directory(fresh) / "volumes" / "sdf" / "data").read_bytes() == data


def test_the_scripts_are_those_of_the_plan_now_or_those_of_the_point(app: Deployment) -> None:
    _, point, _ = a_point(app)
    app.ask("DELETE", "/plans/orders", status=200)

    job = restored(app, point, app.run_instance("fresh", volumes=0))

    assert job["reason"].endswith("mounted by the restore script and its verify script passed")


@pytest.mark.long
@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"restore": "echo no such device; exit 3"}, "the restore script failed: restore script exited 3"),
        ({"verify": "exit 4"}, "the verify script failed: verify script exited 4"),
        ({"restore": "/opt/mount"}, "there is no such file on this instance"),
        (
            {"restore": "sleep 20", "timeout": "5s"},
            "it ran longer than its timeout of 5 seconds and was stopped",
        ),
    ],
)
def test_a_script_that_fails_leaves_nothing_attached(app: Deployment, rule: Document, said: str) -> None:
    _, point, _ = a_point(app, **rule)
    fresh = app.run_instance("fresh", volumes=0)

    job = restored(app, point, fresh)

    assert job["state"] == "FAILED"
    assert said in job["reason"]
    assert volumes_of(app, job) == {}
    assert not (app.directory(fresh) / "volumes" / "sdf").exists()
    assert "left" not in job
    assert app.discrepancies() == []


def test_a_restore_that_is_cancelled_stops_its_script_and_takes_its_volumes_back(app: Deployment) -> None:
    _, point, _ = a_point(app, restore="echo > begun; sleep 20; echo > ended")
    fresh = app.run_instance("fresh", volumes=0)
    job_id = app.restore(point, "primary", instance_id=fresh)

    app.once_written(fresh, "begun", lambda: app.ask("POST", f"/jobs/{job_id}/cancel", status=202), minutes=2)
    rest(app, lambda: app.job(job_id)["state"] in ("QUEUED", "RUNNING"))

    job = app.job(job_id)
    assert job["state"] == "CANCELLED"
    assert volumes_of(app, job) == {}
    assert not (app.directory(fresh) / "ended").exists()


def test_a_device_that_is_taken_is_refused_before_anything_is_made(app: Deployment) -> None:
    instance, point, _ = a_point(app)
    made = app.calls("ec2", "CreateVolume")

    order = {"recovery_point": point["id"], "target": {"instance_id": instance}}
    answer = app.ask("POST", "/restores", order, status=409)

    [taken] = [
        each["Ebs"]["VolumeId"]
        for each in described(app, instance)["BlockDeviceMappings"]
        if each["DeviceName"] == "/dev/sdf"
    ]
    assert f"/dev/sdf of {instance} is taken by {taken}; detach that one, or" in answer.document["detail"]
    assert app.calls("ec2", "CreateVolume") == made


def described(app: Deployment, instance: str) -> Document:
    [reservation] = app.ec2().describe_instances(InstanceIds=[instance])["Reservations"]
    found: Document = reservation["Instances"][0]
    return found


def test_a_device_that_is_taken_meanwhile_ends_the_job(app: Deployment) -> None:
    _, point, _ = a_point(app)
    fresh, zone = app.run_instance("fresh", volumes=0), "eu-central-1a"
    intruder = app.ec2().create_volume(Size=1, AvailabilityZone=zone)["VolumeId"]
    app.pass_time(seconds=10)
    job_id = app.restore(point, "primary", instance_id=fresh)
    app.pass_time(seconds=1)
    app.ec2().attach_volume(VolumeId=intruder, InstanceId=fresh, Device="/dev/sdf")
    app.pass_time(minutes=10)

    job = app.job(job_id)
    assert job["state"] == "FAILED"
    assert f"/dev/sdf of {fresh} is taken by {intruder}; detach that one" in job["reason"]
    assert volumes_of(app, job) == {}
    [kept] = app.ec2().describe_volumes(VolumeIds=[intruder])["Volumes"]
    assert kept["State"] == "in-use"


@pytest.mark.long
@pytest.mark.parametrize("after", [0.5, 3, 5, 8])
def test_an_instance_that_is_terminated_meanwhile_ends_the_job(app: Deployment, after: float) -> None:
    _, point, _ = a_point(app, restore="sleep 8")
    fresh = app.run_instance("fresh", volumes=0)
    job_id = app.restore(point, "primary", instance_id=fresh)
    app.pass_time(seconds=after)
    app.ec2().terminate_instances(InstanceIds=[fresh])
    app.pass_time(minutes=5)
    rest(app, lambda: app.job(job_id)["state"] in ("QUEUED", "RUNNING"))

    job = app.job(job_id)
    assert job["state"] == "FAILED", job["reason"]
    assert volumes_of(app, job) == {}
    assert app.discrepancies() == []


def refusing(operation: str) -> Document:
    """Return the fault that refuses an operation to the worker."""
    error = {"code": "UnauthorizedOperation", "status": 403, "message": "Not you."}
    match = {"service": "ec2", "operation": operation, "caller": "function"}
    return {"match": match, "effect": {"error": error}}


def failing_to_detach(app: Deployment) -> tuple[str, str, str]:
    """Restore a volume by a script that fails, and let the job fail to detach it; return its id, that of the
    volume, and the instance."""
    _, point, _ = a_point(app, restore="exit 3")
    fresh = app.run_instance("fresh", volumes=0)
    app.faults(refusing("DetachVolume"))
    job_id = app.restore(point, "primary", instance_id=fresh)
    app.pass_time(minutes=5)
    assert app.job(job_id)["state"] == "RUNNING"
    assert "Not you." in app.job(job_id)["reason"]
    [volume] = volumes_of(app, {"id": job_id})
    return job_id, volume, fresh


@pytest.mark.long
def test_a_volume_that_cannot_be_detached_is_named_at_the_end(app: Deployment) -> None:
    job_id, volume, _ = failing_to_detach(app)
    app.pass_time(hours=25)

    job = app.job(job_id)
    assert (job["state"], job["left"]) == ("FAILED", [volume])
    assert f"these are left: {volume}" in job["reason"]
    found = {each["what"]: each for each in app.listing("inventory", region=REGIONS["primary"])}
    assert found[volume]["job"] == job["id"]


def test_a_volume_that_becomes_free_again_is_deleted(app: Deployment) -> None:
    job_id, _, fresh = failing_to_detach(app)
    app.terminate(fresh)
    rest(app, lambda: app.job(job_id)["state"] in ("QUEUED", "RUNNING"))

    job = app.job(job_id)
    assert (job["state"], volumes_of(app, job)) == ("FAILED", {})
    assert "left" not in job


def test_a_volume_that_somebody_has_moved_to_another_instance_stays_there(app: Deployment) -> None:
    job_id, volume, _ = failing_to_detach(app)
    other = app.run_instance("other", volumes=0)
    app.faults(refusing("DetachVolume"), refusing("DeleteVolume"))
    app.ec2().detach_volume(VolumeId=volume)
    app.pass_time(seconds=3)
    app.ec2().attach_volume(VolumeId=volume, InstanceId=other, Device="/dev/sdf")
    app.faults()
    rest(app, lambda: app.job(job_id)["state"] in ("QUEUED", "RUNNING"))

    job = app.job(job_id)
    [(id, there)] = volumes_of(app, job).items()
    assert (job["state"], job["left"]) == ("FAILED", [id])
    assert f"others have attached it elsewhere: {id}" in job["reason"]
    assert there["Attachments"][0]["InstanceId"] == other


def test_a_point_of_several_instances_is_refused_with_the_remedy(app: Deployment) -> None:
    app.run_instance("orders")
    _, point, _ = a_point(app)
    fresh = app.run_instance("fresh", volumes=0)

    order = {"recovery_point": point["id"], "target": {"instance_id": fresh}}
    answer = app.ask("POST", "/restores", order, status=409)

    assert "its data volumes are of 2 instances" in answer.document["detail"]
    assert "service: {tag: KEY}" in answer.document["detail"]


def test_snapshots_of_another_region_are_refused_with_the_remedy(app: Deployment) -> None:
    _, point, _ = a_point(app, copies=[{"vault": "dr"}])
    app.pass_time(minutes=2)
    fresh = app.run_instance("fresh", volumes=0)

    order = {"recovery_point": point["id"], "vault": "dr", "target": {"instance_id": fresh}}
    answer = app.ask("POST", "/restores", order, status=400)

    [problem] = answer.document["errors"]
    assert problem["pointer"] == "/vault"
    assert "a vault that keeps snapshots in eu-central-1" in problem["expected"]


def test_a_dry_run_shows_devices_volumes_and_scripts(app: Deployment) -> None:
    _, point, _ = a_point(app)
    fresh = app.run_instance("fresh", volumes=0)
    made = app.calls("ec2", "CreateVolume")

    order = {"recovery_point": point["id"], "target": {"instance_id": fresh}, "dry_run": True}
    would = app.ask("POST", "/restores", order, status=200).document["would"]

    assert (would["method"], would["target"]) == ("attached", {"instance_id": fresh})
    assert [each["source"]["device"] for each in would["volumes"]] == ["/dev/sdf"]
    assert (would["restore"], would["verify"], would["timeout"]) == (MOUNT, VERIFY, "2m")
    assert app.calls("ec2", "CreateVolume") == made


def test_a_second_restore_onto_the_instance_is_refused_meanwhile(app: Deployment) -> None:
    _, point, _ = a_point(app, restore="sleep 5")
    fresh = app.run_instance("fresh", volumes=0)
    first = app.restore(point, "primary", instance_id=fresh)
    app.pass_time(seconds=3)

    order = {"recovery_point": point["id"], "target": {"instance_id": fresh}}
    answer = app.ask("POST", "/restores", order, status=409)

    assert first in answer.document["detail"]
