"""A plan's forecast as the API answers it. Pure."""

from collections.abc import Iterable
from typing import Any

from chalicelib.insight.documents import rfc3339
from chalicelib.retention.forecast import Forecast, LeftBehind

MOST_SHOWN = 1_000


def forecast_document(forecast: Forecast) -> dict[str, Any]:
    """Return what a plan lets go and what it leaves behind as JSON-able values; `not_shown` and `not_judged`
    say how much more there may be."""
    document: dict[str, Any] = {
        "would_delete": [
            {"point": loss.point, "made": rfc3339(loss.made), "vault": loss.vault, "reason": loss.reason}
            for loss in forecast.losses[:MOST_SHOWN]
        ],
        "stays_behind": stays_document(forecast.left_behind),
    }
    if len(forecast.losses) > MOST_SHOWN:
        document["not_shown"] = len(forecast.losses) - MOST_SHOWN
    if forecast.unread:
        document["not_judged"] = f"{forecast.unread} services' points: too many to read for an answer"
    return document


def stays_document(stays: Iterable[LeftBehind]) -> list[dict[str, Any]]:
    """Return what stays behind as JSON-able values."""
    return [
        {"rule": each.rule, "kind": str(each.kind), "services": each.services, "points": dict(each.points)}
        for each in stays
    ]
