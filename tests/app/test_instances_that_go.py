"""An instance that stops or goes while its script runs ends the job within minutes, saying so."""

from collections.abc import Callable

import pytest

from tests.support.deployment import Deployment, Document, parse_time, service_rule

LONG = "echo > began; sleep 60; cat > /dev/null"
GOING = "EC2 Instance State-change Notification"
Ends = Callable[[Deployment, str], object]


def _stop(app: Deployment, instance: str) -> None:
    app.ec2().stop_instances(InstanceIds=[instance])


def _terminate(app: Deployment, instance: str) -> None:
    app.ec2().terminate_instances(InstanceIds=[instance])


def _running(app: Deployment, kind: str) -> tuple[str, str]:
    """Have a long script run; answer its instance and its job."""
    instance = app.run_instance("orders")
    if kind == "backup":
        app.put_plan("orders", service_rule(script='echo > began; sleep 60; echo data > "$2"', timeout="1h"))
        return instance, app.back_up("orders")
    app.put_plan("orders", service_rule(restore=LONG, timeout="1h"))
    app.back_up("orders")
    app.pass_time(minutes=1)
    (point,) = app.points()
    return instance, app.restore(point, "primary", instance_id=instance)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["backup", "restore"])
@pytest.mark.parametrize(("end", "how"), [(_stop, "stopped"), (_terminate, "terminated")])
def test_a_script_whose_instance_goes_ends_its_job_at_once_and_says_which(
    app: Deployment, kind: str, end: Ends, how: str
) -> None:
    instance, job_id = _running(app, kind)
    app.once_written(instance, "began", lambda: end(app, instance), seconds=20)
    app.pass_time(seconds=30)
    _has_failed(app, job_id, f"{instance} was {how} while command", minutes=2)


@pytest.mark.parametrize("kind", ["backup", "restore"])
def test_it_ends_within_minutes_when_the_event_is_lost(app: Deployment, kind: str) -> None:
    instance, job_id = _running(app, kind)
    app.faults({"match": {"event": GOING}, "effect": {"drop": True}})
    app.once_written(instance, "began", lambda: _stop(app, instance), seconds=20)
    app.pass_time(minutes=6)
    assert app.faults_met() > 0
    _has_failed(app, job_id, f"{instance} was stopped while command", minutes=6)


def test_an_instance_that_was_stopped_and_started_again_unseen_runs_the_script_no_more(
    app: Deployment,
) -> None:
    instance, job_id = _running(app, "backup")
    app.faults({"match": {"event": GOING}, "effect": {"drop": True}})
    app.once_written(instance, "began", lambda: _stop(app, instance), seconds=2)
    app.pass_time(seconds=6)
    app.ec2().start_instances(InstanceIds=[instance])
    app.pass_time(minutes=6)
    _has_failed(app, job_id, f"{instance} was stopped and started again while command", minutes=6)


def _has_failed(app: Deployment, job_id: str, reason: str, *, minutes: int) -> None:
    job: Document = app.job(job_id)
    assert (job["state"], reason in job["error"]) == ("FAILED", True), job
    took = parse_time(job["updated_at"]) - parse_time(job["created_at"])
    assert took.total_seconds() < minutes * 60
    if job["kind"] == "backup":
        point = app.point(job["recovery_point"])
        assert (point["state"], reason in point["reason"]) == ("FAILED", True)
    assert app.uploads("primary") == []
    assert app.discrepancies() == []
