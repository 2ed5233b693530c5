"""Stores and removes plans: what a plan lets go is looked at first, and a great loss is to be confirmed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from chalicelib.catalog.store import PlanStore
from chalicelib.catalog.store.services import ServiceStore
from chalicelib.errors import Conflict, NotFound
from chalicelib.plans.model import Plan
from chalicelib.retention.forecast import Forecast, Forecaster, LeftBehind, left_behind


@dataclass(frozen=True, slots=True)
class PlanChanges:
    """Changes plans. `schedule_inventory` has the daily inventories begin with the first plan."""

    plans: PlanStore
    services: ServiceStore
    forecaster: Forecaster
    schedule_inventory: Callable[[], None]
    now: Callable[[], datetime]

    def forecast(self, plan: Plan) -> Forecast:
        """Return what comes of storing a plan in place of the one of its name."""
        stored = self.plans.get(plan.name)
        return self.forecaster.of(plan, stored.plan if stored else None)

    def store(self, plan: Plan, services: Mapping[str, Sequence[str]], confirmed: int | None) -> Forecast:
        """Store a plan that covers these services' instances now; return what comes of it.

        Raises:
            Conflict: it lets much go, and `confirmed` is not the number of points that go.
        """
        forecast = self.forecast(plan)
        _require_confirmed(forecast, plan.name, confirmed)
        self.plans.put(plan, self.now())
        self.schedule_inventory()
        self.services.note_selected(plan.name, services, self.now())
        return forecast

    def remove(self, name: str) -> tuple[LeftBehind, ...]:
        """Remove a plan; return the recovery points that stay.

        Raises:
            NotFound: there is no such plan.
        """
        stays = left_behind(self.services.lineages(name), None)
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
