"""An instance of a group comes up with its service's data, and saves it before it goes."""

from dataclasses import replace
from typing import Any

import pytest

from tests.support.deployment import Deployment, Document, service_rule, snapshot_rule
from tests.support.groups import HOOKS, Group

LAUNCH_EVENT = "EC2 Instance-launch Lifecycle Action"
TERMINATE_EVENT = "EC2 Instance-terminate Lifecycle Action"
KEEPS_DATA: Document = {
    "script": 'cat data > "$2" 2>/dev/null || echo nothing yet > "$2"',
    "restore": "cat > data",
    "verify": "test -s data",
    "expect": {"shrink": "off"},
}


def planned(app: Deployment, *rules: Document, **keys: Any) -> None:
    """Store a plan whose instances come up with the newest backup, and are backed up before they go."""
    launch = {"restore": "file", "hook": "up", "on_failure": "abandon", **keys.pop("on_launch", {})}
    keys = {"on_terminate": {"backup": "file", "hook": "down"}, **keys}
    launch = {key: value for key, value in launch.items() if value is not None}
    app.put_plan("orders", *(rules or (service_rule(**KEEPS_DATA),)), on_launch=launch, **keys)


def write(app: Deployment, instance: str, text: str) -> None:
    """Write the service's data on an instance."""
    (app.directory(instance) / "data").write_text(text)


def read(app: Deployment, instance: str) -> str:
    """Read the service's data on an instance."""
    return (app.directory(instance) / "data").read_text()


def launches(app: Deployment) -> list[Document]:
    """List the launch jobs, oldest first; not the scripts that they run."""
    found = [job for job in app.jobs(kind="launch") if job["method"] == "launch"]
    return sorted(found, key=lambda job: job["created_at"])


def reasons(app: Deployment, kind: str) -> list[tuple[str, str]]:
    """List how the jobs of a kind ended, oldest first."""
    jobs = sorted(app.jobs(kind=kind), key=lambda job: job["created_at"])
    return [(job["state"], job["reason"]) for job in jobs]


def with_a_point(app: Deployment, text: str = "what was saved\n") -> None:
    """Have a good point of the service, of an instance that is gone."""
    instance = app.run_instance("orders")
    write(app, instance, text)
    app.back_up("orders")
    app.pass_time(minutes=2)
    assert [point["state"] for point in app.points()] == ["AVAILABLE"]
    app.terminate(instance)


def test_a_replaced_instance_is_backed_up_and_the_new_one_has_its_data(app: Deployment) -> None:
    planned(app)
    group = Group(app)
    first = group.only()
    [(state, reason)] = reasons(app, "launch")
    assert (state, "there is no good point" in reason) == ("COMPLETED", True)
    write(app, first, "what the first one wrote\n")

    group.replace(first)
    app.pass_time(minutes=2)
    second = group.only()

    assert second != first
    assert read(app, second) == "what the first one wrote\n"
    [(state, reason)] = reasons(app, "termination")
    assert (state, f"{first} was backed up by backup-" in reason) == ("COMPLETED", True)
    (_, (state, reason)) = reasons(app, "launch")
    assert (state, "its verify script passed" in reason) == ("COMPLETED", True)
    assert app.discrepancies() == []


@pytest.mark.long
@pytest.mark.parametrize("effect", [{"drop": True}, {"duplicate": 3}, {"delay": "8m"}], ids=str)
def test_a_launch_is_served_once_whatever_becomes_of_its_event(app: Deployment, effect: Document) -> None:
    planned(app, service_rule(**KEEPS_DATA | {"restore": "cat > data; echo restored >> restores"}))
    with_a_point(app)
    app.faults({"match": {"event": LAUNCH_EVENT}, "effect": effect})

    instance = Group(app).only()

    assert app.faults_met() > 0
    assert read(app, instance) == "what was saved\n"
    assert (app.directory(instance) / "restores").read_text() == "restored\n"
    app.pass_time(minutes=15)
    assert [job["state"] for job in launches(app)] == ["COMPLETED"]


@pytest.mark.long
@pytest.mark.parametrize("effect", [{"drop": True}, {"duplicate": 3}], ids=str)
def test_an_instance_that_goes_is_backed_up_whatever_becomes_of_its_event(
    app: Deployment, effect: Document
) -> None:
    planned(app)
    group = Group(app)
    first = group.only()
    write(app, first, "the last words\n")
    app.faults({"match": {"event": TERMINATE_EVENT}, "effect": effect})

    group.replace(first)
    app.pass_time(minutes=8)
    app.faults()

    assert read(app, group.only()) == "the last words\n"
    assert [state for state, _ in reasons(app, "termination")] == ["COMPLETED"]


@pytest.mark.long
@pytest.mark.parametrize("on_failure", ["abandon", "continue"])
def test_a_launch_without_a_point_that_is_required_is_abandoned(app: Deployment, on_failure: str) -> None:
    planned(app, on_launch={"required": True, "on_failure": on_failure})
    group = Group(app)
    app.pass_time(minutes=3)

    (first, *_) = launches(app)
    assert first["state"] == "FAILED"
    assert "there is no good point of orders, rule file, to restore yet" in first["reason"]
    assert "was told ABANDON" in first["reason"]
    assert "InService" not in group.states().values()


@pytest.mark.long
@pytest.mark.parametrize(("on_failure", "told"), [("abandon", "ABANDON"), ("continue", "CONTINUE")])
def test_a_restore_that_fails_half_way_is_told_to_the_group_as_the_plan_says(
    app: Deployment, on_failure: str, told: str
) -> None:
    planned(
        app,
        service_rule(**KEEPS_DATA | {"restore": "cat > data; exit 3"}),
        on_launch={"on_failure": on_failure},
    )
    with_a_point(app)
    group = Group(app)
    app.pass_time(minutes=2)

    (launch, *_) = launches(app)
    assert launch["state"] == "FAILED"
    assert "the restore script failed" in launch["reason"]
    assert f"group orders was told {told}" in launch["reason"]
    assert ("InService" in group.states().values()) == (on_failure == "continue")


@pytest.mark.long
def test_a_restore_whose_verify_fails_is_no_launch(app: Deployment) -> None:
    planned(app, service_rule(**KEEPS_DATA | {"verify": "exit 1"}))
    with_a_point(app)
    group = Group(app)
    app.pass_time(minutes=2)

    assert "the verify script failed" in launches(app)[0]["reason"]
    assert "InService" not in group.states().values()


@pytest.mark.long
@pytest.mark.parametrize("may_loop", [True, False])
def test_a_launch_that_waits_long_needs_leave_to_loop(app: Deployment, may_loop: bool) -> None:
    """Its worker pokes it through the queue that wakes the worker: a loop, as Lambda sees it."""
    functions = app.cloud.functions
    worker = functions.get("farshore-AdvanceJobs")
    assert worker.may_loop
    functions.add(replace(worker, may_loop=may_loop))
    planned(app)
    with_a_point(app)
    Group(app, hooks=HOOKS[:1], heartbeat=7200, tags={"local:ssm-agent": "none"})
    app.pass_time(minutes=40)
    assert bool(app.dead_letters()) is not may_loop


@pytest.mark.long
def test_an_agent_that_never_comes_ends_the_launch_within_the_hooks_time(app: Deployment) -> None:
    planned(app, on_launch={"timeout": "47h"})
    with_a_point(app)
    group = Group(app, hooks=HOOKS[:1], heartbeat=30, tags={"local:ssm-agent": "none"})
    app.pass_time(minutes=51)

    (launch, *_) = launches(app)
    assert launch["state"] == "FAILED"
    assert "waiting for the SSM agent of" in launch["reason"]
    assert "was told ABANDON" in launch["reason"]
    assert "InService" not in group.states().values()


def test_a_scheduled_backup_leaves_out_an_instance_whose_launch_is_not_over(app: Deployment) -> None:
    every = service_rule(**KEEPS_DATA | {"schedule": "rate(5 minutes)"})
    planned(app, every, on_launch={"timeout": "30m"}, on_terminate={"backup": "file"})
    group = Group(app, hooks=HOOKS[:1], heartbeat=7200, tags={"local:ssm-agent": "none"})
    app.pass_time(minutes=16)

    assert list(group.states().values()) == ["Pending:Wait"]
    missed = [reason for state, reason in reasons(app, "backup") if state == "FAILED"]
    assert missed
    assert all("whose launch is not over" in reason for reason in missed[1:])


def test_many_launches_at_once_all_have_the_data(app: Deployment) -> None:
    planned(app)
    with_a_point(app)
    group = Group(app, desired=12)
    app.pass_time(minutes=6)

    assert list(group.states().values()) == ["InService"] * 12
    assert {read(app, instance) for instance in group.states()} == {"what was saved\n"}
    assert [job["state"] for job in launches(app)] == ["COMPLETED"] * 12


def test_the_newest_good_point_is_chosen_by_when_its_data_was_taken(app: Deployment) -> None:
    planned(app)
    with_a_point(app, "the older data\n")
    with_two = app.run_instance("orders")
    write(app, with_two, "the newer data\n")
    app.back_up("orders")
    app.pass_time(minutes=2)
    write(app, with_two, "")
    app.back_up("orders")
    app.pass_time(minutes=2)
    app.terminate(with_two)

    assert read(app, Group(app).only()) == "the newer data\n"


def test_a_launch_from_snapshots_has_its_volumes_attached_and_mounted(app: Deployment) -> None:
    rule = snapshot_rule(
        "file", volumes={"boot": False}, restore="cp volumes/sdg/data data", verify="test -s data"
    )
    planned(app, rule)
    group = Group(app, device="/dev/sdf")
    first = group.only()
    made = app.ec2().create_volume(Size=1, AvailabilityZone="eu-central-1a")["VolumeId"]
    app.pass_time(seconds=10)
    app.ec2().attach_volume(VolumeId=made, InstanceId=first, Device="/dev/sdg")
    app.pass_time(seconds=10)
    (app.directory(first) / "volumes" / "sdg" / "data").write_text("on the volume\n")
    [spare] = [
        each["Ebs"]["VolumeId"]
        for each in app.ec2().describe_instances(InstanceIds=[first])["Reservations"][0]["Instances"][0][
            "BlockDeviceMappings"
        ]
        if each["DeviceName"] == "/dev/sdf"
    ]
    app.ec2().detach_volume(VolumeId=spare)
    app.pass_time(seconds=10)

    group.replace(first)
    app.pass_time(minutes=3)
    second = group.only()

    assert read(app, second) == "on the volume\n"
    assert (app.directory(second) / "volumes" / "sdg" / "data").read_text() == "on the volume\n"
    assert [state for state, _ in reasons(app, "launch")] == ["COMPLETED", "COMPLETED"]


@pytest.mark.long
def test_a_launch_whose_device_is_taken_fails_and_leaves_nothing(app: Deployment) -> None:
    rule = snapshot_rule("file", volumes={"boot": False}, restore="true")
    planned(app, rule)
    instance = app.run_instance("orders")
    app.back_up("orders")
    app.pass_time(minutes=2)
    app.terminate(instance)
    group = Group(app)
    app.pass_time(minutes=2)

    (launch, *_) = launches(app)
    assert launch["state"] == "FAILED"
    assert "/dev/sdf" in launch["reason"]
    assert "InService" not in group.states().values()
    app.pass_time(minutes=5)
    assert app.restored_volumes() == {}


def test_an_instance_without_a_group_is_served_when_it_first_runs_and_never_again(app: Deployment) -> None:
    planned(app, on_launch={"hook": None, "on_failure": "continue"}, on_terminate={"backup": "file"})
    old = app.run_instance("orders")
    app.pass_time(minutes=12)
    write(app, old, "live data\n")
    app.back_up("orders")
    app.pass_time(minutes=2)
    new = app.run_instance("orders")
    app.pass_time(minutes=3)
    assert read(app, new) == "live data\n"

    write(app, new, "newer live data\n")
    app.ec2().stop_instances(InstanceIds=[new])
    app.pass_time(minutes=15)
    app.ec2().start_instances(InstanceIds=[new])
    app.pass_time(minutes=20)

    assert read(app, new) == "newer live data\n"
    assert len([job for job in launches(app) if new in job["reason"]]) == 1


def test_a_plan_that_begins_to_restore_touches_no_instance_that_runs(app: Deployment) -> None:
    app.put_plan("orders", service_rule(**KEEPS_DATA))
    instance = app.run_instance("orders")
    write(app, instance, "saved\n")
    app.back_up("orders")
    app.pass_time(minutes=2)
    write(app, instance, "live\n")
    planned(app, on_launch={"hook": None, "on_failure": "continue"}, on_terminate={"backup": "file"})
    app.pass_time(minutes=15)

    assert launches(app) == []
    assert read(app, instance) == "live\n"


def test_a_launch_may_back_up_for_the_first_time(app: Deployment) -> None:
    planned(app, service_rule(), on_launch={"restore": None, "backup": "file"})
    Group(app).only()

    (point,) = app.points()
    assert (point["state"], point["origin"]) == ("AVAILABLE", "launch")
    assert [state for state, _ in reasons(app, "launch")] == ["COMPLETED"]


@pytest.mark.long
@pytest.mark.parametrize(("script", "state"), [("echo $1 > configured", "COMPLETED"), ("exit 4", "FAILED")])
def test_a_launch_may_run_a_script(app: Deployment, script: str, state: str) -> None:
    planned(app, on_launch={"restore": None, "script": script})
    group = Group(app)
    app.pass_time(minutes=2)

    (launch, *_) = launches(app)
    assert launch["state"] == state, launch
    if state == "COMPLETED":
        assert (app.directory(group.only()) / "configured").read_text() == "orders\n"
    else:
        assert "exited 4" in launch["reason"]


@pytest.mark.long
def test_an_instance_goes_when_its_time_is_up_whatever_its_backup_does(app: Deployment) -> None:
    planned(app, on_terminate={"backup": "file", "hook": "down", "timeout": "5m"})
    group = Group(app)
    first = group.only()
    throttled = {"error": {"code": "ThrottlingException"}}
    app.faults({"match": {"service": "ssm", "operation": "SendCommand"}, "effect": throttled})
    group.replace(first)
    app.pass_time(minutes=9)

    assert first not in group.states()
    [(state, reason)] = reasons(app, "termination")
    assert (state, "is kept no longer" in reason) == ("FAILED", True)


def test_an_instance_of_a_warm_pool_is_served_when_it_leaves_the_pool(app: Deployment) -> None:
    planned(app)
    with_a_point(app, "old data\n")
    group = Group(app, desired=0)
    pool: Document = {"MinSize": 1, "MaxGroupPreparedCapacity": 1, "PoolState": "Stopped"}
    group.autoscaling.put_warm_pool(AutoScalingGroupName="orders", **pool)
    app.pass_time(minutes=6)
    with_a_point_now = app.run_instance("orders")
    write(app, with_a_point_now, "new data\n")
    app.back_up("orders")
    app.pass_time(minutes=2)

    group.autoscaling.set_desired_capacity(AutoScalingGroupName="orders", DesiredCapacity=1)
    app.pass_time(minutes=6)

    (served,) = [each for each, state in group.states().items() if state == "InService"]
    assert read(app, served) == "new data\n"


def test_a_spot_instance_that_is_taken_back_is_backed_up(app: Deployment) -> None:
    planned(app, on_terminate={"backup": "file"}, on_launch={"hook": None, "on_failure": "continue"})
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "app", "Value": "orders"}]}]
    ran = app.ec2().run_instances(
        ImageId="ami-12345678",
        InstanceType="t3.micro",
        MinCount=1,
        MaxCount=1,
        InstanceMarketOptions={"MarketType": "spot"},
        TagSpecifications=tags,
    )
    instance = ran["Instances"][0]["InstanceId"]
    app.pass_time(minutes=2)
    write(app, instance, "in time\n")
    app.cloud.ec2.interruptions.interrupt(instance, "terminate")
    app.pass_time(minutes=5)

    assert [state for state, _ in reasons(app, "termination")] == ["COMPLETED"]
    newest = max(app.points(state="AVAILABLE"), key=lambda point: point["created_at"])
    assert newest["origin"] == "termination"
