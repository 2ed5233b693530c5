"""What operators are told of a service: its backup fails, its RPO is missed, it has recovered.

There is one record for each such trouble. What begins or ends a trouble writes it, in the same transaction
where it has one, and puts it into the `wake` index; the tick finds it there, claims it, tells it and settles
it. A trouble that goes on is not told again.

Invariant: a change is told by one worker at a time. A claim is the record's next time in the index, so what a
worker that died has claimed is found again; what changed meanwhile is told next.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from boto3.dynamodb.conditions import ConditionBase

from chalicelib.aws.batches import in_batches
from chalicelib.catalog.recovery_point import Lineage
from chalicelib.catalog.store.items import Item, moment, stamp
from chalicelib.catalog.store.table import Table
from chalicelib.catalog.store.wake import NOT_WAKING, NOTICES, waking
from chalicelib.catalog.store.writes import MOST_WRITES, Attr, Role, Write
from chalicelib.ids import fingerprint

LONGEST_REASON = 1_000
# Longer than a tick may run.
CLAIMED_FOR = timedelta(minutes=15)


class About(StrEnum):
    """What a trouble is."""

    BACKUP = "backup"
    RPO = "rpo"


@dataclass(frozen=True, slots=True)
class Trouble:
    """What tells a trouble apart: a failing rule of a service, or a missed RPO, which is of no rule."""

    about: About
    plan: str
    service: str
    rule: str = ""
    kind: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """The key of its record."""
        one = fingerprint(self.service, self.rule, self.kind)
        return NOTICES, f"{_of_plan(self.about, self.plan)}{one}"


@dataclass(frozen=True, slots=True)
class Notice:
    """A trouble as it stands: why and since when, or when it was over; whether it `is_told`.

    It was put into the index for `wake_at`; None when all is told.
    """

    trouble: Trouble
    since: datetime
    reason: str
    job: str
    over_at: datetime | None
    is_told: bool
    wake_at: datetime | None

    @property
    def is_news(self) -> bool:
        """Whether operators do not know yet that it has begun, or that it is over."""
        return self.over_at is not None or not self.is_told


def trouble_of(lineage: Lineage) -> Trouble:
    """Return the trouble that a lineage's failed backup is."""
    return Trouble(About.BACKUP, lineage.plan, lineage.service, lineage.rule, str(lineage.kind))


def begun(trouble: Trouble, reason: str, at: datetime, job: str = "") -> Write:
    """Return the write for a trouble that has begun, or goes on for another reason."""
    sets = {
        "format": 1,
        "about": trouble.about,
        "plan": trouble.plan,
        "service": trouble.service,
        "rule": trouble.rule,
        "kind": trouble.kind,
        "reason": reason[:LONGEST_REASON],
        "job": job,
        "since": stamp(at),
    }
    return Write(trouble.key, sets={**sets, **waking(at)}, drops=("over_at",))


def over(trouble: Trouble, at: datetime) -> Write:
    """Return the write for a trouble that is over, if there is a record of it."""
    known = Attr("pk").exists()
    return Write(trouble.key, Role.NEWER, sets={"over_at": stamp(at), **waking(at)}, condition=known)


class NoticeStore:
    """Reads troubles, claims what is to be told of them, and records what was told."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def note(self, writes: Iterable[Write]) -> None:
        """Record troubles that have begun or are over."""
        for batch in in_batches(writes, MOST_WRITES):
            self._table.commit_outcome(batch)

    def read(self, keys: Iterable[str]) -> list[Notice]:
        """Return the troubles under these sort keys."""
        return [_notice(item) for item in self._table.get_all((NOTICES, key) for key in keys).values()]

    def of_plan(self, about: About, plan: str) -> Iterator[Notice]:
        """Yield the troubles of one sort in a plan."""
        return map(_notice, self._table.partition(NOTICES, prefix=_of_plan(about, plan)))

    def claim(self, notices: Sequence[Notice], now: datetime) -> list[Notice]:
        """Return those of these that nobody else tells or has changed, to be told by the caller alone."""
        until = now + CLAIMED_FOR
        refused = self._refused(_claiming(each, until) for each in notices)
        return [replace(each, wake_at=until) for each in notices if each.trouble.key not in refused]

    def settle(self, notices: Sequence[Notice]) -> None:
        """Record that operators know these troubles as they stand here."""
        changed = self._refused(map(_settling, notices))
        self._refused(_settling_changed(each) for each in notices if each.trouble.key in changed)

    def _refused(self, writes: Iterable[Write]) -> set[tuple[str, str]]:
        """Carry out writes to different records; return the keys of those whose condition was not met."""
        refused = set[tuple[str, str]]()
        for batch in in_batches(writes, MOST_WRITES):
            left = {write.key: write for write in batch}
            while left and (again := self._table.commit(list(left.values()))):
                for write in again:
                    del left[write.key]
                    refused.add(write.key)
        return refused


def _of_plan(about: About, plan: str) -> str:
    return f"{about}#{fingerprint(plan)}#"


def _claiming(notice: Notice, until: datetime) -> Write:
    return Write(notice.trouble.key, sets=waking(until), condition=_unchanged(notice))


def _settling(notice: Notice) -> Write:
    if notice.over_at is not None:
        return Write(notice.trouble.key, deletes=True, condition=_unchanged(notice))
    return Write(notice.trouble.key, sets={"is_told": True}, drops=NOT_WAKING, condition=_unchanged(notice))


def _settling_changed(notice: Notice) -> Write:
    """Return the write for a trouble that has changed while it was told: the change is yet to be told."""
    there = Attr("pk").exists()
    if notice.over_at is not None:
        return Write(notice.trouble.key, drops=("is_told",), condition=there)
    return Write(notice.trouble.key, sets={"is_told": True}, condition=there)


def _unchanged(notice: Notice) -> ConditionBase:
    return Attr("wake_at").eq(stamp(notice.wake_at) if notice.wake_at else None)


def _notice(item: Item) -> Notice:
    names = ("plan", "service", "rule", "kind")
    return Notice(
        trouble=Trouble(About(item["about"]), *(item[name] for name in names)),
        since=moment(item["since"]),
        reason=item["reason"],
        job=item["job"],
        over_at=moment(item["over_at"]) if "over_at" in item else None,
        is_told=bool(item.get("is_told")),
        wake_at=moment(item["wake_at"]) if "wake_at" in item else None,
    )
