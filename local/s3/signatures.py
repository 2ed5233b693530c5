"""Who signed an S3 request, and whether: AWS Signature Version 4, in the header or in the query (presigned).

A presigned URL is checked for its signature and, on the simulated clock, for its expiry: it allows one method
on one path with the headers it signed, and no other `x-amz-` header. What is signed in the header is checked
where the secret of its access key is known; its date is not, since clients outside live on the wall clock.
Signature Version 2 and anonymous requests are refused, as for buckets made today.
Sources: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html,
https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html,
https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html (codes and statuses).
"""

import hmac
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote
from wsgiref.types import WSGIEnvironment

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local.call import AwsError, Call
from local.clock import Clock

ALGORITHM = "AWS4-HMAC-SHA256"
LONGEST = timedelta(days=7)
AUTHORIZATION = re.compile(
    rf"{ALGORITHM} Credential=(?P<credential>[^,]+),\s*SignedHeaders=(?P<headers>[^,]+),"
    r"\s*Signature=(?P<signature>\w+)"
)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request says of its own signature."""

    access_key: str
    date: str
    """Of the credential scope, like 20260301."""
    timestamp: str
    signed_headers: Collection[str]
    signature: str
    presigned: bool


class Signatures:
    """Checks signatures against the secrets known here."""

    def __init__(self, clock: Clock, secrets: Mapping[str, str], tokens: Mapping[str, str]) -> None:
        """Know the secrets, and for temporary credentials the session tokens, by access key."""
        self._clock = clock
        self._secrets = secrets
        self._tokens = tokens

    def check(self, call: Call) -> None:
        """Raise AwsError unless the request was signed as S3 demands."""
        query = _query(call.environ)
        if "Signature" in query or call.environ.get("HTTP_AUTHORIZATION", "").startswith("AWS "):
            raise AwsError(
                "InvalidRequest",
                f"The authorization mechanism you have provided is not supported. Please use {ALGORITHM}.",
            )
        if "X-Amz-Signature" in query:
            self._check_presigned(call, query)
        elif "HTTP_AUTHORIZATION" in call.environ:
            self._check_header(call)
        else:
            raise AwsError("AccessDenied", "Access Denied", 403)

    def _check_presigned(self, call: Call, query: Mapping[str, str]) -> None:
        claim = _presigned_claim(query)
        self._check_time(claim, query)
        if claim.access_key not in self._secrets:
            raise _unknown_key()
        self._check_token(claim, query.get("X-Amz-Security-Token"))
        self._check_signature(call, claim)

    def _check_header(self, call: Call) -> None:
        claim = _header_claim(call.environ)
        if claim.access_key in self._secrets:
            self._check_token(claim, call.environ.get("HTTP_X_AMZ_SECURITY_TOKEN"))
            self._check_signature(call, claim)

    def _check_time(self, claim: Claim, query: Mapping[str, str]) -> None:
        try:
            begins = datetime.strptime(claim.timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            lasts = timedelta(seconds=int(query["X-Amz-Expires"]))
        except (ValueError, KeyError) as exc:
            raise _bad_query("X-Amz-Date must be in the ISO8601 Long Format, X-Amz-Expires a number") from exc
        if not timedelta(0) <= lasts <= LONGEST:
            raise _bad_query("X-Amz-Expires must be less than a week (in seconds) that is 604800")
        now = self._clock.now()
        if now < begins - timedelta(minutes=15):
            raise AwsError("AccessDenied", "Request is not valid yet", 403)
        if now > begins + lasts:
            raise AwsError("AccessDenied", "Request has expired", 403)

    def _check_token(self, claim: Claim, token: str | None) -> None:
        expected = self._tokens.get(claim.access_key)
        if expected is None:
            return
        if not token:
            raise _unknown_key()
        if token != expected:
            raise AwsError("InvalidToken", "The provided token is malformed or otherwise invalid.")

    def _check_signature(self, call: Call, claim: Claim) -> None:
        _refuse_unsigned_headers(call.environ, claim.signed_headers)
        if claim.date != claim.timestamp[:8]:
            raise _bad_query("Invalid credential date. This date is not the same as X-Amz-Date.")
        expected = _sign(call, claim, self._secrets[claim.access_key])
        if not hmac.compare_digest(expected, claim.signature):
            raise AwsError(
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided. "
                "Check your key and signing method.",
                403,
            )


class _HeaderAuth(S3SigV4Auth):
    """Signs just the headers it is given."""

    def headers_to_sign(self, request):  # type: ignore[no-untyped-def]  # as in botocore, which has no hints here
        return request.headers


class _QueryAuth(S3SigV4QueryAuth):
    """Signs just the headers it is given."""

    def headers_to_sign(self, request):  # type: ignore[no-untyped-def]  # as in botocore, which has no hints here
        return request.headers


def _sign(call: Call, claim: Claim, secret: str) -> str:
    """Return the signature the request should bear."""
    path, _, query = call.environ["RAW_URI"].partition("?")
    pairs = [pair for pair in query.split("&") if pair and not pair.startswith("X-Amz-Signature=")]
    url = f"http://{call.environ.get('HTTP_HOST', '')}{path}?{'&'.join(pairs)}"
    headers = {name: header(call.environ, name) or "" for name in claim.signed_headers}
    request = AWSRequest(method=call.environ["REQUEST_METHOD"], url=url, headers=headers)
    request.context["timestamp"] = claim.timestamp
    kind = _QueryAuth if claim.presigned else _HeaderAuth
    auth = kind(Credentials(claim.access_key, secret), "s3", call.region)
    signature: str = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    return signature


def header(environ: WSGIEnvironment, name: str) -> str | None:
    """Return a header of the request, or None."""
    key = name.upper().replace("-", "_")
    value: str | None = environ.get(key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}")
    return value


def _query(environ: WSGIEnvironment) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in environ["QUERY_STRING"].split("&"))
    return {unquote(name): unquote(value) for name, _, value in pairs}


def _presigned_claim(query: Mapping[str, str]) -> Claim:
    if query.get("X-Amz-Algorithm") != ALGORITHM:
        raise _bad_query(f"X-Amz-Algorithm only supports {ALGORITHM}")
    try:
        access_key, date = query["X-Amz-Credential"].split("/")[:2]
        names = query["X-Amz-SignedHeaders"].split(";")
        return Claim(access_key, date, query["X-Amz-Date"], names, query["X-Amz-Signature"], presigned=True)
    except (KeyError, ValueError) as exc:
        raise _bad_query(
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, "
            "X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
        ) from exc


def _header_claim(environ: WSGIEnvironment) -> Claim:
    found = AUTHORIZATION.fullmatch(environ["HTTP_AUTHORIZATION"].strip())
    timestamp = environ.get("HTTP_X_AMZ_DATE")
    if not found or not timestamp:
        raise AwsError("AuthorizationHeaderMalformed", "The authorization header you provided is invalid.")
    access_key, date = found["credential"].split("/")[:2]
    return Claim(
        access_key, date, timestamp, found["headers"].split(";"), found["signature"], presigned=False
    )


def _refuse_unsigned_headers(environ: WSGIEnvironment, signed: Collection[str]) -> None:
    """Refuse what must be signed and is not: the host, and every `x-amz-` header that was sent."""
    names = {
        key.removeprefix("HTTP_").replace("_", "-").lower()
        for key in environ
        if key.startswith("HTTP_X_AMZ_")
    }
    if unsigned := (names | {"host"}) - set(signed):
        raise AwsError(
            "AccessDenied",
            f"There were headers present in the request which were not signed: {sorted(unsigned)[0]}",
            403,
        )


def _unknown_key() -> AwsError:
    return AwsError(
        "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.", 403
    )


def _bad_query(why: str) -> AwsError:
    return AwsError("AuthorizationQueryParametersError", why)
