"""The clock: a tick every five minutes."""

from chalice.app import Blueprint, CloudWatchEvent

from chalicelib.wiring import farshore

blueprint = Blueprint(__name__)


@blueprint.schedule("cron(0/5 * * * ? *)")
def tick(event: CloudWatchEvent) -> None:
    """Run what is due now: jobs, backups, copies, lifecycles, inventories."""
    farshore().tick.run()
