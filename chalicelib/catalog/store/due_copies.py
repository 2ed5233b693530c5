"""Copies that should be in a vault and are not: noted on the point, and counted on its lineage. Pure."""

from chalicelib.catalog.recovery_point import DueCopy, RecoveryPoint
from chalicelib.catalog.store import points, services
from chalicelib.catalog.store.writes import Write


def due(point: RecoveryPoint, vault: str, copy: DueCopy) -> tuple[Write, ...]:
    """Return the writes by which a copy is awaited."""
    noted = points.expecting(point, vault, copy)
    return (noted,) if vault in point.due else (noted, services.awaiting(point, vault, 1))


def no_longer_due(point: RecoveryPoint, vault: str) -> tuple[Write, ...]:
    """Return the writes after which a copy is no longer awaited."""
    if vault not in point.due:
        return ()
    return points.expecting(point, vault, None), services.awaiting(point, vault, -1)
