"""Surveys: each lists one kind of thing in a place and names those that differ from the catalog.

`judge` decides, purely, which differences are reported and which are settled: removed, or marked in the
catalog. They are settled in steps of their own, after another check.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from chalicelib.catalog.location import Location
from chalicelib.catalog.store.findings import Finding, FindingKind, key_of
from chalicelib.catalog.store.writes import Write

# A step writes a finding for each thing of a page, in a transaction that has room for a hundred.
PAGE = 80
# Listings may lag: a thing counts as gone only when it was not listed this long before, either.
SECOND_LOOK_AFTER = timedelta(minutes=10)

Known = Mapping[tuple[str, str], Finding]


@dataclass(frozen=True, slots=True)
class Remedy:
    """How a difference is settled: this long `after` it was first seen and, with `twice`, only if an earlier
    inventory saw it, too. `writes` settle it in the catalog; without any, the thing is removed."""

    after: timedelta = timedelta(0)
    twice: bool = False
    writes: tuple[Write, ...] = ()
    removes: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """A thing that differs from the catalog. One that is `unsaid` is settled without a report; while it is
    settled, the `lock` keeps other jobs away."""

    kind: FindingKind
    what: str
    reason: str
    job: str = ""
    point: str = ""
    service: str = ""
    remedy: Remedy | None = None
    settled: bool = False
    unsaid: bool = False
    lock: str | None = None


@dataclass(frozen=True, slots=True)
class SurveyPage:
    """One page of a survey: the differences, findings that are no longer true, how many things were checked,
    and the cursor of the next page (None: this was the last)."""

    candidates: tuple[Candidate, ...] = ()
    untrue: tuple[tuple[FindingKind, str], ...] = ()
    looked_at: int = 0
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """What follows from a page: the findings to store, those to drop, and what is due to be settled."""

    findings: tuple[Finding, ...]
    dropped: tuple[tuple[str, str], ...]
    due: tuple[str, ...]


class Survey(Protocol):
    """One kind of thing in one place."""

    @property
    def name(self) -> str:
        """What is surveyed, in words."""

    @property
    def at_once(self) -> int:
        """How many things are settled in one step."""

    @property
    def bucket(self) -> tuple[str, str] | None:
        """The operation and region of the EC2 request bucket that paces removals, if there is one."""

    @property
    def after(self) -> timedelta:
        """How long after the last suspicion of this inventory the survey begins."""

    def read_page(self, cursor: str | None) -> SurveyPage:
        """Return the next page; the same cursor may be read twice."""

    def recheck(self, whats: Sequence[str]) -> SurveyPage:
        """Return what still differs among these things, which are about to be settled."""

    def remove(self, what: str, stop: Callable[[], bool]) -> bool:
        """Remove a thing; return whether all of it is gone (False if it had to stop)."""


def judge(place: Location, sight: SurveyPage, known: Known, began_at: datetime, now: datetime) -> Judged:
    """Return what follows from a page, given the known findings. Pure."""
    findings, due = [], []
    for each in sight.candidates:
        before = known.get(key_of(place, each.kind, each.what))
        since = before.since if before else now
        remedy = each.remedy
        at = since + remedy.after if remedy else None
        if not each.unsaid:
            findings.append(_finding(place, each, since, at, now))
        if remedy and at and now >= at and (not remedy.twice or since < began_at):
            due.append(each.what)
    dropped = tuple(key_of(place, kind, what) for kind, what in sight.untrue)
    return Judged(tuple(findings), dropped, tuple(due))


def _finding(
    place: Location, each: Candidate, since: datetime, at: datetime | None, now: datetime
) -> Finding:
    removes = each.remedy is not None and each.remedy.removes
    return Finding(
        place=place,
        kind=each.kind,
        what=each.what,
        reason=each.reason,
        since=since,
        last_seen=now,
        job=each.job,
        point=each.point,
        service=each.service,
        removed_after=at if removes else None,
        settled=each.settled,
    )


def keys_of(place: Location, candidates: Iterable[Candidate]) -> tuple[tuple[str, str], ...]:
    """Return the keys of the findings that candidates would become."""
    return tuple(key_of(place, each.kind, each.what) for each in candidates)
