"""Completion events are a courtesy: lost, doubled, late or out of order, they change nothing of the end."""

from collections import Counter

import pytest

from tests.support.deployment import Deployment, Document, service_rule, snapshot_rule

COMPLETIONS = (
    "EBS Snapshot Notification",
    "EBS Multi-Volume Snapshots Completion Status",
    "EBS Volume Notification",
    "EC2 Command Invocation Status-change Notification",
)
FATES: dict[str, list[Document]] = {
    "lost": [{"effect": {"drop": True}}],
    "doubled": [{"effect": {"duplicate": 4}}],
    "late": [{"effect": {"delay": "40m"}}],
    "out of order": [{"effect": {"delay": "7m"}, "count": 1}],
    "first lost": [{"effect": {"drop": True}, "count": 1}],
}


@pytest.mark.long
@pytest.mark.parametrize("fate", FATES)
def test_whatever_becomes_of_the_events_the_end_is_the_same(app: Deployment, fate: str) -> None:
    instance = app.run_instance("orders", volumes=2)
    copies = [{"vault": "dr"}]
    app.put_plan("orders", snapshot_rule(copies=copies), service_rule(copies=[*copies, {"vault": "offsite"}]))
    app.faults(*({"match": {"event": name}, **fault} for name in COMPLETIONS for fault in FATES[fate]))
    app.ask("POST", "/backups", {"plan": "orders"}, status=202)
    app.pass_time(hours=1)
    points = {point["kind"]: point for point in app.points()}
    app.restore(points["snapshot"], "dr", availability_zone="eu-west-1a")
    app.restore(points["service"], "offsite", instance_id=instance)
    app.pass_time(hours=1)
    assert {job["state"] for job in app.jobs()} == {"COMPLETED"}
    assert Counter(job["kind"] for job in app.jobs()) >= Counter(backup=2, copy=3, restore=2, expire=2)
    vaults = {kind: {each["vault"] for each in point["artefacts"]} for kind, point in points.items()}
    assert vaults == {"snapshot": {"primary", "dr"}, "service": {"primary", "dr", "offsite"}}
    assert len((app.directory(instance) / "ran").read_text().split()) == 1
    assert len((app.directory(instance) / "restores").read_text().split()) == 1
    assert app.discrepancies() == []


def test_reconcile_alone_moves_every_job(app: Deployment) -> None:
    """All events are lost but the ticks, and every message on the jobs queue too."""
    app.run_instance("orders")
    app.put_plan("orders", snapshot_rule(copies=[{"vault": "dr"}]))
    app.faults(
        *({"match": {"event": name}, "effect": {"drop": True}} for name in COMPLETIONS),
    )
    job_id = app.back_up("orders")
    for _ in range(24):
        app.purge_jobs_queue()
        app.pass_time(minutes=5)
    assert app.job(job_id)["state"] == "COMPLETED"
    assert {each["vault"] for each in app.points()[0]["artefacts"]} == {"primary", "dr"}
    assert app.discrepancies() == []


def test_an_event_about_somebody_elses_snapshot_pokes_nothing(app: Deployment) -> None:
    app.run_instance("orders")
    (volume, *_) = app.ec2().describe_volumes()["Volumes"]
    app.ec2().create_snapshot(VolumeId=volume["VolumeId"])
    app.pass_time(minutes=1)
    assert app.jobs() == []
    assert app.dead_letters() == []


def test_events_that_come_after_the_end_wake_no_finished_job(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", snapshot_rule())
    app.faults({"match": {"event": COMPLETIONS[1]}, "effect": {"delay": "3h"}})
    job_id = app.back_up("orders")
    app.pass_time(hours=1)
    ended = app.job(job_id)
    assert ended["state"] == "COMPLETED"
    app.pass_time(hours=3)
    assert app.job(job_id) == ended
