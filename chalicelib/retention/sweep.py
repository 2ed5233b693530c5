"""The daily sweep: applies the lifecycle of every lineage, also of those whose instances are long gone,
and to copies that arrived after their backup was judged.

Invariant: once a day for each plan, by the day it was last done and not by a window that a slow tick could
miss.
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
    """Opens expire jobs once a day (UTC)."""

    engine: Engine
    plans: PlanStore
    services: ServiceStore
    now: Callable[[], datetime]

    def run(self, due: DueWork) -> None:
        """Open the sweep's jobs for the woken plans that had none today.

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
