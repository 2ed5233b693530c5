"""Each function may do what the main story makes it do, and nothing that no code of it needs."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from local_cloud.call import ACCOUNT
from local_cloud.services.iam.policies import Effect, Need
from stage import DR_BUCKET, DR_REGION, HOME_BUCKET, HOME_REGION
from tests.packaging.story import Grant, Told, told


@dataclass(frozen=True, slots=True)
class Unseen:
    """Actions of a statement that the story does not show, and why the functions have them all the same."""

    sid: str
    functions: tuple[str, ...]
    actions: tuple[str, ...]
    why: str

    def grants(self) -> Iterator[Grant]:
        """Return each: function, statement, action."""
        for function in self.functions:
            for action in self.actions:
                yield function, self.sid, action


UNSEEN = (
    Unseen(
        "Catalog",
        ("Tick",),
        ("dynamodb:DeleteItem",),
        "takes the copy slots of jobs that are over",
    ),
    Unseen(
        "LookWhereAwsKnowsNoResource",
        ("Tick",),
        ("ec2:DescribeSnapshots",),
        "compares the holders of copy slots with what EC2 says is pending",
    ),
    Unseen(
        "Poke",
        ("AdvanceDeletions",),
        ("sqs:SendMessage",),
        "a job that waits for its grace, for EC2's pace or for another try pokes itself; the story has none",
    ),
    Unseen(
        "LookWhereAwsKnowsNoResource",
        ("AdvanceDeletions",),
        ("ssm:CancelCommand",),
        "ends the script of a failed backup whose file is deleted; the story's backups succeed",
    ),
    Unseen(
        "CredentialsOfOtherClouds",
        ("AdvanceDeletions",),
        ("secretsmanager:GetSecretValue",),
        "deletes off-site; the story's functions share one process, in which the worker has read it",
    ),
    Unseen(
        "Objects",
        ("AdvanceDeletions",),
        ("s3:AbortMultipartUpload",),
        "an inventory ends an upload that a dead worker left; the story has none",
    ),
    Unseen(
        "OtherObjects",
        ("AdvanceJobs", "AdvanceDeletions"),
        ("s3:AbortMultipartUpload",),
        "drops the parts of a copy, or of a file being put together there, that is given up",
    ),
)

OF, AS = "aws:resourcetag/farshore:deployment", "aws:requesttag/farshore:deployment"
HERE, OTHER_STAGE = f"{HOME_REGION}/local", f"{HOME_REGION}/prod"
SNAPSHOT = f"arn:aws:ec2:{DR_REGION}::snapshot/snap-1"
COPY = f"arn:aws:ec2:{DR_REGION}::snapshot/*"
VOLUME = f"arn:aws:ec2:{HOME_REGION}:{ACCOUNT}:volume/vol-1"
INSTANCE = f"arn:aws:ec2:{HOME_REGION}:{ACCOUNT}:instance/i-1"
RECORDS = "route53:ChangeResourceRecordSets"
ACTIONS, TYPES = f"{RECORDS}Actions".lower(), f"{RECORDS}RecordTypes".lower()
ZONE = "arn:aws:route53:::hostedzone/Z1"
FORBIDDEN = {
    "move an address elsewhere": Need(
        "ec2:AssociateAddress", f"arn:aws:ec2:{DR_REGION}:{ACCOUNT}:elastic-ip/eipalloc-1"
    ),
    "delete a record": Need(RECORDS, ZONE, {ACTIONS: "DELETE", TYPES: "A"}),
    "write a record of mail": Need(RECORDS, ZONE, {ACTIONS: "UPSERT", TYPES: "MX"}),
    "write a record that does not say what it is": Need(RECORDS, ZONE),
    "change another account's target group": Need(
        "elasticloadbalancing:RegisterTargets",
        f"arn:aws:elasticloadbalancing:{HOME_REGION}:210987654321:targetgroup/orders/1",
    ),
    "delete a snapshot that is not ours": Need("ec2:DeleteSnapshot", SNAPSHOT),
    "delete what only has our job's tag": Need(
        "ec2:DeleteSnapshot", SNAPSHOT, {"aws:resourcetag/farshore:job": "j"}
    ),
    "copy a snapshot without tagging the copy": Need("ec2:CopySnapshot", COPY),
    "delete a snapshot of another stage": Need("ec2:DeleteSnapshot", SNAPSHOT, {OF: OTHER_STAGE}),
    "make a snapshot in another stage's name": Need("ec2:CreateSnapshots", SNAPSHOT, {AS: OTHER_STAGE}),
    "make a volume of another stage's snapshot": Need("ec2:CreateVolume", SNAPSHOT, {OF: OTHER_STAGE}),
    "delete a volume of another stage": Need("ec2:DeleteVolume", VOLUME, {OF: OTHER_STAGE}),
    "terminate an instance of another stage": Need("ec2:TerminateInstances", INSTANCE, {OF: OTHER_STAGE}),
    "make a volume of a snapshot that is not ours": Need(
        "ec2:CreateVolume", SNAPSHOT, {"aws:requesttag/farshore:job": "j"}
    ),
    "make a volume without tagging it": Need("ec2:CreateVolume", VOLUME),
    "attach a volume that is not ours": Need("ec2:AttachVolume", VOLUME),
    "detach a volume that is not ours": Need("ec2:DetachVolume", VOLUME),
    "delete a volume that is not ours": Need("ec2:DeleteVolume", VOLUME),
    "delete a volume that only has our point's tag": Need(
        "ec2:DeleteVolume", VOLUME, {"aws:resourcetag/farshore:recovery-point": "rp"}
    ),
    "attach a volume elsewhere": Need(
        "ec2:AttachVolume",
        VOLUME.replace(HOME_REGION, DR_REGION),
        {OF: HERE},
    ),
    "tag what is there already": Need("ec2:CreateTags", SNAPSHOT, {AS: HERE}),
    "tag an instance that is there": Need("ec2:CreateTags", INSTANCE, {AS: HERE}),
    "start an instance without tagging it": Need("ec2:RunInstances", INSTANCE),
    "start an instance elsewhere": Need(
        "ec2:RunInstances", INSTANCE.replace(HOME_REGION, DR_REGION), {AS: HERE}
    ),
    "terminate an instance that is not ours": Need("ec2:TerminateInstances", INSTANCE),
    "give a role to something else than an instance": Need(
        "iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/r", {"iam:passedtoservice": "lambda.amazonaws.com"}
    ),
    "snapshot an instance elsewhere": Need("ec2:CreateSnapshots", INSTANCE.replace(HOME_REGION, DR_REGION)),
    "run another document": Need(
        "ssm:SendCommand", f"arn:aws:ssm:{HOME_REGION}::document/AWS-RunRemoteScript"
    ),
    "read another bucket": Need("s3:GetObject", f"arn:aws:s3:::{HOME_BUCKET}-other/data"),
    "delete a version of an object": Need("s3:DeleteObjectVersion", f"arn:aws:s3:::{DR_BUCKET}/data"),
    "read another secret": Need(
        "secretsmanager:GetSecretValue",
        f"arn:aws:secretsmanager:{HOME_REGION}:{ACCOUNT}:secret:orders-AbCdEf",
    ),
    "write another table": Need("dynamodb:PutItem", f"arn:aws:dynamodb:{HOME_REGION}:{ACCOUNT}:table/orders"),
    "send to another queue": Need("sqs:SendMessage", f"arn:aws:sqs:{HOME_REGION}:{ACCOUNT}:orders"),
}


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Told:
    return told(tmp_path_factory.mktemp("cloud"))


def test_every_function_and_every_kind_of_work_is_in_the_story(story: Told) -> None:
    assert {function for function, _ in story.operations if function} == story.policies.keys()
    assert {
        "AssociateAddress",
        "AttachVolume",
        "ChangeResourceRecordSets",
        "CompleteLifecycleAction",
        "CopyObject",
        "CopySnapshot",
        "CreateSnapshots",
        "CreateVolume",
        "DeleteObject",
        "DeleteSnapshot",
        "DeleteVolume",
        "DetachVolume",
        "GetSecretValue",
        "RecordLifecycleActionHeartbeat",
        "RegisterTargets",
        "RunInstances",
        "SendCommand",
        "TerminateInstances",
        "TransactWriteItems",
        "UploadPart",
    } <= {operation for _, operation in story.operations}


def test_no_call_of_a_function_is_denied(story: Told) -> None:
    assert not story.denials


def test_no_role_allows_what_its_function_never_needs(story: Told) -> None:
    assert story.granted - story.needed == {grant for each in UNSEEN for grant in each.grants()}


def test_no_function_may_do_what_is_forbidden(story: Told) -> None:
    allowed = {
        what: name
        for what, need in FORBIDDEN.items()
        for name, policy in story.policies.items()
        if policy.judge(need).effect is Effect.ALLOW
    }
    assert not allowed


def test_the_function_for_deletions_deletes_what_this_stage_made_and_no_other_function_does(
    story: Told,
) -> None:
    deletes = (
        Need("ec2:DeleteSnapshot", SNAPSHOT, {OF: HERE}),
        Need("s3:DeleteObject", f"arn:aws:s3:::{HOME_BUCKET}/points/orders/data"),
        Need("s3:DeleteObject", f"arn:aws:s3:::{DR_BUCKET}/points/orders/data"),
    )
    able = {
        name: [need for need in deletes if policy.judge(need).effect is Effect.ALLOW]
        for name, policy in story.policies.items()
    }
    assert {name: found for name, found in able.items() if found} == {"AdvanceDeletions": list(deletes)}
