"""Checks what S3 requires of multipart uploads, where moto is laxer or crashes.

Part numbers, order, and the upload's existence are checked before moto sees the call; moto itself refuses a
wrong ETag (InvalidPart), a small part (EntityTooSmall) and an object that exists (`If-None-Match: *`).
Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from local_cloud.call import AwsError, Call, PassOn
from local_cloud.services.s3.payload import checksums_of
from local_cloud.services.s3.store import object_at, upload_of

MAX_PARTS = 10_000
MAX_PART_BYTES = 5 * 1024**3


def check_part(params: Mapping[str, Any]) -> None:
    """Raise AwsError unless the upload is there and the part number is one of 1 to 10,000."""
    upload_of(params)
    if not 1 <= params["PartNumber"] <= MAX_PARTS:
        why = "Part number must be an integer between 1 and 10000, inclusive"
        raise AwsError("InvalidArgument", why)


def complete_upload(call: Call, pass_on: PassOn) -> None:
    """Have moto complete the upload if S3 would; then free the parts, which moto keeps."""
    if checksums_of(call.environ):
        raise AwsError(
            "NotImplemented", "The local cloud does not check the checksum of a whole object.", 501
        )
    params = call.params
    existing = object_at(params["Bucket"], params["Key"])
    is_again = existing and existing.multipart and existing.multipart.id == params["UploadId"]
    if not is_again:
        upload_of(params)
        numbers = [part["PartNumber"] for part in params.get("MultipartUpload", {}).get("Parts", ())]
        if any(first >= second for first, second in pairwise(numbers)):
            why = "The list of parts was not in ascending order. Parts must be ordered by part number."
            raise AwsError("InvalidPartOrder", why)
    done = pass_on().status_code == 200 and object_at(params["Bucket"], params["Key"])
    if done and not is_again:
        done.multipart.dispose()
