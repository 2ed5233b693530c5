"""The daily sweep: applies the lifecycle of lineages that no backup has had judged of late: their
instances are gone, their backups fail, or they are seldom.

Invariant: once a day for each plan, by the day it was last done and not by a window that a slow tick could
miss.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from chalicelib.catalog.advance import Engine
from chalicelib.catalog.requests import expire_request
from chalicelib.catalog.store import PlanStore, StoredPlan
from chalicelib.plans.model import rule_document

# A finished backup has its lineage judged; one this young has done so.
JUDGED_LATELY = timedelta(days=1)


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
            if stored.swept_on == today:
                continue
            for lineage in self.engine.points.lineages(stored.plan.name):
                rule = stored.plan.rule(lineage.rule)
                if rule is None or now - lineage.newest_at < JUDGED_LATELY:
                    continue
                request = expire_request(
                    plan=stored.plan.name,
                    rule=rule.name,
                    service=lineage.service,
                    now=now,
                    occasion=f"sweep of {today}",
                    rule_document=rule_document(rule),
                )
                self.engine.open((request,))
            self.plans.note_sweep(stored.plan.name, today)
