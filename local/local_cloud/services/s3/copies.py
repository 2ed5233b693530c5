"""Checks what S3 requires of a copy's source, before moto copies: conditions, size, range.

Sources: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html and
https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html

moto: copies; it ignores most conditions and the largest size.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from local_cloud.call import AwsError
from local_cloud.services.s3.store import copy_source

MAX_COPY_BYTES = 5 * 1024**3


def check_copy_object(params: Mapping[str, Any]) -> None:
    """Raise AwsError unless the source is there, meets the conditions and is small enough for one copy."""
    source = copy_source(params)
    _check_conditions(source, params)
    _check_size(source.size)


def check_part_copy(params: Mapping[str, Any]) -> None:
    """Raise AwsError unless the source is there, meets the conditions and has the range."""
    source = copy_source(params)
    _check_conditions(source, params)
    if (text := params.get("CopySourceRange")) is None:
        _check_size(source.size)
        return
    found = re.fullmatch(r"bytes=(\d+)-(\d+)", text)
    if not found:
        why = "The x-amz-copy-source-range value must be of the form bytes=first-last"
        raise AwsError("InvalidArgument", f"{why} where first and last are the zero-based offsets.")
    first, last = int(found[1]), int(found[2])
    if first > last or last >= source.size:
        raise AwsError(
            "InvalidArgument", f"Range specified is not valid for source object of size: {source.size}"
        )
    _check_size(last - first + 1)


def _check_size(size: int) -> None:
    if size > MAX_COPY_BYTES:
        why = "The specified copy source is larger than the maximum allowable size for a copy source"
        raise AwsError("InvalidRequest", f"{why}: {MAX_COPY_BYTES}")


def _check_conditions(source: Any, params: Mapping[str, Any]) -> None:
    etag, modified = source.etag.strip('"'), source.last_modified.replace(microsecond=0, tzinfo=UTC)
    for name, wanted in params.items():
        match name:
            case "CopySourceIfMatch":
                holds = wanted.strip('"') == etag
            case "CopySourceIfNoneMatch":
                holds = wanted.strip('"') != etag
            case "CopySourceIfModifiedSince":
                holds = modified > _aware(wanted)
            case "CopySourceIfUnmodifiedSince":
                holds = modified <= _aware(wanted)
            case _:
                holds = True
        if not holds:
            why = "At least one of the pre-conditions you specified did not hold"
            raise AwsError("PreconditionFailed", why, 412)


def _aware(when: datetime) -> datetime:
    return when if when.tzinfo else when.replace(tzinfo=UTC)
