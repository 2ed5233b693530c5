"""Attacks on launches, last backups and identities from outside: nothing is lost, doubled or kept waiting."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.app.test_identity_moves import Names, all_with
from tests.app.test_launches import KEEPS_DATA, launches, planned, read, reasons, with_a_point, write
from tests.support.deployment import BUCKETS, Deployment, Document, service_rule
from tests.support.groups import HOOKS, Group

RESULTS = ("autoscaling", "CompleteLifecycleAction")


def denied(service: str, operation: str, **which: object) -> Document:
    """Refuse an operation to the app's functions."""
    match = {"service": service, "operation": operation, "caller": "function"}
    return {"match": match, "effect": {"error": {"code": "AccessDenied", "status": 403}}, **which}


def at_call(service: str, operation: str, then: Callable[[], object], resource: str = "") -> Document:
    """Have something done once, just before a call of the app's is answered."""
    match = {"service": service, "operation": operation, "caller": "function", "resource": resource}
    return {"match": match, "effect": {"then": then}, "count": 1}


def second_plan(app: Deployment, **keys: Any) -> None:
    """Store another plan for the same instances, of another service, at the same hooks."""
    rule = service_rule(
        script='cat other > "$2" 2>/dev/null || echo none yet > "$2"',
        restore="cat > other",
        verify="test -s other",
        expect={"shrink": "off"},
    )
    keys = {
        "on_launch": {"restore": "file", "hook": "up", "on_failure": "abandon"},
        "on_terminate": {"backup": "file", "hook": "down"},
        **keys,
    }
    keys = {key: value for key, value in keys.items() if value is not None}
    app.put_plan("also", {**rule, **keys.pop("rule", {})}, selection={"tags": {"app": "orders"}}, **keys)


# two plans at one hook


@pytest.mark.long
def test_an_instance_of_two_plans_comes_up_with_the_data_of_both(app: Deployment) -> None:
    planned(app)
    second_plan(app, rule={"restore": "sleep 1; cat > other"})
    group = Group(app)
    first = group.only()
    write(app, first, "of the one\n")
    (app.directory(first) / "other").write_text("of the other\n")

    group.replace(first)
    app.pass_time(minutes=4)
    second = group.only()

    assert second != first, launches(app)
    assert (read(app, second), (app.directory(second) / "other").read_text()) == (
        "of the one\n",
        "of the other\n",
    )
    assert {state for state, _ in reasons(app, "launch") + reasons(app, "termination")} == {"COMPLETED"}


def test_an_instance_of_two_plans_goes_when_both_have_backed_it_up(app: Deployment) -> None:
    planned(app)
    second_plan(app, rule={"script": 'sleep 1; cat other > "$2"'}, on_launch=None)
    group = Group(app)
    first = group.only()
    (app.directory(first) / "other").write_text("of the other\n")
    group.drop(first)
    app.pass_time(minutes=4)

    assert group.states() == {}
    assert [state for state, _ in reasons(app, "termination")] == ["COMPLETED"] * 2
    assert {point["plan"] for point in app.points(state="AVAILABLE")} == {"orders", "also"}


@pytest.mark.long
def test_a_launch_that_fails_for_one_plan_is_abandoned_though_it_is_done_for_the_other(
    app: Deployment,
) -> None:
    planned(app)
    second_plan(app, rule={"restore": "sleep 1; exit 3"})
    instance = app.run_instance("orders")
    write(app, instance, "one\n")
    (app.directory(instance) / "other").write_text("other\n")
    for plan in ("orders", "also"):
        app.back_up(plan)
    app.pass_time(minutes=2)
    app.terminate(instance)
    group = Group(app)
    app.pass_time(minutes=3)

    assert "InService" not in group.states().values()


# what is backed up while a launch is under way, and after it failed


@pytest.mark.long
def test_nothing_half_restored_is_backed_up_when_the_plan_changes_meanwhile(app: Deployment) -> None:
    every = service_rule(
        **KEEPS_DATA
        | {
            "schedule": "rate(5 minutes)",
            "restore": "echo half > data; touch began; sleep 10; cat > data",
            "timeout": "10m",
        }
    )
    planned(app, every, on_launch={"timeout": "30m"})
    with_a_point(app, "whole\n")
    group = Group(app, heartbeat=3600)
    app.pass_time(minutes=1)
    app.put_plan("orders", every)
    app.pass_time(minutes=5, seconds=30)

    made = [app.read("primary", p["artefacts"][0]["key"]) for p in app.points(state="AVAILABLE")]
    assert b"half\n" not in made
    app.pass_time(minutes=8)
    assert list(group.states().values()) == ["InService"]


def test_nothing_half_restored_is_backed_up_by_another_plan(app: Deployment) -> None:
    slow = service_rule(
        **KEEPS_DATA | {"restore": "echo half > data; sleep 10; cat > data", "timeout": "10m"}
    )
    planned(app, slow, on_launch={"timeout": "30m"})
    with_a_point(app, "whole\n")
    every = service_rule(**KEEPS_DATA | {"schedule": "rate(5 minutes)"})
    app.put_plan("also", every, selection={"tags": {"app": "orders"}})
    Group(app, heartbeat=3600)
    app.pass_time(minutes=6)

    made = [app.read("primary", p["artefacts"][0]["key"]) for p in app.points(state="AVAILABLE")]
    assert b"half\n" not in made


@pytest.mark.long
def test_an_instance_whose_restore_failed_makes_no_good_point_that_the_next_one_gets(
    app: Deployment,
) -> None:
    planned(
        app,
        service_rule(**KEEPS_DATA | {"restore": "test -e /tmp/never-there"}),
        on_launch={"on_failure": "continue"},
    )
    with_a_point(app, "whole\n")
    group = Group(app)
    first = group.only()
    app.back_up("orders")
    app.pass_time(minutes=2)
    planned(app, on_launch={"on_failure": "continue"})
    group.replace(first)
    app.pass_time(minutes=4)

    assert read(app, group.only()) == "whole\n"


@pytest.mark.long
def test_a_fresh_instance_is_not_backed_up_before_its_launch(app: Deployment) -> None:
    every = service_rule(**KEEPS_DATA | {"schedule": "rate(5 minutes)"})
    app.put_plan("orders", service_rule(**KEEPS_DATA))
    with_a_point(app, "whole\n")
    planned(app, every, on_launch={"hook": None, "on_failure": "continue"}, on_terminate={"backup": "file"})
    app.pass_time(seconds=2)
    app.faults({"match": {"event": "EC2 Instance State-change Notification"}, "effect": {"drop": True}})
    instance = app.run_instance("orders", wait=False)
    app.pass_time(minutes=20)

    assert read(app, instance) == "whole\n"


# time


@pytest.mark.long
def test_a_launch_ends_and_its_group_is_told_though_it_may_not_look_at_groups(app: Deployment) -> None:
    planned(app)
    with_a_point(app)
    app.faults(denied("autoscaling", "DescribeAutoScalingInstances"))
    group = Group(app)
    app.pass_time(minutes=5)

    (launch, *_) = launches(app)
    assert launch["state"] in ("FAILED", "COMPLETED"), launch
    assert "Pending:Wait" not in group.states().values()


def test_a_launch_does_not_wait_for_an_instance_that_others_keep(app: Deployment) -> None:
    planned(app)
    group = Group(app, hooks=[*HOOKS, {**HOOKS[1], "LifecycleHookName": "drain"}], heartbeat=7200)
    first = group.only()
    write(app, first, "saved\n")
    group.replace(first)
    app.pass_time(minutes=10)

    states = group.states()
    assert states.pop(first) == "Terminating:Wait"
    assert list(states.values()) == ["InService"], launches(app)


def test_a_hook_that_no_group_has_is_said_when_the_plan_is_stored(app: Deployment) -> None:
    Group(app, hooks=HOOKS[:1])
    app.pass_time(minutes=1)
    launch = {"restore": "file", "hook": "upp"}
    plan: Document = {
        "service": "orders",
        "selection": {"tags": {"app": "orders"}},
        "rules": [service_rule(**KEEPS_DATA)],
        "on_launch": launch,
        "on_terminate": {"backup": "file", "hook": "down"},
    }
    warnings = app.ask("PUT", "/plans/orders", plan, status=200).document["warnings"]
    assert [each for each in warnings if "upp" in each and "orders" in each]
    assert [each for each in warnings if "down" in each]


# many


@pytest.mark.long
def test_many_that_go_at_once_are_each_backed_up_or_go_in_time(app: Deployment) -> None:
    planned(app)
    group = Group(app, desired=8)
    app.pass_time(minutes=4)
    assert list(group.states().values()) == ["InService"] * 8
    for number, instance in enumerate(group.states()):
        write(app, instance, f"of {number}\n")
    group.autoscaling.set_desired_capacity(AutoScalingGroupName="orders", DesiredCapacity=0)
    app.pass_time(minutes=20)

    assert group.states() == {}
    made = {app.read("primary", p["artefacts"][0]["key"]) for p in app.points(state="AVAILABLE", rule="file")}
    assert {f"of {number}\n".encode() for number in range(8)} <= made


@pytest.mark.long
def test_many_launches_end_though_everything_is_throttled(app: Deployment) -> None:
    planned(app)
    with_a_point(app)
    refused = [
        {
            "match": {"service": service, "operation": operation, "caller": "function"},
            "effect": {"error": {"code": code, "status": 400}},
            "count": 8,
        }
        for service, operation, code in (
            ("autoscaling", "DescribeAutoScalingInstances", "Throttling"),
            ("autoscaling", "CompleteLifecycleAction", "Throttling"),
            ("autoscaling", "DescribeLifecycleHooks", "Throttling"),
            ("ec2", "DescribeInstances", "RequestLimitExceeded"),
            ("ssm", "SendCommand", "ThrottlingException"),
        )
    ]
    app.faults(*refused)
    group = Group(app, desired=8)
    app.pass_time(minutes=20)

    assert app.faults_met() >= 30
    assert list(group.states().values()) == ["InService"] * 8, launches(app)
    assert {read(app, instance) for instance in group.states()} == {"what was saved\n"}
    assert [job["state"] for job in launches(app)] == ["COMPLETED"] * 8


# identity


@pytest.fixture
def names(app: Deployment) -> Names:
    return Names(app)


@pytest.mark.long
def test_two_launches_at_once_agree_on_one_that_has_the_identity(app: Deployment, names: Names) -> None:
    planned(app, identity=names.identity)
    with_a_point(app)
    group = Group(app, desired=2, heartbeat=30)
    app.pass_time(minutes=6)

    assert list(group.states().values()) == ["InService"] * 2, launches(app)
    assert names.holders() in [all_with(instance) for instance in group.states()]
    assert app.calls("ec2", "AssociateAddress") <= 2


@pytest.mark.long
def test_a_zone_that_is_missing_moves_nothing(app: Deployment, names: Names) -> None:
    planned(app, identity={**names.identity, "dns": {"zone": "ZNONE123", "name": "orders.example.internal"}})
    with_a_point(app)
    Group(app, hooks=HOOKS[:1])
    app.pass_time(minutes=3)

    (launch, *_) = launches(app)
    assert launch["state"] == "FAILED"
    assert "ZNONE123" in launch["reason"]
    assert names.holders()["elastic_ip"] is None


@pytest.mark.long
def test_a_point_whose_bytes_were_changed_is_not_restored_and_the_group_is_told(app: Deployment) -> None:
    planned(app)
    with_a_point(app)
    [artefact] = app.points()[0]["artefacts"]
    app.spoil("primary", artefact["key"], b"what was forged")
    group = Group(app)
    app.pass_time(minutes=2)

    (launch, *_) = launches(app)
    assert launch["state"] == "FAILED"
    assert "SHA-256" in launch["reason"] or "bytes" in launch["reason"], launch
    assert "was told ABANDON" in launch["reason"]
    assert "InService" not in group.states().values()
    assert not any((app.directory(instance) / "data").exists() for instance in group.states())


def test_a_point_that_is_missing_in_its_vault_is_not_the_newest(app: Deployment) -> None:
    planned(app)
    with_a_point(app, "older\n")
    instance = app.run_instance("orders")
    write(app, instance, "newer\n")
    app.back_up("orders")
    app.pass_time(minutes=2)
    app.terminate(instance)
    newest = max(app.points(state="AVAILABLE"), key=lambda point: point["created_at"])
    [artefact] = newest["artefacts"]
    app.s3("primary").delete_object(Bucket=BUCKETS["primary"], Key=artefact["key"])
    app.ask("POST", "/inventory", {"vault": "primary"}, status=202)
    app.pass_time(minutes=20)
    assert app.point(newest["id"])["state"] == "FAILED"

    assert read(app, Group(app).only()) == "older\n"
