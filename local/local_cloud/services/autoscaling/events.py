"""The events that Auto Scaling puts on the default bus, in their documented shapes. Pure.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-event-reference.html;
`Origin` and `Destination`: warm-pools-eventbridge-events.html, refreshes:
instance-refresh-eventbridge-events.html of the same guide.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from local_cloud.services.autoscaling.activities import Activity
from local_cloud.services.autoscaling.hooks import LAUNCHING, Hook
from local_cloud.services.ec2.events import Event


class Place(StrEnum):
    """Where an instance comes from, or goes."""

    EC2 = "EC2"
    GROUP = "AutoScalingGroup"
    WARM_POOL = "WarmPool"


@dataclass(frozen=True, slots=True)
class Way:
    """From where to where an instance goes."""

    origin: Place
    destination: Place

    def members(self) -> dict[str, str]:
        """Return the two members that say so."""
        return {"Origin": self.origin.value, "Destination": self.destination.value}


def action_began(hook: Hook, group_arn: str, token: str, instance_id: str, way: Way) -> Event:
    """Tell that an instance waits for a hook."""
    kind = "launch" if hook.transition == LAUNCHING else "terminate"
    metadata = {} if hook.metadata is None else {"NotificationMetadata": hook.metadata}
    return {
        "source": "aws.autoscaling",
        "detail-type": f"EC2 Instance-{kind} Lifecycle Action",
        "resources": [group_arn],
        "detail": {
            "LifecycleActionToken": token,
            "AutoScalingGroupName": hook.group,
            "LifecycleHookName": hook.name,
            "EC2InstanceId": instance_id,
            "LifecycleTransition": hook.transition,
            **metadata,
            **way.members(),
        },
    }


def launch_succeeded(activity: Activity, instance_arn: str, way: Way, at: datetime) -> Event:
    """Tell that an instance is in service."""
    return _scaled("EC2 Instance Launch Successful", activity, instance_arn, way, at)


def launch_failed(activity: Activity, instance_arn: str | None, way: Way, at: datetime) -> Event:
    """Tell that a launch failed, or that a hook abandoned it; where there is no instance, none is named."""
    return _scaled("EC2 Instance Launch Unsuccessful", activity, instance_arn, way, at)


def termination_succeeded(activity: Activity, instance_arn: str, way: Way, at: datetime) -> Event:
    """Tell that an instance is terminated."""
    return _scaled("EC2 Instance Terminate Successful", activity, instance_arn, way, at)


def refresh_changed(what: str, group: str, group_arn: str, refresh_id: str) -> Event:
    """Tell that an instance refresh is `Started`, `Succeeded` or `Cancelled`."""
    return {
        "source": "aws.autoscaling",
        "detail-type": f"EC2 Auto Scaling Instance Refresh {what}",
        "resources": [group_arn],
        "detail": {"InstanceRefreshId": refresh_id, "AutoScalingGroupName": group},
    }


def _scaled(kind: str, activity: Activity, instance_arn: str | None, way: Way, at: datetime) -> Event:
    failed = activity.status == "Failed"
    return {
        "source": "aws.autoscaling",
        "detail-type": kind,
        "resources": [activity.group_arn, *([instance_arn] if instance_arn else ())],
        "detail": {
            "StatusCode": "Failed" if failed else "InProgress",
            "Description": activity.description,
            "AutoScalingGroupName": activity.group,
            "ActivityId": activity.id,
            "Details": dict(activity.details),
            "RequestId": activity.request_id,
            "StatusMessage": activity.message,
            "EndTime": _time(at),
            "EC2InstanceId": instance_arn.rpartition("/")[2] if instance_arn else "",
            "StartTime": _time(activity.started_at),
            "Cause": activity.cause,
            **way.members(),
        },
    }


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
