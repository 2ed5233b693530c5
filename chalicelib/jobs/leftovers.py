"""What jobs made and could not remove before their time for cleaning was over: kept until somebody does."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from chalicelib.catalog.store.table import Page, Table, Write, moment, stamp
from chalicelib.errors import InvalidInput, Problem
from chalicelib.ids import fingerprint
from chalicelib.jobs.job import AnyJob

_PK = "leftovers"


@dataclass(frozen=True, slots=True)
class Leftover:
    """A thing that is still there, the job that made it, and why it could not go."""

    what: str
    job: str
    service: str
    reason: str
    since: datetime


def leaving(job: AnyJob, left: Iterable[str], now: datetime) -> list[Write]:
    """Return the writes that list what a job left behind, as many as its last commit takes."""
    return [
        Write(
            (_PK, f"{job.id}#{fingerprint(what)}"),
            put={
                "format": 1,
                "what": what,
                "job": job.id,
                "service": job.service,
                "reason": job.reason[:1000],
                "since": stamp(now),
            },
        )
        for what in list(left)[:40]
    ]


class LeftoverStore:
    """Lists what was left behind."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def page(self, limit: int, cursor: str | None) -> Page[Leftover]:
        """Return a page of leftovers by job, and the cursor behind it.

        Raises:
            InvalidInput: the cursor is not one of ours.
        """
        if cursor is not None and "#" not in cursor:
            raise InvalidInput(
                "the query", [Problem("/cursor", cursor, "the `cursor` of the page before, unchanged")]
            )
        items = list(self._table.partition(_PK, after=cursor, limit=limit + 1))
        found = tuple(
            Leftover(item["what"], item["job"], item["service"], item["reason"], moment(item["since"]))
            for item in items[:limit]
        )
        return Page(found, items[limit - 1]["sk"] if len(items) > limit else None)
