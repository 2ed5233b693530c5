"""What the functions may do: named actions on named resources; they destroy only Farshore's own."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from chalicelib.aws.events import ROUND_TRIP_SOURCE
from chalicelib.catalog.store.examinations import PARTITION
from tests.policies.reference import listed, only_reads

LOG_GROUPS = {
    "ApiHandlerRole": "api",
    "TickRole": "tick",
    "AdvanceJobsRole": "advance-jobs",
    "AdvanceDeletionsRole": "advance-deletions",
    "CompletionsRole": "completions",
    "LaunchesRole": "launches",
}
ROLES = tuple(LOG_GROUPS)
DEPLOYMENT = {"Fn::Sub": "${AWS::Region}/${Stage}"}
MADE_HERE = {"StringEquals": {"aws:RequestTag/farshore:deployment": DEPLOYMENT}}
OF_HERE = {"StringEquals": {"aws:ResourceTag/farshore:deployment": DEPLOYMENT}}
Statement = Mapping[str, Any]


def statements(template: Mapping[str, Any], role: str) -> Iterator[Statement]:
    """Give a role's statements; those that hang on a condition of the stack too."""
    for policy in template["Resources"][role]["Properties"]["Policies"]:
        for statement in policy["PolicyDocument"]["Statement"]:
            yield statement["Fn::If"][1] if "Fn::If" in statement else statement


def allowing(template: Mapping[str, Any], role: str, action: str) -> list[Statement]:
    return [statement for statement in statements(template, role) if action in statement["Action"]]


@pytest.mark.parametrize("role", ROLES)
def test_every_statement_allows_named_actions(template: Mapping[str, Any], role: str) -> None:
    for statement in statements(template, role):
        assert statement["Effect"] == "Allow"
        assert not {"NotAction", "NotResource"} & statement.keys()
        assert not [action for action in statement["Action"] if "*" in action], statement["Sid"]


@pytest.mark.parametrize(("role", "name"), LOG_GROUPS.items())
def test_a_function_writes_to_its_own_log_group_only(
    template: Mapping[str, Any], role: str, name: str
) -> None:
    (logs,) = allowing(template, role, "logs:PutLogEvents")
    assert logs["Resource"]["Fn::Sub"].endswith(f":log-group:/farshore/${{Stage}}/{name}:*")
    function = template["Resources"]["APIHandler" if role == "ApiHandlerRole" else role.removesuffix("Role")]
    group = template["Resources"][function["Properties"]["LoggingConfig"]["LogGroup"]["Ref"]]
    assert group["Properties"]["LogGroupName"] == {"Fn::Sub": f"/farshore/${{Stage}}/{name}"}


def test_every_function_has_a_role_that_is_looked_at_here(template: Mapping[str, Any]) -> None:
    functions = (r for r in template["Resources"].values() if r["Type"] == "AWS::Serverless::Function")
    assert {each["Properties"]["Role"]["Fn::GetAtt"][0] for each in functions} == set(ROLES)


def test_only_the_workers_change_what_is_protected(template: Mapping[str, Any]) -> None:
    for role in ("ApiHandlerRole", "TickRole", "CompletionsRole", "LaunchesRole"):
        changing = {
            action
            for statement in statements(template, role)
            for action in statement["Action"]
            if action.partition(":")[0] not in ("logs", "dynamodb", "sqs") and not only_reads(action)
        }
        assert changing <= {"events:PutEvents"}, "to look is to change nothing"


def test_only_events_of_our_own_are_sent(template: Mapping[str, Any]) -> None:
    (sending,) = allowing(template, "ApiHandlerRole", "events:PutEvents")
    assert sending["Condition"] == {"StringEquals": {"events:source": ROUND_TRIP_SOURCE}}


def test_the_function_that_hears_of_completions_writes_only_that_events_have_arrived(
    template: Mapping[str, Any],
) -> None:
    (writing,) = allowing(template, "CompletionsRole", "dynamodb:UpdateItem")
    assert writing["Condition"] == {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [PARTITION]}}


def test_only_the_function_for_deletions_deletes_points(template: Mapping[str, Any]) -> None:
    deleting = {"ec2:DeleteSnapshot", "s3:DeleteObject"}
    able = {(role, action) for role in ROLES for action in deleting if list(allowing(template, role, action))}
    assert able == {
        ("AdvanceDeletionsRole", "ec2:DeleteSnapshot"),
        ("AdvanceDeletionsRole", "s3:DeleteObject"),
        ("AdvanceJobsRole", "s3:DeleteObject"),
    }
    # The worker deletes what jobs keep in a vault while they run, which is no part of any point.
    own, others = allowing(template, "AdvanceJobsRole", "s3:DeleteObject")
    assert [each["Fn::Sub"] for each in own["Resource"]] == [
        "${VaultBucket.Arn}/mailbox/*",
        "${VaultBucket.Arn}/staging/*",
    ]
    _, resources = others["Resource"]["Fn::Split"]
    assert resources["Fn::Sub"][0] == "${Mailboxes}/mailbox/*,${Stagings}/staging/*"


def test_the_function_for_deletions_makes_nothing(template: Mapping[str, Any]) -> None:
    actions = {
        action
        for statement in statements(template, "AdvanceDeletionsRole")
        for action in statement["Action"]
        if action.partition(":")[0] not in ("logs", "dynamodb", "sqs")
    }
    assert actions == {
        "ec2:DeleteSnapshot",
        "ec2:DescribeSnapshots",
        "ec2:DescribeVolumes",
        "kms:Decrypt",
        "s3:AbortMultipartUpload",
        "s3:DeleteObject",
        "s3:GetObject",
        "s3:ListBucket",
        "s3:ListBucketMultipartUploads",
        "secretsmanager:GetSecretValue",
        "ssm:CancelCommand",
    }


@pytest.mark.parametrize(
    ("role", "action", "resource", "condition"),
    [
        ("AdvanceJobsRole", "ec2:CreateSnapshot", ":snapshot/*", MADE_HERE),
        ("AdvanceJobsRole", "ec2:CreateSnapshots", ":snapshot/*", MADE_HERE),
        ("AdvanceJobsRole", "ec2:CreateVolume", ":snapshot/*", OF_HERE),
        ("AdvanceJobsRole", "ec2:CreateVolume", ":volume/*", MADE_HERE),
        ("AdvanceJobsRole", "ec2:AttachVolume", ":volume/*", OF_HERE),
        ("AdvanceJobsRole", "ec2:DetachVolume", ":volume/*", OF_HERE),
        ("AdvanceJobsRole", "ec2:DeleteVolume", ":volume/*", OF_HERE),
        ("AdvanceJobsRole", "ec2:RunInstances", ":instance/*", MADE_HERE),
        ("AdvanceJobsRole", "ec2:TerminateInstances", ":instance/*", OF_HERE),
        ("AdvanceDeletionsRole", "ec2:DeleteSnapshot", ":snapshot/*", OF_HERE),
    ],
)
def test_what_is_made_has_this_deployments_tag_and_nothing_else_is_touched(
    template: Mapping[str, Any], role: str, action: str, resource: str, condition: Mapping[str, Any]
) -> None:
    """So that a stage cannot delete, or restore from, what another stage has made."""
    found = [
        statement
        for statement in allowing(template, role, action)
        if any(each["Fn::Sub"].endswith(resource) for each in listed(statement["Resource"]))
    ]
    assert [statement["Condition"] for statement in found] == [condition]


def test_a_copy_may_come_from_any_snapshot_at_home_and_is_tagged(template: Mapping[str, Any]) -> None:
    """Of a copy's source the reference lists no tags: `ec2:CopySnapshot` on it cannot depend on one.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html
    """
    made, source = allowing(template, "AdvanceJobsRole", "ec2:CopySnapshot")
    assert made["Condition"] == MADE_HERE
    assert "Condition" not in source
    assert source["Resource"]["Fn::Sub"].endswith(":ec2:${AWS::Region}::snapshot/*")


def test_tags_are_set_only_in_the_creating_call(template: Mapping[str, Any]) -> None:
    found = allowing(template, "AdvanceJobsRole", "ec2:CreateTags")
    assert [statement["Condition"] for statement in found] == [
        {"StringEquals": {"ec2:CreateAction": actions}}
        for actions in (
            ["CopySnapshot", "CreateSnapshot", "CreateSnapshots", "CreateVolume"],
            "RunInstances",
        )
    ]


def test_roles_are_passed_to_instances_only(template: Mapping[str, Any]) -> None:
    (passing,) = allowing(template, "AdvanceJobsRole", "iam:PassRole")
    assert passing["Condition"] == {
        "StringEquals": {"iam:PassedToService": {"Fn::Sub": "ec2.${AWS::URLSuffix}"}}
    }


def test_commands_go_through_one_document_to_instances_that_the_operator_allows(
    template: Mapping[str, Any],
) -> None:
    document, instances = allowing(template, "AdvanceJobsRole", "ssm:SendCommand")
    assert document["Resource"]["Fn::Sub"].endswith("${AWS::Region}::document/AWS-RunShellScript")
    assert instances["Resource"]["Fn::Sub"].endswith("${AWS::Region}:${AWS::AccountId}:instance/*")
    assert instances["Condition"]["Fn::If"] == [
        "HasCommandTag",
        {"StringEquals": {"ssm:resourceTag/farshore:commands": {"Ref": "CommandTag"}}},
        {"Ref": "AWS::NoValue"},
    ]


@pytest.mark.parametrize("role", ROLES)
def test_keys_are_used_only_through_the_services_that_they_encrypt_for(
    template: Mapping[str, Any], role: str
) -> None:
    """So that no function decrypts by itself, and grants are made for AWS's services alone.

    https://docs.aws.amazon.com/ebs/latest/userguide/ebs-encryption-requirements.html
    """
    for statement in statements(template, role):
        if not any(action.startswith("kms:") and not only_reads(action) for action in statement["Action"]):
            continue
        via = [
            service["Fn::Sub"]
            for keys in statement["Condition"].values()
            if "kms:ViaService" in keys
            for service in listed(keys["kms:ViaService"])
        ]
        assert {each.split(".")[0] for each in via} <= {"ec2", "s3", "secretsmanager"}
        assert via
        assert all(each.endswith(".${AWS::URLSuffix}") for each in via)
        if "kms:CreateGrant" in statement["Action"]:
            assert statement["Condition"]["Bool"] == {"kms:GrantIsForAWSResource": "true"}


def test_a_key_of_the_operators_own_may_encrypt_secrets_and_nothing_else_is_decrypted_with_it(
    template: Mapping[str, Any],
) -> None:
    for role in ("AdvanceJobsRole", "AdvanceDeletionsRole"):
        (decrypting,) = (
            statement
            for statement in allowing(template, role, "kms:Decrypt")
            if statement["Resource"] == {"Ref": "SecretKeyArns"}
        )
        assert decrypting["Action"] == ["kms:Decrypt"]
        via = {"kms:ViaService": {"Fn::Sub": "secretsmanager.${AWS::Region}.${AWS::URLSuffix}"}}
        assert decrypting["Condition"] == {"StringEquals": via}


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
