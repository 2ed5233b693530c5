"""Stores and removes plans. What a plan lets go is forecast first, and a great loss has to be confirmed."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from chalicelib.catalog.store import PlanStore
from chalicelib.catalog.store.services import ServiceStore
from chalicelib.errors import Conflict, NotFound
from chalicelib.plans.model import Plan
from chalicelib.retention.forecast import Forecast, Forecaster, RemainingPoints, remaining_points
from chalicelib.retention.plan_warnings import Coverage, PlanChange


@dataclass(frozen=True, slots=True)
class PlanChanges:
    """Changes plans. `covered` returns what a plan selects now; `schedule_inventory` starts the daily
    inventories, with the first plan."""

    plans: PlanStore
    services: ServiceStore
    forecaster: Forecaster
    covered: Callable[[Plan], Coverage]
    schedule_inventory: Callable[[], None]
    now: Callable[[], datetime]

    def planned(self, plan: Plan) -> PlanChange:
        """Return what would change if a plan replaced the stored one of its name."""
        stored = self.plans.get(plan.name)
        before = stored.plan if stored else None
        covered = self.covered(plan)
        same = before is not None and (before.selection, before.service) == (plan.selection, plan.service)
        covered_before = covered if same or before is None else self.covered(before)
        return PlanChange(
            plan, before, covered, covered_before if before else None, self.forecaster.of(plan, before)
        )

    def store(self, plan: Plan, confirmed: int | None) -> PlanChange:
        """Store a plan; return what changes.

        Raises:
            Conflict: it lets many points go, and `confirmed` is not their number.
        """
        change = self.planned(plan)
        _require_confirmed(change.forecast, plan.name, confirmed)
        self.plans.put(plan, self.now())
        self.schedule_inventory()
        self.services.note_selected(plan.name, change.covered.services, self.now())
        return change

    def remove(self, name: str) -> tuple[RemainingPoints, ...]:
        """Remove a plan; return the recovery points that stay.

        Raises:
            NotFound: there is no such plan.
        """
        stays = remaining_points(self.services.lineages(name), None)
        if not self.plans.delete(name):
            raise NotFound("no such plan", resource=f"plan {name}")
        return stays


def _require_confirmed(forecast: Forecast, plan: str, confirmed: int | None) -> None:
    wanted = forecast.confirm
    if not wanted or confirmed == wanted:
        return
    why = (
        f"it lets {wanted} recovery points go that are kept now, more than a quarter of a service's "
        f"in a vault; ?dry_run=true lists them, ?confirm={wanted} stores the plan"
    )
    if confirmed is not None:
        why += f", and not ?confirm={confirmed}"
    raise Conflict(why, operation="storing", resource=f"plan {plan}")
