"""What KMS shows of a key. Nothing here uses one."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.aws.errors import translated_errors

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient


@dataclass(frozen=True, slots=True)
class Key:
    """A key: `state` is `Enabled` for one that can be used, `usage` `ENCRYPT_DECRYPT` for one that encrypts.

    https://docs.aws.amazon.com/kms/latest/APIReference/API_KeyMetadata.html
    """

    arn: str
    state: str
    usage: str

    @property
    def region(self) -> str:
        """The region it is in."""
        return self.arn.split(":")[3]


class Kms:
    """KMS of one region."""

    def __init__(self, client: "KMSClient") -> None:
        self._client = client

    def key(self, key_id: str) -> Key:
        """Return a key by its id, ARN or alias.

        Raises:
            NotFound: this region has no such key.
        """
        with translated_errors("DescribeKey", key_id, self._client.meta.region_name):
            found = self._client.describe_key(KeyId=key_id)["KeyMetadata"]
        return Key(found.get("Arn", ""), found.get("KeyState", ""), found.get("KeyUsage", ""))
