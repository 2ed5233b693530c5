"""The tick: one plan's trouble stays its own."""

from collections.abc import Mapping

from tests.support.deployment import Deployment, snapshot_rule

HOOKED = {"on_launch": {"restore": "snap", "hook": "up"}, "on_terminate": {"backup": "snap", "hook": "down"}}


def calls_of_a_tick(app: Deployment) -> Mapping[str, int]:
    """Let one tick pass, and return what it called."""
    before = app.cloud.calls.by_operation()
    app.pass_time(minutes=5)
    now = app.cloud.calls.by_operation()
    made = {
        f"{service}:{name}": count - before.get(service, {}).get(name, 0)
        for service, operations in now.items()
        for name, count in operations.items()
    }
    return {operation: count for operation, count in made.items() if count}


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


def test_a_tick_with_nothing_due_makes_one_query_and_one_call_more_where_a_plan_looks_at_hooks(
    app: Deployment,
) -> None:
    app.put_plan("alpha", snapshot_rule())
    app.put_plan("beta", snapshot_rule(restore="true"), **HOOKED)
    app.pass_time(minutes=15)
    looking = {"dynamodb:Query": 1, "autoscaling:DescribeAutoScalingInstances": 1}
    assert calls_of_a_tick(app) == looking

    app.put_plan("beta", snapshot_rule())
    app.pass_time(minutes=15)
    assert calls_of_a_tick(app) == {"dynamodb:Query": 1}

    app.put_plan("alpha", snapshot_rule(restore="true"), **HOOKED)
    app.pass_time(minutes=15)
    assert calls_of_a_tick(app) == looking
    app.ask("DELETE", "/plans/alpha", status=200)
    app.pass_time(minutes=15)
    assert calls_of_a_tick(app) == {"dynamodb:Query": 1}
