"""What policies say of a need: actions, resources, conditions, denials."""

from typing import Any

import pytest

from little_stack import policy_of
from local_cloud.services.iam.conditions import PolicyError, Values
from local_cloud.services.iam.policies import Effect, Need, read_policy

SNAPSHOT = "arn:aws:ec2:eu-central-1::snapshot/snap-1"


def says(condition: dict[str, Any], context: dict[str, Values]) -> bool:
    policy = read_policy(policy_of({"Action": "*", "Resource": "*", "Condition": condition}))
    return policy.judge(Need("ec2:DeleteSnapshot", SNAPSHOT, context)).effect is Effect.ALLOW


@pytest.mark.parametrize(
    ("actions", "resources", "allowed"),
    [
        ("ec2:DeleteSnapshot", SNAPSHOT, True),
        ("EC2:deletesnapshot", SNAPSHOT, True),
        ("ec2:Delete*", "arn:aws:ec2:*::snapshot/*", True),
        ("ec2:Delete????shot", "*", True),
        (["ec2:CopySnapshot", "ec2:DeleteSnapshot"], ["arn:aws:s3:::b", SNAPSHOT], True),
        ("ec2:Delete", "*", False),
        ("ec2:DeleteSnapshot", "arn:aws:ec2:eu-west-1::snapshot/*", False),
        ("ec2:DeleteSnapshot", "arn:aws:ec2:eu-central-1::SNAPSHOT/*", False),
        ("ec2:DeleteSnapshot", "arn:aws:ec2:eu-central-1::snapshot/${*}", False),
    ],
)
def test_wildcards_and_letters_count_as_iam_counts_them(actions: Any, resources: Any, allowed: bool) -> None:
    policy = read_policy(policy_of({"Action": actions, "Resource": resources}))
    assert (policy.judge(Need("ec2:DeleteSnapshot", SNAPSHOT)).effect is Effect.ALLOW) == allowed


def test_an_escaped_wildcard_is_what_is_yet_to_be_made() -> None:
    policy = read_policy(policy_of({"Action": "*", "Resource": "arn:aws:ec2:*::snapshot/${*}"}))
    assert policy.judge(Need("ec2:CopySnapshot", "arn:aws:ec2:eu-west-1::snapshot/*")).effect is Effect.ALLOW


@pytest.mark.parametrize("order", [1, -1])
def test_a_denial_wins_over_what_allows_wherever_it_stands(order: int) -> None:
    both: list[dict[str, Any]] = [
        {"Action": "*", "Resource": "*"},
        {
            "Effect": "Deny",
            "Action": "ec2:*",
            "Resource": "*",
            "Condition": {"Null": {"aws:RequestTag/a": "true"}},
        },
    ]
    policy = read_policy(policy_of(*both[::order]))
    assert policy.judge(Need("ec2:DeleteSnapshot", SNAPSHOT)).effect is Effect.DENY
    tagged = Need("ec2:DeleteSnapshot", SNAPSHOT, {"aws:requesttag/a": "b"})
    assert policy.judge(tagged).effect is Effect.ALLOW


def test_all_but_what_a_statement_names_is_not_what_it_names() -> None:
    policy = read_policy(policy_of({"NotAction": "ec2:Delete*", "NotResource": "arn:aws:s3:::*"}))
    assert policy.judge(Need("ec2:DeleteSnapshot", SNAPSHOT)).effect is Effect.SILENT
    assert policy.judge(Need("ec2:CopySnapshot", SNAPSHOT)).effect is Effect.ALLOW
    assert policy.judge(Need("s3:GetObject", "arn:aws:s3:::b/k")).effect is Effect.SILENT


KEY = "aws:ResourceTag/App"
RULE = "arn:aws:events:eu-central-1:1:rule/a"
CASES: list[tuple[dict[str, Any], dict[str, Values], bool]] = [
    ({"StringEquals": {KEY: ["a", "b"]}}, {"aws:resourcetag/app": "b"}, True),
    ({"StringEquals": {KEY: "a"}}, {"aws:resourcetag/app": "A"}, False),
    ({"StringEquals": {KEY: "a"}}, {}, False),
    ({"StringEqualsIfExists": {KEY: "a"}}, {}, True),
    ({"StringEqualsIfExists": {KEY: "a"}}, {"aws:resourcetag/app": "b"}, False),
    ({"StringNotEquals": {KEY: ["a", "b"]}}, {"aws:resourcetag/app": "c"}, True),
    ({"StringNotEquals": {KEY: ["a", "b"]}}, {"aws:resourcetag/app": "b"}, False),
    ({"StringNotEquals": {KEY: "a"}}, {}, True),
    ({"StringEqualsIgnoreCase": {KEY: "a"}}, {"aws:resourcetag/app": "A"}, True),
    ({"StringLike": {KEY: "eu-*/pro?"}}, {"aws:resourcetag/app": "eu-central-1/prod"}, True),
    ({"StringNotLike": {KEY: "eu-*"}}, {"aws:resourcetag/app": "us-east-1"}, True),
    ({"Null": {KEY: "true"}}, {}, True),
    ({"Null": {KEY: "false"}}, {}, False),
    ({"Null": {KEY: "false"}}, {"aws:resourcetag/app": "b"}, True),
    ({"Bool": {"aws:SecureTransport": False}}, {"aws:securetransport": "true"}, False),
    ({"Bool": {"aws:SecureTransport": "true"}}, {"aws:securetransport": "true"}, True),
    ({"BoolIfExists": {"aws:MultiFactorAuthPresent": "true"}}, {}, True),
    ({"ArnEquals": {"aws:SourceArn": "arn:aws:events:*:1:rule/*"}}, {"aws:sourcearn": RULE}, True),
    ({"ArnLike": {"aws:SourceArn": "arn:aws:events:*"}}, {"aws:sourcearn": RULE}, False),
    ({"ArnNotEquals": {"aws:SourceArn": RULE}}, {"aws:sourcearn": RULE}, False),
    ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {"aws:tagkeys": ("a",)}, True),
    ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {"aws:tagkeys": ("a", "c")}, False),
    ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {}, True),
    ({"ForAnyValue:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {"aws:tagkeys": ("a", "c")}, True),
    ({"ForAnyValue:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {"aws:tagkeys": ("c",)}, False),
    ({"ForAnyValue:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {}, False),
    ({"ForAllValues:StringNotLike": {"aws:TagKeys": "aws:*"}}, {"aws:tagkeys": ("a", "aws:b")}, False),
    ({"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, {"aws:sourceip": "127.0.0.1"}, True),
    ({"NotIpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, {"aws:sourceip": "127.0.0.1"}, False),
    ({"NumericLessThan": {"ec2:VolumeSize": 20}}, {"ec2:volumesize": "8"}, True),
    ({"NumericGreaterThanEquals": {"ec2:VolumeSize": "20"}}, {"ec2:volumesize": "8"}, False),
    ({"StringEquals": {KEY: "a"}, "Null": {"aws:RequestTag/x": "true"}}, {"aws:resourcetag/app": "a"}, True),
    ({"StringEquals": {KEY: "a", "aws:RequestTag/x": "b"}}, {"aws:resourcetag/app": "a"}, False),
]


@pytest.mark.parametrize(("condition", "context", "holds"), CASES, ids=map(str, range(len(CASES))))
def test_a_condition_holds_as_iam_has_it(
    condition: dict[str, Any], context: dict[str, Values], holds: bool
) -> None:
    assert says(condition, context) == holds


@pytest.mark.parametrize(
    "statement",
    [
        {"Action": "*", "Resource": "*", "Condition": {"DateLessThan": {"aws:CurrentTime": "2030-01-01"}}},
        {"Action": "*", "Resource": "*", "Condition": {"ForSomeValues:StringEquals": {"aws:TagKeys": "a"}}},
        {"Action": "*", "Resource": "arn:aws:s3:::${aws:username}"},
        {"Action": "*", "Resource": "*", "NotPrincipal": "*"},
    ],
)
def test_what_is_not_read_is_refused(statement: dict[str, Any]) -> None:
    with pytest.raises(PolicyError, match="does not read"):
        read_policy(policy_of(statement))
