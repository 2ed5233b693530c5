"""EC2 through our adapter, on the local cloud."""

from collections.abc import Mapping
from datetime import timedelta

import pytest

from chalicelib.aws.clients import Clients
from chalicelib.aws.ec2 import Attachment, Ec2, Instance, Snapshot, VolumeSpec
from chalicelib.errors import Conflict, NotFound, Permanent, SnapshotInUse, Unavailable
from local_cloud.cloud import Cloud
from local_cloud.control.faults import Effect, Error, Fault, Match
from tests.aws.conftest import AWAY, HOME

TAGS = {"farshore:recovery-point": "rp-1", "farshore:job": "job-1"}
OWN = {"farshore:deployment": "here/test"}
MINUTE = timedelta(minutes=1)


@pytest.fixture
def ec2(clients: Clients) -> Ec2:
    return Ec2(clients.ec2(), HOME, unretried=clients.ec2(retries=False), own=OWN)


@pytest.fixture
def away(clients: Clients) -> Ec2:
    return Ec2(clients.ec2(AWAY), AWAY, unretried=clients.ec2(AWAY, retries=False), own=OWN)


def launch(cloud: Cloud, count: int = 1, **tags: str) -> list[str]:
    wanted = [{"Key": key, "Value": value} for key, value in tags.items()]
    answer = cloud.client("ec2", HOME).run_instances(
        ImageId="ami-12345678",
        MinCount=count,
        MaxCount=count,
        BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 10}}],
        TagSpecifications=[{"ResourceType": "instance", "Tags": wanted}] if wanted else [],
    )
    cloud.advance(MINUTE)
    return [str(instance["InstanceId"]) for instance in answer["Instances"]]


def snapshot(cloud: Cloud, ec2: Ec2, instance: Instance, tags: Mapping[str, str] = TAGS) -> Snapshot:
    """Snapshot the data volume and wait until it is completed."""
    (made,) = ec2.create_snapshots(
        instance.id, boot=False, exclude_volume_ids=(), tags=tags, description="a test"
    )
    cloud.advance(MINUTE)
    (completed,) = ec2.snapshots_by_id([made.id])
    assert completed.state == "completed"
    return completed


def one(ec2: Ec2, instance_id: str) -> Instance:
    (instance,) = ec2.instances_by_id([instance_id])
    return instance


def failing(operation: str, code: str, status: int, count: int | None = None) -> Fault:
    return Fault(
        match=Match(service="ec2", operation=operation),
        effect=Effect(error=Error(code=code, status=status)),
        count=count,
    )


def test_an_instance_is_told_with_its_tags_and_volumes(cloud: Cloud, ec2: Ec2) -> None:
    (instance_id,) = launch(cloud, app="orders")
    instance = one(ec2, instance_id)
    assert instance.state == "running"
    assert instance.tags == {"app": "orders"}
    assert instance.availability_zone.startswith(HOME)
    assert [(volume.device, volume.boot) for volume in instance.volumes] == [
        ("/dev/sda1", True),
        ("/dev/sdf", False),
    ]


def test_every_page_of_instances_is_read(cloud: Cloud, ec2: Ec2, monkeypatch: pytest.MonkeyPatch) -> None:
    launched = [instance_id for _ in range(7) for instance_id in launch(cloud, app="orders")]
    launch(cloud, app="billing")
    monkeypatch.setattr("chalicelib.aws.ec2.PAGE", 5)
    cloud.calls.clear()
    found = {instance.id for instance in ec2.instances([("tag:app", ["orders"])])}
    assert found == set(launched)
    assert cloud.calls.by_operation()["ec2"]["DescribeInstances"] == 2


def test_missing_and_terminated_instances_are_left_out(cloud: Cloud, ec2: Ec2) -> None:
    gone, there = launch(cloud, 2)
    cloud.client("ec2", HOME).terminate_instances(InstanceIds=[gone])
    cloud.advance(MINUTE)
    found = ec2.instances_by_id([gone, "i-0123456789abcdef0", there])
    assert [instance.id for instance in found] == [there]
    assert ec2.instances_by_id([]) == []


def test_snapshots_carry_their_tags_from_the_creating_call_and_are_pending(cloud: Cloud, ec2: Ec2) -> None:
    (instance_id,) = launch(cloud)
    made = ec2.create_snapshots(
        instance_id, boot=True, exclude_volume_ids=(), tags=TAGS, description="a test"
    )
    assert {each.state for each in made} == {"pending"}
    assert all(each.tags == TAGS | OWN for each in made)
    assert {each.volume_id for each in made} == {volume.volume_id for volume in one(ec2, instance_id).volumes}
    assert {each.id for each in ec2.snapshots_described("a test")} == {each.id for each in made}


def test_the_boot_volume_and_excluded_volumes_take_no_part(cloud: Cloud, ec2: Ec2) -> None:
    (instance_id,) = launch(cloud)
    extra = cloud.client("ec2", HOME).create_volume(
        AvailabilityZone=one(ec2, instance_id).availability_zone, Size=1
    )["VolumeId"]
    cloud.advance(MINUTE)
    cloud.client("ec2", HOME).attach_volume(InstanceId=instance_id, VolumeId=extra, Device="/dev/sdg")
    made = ec2.create_snapshots(
        instance_id, boot=False, exclude_volume_ids=[extra], tags=TAGS, description="a test"
    )
    devices = {volume.volume_id: volume.device for volume in one(ec2, instance_id).volumes}
    assert [devices[each.volume_id] for each in made] == ["/dev/sdf"]


@pytest.mark.parametrize("value", ["*", "rp-?", "a\\b", "rp-1*"])
def test_a_description_is_never_taken_as_a_wildcard(cloud: Cloud, ec2: Ec2, value: str) -> None:
    (instance_id,) = launch(cloud)
    for text in ("rp-1", value):
        ec2.create_snapshots(
            instance_id, boot=False, exclude_volume_ids=(), tags=TAGS, description=f"{text} and more"
        )
    assert {each.description for each in ec2.snapshots_described(value)} == {f"{value} and more"}


def test_a_copy_is_tagged_in_the_other_region_and_completes(cloud: Cloud, ec2: Ec2, away: Ec2) -> None:
    (instance_id,) = launch(cloud)
    source = snapshot(cloud, ec2, one(ec2, instance_id))
    copy_id = away.copy_snapshot(HOME, source.id, tags=TAGS, kms_key=None, description="a copy")
    (pending,) = away.snapshots_described("a copy")
    assert (pending.id, pending.state, pending.tags) == (copy_id, "pending", TAGS | OWN)
    cloud.advance(MINUTE)
    assert [each.state for each in away.snapshots_by_id([copy_id])] == ["completed"]


def test_deleting_a_snapshot_that_is_gone_is_fine(cloud: Cloud, ec2: Ec2) -> None:
    (instance_id,) = launch(cloud)
    made = snapshot(cloud, ec2, one(ec2, instance_id))
    ec2.delete_snapshot(made.id)
    ec2.delete_snapshot(made.id)
    assert ec2.snapshots_by_id([made.id]) == []


def test_a_snapshot_that_an_image_uses_is_not_deleted(cloud: Cloud, ec2: Ec2) -> None:
    (instance_id,) = launch(cloud)
    made = snapshot(cloud, ec2, one(ec2, instance_id))
    cloud.client("ec2", HOME).register_image(
        Name="from-snapshot",
        RootDeviceName="/dev/sda1",
        BlockDeviceMappings=[{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": made.id}}],
    )
    with pytest.raises(SnapshotInUse, match=made.id):
        ec2.delete_snapshot(made.id)


def test_one_client_token_makes_one_volume(cloud: Cloud, ec2: Ec2) -> None:
    (instance_id,) = launch(cloud)
    instance = one(ec2, instance_id)
    source = snapshot(cloud, ec2, instance)

    def make() -> str:
        return ec2.create_volume(
            source.id,
            instance.availability_zone,
            VolumeSpec(20, "gp3", 4000, 250),
            tags={"farshore:job": "job-2"},
            client_token="job-2",
        ).id

    volume_id = make()
    assert make() == volume_id
    cloud.advance(MINUTE)
    (volume,) = ec2.volumes([volume_id])
    assert (volume.id, volume.state, volume.size_gib, volume.type) == (volume_id, "available", 20, "gp3")
    assert (volume.iops, volume.throughput, volume.multi_attach) == (4000, 250, False)
    assert volume.snapshot_id == source.id


def test_a_volume_that_another_deployment_made_for_a_job_of_the_same_id_is_not_found(
    cloud: Cloud, ec2: Ec2, clients: Clients
) -> None:
    other = Ec2(clients.ec2(), HOME, unretried=clients.ec2(retries=False), own={"farshore:deployment": "x"})
    (instance_id,) = launch(cloud)
    instance = one(ec2, instance_id)
    source = snapshot(cloud, ec2, instance)
    made = [
        each.create_volume(
            source.id, instance.availability_zone, VolumeSpec(10, "gp3"), tags=TAGS, client_token=token
        ).id
        for token, each in (("ours", ec2), ("theirs", other))
    ]
    cloud.advance(MINUTE)
    assert [each.id for each in ec2.volumes_tagged("farshore:job", "job-1")] == made[:1]
    assert [other.is_foreign(volume.tags) for volume in ec2.volumes(made[:1])] == [True]


def test_a_volume_is_attached_detached_and_deleted(cloud: Cloud, ec2: Ec2) -> None:
    (instance_id,) = launch(cloud)
    instance = one(ec2, instance_id)
    source = snapshot(cloud, ec2, instance)
    made = ec2.create_volume(
        source.id, instance.availability_zone, VolumeSpec(10, "gp3"), tags=TAGS, client_token="attached"
    ).id
    with pytest.raises(Conflict, match="IncorrectState"):
        ec2.attach_volume(made, instance_id, "/dev/sdg")
    cloud.advance(MINUTE)
    with pytest.raises(Permanent, match="Attachment point /dev/sdf is already in use"):
        ec2.attach_volume(made, instance_id, "/dev/sdf")
    ec2.attach_volume(made, instance_id, "/dev/sdg")
    assert ec2.volumes([made])[0].attachments == (Attachment(instance_id, "/dev/sdg", "attaching"),)
    with pytest.raises(Conflict, match="VolumeInUse"):
        ec2.attach_volume(made, instance_id, "/dev/sdg")
    cloud.advance(MINUTE)
    assert ec2.volumes([made])[0].attachments == (Attachment(instance_id, "/dev/sdg", "attached"),)
    with pytest.raises(Conflict, match="VolumeInUse"):
        ec2.delete_volume(made)
    for _ in range(2):
        ec2.detach_volume(made, instance_id)
    assert ec2.volumes([made])[0].attachments == (Attachment(instance_id, "/dev/sdg", "detaching"),)
    cloud.advance(MINUTE)
    assert ec2.volumes([made])[0].attachments == ()
    for _ in range(2):
        ec2.detach_volume(made, instance_id)
        ec2.delete_volume(made)
    assert ec2.volumes([made]) == []


def test_a_volume_of_another_zone_is_not_attached(cloud: Cloud, ec2: Ec2) -> None:
    (instance_id,) = launch(cloud)
    source = snapshot(cloud, ec2, one(ec2, instance_id))
    spec = VolumeSpec(10, "gp3")
    away = ec2.create_volume(source.id, f"{HOME}c", spec, tags=TAGS, client_token="elsewhere")
    cloud.advance(MINUTE)
    with pytest.raises(Permanent, match=r"InvalidVolume\.ZoneMismatch"):
        ec2.attach_volume(away.id, instance_id, "/dev/sdg")


def test_a_volume_that_several_instances_may_have_shows_it(cloud: Cloud, ec2: Ec2) -> None:
    (instance_id,) = launch(cloud)
    instance = one(ec2, instance_id)
    source = snapshot(cloud, ec2, instance)
    spec = VolumeSpec(10, "io2", 500, multi_attach=True)
    made = ec2.create_volume(source.id, instance.availability_zone, spec, tags=TAGS, client_token="shared")
    (volume,) = ec2.volumes([made.id])
    assert (volume.type, volume.iops, volume.throughput, volume.multi_attach) == ("io2", 500, None, True)


def test_one_volume_is_snapshotted_by_itself(cloud: Cloud, ec2: Ec2) -> None:
    (instance_id,) = launch(cloud)
    volume = one(ec2, instance_id).volumes[-1].volume_id
    made = ec2.create_snapshot(volume, tags=TAGS, description="a test")
    cloud.advance(MINUTE)
    (shown,) = ec2.snapshots_by_id([made.id])
    assert (shown.volume_id, shown.description, shown.state) == (volume, "a test", "completed")
    assert shown.tags == TAGS | OWN


def test_a_volume_from_a_missing_snapshot_is_refused(ec2: Ec2) -> None:
    with pytest.raises(NotFound, match="snap-0123456789abcdef0"):
        ec2.create_volume(
            "snap-0123456789abcdef0", f"{HOME}a", VolumeSpec(1, "gp3"), tags=TAGS, client_token="x"
        )


def test_the_zones_are_the_regions(ec2: Ec2) -> None:
    zones = ec2.availability_zones()
    assert f"{HOME}a" in zones
    assert all(zone.startswith(HOME) for zone in zones)


def test_a_creating_call_whose_answer_is_lost_is_not_sent_again(cloud: Cloud, ec2: Ec2) -> None:
    (instance_id,) = launch(cloud)
    cloud.faults.replace([failing("CreateSnapshots", "InternalError", 500)])
    cloud.calls.clear()
    with pytest.raises(Unavailable, match=instance_id):
        ec2.create_snapshots(instance_id, boot=True, exclude_volume_ids=(), tags=TAGS, description="x")
    assert cloud.calls.by_operation()["ec2"]["CreateSnapshots"] == 1


def test_a_listing_that_fails_once_is_asked_again(cloud: Cloud, ec2: Ec2) -> None:
    cloud.faults.replace([failing("DescribeSnapshots", "InternalError", 500, count=1)])
    cloud.calls.clear()
    assert ec2.snapshots_described("none") == []
    assert cloud.calls.by_operation()["ec2"]["DescribeSnapshots"] == 2
