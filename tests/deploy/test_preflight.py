"""Whatever would keep a deployment or a later backup from working is told before anything is made."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from deploy.deployment import Deployment, Finding
from deploy.preflight import check, plan
from local_cloud.cloud import Cloud

HOME, AWAY = "eu-central-1", "eu-west-1"
DR = {"kind": "s3", "region": AWAY, "bucket": "farshore-dr"}
FAR = {"kind": "libcloud", "provider": "local", "container": "kept", "credentials": "farshore/far"}
TEMPLATE: dict[str, Any] = {
    "Parameters": {"VaultBucketName": {"Type": "String"}},
    "Resources": {
        "VaultBucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": {"Ref": "VaultBucketName"}}},
        "Catalog": {
            "Type": "AWS::DynamoDB::Table",
            "Properties": {
                "TableName": "farshore-prod",
                "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
                "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
            },
        },
    },
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with Cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud


@pytest.fixture
def cloud(running: Cloud) -> Cloud:
    running.reset()
    return running


def wanted(tmp_path: Path, vaults: object = None, **variables: str) -> Deployment:
    given = {
        "STAGE": "prod",
        "REGION": HOME,
        "VAULT_BUCKET": "farshore-home",
        "ALARM_EMAIL": "ops@example.com",
    }
    if vaults is not None:
        document = tmp_path / "vaults.json"
        document.write_text(vaults if isinstance(vaults, str) else json.dumps(vaults))
        given["VAULTS"] = str(document)
    return Deployment(given | variables)


def found(cloud: Cloud, deployment: Deployment) -> list[Finding]:
    return check(deployment, cloud.client)[1]


def stops(cloud: Cloud, deployment: Deployment) -> dict[str, str]:
    """Return what stops a deployment, by field, with its remedy."""
    return {each.field: f"{each.what}: {each.remedy}" for each in found(cloud, deployment) if each.stops}


def make_stack(cloud: Cloud, name: str, region: str = HOME, bucket: str = "farshore-home") -> None:
    cloud.client("cloudformation", region).create_stack(
        StackName=name,
        TemplateBody=json.dumps(TEMPLATE),
        Parameters=[{"ParameterKey": "VaultBucketName", "ParameterValue": bucket}],
    )


def make_bucket(cloud: Cloud, name: str, region: str) -> None:
    location: Any = {"LocationConstraint": region}
    cloud.client("s3", region).create_bucket(Bucket=name, CreateBucketConfiguration=location)


def test_a_first_deployment_and_a_later_one_are_let_through(cloud: Cloud, tmp_path: Path) -> None:
    assert stops(cloud, wanted(tmp_path)) == {}
    make_stack(cloud, "farshore-prod")
    assert stops(cloud, wanted(tmp_path)) == {}


@pytest.mark.parametrize(
    ("vaults", "field", "says"),
    [
        ("{", "VAULTS", "JSON"),
        ({"dr": DR | {"knd": "s3"}}, "VAULTS /dr/knd", "an unknown key"),
        ({"primary": DR}, "VAULTS /primary/region", "eu-central-1, as the stack has it"),
        ({"far": FAR | {"provider": "azur_blobs"}}, "VAULTS /far/provider", "did you mean azure_blobs?"),
        ({"far": FAR | {"credentials": "far"}}, "VAULTS /far/credentials", "begins with farshore/"),
        ({"dr": DR | {"bucket": "farshore-home"}}, "VAULTS /dr/bucket", "a bucket of its own"),
        (json.dumps({"dr": DR}) + " " * 3000 + "\n{", "VAULTS", "a stack takes 2000"),
    ],
)
def test_a_faulty_vaults_document_is_told_by_field(
    cloud: Cloud, tmp_path: Path, vaults: object, field: str, says: str
) -> None:
    told = [
        f"{each.what}: {each.remedy}"
        for each in found(cloud, wanted(tmp_path, vaults))
        if each.field == field
    ]
    assert any(says in each for each in told)


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("STAGE", "Prod", "1 to 16 lower-case letters"),
        ("REGION", "Frankfurt", "a region of AWS"),
        ("VAULT_BUCKET", "", "is missing"),
        ("GRACE", "8d", "a duration from 0d to 7d"),
        ("COPY_SLOTS", "many", "a whole number"),
        ("REQUEST_BUCKETS", "[]", "a mapping"),
    ],
)
def test_a_faulty_setting_is_told_by_its_name(
    cloud: Cloud, tmp_path: Path, variable: str, value: str, says: str
) -> None:
    assert says in stops(cloud, wanted(tmp_path, **{variable: value}))[variable]


def test_credentials_that_aws_does_not_take_are_told_first(tmp_path: Path) -> None:
    sts = boto3.client("sts", region_name=HOME, aws_access_key_id="a", aws_secret_access_key="b")
    with Stubber(sts) as refusing:
        refusing.add_client_error("get_caller_identity", "InvalidClientTokenId", "The token is invalid", 403)
        account, findings = check(wanted(tmp_path), lambda service, region: sts)
    assert account is None
    [fault] = findings
    assert fault.field == "credentials"
    assert "The token is invalid" in fault.what


def test_a_bucket_of_another_account_is_told(cloud: Cloud, tmp_path: Path) -> None:
    s3 = boto3.client("s3", region_name=HOME, aws_access_key_id="a", aws_secret_access_key="b")
    with Stubber(s3) as refusing:
        refusing.add_client_error("head_bucket", "403", "Forbidden", 403)
        _, findings = check(
            wanted(tmp_path), lambda service, region: s3 if service == "s3" else cloud.client(service, region)
        )
    [fault] = [each for each in findings if each.stops]
    assert (fault.field, fault.remedy) == ("VAULT_BUCKET", "choose another name")
    assert "farshore-home is taken by another account" in fault.what


def test_a_bucket_outside_of_the_stack_is_told(cloud: Cloud, tmp_path: Path) -> None:
    make_bucket(cloud, "farshore-home", HOME)
    make_bucket(cloud, "farshore-dr", AWAY)
    told = stops(cloud, wanted(tmp_path, {"dr": DR}))
    assert "not in the stack farshore-prod: choose another name" in told["VAULT_BUCKET"]
    assert "not in the stack farshore-prod-dr: choose another name" in told["VAULTS /dr/bucket"]


def test_what_an_earlier_deployment_has_left_is_taken_over_on_request(cloud: Cloud, tmp_path: Path) -> None:
    make_bucket(cloud, "farshore-home", HOME)
    deployment = wanted(tmp_path, {"dr": DR}, ADOPT="1")
    account, findings = check(deployment, cloud.client)
    assert [each.field for each in findings if each.stops] == []
    assert account is not None
    lines = list(plan(deployment, account))
    assert "kept\tfarshore-prod\tfarshore-home" in lines
    assert f"dr\tdr\t{AWAY}\tfarshore-dr\t" in lines
    assert "buckets\tarn:aws:s3:::farshore-dr" in lines


def test_a_table_that_is_left_is_told(cloud: Cloud, tmp_path: Path) -> None:
    cloud.client("dynamodb", HOME).create_table(**TEMPLATE["Resources"]["Catalog"]["Properties"])
    assert "take it over with ADOPT=1" in stops(cloud, wanted(tmp_path))["STAGE"]


def test_a_stage_of_another_region_or_under_another_name_is_told(cloud: Cloud, tmp_path: Path) -> None:
    make_stack(cloud, "farshore-prod", AWAY)
    assert (
        f"is deployed in {AWAY} as the stack farshore-prod: set REGION={AWAY}"
        in (stops(cloud, wanted(tmp_path, VAULT_BUCKET="another"))["STAGE"])
    )


def test_a_stage_under_another_stacks_name_is_told(cloud: Cloud, tmp_path: Path) -> None:
    # moto finds no stack by the name of a resource.
    here = boto3.client("cloudformation", region_name=HOME, aws_access_key_id="a", aws_secret_access_key="b")
    table = {
        "StackName": "farshore",
        "LogicalResourceId": "Catalog",
        "ResourceType": "AWS::DynamoDB::Table",
        "Timestamp": "2026-11-01T00:00:00Z",
        "ResourceStatus": "CREATE_COMPLETE",
    }
    with Stubber(here) as answering:
        wants = {"PhysicalResourceId": "farshore-prod"}
        answering.add_response("describe_stack_resources", {"StackResources": [table]}, wants)
        answering.add_client_error("describe_stacks", "ValidationError", "does not exist", 400)
        _, findings = check(
            wanted(tmp_path),
            lambda service, region: (
                here if (service, region) == ("cloudformation", HOME) else cloud.client(service, region)
            ),
        )
    [fault] = [each for each in findings if each.stops]
    assert fault.field == "STAGE"
    assert f"is deployed in {HOME} as the stack farshore" in fault.what
    assert "update that stack with STACK=farshore" in fault.remedy


def test_a_stage_keeps_its_bucket(cloud: Cloud, tmp_path: Path) -> None:
    make_stack(cloud, "farshore-prod")
    told = stops(cloud, wanted(tmp_path, VAULT_BUCKET="another"))
    assert "write farshore-home: a stage keeps its bucket" in told["VAULT_BUCKET"]


def test_a_vault_in_the_home_region_needs_a_bucket_and_protects_less(cloud: Cloud, tmp_path: Path) -> None:
    near = {"near": DR | {"region": HOME, "bucket": "farshore-near"}}
    assert "name another region" in stops(cloud, wanted(tmp_path, near))["VAULTS /near/bucket"]
    make_bucket(cloud, "farshore-near", HOME)
    [note] = [each for each in found(cloud, wanted(tmp_path, near)) if each.field == "VAULTS /near/bucket"]
    assert not note.stops


def test_a_secret_that_is_missing_or_being_deleted_is_told(cloud: Cloud, tmp_path: Path) -> None:
    field, vaults = "VAULTS /far/credentials", {"far": FAR}
    assert "there is no secret farshore/far" in stops(cloud, wanted(tmp_path, vaults))[field]
    cloud.put_secret("farshore/far", {"key": str(tmp_path)}, HOME)
    cloud.client("secretsmanager", HOME).delete_secret(SecretId="farshore/far")
    assert "aws secretsmanager restore-secret" in stops(cloud, wanted(tmp_path, vaults))[field]


def test_a_container_that_is_missing_and_a_secret_of_the_wrong_form_are_told(
    cloud: Cloud, tmp_path: Path
) -> None:
    vaults = {"far": FAR}
    cloud.put_secret("farshore/far", {"key": str(tmp_path)}, HOME)
    assert "make the container" in stops(cloud, wanted(tmp_path, vaults))["VAULTS /far"]
    (tmp_path / "kept").mkdir()
    assert stops(cloud, wanted(tmp_path, vaults)) == {}
    cloud.client("secretsmanager", HOME).put_secret_value(SecretId="farshore/far", SecretString="[1]")
    assert "a JSON object of strings" in stops(cloud, wanted(tmp_path, vaults))["VAULTS /far"]


def test_a_key_that_is_missing_or_disabled_is_told(cloud: Cloud, tmp_path: Path) -> None:
    kms = cloud.client("kms", AWAY)
    key = kms.create_key()["KeyMetadata"]
    vaults = {"dr": DR | {"kms_key": key["Arn"]}}
    assert stops(cloud, wanted(tmp_path, vaults)) == {}
    kms.disable_key(KeyId=key["KeyId"])
    assert "is Disabled" in stops(cloud, wanted(tmp_path, vaults))["VAULTS /dr/kms_key"]
    told = stops(cloud, wanted(tmp_path, {"dr": DR | {"kms_key": "alias/none"}}))
    assert f"there is no key alias/none in {AWAY}" in told["VAULTS /dr/kms_key"]


@pytest.mark.parametrize(
    ("limits", "variables", "says", "does_stop"),
    [
        ({"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 1000}, {}, None, False),
        ({"ConcurrentExecutions": 10, "UnreservedConcurrentExecutions": 10}, {}, "set JOB_WORKERS=2", False),
        ({"ConcurrentExecutions": 40}, {}, "set JOB_WORKERS=28", False),
        ({"ConcurrentExecutions": 40}, {"JOB_WORKERS": "28"}, None, False),
        (
            {"ConcurrentExecutions": 110, "UnreservedConcurrentExecutions": 110},
            {"RESERVE_CONCURRENCY": "yes"},
            "leave it out",
            True,
        ),
    ],
)
def test_concurrency_that_the_account_does_not_have_is_told(
    cloud: Cloud,
    tmp_path: Path,
    limits: dict[str, int],
    variables: dict[str, str],
    says: str | None,
    does_stop: bool,
) -> None:
    functions = boto3.client("lambda", region_name=HOME, aws_access_key_id="a", aws_secret_access_key="b")
    with Stubber(functions) as answering:
        answering.add_response("get_account_settings", {"AccountLimit": limits})
        _, findings = check(
            wanted(tmp_path, **variables),
            lambda service, region: functions if service == "lambda" else cloud.client(service, region),
        )
    told = [each for each in findings if each.field in ("JOB_WORKERS", "RESERVE_CONCURRENCY")]
    assert [says in each.remedy for each in told if says] == ([True] if says else [])
    assert [each.stops for each in told] == ([does_stop] if says else [])


def test_alarms_that_notify_nobody_are_noted(cloud: Cloud, tmp_path: Path) -> None:
    notes = [each.what for each in found(cloud, wanted(tmp_path, ALARM_EMAIL="")) if not each.stops]
    assert "alarms notify nobody" in notes
    topic = wanted(tmp_path, ALARM_EMAIL="", ALARM_TOPIC="arn:aws:sns:eu-central-1:111122223333:alarms")
    assert "alarms notify nobody" not in [each.what for each in found(cloud, topic)]
