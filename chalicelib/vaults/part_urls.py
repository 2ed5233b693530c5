"""Presigned URLs for the parts of one upload, in the short form that the runner on an instance is given.

URLs that are signed at one instant for the parts of one upload differ in `partNumber` and `X-Amz-Signature`
alone. So an instance gets one base and a signature per part: 70 KB for 1,000 parts instead of 2 MB. The SDK
signs the first; the others are signed here for that same instant.

Invariant: what `PartUrls.url` puts together holds just the parameters of a URL that the SDK would sign at
that instant. SigV4 sorts the parameters before it signs them, so their order in a URL means nothing.
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
"""

import hashlib
import hmac
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"
_NUMBER = "partNumber"
_SIGNATURE = "X-Amz-Signature"


@dataclass(frozen=True, slots=True)
class PartUrls:
    """URLs that take one PUT each, of the parts from number `first` on; `base` ends where
    `&partNumber=...&X-Amz-Signature=...` is put on."""

    base: str
    first: int
    signatures: tuple[str, ...]

    def url(self, number: int) -> str:
        """Put the URL of a part (counted from 1) together."""
        return f"{self.base}&{_NUMBER}={number}&{_SIGNATURE}={self.signatures[number - self.first]}"


def sign_parts(first_url: str, secret_key: str, numbers: range) -> PartUrls:
    """Sign the URLs of these parts, given the one of part 1 as the SDK signed it with `secret_key`.

    Raises:
        ValueError: that URL is not signed with SigV4, or was not signed with this key.
    """
    address = urlsplit(first_url)
    query = dict(parse_qsl(address.query, keep_blank_values=True))
    if query.get("X-Amz-Algorithm") != ALGORITHM or query.pop(_NUMBER, None) != "1":
        raise ValueError(
            "not the SigV4 URL of part 1; the S3 client must be made with signature_version='s3v4'"
        )
    first_signature = query.pop(_SIGNATURE)
    key = _signing_key(secret_key, query["X-Amz-Credential"])

    def sign(number: int) -> str:
        return _signature(key, address.netloc, address.path, {**query, _NUMBER: str(number)})

    if sign(1) != first_signature:
        raise ValueError("the credentials changed between two signatures, or S3's way of signing did")
    base = address._replace(query=urlencode(query, quote_via=quote, safe="-_.~")).geturl()
    return PartUrls(base, numbers.start, tuple(map(sign, numbers)))


def _signing_key(secret_key: str, credential: str) -> bytes:
    _, date, region, service, terminator = credential.rsplit("/", 4)
    key = f"AWS4{secret_key}".encode()
    for scope in (date, region, service, terminator):
        key = hmac.digest(key, scope.encode(), hashlib.sha256)
    return key


def _signature(key: bytes, host: str, path: str, query: dict[str, str]) -> str:
    canonical_query = urlencode(sorted(query.items()), quote_via=quote, safe="-_.~")
    canonical = f"PUT\n{path}\n{canonical_query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
    scope = query["X-Amz-Credential"].split("/", 1)[1]
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = f"{ALGORITHM}\n{query['X-Amz-Date']}\n{scope}\n{digest}"
    return hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
