"""The tick: one plan's trouble stays its own."""

from tests.support.deployment import Deployment, snapshot_rule


def test_a_plan_that_fails_in_a_way_nobody_knows_stops_no_other(app: Deployment) -> None:
    hourly = {"schedule": "rate(1 hour)"}
    for plan in ("alpha", "beta"):
        app.run_instance(plan)
        app.put_plan(plan, {**snapshot_rule(), **hourly})
    match = {"service": "ec2", "operation": "DescribeInstances", "resource": "alpha", "caller": "function"}
    app.faults({"match": match, "effect": {"error": {"code": "SomethingNew"}}})
    app.pass_time(hours=1, minutes=10)
    assert app.faults_met()
    assert {point["plan"] for point in app.points()} == {"beta"}
    app.faults()
    app.pass_time(minutes=10)
    assert {point["plan"] for point in app.points()} == {"alpha", "beta"}
