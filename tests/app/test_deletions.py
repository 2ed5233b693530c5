"""Deletions that are asked for, while copies lag, fail or overtake each other."""

from datetime import timedelta

from tests.support.deployment import Deployment, snapshot_rule


def _finish(app: Deployment) -> None:
    end = app.now + timedelta(hours=2)
    while app.unfinished():
        assert app.now < end, app.unfinished()
        app.pass_time(minutes=5)


def test_the_newest_point_of_a_vault_is_not_deleted_while_its_copies_lag(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", snapshot_rule(copies=[{"vault": "dr"}]))
    app.back_up("orders")
    _finish(app)
    refused = {"error": {"code": "InvalidParameterValue"}}
    app.faults({"match": {"service": "ec2", "operation": "CopySnapshot"}, "effect": refused})
    app.back_up("orders")
    _finish(app)
    older, newer = app.points()
    states = {each["vault"]: each["state"] for each in newer["artefacts"]}
    assert states == {"dr": "FAILED", "primary": "AVAILABLE"}
    refusal = app.ask("DELETE", f"/recovery-points/{older['id']}", status=409).document["detail"]
    assert refusal.endswith("it is the newest good point of its lineage in dr, which is never deleted")
    assert app.point(older["id"]) == older


def test_a_copy_that_no_rule_keeps_holds_no_deletion_up(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", snapshot_rule())
    app.back_up("orders")
    _finish(app)
    (older,) = app.points()
    app.copy(older, "dr")
    _finish(app)
    app.back_up("orders")
    _finish(app)
    app.ask("DELETE", f"/recovery-points/{older['id']}", status=202)
    _finish(app)
    assert app.point(older["id"])["state"] == "DELETED"
    assert app.discrepancies() == []
