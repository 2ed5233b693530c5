"""What IAM asks for at calls to S3.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html; keys of KMS:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html; condition keys:
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote

from local_cloud.call import Call
from local_cloud.services.iam.conditions import Values
from local_cloud.services.iam.needs.rules import Rule, of_nothing, tags_as, use_of_key
from local_cloud.services.iam.policies import Need
from local_cloud.services.s3.store import bucket_named, object_at, region_of

LISTED = {"Prefix": "s3:prefix", "Delimiter": "s3:delimiter", "MaxKeys": "s3:max-keys"}
WRITTEN = {
    "ACL": "s3:x-amz-acl",
    "IfNoneMatch": "s3:if-none-match",
    "ServerSideEncryption": "s3:x-amz-server-side-encryption",
    "SSEKMSKeyId": "s3:x-amz-server-side-encryption-aws-kms-key-id",
    "StorageClass": "s3:x-amz-storage-class",
}


def bucket_arn(path: str) -> str:
    """Return the ARN of a bucket, or of bucket/key."""
    return f"arn:aws:s3:::{path}"


def object_arn(params: Mapping[str, Any]) -> str:
    """Return the ARN of the object that a call names."""
    return bucket_arn(f"{params['Bucket']}/{params['Key']}")


def of_bucket(action: str) -> Rule:
    """Return the rule of an action on a bucket."""

    def rule(call: Call) -> Iterator[Need]:
        yield Need(action, bucket_arn(call.params["Bucket"]), _members(call.params, LISTED))

    return rule


def of_object(action: str) -> Rule:
    """Return the rule of an action on an object."""

    def rule(call: Call) -> Iterator[Need]:
        yield Need(action, object_arn(call.params))

    return rule


def of_reading(call: Call) -> Iterator[Need]:
    """GetObject and HeadObject: the object; to learn that it is not there, listing the bucket."""
    yield from _reading(call.params["Bucket"], call.params["Key"], call.params.get("VersionId"))


def of_writing(keys: Sequence[str] = ("GenerateDataKey",)) -> Rule:
    """Return the rule of a call that begins or makes an object, which uses the bucket's key in these ways."""

    def rule(call: Call) -> Iterator[Need]:
        params = call.params
        tags = dict(parse_qsl(params["Tagging"])) if params.get("Tagging") else {}
        about_tags = tags_as("s3:RequestObjectTag", tags) | (
            {"s3:requestobjecttagkeys": tuple(tags)} if tags else {}
        )
        context = {**_members(params, WRITTEN), **about_tags}
        yield Need("s3:PutObject", object_arn(params), context)
        if tags:
            yield Need("s3:PutObjectTagging", object_arn(params), context)
        yield from _use_of_bucket_key(params, keys)

    return rule


def of_part(call: Call) -> Iterator[Need]:
    """UploadPart and CompleteMultipartUpload: the object, and its key, which is read."""
    yield Need("s3:PutObject", object_arn(call.params), _members(call.params, WRITTEN))
    yield from _use_of_bucket_key(call.params, ("Decrypt",))


def of_copy(call: Call) -> Iterator[Need]:
    """CopyObject: what reading and writing need; tags come along unless others are given."""
    bucket, key, version = _source(call.params)
    yield from _reading(bucket, key, version)
    yield from of_writing(("GenerateDataKey", "Decrypt"))(call)
    if call.params.get("TaggingDirective", "COPY") == "COPY":
        yield Need("s3:GetObjectTagging", bucket_arn(f"{bucket}/{key}"))
        yield Need("s3:PutObjectTagging", object_arn(call.params))


def of_part_copy(call: Call) -> Iterator[Need]:
    """UploadPartCopy: what reading its source and writing a part need."""
    yield from _reading(*_source(call.params))
    yield from of_part(call)


def of_deletion(call: Call) -> Iterator[Need]:
    """DeleteObject: the object, or a version of it, which is another right."""
    yield _deletion(object_arn(call.params), call.params.get("VersionId"))


def of_deletions(call: Call) -> Iterator[Need]:
    """DeleteObjects: what each deletion needs; AWS answers for each, and here the first denial is for all."""
    for each in call.params["Delete"]["Objects"]:
        yield _deletion(bucket_arn(f"{call.params['Bucket']}/{each['Key']}"), each.get("VersionId"))


def _deletion(arn: str, version: str | None) -> Need:
    return Need("s3:DeleteObjectVersion" if version else "s3:DeleteObject", arn)


def _members(params: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Values]:
    """Return members of a request as condition keys."""
    return {key: str(params[name]) for name, key in names.items() if name in params}


def _source(params: Mapping[str, Any]) -> tuple[str, str, str | None]:
    """Return bucket, key and version of the source of a copy."""
    path, _, query = str(params["CopySource"]).partition("?")
    bucket, _, key = unquote(path).lstrip("/").partition("/")
    return bucket, key, parse_qs(query).get("versionId", [None])[0]


def _reading(bucket: str, key: str, version: str | None) -> Iterator[Need]:
    action = "s3:GetObjectVersion" if version else "s3:GetObject"
    yield Need(action, bucket_arn(f"{bucket}/{key}"))
    found = object_at(bucket, key, version)
    if found is None:
        yield Need("s3:ListBucket", bucket_arn(bucket))
    elif found.kms_key_id:
        region = region_of(bucket_named(bucket))
        yield from use_of_key(region, found.kms_key_id, "s3", ("Decrypt",))


def _use_of_bucket_key(params: Mapping[str, Any], actions: Sequence[str]) -> Iterator[Need]:
    """Yield the use of the key that an object is or will be under: the request's, or its bucket's."""
    bucket = bucket_named(params["Bucket"])
    if bucket is None:
        return
    rule = (bucket.encryption or {}).get("Rule", {}).get("ApplyServerSideEncryptionByDefault", {})
    key = params.get("SSEKMSKeyId") or rule.get("KMSMasterKeyID")
    yield from use_of_key(region_of(bucket), key, "s3", actions)


RULES: Mapping[str, Rule] = {
    "AbortMultipartUpload": of_object("s3:AbortMultipartUpload"),
    "CompleteMultipartUpload": of_part,
    "CopyObject": of_copy,
    "CreateMultipartUpload": of_writing(("GenerateDataKey", "Decrypt")),
    "DeleteObject": of_deletion,
    "DeleteObjects": of_deletions,
    "GetBucketEncryption": of_bucket("s3:GetEncryptionConfiguration"),
    "GetBucketLocation": of_bucket("s3:GetBucketLocation"),
    "GetBucketVersioning": of_bucket("s3:GetBucketVersioning"),
    "GetObject": of_reading,
    "GetPublicAccessBlock": of_bucket("s3:GetBucketPublicAccessBlock"),
    "GetObjectTagging": of_object("s3:GetObjectTagging"),
    "HeadBucket": of_bucket("s3:ListBucket"),
    "HeadObject": of_reading,
    "ListBuckets": of_nothing("s3:ListAllMyBuckets"),
    "ListMultipartUploads": of_bucket("s3:ListBucketMultipartUploads"),
    "ListObjectVersions": of_bucket("s3:ListBucketVersions"),
    "ListObjects": of_bucket("s3:ListBucket"),
    "ListObjectsV2": of_bucket("s3:ListBucket"),
    "ListParts": of_object("s3:ListMultipartUploadParts"),
    "PutObject": of_writing(),
    "PutObjectTagging": of_object("s3:PutObjectTagging"),
    "UploadPart": of_part,
    "UploadPartCopy": of_part_copy,
}
