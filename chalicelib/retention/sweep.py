"""The daily sweep: applies the lifecycle of every lineage, also of those whose instances are long gone,
and to copies that arrived after their backup was judged.

Invariant: once a day for each plan, by the day it was last done and not by a window that a slow tick could
miss.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from chalicelib.catalog.advance import Engine
from chalicelib.catalog.requests import expire_request
from chalicelib.catalog.store import PlanStore, StoredPlan
from chalicelib.plans.model import rule_document


@dataclass(frozen=True, slots=True)
class LifecycleSweep:
    """Opens expire jobs once a day (UTC)."""

    engine: Engine
    plans: PlanStore
    now: Callable[[], datetime]

    def run(self, stored_plans: tuple[StoredPlan, ...]) -> None:
        """Open the sweep's jobs for the plans that had none today."""
        now = self.now()
        today = f"{now:%Y-%m-%d}"
        for stored in stored_plans:
            if stored.is_swept(now):
                continue
            requests = tuple(
                expire_request(
                    plan=stored.plan.name,
                    rule=rule.name,
                    service=lineage.service,
                    now=now,
                    occasion=f"sweep of {today}",
                    rule_document=rule_document(rule),
                )
                for lineage in self.engine.points.lineages(stored.plan.name)
                if (rule := stored.plan.rule(lineage.rule)) is not None
            )
            self.engine.open(requests)
            self.plans.note_sweep(stored.plan.name, today)
