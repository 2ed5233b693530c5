"""The daily inventory: what differs from the catalog is told, removed when it is provably ours, or marked."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from local_cloud.call import Quotas
from tests.app.conftest import Ground, ground_below
from tests.support.deployment import (
    BUCKETS,
    REGIONS,
    Deployment,
    Document,
    newest,
    service_rule,
    snapshot_rule,
)

GRACE_HOURS = 6
DATA = snapshot_rule(volumes={"boot": False})


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Keep a cloud up whose operator asks for a grace."""
    with ground_below(tmp_path_factory.mktemp("inventory"), Quotas()) as (cloud, stage):
        yield cloud, replace(stage, grace=f"{GRACE_HOURS}h")


def _ready(app: Deployment, rule: Document = DATA) -> Document:
    """Have a plan and a point of it."""
    app.run_instance("orders")
    app.put_plan("orders", rule)
    return _back_up(app)


def _back_up(app: Deployment) -> Document:
    job = app.back_up("orders")
    app.pass_time(minutes=10)
    return app.point(app.job(job)["recovery_point"])


def _take(app: Deployment, *, hours: float = 0.5, **where: str) -> list[Document]:
    """Take an inventory and let it end; return what it has found."""
    jobs = app.ask("POST", "/inventory", where, status=202).document["jobs"]
    app.pass_time(hours=hours)
    assert {app.job(job)["state"] for job in jobs} == {"COMPLETED"}
    return app.listing("inventory")


def _found(app: Deployment) -> set[tuple[str, str]]:
    return {(each["finding"], each["what"]) for each in app.listing("inventory")}


def _items(app: Deployment, pk: str) -> list[Document]:
    dynamodb = app.cloud.client("dynamodb", REGIONS["primary"])
    (table,) = dynamodb.list_tables()["TableNames"]
    answer = dynamodb.query(
        TableName=table,
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": pk}},
        ConsistentRead=True,
    )
    items: list[Document] = answer["Items"]
    return items


def _snapshot_by_hand(app: Deployment, description: str, **tags: str) -> str:
    volume = app.ec2().create_volume(AvailabilityZone=f"{REGIONS['primary']}a", Size=1)["VolumeId"]
    app.pass_time(seconds=30)
    made = app.ec2().create_snapshot(
        VolumeId=volume,
        Description=description,
        TagSpecifications=[
            {"ResourceType": "snapshot", "Tags": [{"Key": k, "Value": v} for k, v in tags.items()]}
        ],
    )
    app.pass_time(minutes=1)
    return str(made["SnapshotId"])


def _made_unheard(app: Deployment) -> set[str]:
    """Have a worker die after CreateSnapshots, and its result not be listed in time: it is made again."""
    create = {"service": "ec2", "operation": "CreateSnapshots", "caller": "function"}
    listing = {"service": "ec2", "operation": "DescribeSnapshots", "caller": "function"}
    before = set(app.snapshots())
    app.faults(
        {"match": create, "effect": {"kill": "after"}, "count": 1},
        {"match": listing, "effect": {"lag": "1h"}},
    )
    app.back_up("orders")
    give_up = app.now.timestamp() + 3600
    while len(set(app.snapshots()) - before) < 2:
        assert app.now.timestamp() < give_up
        app.pass_time(seconds=10)
    app.faults()
    app.pass_time(minutes=20)
    return set(app.snapshots()) - before


def test_where_nothing_differs_nothing_is_found(app: Deployment) -> None:
    rule = service_rule(copies=[{"vault": "dr"}, {"vault": "offsite"}])
    _ready(app, rule)
    app.put_plan("orders", DATA | {"copies": [{"vault": "dr"}]})
    _back_up(app)
    app.pass_time(hours=1)
    assert app.unfinished() == []
    assert _take(app) == []


def test_snapshots_that_a_killed_worker_left_are_found_and_removed_after_their_grace(app: Deployment) -> None:
    _ready(app)
    made = _made_unheard(app)
    kept = {id for point in app.points() for each in point["artefacts"] for id in each["snapshot_ids"]}
    [orphan] = made - kept
    [found] = _take(app)
    assert (found["finding"], found["what"]) == ("orphan-snapshot", orphan)
    assert found["removed_after"] > found["since"]
    assert "which is COMPLETED" in found["reason"]
    app.pass_time(hours=GRACE_HOURS - 2)
    assert _take(app) != []
    assert orphan in app.snapshots()
    app.pass_time(hours=2)
    assert _take(app) == []
    assert set(app.snapshots()) == kept
    assert app.discrepancies() == []


def test_a_snapshot_that_an_outsider_made_and_tagged_is_reported_and_never_deleted(app: Deployment) -> None:
    point = _ready(app)
    [job] = app.jobs(kind="backup")
    [own] = app.snapshots().values()
    tags = {tag["Key"]: tag["Value"] for tag in own["Tags"]}
    forged = {
        _snapshot_by_hand(app, f"farshore {job['id']} {'0' * 32} {point['id']}", **tags),
        _snapshot_by_hand(app, "mine", **tags),
        _snapshot_by_hand(app, own["Description"], **tags),
        _snapshot_by_hand(app, "mine", **{**tags, "farshore:recovery-point": "x" * 200}),
        _snapshot_by_hand(app, f"farshore {job['id']} {'1' * 32}", name="no tag of Farshore's"),
    }
    for _ in range(3):
        found = _take(app, region=REGIONS["primary"])
        assert {each["what"] for each in found} == forged
        assert {each["removed_after"] for each in found} == {None}
        app.pass_time(hours=GRACE_HOURS + 1)
    assert forged <= set(app.snapshots())


def test_what_another_deployment_made_is_its_own_inventorys_affair(app: Deployment) -> None:
    point = _ready(app)
    [job] = app.jobs(kind="backup")
    [own] = app.snapshots().values()
    tags = {tag["Key"]: tag["Value"] for tag in own["Tags"]}
    assert tags["farshore:deployment"] == f"{REGIONS['primary']}/local"
    another = {**tags, "farshore:deployment": f"{REGIONS['primary']}/prod"}
    _snapshot_by_hand(app, f"farshore {job['id']} {'0' * 32} {point['id']}", **another)
    zone, listed = f"{REGIONS['primary']}a", [{"Key": key, "Value": value} for key, value in another.items()]
    app.ec2().create_volume(
        AvailabilityZone=zone, Size=1, TagSpecifications=[{"ResourceType": "volume", "Tags": listed}]
    )
    app.pass_time(minutes=1)
    assert _take(app, region=REGIONS["primary"]) == []


def test_what_has_lost_its_tags_is_found_by_its_description(app: Deployment) -> None:
    _ready(app)
    made = _made_unheard(app)
    kept = {id for point in app.points() for each in point["artefacts"] for id in each["snapshot_ids"]}
    [orphan] = made - kept
    app.ec2().delete_tags(Resources=[orphan])
    [found] = _take(app, region=REGIONS["primary"])
    assert (found["what"], found["removed_after"] is None) == (orphan, False)


def test_a_region_of_more_than_a_page_is_looked_at_wholly(app: Deployment) -> None:
    _ready(app)
    tags = [{"Key": "farshore:recovery-point", "Value": "rp-x"}]
    volume = app.ec2().create_volume(AvailabilityZone=f"{REGIONS['primary']}a", Size=1)["VolumeId"]
    app.pass_time(seconds=30)
    forged = set()
    for number in range(85):
        specification = [{"ResourceType": "snapshot", "Tags": tags}]
        made = app.ec2().create_snapshot(VolumeId=volume, TagSpecifications=specification)
        forged.add(made["SnapshotId"])
        if number % 4 == 3:
            app.pass_time(seconds=20)
    app.pass_time(minutes=1)
    before = app.calls("ec2", "DescribeSnapshots")
    found = _take(app, region=REGIONS["primary"])
    assert {each["what"] for each in found} == forged
    assert app.calls("ec2", "DescribeSnapshots") - before >= 3, "two pages by tag, one by description"
    first = app.ask("GET", "/inventory?limit=50&finding=orphan-snapshot", status=200).document
    assert (len(first["items"]), first["cursor"] is None) == (50, False)
    app.ec2().delete_snapshot(SnapshotId=min(forged))
    assert {each["what"] for each in _take(app, region=REGIONS["primary"])} == forged - {min(forged)}


def test_a_region_that_does_not_answer_keeps_its_findings_and_says_so(app: Deployment) -> None:
    _ready(app)
    forged = _snapshot_by_hand(app, "mine", **{"farshore:recovery-point": "rp-x"})
    _take(app)
    match = {"service": "ec2", "operation": "DescribeSnapshots", "resource": REGIONS["primary"]}
    app.faults({"match": match, "effect": {"error": {"code": "UnauthorizedOperation"}}})
    [job] = app.ask("POST", "/inventory", {"region": REGIONS["primary"]}, status=202).document["jobs"]
    [other] = app.ask("POST", "/inventory", {"region": REGIONS["dr"]}, status=202).document["jobs"]
    app.pass_time(minutes=5)
    assert app.faults_met()
    found = {each["finding"]: each for each in app.listing("inventory", region=REGIONS["primary"])}
    assert found["orphan-snapshot"]["what"] == forged
    assert "UnauthorizedOperation" in found["not-looked-at"]["reason"]
    assert app.job(other)["state"] == "COMPLETED"
    app.pass_time(hours=3)
    assert "could not be read" in app.job(job)["error"]
    assert len(_found(app)) == 2
    app.faults()
    assert {each["what"] for each in _take(app)} == {forged}


def test_of_two_inventories_of_one_place_one_waits(app: Deployment) -> None:
    _ready(app, service_rule())
    second = _back_up(app)
    app.s3("primary").delete_object(Bucket=BUCKETS["primary"], Key=second["artefacts"][0]["key"])
    jobs = [
        app.ask("POST", "/inventory", {"vault": "primary"}, status=202).document["jobs"][0] for _ in range(2)
    ]
    app.pass_time(minutes=3)
    [waits] = [each for each in map(app.job, jobs) if "which works on inventory" in each["reason"]]
    app.pass_time(hours=1)
    assert [app.job(job)["state"] for job in jobs] == ["COMPLETED", "COMPLETED"]
    assert waits["id"] in jobs
    [status] = app.listing("status")
    assert status["points"] == {"service": {"primary": 1}}
    assert app.point(second["id"])["state"] == "FAILED"


def test_one_key_takes_one_inventory_and_a_day_one_of_each_place(app: Deployment) -> None:
    _ready(app)
    asked = [app.ask("POST", "/inventory", {}, key="k", status=202).document["jobs"] for _ in range(2)]
    assert asked[0] == asked[1]
    assert len(asked[0]) == 6
    app.pass_until(app.now.replace(hour=1, minute=45) + timedelta(days=1))
    opened = {job["id"] for job in app.jobs(kind="inventory")} - set(asked[0])
    assert len(opened) == 6
    app.pass_time(hours=2)
    assert len(app.jobs(kind="inventory")) == 12
    for body, what in (({"region": "us-east-1"}, "/region"), ({"region": "x", "vault": "y"}, "/vault")):
        problem = app.ask("POST", "/inventory", body, status=400).document
        assert what in json.dumps(problem)
    app.ask("GET", "/inventory?region=x&vault=y", status=400)
    app.ask("GET", "/inventory?finding=none", status=400)
    app.ask("GET", "/inventory?cursor=none", status=400)


@pytest.mark.long
def test_an_object_that_is_gone_marks_its_point_and_the_others_stay(app: Deployment) -> None:
    first = _ready(app, service_rule(lifecycle=newest(2)))
    second = _back_up(app)
    app.s3("primary").delete_object(Bucket=BUCKETS["primary"], Key=second["artefacts"][0]["key"])
    jobs = app.ask("POST", "/inventory", {"vault": "primary"}, status=202).document["jobs"]
    app.pass_time(minutes=3)
    assert app.point(second["id"])["state"] == "AVAILABLE", "one look is not believed"
    app.pass_time(minutes=20)
    assert app.job(jobs[0])["state"] == "COMPLETED"
    marked = app.point(second["id"])
    assert (marked["state"], marked["artefacts"][0]["state"]) == ("FAILED", "MISSING")
    assert second["artefacts"][0]["key"] in marked["artefacts"][0]["reason"]
    [found] = app.listing("inventory", vault="primary", finding="missing")
    assert (found["what"], found["removed_after"]) == (second["id"], None)
    [status] = app.listing("status")
    assert (status["points"], status["newest_at"]) == ({"service": {"primary": 1}}, first["created_at"])
    wanted = {"recovery_point": second["id"], "target": {"instance_id": "i-00000000"}}
    assert "gone from primary" in app.ask("POST", "/restores", wanted, status=409).document["detail"]
    third, fourth = _back_up(app), _back_up(app)
    states = {each["id"]: each["state"] for each in app.points()}
    assert states == {
        first["id"]: "EXPIRED",
        second["id"]: "FAILED",
        third["id"]: "AVAILABLE",
        fourth["id"]: "AVAILABLE",
    }


def test_a_point_that_is_there_again_is_good_again(app: Deployment) -> None:
    _ready(app, service_rule())
    point = _back_up(app)
    key = point["artefacts"][0]["key"]
    data = app.read("primary", key)
    app.s3("primary").delete_object(Bucket=BUCKETS["primary"], Key=key)
    assert [each["what"] for each in _take(app, vault="primary")] == [point["id"]]
    app.s3("primary").put_object(Bucket=BUCKETS["primary"], Key=key, Body=data)
    assert _take(app, vault="primary") == []
    back = app.point(point["id"])
    assert (back["state"], back["artefacts"][0]["reason"]) == ("AVAILABLE", "")
    [status] = app.listing("status")
    assert (status["points"], status["newest_at"]) == ({"service": {"primary": 2}}, point["created_at"])


def test_a_snapshot_that_is_gone_marks_its_point_in_that_vault_alone(app: Deployment) -> None:
    point = _ready(app, DATA | {"copies": [{"vault": "dr"}]})
    app.pass_time(hours=1)
    [copy] = app.snapshots("dr")
    app.put_plan("orders", DATA)  # which wants no copy any more, so none is made in its place
    app.ec2(REGIONS["dr"]).delete_snapshot(SnapshotId=copy)
    assert [each["what"] for each in _take(app)] == [point["id"]]
    states = {each["vault"]: each["state"] for each in app.point(point["id"])["artefacts"]}
    assert states == {"primary": "AVAILABLE", "dr": "MISSING"}
    app.pass_time(hours=1)
    job = app.copy(app.point(point["id"]), "dr")
    app.pass_time(hours=1)
    assert app.job(job)["state"] == "COMPLETED"
    assert _take(app) == []
    assert app.discrepancies() == []


@pytest.mark.long
@pytest.mark.parametrize("vault", ["dr", "offsite"])
def test_a_copy_that_is_gone_is_made_again_while_its_plan_wants_it(app: Deployment, vault: str) -> None:
    point = _ready(app, service_rule(copies=[{"vault": vault}]))
    app.pass_time(hours=1)
    gone = next(key for key in app.keys(vault) if point["id"] in key and "manifest" not in key)
    if vault == "offsite":
        (app.offsite / gone).unlink()
    else:
        app.s3(vault).delete_object(Bucket=BUCKETS[vault], Key=gone)
    app.ask("POST", "/inventory", {"vault": vault}, status=202)
    app.pass_time(minutes=12)
    states = {each["vault"]: each["state"] for each in app.point(point["id"])["artefacts"]}
    assert states == {"primary": "AVAILABLE", vault: "MISSING"}
    app.pass_time(hours=1)
    assert {each["state"] for each in app.point(point["id"])["artefacts"]} == {"AVAILABLE"}
    assert "copies_due" not in app.point(point["id"])
    [status] = app.listing("status")
    assert status["points"] == {"service": {"primary": 1, vault: 1}}
    assert status["says"] == []
    assert app.discrepancies() == []


def test_listings_that_lag_mark_nothing(app: Deployment) -> None:
    point = _ready(app)
    listing = {"service": "ec2", "operation": "DescribeSnapshots", "caller": "function"}
    jobs = app.ask("POST", "/inventory", {"vault": "primary"}, status=202).document["jobs"]
    app.faults({"match": listing, "effect": {"lag": "2d"}})
    app.pass_time(minutes=5)
    assert app.faults_met()
    assert _found(app) == {("missing", point["id"])}
    app.faults()
    app.pass_time(minutes=20)
    assert app.job(jobs[0])["state"] == "COMPLETED"
    assert (app.point(point["id"])["state"], _found(app)) == ("AVAILABLE", set())


def test_an_upload_of_no_job_is_aborted_after_its_grace_and_one_of_a_job_is_not(app: Deployment) -> None:
    point = _ready(app, service_rule())
    own, unknown = point["artefacts"][0]["key"], "points/a/b/20260101T000000Z-rp-0/data"
    for key in (own, unknown, "others/x"):
        app.s3("primary").create_multipart_upload(Bucket=BUCKETS["primary"], Key=key)
    app.put_plan("orders", service_rule(script="sleep 5; echo x > $2"))
    app.back_up("orders")
    found = {each["what"].split(" ")[0]: each for each in _take(app, hours=0, vault="primary")}
    app.pass_time(hours=1)
    found = {each["what"].split(" ")[0]: each for each in app.listing("inventory")}
    assert found.keys() == {own, unknown}
    assert (found[own]["removed_after"] is None, found[unknown]["removed_after"]) == (False, None)
    app.pass_time(hours=GRACE_HOURS)
    [left] = _take(app, vault="primary")
    assert left["what"].split(" ")[0] == unknown
    assert sorted(app.uploads("primary")) == sorted([unknown, "others/x"])


def test_an_orphan_folder_is_reported_and_removed_only_when_its_point_is_known_to_be_gone(
    app: Deployment,
) -> None:
    _ready(app, service_rule(script="exit 3"))
    job = app.back_up("orders", rule="file")
    app.pass_time(minutes=30)
    failed = app.point(app.job(job)["recovery_point"])
    assert failed["state"] == "FAILED"
    stamp = failed["nominal_at"].replace("-", "").replace(":", "")
    ours = f"points/orders/file/{stamp}-{failed['id']}/"
    unknown = f"points/lost/file/20260101T000000Z-rp-{'0' * 32}/"
    for folder in (ours, unknown):
        for name in ("manifest.json", "segments/000001"):
            path = app.offsite / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
        app.s3("primary").put_object(Bucket=BUCKETS["primary"], Key=f"{folder}data", Body=b"x")
    found = _take(app)
    assert {(each["vault"], each["what"], each["removed_after"] is None) for each in found} == {
        (vault, folder, folder == unknown) for vault in ("primary", "offsite") for folder in (ours, unknown)
    }
    app.pass_time(hours=GRACE_HOURS)
    assert {each["what"] for each in _take(app)} == {unknown}
    assert not (app.offsite / ours).exists()
    assert {
        key for vault in ("primary", "offsite") for key in app.keys(vault) if key.startswith(ours)
    } == set()
    assert (app.offsite / unknown / "manifest.json").exists()


@pytest.mark.long
def test_what_a_job_left_is_told_until_it_is_gone_and_removed_when_it_can_be(app: Deployment) -> None:
    app.run_instance("orders", volumes=3)
    app.put_plan("orders", DATA)
    job = app.back_up("orders")
    app.pass_time(seconds=1)
    refused = {"service": "ec2", "operation": "DeleteSnapshot"}
    app.faults({"match": refused, "effect": {"error": {"code": "UnauthorizedOperation"}}})
    app.ask("POST", f"/jobs/{job}/cancel", status=202)
    app.pass_time(minutes=10)
    app.cloud.clock.advance_to(app.now + timedelta(days=1))
    app.pass_time(minutes=10)
    made = set(app.snapshots())
    assert _found(app) == {("leftover", each) for each in made}
    first, second, third = sorted(made)
    app.cloud.faults.replace([])
    app.ec2().delete_snapshot(SnapshotId=first)
    _in_use(app, second)
    assert {each["what"] for each in _take(app)} == {second, third}
    app.pass_time(hours=GRACE_HOURS)
    [left] = _take(app)
    assert (left["what"], set(app.snapshots())) == (second, {second})
    assert "could not be removed" in left["reason"]


def _in_use(app: Deployment, snapshot: str) -> None:
    disk = {"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": snapshot}}
    app.ec2().register_image(Name=snapshot, RootDeviceName="/dev/sda1", BlockDeviceMappings=[disk])


def test_a_volume_of_no_restore_is_reported_and_never_deleted(app: Deployment) -> None:
    point = _ready(app)
    zone = f"{REGIONS['primary']}a"
    restored = app.restore(point, "primary", availability_zone=zone)
    tags = [{"Key": "farshore:job", "Value": f"restore-{'0' * 24}"}]
    specification = [{"ResourceType": "volume", "Tags": tags}]
    stray = app.ec2().create_volume(AvailabilityZone=zone, Size=1, TagSpecifications=specification)[
        "VolumeId"
    ]
    app.pass_time(minutes=5)
    assert app.job(restored)["state"] == "COMPLETED"
    for _ in range(2):
        [found] = _take(app, region=REGIONS["primary"])
        assert (found["finding"], found["what"], found["removed_after"]) == ("orphan-volume", stray, None)
        app.pass_time(hours=GRACE_HOURS)
    assert len(app.restored_volumes()) == 2


def test_a_staged_file_of_a_job_that_is_over_goes_and_of_one_that_nobody_knows_stays(app: Deployment) -> None:
    _ready(app)
    [job] = app.jobs(kind="backup")
    ours, unknown = f"staging/{job['id']}", f"staging/restore-{'0' * 24}"
    for key in (ours, unknown):
        app.s3("dr").put_object(Bucket=BUCKETS["dr"], Key=key, Body=b"x")
    found = {each["what"]: each["removed_after"] for each in _take(app, vault="dr")}
    assert (set(found), found[unknown]) == ({ours, unknown}, None)
    app.pass_time(hours=GRACE_HOURS)
    assert {each["what"] for each in _take(app, vault="dr")} == {unknown}
    assert unknown in app.keys("dr")
    assert ours not in app.keys("dr")


def test_a_slot_of_a_job_that_is_over_is_healed_though_no_job_is_due(app: Deployment) -> None:
    _ready(app)
    [backup] = app.jobs(kind="backup")
    item = {"pk": f"slots#{REGIONS['dr']}", "sk": "slot#0003", "job": backup["id"], "purpose": "x"}
    item["since"] = "2026-01-01T00:00:00.000000Z"
    dynamodb = app.cloud.client("dynamodb", REGIONS["primary"])
    (table,) = dynamodb.list_tables()["TableNames"]
    dynamodb.put_item(TableName=table, Item={name: {"S": text} for name, text in item.items()})
    app.ask("POST", "/inventory", {}, status=202)
    app.pass_time(seconds=20)
    assert app.slots_in_use("dr") == 0


def test_a_job_that_should_have_ended_a_day_ago_is_told(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", DATA)
    job = app.back_up("orders")
    dynamodb = app.cloud.client("dynamodb", REGIONS["primary"])
    (table,) = dynamodb.list_tables()["TableNames"]
    dynamodb.update_item(
        TableName=table,
        Key={"pk": {"S": f"job#{job}"}, "sk": {"S": "job"}},
        UpdateExpression="SET deadline = :long_ago, lease_until = :held",
        ExpressionAttributeValues={
            ":long_ago": {"S": "2026-01-01T00:00:00.000000Z"},
            ":held": {"S": "2199-01-01T00:00:00.000000Z"},
        },
    )
    app.ask("POST", "/inventory", {}, status=202)
    app.pass_time(seconds=20)
    [found] = app.listing("inventory", finding="overdue-job")
    assert (found["what"], "region" in found, "vault" in found) == (job, False, False)


def test_parts_of_a_large_service_belong_to_it_also_while_it_is_being_made(app: Deployment) -> None:
    app.ec2().run_instances(
        ImageId="ami-12345678",
        InstanceType="t3.micro",
        MinCount=12,
        MaxCount=12,
        BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1}}],
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "app", "Value": "fleet"}]}],
    )
    app.pass_time(seconds=15)
    app.put_plan("fleet", DATA)
    manifest = {"service": "s3", "operation": "PutObject", "resource": "manifest.json"}
    app.faults({"match": manifest, "effect": {"error": {"code": "ServiceUnavailable", "status": 503}}})
    job = app.back_up("fleet")
    app.pass_time(minutes=5)
    assert (len(app.snapshots()), app.job(job)["state"]) == (12, "RUNNING")
    assert _take(app, region=REGIONS["primary"], hours=0.02) == []
    app.faults()
    app.pass_time(minutes=30)
    point = app.point(app.job(job)["recovery_point"])
    assert point["artefacts"][0]["snapshot_count"] == 12
    assert _take(app) == []
    app.ec2().delete_snapshot(SnapshotId=max(app.snapshots()))
    assert [each["what"] for each in _take(app)] == [point["id"]]


def test_a_day_whose_tick_dies_has_one_inventory_of_each_place_all_the_same(app: Deployment) -> None:
    _ready(app)
    for moment in ("before", "after"):
        due = app.now.replace(hour=1, minute=39) + timedelta(days=1)
        app.skip_to(due)
        known = {job["id"] for job in app.jobs(kind="inventory")}
        opened = {"operation": "TransactWriteItems", "resource": "inventory", "caller": "function"}
        app.faults({"match": {"service": "dynamodb", **opened}, "effect": {"kill": moment}, "count": 1})
        app.pass_time(minutes=3)
        assert app.faults_met()
        app.faults()
        app.pass_time(minutes=20)
        jobs = [job for job in app.jobs(kind="inventory") if job["id"] not in known]
        assert sorted(job["state"] for job in jobs) == ["COMPLETED"] * 6
