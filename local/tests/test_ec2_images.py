"""Images keep their snapshots in use."""

import pytest
from botocore.exceptions import ClientError

from ec2_bench import Bench, described, refused


def test_snapshot_that_an_image_uses_cannot_be_deleted_until_it_is_deregistered(bench: Bench) -> None:
    ec2 = bench.client()
    volume_id = bench.volumes(bench.launch())["/dev/sda1"]
    snapshot_id = ec2.create_snapshot(VolumeId=volume_id)["SnapshotId"]
    bench.wait()
    image_id = ec2.register_image(
        Name="golden",
        RootDeviceName="/dev/xvda",
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot_id}}],
    )["ImageId"]
    with pytest.raises(ClientError) as failure:
        ec2.delete_snapshot(SnapshotId=snapshot_id)
    assert failure.value.response["Error"] == {
        "Code": "InvalidSnapshot.InUse",
        "Message": f"The snapshot {snapshot_id} is currently in use by {image_id}",
    }
    ec2.deregister_image(ImageId=image_id)
    ec2.delete_snapshot(SnapshotId=snapshot_id)
    assert described(bench) == []


def test_image_of_an_instance_has_its_volumes_and_launches_their_bytes(bench: Bench) -> None:
    ec2 = bench.client()
    instance_id = bench.launch(data=1)
    directory = bench.ec2.directory(instance_id)
    (directory / "app").write_text("program")
    (directory / "volumes" / "sdf" / "rows").write_text("data")
    image_id = ec2.create_image(InstanceId=instance_id, Name="both")["ImageId"]
    assert ec2.describe_images(ImageIds=[image_id])["Images"][0]["State"] == "pending"
    bench.wait()
    (image,) = ec2.describe_images(Owners=["self"])["Images"]
    assert image["State"] == "available"
    used = {one["DeviceName"]: one["Ebs"]["SnapshotId"] for one in image["BlockDeviceMappings"]}
    assert set(used) == {"/dev/sda1", "/dev/sdf"}
    assert {one["SnapshotId"] for one in described(bench)} == set(used.values())
    assert refused(ec2.delete_snapshot, SnapshotId=used["/dev/sdf"]) == "InvalidSnapshot.InUse"
    launched = ec2.run_instances(ImageId=image_id, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    assert (bench.ec2.directory(launched) / "app").read_text() == "program"
    assert (bench.ec2.directory(launched) / "volumes" / "sdf" / "rows").read_text() == "data"


def test_name_of_an_image_is_used_once_and_unknown_snapshots_are_refused(bench: Bench) -> None:
    ec2 = bench.client()
    instance_id = bench.launch()
    ec2.create_image(InstanceId=instance_id, Name="twice")
    code = refused(ec2.create_image, InstanceId=instance_id, Name="twice")
    assert code == "InvalidAMIName.Duplicate"
    code = refused(
        ec2.register_image,
        Name="other",
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": "snap-0123456789abcdef0"}}],
    )
    assert code == "InvalidSnapshot.NotFound"
