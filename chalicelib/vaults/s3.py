"""A vault in an S3 bucket: the methods of `Vault`, copies inside S3, and the uploads of `s3_uploads`.

It does not retry. Invariant: a method that has returned has done everything, and it can be repeated safely
after a crash.
"""

import base64
import hashlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.aws.errors import code_of
from chalicelib.errors import IntegrityFailure, NotFound, VaultMissing
from chalicelib.vaults.s3_uploads import CopySource, S3Object, S3Uploads, UploadedPart
from chalicelib.vaults.vault import StoredObject

__all__ = ["CopySource", "S3Object", "S3Vault", "UploadedPart"]


class S3Vault(S3Uploads):
    """One bucket, as a `Vault`."""

    @property
    def uploads(self) -> S3Uploads:
        """Its own unfinished uploads."""
        return self

    def put(self, key: str, data: bytes) -> None:
        """Store the whole of `data`; S3 checks its SHA-256 before it stores it."""
        digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
        with self._calling("PutObject", key):
            self._client.put_object(
                Bucket=self.bucket, Key=key, Body=data, ChecksumSHA256=digest, **self._encryption
            )

    def put_over(self, key: str, data: bytes, etag: str | None) -> None:
        """Replace the object that has this `etag` with `data`, or store a new one if `etag` is None.

        Raises:
            Conflict: the object has another ETag, or one is there already.
        """
        digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
        condition: dict[str, Any] = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
        with self._calling("PutObject", key):
            self._client.put_object(
                Bucket=self.bucket, Key=key, Body=data, ChecksumSHA256=digest, **condition, **self._encryption
            )

    def get(self, key: str) -> bytes:
        """Return a whole object."""
        with self._calling("GetObject", key):
            return self._client.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def read(self, key: str, start: int, length: int, *, etag: str | None = None) -> bytes:
        """Return exactly `length` bytes from offset `start`; with an `etag`, only of the object that has it.

        Raises:
            Conflict: the object has another ETag.
        """
        with self.copy_source(key, etag or "").pinned(), self._calling("GetObject", key):
            data = self._read_up_to(key, start, length, {"IfMatch": etag} if etag else {})
        if len(data) != length:
            raise IntegrityFailure(
                f"it ends before byte {start + length}",
                operation="GetObject",
                resource=self._named(key),
                region=self.region,
            )
        return data

    def size(self, key: str) -> int | None:
        """Return an object's size in bytes; None if there is no such object."""
        found = self.head(key)
        return found.size_bytes if found else None

    def head(self, key: str) -> S3Object | None:
        """Return the facts about an object; None if there is none. A missing bucket raises."""
        try:
            with self._calling("HeadObject", key):
                answer = self._client.head_object(Bucket=self.bucket, Key=key)
        except NotFound:
            self._require_bucket()
            return None
        return S3Object(key, answer["ContentLength"], answer["ETag"])

    def list(self, prefix: str, after: str = "") -> Iterator[StoredObject]:
        """Yield every object whose key starts with `prefix` and sorts after `after`, in the order of keys."""
        start: Any = {"StartAfter": after} if after else {}
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=prefix, **start
        )
        with self._calling("ListObjectsV2", prefix):
            for page in pages:
                for entry in page.get("Contents", ()):
                    yield StoredObject(entry["Key"], entry["Size"])

    def delete(self, key: str) -> None:
        """Delete an object; a versioned bucket keeps old versions by the bucket's own rules."""
        with self._calling("DeleteObject", key):
            self._client.delete_object(Bucket=self.bucket, Key=key)

    def copy_from(self, source: "S3Vault", source_key: str, key: str, etag: str) -> S3Object:
        """Copy an object from another vault, inside S3, with its tags.

        S3 takes 5 GB at most: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html

        Raises:
            Conflict: the source has another ETag.
        """
        pinned = source.copy_source(source_key, etag)
        with pinned.pinned(), self._calling("CopyObject", key):
            self._client.copy_object(
                Bucket=self.bucket,
                Key=key,
                CopySource=pinned.location,
                CopySourceIfMatch=pinned.etag,
                **self._encryption,
            )
        made = self.head(key)
        if made is None:
            raise NotFound(
                "the copy that was just made is not there", operation="CopyObject", resource=self._named(key)
            )
        return made

    def copy_source(self, key: str, etag: str) -> CopySource:
        """Return an object of this vault as a source for `copy_part` of another vault."""
        return CopySource(self.name, self.bucket, key, etag)

    def presign_get(self, key: str, expires: timedelta) -> str:
        """Return a presigned GET of an object; it expires with the signing credentials at the latest."""
        with self._calling("presigning GetObject", key):
            return self._client.generate_presigned_url(
                "get_object",
                Params={"Bucket": self.bucket, "Key": key},
                ExpiresIn=int(expires.total_seconds()),
            )

    def presign_put(self, key: str, expires: timedelta, *, content_md5: str | None = None) -> str:
        """Return a presigned PUT of an object.

        With `content_md5` (base64) it accepts only those bytes, and the sender must set the header
        Content-MD5 to it.
        """
        fixed = {"ContentMD5": content_md5} if content_md5 else {}
        with self._calling("presigning PutObject", key):
            return self._client.generate_presigned_url(
                "put_object",
                Params={"Bucket": self.bucket, "Key": key, **fixed},
                ExpiresIn=int(expires.total_seconds()),
            )

    def _read_up_to(self, key: str, start: int, length: int, condition: dict[str, Any]) -> bytes:
        span = f"bytes={start}-{start + length - 1}"
        try:
            answer = self._client.get_object(Bucket=self.bucket, Key=key, Range=span, **condition)
            return answer["Body"].read()
        except ClientError as exc:
            if code_of(exc) != "InvalidRange":  # the object ends before `start`
                raise
            return b""

    def _require_bucket(self) -> None:
        """Raise if the bucket is missing: the answer to a HEAD of an object has no body to say so."""
        try:
            with self._calling("HeadBucket", ""):
                self._client.head_bucket(Bucket=self.bucket)
        except NotFound as exc:
            raise VaultMissing(
                f"vault {self.name} has no bucket {self.bucket}",
                operation="HeadBucket",
                resource=self.name,
                region=self.region,
                code=exc.code,
            ) from exc
