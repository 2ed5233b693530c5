"""Copies between regions."""

from typing import Any

from ec2_bench import AWAY, HOME, TAGS, Bench, blobs, described, refused


def snapshot(bench: Bench, content: bytes = b"rows") -> str:
    """Make a complete snapshot at home."""
    instance_id = bench.launch()
    (bench.ec2.directory(instance_id) / "volumes" / "sdf" / "rows").write_bytes(content)
    volume_id = bench.volumes(instance_id)["/dev/sdf"]
    made = bench.client().create_snapshot(VolumeId=volume_id, TagSpecifications=TAGS)
    bench.wait()
    return str(made["SnapshotId"])


def copy(bench: Bench, source: str, **more: Any) -> str:
    answer = bench.client(AWAY).copy_snapshot(SourceRegion=HOME, SourceSnapshotId=source, **more)
    return str(answer["SnapshotId"])


def copies_told(bench: Bench) -> list[tuple[str, dict[str, Any]]]:
    events = bench.events("EBS Snapshot Notification")
    return [(region, one["detail"]) for region, one in events if one["detail"]["event"] == "copySnapshot"]


def test_copy_is_pending_and_then_told_in_the_destination_region(bench: Bench) -> None:
    source = snapshot(bench)
    made = copy(bench, source, Description="away")
    (seen,) = described(bench, AWAY, OwnerIds=["self"])
    assert (seen["SnapshotId"], seen["State"], seen["VolumeId"]) == (made, "pending", "vol-ffffffff")
    assert (seen["VolumeSize"], seen["Description"]) == (10, "away")
    assert "Tags" not in seen
    bench.wait()
    assert described(bench, AWAY)[0]["State"] == "completed"
    ((region, detail),) = copies_told(bench)
    assert region == AWAY
    assert (
        detail.items()
        >= {
            "result": "succeeded",
            "cause": "",
            "snapshot_id": f"arn:aws:ec2::{AWAY}:snapshot/{made}",
            "source": f"arn:aws:ec2::{HOME}:snapshot/{source}",
            "incremental": "false",
            "transferType": "standard",
        }.items()
    )


def test_copy_has_the_tags_of_the_call_and_the_bytes_of_the_source_though_that_goes(bench: Bench) -> None:
    source = snapshot(bench, b"\x00precious")
    made = copy(
        bench, source, TagSpecifications=[{"ResourceType": "snapshot", "Tags": [{"Key": "a", "Value": "b"}]}]
    )
    bench.wait()
    assert described(bench, AWAY)[0]["Tags"] == [{"Key": "a", "Value": "b"}]
    bench.client().delete_snapshot(SnapshotId=source)
    volume = bench.client(AWAY).create_volume(SnapshotId=made, AvailabilityZone=AWAY + "a")
    assert (bench.ec2.volume_directory(volume["VolumeId"]) / "rows").read_bytes() == b"\x00precious"
    bench.client(AWAY).delete_snapshot(SnapshotId=made)
    stored = [path.read_bytes() for path in blobs(bench)]
    assert stored == []


def test_second_copy_of_a_line_is_incremental(bench: Bench) -> None:
    instance_id = bench.launch()
    volume_id = bench.volumes(instance_id)["/dev/sdf"]
    for _ in range(2):
        source = bench.client().create_snapshot(VolumeId=volume_id)["SnapshotId"]
        bench.wait()
        copy(bench, source)
        bench.wait()
    assert [detail["incremental"] for _, detail in copies_told(bench)] == ["false", "true"]


def test_twenty_first_copy_at_once_is_refused_in_ec2s_words(bench: Bench) -> None:
    source = snapshot(bench)
    for _ in range(20):
        copy(bench, source)
    ec2 = bench.client(AWAY)
    code = refused(ec2.copy_snapshot, SourceRegion=HOME, SourceSnapshotId=source)
    assert code == "ResourceLimitExceeded"
    bench.client("us-east-1").copy_snapshot(SourceRegion=HOME, SourceSnapshotId=source)
    bench.wait()
    copy(bench, source)


def test_pending_source_is_refused_and_an_unknown_one_fails_later(bench: Bench) -> None:
    volume_id = bench.volumes(bench.launch())["/dev/sdf"]
    pending = bench.client().create_snapshot(VolumeId=volume_id)["SnapshotId"]
    ec2 = bench.client(AWAY)
    assert refused(ec2.copy_snapshot, SourceRegion=HOME, SourceSnapshotId=pending) == "IncorrectState"
    made = copy(bench, "snap-0123456789abcdef0")
    bench.wait()
    (seen,) = described(bench, AWAY, SnapshotIds=[made])
    assert (seen["State"], seen["StateMessage"]) == ("error", "Source snapshot ID is not valid")
    ((region, detail),) = copies_told(bench)
    assert (region, detail["result"], detail["cause"]) == (AWAY, "failed", "Source snapshot ID is not valid")
    assert "incremental" not in detail


def test_copy_whose_source_is_deleted_meanwhile_fails(bench: Bench) -> None:
    source = snapshot(bench)
    copy(bench, source)
    bench.client().delete_snapshot(SnapshotId=source)
    bench.wait()
    assert described(bench, AWAY)[0]["State"] == "error"


def test_copy_fails_on_demand(bench: Bench) -> None:
    source = snapshot(bench)
    bench.ec2.fail(source, "Given key ID is not accessible")
    copy(bench, source)
    bench.wait()
    assert described(bench, AWAY)[0]["StateMessage"] == "Given key ID is not accessible"


def test_key_needs_encryption_and_makes_the_copy_encrypted(bench: Bench) -> None:
    source = snapshot(bench)
    key = f"arn:aws:kms:{AWAY}:123456789012:key/0a0b0c0d"
    ec2 = bench.client(AWAY)
    code = refused(ec2.copy_snapshot, SourceRegion=HOME, SourceSnapshotId=source, KmsKeyId=key)
    assert code == "InvalidParameterDependency"
    with_key = copy(bench, source, Encrypted=True, KmsKeyId=key)
    without = copy(bench, source, Encrypted=True)
    (given,) = described(bench, AWAY, SnapshotIds=[with_key])
    (default,) = described(bench, AWAY, SnapshotIds=[without])
    assert (given["Encrypted"], given["KmsKeyId"]) == (True, key)
    assert default["KmsKeyId"].startswith(f"arn:aws:kms:{AWAY}:")
