"""Translates the SDK's exceptions into our own errors: one table for every AWS service.

Invariant: a code says what an error is by the table (or by its form, such as `*.NotFound`). Any other refusal
with a 4xx status is `Permanent` and keeps AWS's code and text: the same call is refused again, and its job
has to say so. What is no answer of AWS's at all passes unchanged: it is a bug to be seen. Nothing here
retries.

Codes: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html,
https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html,
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html,
https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_SendCommand.html#API_SendCommand_Errors,
https://docs.aws.amazon.com/Route53/latest/APIReference/API_ChangeResourceRecordSets.html,
https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_RegisterTargets.html
"""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
)
from botocore.exceptions import ConnectionError as SdkConnectionError

from chalicelib.errors import (
    Conflict,
    Denied,
    FarshoreError,
    IntegrityFailure,
    LimitReached,
    NoRoom,
    NotFound,
    Permanent,
    QuotaReached,
    Retryable,
    SnapshotInUse,
    Throttled,
    Unavailable,
    VaultMissing,
)

_CODES: dict[type[FarshoreError], tuple[str, ...]] = {
    Throttled: (
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "KmsThrottled",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "SnapshotCreationPerVolumeRateExceeded",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    ),
    QuotaReached: (
        "ConcurrentSnapshotLimitExceeded",
        "LimitExceededException",
        "MaxIOPSLimitExceeded",
        "OverLimit",
        "PendingSnapshotLimitExceeded",
        "ResourceContention",  # Auto Scaling: another update of the group is under way
        "ResourceLimitExceeded",
        "SnapshotLimitExceeded",
        "TooManyTargets",
        "VolumeLimitExceeded",
    ),
    Unavailable: (
        "ExpiredToken",  # the next call signs with fresh credentials
        "ExpiredTokenException",
        "IncompleteBody",
        "InsufficientVolumeCapacity",
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "InternalServiceError",
        "OperationAborted",
        "RequestExpired",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "Unavailable",
    ),
    Retryable: (
        "ConditionalRequestConflict",
        "InvalidNetworkInterface.InUse",  # another instance has it, or an attachment that is not listed yet
        "PriorRequestNotComplete",  # Route 53: a change of the zone is under way
        "ReplicatedWriteConflictException",
        "Resource.AlreadyAssociated",
        "TransactionConflictException",
        "TransactionInProgressException",
    ),
    Denied: (
        "AccessDenied",
        "AccessDeniedException",
        "AllAccessDisabled",
        "AuthFailure",
        "Blocked",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "KMSAccessDeniedException",
        "KmsAccessDenied",
        "OptInRequired",
        "SignatureDoesNotMatch",
        "UnauthorizedOperation",
        "UnrecognizedClientException",
    ),
    VaultMissing: ("NoSuchBucket",),
    NotFound: (
        "AWS.SimpleQueueService.NonExistentQueue",
        "InvalidCommandId",
        "InvalidLaunchTemplateId.VersionNotFound",
        "InvalidLaunchTemplateName.NotFoundException",
        "InvocationDoesNotExist",
        "NoSuchHostedZone",
        "NoSuchKey",
        "NoSuchUpload",
        "NoSuchVersion",
        "NotFoundException",  # KMS: this region has no such key
        "QueueDoesNotExist",
        "ResourceNotFoundException",
        "TargetGroupNotFound",
    ),
    SnapshotInUse: ("InvalidSnapshot.InUse",),
    Conflict: (
        "AttachmentLimitExceeded",  # the instance's type takes no more volumes or interfaces
        "Gateway.NotAttached",  # an Elastic IP needs an internet gateway in the instance's VPC
        "IncorrectInstanceState",
        "IncorrectState",
        "InvalidChangeBatch",
        "InvalidIPAddress.InUse",
        "InvalidInstanceId",  # SSM: no agent on that instance can take a command now
        "InvalidObjectState",
        "InvalidPart",
        "InvalidPartOrder",
        "InvalidTarget",
        "OperationNotPermitted",
        "PreconditionFailed",
        "TooManyRegistrationsForTargetId",
        "ValidationError",  # Auto Scaling: there is no such group, hook, or instance that waits
        "VolumeInUse",
    ),
    # https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/troubleshooting-launch.html
    NoRoom: (
        "InsufficientFreeAddressesInSubnet",
        "InsufficientHostCapacity",
        "InsufficientInstanceCapacity",
        "Unsupported",  # the type of instance is not offered in that zone
    ),
    LimitReached: ("InstanceLimitExceeded", "MaxSpotInstanceCountExceeded", "VcpuLimitExceeded"),
    IntegrityFailure: ("BadDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"),
    Permanent: (
        "EntityTooLarge",
        "EntityTooSmall",
        "IdempotentParameterMismatch",
        "InvalidDocument",
        "InvalidInput",
        "InvalidInstanceType",
        "InvalidParameterCombination",
        "InvalidParameterValue",
        "InvalidParameters",
        "InvalidVolume.ZoneMismatch",
        "MissingParameter",
        "MaxDocumentSizeExceeded",
        "PermanentRedirect",  # S3: the bucket is in another region than the settings say
        "UnknownVolumeType",
        "UnsupportedOperation",
        "UnsupportedPlatformType",
        "VPCIdNotSpecified",  # the region has no default VPC, so a launch has to name a subnet
    ),
}
_ERROR_OF = {code: error for error, codes in _CODES.items() for code in codes}
# What the caller has asked about: it reads the answer itself.
_ANSWERS = frozenset({"ConditionalCheckFailedException", "InvalidRange", "TransactionCanceledException"})
# A HEAD has no body, so in S3's answer to one the status is the code.
_ERROR_OF_STATUS: dict[int, type[FarshoreError]] = {403: Denied, 404: NotFound, 412: Conflict, 429: Throttled}


def translate(
    exc: ClientError | BotoCoreError, *, operation: str, resource: str | None, region: str | None
) -> FarshoreError | None:
    """Return our error for an SDK exception; None for what is no refusal."""
    if isinstance(exc, ClientError):
        code = exc.response.get("Error", {}).get("Code", "")
        error = _error_of(code, exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        why = exc.response.get("Error", {}).get("Message") or code
    else:
        code = type(exc).__name__
        # Raised when no complete answer came: the call may or may not have taken effect.
        unanswered = isinstance(exc, (SdkConnectionError, HTTPClientError, IncompleteReadError))
        error = Unavailable if unanswered else None
        why = str(exc)
    if error is None:
        return None
    return error(why, operation=operation, resource=resource, region=region, code=code)


def code_of(exc: ClientError) -> str:
    """Return AWS's error code, for the few callers that must distinguish codes before they are translated."""
    return exc.response.get("Error", {}).get("Code", "")


@contextmanager
def translated_errors(
    operation: str, resource: str | None = None, region: str | None = None
) -> Iterator[None]:
    """Translate what the SDK raises inside the block into our errors, with the SDK's own as the cause.

    Raises:
        FarshoreError: for every refusal of AWS's, and where no answer came; other exceptions pass unchanged.
    """
    try:
        yield
    except (ClientError, BotoCoreError) as exc:
        error = translate(exc, operation=operation, resource=resource, region=region)
        if error is None:
            raise
        raise error from exc


def _error_of(code: str, status: int) -> type[FarshoreError] | None:
    known = _ERROR_OF.get(code)
    if known is not None:
        return known
    if code.endswith(".NotFound"):
        return NotFound
    if status >= 500:
        return Unavailable
    if code == str(status) and status in _ERROR_OF_STATUS:
        return _ERROR_OF_STATUS[status]
    return Permanent if 400 <= status < 500 and code not in _ANSWERS else None
