"""The clock: a tick every five minutes opens what is due, and pokes what should have moved."""

from contextlib import ExitStack

from chalice.app import Blueprint, CloudWatchEvent

from chalicelib.catalog.store import StoredPlan
from chalicelib.catalog.store.wake import due
from chalicelib.errors import FarshoreError, InvalidInput
from chalicelib.jobs.engine import TICK
from chalicelib.observability import count, logger
from chalicelib.wiring import Farshore, farshore

blueprint = Blueprint(__name__)


@blueprint.schedule("cron(0/5 * * * ? *)")
def tick(event: CloudWatchEvent) -> None:
    """Poke due jobs; for the plans whose moment has come, open backups and sweep lifecycles; once a day open
    the inventories.

    What is due is told by the catalog and the clock, never by the tick that finds it.
    """
    app = farshore()
    found = due(app.table, app.now(), TICK)
    if found.jobs:
        app.engine.poke_due(found.jobs)
        _heal_slots(app)
    again = app.services.waking(found.lineages)
    names = dict.fromkeys((*found.plans, *(each.lineage.plan for each in again)))
    stored = {name: plan for name in names if (plan := _stored(app, name))}
    plans = tuple(stored[name] for name in found.plans if name in stored)
    with ExitStack() as all_of_it:  # what is below comes last, and comes whatever fails above
        if found.inventory:
            all_of_it.callback(app.inventories.open_due)
        all_of_it.callback(app.lifecycle_sweep.run, plans)
        all_of_it.callback(app.backup_tick.run, plans)
        all_of_it.callback(app.backup_tick.try_again, stored, again)
        all_of_it.callback(app.copy_retries.open, found.points)


def _heal_slots(app: Farshore) -> None:
    """Heal the copy slots; a region that does not answer, or refuses to, holds up nothing."""
    for region in app.copy_regions:
        try:
            app.slot_healer.heal([region])
        except FarshoreError as error:
            logger().warning("copy slots not looked at", extra={"region": region, "error": str(error)})
            count("SlotsNotHealed", region=region)


def _stored(app: Farshore, name: str) -> StoredPlan | None:
    """Return the plan; None for one that this version cannot read, which must not hold up the others."""
    try:
        return app.plans.get(name)
    except InvalidInput as error:
        logger().error("plan not readable", extra={"plan": name, "error": str(error)})
        count("PlanNotServed", plan=name)
        return None
