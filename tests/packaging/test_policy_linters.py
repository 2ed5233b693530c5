"""The linters of policies find what is planted, and nothing in what is deployed, in any partition of AWS."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from local_cloud.cloudformation.intrinsics import resolve
from tests.policies import lint, reference
from tests.policies.rendered import (
    ACCOUNT,
    PARTITIONS,
    Partition,
    Policy,
    PolicyKind,
    deployed,
    renderings,
    samples,
)

SNAPSHOTS = "arn:aws:ec2:*::snapshot/*"
VOLUMES = f"arn:aws:ec2:eu-central-1:{ACCOUNT}:volume/*"


def planted(kind: PolicyKind = PolicyKind.IDENTITY, **statement: Any) -> Policy:
    """Return a policy of one statement."""
    whole = {"Sid": "Planted", "Effect": "Allow", **statement}
    return Policy("here", kind, {"Version": "2012-10-17", "Statement": [whole]})


@pytest.mark.parametrize("partition", PARTITIONS, ids=lambda partition: partition.name)
def test_what_is_deployed_is_what_aws_knows(partition: Partition) -> None:
    policies = list(deployed(partition))
    assert {policy.kind for policy in policies} == set(PolicyKind)
    assert not [found for policy in policies for found in reference.findings(policy)]


def test_what_is_deployed_and_recommended_passes_both_linters() -> None:
    assert not list(lint.findings([*deployed(PARTITIONS[0]), *samples()]))


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        pytest.param(
            {"Action": ["ec2:DeleteSnapshots"], "Resource": SNAPSHOTS},
            "there is no action ec2:DeleteSnapshots",
            id="an action that is not",
        ),
        pytest.param(
            {"Action": ["ebs2:DeleteSnapshot"], "Resource": SNAPSHOTS},
            "there is no action ebs2:DeleteSnapshot",
            id="a service that is not",
        ),
        pytest.param(
            {"Action": ["ec2:DeleteSnapshot"], "Resource": VOLUMES},
            "ec2:DeleteSnapshot is on none of the resources",
            id="another type of resource",
        ),
        pytest.param(
            {"Action": ["ec2:DeleteSnapshot"], "Resource": SNAPSHOTS.replace("::", f":{ACCOUNT}:")},
            "ec2:DeleteSnapshot is on none of the resources",
            id="snapshots belong to no account in ARNs",
        ),
        pytest.param(
            {"Action": ["s3:GetObject"], "Resource": "arn:aws:s3:::home"},
            "s3:GetObject is on none of the resources",
            id="a bucket in place of its objects",
        ),
        pytest.param(
            {"Action": ["s3:ListBucket"], "Resource": "arn:aws:s3:::home/*"},
            "s3:ListBucket is on none of the resources",
            id="objects in place of their bucket",
        ),
        pytest.param(
            {"Action": ["ec2:DeleteSnapshot"], "Resource": [SNAPSHOTS, VOLUMES]},
            f"none of the actions is on {VOLUMES}",
            id="a resource too many",
        ),
        pytest.param(
            {"Action": ["ec2:DeleteSnapshot"], "Resource": "*"},
            "ec2:DeleteSnapshot on every resource, and it can be limited by snapshot",
            id="every resource",
        ),
        pytest.param(
            {"Action": ["ec2:AttachVolume"], "Resource": VOLUMES},
            "ec2:AttachVolume needs instance as well",
            id="half of what a call is on",
        ),
        pytest.param(
            {
                "Action": ["ec2:CopySnapshot"],
                "Resource": SNAPSHOTS,
                "Condition": {"StringEquals": {"aws:ResourceTag/farshore:deployment": "here"}},
            },
            "ec2:CopySnapshot on snapshot has no key aws:ResourceTag/farshore:deployment",
            id="a key that the action does not list",
        ),
        pytest.param(
            {
                "Action": ["ec2:CreateTags"],
                "Resource": SNAPSHOTS,
                "Condition": {"StringEquals": {"ec2:CreatingAction": "CreateSnapshot"}},
            },
            "ec2:CreateTags on snapshot has no key ec2:CreatingAction",
            id="a key that is not",
        ),
        pytest.param(
            {
                "Action": ["ec2:DescribeSnapshots"],
                "Resource": "*",
                "Condition": {"StringEquals": {"aws:ResourceTag/farshore:deployment": "here"}},
            },
            "ec2:DescribeSnapshots on no resource has no key aws:ResourceTag/farshore:deployment",
            id="a key of resources for an action that has none",
        ),
    ],
)
def test_the_reference_finds_what_aws_does_not_know(statement: Mapping[str, Any], says: str) -> None:
    assert f"here, Planted: {says}" in [
        found.replace("here: ", "here, Planted: ") for found in reference.findings(planted(**statement))
    ]


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        pytest.param({"Effect": "Alow"}, "Unknown Effect", id="an effect that is not"),
        pytest.param(
            {"Resources": SNAPSHOTS}, "Statement contains an unknown element", id="a misspelt element"
        ),
        pytest.param({"Resource": "arn:aws:ec2:*:snapshot/*"}, "Does not have 6 parts", id="half an ARN"),
        pytest.param(
            {"Condition": {"StringEqual": {"aws:SourceIp": "x"}}}, "StringEqual", id="an operator that is not"
        ),
        pytest.param(
            {"Condition": {"Bool": {"aws:ResourceTag/a": "maybe"}}}, "type", id="an operator of another type"
        ),
    ],
)
def test_parliament_finds_what_is_no_policy(statement: Mapping[str, Any], says: str) -> None:
    whole = {"Action": ["ec2:DeleteSnapshot"], "Resource": SNAPSHOTS, **statement}
    found = list(lint.grammar_findings(planted(**whole)))
    assert [each for each in found if says.lower() in each.lower()], found


def test_a_false_alarm_is_one_for_its_kind_of_policy_only() -> None:
    without_resource = {"Action": ["sts:AssumeRole"]}
    assert not list(lint.grammar_findings(planted(PolicyKind.TRUST, **without_resource)))
    assert list(lint.grammar_findings(planted(PolicyKind.IDENTITY, **without_resource)))


def test_every_false_alarm_is_still_raised() -> None:
    raised = {
        alarm
        for policy in deployed(PARTITIONS[0])
        for each in lint.raw_findings(policy)
        for alarm in lint.FALSE_ALARMS
        if alarm.is_of(policy, each)
    }
    assert raised == set(lint.FALSE_ALARMS)


# The services whose principals have the same name in every partition.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html#principal-services
PRINCIPALS = ("apigateway", "events", "lambda")


@pytest.mark.parametrize("partition", PARTITIONS[1:], ids=lambda partition: partition.name)
def test_no_name_of_another_partition_is_in_a_template(partition: Partition) -> None:
    for where, rendering in renderings(partition):
        text = json.dumps(
            resolve([rendering.template["Resources"], rendering.template["Outputs"]], rendering)
        )
        assert "arn:aws:" not in text, where
        for service in PRINCIPALS:
            text = text.replace(f'"{service}.amazonaws.com"', "")
        assert text.count("amazonaws.com") == text.count(partition.suffix), where
