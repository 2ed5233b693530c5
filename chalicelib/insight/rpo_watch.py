"""The tick's part that watches RPOs: which services have no success within what their plan promises.

A plan is looked at when the first of its services would be beyond its RPO, and at every tick while one is.
Each tick says how many are, also none, so that an alarm knows when all is well again.

Invariant: a service that is beyond its RPO is noted once as a trouble, and once as over.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from chalicelib.catalog.store import PlanStore
from chalicelib.catalog.store.notices import About, Notice, NoticeStore, Trouble, begun, over
from chalicelib.catalog.store.services import ServiceStore
from chalicelib.catalog.store.writes import Write
from chalicelib.insight.status import Promise, promise_of
from chalicelib.jobs.tick import DueWork, isolated
from chalicelib.observability import RPO_MISSED, count
from chalicelib.plans.due import TICK
from chalicelib.plans.model import Plan


@dataclass(frozen=True, slots=True)
class RpoWatch:
    """Looks at the RPOs that are due to be looked at."""

    plans: PlanStore
    services: ServiceStore
    notices: NoticeStore
    now: Callable[[], datetime]

    def run(self, due: DueWork) -> None:
        """Note which services are beyond their RPO, or within it again; count the former.

        Raises:
            Exception: a plan could not be looked at; the others were, and no number is told.
        """
        missed = list[int]()
        isolated(((name, partial(self._look, name, missed)) for name in due.rpos), "plan")
        count(RPO_MISSED, sum(missed))

    def _look(self, name: str, missed: list[int]) -> None:
        now, stored, since = self.now(), self.plans.get(name), self.plans.promised_since(name)
        if stored is None or since is None or stored.plan.objectives.rpo is None:
            return
        promises = list(self._promises(stored.plan, since, now))
        known = {each.trouble.service: each for each in self.notices.of_plan(About.RPO, name)}
        self.notices.note(news(name, promises, known, now))
        beyond = sum(each.until < now for each in promises)
        missed.append(beyond)
        self.plans.look_at_rpo(name, now if beyond else _next_look(promises, stored.plan.objectives.rpo, now))

    def _promises(self, plan: Plan, since: datetime, now: datetime) -> Iterator[Promise]:
        for record in self.services.of_plan(plan.name):
            promise = promise_of(plan, record, since, now)
            if promise is not None:
                yield promise


def news(plan: str, promises: list[Promise], known: dict[str, Notice], now: datetime) -> Iterator[Write]:
    """Yield the writes for what has begun or is over since `known` was noted, by service. Pure."""
    beyond = {each.service: each for each in promises if each.until < now}
    for service, promise in beyond.items():
        notice = known.get(service)
        if notice is None or notice.over_at is not None:
            yield begun(Trouble(About.RPO, plan, service), promise.why, now)
    for service, notice in known.items():
        if service not in beyond and notice.over_at is None:
            yield over(notice.trouble, now)


def _next_look(promises: list[Promise], rpo: timedelta, now: datetime) -> datetime:
    """Return when a service may next be beyond its RPO; one that comes new is seen before it can be."""
    soon = now + max(TICK, rpo / 4)
    return min((soon, *(each.until for each in promises)))
