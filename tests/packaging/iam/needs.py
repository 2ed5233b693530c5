"""Which actions on which resources IAM asks for, by API operation. An operation that is not here is an error.

- S3: https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
- EC2: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html; a copy and a
  volume are asked for at their source snapshot too,
  https://aws.amazon.com/blogs/storage/enhancing-resource-level-permissions-for-copying-amazon-ebs-snapshots
- Elastic Load Balancing: https://docs.aws.amazon.com/service-authorization/latest/reference/list_awselasticloadbalancingv2.html
- Route 53: https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/specifying-conditions-route53.html
- SSM: https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssystemsmanager.html
- DynamoDB: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html
- SQS: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsqs.html; SendMessage
  covers its batch form, https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_AddPermission.html
- Auto Scaling: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2autoscaling.html
- Elastic Load Balancing:
  https://docs.aws.amazon.com/service-authorization/latest/reference/list_awselasticloadbalancingv2.html
- Route 53: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonroute53.html
- Secrets Manager: https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssecretsmanager.html
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from local_cloud.call import ACCOUNT
from tests.packaging.iam.roles import Need

Tags = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Made:
    """A call that a function made; `tags` are those that what it names had then."""

    function: str
    service: str
    operation: str
    region: str
    params: Mapping[str, Any]
    tags: Tags

    def __str__(self) -> str:
        return f"{self.function} called {self.service}:{self.operation} in {self.region}"


Rule = Callable[[Made], Iterator[Need]]


def needs_of(made: Made) -> Iterator[Need]:
    """Return all that a call needs."""
    rule = RULES.get((made.service, made.operation))
    assert rule is not None, f"{made}: say in {__name__} what IAM asks for it"
    return rule(made)


def of_group(action: str) -> Rule:
    """An action on an Auto Scaling group; its ARN has an id that callers do not know."""

    def rule(made: Made) -> Iterator[Need]:
        name = made.params["AutoScalingGroupName"]
        group = (
            f"arn:aws:autoscaling:{made.region}:{ACCOUNT}:autoScalingGroup:0000:autoScalingGroupName/{name}"
        )
        yield Need(action, group)

    return rule


def of_nothing(action: str) -> Rule:
    """An action for which AWS knows no resource."""

    def rule(_: Made) -> Iterator[Need]:
        yield Need(action, "*")

    return rule


def of_table(action: str) -> Rule:
    """An action on a table, or on the index that the call names."""

    def rule(made: Made) -> Iterator[Need]:
        index = f"/index/{made.params['IndexName']}" if "IndexName" in made.params else ""
        yield Need(action, table_arn(made, made.params["TableName"]) + index)

    return rule


def of_transaction(made: Made) -> Iterator[Need]:
    """Each step of a transaction needs what it would need alone."""
    actions = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem"}
    for step in made.params["TransactItems"]:
        for kind, body in step.items():
            yield Need(f"dynamodb:{actions[kind]}", table_arn(made, body["TableName"]))


def of_batch(action: str) -> Rule:
    """An action on the tables that a batch names."""

    def rule(made: Made) -> Iterator[Need]:
        for table in made.params["RequestItems"]:
            yield Need(action, table_arn(made, table))

    return rule


def of_queue(action: str) -> Rule:
    """An action on a queue."""

    def rule(made: Made) -> Iterator[Need]:
        name = made.params["QueueUrl"].rpartition("/")[2]
        yield Need(action, f"arn:aws:sqs:{made.region}:{ACCOUNT}:{name}")

    return rule


def of_bucket(action: str) -> Rule:
    """An action on a bucket."""

    def rule(made: Made) -> Iterator[Need]:
        yield Need(action, bucket_arn(made.params["Bucket"]))

    return rule


def of_object(action: str) -> Rule:
    """An action on an object; setting its tags with it is one more."""

    def rule(made: Made) -> Iterator[Need]:
        arn = f"{bucket_arn(made.params['Bucket'])}/{made.params['Key']}"
        yield Need(action, arn)
        if "Tagging" in made.params:
            yield Need("s3:PutObjectTagging", arn)

    return rule


def of_reading(made: Made) -> Iterator[Need]:
    """To be told that an object is not there, one must be allowed to list the bucket."""
    yield from of_object("s3:GetObject")(made)
    yield from of_bucket("s3:ListBucket")(made)


def of_copy(made: Made) -> Iterator[Need]:
    """A copy reads its source, and takes its tags along unless told otherwise."""
    yield from of_part_copy(made)
    assert "TaggingDirective" not in made.params
    yield Need("s3:GetObjectTagging", bucket_arn(made.params["CopySource"].lstrip("/")))
    yield Need("s3:PutObjectTagging", f"{bucket_arn(made.params['Bucket'])}/{made.params['Key']}")


def of_part_copy(made: Made) -> Iterator[Need]:
    """A part that is copied reads its source."""
    yield Need("s3:GetObject", bucket_arn(made.params["CopySource"].lstrip("/")))
    yield Need("s3:PutObject", f"{bucket_arn(made.params['Bucket'])}/{made.params['Key']}")


def of_snapshots(made: Made) -> Iterator[Need]:
    """CreateSnapshots: the instance, its volumes, the snapshots to be, and the right to tag those."""
    instance = made.params["InstanceSpecification"]["InstanceId"]
    tags = requested_tags(made)
    for resource in (f"instance/{instance}", "volume/vol-attached"):
        yield Need("ec2:CreateSnapshots", regional(made, resource), tags)
    yield from making(made, snapshot_arn(made.region, "snap-new"))


def of_one_snapshot(made: Made) -> Iterator[Need]:
    """CreateSnapshot: the volume, the snapshot to be, and the right to tag that."""
    volume = regional(made, f"volume/{made.params['VolumeId']}")
    yield Need("ec2:CreateSnapshot", volume, requested_tags(made))
    yield from making(made, snapshot_arn(made.region, "snap-new"))


def of_snapshot_copy(made: Made) -> Iterator[Need]:
    """CopySnapshot: the source, the copy to be, and the right to tag that."""
    source = snapshot_arn(made.params["SourceRegion"], made.params["SourceSnapshotId"])
    yield Need("ec2:CopySnapshot", source, resource_tags(made))
    yield from making(made, snapshot_arn(made.region, "snap-new"))


def of_volume(made: Made) -> Iterator[Need]:
    """CreateVolume: the source snapshot, the volume to be, and the right to tag that."""
    source = snapshot_arn(made.region, made.params["SnapshotId"])
    yield Need("ec2:CreateVolume", source, resource_tags(made))
    yield from making(made, regional(made, "volume/vol-new"))


def of_snapshot(made: Made) -> Iterator[Need]:
    """DeleteSnapshot: the snapshot, with the tags it has."""
    yield Need(
        "ec2:DeleteSnapshot", snapshot_arn(made.region, made.params["SnapshotId"]), resource_tags(made)
    )


def of_attachment(made: Made) -> Iterator[Need]:
    """AttachVolume and DetachVolume: the volume, with the tags it has, and the instance."""
    action = f"ec2:{made.operation}"
    yield Need(action, regional(made, f"volume/{made.params['VolumeId']}"), resource_tags(made))
    yield Need(action, regional(made, f"instance/{made.params['InstanceId']}"))


def of_volume_deletion(made: Made) -> Iterator[Need]:
    """DeleteVolume: the volume, with the tags it has."""
    yield Need("ec2:DeleteVolume", regional(made, f"volume/{made.params['VolumeId']}"), resource_tags(made))


def of_address(made: Made) -> Iterator[Need]:
    """AssociateAddress: the Elastic IP, and the network interface with its instance."""
    for resource in ("elastic-ip/eipalloc-1", "instance/i-1", "network-interface/eni-1"):
        yield Need(f"ec2:{made.operation}", regional(made, resource))


def of_interface(made: Made) -> Iterator[Need]:
    """AttachNetworkInterface and DetachNetworkInterface: the interface and the instance."""
    for resource in ("instance/i-1", "network-interface/eni-1"):
        yield Need(f"ec2:{made.operation}", regional(made, resource))


def of_targets(made: Made) -> Iterator[Need]:
    """RegisterTargets and DeregisterTargets: the target group."""
    yield Need(f"elasticloadbalancing:{made.operation}", made.params["TargetGroupArn"])


def of_records(made: Made) -> Iterator[Need]:
    """ChangeResourceRecordSets: the zone, with what each change does to which type of record."""
    for change in made.params["ChangeBatch"]["Changes"]:
        context = {
            "route53:ChangeResourceRecordSetsActions": change["Action"],
            "route53:ChangeResourceRecordSetsRecordTypes": change["ResourceRecordSet"]["Type"],
        }
        yield Need("route53:ChangeResourceRecordSets", zone_arn(made), context)


def of_zone(made: Made) -> Iterator[Need]:
    """ListResourceRecordSets and GetHostedZone: the zone."""
    yield Need(f"route53:{made.operation}", zone_arn(made))


def of_launch(made: Made) -> Iterator[Need]:
    """RunInstances: the instance to be with its tags, all that the launch template may name, and the right to
    give the instance its role."""
    yield from making(made, regional(made, "instance/i-new"))
    named = (
        "key-pair/k",
        "launch-template/lt-1",
        "network-interface/eni-1",
        "placement-group/g",
        "security-group/sg-1",
        "subnet/subnet-1",
        "volume/vol-1",
    )
    yield from (Need("ec2:RunInstances", regional(made, each), requested_tags(made)) for each in named)
    for each in ("image/ami-1", "snapshot/snap-1"):
        yield Need("ec2:RunInstances", f"arn:aws:ec2:{made.region}::{each}", requested_tags(made))
    to_ec2 = {"iam:PassedToService": "ec2.amazonaws.com"}
    yield Need("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/instances", to_ec2)


def of_termination(made: Made) -> Iterator[Need]:
    """TerminateInstances: each instance, with the tags it has."""
    for instance in made.params["InstanceIds"]:
        yield Need("ec2:TerminateInstances", regional(made, f"instance/{instance}"), resource_tags(made))


def of_command(made: Made) -> Iterator[Need]:
    """SendCommand: the document (AWS's own have no account) and each instance."""
    yield Need("ssm:SendCommand", f"arn:aws:ssm:{made.region}::document/{made.params['DocumentName']}")
    for instance in made.params["InstanceIds"]:
        yield Need("ssm:SendCommand", regional(made, f"instance/{instance}"))


def of_secret(made: Made) -> Iterator[Need]:
    """GetSecretValue: a secret's ARN ends in six characters of AWS's."""
    name = f"{made.params['SecretId']}-AbCdEf"
    yield Need(
        "secretsmanager:GetSecretValue", f"arn:aws:secretsmanager:{made.region}:{ACCOUNT}:secret:{name}"
    )


def of_events(made: Made) -> Iterator[Need]:
    """PutEvents: the default bus, with the source of each event."""
    bus = f"arn:aws:events:{made.region}:{ACCOUNT}:event-bus/default"
    for entry in made.params["Entries"]:
        yield Need("events:PutEvents", bus, {"events:source": entry["Source"]})


def of_rule(made: Made) -> Iterator[Need]:
    """DescribeRule: the rule on the default bus."""
    yield Need("events:DescribeRule", f"arn:aws:events:{made.region}:{ACCOUNT}:rule/{made.params['Name']}")


def of_secret_itself(made: Made) -> Iterator[Need]:
    """DescribeSecret: the secret, as GetSecretValue."""
    yield from (replace(need, action="secretsmanager:DescribeSecret") for need in of_secret(made))


def of_nobody(_: Made) -> Iterator[Need]:
    """Nothing: everybody may ask who he is.

    https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
    """
    yield from ()


def making(made: Made, new: str) -> Iterator[Need]:
    """Make a resource and tag it in the same call."""
    tags = requested_tags(made)
    yield Need(f"ec2:{made.operation}", new, tags)
    yield Need("ec2:CreateTags", new, {**tags, "ec2:CreateAction": made.operation})


def requested_tags(made: Made) -> Tags:
    """Return the tags that the call sets, as condition keys."""
    return {
        f"aws:RequestTag/{tag['Key']}": tag["Value"]
        for specification in made.params.get("TagSpecifications", ())
        for tag in specification["Tags"]
    }


def resource_tags(made: Made) -> Tags:
    """Return the tags of what the call names, and those it sets, as condition keys."""
    return {**requested_tags(made), **{f"aws:ResourceTag/{key}": value for key, value in made.tags.items()}}


def table_arn(made: Made, table: str) -> str:
    """Return the ARN of a table."""
    return f"arn:aws:dynamodb:{made.region}:{ACCOUNT}:table/{table}"


def bucket_arn(path: str) -> str:
    """Return the ARN of a bucket, or of bucket/key."""
    return f"arn:aws:s3:::{path}"


def snapshot_arn(region: str, snapshot: str) -> str:
    """Return the ARN of a snapshot, which names no account."""
    return f"arn:aws:ec2:{region}::snapshot/{snapshot}"


def zone_arn(made: Made) -> str:
    """Return the ARN of a hosted zone, which names neither region nor account."""
    return f"arn:aws:route53:::hostedzone/{made.params.get('HostedZoneId') or made.params['Id']}"


def regional(made: Made, resource: str) -> str:
    """Return the ARN of an instance, a volume, an Elastic IP or a network interface."""
    return f"arn:aws:ec2:{made.region}:{ACCOUNT}:{resource}"


RULES: Mapping[tuple[str, str], Rule] = {
    ("autoscaling", "CompleteLifecycleAction"): of_group("autoscaling:CompleteLifecycleAction"),
    ("autoscaling", "DescribeAutoScalingGroups"): of_nothing("autoscaling:DescribeAutoScalingGroups"),
    ("autoscaling", "DescribeAutoScalingInstances"): of_nothing("autoscaling:DescribeAutoScalingInstances"),
    ("autoscaling", "DescribeLifecycleHooks"): of_nothing("autoscaling:DescribeLifecycleHooks"),
    ("autoscaling", "RecordLifecycleActionHeartbeat"): of_group("autoscaling:RecordLifecycleActionHeartbeat"),
    ("cloudwatch", "GetMetricData"): of_nothing("cloudwatch:GetMetricData"),
    ("dynamodb", "BatchGetItem"): of_batch("dynamodb:BatchGetItem"),
    ("dynamodb", "BatchWriteItem"): of_batch("dynamodb:BatchWriteItem"),
    ("dynamodb", "DeleteItem"): of_table("dynamodb:DeleteItem"),
    ("dynamodb", "GetItem"): of_table("dynamodb:GetItem"),
    ("dynamodb", "PutItem"): of_table("dynamodb:PutItem"),
    ("dynamodb", "Query"): of_table("dynamodb:Query"),
    ("dynamodb", "TransactWriteItems"): of_transaction,
    ("dynamodb", "UpdateItem"): of_table("dynamodb:UpdateItem"),
    ("ec2", "AttachVolume"): of_attachment,
    ("ec2", "AssociateAddress"): of_address,
    ("ec2", "AttachNetworkInterface"): of_interface,
    ("ec2", "CopySnapshot"): of_snapshot_copy,
    ("ec2", "CreateSnapshot"): of_one_snapshot,
    ("ec2", "CreateSnapshots"): of_snapshots,
    ("ec2", "CreateVolume"): of_volume,
    ("ec2", "DeleteSnapshot"): of_snapshot,
    ("ec2", "DeleteVolume"): of_volume_deletion,
    ("ec2", "DetachVolume"): of_attachment,
    ("ec2", "DescribeAddresses"): of_nothing("ec2:DescribeAddresses"),
    ("ec2", "DescribeAvailabilityZones"): of_nothing("ec2:DescribeAvailabilityZones"),
    ("ec2", "DescribeInstanceTypeOfferings"): of_nothing("ec2:DescribeInstanceTypeOfferings"),
    ("ec2", "DescribeInstanceTypes"): of_nothing("ec2:DescribeInstanceTypes"),
    ("ec2", "DescribeInstances"): of_nothing("ec2:DescribeInstances"),
    ("ec2", "DescribeLaunchTemplateVersions"): of_nothing("ec2:DescribeLaunchTemplateVersions"),
    ("ec2", "DescribeNetworkInterfaces"): of_nothing("ec2:DescribeNetworkInterfaces"),
    ("ec2", "DescribeSnapshots"): of_nothing("ec2:DescribeSnapshots"),
    ("ec2", "DescribeSubnets"): of_nothing("ec2:DescribeSubnets"),
    ("ec2", "DescribeVolumes"): of_nothing("ec2:DescribeVolumes"),
    ("ec2", "DetachNetworkInterface"): of_interface,
    ("ec2", "DisassociateAddress"): of_address,
    ("ec2", "RunInstances"): of_launch,
    ("ec2", "TerminateInstances"): of_termination,
    ("elbv2", "DeregisterTargets"): of_targets,
    ("elbv2", "DescribeTargetHealth"): of_nothing("elasticloadbalancing:DescribeTargetHealth"),
    ("elbv2", "RegisterTargets"): of_targets,
    ("events", "DescribeRule"): of_rule,
    ("events", "ListRuleNamesByTarget"): of_nothing("events:ListRuleNamesByTarget"),
    ("events", "PutEvents"): of_events,
    ("lambda", "GetAccountSettings"): of_nothing("lambda:GetAccountSettings"),
    ("lambda", "ListEventSourceMappings"): of_nothing("lambda:ListEventSourceMappings"),
    ("route53", "ChangeResourceRecordSets"): of_records,
    ("route53", "ListResourceRecordSets"): of_zone,
    ("elbv2", "DescribeTargetGroups"): of_nothing("elasticloadbalancing:DescribeTargetGroups"),
    ("route53", "GetHostedZone"): of_zone,
    ("s3", "AbortMultipartUpload"): of_object("s3:AbortMultipartUpload"),
    ("s3", "CompleteMultipartUpload"): of_object("s3:PutObject"),
    ("s3", "CopyObject"): of_copy,
    ("s3", "CreateMultipartUpload"): of_object("s3:PutObject"),
    ("s3", "DeleteObject"): of_object("s3:DeleteObject"),
    ("s3", "GetBucketEncryption"): of_bucket("s3:GetEncryptionConfiguration"),
    ("s3", "GetBucketVersioning"): of_bucket("s3:GetBucketVersioning"),
    ("s3", "GetObject"): of_reading,
    ("s3", "GetPublicAccessBlock"): of_bucket("s3:GetBucketPublicAccessBlock"),
    ("s3", "HeadBucket"): of_bucket("s3:ListBucket"),
    ("s3", "HeadObject"): of_reading,
    ("s3", "ListMultipartUploads"): of_bucket("s3:ListBucketMultipartUploads"),
    ("s3", "ListObjectsV2"): of_bucket("s3:ListBucket"),
    ("s3", "ListParts"): of_object("s3:ListMultipartUploadParts"),
    ("s3", "PutObject"): of_object("s3:PutObject"),
    ("s3", "UploadPart"): of_object("s3:PutObject"),
    ("s3", "UploadPartCopy"): of_part_copy,
    ("secretsmanager", "DescribeSecret"): of_secret_itself,
    ("secretsmanager", "GetSecretValue"): of_secret,
    ("service-quotas", "ListAWSDefaultServiceQuotas"): of_nothing(
        "servicequotas:ListAWSDefaultServiceQuotas"
    ),
    ("service-quotas", "ListServiceQuotas"): of_nothing("servicequotas:ListServiceQuotas"),
    ("sqs", "GetQueueAttributes"): of_queue("sqs:GetQueueAttributes"),
    ("sqs", "SendMessage"): of_queue("sqs:SendMessage"),
    ("sqs", "SendMessageBatch"): of_queue("sqs:SendMessage"),
    ("ssm", "CancelCommand"): of_nothing("ssm:CancelCommand"),
    ("ssm", "DescribeInstanceInformation"): of_nothing("ssm:DescribeInstanceInformation"),
    ("ssm", "GetCommandInvocation"): of_nothing("ssm:GetCommandInvocation"),
    ("ssm", "ListCommands"): of_nothing("ssm:ListCommands"),
    ("ssm", "SendCommand"): of_command,
    ("sts", "GetCallerIdentity"): of_nobody,
}
