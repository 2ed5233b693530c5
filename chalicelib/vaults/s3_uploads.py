"""Multipart uploads to one S3 bucket: begun, found again after a crash, filled, finished once.

Parts come from an instance (presigned URLs), from this process (`put_part`) or from another bucket
(`copy_part`). It does not retry and decides nothing: jobs decide which upload to adopt and when to finish it.
Invariant: a method that has returned has done everything, and it can be repeated safely after a crash.

The client must be made for the bucket's region and sign with SigV4 (`signature_version="s3v4"`).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from botocore.exceptions import FlexibleChecksumError

from chalicelib.aws.errors import translated_errors
from chalicelib.errors import Conflict, IntegrityFailure, NotFound, VaultMissing
from chalicelib.vaults.part_urls import PartUrls, shorten
from chalicelib.vaults.vault import Upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef, CopySourceTypeDef


@dataclass(frozen=True, slots=True)
class S3Object:
    """An object as S3 describes it. The ETag identifies these bytes, but is not a hash of them."""

    key: str
    size_bytes: int
    etag: str


@dataclass(frozen=True, slots=True)
class UploadedPart:
    """A part that S3 has of an upload that is not finished."""

    number: int
    size_bytes: int
    etag: str


class S3Uploads:
    """The uploads of one bucket; `kms_key` encrypts what is written (default: the bucket's own setting).

    `unretried` is a client with `retries=False`: CreateMultipartUpload has no idempotency token, and an
    upload that was begun twice would stay open. `own` are tags of every file that is uploaded.
    """

    def __init__(
        self,
        name: str,
        client: "S3Client",
        bucket: str,
        region: str,
        kms_key: str | None = None,
        *,
        unretried: "S3Client | None" = None,
        own: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.name = name
        self.bucket = bucket
        self.region = region
        self.kms_key = kms_key
        self._client = client
        self._unretried = unretried or client
        self._own = own
        self._encryption: dict[str, Any] = (
            {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key, "BucketKeyEnabled": True}
            if kms_key
            else {}
        )

    def start_upload(self, key: str, tags: Mapping[str, str]) -> str:
        """Begin an upload and return its id; the finished object will have `tags` and the vault's own."""
        all_tags = {**tags, **self._own}
        tagging = urlencode({tag: as_tag_value(value) for tag, value in all_tags.items()})
        with self._calling("CreateMultipartUpload", key):
            answer = self._unretried.create_multipart_upload(
                Bucket=self.bucket, Key=key, Tagging=tagging, **self._encryption
            )
        return answer["UploadId"]

    def find_upload(self, key: str) -> str | None:
        """Return the oldest unfinished upload of `key`, which is the one to adopt; None if there is none."""
        pages = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=key)
        with self._calling("ListMultipartUploads", key):
            uploads = [
                (upload["Initiated"], upload["UploadId"])
                for page in pages
                for upload in page.get("Uploads", ())
                if upload["Key"] == key
            ]
        return min(uploads)[1] if uploads else None

    def uploads_after(self, marker: tuple[str, str] | None, size: int) -> "tuple[tuple[Upload, ...], bool]":
        """Return the next unfinished uploads of the bucket after `marker` (key and upload id), and whether
        more follow."""
        begin: Any = {"KeyMarker": marker[0], "UploadIdMarker": marker[1]} if marker else {}
        with self._calling("ListMultipartUploads", ""):
            page = self._client.list_multipart_uploads(Bucket=self.bucket, MaxUploads=size, **begin)
        uploads = (Upload(each["Key"], each["UploadId"]) for each in page.get("Uploads", ()))
        return tuple(uploads), bool(page.get("IsTruncated"))

    def uploaded_parts(self, key: str, upload_id: str) -> tuple[UploadedPart, ...]:
        """Return the parts that S3 has, by number.

        Raises:
            NotFound: there is no such upload: it was finished, aborted or never begun.
        """
        pages = self._client.get_paginator("list_parts").paginate(
            Bucket=self.bucket, Key=key, UploadId=upload_id
        )
        with self._calling("ListParts", key):
            parts = [
                UploadedPart(part["PartNumber"], part["Size"], part["ETag"])
                for page in pages
                for part in page.get("Parts", ())
            ]
        return tuple(sorted(parts, key=lambda part: part.number))

    def put_part(self, key: str, upload_id: str, number: int, data: bytes) -> UploadedPart:
        """Upload one part, replacing an earlier one of that number; all but the last have at least 5 MiB."""
        with self._calling("UploadPart", key):
            answer = self._client.upload_part(
                Bucket=self.bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=data
            )
        return UploadedPart(number, len(data), answer["ETag"])

    def copy_part(
        self, source: "CopySource", key: str, upload_id: str, number: int, span: tuple[int, int]
    ) -> UploadedPart:
        """Copy `span` (offset and length in bytes) of an object into one part, inside S3.

        Raises:
            Conflict: the source is no longer the object to be copied.
        """
        start, length = span
        with source.pinned(), self._calling("UploadPartCopy", key):
            answer = self._client.upload_part_copy(
                Bucket=self.bucket,
                Key=key,
                UploadId=upload_id,
                PartNumber=number,
                CopySource=source.location,
                CopySourceIfMatch=source.etag,
                CopySourceRange=f"bytes={start}-{start + length - 1}",
            )
        return UploadedPart(number, length, answer["CopyPartResult"]["ETag"])

    def finish_upload(
        self, key: str, upload_id: str, parts: Sequence[UploadedPart], *, if_absent: bool = True
    ) -> S3Object:
        """Make the object from exactly these parts; with `if_absent`, only if no object has that key.

        Raises:
            Conflict: an object has that key already: this upload's, if it was finished before a crash.
            NotFound: the upload no longer exists.
        """
        completed: list[CompletedPartTypeDef] = [
            {"PartNumber": part.number, "ETag": part.etag} for part in parts
        ]
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if if_absent else {}
        with self._calling("CompleteMultipartUpload", key):
            answer = self._client.complete_multipart_upload(
                Bucket=self.bucket,
                Key=key,
                UploadId=upload_id,
                MultipartUpload={"Parts": completed},
                **condition,
            )
        return S3Object(key, sum(part.size_bytes for part in parts), answer["ETag"])

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Abort an upload and drop its parts; it succeeds if the upload is gone already."""
        try:
            with self._calling("AbortMultipartUpload", key):
                self._client.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload_id)
        except NotFound:
            return

    def presign_parts(self, key: str, upload_id: str, numbers: range, expires: timedelta) -> PartUrls:
        """Return presigned PUTs of these parts; they expire with the signing credentials at the latest."""
        return shorten([self.presign_part(key, upload_id, each, expires) for each in numbers], numbers.start)

    def presign_part(self, key: str, upload_id: str, number: int, expires: timedelta) -> str:
        """Return a presigned PUT of one part."""
        part = {"Bucket": self.bucket, "Key": key, "UploadId": upload_id, "PartNumber": number}
        with self._calling("presigning UploadPart", key):
            return self._client.generate_presigned_url(
                "upload_part", Params=part, ExpiresIn=int(expires.total_seconds())
            )

    @contextmanager
    def _calling(self, operation: str, key: str) -> Iterator[None]:
        resource = self._named(key)
        try:
            with translated_errors(operation, resource, self.region):
                yield
        except VaultMissing as exc:
            raise VaultMissing(
                f"vault {self.name} has no bucket {self.bucket}",
                operation=operation,
                resource=resource,
                region=self.region,
                code=exc.code,
            ) from exc
        except FlexibleChecksumError as exc:
            raise IntegrityFailure(
                str(exc), operation=operation, resource=resource, region=self.region
            ) from exc

    def _named(self, key: str) -> str:
        return f"{self.name}:{key}"


def as_tag_value(text: str) -> str:
    """Return a text as S3 accepts it for a tag's value; EC2, where names come from, allows more.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html
    """
    return re.sub(r"[^\w .:/=+@-]", "_", text)[:256]


@dataclass(frozen=True, slots=True)
class CopySource:
    """An object to copy from, pinned by its ETag."""

    vault: str
    bucket: str
    key: str
    etag: str

    @contextmanager
    def pinned(self) -> Iterator[None]:
        """Translate a failed precondition inside the block: the object was replaced."""
        try:
            yield
        except Conflict as exc:
            if exc.code != "PreconditionFailed":
                raise
            where = f"{self.vault}:{self.key}"
            why = f"{where} is no longer the object that was backed up, whose ETag was {self.etag}"
            raise Conflict(
                why, operation=exc.operation, resource=exc.resource, region=exc.region, code=exc.code
            ) from exc

    @property
    def location(self) -> "CopySourceTypeDef":
        """Return the source in the form that the SDK takes."""
        return {"Bucket": self.bucket, "Key": self.key}
