"""Snapshots: taken at the call, pending for a while, told when they end; what is listed, refused, deleted."""

from datetime import timedelta
from typing import Any

from ec2_bench import HOME, TAGS, Bench, blobs, described, refused


def test_set_of_an_instance_is_pending_and_then_completes_with_one_event(bench: Bench) -> None:
    ec2 = bench.client()
    instance_id = bench.launch(data=2)
    volumes = bench.volumes(instance_id)
    started_at = bench.clock.now()
    answer = ec2.create_snapshots(
        InstanceSpecification={"InstanceId": instance_id}, TagSpecifications=TAGS, Description="all"
    )
    snapshots = answer["Snapshots"]
    assert {one["VolumeId"] for one in snapshots} == set(volumes.values())
    assert snapshots[0]["VolumeId"] == volumes["/dev/sda1"]
    assert {(one["State"], one["Progress"], one["OwnerId"]) for one in snapshots} == {
        ("pending", "", "123456789012")
    }
    assert all(one["Tags"] == TAGS[0]["Tags"] for one in snapshots)
    bench.wait(2)
    listed = described(bench, OwnerIds=["self"])
    assert {one["State"] for one in listed} == {"pending"}
    assert all(40 <= int(one["Progress"].removesuffix("%")) < 100 for one in listed)
    assert all(one["StartTime"] - started_at < timedelta(minutes=1) for one in listed)
    assert bench.events("EBS Multi-Volume Snapshots Completion Status") == []
    bench.wait()
    listed = described(bench, OwnerIds=["self"])
    assert {(one["State"], one["Progress"]) for one in listed} == {("completed", "100%")}
    ((region, event),) = bench.events("EBS Multi-Volume Snapshots Completion Status")
    assert bench.events("EBS Snapshot Notification") == []
    assert region == HOME
    detail = event["detail"]
    assert (detail["event"], detail["result"], detail["cause"]) == ("createSnapshots", "succeeded", "")
    assert detail["startTime"] < detail["endTime"]
    assert detail["snapshots"] == [
        {
            "snapshot_id": f"arn:aws:ec2::{HOME}:snapshot/{one['SnapshotId']}",
            "source": f"arn:aws:ec2::{HOME}:volume/{one['VolumeId']}",
            "status": "completed",
        }
        for one in snapshots
    ]
    assert event["resources"] == [one["snapshot_id"] for one in detail["snapshots"]]


def test_single_snapshot_is_told_in_its_own_shape(bench: Bench) -> None:
    instance_id = bench.launch()
    volume_id = bench.volumes(instance_id)["/dev/sdf"]
    snapshot_id = bench.client().create_snapshot(VolumeId=volume_id)["SnapshotId"]
    bench.wait()
    ((_, event),) = bench.events("EBS Snapshot Notification")
    arn = f"arn:aws:ec2::{HOME}:snapshot/{snapshot_id}"
    assert event["source"] == "aws.ec2"
    assert event["resources"] == [arn]
    assert (
        event["detail"].items()
        >= {
            "event": "createSnapshot",
            "result": "succeeded",
            "cause": "",
            "request-id": "",
            "snapshot_id": arn,
            "source": f"arn:aws:ec2::{HOME}:volume/{volume_id}",
        }.items()
    )


def test_boot_volume_and_named_data_volumes_are_left_out(bench: Bench) -> None:
    ec2 = bench.client()
    instance_id = bench.launch(data=3)
    volumes = bench.volumes(instance_id)

    def taken(**more: Any) -> set[str]:
        answer = ec2.create_snapshots(InstanceSpecification={"InstanceId": instance_id, **more})
        return {one["VolumeId"] for one in answer["Snapshots"]}

    data = {volumes[f"/dev/sd{letter}"] for letter in "fgh"}
    assert taken(ExcludeBootVolume=True) == data
    assert taken(ExcludeBootVolume=True, ExcludeDataVolumeIds=[volumes["/dev/sdg"]]) == data - {
        volumes["/dev/sdg"]
    }
    bench.wait()
    before = len(described(bench))

    def not_taken(**more: Any) -> str:
        return refused(ec2.create_snapshots, InstanceSpecification={"InstanceId": instance_id, **more})

    assert not_taken(ExcludeDataVolumeIds=[volumes["/dev/sda1"]]) == "InvalidParameterValue"
    assert not_taken(ExcludeDataVolumeIds=[f"vol-{n:08x}" for n in range(41)]) == "InvalidParameterValue"
    assert not_taken(ExcludeBootVolume=True, ExcludeDataVolumeIds=list(data)) == "InvalidParameterValue"
    assert len(described(bench)) == before


def test_tags_of_the_volume_are_copied_on_request_and_those_of_the_call_win(bench: Bench) -> None:
    ec2 = bench.client()
    instance_id = bench.launch(
        TagSpecifications=[
            {
                "ResourceType": "volume",
                "Tags": [{"Key": "farm", "Value": "south"}, {"Key": "crop", "Value": "rye"}],
            }
        ]
    )
    answer = ec2.create_snapshots(
        InstanceSpecification={"InstanceId": instance_id, "ExcludeBootVolume": True},
        TagSpecifications=TAGS,
        CopyTagsFromSource="volume",
    )
    tags = {tag["Key"]: tag["Value"] for tag in answer["Snapshots"][0]["Tags"]}
    assert tags == {"farm": "north", "crop": "rye"}


def test_too_many_or_reserved_tags_make_no_snapshot(bench: Bench) -> None:
    ec2 = bench.client()
    volume_id = bench.volumes(bench.launch())["/dev/sdf"]

    def tagged(*keys: str) -> list[dict[str, Any]]:
        return [{"ResourceType": "snapshot", "Tags": [{"Key": key, "Value": "v"} for key in keys]}]

    many = tagged(*(f"k{n}" for n in range(51)))
    assert refused(ec2.create_snapshot, VolumeId=volume_id, TagSpecifications=many) == "TagLimitExceeded"
    reserved = tagged("aws:mine")
    assert (
        refused(ec2.create_snapshot, VolumeId=volume_id, TagSpecifications=reserved)
        == "InvalidParameterValue"
    )
    assert described(bench) == []


def test_unknown_instance_and_volume_are_refused(bench: Bench) -> None:
    ec2 = bench.client()
    missing = {"InstanceId": "i-0123456789abcdef0"}
    assert refused(ec2.create_snapshots, InstanceSpecification=missing) == "InvalidInstanceID.NotFound"
    assert refused(ec2.create_snapshot, VolumeId="vol-0123456789abcdef0") == "InvalidVolume.NotFound"


def test_sixth_pending_snapshot_of_a_volume_is_refused_deleted_or_not(bench: Bench) -> None:
    ec2 = bench.client()
    instance_id = bench.launch(data=2)
    full = bench.volumes(instance_id)["/dev/sdf"]
    made = [ec2.create_snapshot(VolumeId=full)["SnapshotId"] for _ in range(5)]
    assert refused(ec2.create_snapshot, VolumeId=full) == "ConcurrentSnapshotLimitExceeded"
    ec2.delete_snapshot(SnapshotId=made[0])
    whole = {"InstanceId": instance_id}
    assert refused(ec2.create_snapshots, InstanceSpecification=whole) == "ConcurrentSnapshotLimitExceeded"
    assert len(described(bench)) == 4
    bench.wait()
    assert len(ec2.create_snapshots(InstanceSpecification=whole)["Snapshots"]) == 3


def test_cold_volume_has_one_pending_snapshot_at_a_time(bench: Bench) -> None:
    ec2 = bench.client()
    volume_id = ec2.create_volume(Size=125, VolumeType="sc1", AvailabilityZone=HOME + "a")["VolumeId"]
    ec2.create_snapshot(VolumeId=volume_id)
    assert refused(ec2.create_snapshot, VolumeId=volume_id) == "ConcurrentSnapshotLimitExceeded"


def test_hundred_and_first_pending_snapshot_of_the_account_is_refused(bench: Bench) -> None:
    ec2 = bench.client()
    for _ in range(20):
        volume_id = ec2.create_volume(Size=1, AvailabilityZone=HOME + "a")["VolumeId"]
        for _ in range(5):
            ec2.create_snapshot(VolumeId=volume_id)
    volume_id = ec2.create_volume(Size=1, AvailabilityZone=HOME + "a")["VolumeId"]
    assert refused(ec2.create_snapshot, VolumeId=volume_id) == "PendingSnapshotLimitExceeded"


def test_set_fails_as_a_whole_when_one_fails(bench: Bench) -> None:
    ec2 = bench.client()
    instance_id = bench.launch(data=2)
    bad = bench.volumes(instance_id)["/dev/sdg"]
    bench.ec2.fail(bad, "The storage behind it is broken")
    ec2.create_snapshots(InstanceSpecification={"InstanceId": instance_id})
    bench.wait()
    listed = described(bench)
    assert {one["State"] for one in listed} == {"error"}
    (told,) = [one for one in listed if one["VolumeId"] == bad]
    assert told["StateMessage"] == "The storage behind it is broken"
    ((_, event),) = bench.events("EBS Multi-Volume Snapshots Completion Status")
    assert event["detail"]["result"] == "failed"
    assert event["detail"]["cause"] == f"Snapshot {told['SnapshotId']} is in status error"
    assert {one["status"] for one in event["detail"]["snapshots"]} == {"error"}


def test_owners_ids_and_filters_choose(bench: Bench) -> None:
    ec2 = bench.client()
    volumes = bench.volumes(bench.launch(data=2))
    first = ec2.create_snapshot(VolumeId=volumes["/dev/sdf"], TagSpecifications=TAGS)["SnapshotId"]
    bench.wait()
    second = ec2.create_snapshot(VolumeId=volumes["/dev/sdg"])["SnapshotId"]

    def ids(**params: Any) -> set[str]:
        return {one["SnapshotId"] for one in described(bench, **params)}

    def filtered(name: str, *values: str) -> set[str]:
        return ids(Filters=[{"Name": name, "Values": list(values)}])

    assert ids() == ids(OwnerIds=["self"]) == ids(OwnerIds=["123456789012", "amazon"]) == {first, second}
    assert ids(OwnerIds=["amazon"]) == ids(OwnerIds=["210987654321"]) == set()
    assert ids(SnapshotIds=[first]) == {first}
    assert (
        filtered("tag:farm", "n*h")
        == filtered("tag-key", "farm")
        == filtered("status", "completed")
        == {first}
    )
    assert filtered("status", "pending") == filtered("volume-id", volumes["/dev/sdg"]) == {second}
    assert filtered("start-time", "2026-03-01T*") == {first, second}
    assert (
        refused(ec2.describe_snapshots, SnapshotIds=["snap-0123456789abcdef0"]) == "InvalidSnapshot.NotFound"
    )
    assert refused(ec2.describe_snapshots, SnapshotIds=[first, "oops"]) == "InvalidParameterValue"
    assert refused(ec2.describe_snapshots, SnapshotIds=[first], MaxResults=5) == "InvalidParameterCombination"
    assert refused(ec2.describe_snapshots, MaxResults=4) == "InvalidParameterValue"


def test_deletion_between_pages_skips_nothing(bench: Bench) -> None:
    ec2 = bench.client()
    volume_id = bench.volumes(bench.launch())["/dev/sdf"]
    made = []
    for _ in range(12):
        made.append(ec2.create_snapshot(VolumeId=volume_id)["SnapshotId"])
        bench.wait()
    page = ec2.describe_snapshots(MaxResults=5)
    seen = [one["SnapshotId"] for one in page["Snapshots"]]
    for one in seen:
        ec2.delete_snapshot(SnapshotId=one)
    while token := page.get("NextToken"):
        page = ec2.describe_snapshots(MaxResults=5, NextToken=token)
        seen += [one["SnapshotId"] for one in page["Snapshots"]]
    assert seen == made


def test_deleted_pending_snapshot_is_never_told_and_leaves_no_bytes(bench: Bench) -> None:
    ec2 = bench.client()
    instance_id = bench.launch()
    (bench.ec2.directory(instance_id) / "volumes" / "sdf" / "rows").write_bytes(b"rows")
    snapshot_id = ec2.create_snapshot(VolumeId=bench.volumes(instance_id)["/dev/sdf"])["SnapshotId"]
    assert len(blobs(bench)) == 1
    ec2.delete_snapshot(SnapshotId=snapshot_id)
    bench.wait()
    assert bench.events("EBS Snapshot Notification") == []
    assert blobs(bench) == []
    assert refused(ec2.delete_snapshot, SnapshotId=snapshot_id) == "InvalidSnapshot.NotFound"


def test_boot_snapshot_holds_the_instance_without_its_data_volumes(bench: Bench) -> None:
    ec2 = bench.client()
    instance_id = bench.launch()
    directory = bench.ec2.directory(instance_id)
    (directory / "app").write_text("program")
    (directory / "volumes" / "sdf" / "rows").write_text("data")
    snapshot_id = ec2.create_snapshot(VolumeId=bench.volumes(instance_id)["/dev/sda1"])["SnapshotId"]
    bench.wait()
    volume = ec2.create_volume(SnapshotId=snapshot_id, AvailabilityZone=HOME + "a")
    restored = bench.ec2.volume_directory(volume["VolumeId"])
    assert [path.name for path in restored.iterdir()] == ["app"]
