"""What the functions may do: named actions on named resources; they destroy only Farshore's own."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

ROLES = ("ApiHandlerRole", "TickRole", "AdvanceJobsRole", "CompletionsRole", "LaunchesRole")
# Actions for which AWS knows no resource, so that only "*" can stand there.
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2autoscaling.html
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_awselasticloadbalancingv2.html
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssystemsmanager.html
WITHOUT_RESOURCE = frozenset(
    {
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeAutoScalingInstances",
        "autoscaling:DescribeLifecycleHooks",
        "ec2:DescribeAddresses",
        "ec2:DescribeAvailabilityZones",
        "ec2:DescribeInstanceTypeOfferings",
        "ec2:DescribeInstanceTypes",
        "ec2:DescribeInstances",
        "ec2:DescribeLaunchTemplateVersions",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSnapshots",
        "ec2:DescribeSubnets",
        "ec2:DescribeVolumes",
        "elasticloadbalancing:DescribeTargetHealth",
        "elasticloadbalancing:DescribeTargetGroups",
        "ssm:CancelCommand",
        "ssm:DescribeInstanceInformation",
        "ssm:GetCommandInvocation",
        "ssm:ListCommands",
    }
)
Statement = Mapping[str, Any]


def statements(template: Mapping[str, Any], role: str) -> Iterator[Statement]:
    """Give a role's statements; those that hang on a condition of the stack too."""
    for policy in template["Resources"][role]["Properties"]["Policies"]:
        for statement in policy["PolicyDocument"]["Statement"]:
            yield statement["Fn::If"][1] if "Fn::If" in statement else statement


def allowing(template: Mapping[str, Any], role: str, action: str) -> list[Statement]:
    return [statement for statement in statements(template, role) if action in statement["Action"]]


@pytest.mark.parametrize("role", ROLES)
def test_every_statement_allows_named_actions_on_named_resources(
    template: Mapping[str, Any], role: str
) -> None:
    for statement in statements(template, role):
        assert statement["Effect"] == "Allow"
        assert not {"NotAction", "NotResource"} & statement.keys()
        assert not [action for action in statement["Action"] if "*" in action], statement["Sid"]
        if "*" in (resource := statement["Resource"]) or resource == "*":
            assert set(statement["Action"]) <= WITHOUT_RESOURCE, statement["Sid"]


@pytest.mark.parametrize(
    ("role", "name"),
    [
        ("ApiHandlerRole", "api"),
        ("TickRole", "tick"),
        ("AdvanceJobsRole", "advance-jobs"),
        ("CompletionsRole", "completions"),
        ("LaunchesRole", "launches"),
    ],
)
def test_a_function_writes_to_its_own_log_group_only(
    template: Mapping[str, Any], role: str, name: str
) -> None:
    (logs,) = allowing(template, role, "logs:PutLogEvents")
    assert logs["Resource"]["Fn::Sub"].endswith(f":log-group:/farshore/${{Stage}}/{name}:*")
    function = template["Resources"]["APIHandler" if role == "ApiHandlerRole" else role.removesuffix("Role")]
    group = template["Resources"][function["Properties"]["LoggingConfig"]["LogGroup"]["Ref"]]
    assert group["Properties"]["LogGroupName"] == {"Fn::Sub": f"/farshore/${{Stage}}/{name}"}


def test_only_the_worker_changes_what_is_protected(template: Mapping[str, Any]) -> None:
    for role in ("ApiHandlerRole", "TickRole", "CompletionsRole", "LaunchesRole"):
        beyond = {
            action
            for statement in statements(template, role)
            for action in statement["Action"]
            if action not in WITHOUT_RESOURCE and action.partition(":")[0] not in ("logs", "dynamodb", "sqs")
        }
        looks = {"s3:ListBucket", "route53:GetHostedZone"}
        assert beyond <= looks, "to look is to change nothing"


@pytest.mark.parametrize(
    ("action", "key"),
    [
        ("ec2:DeleteSnapshot", "aws:ResourceTag/farshore:recovery-point"),
        ("ec2:CreateVolume", "aws:ResourceTag/farshore:recovery-point"),
        ("ec2:CreateVolume", "aws:RequestTag/farshore:job"),
    ],
)
def test_snapshots_and_volumes_are_touched_only_under_farshores_tags(
    template: Mapping[str, Any], action: str, key: str
) -> None:
    found = allowing(template, "AdvanceJobsRole", action)
    assert found
    assert all("Null" in statement["Condition"] for statement in found)
    assert {"Null": {key: "false"}} in [statement["Condition"] for statement in found]


def test_a_copy_is_tagged_and_its_source_is_a_snapshot_that_is_there(template: Mapping[str, Any]) -> None:
    making, source = allowing(template, "AdvanceJobsRole", "ec2:CopySnapshot")
    assert making["Condition"] == {"Null": {"aws:RequestTag/farshore:recovery-point": "false"}}
    # What is to be made is `snapshot/*`, which no pattern `snap-*` matches.
    assert source["Resource"]["Fn::Sub"].endswith("::snapshot/snap-*")


@pytest.mark.parametrize("action", ["ec2:AttachVolume", "ec2:DeleteVolume", "ec2:DetachVolume"])
def test_only_volumes_that_jobs_made_are_attached_and_deleted(
    template: Mapping[str, Any], action: str
) -> None:
    of_volumes = [
        statement
        for statement in allowing(template, "AdvanceJobsRole", action)
        if not statement["Resource"]["Fn::Sub"].endswith(":instance/*")
    ]
    (own,) = of_volumes
    assert own["Condition"] == {"Null": {"aws:ResourceTag/farshore:job": "false"}}
    assert own["Resource"]["Fn::Sub"].endswith("${AWS::Region}:${AWS::AccountId}:volume/*")


def test_tags_are_set_only_in_the_creating_call(template: Mapping[str, Any]) -> None:
    found = allowing(template, "AdvanceJobsRole", "ec2:CreateTags")
    assert [statement["Condition"] for statement in found] == [
        {"StringEquals": {"ec2:CreateAction": actions}}
        for actions in (
            ["CopySnapshot", "CreateSnapshot", "CreateSnapshots", "CreateVolume"],
            "RunInstances",
        )
    ]


def test_only_instances_that_jobs_start_are_launched_and_terminated(template: Mapping[str, Any]) -> None:
    launching, from_templates = allowing(template, "AdvanceJobsRole", "ec2:RunInstances")
    (terminating,) = allowing(template, "AdvanceJobsRole", "ec2:TerminateInstances")
    (passing,) = allowing(template, "AdvanceJobsRole", "iam:PassRole")
    assert launching["Condition"] == {"Null": {"aws:RequestTag/farshore:job": "false"}}
    assert terminating["Condition"] == {"Null": {"aws:ResourceTag/farshore:job": "false"}}
    for statement in (launching, terminating):
        assert statement["Resource"]["Fn::Sub"].endswith("${AWS::Region}:${AWS::AccountId}:instance/*")
    assert not [each for each in from_templates["Resource"] if "instance/" in each["Fn::Sub"]]
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}


def test_commands_go_through_one_document_to_instances_of_the_region(template: Mapping[str, Any]) -> None:
    (sending,) = allowing(template, "AdvanceJobsRole", "ssm:SendCommand")
    document, instances = (resource["Fn::Sub"] for resource in sending["Resource"])
    assert document.endswith("${AWS::Region}::document/AWS-RunShellScript")
    assert instances.endswith("${AWS::Region}:${AWS::AccountId}:instance/*")


def test_of_dns_only_a_records_are_written_and_none_is_deleted(template: Mapping[str, Any]) -> None:
    (pointing,) = allowing(template, "AdvanceJobsRole", "route53:ChangeResourceRecordSets")
    assert pointing["Condition"]["ForAllValues:StringEquals"] == {
        "route53:ChangeResourceRecordSetsActions": ["UPSERT"],
        "route53:ChangeResourceRecordSetsRecordTypes": ["A"],
    }
    # For all values of none the condition would hold, so the keys have to be there.
    assert pointing["Condition"]["Null"] == dict.fromkeys(
        pointing["Condition"]["ForAllValues:StringEquals"], "false"
    )
