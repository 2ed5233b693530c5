"""Recovery points in the table.

A point's id begins with its lineage's key, and the points of a lineage share a partition: whatever destroys
data is decided from one strongly consistent query. Each artefact is an attribute of its own, beside its state
and its pins (the jobs that need it), so that a condition can refer to them.

Invariant: a point is changed only from the version it was read at, and an artefact expires only while no job
pins it.
"""

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, fields
from datetime import datetime, timedelta
from typing import Any

from boto3.dynamodb.conditions import Attr, ConditionBase

from chalicelib.aws.batches import in_batches
from chalicelib.catalog.recovery_point import (
    LINEAGE_DIGITS,
    Artefact,
    Content,
    DueCopy,
    Lineage,
    Origin,
    PointId,
    PointState,
    RecoveryPoint,
    Segments,
    SnapshotRef,
    SnapshotSet,
    StoredFile,
)
from chalicelib.catalog.store.items import Item, moment, stamp
from chalicelib.catalog.store.table import Lookup, Page, Table
from chalicelib.catalog.store.wake import NOT_WAKING, waking
from chalicelib.catalog.store.writes import Role, Write
from chalicelib.errors import NotFound
from chalicelib.plans.model import Kind

_ARTEFACT = "artefact#"
_STATE = "state#"
_PINS = "pins#"
_DUE = "due#"
_REF = tuple(field.name for field in fields(SnapshotRef))
FORMAT = 1
SHARDS_AT_ONCE = 50

# The record of a point that failed or was deleted is kept this long; then DynamoDB's TTL removes it.
REMEMBERED = timedelta(days=90)


class PointStore:
    """Reads and lists recovery points. The functions of this module return the writes."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def get(self, point_id: str) -> RecoveryPoint | None:
        """Return the point, or None."""
        item = self._table.get(*_key(point_id))
        return _point(item) if item else None

    def require(self, point_id: str) -> RecoveryPoint:
        """Return the point.

        Raises:
            NotFound: there is none.
        """
        point = self.get(point_id)
        if point is None:
            raise NotFound("no such recovery point", resource=point_id)
        return point

    def plans_with(self, service: str, rule: str) -> list[str]:
        """Return the plans, removed ones too, with points of a service and rule to restore from."""
        listed = self._table.every(_lookup({"service": service, "rule": rule}, None))
        found = self._table.get_all([(item["pk"], item["sk"]) for item in listed])
        return sorted({point.plan for point in map(_point, found.values()) if point.available_in()})

    def get_many(self, point_ids: Iterable[str]) -> dict[str, RecoveryPoint]:
        """Return the points with these ids, strongly consistent; unknown ids are left out."""
        found = self._table.get_all({_key(point_id) for point_id in point_ids})
        return {item["sk"]: _point(item) for item in found.values()}

    def list(
        self, *, filters: dict[str, str], before: datetime | None, limit: int, cursor: str | None
    ) -> Page[RecoveryPoint]:
        """Return a page of points, newest first; `filters` among service, plan, rule, kind, state, vault."""
        page = self._table.page(_lookup(filters, before), limit=limit, cursor=cursor)
        keys = [(item["pk"], item["sk"]) for item in page.items]
        found = self._table.get_all(keys)
        return Page(tuple(_point(found[key]) for key in keys if key in found), page.cursor)

    def of_lineage(self, lineage: Lineage) -> tuple[RecoveryPoint, ...]:
        """Return every point of a lineage, newest first, strongly consistent; raise rather than omit one."""
        points = map(_point, self._table.partition(f"points#{lineage.key}"))
        return tuple(sorted(points, key=lambda point: (point.created_at, point.id), reverse=True))

    def shard(self, point: RecoveryPoint, vault: str, number: int) -> tuple[SnapshotRef, ...]:
        """Return the snapshots of one shard of an artefact; without shards, shard 0 has all of them."""
        held = point.artefacts[vault].snapshots
        return self.stored_shard(point.id, vault, number) if held.shards else held.snapshots

    def stored_shard(self, point_id: str, vault: str, number: int) -> tuple[SnapshotRef, ...]:
        """Return the snapshots of a shard that has a record of its own; none when there is no such record."""
        item = self._table.get(*_shard_key(point_id, vault, number))
        return _refs(json.loads(item["snapshots"])) if item else ()

    def lacking_in_shard(self, point_id: str, vault: str, number: int) -> tuple[str, ...]:
        """Return the names of the volumes that a shard lacks."""
        item = self._table.get(*_shard_key(point_id, vault, number))
        return tuple(json.loads(item["left_out"])) if item else ()

    def stored_snapshots(self, point_id: str) -> dict[str, set[str]]:
        """Return the ids of all snapshots in the shard records of a point, finished or not, by vault."""
        found: dict[str, set[str]] = {}
        for item in self._table.partition(f"shards#{point_id}"):
            ids = (ref.id for ref in _refs(json.loads(item["snapshots"])))
            found.setdefault(item["sk"].rpartition("#")[0], set()).update(ids)
        return found

    def snapshots(self, point: RecoveryPoint, vault: str) -> Iterator[SnapshotRef]:
        """Yield all snapshots of an artefact, from all its shards."""
        held = point.artefacts[vault].snapshots
        yield from held.snapshots
        keys = [_shard_key(point.id, vault, number) for number in range(held.shards)]
        for batch in in_batches(keys, SHARDS_AT_ONCE):
            found = self._table.get_all(batch)
            for key in batch:
                yield from _refs(json.loads(found[key]["snapshots"])) if key in found else ()


def creating(point: RecoveryPoint, now: datetime) -> Write:
    """Return the write that stores a point that is being made; it may be repeated while it is being made."""
    return Write(_key(point.id), put=_item(point, now), condition=_not_settled())


def settling(point: RecoveryPoint, now: datetime) -> Write:
    """Return the write that stores the outcome of a point that was being made."""
    return Write(_key(point.id), put=_item(point, now), condition=_not_settled())


def forgetting(point_id: str) -> Write:
    """Return the write that removes the record of a point of which nothing was made; a finished one stays."""
    begun = Attr("state").eq(str(PointState.CREATING))
    return Write(_key(point_id), Role.RELEASE, deletes=True, condition=begun)


def changing(
    point: RecoveryPoint, artefact: Artefact, now: datetime, *, unpinned: Collection[str] = ()
) -> Write:
    """Return the write that stores a new state of one artefact, and the state of the point that follows.

    Refused when the point has changed since `point` was read, or while a job needs it in one of the vaults
    `unpinned`.
    """
    after = point.with_artefact(artefact)
    condition: ConditionBase = Attr("version").eq(point.version)
    for vault in sorted(unpinned):
        condition = condition & Attr(_PINS + vault).not_exists()
    forgotten_at = _forgotten_at(after, now)
    return Write(
        _key(point.id),
        sets={
            _ARTEFACT + artefact.vault: json.dumps(_artefact_document(artefact)),
            _STATE + artefact.vault: str(artefact.state),
            "state": str(after.state),
            "version": point.version + 1,
        }
        | ({"expires_at": forgotten_at} if forgotten_at else {}),
        adds={"vaults": {artefact.vault}},
        drops=() if forgotten_at else ("expires_at",),
        condition=condition,
    )


def changing_all(point: RecoveryPoint, artefacts: Iterable[Artefact], now: datetime) -> list[Write]:
    """Return the writes that store new states of several artefacts; refused when the point has changed."""
    after, writes = point, []
    for artefact in artefacts:
        writes.append(changing(after, artefact, now))
        after = after.with_artefact(artefact)
    return writes


def expecting(point: RecoveryPoint, vault: str, due: DueCopy | None) -> Write:
    """Return the write that has a failed copy tried again, or (None) no longer; refused if changed."""
    left = {name: each for name, each in point.due.items() if name != vault}
    left |= {vault: due} if due else {}
    at = min((each.at for each in left.values() if each.at is not None), default=None)
    sets: dict[str, Any] = waking(at) if at else {}
    if due is not None:
        sets[_DUE + vault] = {"tries": due.tries, "at": stamp(due.at) if due.at else None}
    return Write(
        _key(point.id),
        sets={**sets, "version": point.version + 1},
        drops=(*(() if due else (_DUE + vault,)), *(() if at else NOT_WAKING)),
        condition=Attr("version").eq(point.version),
    )


def holding(point: RecoveryPoint, reason: str | None) -> Write:
    """Return the write that holds a point, or (None) releases it; refused when the point has changed."""
    version: dict[str, Any] = {"version": point.version + 1}
    unchanged = Attr("version").eq(point.version)
    if reason is None:
        return Write(_key(point.id), sets=version, drops=("hold",), condition=unchanged)
    return Write(_key(point.id), sets={"hold": reason, **version}, condition=unchanged)


def confirming(point: RecoveryPoint, reason: str) -> Write:
    """Return the write that makes a suspect point count as good; refused when the point has changed."""
    sets = {"confirmed": reason, "version": point.version + 1}
    return Write(_key(point.id), sets=sets, condition=Attr("version").eq(point.version))


def pinning(point_id: str, vault: str, holder: str) -> Write:
    """Return the write by which `holder` keeps an artefact from expiring; refused if not available."""
    available = Attr(_STATE + vault).eq(str(PointState.AVAILABLE))
    return Write(_key(point_id), adds={_PINS + vault: {holder}}, condition=available)


def unpinning(point_id: str, vault: str, holder: str) -> Write:
    """Return the write that removes a holder's pin."""
    return Write(_key(point_id), takes={_PINS + vault: {holder}})


def adding_shard(
    point_id: str, vault: str, number: int, refs: Iterable[SnapshotRef], lacking: Iterable[str] = ()
) -> Write:
    """Return the write that stores one shard of an artefact: snapshots, and the names of missing volumes."""
    text = json.dumps([_ref_document(ref) for ref in refs])
    put = {"format": FORMAT, "snapshots": text, "left_out": json.dumps([*lacking])}
    return Write(_shard_key(point_id, vault, number), put=put)


def dropping_shard(point_id: str, vault: str, number: int) -> Write:
    """Return the write that removes the record of a shard."""
    return Write(_shard_key(point_id, vault, number), deletes=True)


def _not_settled() -> Any:
    return Attr("pk").not_exists() | Attr("state").eq(str(PointState.CREATING))


def _key(point_id: str) -> tuple[str, str]:
    start = len("rp-")
    return f"points#{point_id[start : start + LINEAGE_DIGITS]}", point_id


def _shard_key(point_id: str, vault: str, number: int) -> tuple[str, str]:
    return f"shards#{point_id}", f"{vault}#{number:06d}"


def _lookup(filters: dict[str, str], before: datetime | None) -> Lookup:
    equal = {name: value for name, value in filters.items() if name not in ("service", "vault")}
    containing = {"vaults": filters["vault"]} if "vault" in filters else {}
    bound = stamp(before) if before else None
    if "service" in filters:
        return Lookup("by_service", f"point#{filters['service']}", equal, containing, bound)
    return Lookup("by_type", "point", equal, containing, bound)


def _item(point: RecoveryPoint, now: datetime) -> Item:
    item: Item = {
        "format": FORMAT,
        "type": "point",
        "service_type": f"point#{point.service}",
        "sorted_at": f"{stamp(point.created_at)}#{point.id}",
        "service": point.service,
        "plan": point.plan,
        "rule": point.rule,
        "kind": str(point.kind),
        "state": str(point.state),
        "nominal_at": stamp(point.nominal_at),
        "created_at": stamp(point.created_at),
        "source": json.dumps(point.source),
        "size_bytes": point.size_bytes,
        "reason": point.reason,
        "vaults": set(point.artefacts) or None,
        "version": point.version,
        "expires_at": _forgotten_at(point, now),
        "hold": point.hold,
        "origin": str(point.origin),
        "note": point.note or None,
        "keep_until": stamp(point.keep_until) if point.keep_until else None,
        "left_out": json.dumps(point.left_out) if point.left_out else None,
        "suspect": point.suspect or None,
        "confirmed": point.confirmed,
    }
    for vault, artefact in point.artefacts.items():
        item[_ARTEFACT + vault] = json.dumps(_artefact_document(artefact))
        item[_STATE + vault] = str(artefact.state)
    return item


def _forgotten_at(point: RecoveryPoint, now: datetime) -> int | None:
    """Return when the record of a point that can never be restored again is removed, in epoch seconds."""
    missing = any(each.state is PointState.MISSING for each in point.artefacts.values())
    if missing or point.state not in (PointState.FAILED, PointState.DELETED):
        return None  # what is missing may be found again
    return int((now + REMEMBERED).timestamp())


def _point(item: Item) -> RecoveryPoint:
    artefacts = (_artefact(json.loads(item[name])) for name in sorted(item) if name.startswith(_ARTEFACT))
    return RecoveryPoint(
        id=PointId(item["sk"]),
        service=item["service"],
        plan=item["plan"],
        rule=item["rule"],
        kind=Kind(item["kind"]),
        state=PointState(item["state"]),
        nominal_at=moment(item["nominal_at"]),
        created_at=moment(item["created_at"]),
        source=json.loads(item["source"]),
        size_bytes=int(item["size_bytes"]),
        reason=item["reason"],
        artefacts={artefact.vault: artefact for artefact in artefacts},
        version=int(item["version"]),
        pins={
            name.removeprefix(_PINS): frozenset(holders)
            for name, holders in item.items()
            if name.startswith(_PINS)
        },
        hold=item.get("hold"),
        due={
            name.removeprefix(_DUE): DueCopy(int(due["tries"]), moment(due["at"]) if due["at"] else None)
            for name, due in item.items()
            if name.startswith(_DUE)
        },
        origin=Origin(item["origin"]),
        note=item.get("note", ""),
        keep_until=moment(item["keep_until"]) if "keep_until" in item else None,
        left_out=tuple(json.loads(item.get("left_out", "[]"))),
        suspect=item.get("suspect", ""),
        confirmed=item.get("confirmed"),
    )


def _artefact_document(artefact: Artefact) -> dict[str, Any]:
    return {
        "vault": artefact.vault,
        "state": str(artefact.state),
        "content": _content_document(artefact.content),
        "folder": artefact.folder,
        "verified_at": stamp(artefact.verified_at) if artefact.verified_at else None,
        "reason": artefact.reason,
        "let_go_at": stamp(artefact.let_go_at) if artefact.let_go_at else None,
        "by_request": artefact.by_request,
        "was_made": artefact.was_made,
    }


def _artefact(document: dict[str, Any]) -> Artefact:
    return Artefact(
        vault=document["vault"],
        state=PointState(document["state"]),
        content=_content(document["content"]),
        folder=document["folder"],
        verified_at=moment(document["verified_at"]) if document["verified_at"] else None,
        reason=document["reason"],
        let_go_at=moment(document["let_go_at"]) if document["let_go_at"] else None,
        by_request=document["by_request"],
        was_made=document["was_made"],
    )


def _content_document(content: Content | None) -> dict[str, Any] | None:
    match content:
        case SnapshotSet(region=region, snapshot_count=number, snapshots=refs, shards=shards):
            listed = [_ref_document(ref) for ref in refs]
            return {"snapshots": listed, "region": region, "snapshot_count": number, "shards": shards}
        case StoredFile() | Segments():
            return asdict(content)
    return None


def _content(document: dict[str, Any] | None) -> Content | None:
    if document is None:
        return None
    if "snapshots" in document:
        return SnapshotSet(**{**document, "snapshots": _refs(document["snapshots"])})
    return Segments(**document) if "segment_count" in document else StoredFile(**document)


def _ref_document(ref: SnapshotRef) -> list[Any]:
    return [getattr(ref, name) for name in _REF]


def _refs(rows: Iterable[list[Any]]) -> tuple[SnapshotRef, ...]:
    return tuple(SnapshotRef(*row) for row in rows)
