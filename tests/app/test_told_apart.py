"""What is restored can be told apart, is as it was, and a point says what was really taken."""

import json
from typing import Any

import pytest

from stage import DR_REGION, HOME_REGION
from tests.support.deployment import Deployment, Document, snapshot_rule

DATA = {"boot": False, "exclude_tags": {"scratch": "yes"}}
ZONE = f"{HOME_REGION}a"
DR_ZONE = f"{DR_REGION}a"
COPIED = snapshot_rule(volumes=DATA, copies=[{"vault": "dr"}])


def volumes_of(app: Deployment, instance: str) -> dict[str, str]:
    """Return the data volume at each device of an instance."""
    found = app.ec2().describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
    return {
        each["DeviceName"]: each["Ebs"]["VolumeId"]
        for each in found["BlockDeviceMappings"]
        if each["DeviceName"] != found["RootDeviceName"]
    }


def tags_of(resource: Document) -> dict[str, str]:
    """Return the tags that say where a snapshot or volume comes from."""
    prefix = "farshore:source-"
    tags = {each["Key"]: each["Value"] for each in resource["Tags"]}
    return {key.removeprefix(prefix): value for key, value in tags.items() if key.startswith(prefix)}


def manifest_of(app: Deployment, point: Document, vault: str) -> Document:
    """Read the manifest of a point in a vault."""
    (key,) = (key for key in app.keys(vault) if key.endswith(f"-{point['id']}/manifest.json"))
    document: Document = json.loads(app.read(vault, key))
    return document


def backed_up(app: Deployment, rule: Document = COPIED, **more: Any) -> Document:
    """Back up and copy by a rule; answer the point."""
    app.put_plan("orders", rule)
    job = app.back_up("orders", **more)
    app.pass_time(minutes=4)
    assert app.job(job)["state"] == "COMPLETED", app.job(job)["reason"]
    return app.point(app.job(job)["recovery_point"])


def new_volume(app: Deployment, **wanted: Any) -> str:
    """Make a volume that is attached to nothing."""
    tags = [{"Key": key, "Value": value} for key, value in wanted.pop("tags", {}).items()]
    specification = [{"ResourceType": "volume", "Tags": tags}] if tags else []
    wanted = {"Size": 1, "AvailabilityZone": ZONE, **wanted}
    volume = app.ec2().create_volume(**wanted, TagSpecifications=specification)
    app.pass_time(seconds=15)
    return str(volume["VolumeId"])


def attach(app: Deployment, volume: str, instance: str, device: str) -> None:
    app.ec2().attach_volume(VolumeId=volume, InstanceId=instance, Device=device)


def test_equal_volumes_of_two_instances_are_told_apart_when_the_home_region_is_dark(app: Deployment) -> None:
    instances = [app.run_instance("orders", volumes=2) for _ in range(2)]
    sources = {}
    for instance in instances:
        for device, volume in volumes_of(app, instance).items():
            sources[volume] = {"instance": instance, "device": device, "volume": volume}
            (app.cloud.ec2.volume_directory(volume) / "whose").write_text(volume)
    point = backed_up(app)

    originals = {each["VolumeId"]: tags_of(each) for each in app.snapshots().values()}
    assert originals.keys() == sources.keys()
    for volume, tags in originals.items():
        assert tags["instance"] == sources[volume]["instance"]
        assert f"{sources[volume]['device']}={volume}" in tags["devices"].split()
    copies = {
        snapshot: {name: value for name, value in tags_of(each).items() if name != "snapshot"}
        for snapshot, each in app.snapshots("dr").items()
    }
    assert sorted(map(str, copies.values())) == sorted(map(str, map(sorted_as_tags, sources.values())))
    listed = {
        each["snapshot_id"]: (each["instance_id"], each["device"], each["volume_id"], each["region"])
        for each in manifest_of(app, point, "dr")["snapshots"]
    }
    assert listed == {
        snapshot: (tags["instance"], tags["device"], tags["volume"], DR_REGION)
        for snapshot, tags in copies.items()
    }

    gone = {"code": "AccessDenied", "status": 403}
    app.faults(
        {"match": {"service": "s3", "resource": "farshore-vault-home"}, "effect": {"error": gone}},
        {"match": {"service": "ec2", "resource": f"/{HOME_REGION}/ec2/"}, "effect": {"error": gone}},
    )
    body = {"recovery_point": point["id"], "vault": "dr", "target": {"availability_zone": DR_ZONE}}
    would = app.ask("POST", "/restores", {**body, "dry_run": True}, status=200).document["would"]
    answer = app.ask("POST", "/restores", body, status=202).document
    app.pass_time(minutes=3)
    app.faults()
    job = app.job(answer["jobs"][0])
    assert job["state"] == "COMPLETED", job["reason"]
    assert would["volumes"] == answer["volumes"]
    assert (answer["volume_count"], len(answer["volumes"])) == (4, 4)
    assert [{k: v for k, v in each.items() if k != "volume"} for each in job["volumes"]] == answer["volumes"]
    restored = app.restored_volumes("dr")
    assert {each["source"]["volume"]: each["source"] for each in job["volumes"]} == sources
    for each in job["volumes"]:
        assert copies[each["snapshot"]] == sorted_as_tags(each["source"])
        volume = each["volume"]
        whose = (app.cloud.ec2.volume_directory(volume) / "whose").read_text()
        assert whose == each["source"]["volume"]
        assert tags_of(restored[volume]) == {**each["source"], "snapshot": each["snapshot"]}
    assert app.discrepancies() == []


def sorted_as_tags(source: Document) -> Document:
    """Order a source's keys as EC2 shows tags."""
    return dict(sorted(source.items()))


def test_volumes_are_restored_with_the_type_and_performance_they_had(app: Deployment) -> None:
    instance = app.run_instance("orders", volumes=0)
    fast = new_volume(app, Size=8, VolumeType="io2", Iops=700)
    wide = new_volume(app, Size=8, VolumeType="gp3", Iops=4000, Throughput=300)
    attach(app, fast, instance, "/dev/sdf")
    attach(app, wide, instance, "/dev/sdg")
    point = backed_up(app)
    for vault, zone in (("primary", ZONE), ("dr", DR_ZONE)):
        job = app.job(app.restore(point, vault, availability_zone=zone))
        app.pass_time(minutes=1)
        assert [each["differs"] for each in app.job(job["id"])["volumes"]] == [[], []]
        shown = [
            (each["Size"], each["VolumeType"], each["Iops"], each.get("Throughput"))
            for each in app.restored_volumes(vault).values()
        ]
        assert sorted(shown, key=str) == [(8, "gp3", 4000, 300), (8, "io2", 700, None)]


def test_what_a_restore_makes_otherwise_is_said_for_each_volume(app: Deployment) -> None:
    instance = app.run_instance("orders", volumes=0)
    fast = new_volume(app, Size=8, VolumeType="io2", Iops=700)
    attach(app, fast, instance, "/dev/sdf")
    point = backed_up(app, snapshot_rule(volumes=DATA))
    target = {"availability_zone": ZONE, "type": "gp3", "size": 10, "throughput": 200}
    job = app.restore(point, "primary", **target)
    app.pass_time(minutes=1)
    (volume,) = app.job(job)["volumes"]
    (shown,) = app.restored_volumes().values()
    assert shown["VolumeId"] == volume["volume"]
    made = ("gp3", 10, 3000, 200)
    assert (shown["VolumeType"], shown["Size"], shown["Iops"], shown["Throughput"]) == made
    assert (volume["type"], volume["size"], volume["iops"], volume["throughput"]) == made
    assert volume["differs"] == [
        "size is 10 instead of 8, as asked for",
        "type is gp3 instead of io2, as asked for",
        "iops is 3000 instead of 700, as gp3 takes no more and no less",
        "throughput is 200 instead of not set, as asked for",
    ]
    assert app.job(job)["target"] == target


def much_left_out(app: Deployment) -> tuple[str, dict[str, str]]:
    """Run an instance with 41 scratch volumes and two others; answer it, and the two by device."""
    letters = [f"/dev/sd{first}{second}" for first in "bcd" for second in "abcdefghijklmnop"][:43]
    ran = app.ec2().run_instances(
        ImageId="ami-12345678",
        MinCount=1,
        MaxCount=1,
        BlockDeviceMappings=[{"DeviceName": name, "Ebs": {"VolumeSize": 1}} for name in letters],
        TagSpecifications=[
            {"ResourceType": "instance", "Tags": [{"Key": "app", "Value": "orders"}]},
            {"ResourceType": "volume", "Tags": [{"Key": "scratch", "Value": "yes"}]},
        ],
    )
    instance = str(ran["Instances"][0]["InstanceId"])
    app.pass_time(seconds=15)
    kept = dict(list(volumes_of(app, instance).items())[:2])
    app.ec2().delete_tags(Resources=list(kept.values()), Tags=[{"Key": "scratch"}])
    return instance, kept


def test_an_instance_with_more_left_out_than_one_call_can_is_backed_up_and_says_how(app: Deployment) -> None:
    instance, kept = much_left_out(app)
    for volume in kept.values():
        (app.cloud.ec2.volume_directory(volume) / "whose").write_text(volume)
    point = backed_up(app)
    assert app.calls("ec2", "CreateSnapshot") == 2
    assert app.calls("ec2", "CreateSnapshots") == 0
    assert {each["VolumeId"]: tags_of(each) for each in app.snapshots().values()} == {
        volume: {"instance": instance, "device": device, "volume": volume} for device, volume in kept.items()
    }
    remark = "snapshotted by a call of its own, not at one moment with the other volumes of its instance"
    assert point["source"]["remarks"] == dict.fromkeys(kept.values(), remark)
    assert [each["remark"] for each in manifest_of(app, point, "dr")["snapshots"]] == [remark, remark]
    job = app.restore(point, "dr", availability_zone=DR_ZONE)
    app.pass_time(minutes=1)
    for volume in app.job(job)["volumes"]:
        assert volume["remark"] == remark
        assert (app.cloud.ec2.volume_directory(volume["volume"]) / "whose").read_text() == volume["source"][
            "volume"
        ]
    assert app.discrepancies() == []


def test_a_restore_waits_until_the_last_volume_taken_alone_is_taken(app: Deployment) -> None:
    instance, _ = much_left_out(app)
    app.put_plan("orders", snapshot_rule(volumes=DATA))
    locked: list[bool] = []
    dynamodb = app.cloud.client("dynamodb", HOME_REGION)
    (table,) = dynamodb.list_tables()["TableNames"]

    def look() -> None:
        key = {"pk": {"S": f"lock#instance {instance}"}, "sk": {"S": "lock"}}
        locked.append("Item" in dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True))

    app.faults({"match": {"operation": "CreateSnapshot"}, "effect": {"then": look}})
    job = app.back_up("orders")
    app.pass_time(minutes=2)
    look()
    assert app.job(job)["state"] == "COMPLETED", app.job(job)["reason"]
    assert locked == [True, True, False]


@pytest.mark.long
@pytest.mark.parametrize("answer_lost", [False, True])
@pytest.mark.parametrize("scratch", [False, True])
def test_a_volume_attached_just_before_the_snapshots_is_in_the_point_if_the_rule_chooses_it(
    app: Deployment, scratch: bool, answer_lost: bool
) -> None:
    instance = app.run_instance("orders")
    late = new_volume(app, Size=2, VolumeType="gp3", tags={"scratch": "yes"} if scratch else {"for": "data"})
    (first,) = volumes_of(app, instance).values()
    looked = {"service": "ec2", "operation": "DescribeVolumes", "caller": "function"}
    attaching = {"then": lambda: attach(app, late, instance, "/dev/sdk")}
    faults: list[Document] = [{"match": looked, "effect": attaching, "count": 1}]
    if answer_lost:
        faults.append({"match": {"operation": "CreateSnapshots"}, "effect": {"lose": True}, "count": 1})
    app.faults(*faults)
    point = backed_up(app)
    assert app.faults_met() >= len(faults)
    wanted = {first: "/dev/sdf"} | ({} if scratch else {late: "/dev/sdk"})
    assert point["source"]["volumes"] == wanted
    assert point["size_bytes"] == (1 if scratch else 3) * 1024**3
    remarks = point["source"].get("remarks", {})
    assert list(remarks) == ([] if scratch else [late])
    assert all("attached to its instance after the volumes were chosen" in said for said in remarks.values())
    listed = {each["volume_id"]: each for each in manifest_of(app, point, "dr")["snapshots"]}
    assert listed.keys() == wanted.keys()
    if not scratch:
        assert (listed[late]["type"], listed[late]["iops"]) == ("gp3", 3000)
    assert {each["VolumeId"] for each in app.snapshots().values()} == wanted.keys()
    assert app.discrepancies() == []
