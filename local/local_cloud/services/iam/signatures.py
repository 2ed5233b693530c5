"""Checks the signature of every request: a known access key, its secret, its session token.

The date of a signature in the header is not checked, since clients outside use the wall clock. A
presigned URL is checked for its expiry on the simulated clock; it allows one method on one path with the
headers it signed, and no other `x-amz-` header. Signature Version 2 and anonymous requests are refused, as
for buckets made today.
Sources: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html,
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html.
"""

import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from wsgiref.types import WSGIEnvironment

from local_cloud.services.iam.refusals import RefusedError, Wrong
from local_cloud.services.iam.sigv4 import (
    ALGORITHM,
    Claim,
    MalformedSignatureError,
    header_claim,
    query_claim,
    query_of,
    signature_of,
)

LONGEST = timedelta(days=7)
AHEAD = timedelta(minutes=15)
INVALID_TOKEN = "The security token included in the request is invalid."


class Signatures:
    """The access keys that are known, and whether a request is signed by one of them."""

    def __init__(
        self, now: Callable[[], datetime], secrets: Mapping[str, str], tokens: Mapping[str, str]
    ) -> None:
        """Know the secrets, and for temporary credentials the session tokens, by access key."""
        self._now = now
        self._secrets = dict(secrets)
        self._tokens = dict(tokens)

    def accept(self, access_key: str, secret: str, token: str) -> None:
        """Know a session's temporary credentials from now on."""
        self._secrets[access_key] = secret
        self._tokens[access_key] = token

    def check(self, environ: WSGIEnvironment) -> Claim:
        """Return who signed a request.

        Raises:
            RefusedError: no known identity signed it, or it was changed after it was signed.
        """
        claim = self._claim(environ)
        if claim.access_key not in self._secrets:
            raise RefusedError(Wrong.UNKNOWN_KEY, unknown(claim.service))
        self._check_token(claim)
        refuse_unsigned_headers(environ, claim)
        if not hmac.compare_digest(
            signature_of(environ, claim, self._secrets[claim.access_key]), claim.signature
        ):
            raise RefusedError(
                Wrong.MISMATCH,
                "The request signature we calculated does not match the signature you provided. Check your "
                "AWS Secret Access Key and signing method. Consult the service documentation for details.",
            )
        return claim

    def _claim(self, environ: WSGIEnvironment) -> Claim:
        authorization, query = environ.get("HTTP_AUTHORIZATION"), query_of(environ)
        if "Signature" in query or (authorization or "").startswith("AWS "):
            raise RefusedError(
                Wrong.OLD_VERSION,
                f"The authorization mechanism you have provided is not supported. Please use {ALGORITHM}.",
            )
        if "X-Amz-Signature" in query:
            try:
                claim = query_claim(query)
                self._check_time(claim, query)
            except MalformedSignatureError as error:
                raise RefusedError(Wrong.MALFORMED_QUERY, str(error)) from error
            return claim
        if authorization is None:
            raise RefusedError(Wrong.MISSING, "Access Denied")
        try:
            return header_claim(environ)
        except MalformedSignatureError as error:
            raise RefusedError(Wrong.MALFORMED, str(error)) from error

    def _check_time(self, claim: Claim, query: Mapping[str, str]) -> None:
        try:
            begins = datetime.strptime(claim.timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            lasts = timedelta(seconds=int(query["X-Amz-Expires"]))
        except (ValueError, KeyError) as exc:
            raise MalformedSignatureError(
                "X-Amz-Date must be in the ISO8601 Long Format, X-Amz-Expires a number"
            ) from exc
        if not timedelta(0) <= lasts <= LONGEST:
            raise MalformedSignatureError(
                "X-Amz-Expires must be less than a week (in seconds) that is 604800"
            )
        now = self._now()
        if now < begins - AHEAD:
            raise RefusedError(Wrong.TIME, "Request is not valid yet")
        if now > begins + lasts:
            raise RefusedError(Wrong.TIME, "Request has expired")

    def _check_token(self, claim: Claim) -> None:
        expected = self._tokens.get(claim.access_key)
        if expected is None:
            return
        if not claim.token:
            raise RefusedError(Wrong.UNKNOWN_KEY, unknown(claim.service))
        if not hmac.compare_digest(claim.token, expected):
            raise RefusedError(Wrong.WRONG_TOKEN, INVALID_TOKEN)


def unknown(service: str) -> str:
    """Return a service's error for an unknown access key."""
    if service == "s3":
        return "The AWS Access Key Id you provided does not exist in our records."
    return INVALID_TOKEN


def refuse_unsigned_headers(environ: WSGIEnvironment, claim: Claim) -> None:
    """Refuse what must be signed and is not: the host, and every `x-amz-` header that was sent."""
    names = {
        key.removeprefix("HTTP_").replace("_", "-").lower()
        for key in environ
        if key.startswith("HTTP_X_AMZ_")
    }
    if unsigned := (names | {"host"}) - set(claim.signed_headers):
        raise RefusedError(
            Wrong.UNSIGNED_HEADER,
            f"There were headers present in the request which were not signed: {sorted(unsigned)[0]}",
        )
