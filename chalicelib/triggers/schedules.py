"""The clock: a tick every five minutes opens what is due, and pokes what should have moved."""

from chalice.app import Blueprint, CloudWatchEvent

from chalicelib.observability import count
from chalicelib.wiring import farshore

blueprint = Blueprint(__name__)


@blueprint.schedule("cron(0/5 * * * ? *)")
def tick(event: CloudWatchEvent) -> None:
    """Poke overdue jobs, sweep lifecycles once a day, open the backups that are due.

    What is due is told by the catalog and the clock, never by the tick that finds it.
    """
    app = farshore()
    overdue = app.engine.reconcile()
    if overdue:
        count("OverdueJobs", overdue)
    plans = tuple(app.plans.all())
    app.lifecycle_sweep.run(plans)
    app.backup_tick.run(plans)
