"""The clock: a tick every five minutes opens what is due, and pokes what should have moved."""

from chalice.app import Blueprint, CloudWatchEvent

from chalicelib.catalog.store import StoredPlan, overdue
from chalicelib.errors import InvalidInput
from chalicelib.observability import count, logger
from chalicelib.wiring import Farshore, farshore

blueprint = Blueprint(__name__)


@blueprint.schedule("cron(0/5 * * * ? *)")
def tick(event: CloudWatchEvent) -> None:
    """Poke overdue jobs; for the plans whose moment has come, open backups and sweep lifecycles.

    What is due is told by the catalog and the clock, never by the tick that finds it.
    """
    app = farshore()
    found = overdue(app.table, app.now())
    app.engine.reconcile(found.jobs)
    plans = tuple(stored for name in found.plans if (stored := _stored(app, name)))
    try:
        app.backup_tick.run(plans)
    finally:
        app.lifecycle_sweep.run(plans)


def _stored(app: Farshore, name: str) -> StoredPlan | None:
    """Return the plan; None for one that this version cannot read, which must not hold up the others."""
    try:
        return app.plans.get(name)
    except InvalidInput as error:
        logger().error("plan not readable", extra={"plan": name, "error": str(error)})
        count("PlanNotServed", plan=name)
        return None
