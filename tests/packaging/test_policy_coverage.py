"""Each function may do what the main story makes it do, and nothing that no code of it needs."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from local_cloud.call import ACCOUNT
from stage import DR_BUCKET, DR_REGION, HOME_BUCKET, HOME_REGION, HOME_TEMPLATE
from tests.packaging.iam.needs import needs_of
from tests.packaging.iam.roles import Need, Role, roles_of
from tests.packaging.story import Told, told


@dataclass(frozen=True, slots=True)
class Unseen:
    """Actions of a statement that the story does not show, and why the functions have them all the same."""

    sid: str
    functions: tuple[str, ...]
    actions: tuple[str, ...]
    why: str

    def grants(self) -> Iterator[tuple[str, str, str]]:
        """Return each: function, statement, action."""
        for function in self.functions:
            for action in self.actions:
                yield function, self.sid, action


UNSEEN = (
    Unseen(
        "Log",
        ("APIHandler", "Tick", "AdvanceJobs", "AdvanceDeletions", "Completions", "Launches"),
        ("logs:CreateLogStream", "logs:PutLogEvents"),
        "Lambda writes what a function prints, with the function's role; the template makes the log groups. "
        "https://docs.aws.amazon.com/lambda/latest/dg/monitoring-logs.html",
    ),
    Unseen(
        "Consume",
        ("AdvanceJobs", "AdvanceDeletions", "Completions", "Launches"),
        ("sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"),
        "Lambda polls the queue with the function's role. "
        "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-configure-lambda-function-trigger.html",
    ),
    Unseen(
        "LookWhereAwsKnowsNoResource",
        ("AdvanceJobs",),
        ("ssm:ListCommands",),
        "finds the command of a worker that died between SendCommand and writing its id down",
    ),
    *(
        Unseen(sid, ("AdvanceJobs",), actions, "moves the identity of a service; the story starts none")
        for sid, actions in (
            (
                "LookWhereAwsKnowsNoResource",
                (
                    "ec2:DescribeAddresses",
                    "ec2:DescribeNetworkInterfaces",
                    "elasticloadbalancing:DescribeTargetHealth",
                ),
            ),
            (
                "MoveAddresses",
                (
                    "ec2:AssociateAddress",
                    "ec2:AttachNetworkInterface",
                    "ec2:DetachNetworkInterface",
                    "ec2:DisassociateAddress",
                ),
            ),
            ("ReadRecords", ("route53:ListResourceRecordSets",)),
            ("PointRecords", ("route53:ChangeResourceRecordSets",)),
            (
                "MoveTargets",
                ("elasticloadbalancing:DeregisterTargets", "elasticloadbalancing:RegisterTargets"),
            ),
        )
    ),
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
    Unseen(
        "KeysThroughEbsAndS3",
        ("AdvanceJobs",),
        (
            "kms:Decrypt",
            "kms:DescribeKey",
            "kms:GenerateDataKey",
            "kms:GenerateDataKeyWithoutPlaintext",
            "kms:ReEncryptFrom",
            "kms:ReEncryptTo",
        ),
        "EBS and S3 use the keys of snapshots and buckets in the caller's name; the story encrypts nothing. "
        "https://docs.aws.amazon.com/ebs/latest/userguide/ebs-encryption-requirements.html "
        "https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html",
    ),
    Unseen(
        "LookAtKeys",
        ("APIHandler",),
        ("kms:DescribeKey",),
        "asks about the keys that vaults or buckets name; those of the story name none",
    ),
    Unseen(
        "GrantsForEbs",
        ("AdvanceJobs",),
        ("kms:CreateGrant",),
        "EBS keeps the use of a key by a grant that the caller makes; the same page on EBS encryption",
    ),
)

OF, AS = "aws:ResourceTag/farshore:deployment", "aws:RequestTag/farshore:deployment"
HERE, OTHER_STAGE = f"{HOME_REGION}/local", f"{HOME_REGION}/prod"
SNAPSHOT = f"arn:aws:ec2:{DR_REGION}::snapshot/snap-1"
VOLUME = f"arn:aws:ec2:{HOME_REGION}:{ACCOUNT}:volume/vol-1"
INSTANCE = f"arn:aws:ec2:{HOME_REGION}:{ACCOUNT}:instance/i-1"
RECORDS = "route53:ChangeResourceRecordSets"
ZONE = "arn:aws:route53:::hostedzone/Z1"
FORBIDDEN = {
    "move an address elsewhere": Need(
        "ec2:AssociateAddress", f"arn:aws:ec2:{DR_REGION}:{ACCOUNT}:elastic-ip/eipalloc-1"
    ),
    "delete a record": Need(RECORDS, ZONE, {f"{RECORDS}Actions": "DELETE", f"{RECORDS}RecordTypes": "A"}),
    "write a record of mail": Need(
        RECORDS, ZONE, {f"{RECORDS}Actions": "UPSERT", f"{RECORDS}RecordTypes": "MX"}
    ),
    "write a record that does not say what it is": Need(RECORDS, ZONE),
    "change another account's target group": Need(
        "elasticloadbalancing:RegisterTargets",
        f"arn:aws:elasticloadbalancing:{HOME_REGION}:210987654321:targetgroup/orders/1",
    ),
    "delete a snapshot that is not ours": Need("ec2:DeleteSnapshot", SNAPSHOT),
    "delete what only has our job's tag": Need(
        "ec2:DeleteSnapshot", SNAPSHOT, {"aws:ResourceTag/farshore:job": "j"}
    ),
    "delete a snapshot of another stage": Need("ec2:DeleteSnapshot", SNAPSHOT, {OF: OTHER_STAGE}),
    "make a snapshot in another stage's name": Need("ec2:CreateSnapshots", SNAPSHOT, {AS: OTHER_STAGE}),
    "make a volume of another stage's snapshot": Need("ec2:CreateVolume", SNAPSHOT, {OF: OTHER_STAGE}),
    "delete a volume of another stage": Need("ec2:DeleteVolume", VOLUME, {OF: OTHER_STAGE}),
    "terminate an instance of another stage": Need("ec2:TerminateInstances", INSTANCE, {OF: OTHER_STAGE}),
    "copy a snapshot without tagging the copy": Need("ec2:CopySnapshot", SNAPSHOT),
    "make a volume of a snapshot that is not ours": Need(
        "ec2:CreateVolume", SNAPSHOT, {"aws:RequestTag/farshore:job": "j"}
    ),
    "make a volume without tagging it": Need("ec2:CreateVolume", VOLUME),
    "attach a volume that is not ours": Need("ec2:AttachVolume", VOLUME),
    "detach a volume that is not ours": Need("ec2:DetachVolume", VOLUME),
    "delete a volume that is not ours": Need("ec2:DeleteVolume", VOLUME),
    "delete a volume that only has our point's tag": Need(
        "ec2:DeleteVolume", VOLUME, {"aws:ResourceTag/farshore:recovery-point": "rp"}
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
        "iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/r", {"iam:PassedToService": "lambda.amazonaws.com"}
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
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    with told(tmp_path_factory.mktemp("cloud")) as story:
        yield story


@pytest.fixture(scope="module")
def roles(story: Told) -> dict[str, Role]:
    return roles_of(json.loads(HOME_TEMPLATE.read_text()), story.stack)


def test_every_function_and_every_kind_of_work_is_in_the_story(story: Told, roles: dict[str, Role]) -> None:
    assert {made.function for made in story.made} == roles.keys()
    assert {
        "AttachVolume",
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
        "RunInstances",
        "SendCommand",
        "TerminateInstances",
        "TransactWriteItems",
        "UploadPart",
    } <= {made.operation for made in story.made}


def test_every_call_of_a_function_is_allowed_by_its_role(story: Told, roles: dict[str, Role]) -> None:
    refused = {
        f"{made}, which needs {need.action} on {need.resource}"
        for made in story.made
        for need in needs_of(made)
        if not roles[made.function].allowing(need)
    }
    assert not refused, "\n".join(["", *sorted(refused)])


def test_no_role_allows_what_its_function_never_needs(story: Told, roles: dict[str, Role]) -> None:
    granted = {(name, *grant) for name, role in roles.items() for grant in role.grants()}
    used = {
        (made.function, *grant)
        for made in story.made
        for need in needs_of(made)
        for grant in roles[made.function].allowing(need)
    }
    assert granted - used == {grant for each in UNSEEN for grant in each.grants()}


def test_no_function_may_do_what_is_forbidden(roles: dict[str, Role]) -> None:
    allowed = {
        what: name for what, need in FORBIDDEN.items() for name, role in roles.items() if role.allowing(need)
    }
    assert not allowed


def test_the_function_for_deletions_deletes_what_this_stage_made_and_no_other_function_does(
    roles: dict[str, Role],
) -> None:
    deletes = (
        Need("ec2:DeleteSnapshot", SNAPSHOT, {OF: HERE}),
        Need("s3:DeleteObject", f"arn:aws:s3:::{HOME_BUCKET}/points/orders/data"),
        Need("s3:DeleteObject", f"arn:aws:s3:::{DR_BUCKET}/points/orders/data"),
    )
    able = {name for name, role in roles.items() for need in deletes if role.allowing(need)}
    assert able == {"AdvanceDeletions"}
    assert all(roles["AdvanceDeletions"].allowing(need) for need in deletes)
