"""Copies that should be in a vault and are not: recorded on the point, and counted on its lineage. Pure."""

from chalicelib.catalog.recovery_point import DueCopy, RecoveryPoint
from chalicelib.catalog.store import points, services
from chalicelib.catalog.store.writes import Write


def due(point: RecoveryPoint, vault: str, copy: DueCopy) -> tuple[Write, ...]:
    """Return the writes that record a copy as due."""
    noted = points.expecting(point, vault, copy)
    return (noted,) if vault in point.due else (noted, services.awaiting(point, vault, 1))


def no_longer_due(point: RecoveryPoint, vault: str) -> tuple[Write, ...]:
    """Return the writes that remove a copy from those that are due."""
    if vault not in point.due:
        return ()
    return points.expecting(point, vault, None), services.awaiting(point, vault, -1)
