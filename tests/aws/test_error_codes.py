"""The table of error codes, held against what the SDK's models say of the calls that the app makes."""

import re
from collections.abc import Iterator
from pathlib import Path

import botocore.session
import pytest
from botocore.exceptions import ClientError
from botocore.retries.standard import ThrottledRetryableChecker, TransientRetryableChecker

from chalicelib.aws.errors import translate
from chalicelib.errors import FarshoreError, Permanent, Retryable

ADAPTERS = Path(__file__).parents[2] / "chalicelib"
# EC2's model names no errors: its codes are taken from the pages that `errors.py` cites.
SERVICES = ("autoscaling", "dynamodb", "elbv2", "route53", "s3", "secretsmanager", "sqs", "ssm")
# What the caller asks about and reads itself.
ANSWERS = {"ConditionalCheckFailedException", "TransactionCanceledException"}
# The request or the account's set-up is wrong, and stays so: `Permanent`, with AWS's code and text.
WRONG_REQUEST = {
    "BatchEntryIdsNotDistinct",
    "BatchRequestTooLong",
    "DecryptionFailure",
    "DuplicateInstanceId",
    "EmptyBatchRequest",
    "EncryptionTypeMismatch",
    "IdempotentParameterMismatchException",
    "InvalidAddress",
    "InvalidBatchEntryId",
    "InvalidDocument",
    "InvalidDocumentVersion",
    "InvalidFilterKey",
    "InvalidInput",
    "InvalidInstanceInformationFilterValue",
    "InvalidMessageContents",
    "InvalidNextToken",
    "InvalidNotificationConfig",
    "InvalidOutputFolder",
    "InvalidParameterException",
    "InvalidParameters",
    "InvalidPluginName",
    "InvalidRequest",
    "InvalidRequestException",
    "InvalidRole",
    "InvalidSecurity",
    "InvalidWriteOffset",
    "ItemCollectionSizeLimitExceededException",
    "KmsDisabled",
    "KmsInvalidKeyUsage",
    "KmsInvalidState",
    "KmsNotFound",
    "KmsOptInRequired",
    "LoadBalancerNotFound",
    "MaxDocumentSizeExceeded",
    "NoSuchHealthCheck",
    "ObjectNotInActiveTierError",
    "TooManyEntriesInBatchRequest",
    "TooManyParts",
    "UnsupportedOperation",
    "UnsupportedPlatformType",
}


def modelled() -> Iterator[tuple[str, str, int, bool]]:
    """Yield each error that the models list for a call of the app: call, code, status, may be tried again."""
    sources = "\n".join(path.read_text() for path in ADAPTERS.rglob("*.py"))
    calls = set(re.findall(r'\(\s*"([A-Z]\w+)"', sources))
    assert len(calls) > 40
    session = botocore.session.get_session()
    for service in SERVICES:
        model = session.get_service_model(service)
        for name in sorted(calls & set(model.operation_names)):
            for shape in model.operation_model(name).error_shapes:
                error = shape.metadata.get("error", {})
                code = str(error.get("code", shape.name))
                again = shape.metadata.get("retryable") is not None
                yield f"{service}:{name}", code, int(error.get("httpStatusCode", 400)), again


def error_of(code: str, status: int = 400) -> type[FarshoreError] | None:
    answer = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    exc = ClientError(answer, "Call")  # type: ignore[arg-type]  # the rest of the metadata is left out
    error = translate(exc, operation="Call", resource=None, region=None)
    return type(error) if error else None


@pytest.mark.parametrize(
    "code",
    sorted(
        {
            *vars(ThrottledRetryableChecker)["_THROTTLED_ERROR_CODES"],
            *vars(TransientRetryableChecker)["_TRANSIENT_ERROR_CODES"],
        }
    ),
)
def test_what_the_sdk_tries_again_is_tried_again_later(code: str) -> None:
    error = error_of(code)
    assert error is not None
    assert issubclass(error, Retryable)


def test_an_error_that_its_model_calls_retryable_fails_no_job() -> None:
    again = {(call, code): error_of(code, status) for call, code, status, again in modelled() if again}
    assert again
    assert [at for at, error in again.items() if error is None or not issubclass(error, Retryable)] == []


def test_every_error_of_a_call_was_considered() -> None:
    found = {code: (call, error_of(code, status)) for call, code, status, _ in modelled()}
    assert {code for code, (_, error) in found.items() if error is None} == ANSWERS
    assert {code for code, (_, error) in found.items() if error is Permanent} == WRONG_REQUEST
