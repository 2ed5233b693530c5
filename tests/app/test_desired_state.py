"""What the plan says should be is brought about: one backup at a time, failed and missed runs made up for,
copies made until they are there; and what is not so is told."""

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from tests.support.deployment import Deployment, Document, parse_time, service_rule, snapshot_rule

DATA_ONLY = {"boot": False}
HOURLY = snapshot_rule("hourly", schedule="cron(0 * * * ? *)", volumes=DATA_ONLY)
REFUSED: Document = {"error": {"code": "ConcurrentSnapshotLimitExceeded"}}


def _refusing(service: str, operation: str, **effect: Any) -> Document:
    return {"match": {"service": service, "operation": operation}, "effect": effect or REFUSED}


def _status(app: Deployment, service: str) -> Document:
    item: Document
    (item,) = app.listing("status", service=service)
    return item


def _row(app: Deployment, service: str, vault: str) -> Document:
    row: Document
    (row,) = (each for each in _status(app, service)["rules"] if each["vault"] == vault)
    return row


def _good_in(app: Deployment, vault: str) -> set[str]:
    return {
        point["id"]
        for point in app.points()
        for each in point["artefacts"]
        if (each["vault"], each["state"]) == (vault, "AVAILABLE")
    }


# One at a time


@pytest.mark.long
def test_after_hours_of_refusals_one_run_follows_and_the_others_are_counted_on_it(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", HOURLY | {"lifecycle": {"count": 3}})
    app.pass_time(hours=3)
    before = {point["id"] for point in app.points()}
    assert len(before) == 3
    app.faults(_refusing("ec2", "CreateSnapshots"))
    app.pass_time(hours=8, minutes=30)
    waiting = app.unfinished()
    assert len(waiting) == 1, "a newer due run supersedes one that has not begun"
    app.faults()
    app.pass_until(app.now.replace(minute=50))
    made = [point for point in app.points() if point["id"] not in before and point["state"] == "AVAILABLE"]
    assert len(made) == 1
    (backup,) = (job for job in app.jobs(kind="backup") if job.get("superseded"))
    assert backup["state"] == "COMPLETED"
    assert backup["superseded"] == 7
    passed_over = [job for job in app.jobs(kind="backup") if job["state"] == "CANCELLED"]
    assert len(passed_over) == 7
    assert all("superseded by backup-" in job["reason"] for job in passed_over)
    assert len(before & {point["id"] for point in app.points(state="AVAILABLE")}) == 2, "count: 3"
    assert app.discrepancies() == []


@pytest.mark.long
def test_a_backup_that_is_under_way_holds_back_the_next_ones_and_the_newest_follows(app: Deployment) -> None:
    instance = app.run_instance("orders")
    app.put_plan("orders", service_rule(schedule="cron(0/10 * * * ? *)", timeout="5m"))
    app.faults(_refusing("ssm", "SendCommand", error={"code": "ThrottlingException"}))
    app.pass_time(minutes=33)
    first, second, newest = app.jobs(kind="backup")
    assert f"superseded by {newest['id']}" in second["reason"]
    assert f"waiting for {first['id']}" in newest["reason"]
    app.faults()
    app.poke(first["id"])  # its own pause may last longer than it is to the next run
    app.pass_time(minutes=5)
    ran = (app.directory(instance) / "ran").read_text().split()
    assert ran == [first["id"], newest["id"]], "one after the other, and the one between them never"
    assert app.job(newest["id"])["superseded"] == 1
    assert app.discrepancies() == []


@pytest.mark.long
def test_a_backup_that_is_asked_for_waits_and_is_superseded_by_none(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", HOURLY)
    app.faults(_refusing("ec2", "CreateSnapshots"))
    asked = app.back_up("orders")
    app.pass_time(hours=3)
    app.faults()
    app.pass_until(app.now.replace(minute=50))
    assert app.job(asked)["state"] == "COMPLETED"
    assert "superseded" not in app.job(asked)
    assert len(app.points(state="AVAILABLE")) == 2
    assert app.discrepancies() == []


# Tried again


def test_a_scheduled_backup_that_failed_is_made_again_within_its_period(app: Deployment) -> None:
    instance = app.run_instance("orders")
    rule = service_rule(
        schedule="cron(0 0 * * ? *)",
        script='test -e fixed || { echo "no dump" >&2; exit 3; }; echo data > "$2"',
    )
    app.put_plan("orders", rule)
    app.pass_until(app.now.replace(hour=0, minute=20) + timedelta(days=1))
    (failed, again) = app.jobs(kind="backup")
    assert (failed["state"], again["state"]) == ("FAILED", "FAILED")
    assert "no dump" in failed["reason"]
    assert "tried again at" in _status(app, "orders")["says"][0]
    (app.directory(instance) / "fixed").touch()
    app.pass_time(hours=1)
    *_, last = app.jobs(kind="backup")
    assert last["state"] == "COMPLETED"
    assert {job["nominal_at"] for job in app.jobs(kind="backup")} == {failed["nominal_at"]}
    assert _status(app, "orders")["says"] == []
    assert app.discrepancies() == []


@pytest.mark.long
def test_a_run_is_tried_as_often_as_the_plan_says_with_growing_pauses(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", service_rule(schedule="cron(0 0 * * ? *)", script="exit 3", retry={"attempts": 2}))
    app.pass_until(app.now.replace(hour=12) + timedelta(days=1))
    jobs = app.jobs(kind="backup")
    assert [job["state"] for job in jobs] == ["FAILED"] * 3
    opened = [parse_time(job["created_at"]) for job in jobs]
    pauses = [later - earlier for earlier, later in pairwise(opened)]
    assert timedelta(minutes=15) <= pauses[0] <= timedelta(minutes=21)
    assert timedelta(minutes=30) <= pauses[1] <= timedelta(minutes=36)


def test_runs_that_failed_are_not_told_to_be_superseded(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", HOURLY)
    app.faults(_refusing("ec2", "CreateSnapshots", error={"code": "UnauthorizedOperation", "status": 403}))
    app.pass_time(hours=2)
    app.faults()
    app.pass_time(minutes=50)
    *failed, made = app.jobs(kind="backup")
    assert {job["state"] for job in failed} == {"FAILED"}
    assert made["state"] == "COMPLETED"
    assert "superseded" not in made


def test_a_try_takes_the_plan_and_the_instances_as_they_are_then(app: Deployment) -> None:
    old = app.run_instance("orders")
    app.put_plan("orders", service_rule(schedule="cron(0 0 * * ? *)", script="exit 3"))
    app.pass_until(app.now.replace(hour=0, minute=5) + timedelta(days=1))
    app.terminate(old)
    new = app.run_instance("orders")
    app.put_plan("orders", service_rule(schedule="cron(0 0 * * ? *)"))
    app.pass_time(minutes=30)
    assert [job["state"] for job in app.jobs(kind="backup")] == ["FAILED", "COMPLETED"]
    (point,) = app.points(state="AVAILABLE")
    assert point["source"]["instances"] == [new]


def test_a_run_is_tried_no_more_when_its_rule_is_gone(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", service_rule(schedule="cron(0 0 * * ? *)", script="exit 3"))
    app.pass_until(app.now.replace(hour=0, minute=5) + timedelta(days=1))
    app.put_plan("orders", HOURLY | {"schedule": "cron(0 23 * * ? *)"})
    app.pass_time(hours=2)
    assert len(app.jobs(kind="backup")) == 1


# Missed


def test_a_due_run_that_could_not_be_made_leaves_a_job_that_says_why(app: Deployment) -> None:
    instance = app.run_instance("orders")
    app.put_plan("orders", HOURLY | {"retry": {"attempts": 0}})
    app.pass_until(app.now.replace(minute=10) + timedelta(hours=1))
    app.terminate(instance)
    app.pass_time(hours=2)
    made, *missed = app.jobs(kind="backup")
    assert made["state"] == "COMPLETED"
    assert [job["state"] for job in missed] == ["FAILED", "FAILED"]
    for job in missed:
        assert job["reason"].startswith("MISSED: plan orders selects no instance (last seen ")
        assert instance in job["reason"]
    assert "MISSED" in _status(app, "orders")["says"][0]
    renamed = HOURLY | {"name": "other"}
    app.put_plan("orders", renamed)
    assert not any("MISSED" in each for each in _status(app, "orders")["says"]), "its rule is gone"
    app.put_plan("orders", HOURLY)
    app.run_instance("orders")
    app.pass_time(hours=1)
    assert app.jobs(kind="backup")[-1]["state"] == "COMPLETED"
    assert _status(app, "orders")["says"] == []


def test_a_plan_that_never_selected_anything_is_shown_and_its_runs_are_missed(app: Deployment) -> None:
    app.put_plan("orders", HOURLY, service={"tag": "Name"})
    assert "has never selected an instance" in _status(app, "orders")["says"][0]
    app.pass_time(hours=1)
    job, *_ = app.jobs(kind="backup")
    assert job["state"] == "FAILED"
    assert job["reason"] == "MISSED: plan orders selects no instance (none was ever seen)"
    app.pass_until(app.now.replace(minute=5) + timedelta(hours=2))
    missed = app.jobs(kind="backup")
    assert len({job["nominal_at"] for job in missed}) == 3, "each due run leaves a job"
    app.run_instance("orders", Name="web")
    app.pass_time(hours=1)
    assert {each["service"]: each["says"] for each in app.listing("status")} == {"web": []}


def test_runs_that_nobody_can_make_leave_jobs_and_one_late_run_follows(app: Deployment) -> None:
    instance = app.run_instance("orders")
    app.put_plan("orders", HOURLY | {"retry": {"attempts": 0}})
    app.pass_time(hours=1)
    app.faults(
        {
            "match": {"service": "ec2", "operation": "DescribeInstances", "caller": "function"},
            "effect": {"error": {"code": "UnauthorizedOperation", "status": 403}},
        }
    )
    app.pass_time(hours=2)
    _, *missed = app.jobs(kind="backup")
    assert [job["state"] for job in missed] == ["FAILED", "FAILED"]
    for job in missed:
        assert job["reason"].startswith("MISSED: EC2 did not say what plan orders selects (last seen ")
        assert instance in job["reason"]
        assert "UnauthorizedOperation" in job["reason"]
    assert "UnauthorizedOperation" in _status(app, "orders")["says"][0]
    app.faults()
    app.pass_time(minutes=30)
    late = app.jobs(kind="backup")[-1]
    assert (late["state"], late["nominal_at"]) == ("COMPLETED", missed[-1]["nominal_at"])
    assert len(app.points(state="AVAILABLE")) == 2
    assert _status(app, "orders")["says"] == []
    assert app.discrepancies() == []


def test_a_service_that_vanished_is_missed_while_the_others_are_backed_up(app: Deployment) -> None:
    app.run_instance("fleet", Name="web")
    gone = app.run_instance("fleet", Name="db")
    app.put_plan("fleet", HOURLY, service={"tag": "Name"})
    app.pass_time(hours=1)
    app.terminate(gone)
    app.pass_until(app.now.replace(minute=5) + timedelta(hours=1))
    missed = [job for job in app.jobs(service="db", kind="backup") if job["state"] == "FAILED"]
    assert len(missed) == 1
    assert f"plan fleet selects no instance of db (last seen {gone} on" in missed[0]["reason"]
    assert {job["state"] for job in app.jobs(service="web", kind="backup")} == {"COMPLETED"}
    assert len(_status(app, "db")["says"]) == 1


# Copies


@pytest.mark.long
def test_a_copy_is_made_again_until_it_is_there_and_says_so_meanwhile(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", snapshot_rule(volumes=DATA_ONLY, copies=[{"vault": "dr"}]))
    app.faults(
        {
            "match": {"service": "ec2", "operation": "CopySnapshot"},
            "effect": {"error": {"code": "UnauthorizedOperation", "status": 403}},
        }
    )
    app.back_up("orders")
    app.pass_time(hours=2)
    (point,) = app.points()
    (due,) = point["copies_due"]
    assert due["vault"] == "dr"
    assert due["tries"] >= 3
    assert _row(app, "orders", "dr")["copies_due"] == 1
    assert "copies into dr that failed and will be tried again" in _status(app, "orders")["says"][0]
    app.pass_time(days=2)
    (dr,) = (each for each in app.point(point["id"])["artefacts"] if each["vault"] == "dr")
    assert dr["state"] == "FAILED", "what never was there is not DELETED"
    app.faults()
    app.pass_time(days=1, hours=1)
    point = app.point(point["id"])
    assert {each["vault"]: each["state"] for each in point["artefacts"]} == {
        "primary": "AVAILABLE",
        "dr": "AVAILABLE",
    }
    assert "copies_due" not in point
    assert _row(app, "orders", "dr")["copies_due"] == 0
    assert _status(app, "orders")["says"] == []
    assert app.discrepancies() == []


@pytest.mark.long
def test_an_original_stays_while_its_copy_is_still_to_be_made(app: Deployment) -> None:
    app.run_instance("orders")
    rule = HOURLY | {"lifecycle": {"count": 1}, "copies": [{"vault": "dr", "lifecycle": {"count": 3}}]}
    app.put_plan("orders", rule)
    app.faults(
        {
            "match": {"service": "ec2", "operation": "CopySnapshot"},
            "effect": {"error": {"code": "UnauthorizedOperation", "status": 403}},
        }
    )
    app.pass_time(hours=6)
    assert len(app.points(state="AVAILABLE", vault="primary")) >= 3
    app.faults()
    app.put_plan("orders", rule | {"schedule": "cron(0 0 1 1 ? 2199)"})
    app.pass_time(days=2)
    in_vaults = [
        {each["vault"] for each in point["artefacts"] if each["state"] == "AVAILABLE"}
        for point in app.points(state="AVAILABLE")
    ]
    assert sum("primary" in vaults for vaults in in_vaults) == 1
    assert sum("dr" in vaults for vaults in in_vaults) == 3
    assert app.discrepancies() == []


@pytest.mark.long
def test_a_copy_that_is_due_is_displaced_by_no_suspect_and_no_scheduled_point_by_one_asked_for(
    app: Deployment,
) -> None:
    instance = app.run_instance("orders")
    rule = service_rule(
        schedule="cron(0 * * * ? *)",
        script='if [ -e broken ]; then echo x > "$2"; else seq 1 1000 > "$2"; fi',
        lifecycle={"count": 2},
        copies=[{"vault": "dr"}],
    )
    app.put_plan("orders", rule)
    app.faults(
        {
            "match": {"service": "s3", "operation": "CopyObject"},
            "effect": {"error": {"code": "AccessDenied", "status": 403}},
        }
    )
    app.back_up("orders")
    app.pass_time(hours=2)
    (app.directory(instance) / "broken").touch()
    good = {point["id"] for point in app.points(state="AVAILABLE")}
    assert len(good) == 3
    app.pass_time(hours=4)
    app.faults()
    app.pass_time(hours=9)
    assert good <= _good_in(app, "dr")
    assert _status(app, "orders")["says"] == []


def test_a_copy_that_the_plan_wants_no_more_is_made_no_more(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", snapshot_rule(volumes=DATA_ONLY, copies=[{"vault": "dr"}]))
    app.faults(
        {
            "match": {"service": "ec2", "operation": "CopySnapshot"},
            "effect": {"error": {"code": "UnauthorizedOperation", "status": 403}},
        }
    )
    app.back_up("orders")
    app.pass_time(minutes=5)
    app.put_plan("orders", snapshot_rule(volumes=DATA_ONLY))
    app.pass_time(hours=3)
    (point,) = app.points()
    assert "copies_due" not in point
    assert len(app.jobs(kind="copy")) == 1


@pytest.mark.long
def test_a_vault_that_lags_behind_does_not_meet_the_rpo(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan(
        "orders",
        service_rule(schedule="cron(0 * * * ? *)", copies=[{"vault": "dr"}]),
        objectives={"rpo": "2h"},
    )
    app.pass_time(hours=2)
    assert _status(app, "orders")["rpo"]["met"] is True
    app.faults(
        {
            "match": {"service": "s3", "operation": "CopyObject"},
            "effect": {"error": {"code": "AccessDenied", "status": 403}},
        }
    )
    app.pass_time(hours=4)
    assert _status(app, "orders")["rpo"]["met"] is False
    assert _row(app, "orders", "primary")["newest_at"] > _row(app, "orders", "dr")["newest_at"]


# What is there whatever the plan says


def test_points_of_a_plan_that_is_gone_stay_visible(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", HOURLY)
    app.pass_time(hours=2)
    app.ask("DELETE", "/plans/orders")
    status = _status(app, "orders")
    assert "plan orders was removed" in status["says"][0]
    assert [(row["rule"], row["vault"], row["wanted"], row["points"]) for row in status["rules"]] == [
        ("hourly", "primary", False, 2)
    ]
    app.put_plan("orders", HOURLY | {"name": "other"})
    assert "rule hourly (snapshot) in primary: all 2 are kept" in _status(app, "orders")["says"][0]
