"""What every service of a plan has, rule by rule: its backup under way and what is due, how many points there
are in each vault, the newest.

One record for each lineage, one for each vault of it, and one for each service that the plan was last seen to
select. They are written with what they tell of, so that ticks and `GET /status` read one page of them instead
of every point. A lineage whose failed backup is to be tried again stands in the index of what wakes.

Invariant: a vault's newest only ever grows, whatever the order in which copies arrive, until a lifecycle that
has read every point states it anew.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from boto3.dynamodb.conditions import ConditionBase

from chalicelib.aws.batches import in_batches
from chalicelib.catalog.recovery_point import Artefact, Lineage, RecoveryPoint
from chalicelib.catalog.store.items import Item, moment, stamp
from chalicelib.catalog.store.table import Table
from chalicelib.catalog.store.wake import NOT_WAKING, waking
from chalicelib.catalog.store.writes import MOST_WRITES, Attr, Role, Write
from chalicelib.ids import fingerprint
from chalicelib.plans.model import Kind

_SEPARATOR = "\x1f"
_COUNT = "count#"
_WAITED_FOR = "waited_for#"
# A sort key has at most 1,024 bytes, and a service's name may have as many.
_LONGEST_BYTES = 512
INSTANCES_NAMED = 3


@dataclass(frozen=True, slots=True)
class Retry:
    """A failed backup that is to be tried again: the run it was due for, its tries, when next."""

    job: str
    nominal_at: datetime
    tries: int
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Newest:
    """The time of the newest point in a vault, and of the newest whose bytes were verified there."""

    at: datetime
    verified_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Flagged:
    """The last point of a lineage, and why it stands for no good one."""

    point: str
    why: str


@dataclass(frozen=True, slots=True)
class LineageRecord:
    """A lineage. By vault: how many points it has there, the newest, and how many copies are awaited there.

    Of its backups: the last job opened, the one that has begun and is under way, the newest that was due with
    how many were due since one began, those that wait for their turn, and a failed one to be tried again.
    `missed` says why the last due run could not be made; `seen` are some of its instances when they were last
    seen. `flagged` says what is wrong with its last point.
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

    @property
    def newest_at(self) -> datetime | None:
        """The time of its newest point, wherever that is."""
        return max((each.at for each in self.newest.values()), default=None)

    @property
    def verified_at(self) -> datetime | None:
        """The time of its newest verified point, wherever that is."""
        return max((each.verified_at for each in self.newest.values() if each.verified_at), default=None)


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """A service of a plan and its lineages; `key` continues a listing behind it."""

    key: str
    service: str
    lineages: tuple[LineageRecord, ...]


class ServiceStore:
    """Lists the services of plans."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def note_selected(self, plan: str, services: Iterable[str], now: datetime) -> None:
        """Remember the services that a plan selects, and when it was seen to."""
        self._table.put_all(
            {"pk": _pk(plan), "sk": _prefix(service), "format": 1, "service": service, "seen_at": stamp(now)}
            for service in services
        )

    def of_plan(self, plan: str, *, after: str | None = None) -> Iterator[ServiceRecord]:
        """Yield the services of a plan by name, those whose record's key comes behind `after`."""
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
        """Return one lineage, without its vaults, strongly consistent; an empty record when there is none."""
        item = self._table.get(*_key(lineage))
        return _record(item, lineage) if item else LineageRecord(lineage)

    def with_vaults(self, lineage: Lineage) -> LineageRecord:
        """Return one lineage with its vaults, strongly consistent; an empty record when there is none."""
        pk, sk = _key(lineage)
        records = _records(lineage.plan, list(self._table.partition(pk, prefix=sk)))
        return next((each for each in records if each.lineage == lineage), LineageRecord(lineage))

    def lineages(self, plan: str) -> Iterator[LineageRecord]:
        """Yield every lineage of a plan that there ever was a job for."""
        for service in self.of_plan(plan):
            yield from service.lineages

    def note_retries(self, retries: Iterable[tuple[Lineage, Retry]]) -> None:
        """Have runs that could not be made tried again."""
        for batch in in_batches((retrying(lineage, retry) for lineage, retry in retries), MOST_WRITES):
            self._table.commit(batch)

    def forget_retries(self, records: Iterable[LineageRecord]) -> None:
        """Stop trying the failed backups of these lineages."""
        for record in records:
            if record.retry is not None:
                self._table.commit([forgetting_retry(record.lineage, record.retry.job)])

    def forget_unseen(self, records: Iterable[LineageRecord]) -> None:
        """Forget the missed runs of services of which no instance was ever seen: a plan that selected nothing
        has such a lineage, by its own name, until it selects something."""
        for record in records:
            if record.missed is not None and record.seen_at is None:
                unseen = Attr("seen_at").not_exists()
                self._table.commit([Write(_key(record.lineage), deletes=True, condition=unseen)])

    def waking(self, keys: Iterable[tuple[str, str]]) -> list[LineageRecord]:
        """Return the lineages under these keys whose backups are to be tried again."""
        found = [record for item in self._table.get_all(keys).values() if (record := _of_item(item))]
        return [record for record in found if record.retry is not None]


# The backups of a lineage


def opening(lineage: Lineage, job_id: str, instances: Sequence[str], now: datetime, *, due: bool) -> Write:
    """Note the last job opened for a lineage; one that was due supersedes those before it."""
    sets = {**_named(lineage), "last_job": job_id, "seen": list(instances[:INSTANCES_NAMED])}
    sets["seen_at"] = stamp(now)
    if not due:
        return Write(_key(lineage), sets=sets)
    dropped = ("missed", "retry", *NOT_WAKING)
    return Write(_key(lineage), sets={**sets, "due_job": job_id}, adds={"passed": 1}, drops=dropped)


def missing(lineage: Lineage, job_id: str, why: str, *, supersedes: bool) -> Write:
    """Note that a due run could not be made; if it `supersedes` those before it, it does as any other."""
    sets = {**_named(lineage), "last_job": job_id, "missed": why}
    if not supersedes:
        return Write(_key(lineage), sets=sets)
    sets["due_job"] = job_id
    return Write(_key(lineage), sets=sets, drops=("retry", *NOT_WAKING))


def beginning(record: LineageRecord, job_id: str, *, due: bool) -> Write:
    """Make a job the one under way; refused when another is, or when a newer one is due in its place."""
    free: ConditionBase = Attr("running").not_exists() | Attr("running").eq(job_id)
    if record.running is not None:  # over, and could not say so
        free = free | Attr("running").eq(record.running)
    sets: Item = {"running": job_id} | ({"passed": 0} if due else {})
    newest = free & Attr("due_job").eq(job_id) if due else free
    return Write(_key(record.lineage), sets=sets, takes={"waiting": {job_id}}, condition=newest)


def unbeginning(lineage: Lineage, passed: int) -> Write:
    """Give the lineage back as it was before a job began; so many runs have been due since one did."""
    return Write(_key(lineage), drops=("running",), adds={"passed": passed})


def enqueueing(lineage: Lineage, job_id: str, holder: str) -> Write:
    """Have a job poked when `holder` is over; refused when that is over already."""
    return Write(_key(lineage), adds={"waiting": {job_id}}, condition=Attr("running").eq(holder))


def ending(lineage: Lineage, job_id: str, *, begun: bool, passed: int) -> Write:
    """Give the lineage back, or leave the line; `passed` is added to the due runs since one began."""
    added = {"passed": passed} if passed else {}
    return Write(_key(lineage), adds=added, takes={"waiting": {job_id}}, drops=("running",) if begun else ())


def retrying(lineage: Lineage, retry: Retry) -> Write:
    """Have a failed backup tried again."""
    stored = {
        "job": retry.job,
        "nominal_at": stamp(retry.nominal_at),
        "tries": retry.tries,
        "at": stamp(retry.at),
        "reason": retry.reason[:1000],
    }
    return Write(_key(lineage), sets={"retry": stored, **waking(retry.at)})


def forgetting_retry(lineage: Lineage, job_id: str) -> Write:
    """Stop trying a failed backup."""
    condition = Attr("retry.job").eq(job_id)
    return Write(_key(lineage), Role.RELEASE, drops=("retry", *NOT_WAKING), condition=condition)


# What its vaults hold


def counting(point: RecoveryPoint, vault: str, number: int) -> Write:
    """Count a lineage's points in a vault up or down."""
    return Write(_key(point.lineage), sets=_named(point.lineage), adds={_COUNT + vault: number})


def flagging(point: RecoveryPoint) -> Write:
    """Note what is wrong with the last point of a lineage, or that nothing is."""
    if point.is_flagged:
        return Write(_key(point.lineage), sets={**_named(point.lineage), "flagged": _flag(point)})
    return Write(_key(point.lineage), sets=_named(point.lineage), drops=("flagged",))


def confirming(point: RecoveryPoint) -> list[Write]:
    """Count a suspect point that is confirmed as verified wherever it was read back."""
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
    """Count the copies up or down that are due in a vault and not there."""
    return Write(_key(point.lineage), adds={_WAITED_FOR + vault: number})


def arriving(point: RecoveryPoint, artefact: Artefact) -> tuple[Write, ...]:
    """Count a point that is new in a vault; it is the newest there unless a newer one arrived before.

    A partial one is no newest point, and one of which something is doubted is not verified.
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
    """State the newest of each vault as all of the lineage's points tell it, unless one arrived meanwhile; a
    flagged point that is gone is no longer shown."""
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
    """Return what the keys of a service begin with: its name, or the beginning of a long one and its hash."""
    if len(service.encode()) <= _LONGEST_BYTES and _SEPARATOR not in service:
        return service + _SEPARATOR
    begin = service.encode()[: _LONGEST_BYTES - 32].decode(errors="ignore").replace(_SEPARATOR, " ")
    return f"{begin}{_SEPARATOR}{fingerprint(service)}{_SEPARATOR}"


def _service(plan: str, items: Sequence[Item]) -> ServiceRecord:
    service = items[0]["service"]
    return ServiceRecord(_prefix(service), service, tuple(_records(plan, items)))


def _records(plan: str, items: Sequence[Item]) -> Iterator[LineageRecord]:
    """Yield the lineages that the items of one service tell of."""
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
