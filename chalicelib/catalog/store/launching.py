"""The instances that launches are under way for: what lies on them is not backed up yet, by any plan.

Invariant: a record is written before the launch job is opened, and deleted with the job's end.
"""

from datetime import datetime, timedelta
from typing import Final

from chalicelib.catalog.store.items import moment, stamp
from chalicelib.catalog.store.table import Table
from chalicelib.catalog.store.writes import Write

LONGEST: Final = timedelta(hours=50)
_PK: Final = "launching"


class LaunchingStore:
    """Remembers which instances are being launched."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def note(self, plan: str, instance_id: str, job_id: str, now: datetime) -> None:
        """Record that a launch job begins for an instance."""
        since = stamp(now)
        pk, sk = _key(plan, instance_id)
        self._table.put({"pk": pk, "sk": sk, "format": 1, "job": job_id, "since": since})

    def instances(self, now: datetime) -> frozenset[str]:
        """Return the instances that are being launched; none whose launch began too long ago to be so."""
        items = self._table.partition(_PK)
        recent = (item for item in items if moment(item["since"]) > now - LONGEST)
        return frozenset(item["sk"].partition("#")[0] for item in recent)


def launched(plan: str, instance_id: str) -> Write:
    """Return the write that an instance's launch is over."""
    return Write(_key(plan, instance_id), deletes=True)


def _key(plan: str, instance_id: str) -> tuple[str, str]:
    return _PK, f"{instance_id}#{plan}"
