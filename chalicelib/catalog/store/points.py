"""Recovery points and their lineages in the table.

Each artefact is an attribute of its own (`artefact#VAULT`), so two copies that end at the same moment cannot
overwrite each other's result.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from chalicelib.catalog.job import fingerprint
from chalicelib.catalog.recovery_point import (
    Artefact,
    PointId,
    PointState,
    RecoveryPoint,
    SnapshotRef,
)
from chalicelib.catalog.store.table import Item, Lookup, Page, Refused, Table, moment, stamp
from chalicelib.plans.model import Kind

_ARTEFACT = "artefact#"

# A point that failed or was deleted is remembered this long; then DynamoDB's TTL removes its record.
REMEMBERED = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Lineage:
    """All recovery points of one rule for one service, outliving every instance; `newest_at` is the newest
    good one's time."""

    plan: str
    rule: str
    service: str
    newest_at: datetime


class PointStore:
    """Stores, updates and lists recovery points."""

    def __init__(self, table: Table, now: Callable[[], datetime]) -> None:
        self._table = table
        self._now = now

    def settle(self, point: RecoveryPoint) -> None:
        """Store what became of a point that was being created; one that was settled before is left as it
        is."""
        self._table.create(_item(point, self._now()), or_state=PointState.CREATING)

    def create(self, point: RecoveryPoint) -> bool:
        """Store the point unless it exists; say whether it is new."""
        return self._table.create(_item(point, self._now()))

    def get(self, point_id: str) -> RecoveryPoint | None:
        """Return the point, or None."""
        item = self._table.get(f"point#{point_id}", "point")
        return _point(item) if item else None

    def put_artefact(self, point_id: str, artefact: Artefact) -> RecoveryPoint | None:
        """Store the artefact of one vault and the state that follows; None when there is no such point."""
        answer = self._table.update(
            f"point#{point_id}",
            "point",
            "SET #artefact = :artefact ADD vaults :vaults",
            names={"#artefact": _ARTEFACT + artefact.vault},
            values={":artefact": json.dumps(_artefact_document(artefact)), ":vaults": {artefact.vault}},
            condition="attribute_exists(pk)",
        )
        if isinstance(answer, Refused):
            return None
        return self._settle(answer)

    def _settle(self, item: Item) -> RecoveryPoint:
        """Bring the recorded state in line with the artefacts'.

        Another vault's artefact may be stored at the same moment, so what was written is looked at again: a
        point that is available somewhere must not be left as one whose record is forgotten.
        """
        while (point := _point(item)).state != item["state"]:
            forgotten_at = _forgotten_at(point, self._now())
            answer = self._table.update(
                f"point#{point.id}",
                "point",
                "SET #state = :state" + (", expires_at = :at" if forgotten_at else " REMOVE expires_at"),
                names={"#state": "state"},
                values={":state": str(point.state), ":before": item["state"]}
                | ({":at": forgotten_at} if forgotten_at else {}),
                condition="#state = :before",
            )
            found = answer.item if isinstance(answer, Refused) else answer
            if found is None:
                return point
            item = found
        return point

    def list(
        self, *, filters: dict[str, str], before: datetime | None, limit: int, cursor: str | None
    ) -> Page[RecoveryPoint]:
        """Return a page of points, newest first; `filters` among service, plan, rule, kind, state, vault."""
        page = self._table.page(_lookup(filters, before), limit=limit, cursor=cursor)
        return Page(tuple(_point(item) for item in page.items), page.cursor)

    def of_lineage(self, plan: str, rule: str, service: str) -> tuple[RecoveryPoint, ...]:
        """Return every point of a lineage, newest first; raises rather than leave one out."""
        lookup = _lookup({"service": service, "plan": plan, "rule": rule}, None)
        return tuple(_point(item) for item in self._table.every(lookup))

    def note_newest(self, lineage: Lineage) -> None:
        """Remember the lineage and its newest good point; an older one than is known changes nothing."""
        # In JSON the longest name of a service is more than a sort key takes.
        service = fingerprint(lineage.service)
        self._table.update(
            "lineage",
            json.dumps([lineage.plan, lineage.rule, service]),
            "SET newest_at = :at, #plan = :plan, #rule = :rule, #service = :service",
            names={"#plan": "plan", "#rule": "rule", "#service": "service"},
            values={
                ":at": stamp(lineage.newest_at),
                ":plan": lineage.plan,
                ":rule": lineage.rule,
                ":service": lineage.service,
            },
            condition="attribute_not_exists(newest_at) OR newest_at < :at",
        )

    def lineages(self, plan: str) -> Iterator[Lineage]:
        """Yield every lineage of a plan that there ever was a good point of."""
        prefix = json.dumps([plan])[:-1] + ","
        for item in self._table.partition("lineage", prefix=prefix):
            yield Lineage(item["plan"], item["rule"], item["service"], moment(item["newest_at"]))


def _lookup(filters: dict[str, str], before: datetime | None) -> Lookup:
    equal = {name: value for name, value in filters.items() if name not in ("service", "vault")}
    containing = {"vaults": filters["vault"]} if "vault" in filters else {}
    bound = stamp(before) if before else None
    if "service" in filters:
        return Lookup("by_service", f"point#{filters['service']}", equal, containing, bound)
    return Lookup("by_type", "point", equal, containing, bound)


def _item(point: RecoveryPoint, now: datetime) -> Item:
    artefacts = {
        _ARTEFACT + vault: json.dumps(_artefact_document(artefact))
        for vault, artefact in point.artefacts.items()
    }
    return {
        "pk": f"point#{point.id}",
        "sk": "point",
        "type": "point",
        "service_type": f"point#{point.service}",
        "sorted_at": f"{stamp(point.created_at)}#{point.id}",
        "id": point.id,
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
        "expires_at": _forgotten_at(point, now),
        **artefacts,
    }


def _forgotten_at(point: RecoveryPoint, now: datetime) -> int | None:
    """Return when the record of a point that can never be restored again goes, in seconds of the epoch."""
    if point.state not in (PointState.FAILED, PointState.DELETED):
        return None
    return int((now + REMEMBERED).timestamp())


def _point(item: Item) -> RecoveryPoint:
    point = RecoveryPoint(
        id=PointId(item["id"]),
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
    )
    for name in sorted(name for name in item if name.startswith(_ARTEFACT)):
        point = point.with_artefact(_artefact(json.loads(item[name])))
    return point


def _artefact_document(artefact: Artefact) -> dict[str, Any]:
    return {
        "vault": artefact.vault,
        "state": str(artefact.state),
        "region": artefact.region,
        "snapshots": [[ref.id, ref.volume_id, ref.size_gib] for ref in artefact.snapshots],
        "folder": artefact.folder,
        "key": artefact.key,
        "etag": artefact.etag,
        "segments": artefact.segments,
        "sha256": artefact.sha256,
        "verified_at": stamp(artefact.verified_at) if artefact.verified_at else None,
        "reason": artefact.reason,
    }


def _artefact(document: dict[str, Any]) -> Artefact:
    return Artefact(
        vault=document["vault"],
        state=PointState(document["state"]),
        region=document["region"],
        snapshots=tuple(SnapshotRef(*ref) for ref in document["snapshots"]),
        folder=document["folder"],
        key=document["key"],
        etag=document["etag"],
        segments=document["segments"],
        sha256=document["sha256"],
        verified_at=moment(document["verified_at"]) if document["verified_at"] else None,
        reason=document["reason"],
    )
