"""`GET /status`: which services there are to tell of, a page at a time."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from chalicelib.catalog.store.services import ServiceRecord
from chalicelib.insight.status import service_status
from chalicelib.plans.model import Plan, TagName
from chalicelib.triggers import cursors

if TYPE_CHECKING:
    from chalicelib.wiring import Farshore


@dataclass(frozen=True, slots=True)
class StatusAsked:
    """`GET /status`: perhaps of one plan, perhaps of one service, perhaps behind a cursor."""

    plan: str | None
    service: str | None
    cursor: str | None


def services(app: "Farshore", asked: StatusAsked, limit: int) -> tuple[list[dict[str, Any]], str | None]:
    """Return one page of how services stand, by plan and name, and the cursor behind it.

    Raises:
        InvalidInput: the cursor is not one of ours.
    """
    after_plan, after_key = cursors.decode_cursor(asked.cursor)
    found: list[tuple[str, Plan | None, ServiceRecord]] = []
    for name, stored in app.plans.names():
        if name < after_plan or asked.plan not in (None, name):
            continue
        plan = stored.plan if stored else None
        for record in _records(app, name, plan, asked.service, after_key if name == after_plan else None):
            if len(found) == limit:
                last_plan, _, last = found[-1]
                return _statuses(app, found), cursors.encode_cursor(last_plan, last.key)
            found.append((name, plan, record))
    return _statuses(app, found), None


def _statuses(
    app: "Farshore", found: Iterable[tuple[str, Plan | None, ServiceRecord]]
) -> list[dict[str, Any]]:
    now = app.now()
    return [service_status(name, plan, record, now) for name, plan, record in found]


def _records(
    app: "Farshore", name: str, plan: Plan | None, service: str | None, after: str | None
) -> Iterator[ServiceRecord]:
    """Yield the services of a plan; of one that is gone those that still have points."""
    if service is None:
        records = app.services.of_plan(name, after=after)
    else:
        record = app.services.of_service(name, service)
        records = iter([record] if record is not None and after is None else [])
    first = next(records, None)
    if first is None and plan is not None and after is None:
        nothing = ServiceRecord("", plan.name if isinstance(plan.service, TagName) else plan.service, ())
        yield from [nothing] if service in (None, nothing.service) else []
    for each in chain([first] if first else [], records):
        if plan is not None or any(any(lineage.counts.values()) for lineage in each.lineages):
            yield each
