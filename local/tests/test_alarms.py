"""Alarms are judged by what is counted, and told to the addresses that subscribe, where policies let them."""

import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from little_stack import HOME
from local_cloud.call import ACCOUNT
from local_cloud.cloud import Cloud
from local_cloud.cloudformation.intrinsics import TemplateError
from local_cloud.cloudformation.template import StackPlan
from local_cloud.services.cloudwatch.alarms import AlarmState, Rule
from local_cloud.services.cloudwatch.metrics import MetricName

OK, ALARM, UNKNOWN = AlarmState.OK, AlarmState.ALARM, AlarmState.UNKNOWN
ALARMS = f"arn:aws:cloudwatch:{HOME}:{ACCOUNT}:alarm:*"
OF_ACCOUNT = {"StringEquals": {"aws:SourceAccount": ACCOUNT}, "ArnLike": {"aws:SourceArn": ALARMS}}
DIMENSIONS = [{"Name": "stage", "Value": "test"}]


def line(value: float, **dimensions: str) -> str:
    """Return a line in the embedded metric format."""
    told = {"Namespace": "Tests", "Dimensions": [list(dimensions)], "Metrics": [{"Name": "Failed"}]}
    return json.dumps({"_aws": {"CloudWatchMetrics": [told]}, "Failed": [value], **dimensions})


def template(topic_condition: Mapping[str, Any], key_condition: Mapping[str, Any], **alarm: Any) -> str:
    """Return a template: an encrypted topic, an address that subscribes, an alarm that tells both ways."""

    def lets(action: Any, condition: Mapping[str, Any]) -> dict[str, Any]:
        principal = {"Service": "cloudwatch.amazonaws.com"}
        statement = {"Effect": "Allow", "Principal": principal, "Action": action, "Resource": "*"}
        return {"Version": "2012-10-17", "Statement": [{**statement, "Condition": condition}]}

    topic = {"Ref": "Topic"}
    resources: dict[str, tuple[str, Any]] = {
        "Key": (
            "AWS::KMS::Key",
            {"KeyPolicy": lets(["kms:Decrypt", "kms:GenerateDataKey*"], key_condition)},
        ),
        "Topic": ("AWS::SNS::Topic", {"KmsMasterKeyId": {"Ref": "Key"}}),
        "Policy": (
            "AWS::SNS::TopicPolicy",
            {"Topics": [topic], "PolicyDocument": lets("sns:Publish", topic_condition)},
        ),
        "Address": (
            "AWS::SNS::Subscription",
            {"TopicArn": topic, "Protocol": "email", "Endpoint": "me@example.com"},
        ),
        "Alarm": (
            "AWS::CloudWatch::Alarm",
            {
                "AlarmName": "failed",
                "Namespace": "Tests",
                "MetricName": "Failed",
                "Dimensions": DIMENSIONS,
                "Statistic": "Sum",
                "Period": 300,
                "EvaluationPeriods": 3,
                "DatapointsToAlarm": 1,
                "Threshold": 1,
                "ComparisonOperator": "GreaterThanOrEqualToThreshold",
                "TreatMissingData": "notBreaching",
                "AlarmActions": [topic],
                "OKActions": [topic],
                **alarm,
            },
        ),
    }
    return json.dumps(
        {"Resources": {name: {"Type": kind, "Properties": its} for name, (kind, its) in resources.items()}}
    )


def deploy(cloud: Cloud, folder: Path, text: str) -> None:
    path = folder / "alarms.json"
    path.write_text(text)
    cloud.deploy([StackPlan("alarms", path, HOME)])


def subjects(cloud: Cloud) -> list[str]:
    return [mail.subject.partition(":")[0] for mail in cloud.topics.mails]


def test_an_alarm_tells_once_that_it_is_on_and_once_that_it_is_over(cloud: Cloud, tmp_path: Path) -> None:
    deploy(cloud, tmp_path, template(OF_ACCOUNT, OF_ACCOUNT))
    cloud.advance(timedelta(minutes=6))
    assert subjects(cloud) == ["OK"]  # a new alarm that finds all well
    cloud.functions.on_output[0](line(1, stage="test"))
    cloud.advance(timedelta(minutes=9))
    assert subjects(cloud) == ["OK", "ALARM"]
    assert cloud.alarms.states() == {"failed": ALARM}
    cloud.advance(timedelta(minutes=20))
    assert subjects(cloud) == ["OK", "ALARM", "OK"]
    assert {mail.to for mail in cloud.topics.mails} == {"me@example.com"}
    with urlopen(f"{cloud.control.url}/mails", timeout=30) as answer:  # noqa: S310  loopback
        assert [mail["subject"][:5] for mail in json.load(answer)] == ['OK: "', "ALARM", 'OK: "']
    with urlopen(f"{cloud.control.url}/alarms", timeout=30) as answer:  # noqa: S310  loopback
        assert json.load(answer) == {"failed": "OK"}


@pytest.mark.parametrize("dimensions", [{"stage": "other"}, {"stage": "test", "more": "x"}, {}])
def test_a_metric_with_other_dimensions_is_another_metric(
    cloud: Cloud, tmp_path: Path, dimensions: dict[str, str]
) -> None:
    deploy(cloud, tmp_path, template(OF_ACCOUNT, OF_ACCOUNT))
    cloud.functions.on_output[0](line(1, **dimensions))
    cloud.advance(timedelta(minutes=10))
    assert cloud.alarms.states() == {"failed": OK}


OTHER = {"StringEquals": {"aws:SourceAccount": "210987654321"}}


@pytest.mark.parametrize(("topic", "key"), [(OTHER, OF_ACCOUNT), (OF_ACCOUNT, OTHER)])
def test_what_a_policy_does_not_allow_is_lost(cloud: Cloud, tmp_path: Path, topic: Any, key: Any) -> None:
    deploy(cloud, tmp_path, template(topic, key))
    cloud.advance(timedelta(minutes=10))
    assert cloud.alarms.states() == {"failed": OK}
    assert cloud.topics.mails == []


def test_what_is_published_is_mailed_in_the_words_for_mail(cloud: Cloud, tmp_path: Path) -> None:
    deploy(cloud, tmp_path, template(OF_ACCOUNT, OF_ACCOUNT))
    sns = cloud.client("sns", HOME)
    (topic,) = sns.list_topics()["Topics"]
    message = json.dumps({"default": "{}", "email": "read me"})
    sns.publish(
        TopicArn=topic["TopicArn"], Subject="news of farshore", Message=message, MessageStructure="json"
    )
    assert [(mail.subject, mail.text) for mail in cloud.topics.mails] == [("news of farshore", "read me")]
    with pytest.raises(sns.exceptions.InvalidParameterException):
        sns.publish(TopicArn=topic["TopicArn"], Subject="a" * 100, Message="too long a subject")


def test_an_alarm_that_cannot_be_judged_here_is_refused(cloud: Cloud, tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="periods"):
        deploy(cloud, tmp_path, template(OF_ACCOUNT, OF_ACCOUNT, Period=60))


@pytest.mark.parametrize(
    ("missing", "before", "values", "after"),
    [
        ("notBreaching", OK, (None, 1, None), ALARM),
        ("notBreaching", ALARM, (None, None, None), OK),
        ("breaching", OK, (None, 0, 0), ALARM),
        ("ignore", ALARM, (None, None, None), ALARM),
        ("ignore", ALARM, (None, None, 0), OK),
        ("missing", OK, (None, None, None), UNKNOWN),
        ("missing", OK, (0, 0, 2), ALARM),
    ],
)
def test_periods_without_data_are_judged_as_the_alarm_says(
    missing: str, before: AlarmState, values: tuple[float | None, ...], after: AlarmState
) -> None:
    metric = MetricName("AWS/Lambda", "Errors", frozenset())
    rule = Rule(metric, "Sum", 3, 1, 1, "GreaterThanOrEqualToThreshold", missing)
    assert rule.judge(values, before) is after
