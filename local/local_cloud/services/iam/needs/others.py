"""What IAM asks for at calls to services with few rules.

- Auto Scaling: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2autoscaling.html
- DynamoDB: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html
- Elastic Load Balancing:
  https://docs.aws.amazon.com/service-authorization/latest/reference/list_awselasticloadbalancingv2.html
- Route 53: https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/specifying-conditions-route53.html
- Secrets Manager: https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssecretsmanager.html
- SNS: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsns.html
- SQS: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsqs.html; SendMessage
  covers its batch form, https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_AddPermission.html
- SSM: https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssystemsmanager.html
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from local_cloud.call import ACCOUNT, Call
from local_cloud.passing import moto_backend
from local_cloud.services.ec2.world import Region
from local_cloud.services.iam.needs.rules import Rule, key_arn, of_nothing, tags_as, use_of_key
from local_cloud.services.iam.policies import Need
from local_cloud.services.ssm.documents import OWNED_BY_AWS


def of_group(action: str) -> Rule:
    """Return the rule of an action on an Auto Scaling group."""

    def rule(call: Call) -> Iterator[Need]:
        name = call.params.get("AutoScalingGroupName", "")
        found = moto_backend("autoscaling")[ACCOUNT][call.region].autoscaling_groups.get(name)
        if found:
            tags = {tag["Key"]: tag["Value"] for tag in found.tags}
            yield Need(action, found.arn, tags_as("aws:ResourceTag", tags, "autoscaling:ResourceTag"))
        else:
            start = f"arn:aws:autoscaling:{call.region}:{ACCOUNT}:autoScalingGroup"
            yield Need(action, f"{start}:*:autoScalingGroupName/{name}")

    return rule


def of_table(action: str) -> Rule:
    """Return the rule of an action on a table, or on the index that the call names."""

    def rule(call: Call) -> tuple[Need, ...]:
        arn = table_arn(call, call.params["TableName"])
        index = call.params.get("IndexName")
        return (Need(action, f"{arn}/index/{index}" if index else arn),)

    return rule


STEPS = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
}


def of_transaction(call: Call) -> Iterator[Need]:
    """Yield what each step of a transaction would need alone."""
    for step in call.params["TransactItems"]:
        for kind, body in step.items():
            yield Need(f"dynamodb:{STEPS[kind]}", table_arn(call, body["TableName"]))


def of_batch(action: str) -> Rule:
    """Return the rule of an action on the tables that a batch names."""
    return lambda call: [Need(action, table_arn(call, table)) for table in call.params["RequestItems"]]


def table_arn(call: Call, table: str) -> str:
    """Return the ARN of a table."""
    return f"arn:aws:dynamodb:{call.region}:{ACCOUNT}:table/{table}"


def of_queue(action: str) -> Rule:
    """Return the rule of an action on a queue."""

    def rule(call: Call) -> tuple[Need, ...]:
        name = str(call.params["QueueUrl"]).rpartition("/")[2]
        return (Need(action, f"arn:aws:sqs:{call.region}:{ACCOUNT}:{name}"),)

    return rule


def of_targets(call: Call) -> Iterator[Need]:
    """RegisterTargets and DeregisterTargets: the target group."""
    yield Need(f"elasticloadbalancing:{call.operation}", call.params["TargetGroupArn"])


def of_records(call: Call) -> Iterator[Need]:
    """ChangeResourceRecordSets: the zone, with all that the changes do to which types of record."""
    changes = call.params["ChangeBatch"]["Changes"]
    key = "route53:changeresourcerecordsets"
    context = {
        f"{key}actions": tuple(each["Action"] for each in changes),
        f"{key}recordtypes": tuple(each["ResourceRecordSet"]["Type"] for each in changes),
        f"{key}normalizedrecordnames": tuple(
            each["ResourceRecordSet"]["Name"].lower().rstrip(".") for each in changes
        ),
    }
    yield Need("route53:ChangeResourceRecordSets", zone_arn(call), context)


def of_zone(call: Call) -> Iterator[Need]:
    """ListResourceRecordSets and GetHostedZone: the zone."""
    yield Need(f"route53:{call.operation}", zone_arn(call))


def zone_arn(call: Call) -> str:
    """Return the ARN of a hosted zone, which names neither region nor account."""
    named = call.params.get("HostedZoneId") or call.params["Id"]
    return f"arn:aws:route53:::hostedzone/{named.rpartition('/')[2]}"


def of_command(call: Call) -> Iterator[Need]:
    """SendCommand: the document (AWS's own have no account) and each instance with its tags."""
    name = call.params["DocumentName"]
    owner = "" if name in OWNED_BY_AWS else ACCOUNT
    yield Need("ssm:SendCommand", f"arn:aws:ssm:{call.region}:{owner}:document/{name}")
    tags = Region(ACCOUNT, call.region).backend.tags
    for instance in call.params.get("InstanceIds", ()) or ("*",):
        arn = f"arn:aws:ec2:{call.region}:{ACCOUNT}:instance/{instance}"
        yield Need(
            "ssm:SendCommand", arn, tags_as("ssm:resourceTag", tags.get(instance, {}), "aws:ResourceTag")
        )


def of_secret(call: Call) -> Iterator[Need]:
    """GetSecretValue: the secret, whose ARN ends in six characters of AWS's, and the key that it is under."""
    named = call.params["SecretId"]
    found: Any = moto_backend("secretsmanager")[ACCOUNT][call.region].secrets.get(named)
    prefix = f"arn:aws:secretsmanager:{call.region}:{ACCOUNT}:secret:"
    tags = {tag["Key"]: tag["Value"] for tag in (found.tags or ())} if found else {}
    arn = found.arn if found else prefix + named.removeprefix(prefix)
    yield Need("secretsmanager:GetSecretValue", arn, tags_as("aws:ResourceTag", tags))
    yield from use_of_key(call.region, found and found.kms_key_id, "secretsmanager", ["Decrypt"])


def of_secret_itself(call: Call) -> Iterator[Need]:
    """DescribeSecret: the secret alone."""
    secret = next(iter(of_secret(call)))
    yield replace(secret, action="secretsmanager:DescribeSecret")


def of_events(call: Call) -> Iterator[Need]:
    """PutEvents: the default bus, with the source of each event."""
    bus = f"arn:aws:events:{call.region}:{ACCOUNT}:event-bus/default"
    for entry in call.params["Entries"]:
        context = {"events:source": entry["Source"], "events:detail-type": entry["DetailType"]}
        yield Need("events:PutEvents", bus, context)


def of_rule(call: Call) -> Iterator[Need]:
    """DescribeRule: the rule on the default bus."""
    yield Need("events:DescribeRule", f"arn:aws:events:{call.region}:{ACCOUNT}:rule/{call.params['Name']}")


def of_key(call: Call) -> Iterator[Need]:
    """DescribeKey: the key; one that AWS manages, too."""
    named = call.params["KeyId"]
    arn = key_arn(call.region, named) or f"arn:aws:kms:{call.region}:{ACCOUNT}:key/{named.rpartition('/')[2]}"
    yield Need("kms:DescribeKey", arn, {"kms:calleraccount": ACCOUNT})


def of_topic(call: Call) -> Iterator[Need]:
    """Publish: the topic, and the key that SNS encrypts with.

    https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
    """
    arn = call.params["TopicArn"]
    yield Need("sns:Publish", arn)
    topic: Any = moto_backend("sns")[ACCOUNT][call.region].topics.get(arn)
    key = topic and topic.kms_master_key_id
    yield from use_of_key(call.region, key, "sns", ("GenerateDataKey", "Decrypt"))


def of_no_one(_: Call) -> tuple[Need, ...]:
    """Return that nothing is needed: GetCallerIdentity is everyone's.

    https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
    """
    return ()


def looks(prefix: str, *operations: str, service: str = "") -> Mapping[tuple[str, str], Rule]:
    """Return the rules of operations for which AWS knows no resource."""
    return {(service or prefix, each): of_nothing(f"{prefix}:{each}") for each in operations}


RULES: Mapping[tuple[str, str], Rule] = {
    **looks("cloudwatch", "GetMetricData"),
    **looks("events", "ListRuleNamesByTarget"),
    **looks("lambda", "GetAccountSettings", "ListEventSourceMappings"),
    **looks("servicequotas", "ListAWSDefaultServiceQuotas", "ListServiceQuotas", service="service-quotas"),
    ("events", "DescribeRule"): of_rule,
    ("events", "PutEvents"): of_events,
    ("kms", "DescribeKey"): of_key,
    ("secretsmanager", "DescribeSecret"): of_secret_itself,
    **looks(
        "autoscaling",
        "DescribeAutoScalingGroups",
        "DescribeAutoScalingInstances",
        "DescribeLifecycleHooks",
    ),
    **looks("elasticloadbalancing", "DescribeTargetGroups", "DescribeTargetHealth", service="elbv2"),
    **looks(
        "ssm",
        "CancelCommand",
        "DescribeInstanceInformation",
        "GetCommandInvocation",
        "ListCommandInvocations",
        "ListCommands",
    ),
    **{
        ("dynamodb", each): of_table(f"dynamodb:{each}")
        for each in ("DeleteItem", "DescribeTable", "GetItem", "PutItem", "Query", "Scan", "UpdateItem")
    },
    **{
        ("sqs", each): of_queue(f"sqs:{each.removesuffix('Batch')}")
        for each in (
            "ChangeMessageVisibility",
            "DeleteMessage",
            "DeleteMessageBatch",
            "GetQueueAttributes",
            "PurgeQueue",
            "ReceiveMessage",
            "SendMessage",
            "SendMessageBatch",
            "SetQueueAttributes",
        )
    },
    ("autoscaling", "CompleteLifecycleAction"): of_group("autoscaling:CompleteLifecycleAction"),
    ("autoscaling", "RecordLifecycleActionHeartbeat"): of_group("autoscaling:RecordLifecycleActionHeartbeat"),
    ("dynamodb", "BatchGetItem"): of_batch("dynamodb:BatchGetItem"),
    ("dynamodb", "BatchWriteItem"): of_batch("dynamodb:BatchWriteItem"),
    ("dynamodb", "TransactWriteItems"): of_transaction,
    ("elbv2", "DeregisterTargets"): of_targets,
    ("elbv2", "RegisterTargets"): of_targets,
    ("route53", "ChangeResourceRecordSets"): of_records,
    ("route53", "GetHostedZone"): of_zone,
    ("route53", "ListResourceRecordSets"): of_zone,
    ("secretsmanager", "GetSecretValue"): of_secret,
    ("sns", "Publish"): of_topic,
    ("ssm", "SendCommand"): of_command,
    ("sts", "GetCallerIdentity"): of_no_one,
}
