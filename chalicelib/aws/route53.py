"""Route 53 as Farshore needs it: one `A` record of a hosted zone, read and written.

Route 53 is global: the SDK signs for the region of the partition that has it. It takes five requests a second
from an account, so nothing here lists a zone.

https://docs.aws.amazon.com/Route53/latest/APIReference/API_ChangeResourceRecordSets.html
https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/DNSLimitations.html
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.aws.errors import translated_errors

if TYPE_CHECKING:
    from mypy_boto3_route53 import Route53Client
    from mypy_boto3_route53.type_defs import ResourceRecordSetOutputTypeDef

# Of a record's keys those of a simple one; any other makes it an alias or gives it a routing policy.
_SIMPLE = frozenset({"Name", "Type", "TTL", "ResourceRecords"})


@dataclass(frozen=True, slots=True)
class ARecord:
    """An `A` record: its addresses and how long they may be cached.

    One that is not `simple` is an alias or has a routing policy; writing a simple one would replace it or be
    refused.
    """

    addresses: tuple[str, ...]
    ttl_seconds: int
    simple: bool = True


class Route53:
    """The hosted zones of the account."""

    def __init__(self, client: "Route53Client") -> None:
        self._client = client

    def a_record(self, zone: str, name: str) -> ARecord | None:
        """Return the `A` record of this name, None when the zone has none.

        Raises:
            NotFound: there is no such hosted zone.
        """
        with translated_errors("ListResourceRecordSets", f"{name} in {zone}"):
            answer = self._client.list_resource_record_sets(
                HostedZoneId=zone, StartRecordName=_plain(name), StartRecordType="A", MaxItems="1"
            )
        for each in answer["ResourceRecordSets"]:
            if each["Type"] == "A" and _plain(each["Name"]) == _plain(name):
                return _record_from(each)
        return None

    def upsert(self, zone: str, name: str, addresses: Iterable[str], ttl_seconds: int) -> str:
        """Create or replace a simple `A` record; return the change's id. Repeating it changes nothing.

        All of Route 53's servers have the change within a minute; waiting for that needs no call.
        """
        with translated_errors("ChangeResourceRecordSets", f"{name} in {zone}"):
            answer = self._client.change_resource_record_sets(
                HostedZoneId=zone,
                ChangeBatch={
                    "Changes": [
                        {
                            "Action": "UPSERT",
                            "ResourceRecordSet": {
                                "Name": _plain(name),
                                "Type": "A",
                                "TTL": ttl_seconds,
                                "ResourceRecords": [{"Value": each} for each in addresses],
                            },
                        }
                    ]
                },
            )
        return answer["ChangeInfo"]["Id"].rpartition("/")[2]


def _record_from(answer: "ResourceRecordSetOutputTypeDef") -> ARecord:
    return ARecord(
        addresses=tuple(each["Value"] for each in answer.get("ResourceRecords", ())),
        ttl_seconds=answer.get("TTL", 0),
        simple={key for key, value in answer.items() if value is not None} <= _SIMPLE,
    )


def _plain(name: str) -> str:
    """Return a name as it compares: small letters, no final dot; Route 53 writes `*` as an octal code."""
    return name.lower().replace("\\052", "*").rstrip(".")
