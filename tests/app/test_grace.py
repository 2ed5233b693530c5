"""What is let go is there until its grace is over, and what would stay is looked at before anything goes."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from local_cloud.call import Quotas
from tests.app.conftest import Ground, ground_below
from tests.support.deployment import BUCKETS, Deployment, Document, newest, service_rule, snapshot_rule

GRACE_HOURS = 6
COUNT_ONE = snapshot_rule(lifecycle=newest(1), volumes={"boot": False})


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Keep a cloud up whose operator asks for a grace."""
    with ground_below(tmp_path_factory.mktemp("grace"), Quotas()) as (cloud, stage):
        yield cloud, replace(stage, grace=f"{GRACE_HOURS}h")


def _back_up(app: Deployment, times: int = 1) -> list[Document]:
    """Make backups one after another; return all points, the oldest first."""
    for _ in range(times):
        app.back_up("orders")
        app.pass_time(minutes=20)
    return app.points()


def _states(app: Deployment, vault: str = "primary") -> list[str]:
    points = app.points()
    return [each["state"] for point in points for each in point["artefacts"] if each["vault"] == vault]


def _ready(app: Deployment, rule: Document = COUNT_ONE) -> None:
    app.run_instance("orders")
    app.put_plan("orders", rule)


@pytest.mark.long
def test_what_is_let_go_stays_for_its_grace_and_is_deleted_after_it(app: Deployment) -> None:
    _ready(app)
    _back_up(app, 2)
    assert _states(app) == ["EXPIRED", "AVAILABLE"]
    assert len(app.snapshots()) == 2
    app.pass_time(hours=GRACE_HOURS - 1)
    _back_up(app)
    assert _states(app) == ["EXPIRED", "EXPIRED", "AVAILABLE"]
    app.pass_time(hours=2)
    _back_up(app)
    assert _states(app) == ["DELETED", "EXPIRED", "EXPIRED", "AVAILABLE"]
    assert len(app.snapshots()) == 3
    assert app.discrepancies() == []


def test_what_is_taken_back_is_held_until_its_hold_is_taken_away(app: Deployment) -> None:
    _ready(app)
    older, _ = _back_up(app, 2)
    path = f"/recovery-points/{older['id']}"
    assert "let_go_at" in app.point(older["id"])["artefacts"][0]
    back = app.ask("POST", f"{path}/undelete", status=200).document
    assert (back["state"], back["hold"].split(" at ")[0]) == ("AVAILABLE", "undeleted")
    app.ask("POST", f"{path}/undelete", status=409)
    app.pass_time(hours=GRACE_HOURS + 1)
    _back_up(app)
    assert _states(app) == ["AVAILABLE", "EXPIRED", "AVAILABLE"]
    app.ask("DELETE", f"{path}/hold", status=204)
    _back_up(app)
    assert _states(app)[0] == "EXPIRED"
    assert app.discrepancies() == []


@pytest.mark.long
def test_a_point_is_taken_back_in_every_vault(app: Deployment) -> None:
    _ready(app, service_rule(lifecycle=newest(1), copies=[{"vault": "dr"}, {"vault": "offsite"}]))
    _back_up(app)
    app.pass_time(minutes=40)
    _back_up(app)
    app.pass_time(minutes=40)
    older, _ = _back_up(app)[:2]
    app.pass_time(minutes=40)
    assert {each["state"] for each in app.point(older["id"])["artefacts"]} == {"EXPIRED"}
    back = app.ask("POST", f"/recovery-points/{older['id']}/undelete", status=200).document
    assert {each["vault"]: each["state"] for each in back["artefacts"]} == dict.fromkeys(
        ("dr", "offsite", "primary"), "AVAILABLE"
    )
    assert app.discrepancies() == []


def test_a_point_that_is_held_is_kept_and_not_deleted_by_request(app: Deployment) -> None:
    _ready(app)
    (point,) = _back_up(app)
    path = f"/recovery-points/{point['id']}"
    assert app.ask("PUT", f"{path}/hold", {"reason": "audit 7"}, status=200).document["hold"] == "audit 7"
    _back_up(app, 2)
    assert _states(app) == ["AVAILABLE", "EXPIRED", "AVAILABLE"]
    assert "held: audit 7" in app.jobs(kind="expire")[-1]["judged"][-1]["reason"]
    assert "held: audit 7" in app.ask("DELETE", path, status=409).document["detail"]
    app.ask("PUT", f"{path}/hold", {}, status=400)
    app.ask("PUT", f"{path}/hold", {"reason": ""}, status=400)
    app.ask("PUT", "/recovery-points/rp-none/hold", {"reason": "x"}, status=404)


def test_what_is_held_within_its_grace_is_not_deleted_when_that_is_over(app: Deployment) -> None:
    _ready(app, snapshot_rule(lifecycle=newest(9), volumes={"boot": False}))
    first, _ = _back_up(app, 2)
    path = f"/recovery-points/{first['id']}"
    (deletion,) = app.ask("DELETE", path, status=202).document["jobs"]
    app.pass_time(minutes=10)
    app.ask("PUT", f"{path}/hold", {"reason": "audit 7"}, status=200)
    app.pass_time(hours=GRACE_HOURS + 1)
    assert len(app.snapshots()) == 2
    assert "held: audit 7" in app.job(deletion)["reason"]
    app.ask("POST", f"{path}/undelete", status=200)
    assert _states(app) == ["AVAILABLE", "AVAILABLE"]
    assert app.discrepancies() == []


def test_what_was_deleted_by_request_stays_when_it_is_the_newest_good_point_by_then(app: Deployment) -> None:
    _ready(app, snapshot_rule(lifecycle=newest(9), volumes={"boot": False}))
    first, second = _back_up(app, 2)
    (deletion,) = app.ask("DELETE", f"/recovery-points/{first['id']}", status=202).document["jobs"]
    app.pass_time(minutes=10)
    app.ec2().delete_snapshot(SnapshotId=second["artefacts"][0]["snapshot_ids"][0])
    app.ask("POST", "/inventory", {}, key="now", status=202)
    app.pass_time(hours=GRACE_HOURS + 1)
    assert _states(app) == ["EXPIRED", "MISSING"]
    assert len(app.snapshots()) == 1
    assert "newest good point" in app.job(deletion)["reason"]
    app.ask("POST", f"/recovery-points/{first['id']}/undelete", status=200)
    assert app.discrepancies() == []


@pytest.mark.long
def test_a_copy_that_was_due_is_made_when_its_point_is_taken_back(app: Deployment) -> None:
    _ready(app, snapshot_rule(volumes={"boot": False}, copies=[{"vault": "dr"}]))
    app.faults(
        {
            "match": {"service": "ec2", "operation": "CopySnapshot"},
            "effect": {"error": {"code": "UnauthorizedOperation", "status": 403}},
        }
    )
    first, _ = _back_up(app, 2)
    app.ask("DELETE", f"/recovery-points/{first['id']}", status=202)
    app.pass_time(hours=3)
    app.faults()
    app.ask("POST", f"/recovery-points/{first['id']}/undelete", status=200)
    app.pass_time(hours=GRACE_HOURS)
    assert _states(app, "dr") == ["AVAILABLE", "AVAILABLE"]
    assert [point for point in app.points() if "copies_due" in point] == []
    assert app.discrepancies() == []


def test_a_deletion_by_request_waits_out_the_grace_too(app: Deployment) -> None:
    _ready(app, snapshot_rule(lifecycle=newest(9), volumes={"boot": False}))
    first, second, _ = _back_up(app, 3)
    for point in (first, second):
        app.ask("DELETE", f"/recovery-points/{point['id']}", status=202)
    app.pass_time(minutes=10)
    assert _states(app) == ["EXPIRED", "EXPIRED", "AVAILABLE"]
    _back_up(app)  # its lifecycle wants both, but an operator does not
    assert _states(app)[:2] == ["EXPIRED", "EXPIRED"]
    app.ask("POST", f"/recovery-points/{second['id']}/undelete", status=200)
    app.pass_time(hours=GRACE_HOURS + 1)
    assert _states(app) == ["DELETED", "AVAILABLE", "AVAILABLE", "AVAILABLE"]
    assert app.unfinished() == []
    assert app.discrepancies() == []


@pytest.mark.long
def test_what_was_let_go_is_taken_back_when_what_should_stay_is_gone(app: Deployment) -> None:
    _ready(app)
    older, newer = _back_up(app, 2)
    assert _states(app) == ["EXPIRED", "AVAILABLE"]
    app.pass_time(hours=GRACE_HOURS + 1)
    for snapshot in newer["artefacts"][0]["snapshot_ids"]:
        app.ec2().delete_snapshot(SnapshotId=snapshot)
    app.faults(
        {"match": {"service": "ec2", "operation": "CreateSnapshots"}, "effect": {"error": {"code": "X"}}}
    )
    app.pass_time(hours=30)  # the daily sweep looks
    app.faults()
    assert app.point(older["id"])["state"] == "AVAILABLE"
    assert app.point(newer["id"])["state"] == "FAILED"
    judged = [each for job in app.jobs(kind="expire") for each in job["judged"]]
    reasons = {each["reason"] for each in judged if each["recovery_point"] == newer["id"]}
    assert any("not complete in primary" in reason for reason in reasons)


def test_what_is_not_there_displaces_nothing(app: Deployment) -> None:
    _ready(app, service_rule(lifecycle=newest(2)))
    _, second = _back_up(app, 2)
    app.s3("primary").delete_object(Bucket=BUCKETS["primary"], Key=second["artefacts"][0]["key"])
    _back_up(app, 1)
    assert _states(app) == ["AVAILABLE"] * 3


@pytest.mark.long
def test_nothing_is_let_go_in_a_vault_that_cannot_be_looked_at(app: Deployment) -> None:
    rule = service_rule(lifecycle=newest(1), copies=[{"vault": "dr"}])
    _ready(app, rule)
    _back_up(app)
    app.pass_time(minutes=30)
    listing = {"service": "s3", "operation": "ListObjectsV2", "resource": BUCKETS["dr"]}
    app.faults({"match": listing, "effect": {"error": {"code": "ServiceUnavailable", "status": 503}}})
    _back_up(app)
    app.pass_time(hours=2)
    _back_up(app)
    app.pass_time(minutes=40)
    assert _states(app, "primary")[:2] == ["EXPIRED", "EXPIRED"]
    assert _states(app, "dr")[0] == "AVAILABLE"
    app.faults()
    _back_up(app)
    app.pass_time(minutes=40)
    assert _states(app, "dr")[0] == "EXPIRED"


@pytest.mark.long
def test_a_stricter_plan_that_is_put_back_within_the_grace_has_deleted_nothing(app: Deployment) -> None:
    wide, strict = (snapshot_rule(lifecycle=newest(n), volumes={"boot": False}) for n in (9, 1))
    _ready(app, wide)
    _back_up(app, 3)
    plan = {"service": "orders", "selection": {"tags": {"app": "orders"}}, "rules": [strict]}
    app.ask("PUT", "/plans/orders?confirm=2", plan, status=200)
    _back_up(app)
    assert _states(app) == ["EXPIRED"] * 3 + ["AVAILABLE"]
    app.pass_time(hours=GRACE_HOURS - 1)
    assert len(app.snapshots()) == 4
    app.put_plan("orders", wide)
    _back_up(app)
    assert _states(app) == ["AVAILABLE"] * 5
    app.pass_time(hours=2 * GRACE_HOURS)
    assert _states(app) == ["AVAILABLE"] * 5
    assert app.discrepancies() == []


@pytest.mark.long
def test_a_plan_that_is_changed_while_its_lifecycle_deletes_stops_that(app: Deployment) -> None:
    _ready(app)
    _back_up(app, 4)
    app.pass_time(hours=GRACE_HOURS + 1)
    app.faults(
        {
            "match": {"service": "ec2", "operation": "DeleteSnapshot"},
            "effect": {"error": {"code": "RequestLimitExceeded", "status": 503}},
        }
    )
    _back_up(app)
    assert _states(app) == ["EXPIRED"] * 4 + ["AVAILABLE"]
    app.put_plan("orders", COUNT_ONE | {"lifecycle": newest(9)})
    app.faults()
    app.pass_time(hours=2)
    states = sorted(_states(app))
    assert states.count("DELETED") <= 1, "the one whose deletion was begun"
    assert states.count("AVAILABLE") >= 4
    assert app.unfinished() == []
    assert app.discrepancies() == []


@pytest.mark.long
def test_a_plan_that_grew_stricter_again_waits_for_its_own_grace(app: Deployment) -> None:
    wide, strict = (snapshot_rule(lifecycle=newest(n), volumes={"boot": False}) for n in (9, 1))
    _ready(app, strict)
    _back_up(app, 2)
    assert _states(app) == ["EXPIRED", "AVAILABLE"]
    app.pass_time(hours=GRACE_HOURS - 1)
    app.put_plan("orders", wide)
    app.put_plan("orders", strict)  # nothing has looked in between
    app.pass_time(hours=2)
    _back_up(app)
    assert _states(app) == ["EXPIRED", "EXPIRED", "AVAILABLE"]
    app.pass_time(hours=GRACE_HOURS)
    _back_up(app)
    assert _states(app)[:2] == ["DELETED", "DELETED"]
