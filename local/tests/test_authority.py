"""What a role may not do is denied, in the words of each service, whoever has its keys."""

import base64
import http.client
import json
import zlib
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from little_stack import AWAY, HERE, HOME, TRUST, LittleStack, policy_of, policy_of_queue, role_of
from local_cloud.cloud import Cloud
from local_cloud.cloudformation.intrinsics import TemplateError
from local_cloud.cloudformation.template import StackPlan
from local_cloud.lambda_.functions import Function
from local_cloud.services.iam.sessions import Session
from local_cloud.signing import signed

ACCOUNT = "123456789012"


def client_of(cloud: Cloud, session: Session, service: str, region: str = HOME) -> Any:
    """Return a client that signs with a session's keys, as one outside would."""
    make: Any = boto3.Session(session.access_key, session.secret, session.token, region_name=region).client
    config = Config(retries={"total_max_attempts": 1}, signature_version="s3v4" if service == "s3" else None)
    return make(service, endpoint_url=cloud.aws.url, config=config)


def opened(cloud: Cloud, *statements: dict[str, Any]) -> Session:
    """Return a session of a role that may do what statements say."""
    return cloud.sessions.open(role_of(cloud, *statements), "me")


def denial(call: Any, **params: Any) -> tuple[str, str, int]:
    """Return code, message and status of the denial of a call."""
    with pytest.raises(ClientError) as caught:
        call(**params)
    response: Any = caught.value.response
    error = response["Error"]
    return error["Code"], error["Message"], response["ResponseMetadata"]["HTTPStatusCode"]


@pytest.mark.parametrize(
    ("service", "call", "params", "action", "resource", "code", "status"),
    [
        ("dynamodb", "get_item", {"TableName": "t", "Key": {"pk": {"S": "a"}}}, "dynamodb:GetItem",
         f"arn:aws:dynamodb:{HOME}:{ACCOUNT}:table/t", "AccessDeniedException", 400),
        ("ssm", "list_commands", {}, "ssm:ListCommands", "", "AccessDeniedException", 400),
        ("secretsmanager", "get_secret_value", {"SecretId": "s"}, "secretsmanager:GetSecretValue",
         f"arn:aws:secretsmanager:{HOME}:{ACCOUNT}:secret:s", "AccessDeniedException", 400),
        ("sqs", "send_message", {"QueueUrl": "http://q/q", "MessageBody": "m"}, "sqs:SendMessage",
         f"arn:aws:sqs:{HOME}:{ACCOUNT}:q", "AccessDenied", 403),
        ("s3", "put_object", {"Bucket": "b", "Key": "k"}, "s3:PutObject", "arn:aws:s3:::b/k",
         "AccessDenied", 403),
        ("autoscaling", "describe_auto_scaling_groups", {}, "autoscaling:DescribeAutoScalingGroups", "",
         "AccessDenied", 403),
        ("elbv2", "describe_target_groups", {}, "elasticloadbalancing:DescribeTargetGroups", "",
         "AccessDenied", 403),
        ("route53", "get_hosted_zone", {"Id": "Z"}, "route53:GetHostedZone", "arn:aws:route53:::hostedzone/Z",
         "AccessDenied", 403),
        ("kms", "list_keys", {}, "kms:ListKeys", "", "AccessDeniedException", 400),
    ],
)  # fmt: skip
def test_a_denial_is_in_the_words_of_its_service(
    cloud: Cloud, service: str, call: str, params: Any, action: str, resource: str, code: str, status: int
) -> None:
    session = opened(cloud, {"Action": "logs:*", "Resource": "*"})
    on = f" on resource: {resource}" if resource else ""
    text = (
        f"User: arn:aws:sts::{ACCOUNT}:assumed-role/tried/me is not authorized to perform: {action}{on} "
        f"because no identity-based policy allows the {action} action"
    )
    assert denial(getattr(client_of(cloud, session, service), call), **params) == (code, text, status)


def test_ec2_adds_what_it_judged_as_one_encoded_word(cloud: Cloud) -> None:
    ec2 = client_of(cloud, opened(cloud, {"Action": "ec2:Describe*", "Resource": "*"}), "ec2")
    ec2.describe_instances()
    code, text, status = denial(ec2.delete_snapshot, SnapshotId="snap-0")
    assert (code, status) == ("UnauthorizedOperation", 403)
    said, _, encoded = text.partition(" Encoded authorization failure message: ")
    assert said.startswith("You are not authorized to perform this operation. User: arn:aws:sts::")
    assert said.endswith("because no identity-based policy allows the ec2:DeleteSnapshot action.")
    assert json.loads(zlib.decompress(base64.urlsafe_b64decode(encoded)))["action"] == "ec2:DeleteSnapshot"


def test_each_resource_that_a_call_touches_is_judged_with_its_tags(cloud: Cloud) -> None:
    operator = cloud.client("ec2", HOME)
    volume = operator.create_volume(AvailabilityZone=f"{HOME}a", Size=1)["VolumeId"]
    ours = {"StringEquals": {"aws:ResourceTag/app": "ours"}}
    tagged = {"Null": {"aws:RequestTag/job": "false"}, "ForAllValues:StringEquals": {"aws:TagKeys": ["job"]}}
    snapshots, volumes = f"arn:aws:ec2:{HOME}::snapshot/*", f"arn:aws:ec2:{HOME}:{ACCOUNT}:volume/*"
    making = {"StringEquals": {"ec2:CreateAction": "CreateSnapshot"}}
    ec2 = client_of(
        cloud,
        opened(
            cloud,
            {"Action": "ec2:CreateSnapshot", "Resource": volumes, "Condition": ours},
            {"Action": "ec2:CreateSnapshot", "Resource": snapshots, "Condition": tagged},
            {"Action": "ec2:CreateTags", "Resource": snapshots, "Condition": making},
            {"Action": "ec2:DeleteSnapshot", "Resource": snapshots, "Condition": ours},
        ),
        "ec2",
    )

    def tags(*keys: str) -> Any:
        listed = [{"Key": key, "Value": "v"} for key in keys]
        return [{"ResourceType": "snapshot", "Tags": listed}]

    assert f":volume/{volume} " in denial(ec2.create_snapshot, VolumeId=volume)[1]
    operator.create_tags(Resources=[volume], Tags=[{"Key": "app", "Value": "ours"}])
    for refused in (tags(), tags("job", "other")):
        assert ":snapshot/* " in denial(ec2.create_snapshot, VolumeId=volume, TagSpecifications=refused)[1]
    snapshot = ec2.create_snapshot(VolumeId=volume, TagSpecifications=tags("job"))["SnapshotId"]
    assert f":snapshot/{snapshot} " in denial(ec2.delete_snapshot, SnapshotId=snapshot)[1]
    operator.create_tags(Resources=[snapshot], Tags=[{"Key": "app", "Value": "ours"}])
    ec2.delete_snapshot(SnapshotId=snapshot)
    assert denial(ec2.delete_snapshot, SnapshotId=snapshot)[0] == "InvalidSnapshot.NotFound"


def test_a_role_of_one_region_has_no_say_in_another(cloud: Cloud) -> None:
    here = {"StringEquals": {"aws:RequestedRegion": HOME}}
    session = opened(cloud, {"Action": "ec2:DescribeInstances", "Resource": "*", "Condition": here})
    client_of(cloud, session, "ec2").describe_instances()
    assert denial(client_of(cloud, session, "ec2", AWAY).describe_instances)[0] == "UnauthorizedOperation"


def test_a_presigned_url_opens_what_its_signer_may_open_when_it_is_used(little: LittleStack) -> None:
    cloud = little.cloud
    cloud.client("s3", HOME).put_object(Bucket="little-bucket", Key="k", Body=b"data")
    role = role_of(cloud, {"Action": "s3:GetObject", "Resource": "arn:aws:s3:::little-bucket/*"})
    s3 = client_of(cloud, cloud.sessions.open(role, "me"), "s3")
    assert s3.get_object(Bucket="little-bucket", Key="k")["Body"].read() == b"data"
    code, text, _ = denial(s3.get_object, Bucket="little-bucket", Key="none")
    assert (code, "s3:ListBucket on resource: arn:aws:s3:::little-bucket " in text) == ("AccessDenied", True)

    cloud.client("iam", HOME).put_role_policy(
        RoleName="tried",
        PolicyName="all",
        PolicyDocument=json.dumps(policy_of({"Action": "sqs:*", "Resource": "*"})),
    )
    assert denial(s3.get_object, Bucket="little-bucket", Key="k")[0] == "AccessDenied"


def test_a_bucket_policy_denies_even_the_operator_and_allows_without_the_role(little: LittleStack) -> None:
    cloud, role = little.cloud, role_of(little.cloud, {"Action": "sqs:*", "Resource": "*"})
    operator = cloud.client("s3", HOME)
    operator.put_object(Bucket="little-bucket", Key="k", Body=b"data")
    document = policy_of(
        {"Action": "s3:GetObject", "Resource": "arn:aws:s3:::little-bucket/k", "Principal": {"AWS": role}},
        {
            "Effect": "Deny",
            "Action": "s3:DeleteObject",
            "Resource": "arn:aws:s3:::little-bucket/*",
            "Principal": "*",
        },
    )
    operator.put_bucket_policy(Bucket="little-bucket", Policy=json.dumps(document))
    s3 = client_of(cloud, cloud.sessions.open(role, "me"), "s3")
    assert s3.get_object(Bucket="little-bucket", Key="k")["Body"].read() == b"data"
    _, text, _ = denial(operator.delete_object, Bucket="little-bucket", Key="k")
    assert text.endswith("with an explicit deny in a resource-based policy")


def test_an_operation_without_a_rule_is_denied_or_a_gap_but_never_let_through(cloud: Cloud) -> None:
    session = opened(cloud, {"Action": "ec2:Modify*", "Resource": "*"})
    ec2 = client_of(cloud, session, "ec2")
    assert denial(ec2.create_vpc, CidrBlock="10.0.0.0/16")[0] == "UnauthorizedOperation"
    code, text, status = denial(ec2.modify_vpc_attribute, VpcId="vpc-0", EnableDnsSupport={"Value": True})
    assert (code, status, "does not know what IAM asks for" in text) == ("NotImplemented", 501, True)


def test_an_event_that_the_queue_does_not_take_from_its_rule_is_counted_and_not_delivered(
    little: LittleStack,
) -> None:
    [rule] = little.events.list_rules(NamePrefix="little-Snapshots")["Rules"]
    event = {
        "source": "aws.ec2",
        "detail-type": "EBS Snapshot Notification",
        "detail": {"result": "succeeded"},
    }
    little.cloud.bus.emit(HOME, event)
    little.cloud.settle()
    delivered = len(little.notes("message"))
    little.sqs.set_queue_attributes(
        QueueUrl=little.outputs["WorkUrl"],
        Attributes={
            "Policy": policy_of_queue(f"arn:aws:sqs:{HOME}:{ACCOUNT}:little-Work", f"{rule['Arn']}-other")
        },
    )
    little.cloud.bus.emit(HOME, event)
    little.cloud.settle()
    assert (delivered, len(little.notes("message"))) == (1, 1)
    assert little.cloud.bus.failed_invocations == {rule["Arn"]: 1}


def test_an_event_reaches_another_region_with_a_role_alone(little: LittleStack) -> None:
    event = {
        "source": "aws.ec2",
        "detail-type": "EBS Snapshot Notification",
        "detail": {"result": "succeeded"},
    }
    little.cloud.bus.emit(AWAY, event)
    little.cloud.settle()
    assert len(little.notes("message")) == 1
    little.cloud.client("iam", HOME).delete_role_policy(
        RoleName="little-away-ToHomeRole", PolicyName="tell-home"
    )
    little.cloud.bus.emit(AWAY, event)
    little.cloud.settle()
    assert len(little.notes("message")) == 1
    assert sum(little.cloud.bus.failed_invocations.values()) == 1


def test_a_queue_that_its_function_may_not_poll_cannot_be_connected(cloud: Cloud, tmp_path: Any) -> None:
    document = json.loads((HERE / "sam.json").read_text())
    [policy] = document["Resources"]["Role"]["Properties"]["Policies"]
    denied = {"Effect": "Deny", "Action": "sqs:DeleteMessage", "Resource": "*"}
    policy["PolicyDocument"]["Statement"].append(denied)
    template = tmp_path / "template.json"
    template.write_text(json.dumps(document))
    with pytest.raises(TemplateError, match="does not have permissions to call DeleteMessage on SQS"):
        cloud.deploy([StackPlan("little", template, HOME, {"BucketName": "little-bucket"})])


def print_a_line(*_: object) -> None:
    print("a line of a function")


@pytest.mark.parametrize("actions", [["logs:CreateLogStream", "logs:PutLogEvents"], ["logs:PutLogEvents"]])
def test_what_a_function_prints_is_lost_without_the_rights_to_its_log_group(
    cloud: Cloud, capsys: pytest.CaptureFixture[str], actions: list[str]
) -> None:
    group = f"arn:aws:logs:{HOME}:{ACCOUNT}:log-group:/mine:*"
    role = role_of(cloud, {"Action": actions, "Resource": group})
    cloud.functions.add(Function("f", f"{__name__}.print_a_line", HOME, role, log_group="/mine"))
    cloud.functions.invoke("f", {})
    assert ("a line of a function" in capsys.readouterr().err) == (len(actions) == 2)


CLIENTS: list[Any] = []
"""The clients of this process, which both functions share."""


def list_queues(*_: object) -> str:
    if not CLIENTS:
        CLIENTS.append(boto3.client("sqs"))
    try:
        CLIENTS[0].list_queues()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def test_two_functions_in_one_process_sign_with_a_role_each(cloud: Cloud) -> None:
    may = role_of(cloud, {"Action": "*", "Resource": "*"}, name="may")
    may_not = role_of(cloud, {"Action": "logs:*", "Resource": "*"}, name="may-not")
    for name, role in (("may", may), ("may-not", may_not)):
        cloud.functions.add(Function(name, f"{__name__}.list_queues", HOME, role))
    assert [cloud.functions.invoke(name, {}) for name in ("may", "may-not", "may")] == [
        "",
        "AccessDenied",
        "",
    ]


def test_a_role_without_a_trust_policy_or_with_a_managed_policy_is_refused(
    cloud: Cloud, tmp_path: Any
) -> None:
    template = tmp_path / "template.json"
    for properties, problem in (
        ({}, "has no 'AssumeRolePolicyDocument'"),
        (
            {"AssumeRolePolicyDocument": TRUST, "ManagedPolicyArns": ["arn:aws:iam::aws:policy/A"]},
            "does not read",
        ),
    ):
        resources = {"R": {"Type": "AWS::IAM::Role", "Properties": properties}}
        template.write_text(json.dumps({"Resources": resources}))
        with pytest.raises(TemplateError, match=problem):
            cloud.deploy([StackPlan("tried", template, HOME, {})])


def test_an_api_is_invoked_by_those_alone_whose_policies_let_them(little: LittleStack) -> None:
    looking = f"arn:aws:execute-api:{HOME}:{ACCOUNT}:*/live/GET/things/*"
    session = opened(little.cloud, {"Action": "execute-api:Invoke", "Resource": looking})
    keys = Credentials(session.access_key, session.secret, session.token)

    def answer(method: str) -> tuple[int, str]:
        url = f"{little.cloud.api.url}/things/one"
        headers = signed(method, url, {}, None, region=HOME, by=keys)
        connection = http.client.HTTPConnection(urlsplit(url).netloc)
        try:
            connection.request(method, "/things/one", headers=headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    assert answer("GET")[0] == 201
    status, text = answer("DELETE")
    assert (status, "is not authorized to perform: execute-api:Invoke on resource: " in text) == (403, True)


def test_a_key_is_used_in_the_name_of_its_service_where_role_and_key_allow_it(little: LittleStack) -> None:
    cloud = little.cloud
    kms = cloud.client("kms", HOME)
    key = kms.create_key()["KeyMetadata"]["Arn"]
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}}
    cloud.client("s3", HOME).put_bucket_encryption(
        Bucket="little-bucket", ServerSideEncryptionConfiguration={"Rules": [rule]}
    )
    through = {"StringLike": {"kms:ViaService": "s3.*.amazonaws.com"}}
    objects = {"Action": "s3:PutObject", "Resource": "arn:aws:s3:::little-bucket/*"}
    with_key = {"Action": "kms:GenerateDataKey", "Resource": key, "Condition": through}
    alone, both = (
        client_of(cloud, cloud.sessions.open(role_of(cloud, *statements, name=name), "me"), "s3")
        for name, statements in (("alone", [objects]), ("both", [objects, with_key]))
    )
    both.put_object(Bucket="little-bucket", Key="k", Body=b"")
    put = {"Bucket": "little-bucket", "Key": "k", "Body": b""}
    assert (
        f"perform: kms:GenerateDataKey on resource: {key} because no identity-"
        in denial(alone.put_object, **put)[1]
    )

    administrator = {
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/a"},
        "Action": "kms:*",
        "Resource": "*",
    }
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(policy_of(administrator)))
    assert "because no resource-based policy allows" in denial(both.put_object, **put)[1]
