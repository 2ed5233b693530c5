"""What should have moved by itself by now: jobs that are not over, and plans of which a rule is due.

Both carry a `wake_at` and stand in one index, so a tick that has nothing to do asks one question.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from chalicelib.catalog.job import JobId
from chalicelib.catalog.store.table import Item, Lookup, Table, stamp

_INDEX = "wake"
_ONE_PARTITION = "wake"


@dataclass(frozen=True, slots=True)
class Overdue:
    """The ids of jobs and the names of plans whose moment has come, the longest overdue first."""

    jobs: tuple[JobId, ...]
    plans: tuple[str, ...]


def overdue(table: Table, now: datetime) -> Overdue:
    """Return all that should have moved by `now`; what the index does not show yet, the next tick sees."""
    lookup = Lookup(
        _INDEX, _ONE_PARTITION, {}, {}, before=stamp(now + timedelta(microseconds=1)), newest_first=False
    )
    items: Iterable[Item] = tuple(table.every(lookup))
    return Overdue(
        jobs=tuple(JobId(item["id"]) for item in items if item["pk"] != "plan"),
        plans=tuple(item["sk"] for item in items if item["pk"] == "plan"),
    )


def waking(at: datetime) -> Item:
    """Return the attributes that put an item into the index, to be looked at again at `at`."""
    return {"wake": _ONE_PARTITION, "wake_at": stamp(at)}
