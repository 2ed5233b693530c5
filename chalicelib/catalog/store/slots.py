"""Copy slots: no more copies at once in a region than EC2 lets run, and never fewer while work waits.

EC2 allows 20 concurrent snapshot copies per destination region
(https://docs.aws.amazon.com/ebs/latest/userguide/ebs-copy-snapshot.html). A slot is taken before the call and
given back when the copy has ended; who finds none stands in a line, and giving back names the one who stood
there longest. Taking and giving back are transactions: the count and the holders cannot part.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from chalicelib.catalog.store.table import Table, encoded, stamp


class CopySlots:
    """The slots of each destination region, `limit` in number."""

    def __init__(self, table: Table, limit: int) -> None:
        self._table = table
        self._limit = limit

    def take(self, region: str, holder: str) -> bool:
        """Take a slot for `holder`; say whether it has one. Taking it twice takes one."""
        if self._table.get(_pk(region), f"held#{holder}"):
            return True
        count: Mapping[str, Any] = {
            "Key": encoded({"pk": _pk(region), "sk": "in-use"}),
            "UpdateExpression": "ADD in_use :one",
            "ConditionExpression": "attribute_not_exists(in_use) OR in_use < :limit",
            "ExpressionAttributeValues": encoded({":one": 1, ":limit": self._limit}),
        }
        hold = {
            "Item": encoded({"pk": _pk(region), "sk": f"held#{holder}"}),
            "ConditionExpression": "attribute_not_exists(pk)",
        }
        return self._table.transact([{"Update": count}, {"Put": hold}])

    def stand_in_line(self, region: str, job_id: str, since: datetime) -> None:
        """Let the job be named when a slot is given back; standing there twice is standing there once."""
        self._table.put({"pk": _pk(region), "sk": f"waiting#{stamp(since)}#{job_id}", "job": job_id})

    def leave_line(self, region: str, job_id: str, since: datetime) -> None:
        """Take the job out of the line, if it stands there."""
        self._table.delete(_pk(region), f"waiting#{stamp(since)}#{job_id}")

    def give_back(self, region: str, holder: str) -> str | None:
        """Give the holder's slot back, if it has one; take the job that has waited longest out of the line
        and name it.

        The named job is to be poked; should that poke be lost, the job looks again by itself and stands in
        line anew.
        """
        count = {
            "Key": encoded({"pk": _pk(region), "sk": "in-use"}),
            "UpdateExpression": "ADD in_use :less",
            "ExpressionAttributeValues": encoded({":less": -1}),
        }
        held = {
            "Key": encoded({"pk": _pk(region), "sk": f"held#{holder}"}),
            "ConditionExpression": "attribute_exists(pk)",
        }
        self._table.transact([{"Update": count}, {"Delete": held}])
        for item in self._table.partition(_pk(region), prefix="waiting#", limit=1):
            self._table.delete(_pk(region), item["sk"])
            return str(item["job"])
        return None


def _pk(region: str) -> str:
    return f"slots#{region}"
