"""The findings of inventories: differences between the catalog and reality, each in a record of its own.

A finding keeps the time it was first seen while every inventory of its place finds it again; the first
inventory that does not find it removes it. DynamoDB's TTL removes findings of places that inventories no
longer look at.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from chalicelib.catalog.location import Location
from chalicelib.catalog.store.items import Item, moment, stamp
from chalicelib.catalog.store.table import Page, Table
from chalicelib.catalog.store.writes import Write
from chalicelib.errors import InvalidInput, Problem
from chalicelib.ids import fingerprint

FORMAT = 1
_PK = "findings"
# When no inventory looks at a place any longer (its vault left the settings), its findings go after this.
REMEMBERED = timedelta(days=30)
LONGEST_REASON = 500
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html
LONGEST_KEY_BYTES = 1024
# A page of the API reads this many findings at a time, and stops looking for matching ones after this many
# reads.
READ_AT_ONCE = 200
MOST_LOOKS = 10


class FindingKind(StrEnum):
    """The ways in which the catalog and reality differ."""

    ORPHAN_SNAPSHOT = "orphan-snapshot"
    ORPHAN_VOLUME = "orphan-volume"
    ORPHAN_UPLOAD = "orphan-upload"
    ORPHAN_FOLDER = "orphan-folder"
    ORPHAN_FILE = "orphan-file"
    MISSING = "missing"
    LEFTOVER = "leftover"
    OVERDUE_JOB = "overdue-job"
    NOT_LOOKED_AT = "not-looked-at"


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference: `what` (an id, a key, a folder), of which kind, where, and why it is one.

    `removed_after` says from when on an inventory removes it; None: it is only reported. `settled` says that
    the point it concerns is marked.
    """

    place: Location
    kind: FindingKind
    what: str
    reason: str
    since: datetime
    last_seen: datetime
    job: str = ""
    point: str = ""
    service: str = ""
    removed_after: datetime | None = None
    settled: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """The key of its record."""
        return key_of(self.place, self.kind, self.what)

    def seen_again(self, before: "Finding | None") -> "Finding":
        """Return the finding with the time at which an earlier inventory first saw it."""
        return self if before is None else replace(self, since=before.since)


def key_of(place: Location, kind: FindingKind, what: str) -> tuple[str, str]:
    """Return the key of a finding's record."""
    return _PK, f"{place.name}#{kind}#{fingerprint(what)}"


def noting(finding: Finding) -> Write:
    """Return the write that stores a finding, in place of an earlier one."""
    put: Item = {
        "format": FORMAT,
        "region": finding.place.region,
        "vault": finding.place.vault,
        "kind": str(finding.kind),
        "what": finding.what,
        "reason": finding.reason[:LONGEST_REASON],
        "since": stamp(finding.since),
        "last_seen": stamp(finding.last_seen),
        "job": finding.job,
        "point": finding.point,
        "service": finding.service,
        "removed_after": stamp(finding.removed_after) if finding.removed_after else None,
        "settled": finding.settled,
        "expires_at": int((finding.last_seen + REMEMBERED).timestamp()),
    }
    return Write(finding.key, put={name: value for name, value in put.items() if value is not None})


def dropping(key: tuple[str, str]) -> Write:
    """Return the write that removes a finding that is no longer true."""
    return Write(key, deletes=True)


class FindingStore:
    """Reads and lists findings. The functions of this module return the writes."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def known(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Finding]:
        """Return the findings under these keys; unknown keys are left out."""
        return {key: _finding(item) for key, item in self._table.get_all(set(keys)).items()}

    def of_place(
        self, place: Location, kind: FindingKind | None = None, *, after: str | None = None, limit: int
    ) -> tuple[Finding, ...]:
        """Return the next findings of a place, or of one kind there, after the sort key `after`."""
        prefix = f"{place.name}#" + (f"{kind}#" if kind else "")
        return tuple(
            map(_finding, self._table.partition(_PK, prefix=prefix, after=after or None, limit=limit))
        )

    def page(self, filters: Mapping[str, str], *, limit: int, cursor: str | None) -> Page[Finding]:
        """Return a page of findings by place and kind; `filters` among region, vault, finding.

        Raises:
            InvalidInput: the cursor is not one of ours.
        """
        prefix = _prefix(filters)
        if cursor is not None and not _is_ours(cursor, prefix):
            raise InvalidInput(
                "the query", [Problem("/cursor", cursor, "the `cursor` of the page before, unchanged")]
            )
        found: list[Finding] = []
        for _ in range(MOST_LOOKS):
            items = list(self._table.partition(_PK, prefix=prefix, after=cursor, limit=READ_AT_ONCE))
            wanted = filters.get("finding")
            found += [_finding(item) for item in items if wanted in (None, item["kind"])]
            if len(found) > limit:
                return Page(tuple(found[:limit]), found[limit - 1].key[1])
            if len(items) < READ_AT_ONCE:
                return Page(tuple(found), None)
            cursor = items[-1]["sk"]
        return Page(tuple(found), cursor)


def _is_ours(cursor: str, prefix: str) -> bool:
    return cursor.count("#") == 2 and cursor.startswith(prefix) and len(cursor.encode()) <= LONGEST_KEY_BYTES


def _prefix(filters: Mapping[str, str]) -> str:
    if "region" in filters:
        return f"{Location(region=filters['region']).name}#"
    if "vault" in filters:
        return f"{Location(vault=filters['vault']).name}#"
    return ""


def _finding(item: Item) -> Finding:
    return Finding(
        place=Location(item.get("region"), item.get("vault")),
        kind=FindingKind(item["kind"]),
        what=item["what"],
        reason=item["reason"],
        since=moment(item["since"]),
        last_seen=moment(item["last_seen"]),
        job=item["job"],
        point=item["point"],
        service=item["service"],
        removed_after=moment(item["removed_after"]) if "removed_after" in item else None,
        settled=item["settled"],
    )
