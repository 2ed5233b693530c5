"""S3: checks what moto accepts unchecked, then passes the call on to moto.

Every request must be for the bucket's region, and its body must match its headers.

AWS: https://docs.aws.amazon.com/AmazonS3/latest/API/Welcome.html.
moto: keeps buckets, objects and uploads, and answers every operation once it has been checked here. It looks
at the actions of bucket policies alone, which `iam` judges whole.
Added: checksums, regions, part rules, conditions of copies, ranges that do not read the whole object.
"""

from collections.abc import Mapping
from typing import Any

from moto.core.utils import get_service_model
from moto.iam.access_control import PermissionResult
from moto.s3.models import FakeBucket

from local_cloud.call import AwsError, Call, Handler, PassOn
from local_cloud.services.s3.copies import check_copy_object, check_part_copy
from local_cloud.services.s3.payload import check_payload
from local_cloud.services.s3.ranges import get_object
from local_cloud.services.s3.store import bucket_named, region_of, upload_of
from local_cloud.services.s3.uploads import check_part, complete_upload

__all__ = ["S3"]

ANYWHERE = ("CreateBucket", "GetBucketLocation", "HeadBucket", "ListBuckets", "ListDirectoryBuckets")
"""Operations that any region's endpoint answers."""


class S3:
    """S3 as strict as the app meets it."""

    service = "s3"

    def __init__(self) -> None:
        """Have moto judge nothing by a bucket's policy."""
        # setattr, since mypy takes no assignment to a method
        setattr(FakeBucket, "get_permission", lambda *_: PermissionResult.NEUTRAL)  # noqa: B010

    def handlers(self) -> Mapping[str, Handler]:
        """Return every operation of S3: all are checked, some more than others."""
        own: dict[str, Handler] = {
            "AbortMultipartUpload": _with(lambda call: upload_of(call.params)),
            "CompleteMultipartUpload": complete_upload,
            "CopyObject": _with(lambda call: check_copy_object(call.params)),
            "GetObject": get_object,
            "ListParts": _with(lambda call: upload_of(call.params)),
            "UploadPart": _with(lambda call: check_part(call.params)),
            "UploadPartCopy": _with(_check_part_copy),
        }
        names = get_service_model("s3").operation_names
        return {name: self._guarded(own.get(name, _with(lambda call: None))) for name in names}

    def reset(self) -> None:
        """Do nothing: moto keeps all there is."""

    def _guarded(self, handler: Handler) -> Handler:
        def handle(call: Call, pass_on: PassOn) -> Mapping[str, Any] | None:
            check_payload(call.environ, signed_in_header="HTTP_AUTHORIZATION" in call.environ)
            _check_bucket(call)
            return handler(call, pass_on)

        return handle


def _with(check: Any) -> Handler:
    """Return a handler that only checks, and leaves the answer to moto."""

    def handle(call: Call, _: PassOn) -> None:
        check(call)

    return handle


def _check_part_copy(call: Call) -> None:
    check_part(call.params)
    check_part_copy(call.params)


def _check_bucket(call: Call) -> None:
    """Raise AwsError unless the bucket exists and is in the region the request was signed for.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/Redirects.html
    """
    name = call.params.get("Bucket")
    if name is None or call.operation in ANYWHERE:
        return
    bucket = bucket_named(name)
    if bucket is None:
        raise AwsError("NoSuchBucket", "The specified bucket does not exist", 404)
    if region_of(bucket) != call.region:
        raise AwsError(
            "PermanentRedirect",
            "The bucket you are attempting to access must be addressed using the specified endpoint. "
            f"Please send all future requests to this endpoint: s3.{region_of(bucket)}.amazonaws.com",
            301,
        )
