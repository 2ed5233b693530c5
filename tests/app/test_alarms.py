"""Failures and recoveries are told, once each: by alarms on what is counted, by notices on each service."""

import json

import pytest

from chalicelib.jobs.job import JobKind
from chalicelib.observability import METRICS, count
from local_cloud.services.sns.topics import Mail
from stage import ALARM_EMAIL, HOME_REGION, HOME_TEMPLATE
from tests.support.deployment import Deployment, Document, service_rule, snapshot_rule

HOURLY = {"schedule": "rate(1 hour)", "retry": {"attempts": 0}}


def notices(app: Deployment) -> list[Mail]:
    """Return the mails that the app sent itself."""
    return [mail for mail in app.cloud.topics.mails if mail.subject.startswith("Farshore")]


def told(app: Deployment) -> list[str]:
    return [mail.subject.removeprefix("Farshore local: ") for mail in notices(app)]


def turns(app: Deployment, alarm: str) -> list[str]:
    """Return the states that an alarm has told, in order, since it was new and well."""
    states = [
        mail.subject.partition(":")[0]
        for mail in app.cloud.topics.mails
        if f'"farshore-{alarm}"' in mail.subject
    ]
    assert states[:1] == ["OK"]
    return states[1:]


@pytest.mark.long
def test_a_failing_backup_and_its_recovery_are_told_once_each(app: Deployment) -> None:
    instance = app.run_instance("orders")
    app.put_plan("orders", {**service_rule(script='test -e mended && echo data > "$2"'), **HOURLY})
    app.pass_time(hours=3)
    assert told(app) == ["orders: its backup fails"]
    (mail,) = notices(app)
    (app.directory(instance) / "mended").touch()
    app.pass_time(hours=3)
    assert told(app) == ["orders: its backup fails", "orders: its backup succeeds again"]
    failed = app.jobs(kind="backup", state="FAILED")
    assert len(failed) > 1
    assert mail.to == ALARM_EMAIL
    assert failed[0]["reason"] in mail.text
    assert f"GET /jobs/{failed[0]['id']}" in mail.text
    assert turns(app, "BackupsFailedAlarm") == ["ALARM", "OK"]


@pytest.mark.parametrize(
    "fault",
    [
        {"match": {"event": "Scheduled Event"}, "effect": {"duplicate": 3}},
        {"match": {"service": "sns", "operation": "Publish"}, "effect": {"hang": "6m"}, "count": 1},
    ],
    ids=["doubled", "overlapping"],
)
def test_ticks_that_come_twice_tell_once(app: Deployment, fault: Document) -> None:
    app.run_instance("orders")
    app.put_plan("orders", {**service_rule(script="exit 1"), **HOURLY})
    app.faults(fault)
    app.pass_time(hours=1, minutes=40)
    assert app.faults_met()
    assert told(app) == ["orders: its backup fails"]


@pytest.mark.parametrize(
    "effect",
    [{"error": {"code": "InternalError", "status": 500}}, {"kill": "before"}],
    ids=["refused", "killed"],
)
def test_a_notice_that_was_not_sent_is_sent_later(app: Deployment, effect: Document) -> None:
    app.run_instance("orders")
    app.put_plan("orders", {**service_rule(script="exit 1"), **HOURLY})
    app.faults({"match": {"service": "sns", "operation": "Publish"}, "effect": effect, "count": 3})
    app.pass_time(hours=1, minutes=15)
    assert app.faults_met()
    assert told(app) == []
    app.faults()
    app.pass_time(hours=1)
    assert told(app) == ["orders: its backup fails"]


def test_a_service_beyond_its_rpo_is_told_and_counted_until_it_is_within_it(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", {**snapshot_rule(), **HOURLY}, objectives={"rpo": "2h"})
    app.pass_time(hours=3)
    assert told(app) == []
    down = {"service": "ec2", "operation": "CreateSnapshots", "caller": "function"}
    app.faults({"match": down, "effect": {"error": {"code": "InvalidParameterValue"}}})
    app.pass_time(hours=3)
    assert told(app) == ["orders: its backup fails", "orders: it is beyond its RPO"]
    assert "its newest good point in vault primary is of" in notices(app)[1].text
    assert "promises an RPO of 2h" in notices(app)[1].text
    assert turns(app, "RpoMissedAlarm") == ["ALARM"]
    app.faults()
    app.pass_time(hours=2)
    assert sorted(told(app)[2:]) == [
        "orders: it is within its RPO again",
        "orders: its backup succeeds again",
    ]
    assert turns(app, "RpoMissedAlarm") == ["ALARM", "OK"]


def test_a_vault_without_a_copy_is_beyond_the_rpo_although_backups_succeed(app: Deployment) -> None:
    app.run_instance("orders")
    app.faults(
        {
            "match": {"service": "ec2", "operation": "CopySnapshot", "caller": "function"},
            "effect": {"error": {"code": "InvalidParameterValue"}},
        }
    )
    app.put_plan(
        "orders", {**snapshot_rule(), **HOURLY, "copies": [{"vault": "dr"}]}, objectives={"rpo": "2h"}
    )
    app.pass_time(hours=4)
    assert told(app) == ["orders: it is beyond its RPO"]
    assert "it has no good point in vault dr" in notices(app)[0].text
    assert turns(app, "CopiesFailedAlarm") == ["ALARM"]


def test_a_fleet_that_fails_is_one_mail(app: Deployment) -> None:
    for name in ("a", "b", "c"):
        app.run_instance("fleet", wait=False, Name=name)
    app.pass_time(seconds=20)
    app.put_plan("fleet", {**service_rule(script="exit 1"), **HOURLY}, service={"tag": "Name"})
    app.pass_time(hours=1, minutes=20)
    assert told(app) == ["3 services: its backup fails"]
    assert [f"- {name}: at " in notices(app)[0].text for name in ("a", "b", "c")] == [True] * 3


def test_a_plan_that_selects_nothing_is_told_until_it_selects_something(app: Deployment) -> None:
    app.put_plan("orders", {**snapshot_rule(), **HOURLY}, service={"tag": "app"})
    app.pass_time(hours=1, minutes=20)
    assert told(app) == ["orders: its backup fails"]
    assert turns(app, "PlansSelectNothingAlarm") == turns(app, "RunsMissedAlarm") == ["ALARM"]
    app.run_instance("orders")
    app.pass_time(hours=3)
    assert told(app) == ["orders: its backup fails", "orders: its backup succeeds again"]
    assert turns(app, "PlansSelectNothingAlarm") == ["ALARM", "OK"]


def test_dead_letters_alarm_until_they_are_gone(app: Deployment) -> None:
    sqs = app.cloud.client("sqs", HOME_REGION)
    urls = {url.rpartition("/")[2]: url for url in sqs.list_queues()["QueueUrls"]}
    app.pass_time(minutes=5)
    sqs.send_message(QueueUrl=urls["farshore-local-jobs"], MessageBody="no poke")
    app.pass_time(hours=1)
    assert turns(app, "JobsDeadLettersAlarm") == ["ALARM"]
    sqs.purge_queue(QueueUrl=urls["farshore-local-jobs-dead"])
    app.pass_time(minutes=10)
    assert turns(app, "JobsDeadLettersAlarm") == ["ALARM", "OK"]


def test_missing_ticks_alarm_until_they_come_again(app: Deployment) -> None:
    app.pass_time(minutes=20)
    app.faults({"match": {"event": "Scheduled Event"}, "effect": {"drop": True}})
    app.pass_time(minutes=20)
    assert app.cloud.alarms.states()["farshore-TickMissingAlarm"] == "ALARM"
    app.faults()
    app.pass_time(minutes=10)
    assert app.cloud.alarms.states()["farshore-TickMissingAlarm"] == "OK"


def test_a_function_that_fails_alarms(app: Deployment) -> None:
    app.pass_time(minutes=5)
    app.faults({"match": {"service": "dynamodb", "operation": "Query"}, "effect": {"kill": "before"}})
    app.pass_time(minutes=15)
    app.faults()
    app.pass_time(minutes=20)
    assert turns(app, "TickErrorsAlarm") == ["ALARM", "OK"]


def test_every_alarm_on_a_metric_of_ours_goes_on_when_the_code_counts_it(
    app: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app.pass_time(minutes=5)
    monkeypatch.setenv("FARSHORE_STAGE", "local")
    kinds = [{"kind": str(kind), "state": "FAILED"} for kind in JobKind]
    for _ in range(3):
        capsys.readouterr()
        for metric in METRICS:
            for dimensions in kinds if metric.dimensions else [{}]:
                count(metric, 1000, **dimensions)
        for line in capsys.readouterr().out.splitlines():
            app.cloud.functions.on_output[0](line)
        app.pass_time(minutes=5)
    on = {
        name.removeprefix("farshore-")
        for name, state in app.cloud.alarms.states().items()
        if state == "ALARM"
    }
    template = json.loads(HOME_TEMPLATE.read_text())["Resources"]
    ours = {
        name
        for name, each in template.items()
        if each["Type"] == "AWS::CloudWatch::Alarm" and each["Properties"].get("Namespace") == "Farshore"
    }
    assert ours
    assert ours <= on


@pytest.mark.long
def test_a_copy_that_finds_no_slot_for_an_hour_alarms(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", snapshot_rule(copies=[{"vault": "dr"}]))
    app.pass_time(minutes=5)
    quota = {"code": "ResourceLimitExceeded", "message": "Too many snapshot copies in progress."}
    app.faults({"match": {"service": "ec2", "operation": "CopySnapshot"}, "effect": {"error": quota}})
    app.back_up("orders")
    app.pass_time(minutes=55)
    assert turns(app, "StarvedAlarm") == []
    app.pass_time(hours=1)
    assert turns(app, "StarvedAlarm") == ["ALARM"]
    app.faults()
    app.pass_time(hours=2)
    assert turns(app, "StarvedAlarm") == ["ALARM", "OK"]
