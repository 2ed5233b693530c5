"""Presigned URLs for the parts of one upload, in the short form that the runner on an instance gets.

URLs that are signed for the parts of one upload differ in three parameters: `partNumber`, `X-Amz-Date` and
`X-Amz-Signature`. So an instance gets one base, and a date and a signature per part: 23 KB for 256 parts
instead of 500. The SDK signs them all.

Invariant: a URL from `PartUrls.url` has exactly the parameters of the URL that the SDK signed. SigV4 sorts
the parameters before it signs them, so their order in a URL does not matter.
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
"""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from chalicelib.errors import Unavailable


@dataclass(frozen=True, slots=True)
class PartUrls:
    """URLs that accept one PUT each, for the parts from number `first` on: `base`, and a date and a signature
    for each."""

    base: str
    first: int
    signatures: tuple[tuple[str, str], ...]

    def url(self, number: int) -> str:
        """Return the URL of a part (counted from 1)."""
        date, signature = self.signatures[number - self.first]
        return f"{self.base}&partNumber={number}&X-Amz-Date={date}&X-Amz-Signature={signature}"


def shorten(urls: Sequence[str], first: int) -> PartUrls:
    """Return the short form of the URLs of the parts from number `first` on, as the SDK signed them.

    Raises:
        Unavailable: the credentials changed between two URLs; the next try has only one set of them.
    """
    bases, signatures = set[str](), list[tuple[str, str]]()
    for number, url in enumerate(urls, start=first):
        address = urlsplit(url)
        query = dict(parse_qsl(address.query, keep_blank_values=True))
        try:
            signed_number = query.pop("partNumber")
            signatures.append((query.pop("X-Amz-Date"), query.pop("X-Amz-Signature")))
        except KeyError as exc:
            raise ValueError(
                f"not a SigV4 URL of a part, it has no {exc}; make the client with signature_version='s3v4'"
            ) from exc
        if signed_number != str(number):
            raise ValueError(f"the URL of part {signed_number} stands where that of part {number} should")
        bases.add(address._replace(query=urlencode(query, quote_via=quote, safe="-_.~")).geturl())
    if len(bases) != 1:
        raise Unavailable(
            "the credentials changed while URLs were signed; sign them again", operation="presigning"
        )
    return PartUrls(bases.pop(), first, tuple(signatures))
