"""What counts, and what an operator says about keeping: by hand, partial, suspect, confirmed, forecast."""

import json
from datetime import timedelta

import pytest

from tests.support.deployment import BUCKETS, Deployment, Document, newest, service_rule, snapshot_rule

EVERY_HOUR = "cron(0 * * * ? *)"
DATA_ONLY = {"boot": False}
LARGE = 'if test -f client; then head -c 20000 /dev/zero; else echo "no client"; fi > "$2"'


def _hours(app: Deployment, number: int) -> None:
    """Let the clock pass so many full hours."""
    for _ in range(number):
        hour = app.now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        app.skip_to(hour - timedelta(minutes=1))
        app.pass_until(hour + timedelta(minutes=7))


def _there(app: Deployment, **query: str) -> list[Document]:
    return [point for point in app.points(**query) if point["state"] == "AVAILABLE"]


def _back_up(app: Deployment, **which: object) -> Document:
    job = app.back_up("orders", **which)
    app.pass_time(minutes=6)
    assert app.job(job)["state"] == "COMPLETED", app.job(job)
    return app.point(app.job(job)["recovery_point"])


def test_what_is_asked_for_by_hand_displaces_nothing_scheduled_and_is_counted_by_itself(
    app: Deployment,
) -> None:
    app.run_instance("orders")
    lifecycle = {"count": 2, "manual": {"count": 1}}
    app.put_plan("orders", snapshot_rule(schedule=EVERY_HOUR, volumes=DATA_ONLY, lifecycle=lifecycle))
    _hours(app, 3)
    scheduled = {point["id"] for point in _there(app)}
    assert len(scheduled) == 2
    by_hand = [_back_up(app) for _ in range(3)]
    assert {point["origin"] for point in by_hand} == {"request"}
    there = {point["id"]: point["origin"] for point in _there(app)}
    assert there == {**dict.fromkeys(scheduled, "schedule"), by_hand[-1]["id"]: "request"}
    assert app.discrepancies() == []


def test_a_point_is_kept_as_long_as_it_was_asked_to_be_with_its_note(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", snapshot_rule(volumes=DATA_ONLY, lifecycle=newest(1)))
    point = _back_up(app, keep="1d", note="before the upgrade")
    held = _back_up(app, keep=True)
    assert point["note"] == "before the upgrade"
    assert held["hold"] == "asked for with keep: true"
    for _ in range(3):
        last = _back_up(app)
    assert {each["id"] for each in _there(app)} == {point["id"], held["id"], last["id"]}
    app.skip_to(app.now + timedelta(days=1))
    _back_up(app)
    states = {each["id"]: each["state"] for each in app.points()}
    assert (states[point["id"]], states[held["id"]]) == ("DELETED", "AVAILABLE")
    [manifest] = [key for key in app.keys("primary") if held["id"] in key]
    described = json.loads(app.read("primary", manifest))
    assert (described["origin"], described["note"]) == ("request", "")


def test_keep_and_note_are_checked_and_belong_to_the_idempotency(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", snapshot_rule(volumes=DATA_ONLY))
    for wrong in ("1 week", "0s", 30, False, ["1d"], "40000d", "99999999999999999999d"):
        answer = app.ask("POST", "/backups", {"plan": "orders", "keep": wrong}, status=400).document
        [error] = answer["errors"]
        assert (error["pointer"], error["value"]) == ("/keep", wrong)
        assert error["expected"] == "a duration from 1 minute to 36500 days, or true to hold it, such as 30d"
    for wrong in ("", 7, "x" * 1025, "half a pair: \ud800"):
        answer = app.ask("POST", "/backups", {"plan": "orders", "note": wrong}, status=400).document
        assert answer["errors"][0]["pointer"] == "/note"
    asked = {"plan": "orders", "keep": "30d", "note": "a"}
    first = app.ask("POST", "/backups", asked, key="one", status=202).document
    assert app.ask("POST", "/backups", asked, key="one", status=202).document == first
    for other in ({"keep": "31d"}, {"note": "b"}):
        app.ask("POST", "/backups", asked | other, key="one", status=422)
    assert len(app.jobs(kind="backup")) == 1


def test_a_point_of_some_instances_is_partial_and_displaces_no_whole_one(app: Deployment) -> None:
    some, other = (app.run_instance("orders") for _ in range(2))
    app.put_plan("orders", snapshot_rule(volumes=DATA_ONLY, lifecycle=newest(1)))
    whole = _back_up(app)
    partial = [_back_up(app, instance_ids=[some]) for _ in range(2)]
    assert (partial[0]["partial"], partial[0]["left_out"]) == (True, [other])
    assert "partial" not in whole
    assert {each["id"] for each in _there(app)} == {whole["id"], partial[1]["id"]}
    [status] = app.listing("status")
    assert status["flagged"][0]["reason"] == f"partial, without {other}"
    target = {"availability_zone": "eu-central-1a"}
    newest_wanted = {"service": "orders", "rule": "snap", "target": target, "dry_run": True}
    would = app.ask("POST", "/restores", newest_wanted, status=200).document["would"]
    assert would["recovery_point"] == whole["id"]
    app.ask("DELETE", f"/recovery-points/{whole['id']}", status=409)
    assert "partial" not in _back_up(app, instance_ids=[some, other])


@pytest.mark.long
def test_a_week_without_a_dump_client_costs_no_good_backup(app: Deployment) -> None:
    instance = app.run_instance("orders")
    client = app.directory(instance) / "client"
    client.touch()
    app.put_plan(
        "orders",
        service_rule(schedule=EVERY_HOUR, script=LARGE, lifecycle={"count": 2}),
        objectives={"rpo": "2h"},
    )
    _hours(app, 3)
    good = {point["id"] for point in _there(app)}
    client.unlink()
    _hours(app, 7)
    there = {point["id"]: point for point in _there(app)}
    assert good < there.keys()
    suspects = [point for id, point in there.items() if id not in good]
    assert len(suspects) == 7
    why = "10 bytes, more than 50% smaller than the 20,000 median of those before it (expect.shrink)"
    assert {point["suspect"] for point in suspects} == {why}
    [status] = app.listing("status")
    assert (status["rpo"]["met"], status["flagged"][0]["recovery_point"]) == (False, suspects[-1]["id"])
    assert app.jobs(kind="backup")[-1]["suspect"] == why

    app.ask("DELETE", f"/recovery-points/{suspects[-1]['id']}", status=202)
    path = f"/recovery-points/{suspects[-2]['id']}/confirmation"
    app.ask("PUT", path, {}, status=400)
    confirmed = app.ask("PUT", path, {"reason": "the archive was emptied"}, status=200).document
    assert confirmed["confirmed"] == "the archive was emptied"
    assert "suspect" not in confirmed
    app.ask("PUT", path, {"reason": "again"}, status=409)
    _hours(app, 1)
    last = app.points()[-1]
    assert "suspect" not in last
    [status] = app.listing("status")
    assert status["rpo"]["met"] is True
    assert "flagged" not in status
    scheduled = [point["id"] for point in _there(app) if "suspect" not in point]
    assert scheduled == [confirmed["id"], last["id"]]


@pytest.mark.long
def test_a_suspect_point_that_is_deleted_is_told_no_more(app: Deployment) -> None:
    instance = app.run_instance("orders")
    app.put_plan("orders", service_rule(schedule=EVERY_HOUR, script=LARGE))
    (app.directory(instance) / "client").touch()
    _hours(app, 1)
    (app.directory(instance) / "client").unlink()
    _hours(app, 1)
    good, suspect = _there(app)
    app.put_plan("orders", service_rule(script=LARGE))
    app.ask("DELETE", f"/recovery-points/{suspect['id']}", status=202)
    app.pass_time(days=1)
    [status] = app.listing("status")
    assert "flagged" not in status
    assert status["newest_at"] == good["created_at"]


@pytest.mark.long
def test_too_few_bytes_are_suspect_and_a_rule_may_leave_the_size_unjudged(app: Deployment) -> None:
    instance = app.run_instance("orders")
    script = 'head -c "$(cat size)" /dev/zero > "$2"'
    least = service_rule("least", script=script, expect={"min_bytes": 500, "shrink": "off"})
    app.put_plan("orders", least, service_rule("any", script=script, expect={"shrink": "off"}))
    sizes = (900, 500, 499)
    made: list[dict[str, Document]] = []
    for size in sizes:
        (app.directory(instance) / "size").write_text(str(size))
        made.append({rule: _back_up(app, rule=rule) for rule in ("least", "any")})
    assert ["suspect" in each["least"] for each in made] == [False, False, True]
    assert ["suspect" in each["any"] for each in made] == [False] * 3


def test_a_plan_that_lets_much_go_is_stored_when_the_number_is_confirmed(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", snapshot_rule(volumes=DATA_ONLY, lifecycle=newest(9)))
    points = [_back_up(app) for _ in range(5)]
    stricter: Document = {
        "service": "orders",
        "selection": {"tags": {"app": "orders"}},
        "rules": [snapshot_rule(volumes=DATA_ONLY, lifecycle=newest(2))],
    }
    would = app.ask("PUT", "/plans/orders?dry_run=true", stricter, status=200).document
    assert [(each["point"], each["made"], each["vault"]) for each in would["would_delete"]] == [
        (point["id"], point["created_at"], "primary") for point in reversed(points[:3])
    ]
    assert would["confirm"] == 3
    for query in ("", "?confirm=2", "?confirm=4"):
        refused = app.ask("PUT", f"/plans/orders{query}", stricter, status=409).document["detail"]
        assert "it lets 3 recovery points go that are kept now" in refused
        assert "?confirm=3" in refused
    app.ask("PUT", "/plans/orders?confirm=three", stricter, status=400)
    assert app.ask("GET", "/plans/orders").document["rules"][0]["lifecycle"]["count"] == 9
    stored = app.ask("PUT", "/plans/orders?confirm=3", stricter, status=200).document
    assert len(stored["would_delete"]) == 3
    again = app.ask("PUT", "/plans/orders", stricter, status=200).document
    assert len(again["would_delete"]) == 3, "told again, but nothing new goes"
    renamed = {**stricter, "rules": [{**stricter["rules"][0], "name": "other"}]}
    stays = [{"rule": "snap", "kind": "snapshot", "services": 1, "points": {"primary": 5}}]
    assert app.ask("PUT", "/plans/orders", renamed, status=200).document["stays_behind"] == stays
    assert app.ask("DELETE", "/plans/orders", status=200).document["stays_behind"] == stays


def test_the_newest_point_may_be_deleted_when_it_is_there_nowhere(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", service_rule(), snapshot_rule(volumes=DATA_ONLY))
    file, snapshot = (_back_up(app, rule=rule) for rule in ("file", "snap"))
    for point in (file, snapshot):
        app.ask("DELETE", f"/recovery-points/{point['id']}", status=409)
    app.s3("primary").delete_object(Bucket=BUCKETS["primary"], Key=file["artefacts"][0]["key"])
    app.ec2().delete_snapshot(SnapshotId=snapshot["artefacts"][0]["snapshot_ids"][0])
    for point in (file, snapshot):
        app.ask("DELETE", f"/recovery-points/{point['id']}", status=202)
    app.pass_time(minutes=5)
    assert {point["state"] for point in app.points()} == {"DELETED"}
    assert app.discrepancies() == []


def test_a_point_that_is_being_made_cannot_be_held_yet(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", snapshot_rule(volumes=DATA_ONLY))
    app.faults({"match": {"event": "*"}, "effect": {"drop": True}})
    job = app.back_up("orders")
    app.pass_time(seconds=2)
    point = app.job(job)["recovery_point"]
    answer = app.ask("PUT", f"/recovery-points/{point}/hold", {"reason": "audit"}, status=409)
    assert "it is CREATING" in answer.document["detail"]
