"""The packaged template wires what Chalice cannot say: queues, dead letters, partial batches, settings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cfnlint.decode import cfn_yaml

from chalicelib.settings import read_settings

DR_REGION = Path(__file__).parents[2] / ".chalice" / "dr-region.yaml"
FUNCTIONS = ("APIHandler", "Tick", "AdvanceJobs", "Completions", "Launches")
CONSUMERS = (
    ("AdvanceJobs", "AdvanceJobsSqsEventSource", "JobsQueue"),
    ("Completions", "CompletionsSqsEventSource", "EventsQueue"),
    ("Launches", "LaunchesSqsEventSource", "LaunchesQueue"),
)


def properties(template: Mapping[str, Any], logical_id: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = template["Resources"][logical_id]["Properties"]
    return found


@pytest.mark.parametrize(("function", "source", "queue"), CONSUMERS)
def test_a_consumer_reads_the_stacks_own_queue_and_answers_for_each_message(
    template: Mapping[str, Any], function: str, source: str, queue: str
) -> None:
    mapping = properties(template, function)["Events"][source]["Properties"]
    assert mapping["Queue"] == {"Fn::Sub": f"${{{queue}.Arn}}"}
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


@pytest.mark.parametrize(("function", "source", "queue"), CONSUMERS)
def test_a_message_is_not_shown_again_while_its_function_may_still_run(
    template: Mapping[str, Any], function: str, source: str, queue: str
) -> None:
    # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
    window = properties(template, function)["Events"][source]["Properties"]["MaximumBatchingWindowInSeconds"]
    assert (
        properties(template, queue)["VisibilityTimeout"] > properties(template, function)["Timeout"] + window
    )


def test_lambda_lets_a_job_poke_itself_for_longer_than_any_loop_and_nothing_else(
    template: Mapping[str, Any],
) -> None:
    # https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
    may_loop = [name for name in FUNCTIONS if properties(template, name).get("RecursiveLoop") == "Allow"]
    assert may_loop == ["AdvanceJobs"]


@pytest.mark.parametrize("queue", ["JobsQueue", "EventsQueue"])
def test_what_fails_again_and_again_is_kept_and_alarms(template: Mapping[str, Any], queue: str) -> None:
    (dead, attribute) = properties(template, queue)["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"]
    assert attribute == "Arn"
    assert (
        properties(template, dead)["MessageRetentionPeriod"]
        > properties(template, queue)["MessageRetentionPeriod"]
    )
    alarmed = properties(template, f"{dead}Alarm")["Dimensions"]
    assert alarmed == [{"Name": "QueueName", "Value": {"Fn::GetAtt": [dead, "QueueName"]}}]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_function_is_given_all_settings(template: Mapping[str, Any], function: str) -> None:
    given = dict.fromkeys(properties(template, function)["Environment"]["Variables"], "1")
    vaults = '{"primary": {"kind": "s3", "region": "eu-central-1", "bucket": "home"}}'
    read = {"FARSHORE_VAULTS": vaults, "FARSHORE_REQUEST_BUCKETS": "{}", "FARSHORE_GRACE": "24h"}
    read |= {"FARSHORE_ALARM_TOPIC": "arn:aws:sns:eu-central-1:123456789012:alarms"}
    settings = read_settings(given | read)
    assert settings.table == "1"


def test_the_tick_comes_every_five_minutes(template: Mapping[str, Any]) -> None:
    (event,) = properties(template, "Tick")["Events"].values()
    assert event == {"Type": "Schedule", "Properties": {"Schedule": "cron(0/5 * * * ? *)"}}


@pytest.mark.parametrize("queue", ["EventsQueue", "LaunchesQueue"])
def test_just_the_rules_of_a_queue_may_send_to_it(template: Mapping[str, Any], queue: str) -> None:
    rules = {
        logical_id
        for logical_id, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Events::Rule"
        and [target["Arn"] for target in resource["Properties"]["Targets"]]
        == [{"Fn::GetAtt": [queue, "Arn"]}]
    }
    (allow, _) = properties(template, f"{queue}Policy")["PolicyDocument"]["Statement"]
    sources = allow["Condition"]["ArnEquals"]["aws:SourceArn"]
    assert rules
    assert {source["Fn::GetAtt"][0] for source in sources} == rules


def test_every_rule_sends_to_a_queue_of_ours(template: Mapping[str, Any]) -> None:
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Events::Rule":
            (target,) = resource["Properties"]["Targets"]
            assert target["Arn"]["Fn::GetAtt"][0] in ("EventsQueue", "LaunchesQueue")


def test_what_a_dr_region_sends_home_is_awaited_there(template: Mapping[str, Any]) -> None:
    sent = properties(cfn_yaml.load(str(DR_REGION)), "CompletionsToHome")["EventPattern"]
    awaited = properties(template, "EbsCompletions")["EventPattern"]
    assert set(sent["source"]) <= set(awaited["source"])
    assert set(sent["detail-type"]) <= set(awaited["detail-type"])
    assert set(sent["detail"]["event"]) <= set(awaited["detail"]["event"])


def test_the_bucket_of_a_dr_region_is_kept_like_the_primary_one(template: Mapping[str, Any]) -> None:
    home, dr = template["Resources"]["VaultBucket"], cfn_yaml.load(str(DR_REGION))["Resources"]["VaultBucket"]
    assert home["DeletionPolicy"] == dr["DeletionPolicy"] == "Retain"
    assert home["UpdateReplacePolicy"] == dr["UpdateReplacePolicy"] == "Retain"
    named_apart = {"BucketName", "BucketEncryption"}
    for name in home["Properties"].keys() - named_apart | dr["Properties"].keys() - named_apart:
        assert home["Properties"][name] == dr["Properties"][name]
    assert home["Properties"]["VersioningConfiguration"] == {"Status": "Enabled"}


def test_the_catalog_outlives_the_stack_and_can_be_rolled_back(template: Mapping[str, Any]) -> None:
    assert template["Resources"]["Catalog"]["DeletionPolicy"] == "Retain"
    table = properties(template, "Catalog")
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert {index["IndexName"] for index in table["GlobalSecondaryIndexes"]} == {
        "by_type",
        "by_service",
        "wake",
    }
