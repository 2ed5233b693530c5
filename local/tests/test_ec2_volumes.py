"""Volumes: created, attached, detached, deleted, and what is refused."""

from typing import Any

import pytest

from ec2_bench import HOME, Bench, refused

ZONE = HOME + "a"


def state(bench: Bench, volume_id: str) -> str:
    return str(bench.client().describe_volumes(VolumeIds=[volume_id])["Volumes"][0]["State"])


def attachment(bench: Bench, volume_id: str) -> str | None:
    [volume] = bench.client().describe_volumes(VolumeIds=[volume_id])["Volumes"]
    return next((each["State"] for each in volume["Attachments"]), None)


def test_volume_is_creating_for_a_while_and_then_told_available(bench: Bench) -> None:
    volume = bench.client().create_volume(Size=1, AvailabilityZone=ZONE)
    assert volume["State"] == state(bench, volume["VolumeId"]) == "creating"
    assert bench.events("EBS Volume Notification") == []
    bench.wait()
    assert state(bench, volume["VolumeId"]) == "available"
    ((region, event),) = bench.events("EBS Volume Notification")
    assert region == HOME
    assert event["resources"] == [f"arn:aws:ec2:{HOME}:123456789012:volume/{volume['VolumeId']}"]
    assert event["detail"]["event"] == "createVolume"
    assert event["detail"]["result"] == "available"


def test_same_client_token_creates_once_and_other_parameters_are_refused(bench: Bench) -> None:
    ec2 = bench.client()
    first = ec2.create_volume(Size=1, AvailabilityZone=ZONE, ClientToken="job-1")
    again = ec2.create_volume(Size=1, AvailabilityZone=ZONE, ClientToken="job-1")
    assert first["VolumeId"] == again["VolumeId"]
    assert len(ec2.describe_volumes()["Volumes"]) == 1
    code = refused(ec2.create_volume, Size=2, AvailabilityZone=ZONE, ClientToken="job-1")
    assert code == "IdempotentParameterMismatch"


def test_attached_volume_appears_in_the_instance_and_keeps_its_bytes_when_detached(bench: Bench) -> None:
    ec2 = bench.client()
    instance_id = bench.launch(data=0)
    volume_id = ec2.create_volume(Size=1, AvailabilityZone=ZONE)["VolumeId"]
    bench.wait()
    ec2.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device="/dev/sdf")
    assert (state(bench, volume_id), attachment(bench, volume_id)) == ("in-use", "attaching")
    bench.wait()
    assert attachment(bench, volume_id) == "attached"
    place = bench.ec2.directory(instance_id) / "volumes" / "sdf"
    (place / "rows").write_bytes(b"\x00\xff")
    assert (bench.ec2.volume_directory(volume_id) / "rows").read_bytes() == b"\x00\xff"
    ec2.detach_volume(VolumeId=volume_id)
    assert (state(bench, volume_id), attachment(bench, volume_id)) == ("in-use", "detaching")
    assert refused(ec2.detach_volume, VolumeId=volume_id) == "IncorrectState"
    assert refused(ec2.delete_volume, VolumeId=volume_id) == "VolumeInUse"
    bench.wait()
    assert (state(bench, volume_id), attachment(bench, volume_id)) == ("available", None)
    assert not place.exists()
    assert (bench.ec2.volume_directory(volume_id) / "rows").read_bytes() == b"\x00\xff"
    ec2.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device="/dev/sdg")
    assert (bench.ec2.directory(instance_id) / "volumes" / "sdg" / "rows").read_bytes() == b"\x00\xff"


def test_a_volume_of_an_instance_that_goes_is_detached_with_it(bench: Bench) -> None:
    ec2 = bench.client()
    instance_id = bench.launch(data=0)
    volumes = [ec2.create_volume(Size=1, AvailabilityZone=ZONE)["VolumeId"] for _ in range(2)]
    bench.wait()
    for volume_id, device in zip(volumes, ("/dev/sdf", "/dev/sdg"), strict=True):
        ec2.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device=device)
    ec2.terminate_instances(InstanceIds=[instance_id])
    ec2.detach_volume(VolumeId=volumes[0])
    bench.wait()
    assert [(state(bench, each), attachment(bench, each)) for each in volumes] == [("available", None)] * 2


def test_attachments_that_ec2_would_refuse_are_refused(bench: Bench) -> None:
    ec2 = bench.client()
    here, there = bench.launch(data=1), bench.launch(data=0, zone="b")
    attached = bench.volumes(here)["/dev/sdf"]
    fresh = ec2.create_volume(Size=1, AvailabilityZone=ZONE)["VolumeId"]
    attach = ec2.attach_volume
    assert refused(attach, VolumeId=fresh, InstanceId=here, Device="/dev/sdg") == "IncorrectState"
    bench.wait()
    assert refused(attach, VolumeId=attached, InstanceId=here, Device="/dev/sdg") == "VolumeInUse"
    assert (
        refused(attach, VolumeId=fresh, InstanceId=there, Device="/dev/sdg") == "InvalidVolume.ZoneMismatch"
    )
    assert refused(attach, VolumeId=fresh, InstanceId=here, Device="/dev/sdf") == "InvalidParameterValue"
    assert refused(attach, VolumeId=fresh, InstanceId=here, Device="../../etc") == "InvalidParameterValue"
    assert refused(attach, VolumeId="vol-0", InstanceId=here, Device="/dev/sdg") == "InvalidVolume.NotFound"
    assert refused(ec2.delete_volume, VolumeId=attached) == "VolumeInUse"
    assert refused(ec2.detach_volume, VolumeId=fresh) == "IncorrectState"
    assert refused(ec2.detach_volume, VolumeId=bench.volumes(here)["/dev/sda1"]) == "OperationNotPermitted"
    assert state(bench, fresh) == "available"


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"Size": 1, "AvailabilityZone": "eu-central-1z"}, "InvalidZone.NotFound"),
        ({"AvailabilityZone": ZONE}, "MissingParameter"),
        ({"Size": 0, "AvailabilityZone": ZONE}, "InvalidParameterValue"),
        ({"Size": 1, "AvailabilityZone": ZONE, "VolumeType": "gp9"}, "UnknownVolumeType"),
        ({"Size": 124, "AvailabilityZone": ZONE, "VolumeType": "st1"}, "InvalidParameterValue"),
        ({"Size": 1025, "AvailabilityZone": ZONE, "VolumeType": "standard"}, "InvalidParameterValue"),
        ({"Size": 4, "AvailabilityZone": ZONE, "VolumeType": "io2"}, "MissingParameter"),
        ({"Size": 4, "AvailabilityZone": ZONE, "VolumeType": "io1", "Iops": 201}, "InvalidParameterValue"),
        ({"Size": 4, "AvailabilityZone": ZONE, "VolumeType": "io2", "Iops": 99}, "InvalidParameterValue"),
        ({"Size": 6, "AvailabilityZone": ZONE, "VolumeType": "gp3", "Iops": 3001}, "InvalidParameterValue"),
        (
            {"Size": 9, "AvailabilityZone": ZONE, "VolumeType": "gp3", "Iops": 4000, "Throughput": 1001},
            "InvalidParameterValue",
        ),
        (
            {"Size": 9, "AvailabilityZone": ZONE, "VolumeType": "gp2", "Iops": 3000},
            "InvalidParameterCombination",
        ),
        (
            {"Size": 9, "AvailabilityZone": ZONE, "VolumeType": "gp3", "MultiAttachEnabled": True},
            "InvalidParameterCombination",
        ),
        ({"SnapshotId": "snap-0123456789abcdef0", "AvailabilityZone": ZONE}, "InvalidSnapshot.NotFound"),
        (
            {
                "Size": 1,
                "AvailabilityZone": ZONE,
                "TagSpecifications": [{"ResourceType": "snapshot", "Tags": [{"Key": "a", "Value": "b"}]}],
            },
            "InvalidParameterValue",
        ),
    ],
)
def test_creation_that_ec2_would_refuse_is_refused(
    bench: Bench, params: dict[str, Any], expected: str
) -> None:
    assert refused(bench.client().create_volume, **params) == expected
    assert bench.client().describe_volumes()["Volumes"] == []


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [
        ({"Size": 1}, ("gp2", 100, None)),
        ({"Size": 6000, "VolumeType": "gp2"}, ("gp2", 16_000, None)),
        ({"Size": 1, "VolumeType": "gp3"}, ("gp3", 3000, 125)),
        ({"Size": 8, "VolumeType": "gp3", "Iops": 4000, "Throughput": 1000}, ("gp3", 4000, 1000)),
        ({"Size": 4, "VolumeType": "io2", "Iops": 4000}, ("io2", 4000, None)),
        ({"Size": 125, "VolumeType": "st1"}, ("st1", None, None)),
    ],
)
def test_volume_shows_the_iops_and_throughput_it_has(
    bench: Bench, wanted: dict[str, Any], shown: tuple[str, int | None, int | None]
) -> None:
    made = bench.client().create_volume(AvailabilityZone=ZONE, **wanted)
    for volume in (made, bench.client().describe_volumes(VolumeIds=[made["VolumeId"]])["Volumes"][0]):
        assert (volume["VolumeType"], volume.get("Iops"), volume.get("Throughput")) == shown


def test_volume_from_a_snapshot_has_its_bytes_and_at_least_its_size(bench: Bench) -> None:
    ec2 = bench.client()
    instance_id = bench.launch(data=1)
    place = bench.ec2.directory(instance_id) / "volumes" / "sdf"
    (place / "rows").write_bytes(b"first")
    snapshot_id = ec2.create_snapshot(VolumeId=bench.volumes(instance_id)["/dev/sdf"])["SnapshotId"]
    pending = refused(ec2.create_volume, SnapshotId=snapshot_id, AvailabilityZone=ZONE)
    assert pending == "IncorrectState"
    (place / "rows").write_bytes(b"second")
    bench.wait()
    small = refused(ec2.create_volume, SnapshotId=snapshot_id, AvailabilityZone=ZONE, Size=9)
    assert small == "InvalidParameterValue"
    volume = ec2.create_volume(SnapshotId=snapshot_id, AvailabilityZone=ZONE)
    assert (volume["Size"], volume["SnapshotId"]) == (10, snapshot_id)
    assert (bench.ec2.volume_directory(volume["VolumeId"]) / "rows").read_bytes() == b"first"


def test_deleted_volume_is_gone_and_told(bench: Bench) -> None:
    ec2 = bench.client()
    volume_id = ec2.create_volume(Size=1, AvailabilityZone=ZONE)["VolumeId"]
    bench.wait()
    place = bench.ec2.volume_directory(volume_id)
    ec2.delete_volume(VolumeId=volume_id)
    assert not place.exists()
    assert refused(ec2.describe_volumes, VolumeIds=[volume_id]) == "InvalidVolume.NotFound"
    _, event = bench.events("EBS Volume Notification")[-1]
    assert (event["detail"]["event"], event["detail"]["result"]) == ("deleteVolume", "deleted")


def test_volumes_are_paged_and_filtered(bench: Bench) -> None:
    ec2 = bench.client()
    made = [ec2.create_volume(Size=size, AvailabilityZone=ZONE)["VolumeId"] for size in range(1, 13)]
    pages = list(ec2.get_paginator("describe_volumes").paginate(PaginationConfig={"PageSize": 5}))
    assert [len(page["Volumes"]) for page in pages] == [5, 5, 2]
    assert sorted(volume["VolumeId"] for page in pages for volume in page["Volumes"]) == sorted(made)
    found = ec2.describe_volumes(Filters=[{"Name": "size", "Values": ["3", "12"]}])["Volumes"]
    assert sorted(volume["Size"] for volume in found) == [3, 12]


def test_root_volume_of_a_stopped_instance_can_be_swapped(bench: Bench) -> None:
    ec2 = bench.client()
    instance_id = bench.launch(data=1)
    directory = bench.ec2.directory(instance_id)
    (directory / "etc").mkdir()
    (directory / "volumes" / "sdf" / "rows").write_bytes(b"data")
    root = bench.volumes(instance_id)["/dev/sda1"]
    ec2.stop_instances(InstanceIds=[instance_id])
    bench.wait()
    ec2.detach_volume(VolumeId=root)
    bench.wait()
    assert [path.name for path in directory.iterdir()] == ["volumes"]
    assert (bench.ec2.volume_directory(root) / "etc").is_dir()
    ec2.attach_volume(VolumeId=root, InstanceId=instance_id, Device="/dev/sda1")
    assert (directory / "etc").is_dir()
    assert (directory / "volumes" / "sdf" / "rows").read_bytes() == b"data"


def test_a_filter_of_ids_finds_them_on_the_first_page(bench: Bench) -> None:
    """A page is cut before it is filtered, but ids without wildcards are looked at alone."""
    ec2 = bench.client()
    made = [ec2.create_volume(Size=1, AvailabilityZone=ZONE)["VolumeId"] for _ in range(12)]

    def found(*values: str) -> tuple[list[str], bool]:
        answer = ec2.describe_volumes(Filters=[{"Name": "volume-id", "Values": values}], MaxResults=5)
        return [each["VolumeId"] for each in answer["Volumes"]], "NextToken" in answer

    for one in made:
        assert found(one) == ([one], False)
        assert found(one, "vol-none", f"\\{one}") == ([one], False)
    assert found("vol-none") == ([], False)
    shown, more = found("vol-*")
    assert (len(shown), more) == (5, True)
    both = [{"Name": "volume-id", "Values": made[:2]}, {"Name": "volume-id", "Values": made[1:3]}]
    assert [each["VolumeId"] for each in ec2.describe_volumes(Filters=both)["Volumes"]] == made[1:2]
