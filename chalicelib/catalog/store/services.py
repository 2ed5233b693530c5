"""What every service of a plan has, rule by rule: how many points, the newest, the last job.

One record for each lineage, and one for each service that the plan was last seen to select. They are written
with what they tell of, so that ticks and `GET /status` read one page of them instead of every point.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from boto3.dynamodb.conditions import Attr, ConditionBase

from chalicelib.catalog.recovery_point import Lineage, RecoveryPoint
from chalicelib.catalog.store.table import Item, Table, Write, moment, stamp
from chalicelib.ids import fingerprint
from chalicelib.plans.model import Kind

_SEPARATOR = "\x1f"
_COUNT = "count#"
# A sort key has at most 1,024 bytes, and a service's name may have as many.
_LONGEST_BYTES = 512


@dataclass(frozen=True, slots=True)
class LineageRecord:
    """A lineage: by vault how many points it has there, the time of its newest and of its newest verified
    point, and the last job opened for it."""

    lineage: Lineage
    counts: Mapping[str, int] = field(default_factory=dict)
    newest_at: datetime | None = None
    verified_at: datetime | None = None
    last_job: str | None = None


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
        key, service, lineages = "", "", list[LineageRecord]()
        bound = f"{after}{_SEPARATOR}\uffff" if after is not None else None
        for item in self._table.partition(_pk(plan), after=bound):
            if item["service"] != service:
                if key:
                    yield ServiceRecord(key, service, tuple(lineages))
                key, service, lineages = _prefix(item["service"]), item["service"], []
            if "rule" in item:
                lineages.append(_record(plan, item))
        if key:
            yield ServiceRecord(key, service, tuple(lineages))

    def of_service(self, plan: str, service: str) -> ServiceRecord | None:
        """Return one service of a plan, None when the plan never selected it."""
        items = list(self._table.partition(_pk(plan), prefix=_prefix(service)))
        if not items:
            return None
        lineages = tuple(_record(plan, item) for item in items if "rule" in item)
        return ServiceRecord(_prefix(service), service, lineages)

    def lineages(self, plan: str) -> Iterator[LineageRecord]:
        """Yield every lineage of a plan that there ever was a job for."""
        for item in self._table.partition(_pk(plan)):
            if "rule" in item:
                yield _record(plan, item)


def opening(lineage: Lineage, job_id: str) -> Write:
    """Note the last job opened for a lineage."""
    return Write(_key(lineage), sets={**_named(lineage), "last_job": job_id})


def counting(point: RecoveryPoint, vault: str, number: int) -> Write:
    """Count a lineage's points in a vault up or down.

    A point that is new becomes the newest; and the newest verified, when its artefact was read back.
    """
    sets = _named(point.lineage)
    if number > 0 and len(point.artefacts) == 1:
        sets["newest_at"] = stamp(point.created_at)
        if point.artefacts[vault].verified_at:
            sets["verified_at"] = stamp(point.created_at)
    return Write(_key(point.lineage), sets=sets, adds={_COUNT + vault: number})


def recounting(point: RecoveryPoint, vault: str) -> Write:
    """Count a point that is taken back; it is no newer for that."""
    return Write(_key(point.lineage), sets=_named(point.lineage), adds={_COUNT + vault: 1})


def newest_anew(record: LineageRecord, points: Iterable[RecoveryPoint]) -> tuple[Write, ...]:
    """Return the writes that name the newest of these points, and the newest verified one, when the record
    names others; refused when another point has become the newest meanwhile.

    `points` are all of the lineage; those that can be restored count.
    """
    good = [point for point in points if point.available_in()]
    verified = [
        point for point in good if any(point.artefacts[vault].verified_at for vault in point.available_in())
    ]
    wanted = {
        "newest_at": max((point.created_at for point in good), default=None),
        "verified_at": max((point.created_at for point in verified), default=None),
    }
    known = {"newest_at": record.newest_at, "verified_at": record.verified_at}
    if wanted == known:
        return ()
    return (
        Write(
            _key(record.lineage),
            sets={name: stamp(at) for name, at in wanted.items() if at},
            drops=tuple(name for name, at in wanted.items() if at is None),
            condition=_still(known),
        ),
    )


def _still(known: Mapping[str, datetime | None]) -> ConditionBase:
    conditions = [Attr(name).eq(stamp(at)) if at else Attr(name).not_exists() for name, at in known.items()]
    return conditions[0] & conditions[1]


def _named(lineage: Lineage) -> Item:
    return {"format": 1, "service": lineage.service, "rule": lineage.rule, "kind": str(lineage.kind)}


def _pk(plan: str) -> str:
    return f"services#{plan}"


def _key(lineage: Lineage) -> tuple[str, str]:
    return _pk(
        lineage.plan
    ), f"{_prefix(lineage.service)}{_SEPARATOR}{lineage.rule}{_SEPARATOR}{lineage.kind}"


def _prefix(service: str) -> str:
    """Return what the keys of a service begin with: its name, or the beginning of a long one and its hash."""
    if len(service.encode()) <= _LONGEST_BYTES and _SEPARATOR not in service:
        return service + _SEPARATOR
    begin = service.encode()[: _LONGEST_BYTES - 32].decode(errors="ignore").replace(_SEPARATOR, " ")
    return f"{begin}{_SEPARATOR}{fingerprint(service)}{_SEPARATOR}"


def _record(plan: str, item: Item) -> LineageRecord:
    return LineageRecord(
        lineage=Lineage(plan, item["rule"], Kind(item["kind"]), item["service"]),
        counts={
            name.removeprefix(_COUNT): int(number) for name, number in item.items() if name.startswith(_COUNT)
        },
        newest_at=moment(item["newest_at"]) if "newest_at" in item else None,
        verified_at=moment(item["verified_at"]) if "verified_at" in item else None,
        last_job=item.get("last_job"),
    )
