"""The alarms of the stack: each is about what is really counted, is told, and is explained in the docs."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from chalicelib import observability
from chalicelib.jobs.job import JobKind, JobState
from chalicelib.observability import METRICS, NAMESPACE, SERVICE

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operate.md").read_text("utf-8")
TOPIC = {"Fn::If": ["MakesAlarmTopic", {"Ref": "AlarmTopic"}, {"Ref": "AlarmTopicArn"}]}
DECLARED = {metric.name: metric for metric in METRICS}
Template = Mapping[str, Any]


def of_type(template: Template, kind: str) -> dict[str, Mapping[str, Any]]:
    return {
        name: resource["Properties"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == kind
    }


def alarms_of(template: Template) -> dict[str, Mapping[str, Any]]:
    return of_type(template, "AWS::CloudWatch::Alarm")


def metric_of(alarm: Mapping[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """Return the metric that an alarm is about: namespace, name, dimensions."""
    dimensions = {each["Name"]: each["Value"] for each in alarm["Dimensions"]}
    return alarm["Namespace"], alarm["MetricName"], dimensions


def watched(template: Template, namespace: str, name: str) -> list[Any]:
    """Return what the alarms on a metric of AWS's watch: the value of its only dimension."""
    return [
        next(iter(dimensions.values()))
        for alarm in alarms_of(template).values()
        for space, metric, dimensions in [metric_of(alarm)]
        if (space, metric) == (namespace, name)
    ]


def test_every_alarm_is_explained_and_no_other(template: Template) -> None:
    explained = re.findall(r"^\| `(\w+Alarm)` \| .+ \| .+ \|$", PAGE, re.MULTILINE)
    assert sorted(explained) == sorted(alarms_of(template))


def test_every_alarm_tells_that_it_is_on_and_that_it_is_over(template: Template) -> None:
    for name, alarm in alarms_of(template).items():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [TOPIC], name
        assert alarm.get("DatapointsToAlarm", 1) <= alarm["EvaluationPeriods"], name


def test_an_alarm_of_ours_names_a_declared_metric_with_just_its_dimensions(template: Template) -> None:
    values: dict[str, set[str]] = {"kind": set(JobKind), "state": set(JobState)}
    ours = [
        (name, metric, dimensions)
        for alarm in alarms_of(template).values()
        for space, name, dimensions in [metric_of(alarm)]
        if space == NAMESPACE and (metric := DECLARED[name])
    ]
    assert ours
    for name, metric, dimensions in ours:
        assert dimensions.pop("service") == SERVICE
        assert dimensions.pop("stage") == {"Ref": "Stage"}
        assert dimensions.keys() == set(metric.dimensions), name
        assert all(value in values[dimension] for dimension, value in dimensions.items()), name


def test_every_kind_of_job_has_an_alarm_for_its_failures(template: Template) -> None:
    kinds = [
        dimensions["kind"]
        for alarm in alarms_of(template).values()
        for _, name, dimensions in [metric_of(alarm)]
        if name == "JobsOver" and dimensions["state"] == JobState.FAILED
    ]
    assert sorted(kinds) == sorted(JobKind)


def test_every_queue_has_an_alarm_for_its_age_and_its_dead_letters(template: Template) -> None:
    fed = {
        name: queue["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0]
        for name, queue in of_type(template, "AWS::SQS::Queue").items()
        if "RedrivePolicy" in queue
    }
    aged = watched(template, "AWS/SQS", "ApproximateAgeOfOldestMessage")
    dead = watched(template, "AWS/SQS", "ApproximateNumberOfMessagesVisible")
    assert sorted(each["Fn::GetAtt"][0] for each in aged) == sorted(fed)
    assert sorted(each["Fn::GetAtt"][0] for each in dead) == sorted(fed.values())


@pytest.mark.parametrize("metric", ["Errors", "Throttles"])
def test_every_function_has_an_alarm_for_it(template: Template, metric: str) -> None:
    functions = of_type(template, "AWS::Serverless::Function")
    assert sorted(each["Ref"] for each in watched(template, "AWS/Lambda", metric)) == sorted(functions)


def test_what_is_counted_now_and_then_is_well_when_nothing_is_counted(template: Template) -> None:
    treated = {name: alarm["TreatMissingData"] for name, alarm in alarms_of(template).items()}
    assert treated.pop("TickMissingAlarm") == "breaching"
    assert treated.pop("RpoMissedAlarm") == "ignore"  # every tick says it; without ticks nobody knows
    assert set(treated.values()) == {"notBreaching"}


def test_only_alarms_of_this_account_may_publish_to_the_topic_and_use_its_key(template: Template) -> None:
    # https://docs.aws.amazon.com/sns/latest/dg/sns-access-policy-use-cases.html
    (topic,) = of_type(template, "AWS::SNS::TopicPolicy").values()
    (key,) = of_type(template, "AWS::KMS::Key").values()
    (publish, _) = topic["PolicyDocument"]["Statement"]
    (_, encrypt) = key["KeyPolicy"]["Statement"]
    for statement in (publish, encrypt):
        assert statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
        assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
        alarms = statement["Condition"]["ArnLike"]["aws:SourceArn"]["Fn::Sub"]
        assert alarms.endswith(":${AWS::Region}:${AWS::AccountId}:alarm:*")
    assert of_type(template, "AWS::SNS::Topic")["AlarmTopic"]["KmsMasterKeyId"] == {"Ref": "AlarmKey"}


def test_the_dashboard_shows_every_alarm_and_only_metrics_that_there_are(template: Template) -> None:
    body = json.loads(template["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"])
    widgets = [each["properties"] for each in body["widgets"]]
    assert sorted(widgets[0]["alarms"]) == sorted(f"${{{name}.Arn}}" for name in alarms_of(template))
    shown = {
        row[1]
        for widget in widgets
        for row in widget.get("metrics", ())
        if isinstance(row[0], str) and row[1] != "."
    }
    known = {metric_of(alarm)[1] for alarm in alarms_of(template).values()}
    assert shown - known - {"Duration"} <= DECLARED.keys()
    groups = {each["LogGroupName"]["Fn::Sub"] for each in of_type(template, "AWS::Logs::LogGroup").values()}
    groups.remove("/farshore/${Stage}/api-access")  # one line a request, with no level
    assert set(re.findall(r"SOURCE '([^']+)'", widgets[-1]["query"])) == groups


def test_every_declared_metric_is_counted_somewhere() -> None:
    code = "\n".join(file.read_text("utf-8") for file in (ROOT / "chalicelib").rglob("*.py"))
    names = {name for name, value in vars(observability).items() if isinstance(value, observability.Metric)}
    assert {getattr(observability, name) for name in names} == set(METRICS)
    assert [
        name for name in sorted(names) if f"count({name}," not in code and f"count({name})" not in code
    ] == []
