"""What each type of resource in a template becomes: a call to the AWS endpoint, or a part of the local cloud.

A property that a creator does not support is an error that names it: if it were ignored here, it would be
tested nowhere. Types that change nothing a function or an operator can see (permissions) are known by name
and ignored.
"""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from local_cloud.call import ACCOUNT, AwsError
from local_cloud.cloudformation.intrinsics import TemplateError
from local_cloud.cloudformation.lifecycle_rules import lifecycle_rule
from local_cloud.lambda_.functions import Function, Functions
from local_cloud.lambda_.gateway import Gateway
from local_cloud.services.cloudwatch.alarms import Alarm, Alarms, rule_of
from local_cloud.services.events.event_bus import EventBus
from local_cloud.services.iam.conditions import PolicyError
from local_cloud.services.iam.policies import read_policy
from local_cloud.services.iam.roles import Roles
from local_cloud.services.sqs.queues import Queues, SourceMapping

Properties = Mapping[str, Any]
Clients = Callable[[str, str], Any]
"""A boto3 client on the endpoint, by service and region."""


@dataclass(frozen=True, slots=True)
class StackPlace:
    """Where a resource is made, and its logical name."""

    stack: str
    region: str
    name: str

    @property
    def physical_name(self) -> str:
        """Return the name of a resource whose template gives none."""
        return f"{self.stack}-{self.name}"


@dataclass(frozen=True, slots=True)
class Created:
    """What a template can refer to in a resource: `Ref` and attributes."""

    ref: str
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Workshop:
    """What resources are made with."""

    clients: Clients
    roles: Roles
    functions: Functions
    queues: Queues
    bus: EventBus
    gateway: Gateway
    alarms: Alarms


Creator = Callable[[Workshop, StackPlace, Properties], Created]


def only(place: StackPlace, properties: Properties, known: Collection[str]) -> None:
    """Refuse properties that are not read.

    Raises:
        TemplateError: there are some; it names the first.
    """
    for name in properties:
        if name not in known:
            raise TemplateError(f"the local cloud does not read {name} of {place.name}")


def make_table(workshop: Workshop, place: StackPlace, properties: Properties) -> Created:
    """Create a DynamoDB table with its indexes and its time to live."""
    client = workshop.clients("dynamodb", place.region)
    as_they_are = (
        "AttributeDefinitions",
        "KeySchema",
        "BillingMode",
        "GlobalSecondaryIndexes",
        "LocalSecondaryIndexes",
        "ProvisionedThroughput",
        "DeletionProtectionEnabled",
        "Tags",
    )
    apart = ("TableName", "TimeToLiveSpecification", "PointInTimeRecoverySpecification", "SSESpecification")
    only(place, properties, (*as_they_are, *apart))
    name = properties.get("TableName", place.physical_name)
    given = {key: properties[key] for key in as_they_are if key in properties}
    if encryption := properties.get("SSESpecification"):
        given["SSESpecification"] = renamed(encryption, {"SSEEnabled": "Enabled"})
    table = client.create_table(TableName=name, **given)["TableDescription"]
    if ttl := properties.get("TimeToLiveSpecification"):
        client.update_time_to_live(TableName=name, TimeToLiveSpecification=ttl)
    if recovery := properties.get("PointInTimeRecoverySpecification"):
        client.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=recovery)
    return Created(name, {"Arn": table["TableArn"]})


def make_queue(workshop: Workshop, place: StackPlace, properties: Properties) -> Created:
    """Create an SQS queue."""
    attributes = (
        "VisibilityTimeout",
        "MessageRetentionPeriod",
        "DelaySeconds",
        "ReceiveMessageWaitTimeSeconds",
        "MaximumMessageSize",
        "RedrivePolicy",
        "RedriveAllowPolicy",
        "SqsManagedSseEnabled",
        "KmsMasterKeyId",
        "KmsDataKeyReusePeriodSeconds",
    )
    only(place, properties, ("QueueName", "Tags", *attributes))
    given = {key: as_attribute(properties[key]) for key in attributes if key in properties}
    name = properties.get("QueueName", place.physical_name)
    url = workshop.clients("sqs", place.region).create_queue(QueueName=name, Attributes=given)["QueueUrl"]
    return Created(
        url, {"Arn": f"arn:aws:sqs:{place.region}:{ACCOUNT}:{name}", "QueueName": name, "QueueUrl": url}
    )


def make_queue_policy(workshop: Workshop, place: StackPlace, properties: Properties) -> Created:
    """Set the policy of queues."""
    only(place, properties, ("Queues", "PolicyDocument"))
    policy = {"Policy": json.dumps(properties["PolicyDocument"])}
    for url in properties["Queues"]:
        workshop.clients("sqs", place.region).set_queue_attributes(QueueUrl=url, Attributes=policy)
    return Created(place.physical_name)


def make_bucket(workshop: Workshop, place: StackPlace, properties: Properties) -> Created:
    """Create an S3 bucket with versioning, encryption, lifecycle and public access block."""
    client = workshop.clients("s3", place.region)
    known = ("VersioningConfiguration", "BucketEncryption", "LifecycleConfiguration")
    ignored = ("PublicAccessBlockConfiguration", "OwnershipControls", "Tags")
    only(place, properties, ("BucketName", *known, *ignored))
    name = properties.get("BucketName", place.physical_name.lower())
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": place.region})
    if versioning := properties.get("VersioningConfiguration"):
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration=versioning)
    if encryption := properties.get("BucketEncryption"):
        client.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration=encryption_of(encryption))
    if lifecycle := properties.get("LifecycleConfiguration"):
        rules = [lifecycle_rule(rule) for rule in lifecycle["Rules"]]
        client.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": rules})
    if block := properties.get("PublicAccessBlockConfiguration"):
        client.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=block)
    return Created(name, {"Arn": f"arn:aws:s3:::{name}", "DomainName": f"{name}.s3.amazonaws.com"})


def make_bucket_policy(workshop: Workshop, place: StackPlace, properties: Properties) -> Created:
    """Set the policy of a bucket."""
    only(place, properties, ("Bucket", "PolicyDocument"))
    policy = json.dumps(properties["PolicyDocument"])
    workshop.clients("s3", place.region).put_bucket_policy(Bucket=properties["Bucket"], Policy=policy)
    return Created(place.physical_name)


def make_role(workshop: Workshop, place: StackPlace, properties: Properties) -> Created:
    """Make a role with its policies."""
    only(place, properties, ("RoleName", "AssumeRolePolicyDocument", "Policies", "Description", "Tags"))
    name = properties.get("RoleName", place.physical_name)
    try:
        policies = {each["PolicyName"]: each["PolicyDocument"] for each in properties.get("Policies", ())}
        arn = workshop.roles.add(name, properties["AssumeRolePolicyDocument"], policies)
    except KeyError as error:
        raise TemplateError(f"{place.name} has no {error}") from error
    except PolicyError as error:
        raise TemplateError(f"{place.name}: {error}") from error
    return Created(name, {"Arn": arn})


def make_managed_policy(_: Workshop, place: StackPlace, properties: Properties) -> Created:
    """Read a policy that is attached to nothing here: operators attach it."""
    only(place, properties, ("ManagedPolicyName", "Description", "Path", "PolicyDocument"))
    read_policy(properties["PolicyDocument"])
    name = properties.get("ManagedPolicyName", place.physical_name)
    arn = f"arn:aws:iam::{ACCOUNT}:policy/{name}"
    return Created(arn, {"PolicyArn": arn})


def make_log_group(_: Workshop, place: StackPlace, properties: Properties) -> Created:
    """Name a log group: what functions print goes to standard error."""
    name = properties.get("LogGroupName", place.physical_name)
    return Created(name, {"Arn": f"arn:aws:logs:{place.region}:{ACCOUNT}:log-group:{name}:*"})


def make_key(workshop: Workshop, place: StackPlace, properties: Properties) -> Created:
    """Create a KMS key."""
    ignored = ("EnableKeyRotation", "PendingWindowInDays", "Tags", "Enabled")
    only(place, properties, ("KeyPolicy", "Description", "KeySpec", "KeyUsage", "MultiRegion", *ignored))
    given = {
        key: properties[key]
        for key in ("Description", "KeySpec", "KeyUsage", "MultiRegion")
        if key in properties
    }
    if "KeyPolicy" in properties:
        given["Policy"] = json.dumps(properties["KeyPolicy"])
    key = workshop.clients("kms", place.region).create_key(**given)["KeyMetadata"]
    return Created(key["KeyId"], {"Arn": key["Arn"], "KeyId": key["KeyId"]})


def make_alias(workshop: Workshop, place: StackPlace, properties: Properties) -> Created:
    """Return a KMS key."""
    only(place, properties, ("AliasName", "TargetKeyId"))
    workshop.clients("kms", place.region).create_alias(**properties)
    return Created(properties["AliasName"])


def make_topic(workshop: Workshop, place: StackPlace, properties: Properties) -> Created:
    """Create an SNS topic."""
    only(place, properties, ("TopicName", "KmsMasterKeyId", "DisplayName", "Tags"))
    attributes = {key: properties[key] for key in ("KmsMasterKeyId", "DisplayName") if key in properties}
    name = properties.get("TopicName", place.physical_name)
    arn = workshop.clients("sns", place.region).create_topic(Name=name, Attributes=attributes)["TopicArn"]
    return Created(arn, {"TopicArn": arn, "TopicName": name})


def make_topic_policy(workshop: Workshop, place: StackPlace, properties: Properties) -> Created:
    """Set the policy of topics."""
    only(place, properties, ("Topics", "PolicyDocument"))
    policy = json.dumps(properties["PolicyDocument"])
    for arn in properties["Topics"]:
        workshop.clients("sns", place.region).set_topic_attributes(
            TopicArn=arn, AttributeName="Policy", AttributeValue=policy
        )
    return Created(place.physical_name)


def make_subscription(workshop: Workshop, place: StackPlace, properties: Properties) -> Created:
    """Subscribe to a topic."""
    only(place, properties, ("TopicArn", "Protocol", "Endpoint"))
    answer = workshop.clients("sns", place.region).subscribe(**properties, ReturnSubscriptionArn=True)
    return Created(answer["SubscriptionArn"])


def make_alarm(workshop: Workshop, place: StackPlace, properties: Properties) -> Created:
    """Have an alarm judged."""
    simple = ("Namespace", "MetricName", "Dimensions", "Statistic", "Period")
    judged = (
        "EvaluationPeriods",
        "DatapointsToAlarm",
        "Threshold",
        "ComparisonOperator",
        "TreatMissingData",
    )
    only(place, properties, ("AlarmName", "AlarmDescription", "AlarmActions", "OKActions", *simple, *judged))
    alarm = Alarm(
        name=properties.get("AlarmName", place.physical_name),
        region=place.region,
        rule=rule_of(properties),
        says=properties.get("AlarmDescription", ""),
        actions=tuple(properties.get("AlarmActions", ())),
        ok_actions=tuple(properties.get("OKActions", ())),
    )
    workshop.alarms.add(alarm)
    return Created(alarm.name, {"Arn": alarm.arn})


def make_dashboard(_: Workshop, place: StackPlace, properties: Properties) -> Created:
    """Read the dashboard, whose body must be JSON; nobody looks at it."""
    only(place, properties, ("DashboardName", "DashboardBody"))
    json.loads(properties["DashboardBody"])
    return Created(properties.get("DashboardName", place.physical_name))


def make_rule(workshop: Workshop, place: StackPlace, properties: Properties) -> Created:
    """Create an EventBridge rule on the default bus, with its targets."""
    only(place, properties, ("Name", "Description", "EventPattern", "ScheduleExpression", "State", "Targets"))
    name = properties.get("Name", place.physical_name)
    given = {
        key: properties[key] for key in ("Description", "ScheduleExpression", "State") if key in properties
    }
    if "EventPattern" in properties:
        given["EventPattern"] = json.dumps(properties["EventPattern"])
    client = workshop.clients("events", place.region)
    arn = client.put_rule(Name=name, **given)["RuleArn"]
    if targets := properties.get("Targets"):
        client.put_targets(Rule=name, Targets=targets)
    return Created(name, {"Arn": arn})


def make_function(workshop: Workshop, place: StackPlace, properties: Properties) -> Created:
    """Deploy a function and connect what invokes it."""
    ignored = (
        "Runtime",
        "CodeUri",
        "Tags",
        "Tracing",
        "Architectures",
        "ReservedConcurrentExecutions",
        "EphemeralStorage",
        "Layers",
        "Description",
        "SnapStart",
    )
    known = (
        "Handler",
        "Timeout",
        "MemorySize",
        "Environment",
        "Events",
        "DeadLetterQueue",
        "EventInvokeConfig",
        "RecursiveLoop",
        "Role",
        "LoggingConfig",
    )
    only(place, properties, ("FunctionName", *known, *ignored))
    if "Role" not in properties:
        raise TemplateError(f"{place.name} names no Role")
    environment = properties.get("Environment", {}).get("Variables", {})
    function = Function(
        name=properties.get("FunctionName", place.physical_name),
        handler=properties["Handler"],
        region=place.region,
        role_arn=properties["Role"],
        environment={name: str(value) for name, value in environment.items()},
        timeout=timedelta(seconds=int(properties.get("Timeout", 3))),
        memory_mb=int(properties.get("MemorySize", 128)),
        retries=int(properties.get("EventInvokeConfig", {}).get("MaximumRetryAttempts", 2)),
        dead_letter_arn=properties.get("DeadLetterQueue", {}).get("TargetArn"),
        may_loop=properties.get("RecursiveLoop") == "Allow",
        log_group=properties.get("LoggingConfig", {}).get("LogGroup", ""),
    )
    workshop.functions.add(function)
    for name, event in properties.get("Events", {}).items():
        connect(workshop, StackPlace(place.stack, place.region, f"{place.name}{name}"), function, event)
    return Created(function.name, {"Arn": function.arn})


def connect(workshop: Workshop, place: StackPlace, function: Function, event: Properties) -> None:
    """Connect an event source to a SAM function.

    https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-property-function-eventsource.html
    """
    properties = event["Properties"]
    target = [{"Id": function.name, "Arn": function.arn}]
    match event["Type"]:
        case "Schedule":
            only(place, properties, ("Schedule", "Description", "Name"))
            make_rule(workshop, place, {"ScheduleExpression": properties["Schedule"], "Targets": target})
        case "CloudWatchEvent" | "EventBridgeRule":
            only(place, properties, ("Pattern",))
            make_rule(workshop, place, {"EventPattern": properties["Pattern"], "Targets": target})
        case "SQS":
            known = ("Queue", "BatchSize", "FunctionResponseTypes", "MaximumBatchingWindowInSeconds")
            only(place, properties, (*known, "ScalingConfig"))
            mapping = SourceMapping(
                queue_arn=properties["Queue"],
                function=function.name,
                batch_size=int(properties.get("BatchSize", 10)),
                window=timedelta(seconds=int(properties.get("MaximumBatchingWindowInSeconds", 0))),
                reports_failures="ReportBatchItemFailures" in properties.get("FunctionResponseTypes", ()),
                most_at_once=properties.get("ScalingConfig", {}).get("MaximumConcurrency"),
            )
            try:
                workshop.queues.connect(mapping)
            except AwsError as error:
                raise TemplateError(f"{place.name}: {error.message}") from error
        case other:
            raise TemplateError(f"the local cloud does not know the event source {other} of {function.name}")


def make_api(workshop: Workshop, place: StackPlace, properties: Properties) -> Created:
    """Connect the gateway to the function that the API's definition names."""
    ignored = (
        "EndpointConfiguration",
        "MinimumCompressionSize",
        "Tags",
        "TracingEnabled",
        "MethodSettings",
        "AccessLogSetting",
    )
    only(place, properties, ("Name", "StageName", "DefinitionBody", "GatewayResponses", "Auth", *ignored))
    api_id = place.physical_name.lower()
    own_answers = properties.get("GatewayResponses", {})
    workshop.gateway.serve(api_id, properties["StageName"], properties["DefinitionBody"], own_answers)
    return Created(api_id, {"RootResourceId": f"{api_id}-root"})


def as_attribute(value: Any) -> str:
    """Return a property as a text, as SQS takes attributes."""
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, Mapping) else str(value)


def renamed(properties: Properties, names: Mapping[str, str]) -> dict[str, Any]:
    """Return properties under the names the API has for them."""
    return {names.get(name, name): value for name, value in properties.items()}


def encryption_of(properties: Properties) -> dict[str, Any]:
    """Turn a bucket's encryption from CloudFormation's shape to the API's."""
    names = {"ServerSideEncryptionByDefault": "ApplyServerSideEncryptionByDefault"}
    return {"Rules": [renamed(rule, names) for rule in properties["ServerSideEncryptionConfiguration"]]}


def ignored(service: str) -> Callable[[StackPlace], Created]:
    """Return a placeholder for a resource that is accepted and not created."""

    def stand_for(place: StackPlace) -> Created:
        arn = f"arn:aws:{service}:{place.region}:{ACCOUNT}:{place.physical_name}"
        return Created(place.physical_name, {"Arn": arn})

    return stand_for


CREATORS: Mapping[str, Creator] = {
    "AWS::DynamoDB::Table": make_table,
    "AWS::SQS::Queue": make_queue,
    "AWS::SQS::QueuePolicy": make_queue_policy,
    "AWS::S3::Bucket": make_bucket,
    "AWS::S3::BucketPolicy": make_bucket_policy,
    "AWS::KMS::Key": make_key,
    "AWS::KMS::Alias": make_alias,
    "AWS::IAM::ManagedPolicy": make_managed_policy,
    "AWS::IAM::Role": make_role,
    "AWS::Logs::LogGroup": make_log_group,
    "AWS::Events::Rule": make_rule,
    "AWS::SNS::Topic": make_topic,
    "AWS::SNS::TopicPolicy": make_topic_policy,
    "AWS::SNS::Subscription": make_subscription,
    "AWS::CloudWatch::Alarm": make_alarm,
    "AWS::CloudWatch::Dashboard": make_dashboard,
    "AWS::Serverless::Function": make_function,
    "AWS::Serverless::Api": make_api,
}
KNOWN_AND_IGNORED: Mapping[str, Callable[[StackPlace], Created]] = {
    "AWS::Events::EventBusPolicy": ignored("events"),
    "AWS::Lambda::Permission": ignored("lambda"),
    "AWS::Logs::MetricFilter": ignored("logs"),
}
