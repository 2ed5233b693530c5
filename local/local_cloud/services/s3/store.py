"""Reads moto's state of S3: buckets, objects, uploads. Nothing here changes it.

moto's internal names are used only here; its objects are returned as they are, as their bytes are read in
place.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote

from local_cloud.call import ACCOUNT, AwsError
from local_cloud.passing import moto_backend

PARTITION = "aws"


def bucket_named(name: str) -> Any | None:
    """Return moto's bucket, or None."""
    return moto_backend("s3")[ACCOUNT][PARTITION].buckets.get(name)


def region_of(bucket: Any) -> str:
    """Return the region a bucket is in."""
    region: str = bucket.region_name
    return region


def object_at(bucket: str, key: str, version_id: str | None = None) -> Any | None:
    """Return moto's object, or None where bucket or object is missing or deleted."""
    if bucket_named(bucket) is None:
        return None
    return moto_backend("s3")[ACCOUNT][PARTITION].get_object(bucket, key, version_id=version_id)


def upload_of(params: Mapping[str, Any]) -> Any:
    """Return moto's multipart upload that a call names.

    Raises: AwsError NoSuchBucket or NoSuchUpload.
    """
    bucket = bucket_named(params["Bucket"])
    if bucket is None:
        raise AwsError("NoSuchBucket", "The specified bucket does not exist", 404)
    upload = bucket.multiparts.get(params["UploadId"])
    if upload is None or upload.key_name != params["Key"]:
        raise AwsError(
            "NoSuchUpload",
            "The specified upload does not exist. The upload ID may be invalid, or the upload may have been "
            "aborted or completed.",
            404,
        )
    return upload


def copy_source(params: Mapping[str, Any]) -> Any:
    """Return moto's object that a copy names as its source.

    Raises: AwsError NoSuchBucket or NoSuchKey.
    """
    path, _, query = str(params["CopySource"]).partition("?")
    bucket, _, key = unquote(path).lstrip("/").partition("/")
    if bucket_named(bucket) is None:
        raise AwsError("NoSuchBucket", "The specified bucket does not exist", 404)
    found = object_at(bucket, key, parse_qs(query).get("versionId", [None])[0])
    if found is None:
        raise AwsError("NoSuchKey", "The specified key does not exist.", 404)
    return found


def read_range(stored: Any, begin: int, end: int) -> bytes:
    """Return bytes `begin` to `end` (exclusive) of moto's object, without reading the others."""
    with stored.lock:
        stored._value_buffer.seek(begin)
        data: bytes = stored._value_buffer.read(end - begin)
    return data
