"""What S3 shows of a bucket: where it is, and how it keeps objects. Nothing here changes anything."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from chalicelib.aws.errors import code_of, translated_errors

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_BLOCKS = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
# The answers for a bucket that has no such setting.
_UNSET = ("NoSuchPublicAccessBlockConfiguration", "ServerSideEncryptionConfigurationNotFoundError")


@dataclass(frozen=True, slots=True)
class BucketState:
    """A bucket: its region, whether it keeps versions, what of public access it does not block, and the KMS
    key that it encrypts with unless told otherwise."""

    region: str
    versioned: bool = True
    not_blocked: tuple[str, ...] = ()
    key: str | None = None


class Buckets:
    """S3 of one region."""

    def __init__(self, client: "S3Client", region: str) -> None:
        self._client = client
        self._region = region

    def look(self, bucket: str) -> BucketState:
        """Return how a bucket is; of one in another region only that.

        Raises:
            NotFound: there is no such bucket.
            Denied: it belongs to somebody else, or a right to look at it is missing.
        """
        region = self._where(bucket)
        if region != self._region:
            return BucketState(region)
        with translated_errors("GetBucketVersioning", bucket, region):
            versioned = self._client.get_bucket_versioning(Bucket=bucket).get("Status") == "Enabled"
        return BucketState(region, versioned, self._not_blocked(bucket), self._key(bucket))

    def _where(self, bucket: str) -> str:
        """Return the region of a bucket; the SDK follows S3's redirect to it.

        https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html
        """
        with translated_errors("HeadBucket", bucket, self._region):
            return self._client.head_bucket(Bucket=bucket).get("BucketRegion", self._region)

    def _not_blocked(self, bucket: str) -> tuple[str, ...]:
        with translated_errors("GetPublicAccessBlock", bucket, self._region):
            try:
                answer: Any = self._client.get_public_access_block(Bucket=bucket)
            except ClientError as refusal:
                if code_of(refusal) not in _UNSET:
                    raise
                return _BLOCKS
        blocked = answer["PublicAccessBlockConfiguration"]
        return tuple(each for each in _BLOCKS if not blocked.get(each))

    def _key(self, bucket: str) -> str | None:
        with translated_errors("GetBucketEncryption", bucket, self._region):
            try:
                answer: Any = self._client.get_bucket_encryption(Bucket=bucket)
            except ClientError as refusal:
                if code_of(refusal) not in _UNSET:
                    raise
                return None
        rules = answer["ServerSideEncryptionConfiguration"]["Rules"]
        applied = [each.get("ApplyServerSideEncryptionByDefault", {}) for each in rules]
        return next((each["KMSMasterKeyID"] for each in applied if each.get("KMSMasterKeyID")), None)
