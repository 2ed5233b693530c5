"""Lifecycle hooks: what a request asks for, checked as AWS checks it, and how hooks are shown. Pure.

https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_PutLifecycleHook.html and
API_LifecycleHook.html: `GlobalTimeout` is 48 hours or 100 heartbeats, whichever is shorter. A hook that is
put again keeps what the request does not name.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from local_cloud.call import AwsError

LAUNCHING = "autoscaling:EC2_INSTANCE_LAUNCHING"
TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"
CONTINUE, ABANDON = "CONTINUE", "ABANDON"
NAME = re.compile(r"[A-Za-z0-9\-_/]{1,255}")
HEARTBEAT_SECONDS = range(30, 7201)
LONGEST = timedelta(hours=48)
HEARTBEATS = 100
HOOKS_PER_GROUP = 50


@dataclass(frozen=True, slots=True)
class Hook:
    """A lifecycle hook of a group."""

    group: str
    name: str
    transition: str
    heartbeat_seconds: int = 3600
    default_result: str = ABANDON
    metadata: str | None = None
    target_arn: str | None = None
    role_arn: str | None = None

    @property
    def heartbeat(self) -> timedelta:
        """Return how long a wait lasts without a heartbeat."""
        return timedelta(seconds=self.heartbeat_seconds)

    @property
    def longest_wait(self) -> timedelta:
        """Return how long a wait lasts at most."""
        return min(LONGEST, HEARTBEATS * self.heartbeat)


def read_hook(group: str, params: Mapping[str, Any], earlier: Hook | None) -> Hook:
    """Read a PutLifecycleHook, or one of the hooks of a new group; `earlier` is the hook it changes.

    Raises:
        AwsError: a parameter is missing or wrong.
    """
    name = params.get("LifecycleHookName", "")
    if not NAME.fullmatch(name):
        raise _invalid(
            f"1 validation error detected: Value '{name}' at 'lifecycleHookName' failed to satisfy "
            "constraint: Member must satisfy regular expression pattern: [A-Za-z0-9\\-_\\/]+"
        )
    transition = params.get("LifecycleTransition", earlier.transition if earlier else None)
    if transition not in (LAUNCHING, TERMINATING):
        raise _invalid(f"Invalid Lifecycle Transition. Valid values are {LAUNCHING} and {TERMINATING}.")
    seconds = params.get("HeartbeatTimeout")
    if seconds is not None and seconds not in HEARTBEAT_SECONDS:
        raise _invalid("Heartbeat timeout must be between 30 and 7200 seconds (inclusive).")
    if (result := params.get("DefaultResult")) is not None:
        check_result(result, "Default Result")
    hook = earlier or Hook(group, name, transition)
    given = {
        "transition": transition,
        "heartbeat_seconds": seconds,
        "default_result": result,
        "metadata": params.get("NotificationMetadata"),
        "target_arn": params.get("NotificationTargetARN"),
        "role_arn": params.get("RoleARN"),
    }
    return replace(hook, **{name: value for name, value in given.items() if value is not None})


def check_result(result: str, what: str) -> None:
    """Refuse what is neither CONTINUE nor ABANDON."""
    if result not in (CONTINUE, ABANDON):
        raise _invalid(f"Invalid {what}. Valid values are {CONTINUE} and {ABANDON}.")


def describe_hook(hook: Hook) -> dict[str, Any]:
    """Show a hook as DescribeLifecycleHooks does."""
    shown = {
        "LifecycleHookName": hook.name,
        "AutoScalingGroupName": hook.group,
        "LifecycleTransition": hook.transition,
        "NotificationTargetARN": hook.target_arn,
        "RoleARN": hook.role_arn,
        "NotificationMetadata": hook.metadata,
        "HeartbeatTimeout": hook.heartbeat_seconds,
        "GlobalTimeout": int(hook.longest_wait.total_seconds()),
        "DefaultResult": hook.default_result,
    }
    return {name: value for name, value in shown.items() if value is not None}


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationError", message)
