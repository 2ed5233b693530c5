"""Reads the status of services page by page, by plan and name."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

from chalicelib.catalog.store import PlanStore
from chalicelib.catalog.store.services import ServiceRecord, ServiceStore
from chalicelib.insight.cursors import decode_cursor, encode_cursor
from chalicelib.insight.queries import StatusQuery
from chalicelib.insight.status import StatusAnswer, StatusPage, service_status
from chalicelib.plans.model import Plan, TagName


@dataclass(frozen=True, slots=True)
class ServicePages:
    """Reads the status of services."""

    plans: PlanStore
    services: ServiceStore
    now: Callable[[], datetime]

    def page(self, query: StatusQuery) -> StatusPage:
        """Return the status of the next services."""
        now, shown, last = self.now(), list[StatusAnswer](), ("", "")
        after_plan, after_key = decode_cursor(query.cursor, 2)
        for name, of_plan, record in self.records(query.plan, query.service, (after_plan, after_key)):
            if len(shown) == query.limit:
                return StatusPage(items=tuple(shown), cursor=encode_cursor(*last))
            shown.append(service_status(name, of_plan, record, now))
            last = name, record.key
        return StatusPage(items=tuple(shown), cursor=None)

    def records(
        self, plan: str | None, service: str | None, after: tuple[str, str]
    ) -> Iterator[tuple[str, Plan | None, ServiceRecord]]:
        """Yield the services behind a plan's name and a record's key, by plan and name."""
        after_plan, after_key = after
        for name, stored in self.plans.names():
            if name < after_plan or plan not in (None, name):
                continue
            of_plan = stored.plan if stored else None
            for record in self._of_plan(name, of_plan, service, after_key if name == after_plan else None):
                yield name, of_plan, record

    def _of_plan(
        self, name: str, plan: Plan | None, service: str | None, after: str | None
    ) -> Iterator[ServiceRecord]:
        """Yield the services of a plan; of a removed plan, those that still have points."""
        if service is None:
            records = self.services.of_plan(name, after=after)
        else:
            record = self.services.of_service(name, service)
            records = iter([record] if record is not None and after is None else [])
        first = next(records, None)
        if first is None and plan is not None and after is None:
            nothing = ServiceRecord("", plan.name if isinstance(plan.service, TagName) else plan.service, ())
            yield from [nothing] if service in (None, nothing.service) else []
        for each in chain([first] if first else [], records):
            if plan is not None or any(any(lineage.counts.values()) for lineage in each.lineages):
                yield each
