"""What should have moved by itself by now: jobs that are not over, plans of which a rule is due, lineages
whose failed backup is to be tried again, points of which a copy is, the daily inventory.

All carry a `wake_at` and stand in one index of keys alone: a tick that has nothing to do asks one question.
Jobs without end delay no plan: where there are too many of them to read, the plans are read apart.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from chalicelib.catalog.store.items import Item, moment, stamp
from chalicelib.catalog.store.table import Lookup, Page, Table

_INDEX = "wake"
_ONE_PARTITION = "wake"
_JOB = "job#"
# The record that says when the next inventory is due.
INVENTORY = ("inventory", "daily")
# A tick reads no more than this: about what EC2's buckets let through until the next one, and more.
MOST_READ = 4_000
NOT_WAKING = ("wake", "wake_at")


@dataclass(frozen=True, slots=True)
class Due:
    """The ids of jobs with the moment at which each should move; the names of plans, the keys of lineages and
    the ids of points to be looked at; whether an inventory is due."""

    jobs: tuple[tuple[str, datetime], ...]
    plans: tuple[str, ...]
    lineages: tuple[tuple[str, str], ...] = ()
    points: tuple[str, ...] = ()
    inventory: bool = False


def due(table: Table, now: datetime, ahead: timedelta, most: int = MOST_READ) -> Due:
    """Return what should have moved by `now`, and the jobs that should within `ahead`, the longest due first.

    What the index does not show yet, the next tick sees.
    """
    before = stamp(now + ahead + timedelta(microseconds=1))
    lookup = Lookup(_INDEX, _ONE_PARTITION, {}, {}, before=before, newest_first=False)
    items = list(islice(table.every(lookup), most))
    plans = items if len(items) < most else table.partition("plan")
    return Due(
        jobs=tuple((item["pk"].removeprefix(_JOB), moment(item["wake_at"])) for item in _of(items, _JOB)),
        plans=tuple(item["sk"] for item in _of(plans, "plan") if moment(item["wake_at"]) <= now),
        lineages=tuple(
            (item["pk"], item["sk"]) for item in _of(items, "services#") if moment(item["wake_at"]) <= now
        ),
        points=tuple(item["sk"] for item in _of(items, "points#") if moment(item["wake_at"]) <= now),
        inventory=any(moment(item["wake_at"]) <= now for item in _of(items, INVENTORY[0])),
    )


def _of(items: Iterable[Item], prefix: str) -> Iterable[Item]:
    return (item for item in items if item["pk"].startswith(prefix))


def open_jobs(table: Table, *, limit: int, cursor: str | None) -> Page[str]:
    """Return a page of the ids of jobs that are not over, the longest due first; what the index does not show
    yet is left out."""
    page = table.page(Lookup(_INDEX, _ONE_PARTITION, {}, {}, newest_first=False), limit=limit, cursor=cursor)
    jobs = (item["pk"] for item in page.items if item["pk"].startswith(_JOB))
    return Page(tuple(pk.removeprefix(_JOB) for pk in jobs), page.cursor)


def waking(at: datetime) -> Item:
    """Return the attributes that put an item into the index, to be looked at again at `at`."""
    return {"wake": _ONE_PARTITION, "wake_at": stamp(at)}
