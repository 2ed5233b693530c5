"""The daily sweep: applies the lifecycle of every lineage.

It includes lineages whose instances are long gone, and copies that arrived after their backup was judged.
Invariant: each plan is swept once a day, by the day of its last sweep and not by a window that a slow tick
could miss.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from chalicelib.catalog.store import PlanStore, StoredPlan
from chalicelib.catalog.store.services import ServiceStore
from chalicelib.jobs.engine import Engine
from chalicelib.jobs.tick import DueWork, isolated
from chalicelib.jobs.work import expire_request


@dataclass(frozen=True, slots=True)
class LifecycleSweep:
    """Opens the expire jobs of each plan once a day (UTC)."""

    engine: Engine
    plans: PlanStore
    services: ServiceStore
    now: Callable[[], datetime]

    def run(self, due: DueWork) -> None:
        """Open the expire jobs of the due plans that were not swept today.

        Raises:
            Exception: a plan could not be swept now; the others have been.
        """
        isolated(((name, partial(self._sweep, due.stored[name])) for name in due.plans), "plan")

    def _sweep(self, stored: StoredPlan) -> None:
        now = self.now()
        today = f"{now:%Y-%m-%d}"
        if stored.is_swept(now):
            return
        rules = {(rule.name, rule.kind) for rule in stored.plan.rules}
        requests = tuple(
            expire_request(record.lineage, now, f"sweep of {today}")
            for record in self.services.lineages(stored.plan.name)
            if (record.lineage.rule, record.lineage.kind) in rules and record.counts
        )
        if requests:
            self.engine.open(requests)
        self.plans.note_sweep(stored.plan.name, today)
