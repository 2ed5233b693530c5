"""Route 53: changes of records that are checked, and pending until all name servers have them.

A change is made as a whole or not at all; it is `PENDING`, then `INSYNC`. The service is global: calls are
signed for us-east-1.

https://docs.aws.amazon.com/Route53/latest/APIReference/API_ChangeResourceRecordSets.html, API_GetChange.html

moto: keeps zones and records; creates one that exists, takes any value, and has one change, always in sync.
"""

import ipaddress
import secrets
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from local_cloud.call import AwsError, Call, CloudContext, Handler, PassOn
from local_cloud.passing import moto_backend

VERSIONS = {"A": 4, "AAAA": 6}
"""Of IP, by the type of record that holds such an address."""
LETTERS = string.ascii_uppercase + string.digits


@dataclass(frozen=True, slots=True)
class Change:
    """A batch of changes that was accepted."""

    id: str
    submitted_at: datetime


class Route53:
    """The hosted zones of an account."""

    service = "route53"

    def __init__(self, ground: CloudContext) -> None:
        """Stand on `ground`."""
        self._ground = ground
        self._changes: dict[str, Change] = {}

    def handlers(self) -> Mapping[str, Handler]:
        """Return the operations done here."""
        return {"ChangeResourceRecordSets": self._change, "GetChange": self._get_change}

    def clear(self) -> None:
        """Forget all changes; moto's zones are moto's to reset."""
        self._changes.clear()

    def _change(self, call: Call, pass_on: PassOn) -> Mapping[str, Any] | None:
        zone = moto_backend("route53")[call.account]["aws"].zones.get(
            call.params["HostedZoneId"].rpartition("/")[2]
        )
        problems = [text for each in call.params["ChangeBatch"]["Changes"] for text in _problems(zone, each)]
        if problems:
            raise AwsError("InvalidChangeBatch", f"[{', '.join(problems)}]")
        if pass_on().status_code != 200:
            return None
        change_id = "C" + "".join(secrets.choice(LETTERS) for _ in range(20))
        self._changes[change_id] = change = Change(change_id, self._ground.clock.now())
        return self._show(change)

    def _get_change(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        change_id = call.params["Id"].rpartition("/")[2]
        if change := self._changes.get(change_id):
            return self._show(change)
        raise AwsError("NoSuchChange", f"Could not find resource with ID: {change_id}", 404)

    def _show(self, change: Change) -> Mapping[str, Any]:
        age = self._ground.clock.now() - change.submitted_at
        pending = age < self._ground.quotas.records_pending
        info = {
            "Id": f"/change/{change.id}",
            "Status": "PENDING" if pending else "INSYNC",
            "SubmittedAt": change.submitted_at,
        }
        return {"ChangeInfo": info}


def _problems(zone: Any, change: Mapping[str, Any]) -> Iterator[str]:
    """Say what is wrong with a change that moto would make."""
    record = change["ResourceRecordSet"]
    name, kind = record["Name"].rstrip(".") + ".", record["Type"]
    values = [each["Value"] for each in record.get("ResourceRecords", ())]
    if version := VERSIONS.get(kind):
        for value in values:
            if not _is_address(value, version):
                yield (
                    f"Invalid Resource Record: 'FATAL problem: {kind}RRDATAIllegalIPv{version}Address (Value "
                    f"is not a valid IPv{version} address) encountered with '{value}''"
                )
    same = [
        each
        for each in (zone.rrsets if zone else ())
        if (each.name.rstrip(".") + ".", each.type) == (name, kind)
        and each.set_identifier == record.get("SetIdentifier")
    ]
    if change["Action"] == "CREATE" and same:
        yield f"Tried to create resource record set [name='{name}', type='{kind}'] but it already exists"
    if change["Action"] == "DELETE" and zone and not same:
        yield f"Tried to delete resource record set [name='{name}', type='{kind}'] but it was not found"
    if change["Action"] == "DELETE" and same and values and sorted(same[0].records) != sorted(values):
        yield (
            f"Tried to delete resource record set [name='{name}', type='{kind}'] but the values provided do "
            "not match the current values"
        )


def _is_address(text: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(text).version == version
    except ValueError:
        return False
