"""Turns an S3 lifecycle rule from CloudFormation's shape to the API's.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-properties-s3-bucket-rule.html
beside https://docs.aws.amazon.com/AmazonS3/latest/API/API_LifecycleRule.html.
"""

from collections.abc import Mapping
from typing import Any

from local_cloud.cloudformation.intrinsics import TemplateError

AS_THEY_ARE = ("Status", "AbortIncompleteMultipartUpload", "NoncurrentVersionExpiration")
READ = frozenset({*AS_THEY_ARE, "Id", "Prefix", "ExpirationInDays", "ExpiredObjectDeleteMarker"})


def lifecycle_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rule as PutBucketLifecycleConfiguration takes it.

    Raises:
        TemplateError: it has a member that is not read.
    """
    if unread := sorted(rule.keys() - READ):
        raise TemplateError(f"the local cloud does not read {unread[0]} of a bucket's lifecycle rule")
    answer = {name: rule[name] for name in AS_THEY_ARE if name in rule}
    answer["Filter"] = {"Prefix": rule.get("Prefix", "")}
    if "Id" in rule:
        answer["ID"] = rule["Id"]
    if "ExpirationInDays" in rule:
        answer["Expiration"] = {"Days": rule["ExpirationInDays"]}
    elif "ExpiredObjectDeleteMarker" in rule:
        answer["Expiration"] = {"ExpiredObjectDeleteMarker": rule["ExpiredObjectDeleteMarker"]}
    return answer
