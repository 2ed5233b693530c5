"""The packaged template wires what Chalice cannot say: queues, dead letters, partial batches, settings."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cfnlint.decode import cfn_yaml

from chalicelib.settings import read_settings

DR_REGION = Path(__file__).parents[2] / ".chalice" / "dr-region.yaml"
FUNCTIONS = ("APIHandler", "Tick", "AdvanceJobs", "AdvanceDeletions", "Completions", "Launches")
CONSUMERS = (
    ("AdvanceJobs", "AdvanceJobsSqsEventSource", "JobsQueue"),
    ("AdvanceDeletions", "AdvanceDeletionsSqsEventSource", "DeletionsQueue"),
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
    assert may_loop == ["AdvanceJobs", "AdvanceDeletions"]


@pytest.mark.parametrize("queue", ["JobsQueue", "DeletionsQueue", "EventsQueue"])
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
    read = {"FARSHORE_VAULTS": "", "FARSHORE_VAULT_BUCKET": "home", "FARSHORE_OTHER_BUCKETS": ""}
    read |= {"FARSHORE_REQUEST_BUCKETS": "{}", "FARSHORE_GRACE": "24h"}
    assert given.keys() >= read.keys()
    settings = read_settings(given | read | {"AWS_REGION": "eu-central-1"})
    assert settings.table == "1"
    assert settings.primary.bucket == "home"


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
    assert home["DeletionPolicy"] == dr["DeletionPolicy"] == "RetainExceptOnCreate"
    assert home["UpdateReplacePolicy"] == dr["UpdateReplacePolicy"] == "Retain"
    named_apart = {"BucketName", "BucketEncryption"}
    for name in home["Properties"].keys() - named_apart | dr["Properties"].keys() - named_apart:
        assert home["Properties"][name] == dr["Properties"][name]
    assert home["Properties"]["VersioningConfiguration"] == {"Status": "Enabled"}


def test_a_dr_region_is_never_the_home_region_whose_events_would_go_in_a_circle() -> None:
    [assertion] = cfn_yaml.load(str(DR_REGION))["Rules"]["AnotherRegion"]["Assertions"]
    assert assertion["Assert"] == {
        "Fn::Not": [{"Fn::Equals": [{"Ref": "HomeRegion"}, {"Ref": "AWS::Region"}]}]
    }


def test_what_is_uploaded_is_private_and_the_log_role_outlives_the_regions_stack() -> None:
    region = cfn_yaml.load(str(DR_REGION.parents[1] / "deploy" / "region.yaml"))
    assert region["Resources"]["ApiLogRole"]["DeletionPolicy"] == "RetainExceptOnCreate"
    bucket = properties(region, "ArtifactBucket")
    assert all(bucket["PublicAccessBlockConfiguration"].values())
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    [only] = properties(region, "ArtifactBucketPolicy")["PolicyDocument"]["Statement"]
    assert (only["Effect"], only["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_the_catalog_outlives_the_stack_and_can_be_rolled_back(template: Mapping[str, Any]) -> None:
    assert template["Resources"]["Catalog"]["DeletionPolicy"] == "RetainExceptOnCreate"
    table = properties(template, "Catalog")
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert {index["IndexName"] for index in table["GlobalSecondaryIndexes"]} == {
        "by_type",
        "by_service",
        "wake",
    }


def test_the_catalog_is_protected_but_for_the_first_try_which_could_else_not_be_taken_back(
    template: Mapping[str, Any],
) -> None:
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/WorkingWithTables.Basics.html
    assert properties(template, "Catalog")["DeletionProtectionEnabled"] == {
        "Fn::If": ["ProtectsCatalog", True, False]
    }
    assert template["Parameters"]["CatalogProtection"]["Default"] == "on"
    assert template["Conditions"]["ProtectsCatalog"] == {"Fn::Equals": [{"Ref": "CatalogProtection"}, "on"]}


def test_the_api_is_throttled_below_what_its_functions_share_and_logs_who_calls(
    template: Mapping[str, Any],
) -> None:
    api = properties(template, "RestAPI")
    [settings] = api["MethodSettings"]
    assert (settings["ResourcePath"], settings["HttpMethod"]) == ("/*", "*")
    assert settings["ThrottlingRateLimit"] <= settings["ThrottlingBurstLimit"] < 100
    log = json.loads(api["AccessLogSetting"]["Format"])
    assert {log["caller"], log["status"]} == {"$context.identity.userArn", "$context.status"}
    assert properties(template, "APIAccessLogGroup")["RetentionInDays"] == 90


def test_jobs_leave_concurrency_to_the_api_and_the_tick(template: Mapping[str, Any]) -> None:
    # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
    for function, source, _ in CONSUMERS:
        scaling = properties(template, function)["Events"][source]["Properties"]["ScalingConfig"]
        assert scaling["MaximumConcurrency"] in ({"Ref": "JobWorkers"}, 5)
    workers = template["Parameters"]["JobWorkers"]
    assert workers["MinValue"] >= 2, "AWS takes no smaller one"
    assert workers["Default"] + 2 * 5 < 100


def test_reserving_concurrency_is_asked_for_as_small_accounts_cannot(template: Mapping[str, Any]) -> None:
    # https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html: 100 must stay unreserved.
    reserved = {
        name: properties(template, name).get("ReservedConcurrentExecutions", {}).get("Fn::If")
        for name in FUNCTIONS
    }
    nothing = {"Ref": "AWS::NoValue"}
    assert reserved == dict.fromkeys(FUNCTIONS) | {
        "APIHandler": ["ReservesConcurrency", 10, nothing],
        "Tick": ["ReservesConcurrency", 1, nothing],
    }
    assert template["Parameters"]["ReserveConcurrency"]["Default"] == "no"


def test_settings_at_their_longest_fit_the_environment_of_a_function(template: Mapping[str, Any]) -> None:
    # https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html: 4 KB
    lengths = {"Vaults": 2000, "RequestBuckets": 500, "OtherVaultBucketArns": 5 * 60, "Stage": 16, "Grace": 7}
    for name in ("Vaults", "RequestBuckets"):
        assert template["Parameters"][name]["MaxLength"] == lengths[name]
    for function in FUNCTIONS:
        variables = properties(template, function)["Environment"]["Variables"]
        longest = sum(len(name) + _longest(value, lengths) for name, value in variables.items())
        assert longest < 4096, function


def _longest(value: Any, lengths: Mapping[str, int]) -> int:
    """Estimate how long a variable can be: a parameter by its length, anything else by that of an ARN."""
    match value:
        case str():
            return len(value)
        case {"Ref": str(name)} if name in lengths:
            return lengths[name]
        case {"Fn::Join": [str(_), {"Ref": str(name)}]}:
            return lengths[name]
    return 100
