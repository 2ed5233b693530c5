"""Tags of EC2 resources: read from moto's table, and the tags in creating calls.

Rules: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions. A creating
call is refused before it makes anything when one of its tags breaks them.
"""

from collections.abc import Mapping
from typing import Any

from moto.ec2.models import EC2Backend

from local_cloud.call import AwsError

TAGS_PER_RESOURCE = 50
KEY_CHARACTERS = 128
VALUE_CHARACTERS = 256


def tags_of(backend: EC2Backend, resource_id: str) -> list[dict[str, str]]:
    """Return a resource's tags as EC2 shows them. (moto's own way looks through every tag of the region.)"""
    return [{"Key": key, "Value": value} for key, value in backend.tags.get(resource_id, {}).items()]


def requested_tags(params: Mapping[str, Any], *kinds: str) -> dict[str, dict[str, str]]:
    """Return the tags of `TagSpecifications` by resource type; each of `kinds`, and no other, may be named.

    Raises:
        AwsError: another type is named, or a tag breaks the rules.
    """
    requested: dict[str, dict[str, str]] = {kind: {} for kind in kinds}
    for specification in params.get("TagSpecifications", ()):
        kind = specification.get("ResourceType")
        if kind not in requested:
            raise AwsError(
                "InvalidParameterValue", f"'{kind}' is not a valid taggable resource type for this operation."
            )
        for tag in specification.get("Tags", ()):
            requested[kind][tag.get("Key", "")] = tag.get("Value", "")
    for tags in requested.values():
        check_tags(tags)
    return requested


def check_tags(tags: Mapping[str, str]) -> None:
    """Refuse tags that EC2 would refuse."""
    if len(tags) > TAGS_PER_RESOURCE:
        raise AwsError("TagLimitExceeded", "The maximum number of Tags for a resource has been reached.")
    for key, value in tags.items():
        if key.lower().startswith("aws:"):
            raise AwsError(
                "InvalidParameterValue",
                f"Value ( {key} ) for parameter key is invalid. "
                "Tag keys starting with 'aws:' are reserved for internal use",
            )
        if not 0 < len(key) <= KEY_CHARACTERS:
            raise AwsError(
                "InvalidParameterValue", f"Tag key exceeds the maximum length of {KEY_CHARACTERS} characters"
            )
        if len(value) > VALUE_CHARACTERS:
            raise AwsError(
                "InvalidParameterValue",
                f"Tag value exceeds the maximum length of {VALUE_CHARACTERS} characters",
            )
