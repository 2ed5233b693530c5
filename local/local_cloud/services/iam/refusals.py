"""How each service refuses a request that is not signed correctly, or that its caller may not make.

S3: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html. EC2:
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html. Services that speak JSON:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html. The others, and SQS,
which keeps the codes of its older protocol:
https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html. API Gateway:
https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html. Denials:
https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html.
"""

import base64
import json
import zlib
from collections.abc import Mapping
from enum import StrEnum

from botocore.exceptions import UnknownServiceError
from moto.core.utils import get_service_model

from local_cloud.call import AwsError
from local_cloud.services.iam.policies import Need


class Wrong(StrEnum):
    """What is wrong with the signature of a request."""

    MISSING = "missing"
    MALFORMED = "malformed"
    MALFORMED_QUERY = "malformed query"
    OLD_VERSION = "old version"
    UNKNOWN_KEY = "unknown key"
    WRONG_TOKEN = "wrong token"
    MISMATCH = "mismatch"
    UNSIGNED_HEADER = "unsigned header"
    TIME = "time"


class RefusedError(Exception):
    """A request that is not signed as it should be."""

    def __init__(self, wrong: Wrong, message: str) -> None:
        self.wrong = wrong
        self.message = message
        super().__init__(message)


Dialect = Mapping[Wrong, tuple[str, int]]
"""Code and status of each refusal."""
S3: Dialect = {
    Wrong.MISSING: ("AccessDenied", 403),
    Wrong.MALFORMED: ("AuthorizationHeaderMalformed", 400),
    Wrong.MALFORMED_QUERY: ("AuthorizationQueryParametersError", 400),
    Wrong.OLD_VERSION: ("InvalidRequest", 400),
    Wrong.UNKNOWN_KEY: ("InvalidAccessKeyId", 403),
    Wrong.WRONG_TOKEN: ("InvalidToken", 400),
    Wrong.MISMATCH: ("SignatureDoesNotMatch", 403),
    Wrong.UNSIGNED_HEADER: ("AccessDenied", 403),
    Wrong.TIME: ("AccessDenied", 403),
}
EC2: Dialect = {
    Wrong.MISSING: ("MissingAuthenticationToken", 403),
    Wrong.MALFORMED: ("IncompleteSignature", 400),
    Wrong.MALFORMED_QUERY: ("IncompleteSignature", 400),
    Wrong.OLD_VERSION: ("IncompleteSignature", 400),
    Wrong.UNKNOWN_KEY: ("AuthFailure", 401),
    Wrong.WRONG_TOKEN: ("AuthFailure", 401),
    Wrong.MISMATCH: ("AuthFailure", 401),
    Wrong.UNSIGNED_HEADER: ("AuthFailure", 401),
    Wrong.TIME: ("RequestExpired", 400),
}
JSON: Dialect = {
    Wrong.MISSING: ("MissingAuthenticationTokenException", 400),
    Wrong.MALFORMED: ("IncompleteSignatureException", 400),
    Wrong.MALFORMED_QUERY: ("IncompleteSignatureException", 400),
    Wrong.OLD_VERSION: ("IncompleteSignatureException", 400),
    Wrong.UNKNOWN_KEY: ("UnrecognizedClientException", 400),
    Wrong.WRONG_TOKEN: ("UnrecognizedClientException", 400),
    Wrong.MISMATCH: ("InvalidSignatureException", 400),
    Wrong.UNSIGNED_HEADER: ("InvalidSignatureException", 400),
    Wrong.TIME: ("InvalidSignatureException", 400),
}
REST_JSON: Dialect = {wrong: (code, 403) for wrong, (code, _) in JSON.items()}
QUERY: Dialect = {
    Wrong.MISSING: ("MissingAuthenticationToken", 403),
    Wrong.MALFORMED: ("IncompleteSignature", 400),
    Wrong.MALFORMED_QUERY: ("IncompleteSignature", 400),
    Wrong.OLD_VERSION: ("IncompleteSignature", 400),
    Wrong.UNKNOWN_KEY: ("InvalidClientTokenId", 403),
    Wrong.WRONG_TOKEN: ("InvalidClientTokenId", 403),
    Wrong.MISMATCH: ("SignatureDoesNotMatch", 403),
    Wrong.UNSIGNED_HEADER: ("SignatureDoesNotMatch", 403),
    Wrong.TIME: ("SignatureDoesNotMatch", 403),
}
BY_SERVICE: Mapping[str, Dialect] = {"s3": S3, "ec2": EC2, "sqs": QUERY}
BY_PROTOCOL: Mapping[str, Dialect] = {"json": JSON, "rest-json": REST_JSON}
EC2_MESSAGE = "AWS was not able to validate the provided access credentials"


def in_words_of(service: str, refused: RefusedError) -> AwsError:
    """Return the error with which a service (by botocore's name) answers."""
    dialect = BY_SERVICE.get(service) or BY_PROTOCOL.get(protocol_of(service), QUERY)
    code, status = dialect[refused.wrong]
    return AwsError(code, EC2_MESSAGE if code == "AuthFailure" else refused.message, status)


def denied(service: str, why: str, need: Need) -> AwsError:
    """Return the error with which a service denies a call that is signed correctly."""
    if service == "ec2":
        encoded = _encoded({"action": need.action, "resource": need.resource, "context": dict(need.context)})
        return AwsError(
            "UnauthorizedOperation",
            f"You are not authorized to perform this operation. {why}. "
            f"Encoded authorization failure message: {encoded}",
            403,
        )
    if service not in BY_SERVICE and (protocol := protocol_of(service)) in BY_PROTOCOL:
        return AwsError("AccessDeniedException", why, 400 if protocol == "json" else 403)
    return AwsError("AccessDenied", why, 403)


def _encoded(details: Mapping[str, object]) -> str:
    """Return details as one long word, as EC2 does; AWS's can be read by sts:DecodeAuthorizationMessage only.

    https://docs.aws.amazon.com/STS/latest/APIReference/API_DecodeAuthorizationMessage.html
    """
    return base64.urlsafe_b64encode(zlib.compress(json.dumps(details, sort_keys=True).encode())).decode()


def protocol_of(service: str) -> str:
    """Return the protocol of a service, or nothing where botocore does not know the service."""
    try:
        return str(get_service_model(service).metadata["protocol"])
    except UnknownServiceError:
        return ""
