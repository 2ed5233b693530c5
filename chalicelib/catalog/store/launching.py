"""The instances that a plan's launches are under way for: what lies on them is not backed up yet.

Invariant: a record is written before the launch job is opened, and deleted with the job's end.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from chalicelib.catalog.store.items import moment, stamp
from chalicelib.catalog.store.table import Table
from chalicelib.catalog.store.writes import Write

LONGEST: Final = timedelta(hours=50)


class LaunchingStore:
    """Remembers which instances are being launched."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def note(self, plan: str, instance_id: str, job_id: str, now: datetime) -> None:
        """Record that a launch job begins for an instance."""
        since = stamp(now)
        self._table.put({"pk": _pk(plan), "sk": instance_id, "format": 1, "job": job_id, "since": since})

    def of_plan(self, plan: str, now: datetime) -> Mapping[str, str]:
        """Return the job of each instance that is being launched; none that began too long ago to be so."""
        items = self._table.partition(_pk(plan))
        return {item["sk"]: item["job"] for item in items if moment(item["since"]) > now - LONGEST}


def launched(plan: str, instance_id: str) -> Write:
    """Return the write that an instance's launch is over."""
    return Write((_pk(plan), instance_id), deletes=True)


def _pk(plan: str) -> str:
    return f"launching#{plan}"
