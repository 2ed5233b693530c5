"""How each service stands: its recovery points by kind and vault, and its RPO as promised and as achieved.
Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from chalicelib.catalog.recovery_point import PointState, RecoveryPoint
from chalicelib.insight.documents import rfc3339
from chalicelib.plans.durations import render_duration
from chalicelib.plans.objectives import achieved_rpo


@dataclass(frozen=True, slots=True)
class Promise:
    """What a plan promises for a service."""

    plan: str
    service: str
    rpo: timedelta | None


def service_status(promise: Promise, points: Sequence[RecoveryPoint], now: datetime) -> dict[str, Any]:
    """Return one service's status as JSON-able values; `points` are all of its points under the plan.

    The achieved RPO counts points whose bytes were read back and found right; `newest` counts any.
    """
    usable = [point for point in points if point.available_in()]
    achieved = achieved_rpo(((point.created_at, _is_verified(point)) for point in usable), now)
    newest = max((point.created_at for point in usable), default=None)
    return {
        "plan": promise.plan,
        "service": promise.service,
        "points": _counts(usable),
        "newest_at": rfc3339(newest) if newest else None,
        "rpo": {
            "objective": render_duration(promise.rpo) if promise.rpo else None,
            "achieved": render_duration(achieved) if achieved is not None else None,
            "met": achieved is not None and achieved <= promise.rpo if promise.rpo else None,
        },
    }


def _is_verified(point: RecoveryPoint) -> bool:
    return any(
        artefact.verified_at is not None and artefact.state is PointState.AVAILABLE
        for artefact in point.artefacts.values()
    )


def _counts(points: Iterable[RecoveryPoint]) -> Mapping[str, Mapping[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for point in points:
        for vault in point.available_in():
            of_kind = counts.setdefault(str(point.kind), {})
            of_kind[vault] = of_kind.get(vault, 0) + 1
    return counts
