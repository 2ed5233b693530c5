"""The daily inventory: what differs from the catalog is told, removed when it is provably ours, or marked."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from local.call import Quotas
from tests.app.conftest import Ground, ground_below
from tests.app.deployment import BUCKETS, REGIONS, Deployment, Document, service_rule, snapshot_rule

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
        _snapshot_by_hand(app, "mine", **{**tags, "farshore:recovery-point": "x" * 200}),
        _snapshot_by_hand(app, f"farshore {job['id']} {'1' * 32}", name="no tag of Farshore's"),
    }
    for _ in range(3):
        found = _take(app, region=REGIONS["primary"])
        assert {each["what"] for each in found} == forged
        assert {each["removed_after"] for each in found} == {None}
        app.pass_time(hours=GRACE_HOURS + 1)
    assert forged <= set(app.snapshots())


def test_an_object_that_is_gone_marks_its_point_and_the_others_stay(app: Deployment) -> None:
    first = _ready(app, service_rule(lifecycle={"count": 2}))
    second = _back_up(app)
    app.s3("primary").delete_object(Bucket=BUCKETS["primary"], Key=second["artefacts"][0]["key"])
    jobs = app.ask("POST", "/inventory", {"vault": "primary"}, status=202).document["jobs"]
    app.pass_time(minutes=3)
    assert app.point(second["id"])["state"] == "AVAILABLE", "one look is not believed"
    app.pass_time(minutes=20)
    assert app.job(jobs[0])["state"] == "COMPLETED"
    marked = app.point(second["id"])
    assert (marked["state"], marked["artefacts"][0]["state"]) == ("MISSING", "MISSING")
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
        second["id"]: "MISSING",
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
    app.ec2(REGIONS["dr"]).delete_snapshot(SnapshotId=copy)
    assert [each["what"] for each in _take(app)] == [point["id"]]
    states = {each["vault"]: each["state"] for each in app.point(point["id"])["artefacts"]}
    assert states == {"primary": "AVAILABLE", "dr": "MISSING"}
    job = app.copy(app.point(point["id"]), "dr")
    app.pass_time(hours=1)
    assert app.job(job)["state"] == "COMPLETED"
    assert _take(app) == []
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
    _ready(app, service_rule())
    job = app.back_up("orders")
    app.ask("POST", f"/jobs/{job}/cancel", status=202)
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
