"""Scaling activities: one launch or one termination each, as DescribeScalingActivities and events show it.

https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_Activity.html. A group shows its newest first,
and for six weeks, here for as long as it exists.
"""

import json
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(slots=True)
class Activity:
    """A launch or a termination."""

    group: str
    group_arn: str
    description: str
    cause: str
    started_at: datetime
    details: dict[str, str]
    """The zone and the subnet."""
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = "InProgress"
    message: str = ""
    ended_at: datetime | None = None

    def end(self, status: str, at: datetime, message: str = "") -> None:
        """Note how it ended; what has ended stays as it is."""
        if self.ended_at is None:
            self.status, self.ended_at, self.message = status, at, message


def describe_activity(activity: Activity) -> dict[str, Any]:
    """Show an activity."""
    shown = {
        "ActivityId": activity.id,
        "AutoScalingGroupName": activity.group,
        "AutoScalingGroupARN": activity.group_arn,
        "Description": activity.description,
        "Cause": activity.cause,
        "StartTime": activity.started_at,
        "EndTime": activity.ended_at,
        "StatusCode": activity.status,
        "StatusMessage": activity.message or None,
        "Progress": {"InProgress": 50, "MidLifecycleAction": 60}.get(activity.status, 100),
        "Details": json.dumps(activity.details),
    }
    return {name: value for name, value in shown.items() if value is not None}
