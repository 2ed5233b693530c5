"""An instance refresh as it was asked for, with its progress; read from a request, and shown. Pure.

https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_StartInstanceRefresh.html,
API_RefreshPreferences.html, API_InstanceRefresh.html
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from local_cloud.call import AwsError

MIN_HEALTHY, MAX_HEALTHY = 90, 100
ACTIVE = ("Pending", "InProgress", "Cancelling")


@dataclass(slots=True)
class Refresh:
    """One replacement of a group's instances; `to_replace` are the ids of those that it began with."""

    group: str
    started_at: datetime
    preferences: Mapping[str, Any]
    desired: Mapping[str, Any]
    warmup: timedelta
    to_replace: frozenset[str] = frozenset()
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = "Pending"
    reason: str = ""
    ended_at: datetime | None = None
    remaining: int = 0

    @property
    def is_active(self) -> bool:
        """Return whether it goes on."""
        return self.status in ACTIVE

    @property
    def launches_first(self) -> bool:
        """Return whether a new instance is in service before an old one goes."""
        return self.min_healthy == 100 or self.preferences.get("MaxHealthyPercentage", MAX_HEALTHY) > 100

    @property
    def min_healthy(self) -> int:
        """Return the percentage of the desired capacity that stays in service."""
        return int(self.preferences.get("MinHealthyPercentage", MIN_HEALTHY))

    def end(self, status: str, at: datetime) -> None:
        """Note how it ended."""
        self.status, self.ended_at = status, at


def read_refresh(group: str, params: Mapping[str, Any], warmup_seconds: int, at: datetime) -> Refresh:
    """Read a StartInstanceRefresh; `warmup_seconds` is the group's own.

    Raises:
        AwsError: a preference is wrong.
    """
    preferences = params.get("Preferences", {})
    smallest = preferences.get("MinHealthyPercentage", MIN_HEALTHY)
    largest = preferences.get("MaxHealthyPercentage", MAX_HEALTHY)
    if params.get("Strategy", "Rolling") != "Rolling":
        raise AwsError("ValidationError", "Invalid strategy. The only valid value here is Rolling.")
    if not 0 <= smallest <= 100 or not 100 <= largest <= 200:
        raise AwsError(
            "ValidationError",
            "MinHealthyPercentage must be between 0 and 100, MaxHealthyPercentage between 100 and 200.",
        )
    if largest - smallest > 100:
        raise AwsError(
            "ValidationError",
            "The difference between MinHealthyPercentage and MaxHealthyPercentage cannot be greater than "
            "100.",
        )
    warmup = timedelta(seconds=preferences.get("InstanceWarmup", warmup_seconds))
    return Refresh(group, at, preferences, params.get("DesiredConfiguration", {}), warmup)


def describe_refresh(refresh: Refresh) -> dict[str, Any]:
    """Show a refresh."""
    total = len(refresh.to_replace)
    shown = {
        "InstanceRefreshId": refresh.id,
        "AutoScalingGroupName": refresh.group,
        "Status": refresh.status,
        "StatusReason": refresh.reason or None,
        "StartTime": refresh.started_at,
        "EndTime": refresh.ended_at,
        "PercentageComplete": 100 * (total - refresh.remaining) // total if total else 100,
        "InstancesToUpdate": refresh.remaining,
        "Preferences": dict(refresh.preferences) or None,
        "DesiredConfiguration": dict(refresh.desired) or None,
        "Strategy": "Rolling",
    }
    return {name: value for name, value in shown.items() if value is not None}
