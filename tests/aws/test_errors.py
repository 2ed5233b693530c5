"""What the SDK raises becomes an error of ours, or stays as it is."""

import socket
from typing import Any

import pytest
from botocore.exceptions import ClientError, NoCredentialsError

from chalicelib.aws.clients import Clients
from chalicelib.aws.errors import translate, translated_errors
from chalicelib.errors import (
    Conflict,
    Denied,
    FarshoreError,
    NotFound,
    Permanent,
    QuotaReached,
    Retryable,
    SnapshotInUse,
    Throttled,
    Unavailable,
    VaultMissing,
)


def answered(code: str, status: int = 400) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": "as AWS says"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "Operation")


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("RequestLimitExceeded", 503, Throttled),
        ("ThrottlingException", 400, Throttled),
        ("SlowDown", 503, Throttled),
        ("ProvisionedThroughputExceededException", 400, Throttled),
        ("SnapshotCreationPerVolumeRateExceeded", 400, Throttled),
        ("ResourceLimitExceeded", 400, QuotaReached),
        ("ConcurrentSnapshotLimitExceeded", 400, QuotaReached),
        ("PendingSnapshotLimitExceeded", 400, QuotaReached),
        ("SnapshotLimitExceeded", 400, QuotaReached),
        ("InternalError", 500, Unavailable),
        ("ServiceUnavailable", 503, Unavailable),
        ("NeverHeardOf", 502, Unavailable),
        ("ExpiredTokenException", 400, Unavailable),
        ("TransactionConflictException", 400, Retryable),
        ("InvalidNetworkInterface.InUse", 400, Retryable),
        ("Resource.AlreadyAssociated", 400, Retryable),
        ("PriorRequestNotComplete", 400, Retryable),
        ("TooManyTargets", 400, QuotaReached),
        ("AttachmentLimitExceeded", 400, Conflict),
        ("InvalidChangeBatch", 400, Conflict),
        ("InvalidTarget", 400, Conflict),
        ("InvalidAllocationID.NotFound", 400, NotFound),
        ("InvalidNetworkInterfaceID.NotFound", 400, NotFound),
        ("AccessDenied", 403, Denied),
        ("UnauthorizedOperation", 403, Denied),
        ("403", 403, Denied),
        ("NoSuchBucket", 404, VaultMissing),
        ("NoSuchHostedZone", 404, NotFound),
        ("NoSuchKey", 404, NotFound),
        ("TargetGroupNotFound", 400, NotFound),
        ("404", 404, NotFound),
        ("InvalidSnapshot.NotFound", 400, NotFound),
        ("InvalidInstanceID.NotFound", 400, NotFound),
        ("ResourceNotFoundException", 400, NotFound),
        ("InvalidSnapshotID.Malformed", 400, Permanent),
        ("InvalidSnapshot.InUse", 400, SnapshotInUse),
        ("PreconditionFailed", 412, Conflict),
        ("InvalidInstanceId", 400, Conflict),
    ],
)
def test_a_known_code_becomes_an_error_of_ours(code: str, status: int, expected: type[FarshoreError]) -> None:
    error = translate(answered(code, status), operation="Operation", resource="snap-1", region="eu-west-1")
    assert type(error) is expected
    assert (error.operation, error.resource, error.region, error.code) == (
        "Operation",
        "snap-1",
        "eu-west-1",
        code,
    )
    assert "as AWS says" in str(error)


@pytest.mark.parametrize(("code", "status"), [("NeverHeardOf", 400), ("NeverHeardOf", 403), ("", 400)])
def test_a_refusal_with_a_code_that_nobody_has_met_is_permanent(code: str, status: int) -> None:
    with pytest.raises(Permanent) as refusal, translated_errors("Operation"):
        raise answered(code, status)
    assert type(refusal.value) is Permanent
    assert refusal.value.code == code
    assert "as AWS says" in str(refusal.value)


@pytest.mark.parametrize(
    ("code", "status"),
    [("FunctionKilled", 399), ("NeverHeardOf", 0), ("ConditionalCheckFailedException", 400)],
)
def test_what_is_no_refusal_stays_loud(code: str, status: int) -> None:
    raised = answered(code, status)
    with pytest.raises(ClientError) as loud, translated_errors("Operation"):
        raise raised
    assert loud.value is raised


def test_the_sdks_own_exception_is_kept_as_the_cause() -> None:
    raised = answered("AccessDenied", 403)
    with pytest.raises(Denied) as denied, translated_errors("Operation"):
        raise raised
    assert denied.value.__cause__ is raised


def test_missing_credentials_stay_loud() -> None:
    with pytest.raises(NoCredentialsError), translated_errors("Operation"):
        raise NoCredentialsError


def test_a_port_that_nobody_listens_on_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    client = Clients("eu-central-1").ec2(retries=False)
    with pytest.raises(Unavailable, match="Could not connect"), translated_errors("DescribeInstances"):
        client.describe_instances()


WHO = "User: arn:aws:sts::1:assumed-role/r/f is not authorized to perform: ec2:CreateTags on resource: a"


@pytest.mark.parametrize(
    ("code", "said", "why"),
    [
        (
            "UnauthorizedOperation",
            f"You are not authorized. {WHO} because no identity-based policy allows "
            "the ec2:CreateTags action. Encoded authorization failure message: 4AqbP-Lx0",
            f"You are not authorized. {WHO} because no identity-based policy allows "
            "the ec2:CreateTags action; grant it in the policy of that role",
        ),
        (
            "AccessDenied",
            f"{WHO} with an explicit deny in a resource-based policy",
            f"{WHO} with an explicit deny in a resource-based policy; find the policy that denies it, and "
            "change it there",
        ),
        (
            "403",
            "Forbidden",
            "Forbidden; the role needs s3:GetObject for it, and s3:ListBucket for its bucket",
        ),
        ("AccessDenied", "Access Denied", "Access Denied"),
    ],
)
def test_a_denial_says_where_to_grant_what_is_lacking(code: str, said: str, why: str) -> None:
    response: Any = {
        "Error": {"Code": code, "Message": said},
        "ResponseMetadata": {"HTTPStatusCode": 403},
    }
    error = translate(ClientError(response, "O"), operation="O", resource=None, region=None)
    assert isinstance(error, Denied)
    assert error.why == why
