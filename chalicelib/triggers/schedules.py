"""The clock: a tick every five minutes opens what is due and pokes what should have moved."""

from chalice.app import Blueprint, CloudWatchEvent

from chalicelib.observability import logger

blueprint = Blueprint(__name__)


@blueprint.schedule("cron(0/5 * * * ? *)")
def tick(event: CloudWatchEvent) -> None:
    """Open the jobs that are due at the nominal time of this tick."""
    logger().debug("tick", extra={"at": event.to_dict()["time"]})
