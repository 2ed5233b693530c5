"""What the engine promises, tried from outside: cancels, recorded failures, cleaning that goes on."""

from datetime import timedelta
from typing import Any

import pytest

from tests.support.deployment import REGIONS, Deployment, Document, service_rule, snapshot_rule


def _error(service: str, operation: str, code: str, **which: Any) -> Document:
    match = {"service": service, "operation": operation, "caller": "function"}
    return {"match": match, "effect": {"error": {"code": code}}, **which}


def _finish(app: Deployment, within: timedelta = timedelta(hours=12)) -> None:
    end = app.now + within
    while app.unfinished():
        assert app.now < end, app.unfinished()
        app.pass_time(minutes=5)


def _ready(app: Deployment, rule: Document, **plan: object) -> str:
    instance = app.run_instance("orders")
    app.put_plan("orders", rule, **plan)
    return instance


def _point(app: Deployment, rule: Document) -> tuple[str, Document]:
    instance = _ready(app, rule)
    job = app.back_up("orders")
    _finish(app)
    return instance, app.point(app.job(job)["recovery_point"])


# cancelling


def test_a_backup_by_snapshot_is_cancelled_and_its_snapshots_go(app: Deployment) -> None:
    _ready(app, snapshot_rule())
    job = app.back_up("orders")
    app.pass_time(seconds=1)
    assert app.snapshots()
    app.ask("POST", f"/jobs/{job}/cancel", status=202)
    _finish(app)
    assert (app.job(job)["state"], app.snapshots()) == ("CANCELLED", {})
    assert [point["state"] for point in app.points()] == ["FAILED"]
    assert app.discrepancies() == []


def _cancel(app: Deployment, job: str) -> None:
    app.ask("POST", f"/jobs/{job}/cancel", status=202)


def test_a_script_that_runs_is_stopped_by_a_cancel_and_leaves_no_upload(app: Deployment) -> None:
    instance = _ready(app, service_rule(script='echo > began; sleep 30; echo data > "$2"', timeout="1h"))
    job = app.back_up("orders")
    app.once_written(instance, "began", lambda: _cancel(app, job), minutes=1)
    _finish(app)
    cancelled = app.job(job)
    assert (cancelled["state"], cancelled["reason"]) == ("CANCELLED", "cancelled through the API")
    assert app.discrepancies() == []


def test_a_job_says_since_when_its_script_runs_and_how_much_is_uploaded(app: Deployment) -> None:
    script = 'head -c 9000000 /dev/zero > "$2"; echo > began; while [ ! -e go ]; do sleep 0.1; done'
    instance = _ready(app, service_rule(script=script, timeout="1h"))
    job = app.back_up("orders")
    said: list[str] = []

    def look() -> None:
        said.append(app.job(job)["reason"])
        (app.directory(instance) / "go").touch()

    app.once_written(instance, "began", look, minutes=1)
    _finish(app)
    [reason] = said
    assert f"the script waits in SSM since {app.job(job)['created_at'][:10]} " in reason
    assert f"the agent of {instance} has not taken it yet" in reason
    assert app.job(job)["state"] == "COMPLETED"


def test_a_copy_is_cancelled_and_its_snapshots_go_and_its_slot_is_free(app: Deployment) -> None:
    _, point = _point(app, snapshot_rule())
    job = app.copy(point, "dr")
    app.pass_time(seconds=1)
    assert app.snapshots("dr")
    app.ask("POST", f"/jobs/{job}/cancel", status=202)
    _finish(app)
    assert (app.job(job)["state"], app.snapshots("dr"), app.slots_in_use("dr")) == ("CANCELLED", {}, 0)
    assert app.discrepancies() == []


@pytest.mark.parametrize(("vault", "rule"), [("dr", service_rule()), ("offsite", service_rule())])
def test_a_copy_of_a_file_is_cancelled(app: Deployment, vault: str, rule: Document) -> None:
    _, point = _point(app, rule)
    job = app.copy(point, vault)
    app.ask("POST", f"/jobs/{job}/cancel", status=202)
    _finish(app)
    assert app.job(job)["state"] == "CANCELLED"


def test_a_restore_is_cancelled_before_its_script_has_ended(app: Deployment) -> None:
    instance, point = _point(app, service_rule(restore="echo > began; sleep 30; cat > restored"))
    job = app.restore(point, "primary", instance_id=instance)
    app.once_written(instance, "began", lambda: _cancel(app, job), minutes=1)
    _finish(app)
    assert app.job(job)["state"] == "CANCELLED"
    assert not (app.directory(instance) / "restored").exists()
    assert app.discrepancies() == []


def test_a_restore_of_volumes_is_cancelled(app: Deployment) -> None:
    _, point = _point(app, snapshot_rule())
    app.faults({"match": {"event": "EBS Volume Notification"}, "effect": {"drop": True}})
    job = app.restore(point, "primary", availability_zone="eu-central-1a")
    app.pass_time(seconds=1)
    app.ask("POST", f"/jobs/{job}/cancel", status=202)
    _finish(app)
    assert app.job(job)["state"] == "CANCELLED"


def test_a_lifecycle_is_cancelled(app: Deployment) -> None:
    _ready(app, snapshot_rule())
    for _ in range(2):
        app.back_up("orders")
        _finish(app)
    older = app.points()[0]
    app.faults(_error("ec2", "DeleteSnapshot", "RequestLimitExceeded"))
    answer = app.ask("DELETE", f"/recovery-points/{older['id']}", status=202)
    [job] = answer.document["jobs"]
    app.pass_time(minutes=2)
    app.ask("POST", f"/jobs/{job}/cancel", status=202)
    app.faults()
    _finish(app)
    assert app.job(job)["state"] == "CANCELLED"


def test_a_job_that_is_over_or_unknown_cannot_be_cancelled(app: Deployment) -> None:
    _, point = _point(app, snapshot_rule())
    [job] = app.jobs(kind="backup")
    assert app.ask("POST", f"/jobs/{job['id']}/cancel").status == 409
    assert app.ask("POST", "/jobs/backup-0/cancel").status == 404
    assert app.point(point["id"])["state"] == "AVAILABLE"


# a failure is recorded before anything is cleaned up


def test_a_script_past_its_timeout_is_told_as_such_and_not_as_our_own_cancel(app: Deployment) -> None:
    _ready(app, service_rule(script='echo half > "$2"; sleep 30', timeout="5s"))
    kill = {"service": "ssm", "operation": "CancelCommand", "caller": "function"}
    app.faults({"match": kill, "effect": {"kill": "after"}, "count": 2})
    job = app.back_up("orders")
    _finish(app)
    assert "ran longer than its timeout" in app.job(job)["reason"]
    assert "Cancelled" not in app.job(job)["reason"]


def test_a_job_that_is_being_cleaned_up_never_goes_forward_again(app: Deployment) -> None:
    """The agent comes online when the restore has given it up; its staged file is being removed by then."""
    instance, point = _point(app, service_rule(copies=[{"vault": "offsite"}]))
    offline = _error("ssm", "DescribeInstanceInformation", "ThrottlingException")
    app.faults(offline)
    job = app.restore(point, "offsite", instance_id=instance)
    app.pass_time(minutes=5)
    app.faults(_error("s3", "DeleteObject", "ServiceUnavailable"))
    app.ask("POST", f"/jobs/{job}/cancel", status=202)
    app.pass_time(minutes=30)
    assert app.job(job)["state"] == "RUNNING"
    app.faults()
    _finish(app)
    assert app.job(job)["state"] == "CANCELLED"
    assert not (app.directory(instance) / "restores").exists()
    assert app.discrepancies() == []


def test_every_job_has_a_deadline_quotas_included(app: Deployment) -> None:
    _ready(app, snapshot_rule())
    app.faults(_error("ec2", "CreateSnapshots", "PendingSnapshotLimitExceeded"))
    job = app.back_up("orders")
    app.pass_time(minutes=30)
    assert app.job(job)["state"] == "RUNNING"
    app.cloud.clock.advance_to(app.now + timedelta(days=2))
    app.pass_time(minutes=10)
    assert app.job(job)["state"] == "FAILED"
    assert "not done by its deadline" in app.job(job)["reason"]
    app.faults()


# nothing on the word of a tag


def _tag(app: Deployment, snapshot: str, **tags: str) -> None:
    pairs = [{"Key": f"farshore:{name.replace('_', '-')}", "Value": value} for name, value in tags.items()]
    app.ec2().create_tags(Resources=[snapshot], Tags=pairs)


def test_a_job_deletes_no_snapshot_that_an_outsider_tagged_with_its_id(app: Deployment) -> None:
    _, point = _point(app, snapshot_rule(volumes={"boot": False}))
    [only] = point["artefacts"][0]["snapshot_ids"]
    app.faults({"match": {"event": "*"}, "effect": {"delay": "2m"}})
    job = app.back_up("orders")
    app.pass_time(seconds=1)
    _tag(app, only, job=job, recovery_point=app.job(job)["recovery_point"])
    app.ask("POST", f"/jobs/{job}/cancel", status=202)
    _finish(app)
    assert app.job(job)["state"] == "CANCELLED"
    assert list(app.snapshots()) == [only]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_job_adopts_no_older_snapshot_that_an_outsider_tagged_with_its_id(
    app: Deployment, moment: str
) -> None:
    _, point = _point(app, snapshot_rule(volumes={"boot": False}))
    [older] = point["artefacts"][0]["snapshot_ids"]
    killed = {"service": "ec2", "operation": "CreateSnapshots", "caller": "function"}
    app.faults({"match": killed, "effect": {"kill": moment}, "count": 1})
    job = app.back_up("orders")
    app.pass_time(seconds=1)
    _tag(app, older, job=job, recovery_point=app.job(job)["recovery_point"])
    app.pass_time(minutes=30)
    made = app.point(app.job(job)["recovery_point"])
    assert made["state"] == "AVAILABLE"
    assert made["artefacts"][0]["snapshot_ids"] != [older]
    assert app.point(point["id"])["artefacts"][0]["snapshot_ids"] == [older]
    assert app.discrepancies() == []


def test_a_job_finds_its_snapshots_though_an_outsider_took_their_tags_away(app: Deployment) -> None:
    _ready(app, snapshot_rule(volumes={"boot": False}))
    killed = {"service": "ec2", "operation": "CreateSnapshots", "caller": "function"}
    app.faults({"match": killed, "effect": {"kill": "after"}, "count": 1})
    job = app.back_up("orders")
    app.pass_time(seconds=1)
    [snapshot] = app.snapshots()
    app.ec2().delete_tags(Resources=[snapshot])
    app.pass_time(minutes=30)
    made = app.point(app.job(job)["recovery_point"])
    assert made["artefacts"][0]["snapshot_ids"] == [snapshot]


def test_the_secret_of_a_job_is_not_told(app: Deployment) -> None:
    _ready(app, snapshot_rule())
    job = app.back_up("orders")
    app.pass_time(seconds=1)
    secrets = {each["Description"].split(" ")[2] for each in app.snapshots().values()}
    [secret] = secrets
    assert len(secret) == 32
    assert secret not in str(app.job(job))
    assert secret not in str(app.jobs())


# cleaning never gives up at the second error


@pytest.mark.parametrize("code", ["UnauthorizedOperation", "RequestLimitExceeded"])
def test_what_cannot_be_deleted_now_is_deleted_later(app: Deployment, code: str) -> None:
    _ready(app, snapshot_rule())
    job = app.back_up("orders")
    app.pass_time(seconds=1)
    app.faults(_error("ec2", "DeleteSnapshot", code))
    app.ask("POST", f"/jobs/{job}/cancel", status=202)
    app.pass_time(minutes=40)
    assert app.job(job)["state"] == "RUNNING"
    assert "cancelled through the API" in app.job(job)["reason"]
    assert len(app.snapshots()) == 2
    app.faults()
    _finish(app)
    assert (app.job(job)["state"], app.snapshots()) == ("CANCELLED", {})


@pytest.mark.long
def test_what_can_never_be_deleted_is_on_the_job_and_in_the_inventory(app: Deployment) -> None:
    _ready(app, snapshot_rule(volumes={"boot": False}))
    job = app.back_up("orders")
    app.pass_time(seconds=1)
    app.faults(_error("ec2", "DeleteSnapshot", "UnauthorizedOperation"))
    app.ask("POST", f"/jobs/{job}/cancel", status=202)
    app.pass_time(days=1, hours=2)
    [snapshot] = app.snapshots()
    assert (app.job(job)["state"], app.job(job)["left"]) == ("CANCELLED", [snapshot])
    [found] = app.listing("inventory")
    assert (found["what"], found["job"]) == (snapshot, job)
    assert snapshot in found["reason"]


def test_a_slot_that_a_job_which_is_over_still_holds_is_healed(app: Deployment) -> None:
    _, point = _point(app, snapshot_rule(volumes={"boot": False}))
    [backup] = app.jobs(kind="backup")
    dynamodb = app.cloud.client("dynamodb", REGIONS["primary"])
    (table,) = dynamodb.list_tables()["TableNames"]
    for number in range(20):
        item = {
            "pk": f"slots#{REGIONS['dr']}",
            "sk": f"slot#{number:04d}",
            "job": backup["id"],
            "purpose": "x",
        }
        item["since"] = "2026-01-01T00:00:00.000000Z"
        dynamodb.put_item(TableName=table, Item={name: {"S": text} for name, text in item.items()})
    job = app.copy(point, "dr")
    app.pass_time(minutes=20)
    assert (app.job(job)["state"], app.slots_in_use("dr")) == ("COMPLETED", 0)


# one operation at a target at a time


def test_a_second_restore_onto_an_instance_is_refused_while_one_runs(app: Deployment) -> None:
    instance, point = _point(app, service_rule(restore="echo > began; sleep 3; cat > restored"))
    first = app.restore(point, "primary", instance_id=instance)
    body = {"recovery_point": point["id"], "target": {"instance_id": instance}}
    refused: list[Document] = []

    def ask() -> None:
        refused.append(app.ask("POST", "/restores", body, status=409).document)

    app.once_written(instance, "began", ask, minutes=1)
    assert first in refused[0]["detail"]
    _finish(app)
    assert app.job(first)["state"] == "COMPLETED"


@pytest.mark.long
def test_two_restores_that_were_asked_for_at_once_run_one_after_the_other(app: Deployment) -> None:
    script = "mkdir busy || exit 9; sleep 2; cat > restored; rmdir busy"
    instance, point = _point(app, service_rule(restore=script))
    jobs = [app.restore(point, "primary", instance_id=instance) for _ in range(2)]
    _finish(app)
    assert [app.job(job)["state"] for job in jobs] == ["COMPLETED"] * 2


@pytest.mark.long
@pytest.mark.parametrize("rule", [snapshot_rule(), service_rule("other")], ids=["snapshot", "service"])
def test_no_backup_counts_that_is_made_while_a_restore_runs_on_its_instance(
    app: Deployment, rule: Document
) -> None:
    slow = service_rule(restore="echo > began; sleep 3; cat > restored")
    instance, point = _point(app, slow)
    app.put_plan("orders", slow, rule)
    restore = app.restore(point, "primary", instance_id=instance)
    backups: list[str] = []
    app.once_written(
        instance, "began", lambda: backups.append(app.back_up("orders", rule=rule["name"])), seconds=20
    )
    [backup] = backups
    assert restore in app.job(backup)["reason"]
    _finish(app)
    assert [app.job(job)["state"] for job in (restore, backup)] == ["COMPLETED"] * 2
    made = app.point(app.job(backup)["recovery_point"])
    assert made["created_at"] > app.job(restore)["created_at"]
    assert app.discrepancies() == []


def test_a_restore_that_more_than_one_plan_answers_wants_the_plan(app: Deployment) -> None:
    instance = app.run_instance("orders")
    selection = {"tags": {"app": "orders"}}
    for plan in ("orders", "second"):
        app.put_plan(plan, service_rule(), service="orders", selection=selection)
        app.back_up(plan)
        _finish(app)
    body = {"service": "orders", "rule": "file", "target": {"instance_id": instance}}
    refused = app.ask("POST", "/restores", body, status=409).document
    assert "orders, second" in refused["detail"]
    answer = app.ask("POST", "/restores", {**body, "plan": "second"}, status=202)
    _finish(app)
    job = app.job(answer.document["jobs"][0])
    assert (job["plan"], job["state"]) == ("second", "COMPLETED")


# a batch is not a fate shared


def test_a_region_that_does_not_answer_loses_no_event_of_another(app: Deployment) -> None:
    """The copies' events wait in the queue until their region answers; the backups' are heard at once."""
    _ready(app, snapshot_rule(copies=[{"vault": "dr"}]))
    app.faults(
        {
            "match": {"service": "ec2", "operation": "DescribeSnapshots", "resource": "eu-west-1"},
            "effect": {"error": {"code": "InternalError", "status": 500}},
        }
    )
    job = app.back_up("orders")
    app.pass_time(seconds=30)
    assert app.job(job)["state"] == "COMPLETED"
    assert app.faults_met()
    app.faults()
    _finish(app)
    assert {job["state"] for job in app.jobs()} == {"COMPLETED"}
    assert app.discrepancies() == []
