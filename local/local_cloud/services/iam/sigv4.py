"""AWS Signature Version 4: parses the signature of a request and computes the right one. Pure.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html. S3 alone does not
normalise the path, and takes the hash of the body from a header, which `s3/payload.py` compares with the
body (https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html).
"""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote, unquote_to_bytes
from wsgiref.types import WSGIEnvironment

from botocore.utils import normalize_url_path

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
AUTHORIZATION = re.compile(
    rf"{ALGORITHM} Credential=(?P<credential>[^,]+),\s*SignedHeaders=(?P<headers>[^,]+),"
    r"\s*Signature=(?P<signature>\w+)"
)


class MalformedSignatureError(ValueError):
    """The request's signature is malformed."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The signature of a request, and its parameters."""

    access_key: str
    date: str
    """Of the credential scope, like 20260301."""
    region: str
    service: str
    timestamp: str
    signed_headers: Sequence[str]
    signature: str
    token: str | None
    """The session token of temporary credentials."""
    presigned: bool


def header(environ: WSGIEnvironment, name: str) -> str | None:
    """Return a header of the request, or None."""
    key = name.upper().replace("-", "_")
    value: str | None = environ.get(key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}")
    return value


def query_of(environ: WSGIEnvironment) -> dict[str, str]:
    """Return the parameters of the query string."""
    pairs = (pair.partition("=") for pair in environ["QUERY_STRING"].split("&"))
    return {unquote(name): unquote(value) for name, _, value in pairs}


def header_claim(environ: WSGIEnvironment) -> Claim:
    """Read the `Authorization` header.

    Raises:
        MalformedSignatureError: it is not one of Signature Version 4, or the request has no date.
    """
    found = AUTHORIZATION.fullmatch(environ["HTTP_AUTHORIZATION"].strip())
    timestamp = environ.get("HTTP_X_AMZ_DATE")
    if not found or not timestamp:
        raise MalformedSignatureError("The authorization header you provided is invalid.")
    return _claim(
        credential=found["credential"],
        timestamp=timestamp,
        headers=found["headers"],
        signature=found["signature"],
        token=environ.get("HTTP_X_AMZ_SECURITY_TOKEN"),
        presigned=False,
    )


def query_claim(query: Mapping[str, str]) -> Claim:
    """Read the query of a presigned URL.

    Raises:
        MalformedSignatureError: a parameter is missing or makes no sense.
    """
    if query.get("X-Amz-Algorithm") != ALGORITHM:
        raise MalformedSignatureError(f"X-Amz-Algorithm only supports {ALGORITHM}")
    try:
        return _claim(
            credential=query["X-Amz-Credential"],
            timestamp=query["X-Amz-Date"],
            headers=query["X-Amz-SignedHeaders"],
            signature=query["X-Amz-Signature"],
            token=query.get("X-Amz-Security-Token"),
            presigned=True,
        )
    except KeyError as error:
        raise MalformedSignatureError(
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, "
            "X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
        ) from error


def _claim(
    *, credential: str, timestamp: str, headers: str, signature: str, token: str | None, presigned: bool
) -> Claim:
    parts = credential.split("/")
    if len(parts) != 5 or parts[4] != "aws4_request":
        raise MalformedSignatureError("The credential is not KEY/DATE/REGION/SERVICE/aws4_request.")
    access_key, date, region, service, _ = parts
    if not timestamp.startswith(date):
        raise MalformedSignatureError("Invalid credential date. This date is not the same as X-Amz-Date.")
    return Claim(
        access_key, date, region, service, timestamp, headers.split(";"), signature, token, presigned
    )


def signature_of(environ: WSGIEnvironment, claim: Claim, secret: str) -> str:
    """Return the signature that a request has to bear."""
    scope = f"{claim.date}/{claim.region}/{claim.service}/aws4_request"
    canonical = hashlib.sha256(canonical_request(environ, claim).encode()).hexdigest()
    text = f"{ALGORITHM}\n{claim.timestamp}\n{scope}\n{canonical}"
    key = signing_key(secret, claim.date, claim.region, claim.service)
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


@lru_cache(1024)
def signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    """Derive the key that signs a day's requests to a service in a region."""
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def canonical_request(environ: WSGIEnvironment, claim: Claim) -> str:
    """Return a request in the one form that both sides sign."""
    path, _, query = environ["RAW_URI"].partition("?")
    names = sorted(claim.signed_headers)
    values = (" ".join((header(environ, name) or "").split()) for name in names)
    return "\n".join(
        (
            environ["REQUEST_METHOD"],
            canonical_path(path, claim.service),
            canonical_query(query),
            *(f"{name}:{value}" for name, value in zip(names, values, strict=True)),
            "",
            ";".join(names),
            payload_hash(environ, claim),
        )
    )


def canonical_path(path: str, service: str) -> str:
    """Return the path of a request, encoded once for S3 and twice for all others."""
    if service == "s3":
        return quote(unquote_to_bytes(path), safe="/~")
    return quote(normalize_url_path(path), safe="/~")


def canonical_query(query: str) -> str:
    """Return the parameters in order, without the signature itself."""
    if not query:
        return ""
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    encoded = ((encode(name), encode(value)) for name, _, value in pairs if name != "X-Amz-Signature")
    return "&".join(f"{name}={value}" for name, value in sorted(encoded))


def encode(text: str) -> str:
    """Return a part of a query, percent-encoded as AWS does it, however it was encoded before."""
    return quote(unquote_to_bytes(text), safe="~")


def payload_hash(environ: WSGIEnvironment, claim: Claim) -> str:
    """Return what is signed of the body."""
    if claim.service == "s3":
        given = environ.get("HTTP_X_AMZ_CONTENT_SHA256")
        return given or UNSIGNED
    return hashlib.sha256(environ["wsgi.input"].getvalue()).hexdigest()
