"""What is due: unfinished jobs, plans, what failed and is tried again, notices, RPOs, the daily inventory.

All have a `wake_at` and are in one index of keys alone, so a tick with nothing to do makes one query. Plans
that look for instances that start or go at every tick have a record there that is always due.
However many jobs are unfinished, plans are not delayed: where there are too many jobs to read, the plans are
read separately.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from chalicelib.catalog.store.items import Item, moment, stamp
from chalicelib.catalog.store.table import Lookup, Page, Table

_INDEX = "wake"
_ONE_PARTITION = "wake"
_JOB = "job#"
# The record that says when the next inventory is due.
INVENTORY = ("inventory", "daily")
_WATCHING = "watching"
# Troubles that are to be told, and the plans whose services' RPOs are to be looked at, by name.
NOTICES, RPO = "notices", "rpo"
# Plans that any instance may concern, and plans for which only those that wait at a hook are looked at.
WATCHING_ALL, WATCHING_HOOKS = f"{_WATCHING}-all", f"{_WATCHING}-hooks"
_ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
# A tick reads no more than this: rather more than EC2's buckets let through until the next one.
MOST_READ = 4_000
NOT_WAKING = ("wake", "wake_at")


@dataclass(frozen=True, slots=True)
class Due:
    """What is due: jobs with the time at which each is, names of plans, keys of lineages, ids of points.

    `inventory` says whether the daily inventory is due; `watching` are the names of the plans that look for
    instances that start or go; `hooks_only` says that all of these look only at hooks. `notices` are the keys
    of troubles to be told, `rpos` the plans in which services may be beyond their RPO.
    """

    jobs: tuple[tuple[str, datetime], ...]
    plans: tuple[str, ...]
    lineages: tuple[tuple[str, str], ...] = ()
    points: tuple[str, ...] = ()
    inventory: bool = False
    watching: tuple[str, ...] = ()
    hooks_only: bool = True
    notices: tuple[str, ...] = ()
    rpos: tuple[str, ...] = ()


def due(table: Table, now: datetime, ahead: timedelta, most: int = MOST_READ) -> Due:
    """Return what is due at `now`, and the jobs that will be within `ahead`, the longest due first.

    What the index does not show yet is seen by the next tick.
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
        notices=tuple(item["sk"] for item in _of(items, NOTICES) if moment(item["wake_at"]) <= now),
        rpos=tuple(item["sk"] for item in _of(items, RPO) if moment(item["wake_at"]) <= now),
        inventory=any(moment(item["wake_at"]) <= now for item in _of(items, INVENTORY[0])),
        watching=tuple(item["sk"] for item in _of(items, _WATCHING)),
        hooks_only=not any(_of(items, WATCHING_ALL)),
    )


def _of(items: Iterable[Item], prefix: str) -> Iterable[Item]:
    return (item for item in items if item["pk"].startswith(prefix))


def open_jobs(table: Table, *, limit: int, cursor: str | None) -> Page[str]:
    """Return a page of the ids of unfinished jobs, the longest due first.

    Jobs that the index does not show yet are left out.
    """
    page = table.page(Lookup(_INDEX, _ONE_PARTITION, {}, {}, newest_first=False), limit=limit, cursor=cursor)
    jobs = (item["pk"] for item in page.items if item["pk"].startswith(_JOB))
    return Page(tuple(pk.removeprefix(_JOB) for pk in jobs), page.cursor)


def always_waking() -> Item:
    """Return the attributes that put an item into the index, due at every tick."""
    return waking(_ALWAYS)


def waking(at: datetime) -> Item:
    """Return the attributes that put an item into the index, due at `at`."""
    return {"wake": _ONE_PARTITION, "wake_at": stamp(at)}
