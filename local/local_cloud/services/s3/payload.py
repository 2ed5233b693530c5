"""Checks the body of an S3 request against its headers: length, SHA-256, MD5, checksums, trailers.

Sources: https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html,
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html (the aws-chunked encoding),
https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html.
CRC32C and CRC64NVME are checked where the package `awscrt` is installed; in Python alone they would take
seconds. Chunk signatures are not checked; the checksum of a whole multipart object is refused.

moto: stores any body without comparing it with its headers.
"""

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any
from wsgiref.types import WSGIEnvironment

from local_cloud.call import AwsError
from local_cloud.services.iam.sigv4 import UNSIGNED, header

STREAMING = (
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
)
CHECKSUM = "x-amz-checksum-"
ABOUT_CHECKSUMS = ("x-amz-checksum-mode", "x-amz-checksum-type", "x-amz-checksum-algorithm")

Digest = Callable[[bytes], bytes]


def _crt(name: str, length: int) -> Digest | None:
    if find_spec("awscrt") is None:
        return None
    compute: Callable[[bytes], int] = getattr(import_module("awscrt.checksums"), name)
    return lambda data: compute(data).to_bytes(length, "big")


DIGESTS: Mapping[str, Digest | None] = {
    "crc32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "crc32c": _crt("crc32c", 4),
    "crc64nvme": _crt("crc64nvme", 8),
    "sha1": lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),
    "sha256": lambda data: hashlib.sha256(data).digest(),
    "sha512": lambda data: hashlib.sha512(data).digest(),
    "md5": lambda data: hashlib.md5(data, usedforsecurity=False).digest(),
}
LENGTHS = {"crc32": 4, "crc32c": 4, "crc64nvme": 8, "sha1": 20, "sha256": 32, "sha512": 64, "md5": 16}


def check_payload(environ: WSGIEnvironment, *, signed_in_header: bool) -> None:
    """Raise AwsError if the body does not match the headers or trailers."""
    body: bytes = environ["wsgi.input"].getvalue()
    declared = header(environ, "x-amz-content-sha256")
    if declared is None and signed_in_header:
        raise AwsError("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
    trailers: Mapping[str, str] = {}
    if declared in STREAMING:
        body, trailers = decode_chunks(body)
        _check_streamed(environ, body, trailers)
    elif declared is not None and declared != UNSIGNED:
        _check_sha256(declared, body)
    _check_md5(header(environ, "content-md5"), body)
    _check_checksums(environ, trailers, body)


def decode_chunks(body: bytes) -> tuple[bytes, Mapping[str, str]]:
    """Return the content of an aws-chunked body, and its trailers by lower-case name."""
    content, at = bytearray(), 0
    while True:
        line_end = body.find(b"\r\n", at)
        try:
            size = int(body[at:line_end].partition(b";")[0], 16)
        except ValueError as exc:
            raise AwsError("InvalidChunkSizeError", "The chunk size is not valid.") from exc
        at = line_end + 2
        if size == 0:
            break
        content += body[at : at + size]
        if body[at + size : at + size + 2] != b"\r\n":
            raise _incomplete()
        at += size + 2
    lines = [line.partition(b":") for line in body[at:].split(b"\r\n") if line]
    return bytes(content), {name.decode().strip().lower(): value.decode().strip() for name, _, value in lines}


def _check_streamed(environ: WSGIEnvironment, body: bytes, trailers: Mapping[str, str]) -> None:
    length = header(environ, "x-amz-decoded-content-length")
    if length is None:
        raise AwsError("MissingContentLength", "You must provide the Content-Length HTTP header.", 411)
    if length != str(len(body)):
        raise _incomplete()
    announced = {
        name.strip().lower() for name in (header(environ, "x-amz-trailer") or "").split(",") if name.strip()
    }
    if not announced <= trailers.keys():
        raise AwsError(
            "MalformedTrailerError", "The request contained trailing data that was not well-formed."
        )


def _check_sha256(declared: str, body: bytes) -> None:
    if not re.fullmatch("[0-9a-f]{64}", declared):
        why = "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-..., or a valid sha256 value."
        raise AwsError("InvalidArgument", why)
    if hashlib.sha256(body).hexdigest() != declared:
        why = "The provided 'x-amz-content-sha256' header does not match what was computed."
        raise AwsError("XAmzContentSHA256Mismatch", why)


def _check_md5(declared: str | None, body: bytes) -> None:
    if declared is None:
        return
    expected = _decoded(declared, 16)
    if expected is None:
        raise AwsError("InvalidDigest", "The Content-MD5 you specified was invalid.")
    if hashlib.md5(body, usedforsecurity=False).digest() != expected:
        raise AwsError("BadDigest", "The Content-MD5 you specified did not match what we received.")


def _check_checksums(environ: WSGIEnvironment, trailers: Mapping[str, str], body: bytes) -> None:
    sent = checksums_of(environ) | {
        name: value for name, value in trailers.items() if name.startswith(CHECKSUM)
    }
    if len(sent) > 1:
        why = "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        raise AwsError("InvalidRequest", why)
    for name, value in sent.items():
        algorithm = name.removeprefix(CHECKSUM)
        if algorithm not in DIGESTS:
            raise AwsError("NotImplemented", f"The local cloud does not know the checksum {algorithm}.", 501)
        expected = _decoded(value, LENGTHS[algorithm])
        if expected is None:
            raise AwsError("InvalidRequest", f"Value for {name} header is invalid.")
        digest = DIGESTS[algorithm]
        if digest and digest(body) != expected:
            kind = algorithm.upper()
            raise AwsError("BadDigest", f"The {kind} you specified did not match the calculated checksum.")


def checksums_of(environ: WSGIEnvironment) -> dict[str, str]:
    """Return the checksums in the headers, by name."""
    sent: dict[str, Any] = {
        key.removeprefix("HTTP_").replace("_", "-").lower(): value
        for key, value in environ.items()
        if key.startswith("HTTP_X_AMZ_CHECKSUM_")
    }
    return {name: value for name, value in sent.items() if name not in ABOUT_CHECKSUMS}


def _decoded(text: str, length: int) -> bytes | None:
    """Return the bytes in base64 `text`, if there are `length` of them."""
    try:
        value = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    return value if len(value) == length else None


def _incomplete() -> AwsError:
    return AwsError(
        "IncompleteBody",
        "You did not provide the number of bytes specified by the Content-Length HTTP header",
    )
