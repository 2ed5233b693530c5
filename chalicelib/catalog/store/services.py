"""The services of each plan, rule by rule: backup under way, due backup, counts by vault, newest points.

There is one record for each lineage, one for each vault of it, and one for each service that the plan was
last seen to select. They are written in the same transaction as what they describe, so that ticks and `GET
/status` read one page of them instead of every point. A lineage whose failed backup is to be tried again is
in the `wake` index.

Invariant: the newest point of a vault only ever gets newer, whatever the order in which copies arrive, until
a lifecycle that has read every point states it again.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from boto3.dynamodb.conditions import ConditionBase

from chalicelib.aws.batches import in_batches
from chalicelib.catalog.recovery_point import Artefact, Lineage, RecoveryPoint
from chalicelib.catalog.store import notices
from chalicelib.catalog.store.items import Item, moment, stamp
from chalicelib.catalog.store.table import Table
from chalicelib.catalog.store.wake import NOT_WAKING, waking
from chalicelib.catalog.store.writes import MOST_WRITES, Attr, Role, Write
from chalicelib.ids import fingerprint
from chalicelib.plans.model import Kind

_SEPARATOR = "\x1f"
_COUNT = "count#"
_WAITED_FOR = "waited_for#"
# A sort key has at most 1,024 bytes, and so may a service's name alone.
_LONGEST_BYTES = 512
INSTANCES_NAMED = 3
# A service that one instance's tag names is expected to have instances again for so long.
EXPECTED_FOR = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Retry:
    """A failed backup to be tried again: the run it was due for, its number of tries, its next time."""

    job: str
    nominal_at: datetime
    tries: int
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Newest:
    """The times of the newest point in a vault, and of the newest whose bytes were verified there."""

    at: datetime
    verified_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Flagged:
    """The last point of a lineage, and why it does not count as a good one."""

    point: str
    why: str


@dataclass(frozen=True, slots=True)
class LineageRecord:
    """A lineage. By vault: how many points it has there, the newest, and how many copies are due there.

    Of its backups: the last job opened, the one under way, the newest due one with how many were due since
    one began, those that wait for their turn, and a failed one to be tried again. `missed` says why the last
    due run could not be made; `seen` are some of its instances when they were last seen. `flagged` says what
    is wrong with its last point. It is `failing` until a backup succeeds that began after one had failed or
    been missed.
    """

    lineage: Lineage
    counts: Mapping[str, int] = field(default_factory=dict)
    newest: Mapping[str, Newest] = field(default_factory=dict)
    awaited: Mapping[str, int] = field(default_factory=dict)
    last_job: str | None = None
    running: str | None = None
    due_job: str | None = None
    passed: int = 0
    waiting: frozenset[str] = frozenset()
    retry: Retry | None = None
    missed: str | None = None
    seen: tuple[str, ...] = ()
    seen_at: datetime | None = None
    flagged: Flagged | None = None
    failing: bool = False

    def is_expected(self, now: datetime) -> bool:
        """Return whether its service is still to be backed up: instances of it were seen not long ago."""
        return self.seen_at is not None and now - self.seen_at < EXPECTED_FOR

    @property
    def newest_at(self) -> datetime | None:
        """The time of its newest point in any vault."""
        return max((each.at for each in self.newest.values()), default=None)

    @property
    def verified_at(self) -> datetime | None:
        """The time of its newest verified point in any vault."""
        return max((each.verified_at for each in self.newest.values() if each.verified_at), default=None)


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """A service of a plan and its lineages; `key` is where a listing continues."""

    key: str
    service: str
    lineages: tuple[LineageRecord, ...]


class ServiceStore:
    """Lists the services of plans."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def note_selected(self, plan: str, services: Iterable[str], now: datetime) -> None:
        """Record the services that a plan selects, and when."""
        self._table.put_all(
            {"pk": _pk(plan), "sk": _prefix(service), "format": 1, "service": service, "seen_at": stamp(now)}
            for service in services
        )

    def of_plan(self, plan: str, *, after: str | None = None) -> Iterator[ServiceRecord]:
        """Yield the services of a plan by name, after the record's key `after`."""
        service, items = None, list[Item]()
        bound = f"{after}{_SEPARATOR}\uffff" if after is not None else None
        for item in self._table.partition(_pk(plan), after=bound):
            if items and item["service"] != service:
                yield _service(plan, items)
                items = []
            service = item["service"]
            items.append(item)
        if items:
            yield _service(plan, items)

    def of_service(self, plan: str, service: str) -> ServiceRecord | None:
        """Return one service of a plan, None when the plan never selected it."""
        items = list(self._table.partition(_pk(plan), prefix=_prefix(service)))
        return _service(plan, items) if items else None

    def of_lineage(self, lineage: Lineage) -> LineageRecord:
        """Return a lineage without its vaults, strongly consistent; an empty record when there is none."""
        item = self._table.get(*_key(lineage))
        return _record(item, lineage) if item else LineageRecord(lineage)

    def with_vaults(self, lineage: Lineage) -> LineageRecord:
        """Return a lineage with its vaults, strongly consistent; an empty record when there is none."""
        pk, sk = _key(lineage)
        records = _records(lineage.plan, list(self._table.partition(pk, prefix=sk)))
        return next((each for each in records if each.lineage == lineage), LineageRecord(lineage))

    def lineages(self, plan: str) -> Iterator[LineageRecord]:
        """Yield every lineage of a plan that ever had a job."""
        for service in self.of_plan(plan):
            yield from service.lineages

    def note_retries(self, retries: Iterable[tuple[Lineage, Retry]]) -> None:
        """Record runs that could not be made, to be tried again."""
        for batch in in_batches((retrying(lineage, retry) for lineage, retry in retries), MOST_WRITES):
            self._table.commit(batch)

    def forget_retries(self, records: Iterable[LineageRecord]) -> None:
        """Stop trying the failed backups of these lineages."""
        for record in records:
            if record.retry is not None:
                self._table.commit([forgetting_retry(record.lineage, record.retry.job)])

    def forget_unseen(self, records: Iterable[LineageRecord], now: datetime) -> None:
        """Remove the missed runs of services of which no instance was ever seen.

        A plan that selects nothing has such a lineage, by its own name, until it selects something.
        """
        for record in records:
            if record.missed is not None and record.seen_at is None:
                unseen = Attr("seen_at").not_exists()
                forgotten = Write(_key(record.lineage), deletes=True, condition=unseen)
                self._table.commit_outcome([forgotten, notices.over(notices.trouble_of(record.lineage), now)])

    def waking(self, keys: Iterable[tuple[str, str]]) -> list[LineageRecord]:
        """Return the lineages under these keys whose backups are to be tried again."""
        found = [record for item in self._table.get_all(keys).values() if (record := _of_item(item))]
        return [record for record in found if record.retry is not None]


# The backups of a lineage


def opening(lineage: Lineage, job_id: str, instances: Sequence[str], now: datetime, *, due: bool) -> Write:
    """Return the write for the last job opened for a lineage; one that was due supersedes those before it."""
    sets = {**_named(lineage), "last_job": job_id, "seen": list(instances[:INSTANCES_NAMED])}
    sets["seen_at"] = stamp(now)
    if not due:
        return Write(_key(lineage), sets=sets)
    dropped = ("missed", "retry", *NOT_WAKING)
    return Write(_key(lineage), sets={**sets, "due_job": job_id}, adds={"passed": 1}, drops=dropped)


def missing(lineage: Lineage, job_id: str, why: str, *, supersedes: bool) -> Write:
    """Return the write for a due run that could not be made; with `supersedes` it replaces those before."""
    sets = {**_named(lineage), "last_job": job_id, "missed": why, "failing": True}
    if not supersedes:
        return Write(_key(lineage), sets=sets)
    sets["due_job"] = job_id
    return Write(_key(lineage), sets=sets, drops=("retry", *NOT_WAKING))


def beginning(record: LineageRecord, job_id: str, *, due: bool) -> Write:
    """Return the write that puts a job under way; refused when one is, or a newer one is due instead."""
    free: ConditionBase = Attr("running").not_exists() | Attr("running").eq(job_id)
    if record.running is not None:  # that job is over and could not record it
        free = free | Attr("running").eq(record.running)
    sets: Item = {"running": job_id} | ({"passed": 0} if due else {})
    newest = free & Attr("due_job").eq(job_id) if due else free
    return Write(_key(record.lineage), sets=sets, takes={"waiting": {job_id}}, condition=newest)


def unbeginning(lineage: Lineage, passed: int) -> Write:
    """Return the write that undoes the beginning of a job; `passed` runs have been due since one began."""
    return Write(_key(lineage), drops=("running",), adds={"passed": passed})


def enqueueing(lineage: Lineage, job_id: str, holder: str) -> Write:
    """Return the write that has a job advanced when `holder` is over; refused when it already is."""
    return Write(_key(lineage), adds={"waiting": {job_id}}, condition=Attr("running").eq(holder))


def ending(lineage: Lineage, job_id: str, *, begun: bool, passed: int) -> Write:
    """Return the write that ends a job's turn or its waiting; `passed` is added to the runs due since."""
    added = {"passed": passed} if passed else {}
    return Write(_key(lineage), adds=added, takes={"waiting": {job_id}}, drops=("running",) if begun else ())


def failing(lineage: Lineage) -> Write:
    """Return the write for a lineage whose backup has failed."""
    return Write(_key(lineage), sets={**_named(lineage), "failing": True})


def recovering(lineage: Lineage) -> Write:
    """Return the write for a lineage of which a backup has succeeded."""
    return Write(_key(lineage), drops=("failing",))


def retrying(lineage: Lineage, retry: Retry) -> Write:
    """Return the write that has a failed backup tried again."""
    stored = {
        "job": retry.job,
        "nominal_at": stamp(retry.nominal_at),
        "tries": retry.tries,
        "at": stamp(retry.at),
        "reason": retry.reason[:1000],
    }
    return Write(_key(lineage), sets={"retry": stored, **waking(retry.at)})


def forgetting_retry(lineage: Lineage, job_id: str) -> Write:
    """Return the write that stops trying a failed backup."""
    condition = Attr("retry.job").eq(job_id)
    return Write(_key(lineage), Role.RELEASE, drops=("retry", *NOT_WAKING), condition=condition)


# What its vaults hold


def counting(point: RecoveryPoint, vault: str, number: int) -> Write:
    """Return the write that adds `number` to the count of a lineage's points in a vault."""
    return Write(_key(point.lineage), sets=_named(point.lineage), adds={_COUNT + vault: number})


def flagging(point: RecoveryPoint) -> Write:
    """Return the write that stores what is wrong with the last point of a lineage, or that nothing is."""
    if point.is_flagged:
        return Write(_key(point.lineage), sets={**_named(point.lineage), "flagged": _flag(point)})
    return Write(_key(point.lineage), sets=_named(point.lineage), drops=("flagged",))


def confirming(point: RecoveryPoint) -> list[Write]:
    """Return the writes that count a confirmed point as verified in each vault where it was read back."""
    at = stamp(point.created_at)
    older = Attr("verified_at").not_exists() | Attr("verified_at").lt(at)
    unflagged = Write(
        _key(point.lineage),
        Role.NEWER,
        drops=("flagged",),
        condition=Attr("flagged").eq(_flag(point)),
    )
    return [
        unflagged,
        *(
            Write(_vault_key(point.lineage, vault), Role.NEWER, sets={"verified_at": at}, condition=older)
            for vault in point.available_in()
            if point.artefacts[vault].verified_at is not None
        ),
    ]


def _flag(point: RecoveryPoint) -> str:
    return json.dumps([point.id, point.flag])


def awaiting(point: RecoveryPoint, vault: str, number: int) -> Write:
    """Return the write that adds `number` to the count of copies that are due in a vault."""
    return Write(_key(point.lineage), adds={_WAITED_FOR + vault: number})


def arriving(point: RecoveryPoint, artefact: Artefact) -> tuple[Write, ...]:
    """Return the writes that count a new point in a vault, and make it the newest unless one is newer.

    A partial point is never the newest, and a suspect one is not verified.
    """
    if point.left_out:
        return (counting(point, artefact.vault, 1),)
    at = stamp(point.created_at)
    sets = {**_named(point.lineage), "vault": artefact.vault, "newest_at": at}
    if artefact.verified_at is not None and not point.is_flagged:
        sets["verified_at"] = at
    newer = Attr("newest_at").not_exists() | Attr("newest_at").lt(at)
    newest = Write(_vault_key(point.lineage, artefact.vault), Role.NEWER, sets=sets, condition=newer)
    return counting(point, artefact.vault, 1), newest


def restating(record: LineageRecord, points: Sequence[RecoveryPoint]) -> list[Write]:
    """Return the writes that set the newest of each vault from all points, unless one arrived meanwhile.

    The flag of a point that is gone is removed.
    """
    whole = [point for point in points if not point.left_out]
    vaults = sorted({*record.newest, *(vault for point in whole for vault in point.available_in())})
    writes = _unflagging(record, points)
    for vault in vaults:
        known, true = record.newest.get(vault), _newest_of(whole, vault)
        if known != true:
            writes.append(_restating_one(record.lineage, vault, known, true))
    return writes


def _unflagging(record: LineageRecord, points: Sequence[RecoveryPoint]) -> list[Write]:
    flagged = record.flagged
    if flagged is None or any(point.id == flagged.point and point.available_in() for point in points):
        return []
    unchanged = Attr("flagged").eq(json.dumps([flagged.point, flagged.why]))
    return [Write(_key(record.lineage), Role.NEWER, drops=("flagged",), condition=unchanged)]


def _newest_of(whole: Sequence[RecoveryPoint], vault: str) -> Newest | None:
    there = [point for point in whole if vault in point.available_in()]
    sure = [each for each in there if each.artefacts[vault].verified_at is not None and not each.is_flagged]
    if not there:
        return None
    verified_at = max((point.created_at for point in sure), default=None)
    return Newest(max(point.created_at for point in there), verified_at)


def _restating_one(lineage: Lineage, vault: str, known: Newest | None, true: Newest | None) -> Write:
    key = _vault_key(lineage, vault)
    unchanged = Attr("newest_at").eq(stamp(known.at)) if known else Attr("newest_at").not_exists()
    if true is None:
        return Write(key, Role.NEWER, deletes=True, condition=unchanged)
    sets = {**_named(lineage), "vault": vault, "newest_at": stamp(true.at)}
    if true.verified_at is None:
        return Write(key, Role.NEWER, sets=sets, drops=("verified_at",), condition=unchanged)
    return Write(key, Role.NEWER, sets={**sets, "verified_at": stamp(true.verified_at)}, condition=unchanged)


def _named(lineage: Lineage) -> Item:
    return {"format": 1, "service": lineage.service, "rule": lineage.rule, "kind": str(lineage.kind)}


def _pk(plan: str) -> str:
    return f"services#{plan}"


def _key(lineage: Lineage) -> tuple[str, str]:
    return _pk(
        lineage.plan
    ), f"{_prefix(lineage.service)}{_SEPARATOR}{lineage.rule}{_SEPARATOR}{lineage.kind}"


def _vault_key(lineage: Lineage, vault: str) -> tuple[str, str]:
    pk, sk = _key(lineage)
    return pk, f"{sk}{_SEPARATOR}{vault}"


def _prefix(service: str) -> str:
    """Return the beginning of a service's keys: its name, or the beginning of a long one and its hash."""
    if len(service.encode()) <= _LONGEST_BYTES and _SEPARATOR not in service:
        return service + _SEPARATOR
    begin = service.encode()[: _LONGEST_BYTES - 32].decode(errors="ignore").replace(_SEPARATOR, " ")
    return f"{begin}{_SEPARATOR}{fingerprint(service)}{_SEPARATOR}"


def _service(plan: str, items: Sequence[Item]) -> ServiceRecord:
    service = items[0]["service"]
    return ServiceRecord(_prefix(service), service, tuple(_records(plan, items)))


def _records(plan: str, items: Sequence[Item]) -> Iterator[LineageRecord]:
    """Yield the lineages that the items of one service describe."""
    newest: dict[Lineage, dict[str, Newest]] = {}
    for item in items:
        if "vault" in item:
            verified_at = moment(item["verified_at"]) if "verified_at" in item else None
            in_vaults = newest.setdefault(_lineage(plan, item), {})
            in_vaults[item["vault"]] = Newest(moment(item["newest_at"]), verified_at)
    for item in items:
        if "rule" in item and "vault" not in item:
            lineage = _lineage(plan, item)
            yield _record(item, lineage, newest.get(lineage, {}))


def _lineage(plan: str, item: Item) -> Lineage:
    return Lineage(plan, item["rule"], Kind(item["kind"]), item["service"])


def _of_item(item: Item) -> LineageRecord | None:
    if "rule" not in item or "vault" in item:
        return None
    return _record(item, _lineage(item["pk"].removeprefix("services#"), item))


def _record(item: Item, lineage: Lineage, newest: Mapping[str, Newest] | None = None) -> LineageRecord:
    return LineageRecord(
        lineage=lineage,
        counts=_numbers(item, _COUNT),
        newest=newest or {},
        awaited=_numbers(item, _WAITED_FOR),
        last_job=item.get("last_job"),
        running=item.get("running"),
        due_job=item.get("due_job"),
        passed=int(item.get("passed", 0)),
        waiting=frozenset(item.get("waiting", ())),
        retry=_retry(item["retry"]) if "retry" in item else None,
        missed=item.get("missed"),
        seen=tuple(item.get("seen", ())),
        seen_at=moment(item["seen_at"]) if "seen_at" in item else None,
        flagged=Flagged(*json.loads(item["flagged"])) if "flagged" in item else None,
        failing=bool(item.get("failing")),
    )


def _numbers(item: Item, prefix: str) -> dict[str, int]:
    return {name.removeprefix(prefix): int(n) for name, n in item.items() if name.startswith(prefix)}


def _retry(stored: Item) -> Retry:
    return Retry(
        job=stored["job"],
        nominal_at=moment(stored["nominal_at"]),
        tries=int(stored["tries"]),
        at=moment(stored["at"]),
        reason=stored["reason"],
    )
