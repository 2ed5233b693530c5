"""How each service stands: its recovery points by kind and vault, and its RPO as promised and as achieved.
Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from chalicelib.catalog.store.services import LineageRecord, ServiceRecord
from chalicelib.insight.documents import rfc3339
from chalicelib.plans.durations import render_duration
from chalicelib.plans.model import Plan
from chalicelib.plans.objectives import achieved_rpo


def service_status(plan: Plan, record: ServiceRecord, now: datetime) -> dict[str, Any]:
    """Return one service's status under a plan as JSON-able values.

    The achieved RPO counts points whose bytes were read back and found right; `newest` counts any.
    """
    lineages, objective = record.lineages, plan.objectives.rpo
    verified = ((each.verified_at, True) for each in lineages if each.verified_at)
    achieved = achieved_rpo(verified, now)
    newest = max((each.newest_at for each in lineages if each.newest_at), default=None)
    return {
        "plan": plan.name,
        "service": record.service,
        "points": _counts(lineages),
        "newest_at": rfc3339(newest) if newest else None,
        "rpo": {
            "objective": render_duration(objective) if objective else None,
            "achieved": render_duration(achieved) if achieved is not None else None,
            "met": achieved is not None and achieved <= objective if objective else None,
        },
        **_flagged(lineages),
    }


def _flagged(lineages: tuple[LineageRecord, ...]) -> Mapping[str, Any]:
    """Return what is wrong with the last points of a service's rules, where something is."""
    rows = [
        {
            "rule": each.lineage.rule,
            "kind": str(each.lineage.kind),
            "recovery_point": each.flagged.point,
            "reason": each.flagged.why,
        }
        for each in lineages
        if each.flagged is not None
    ]
    return {"flagged": rows} if rows else {}


def _counts(lineages: tuple[LineageRecord, ...]) -> Mapping[str, Mapping[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for record in lineages:
        for vault, number in record.counts.items():
            if number:
                of_kind = counts.setdefault(str(record.lineage.kind), {})
                of_kind[vault] = of_kind.get(vault, 0) + number
    return counts
