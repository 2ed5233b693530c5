"""The calls about lifecycle hooks, and those that end or prolong what waits for them.

https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_PutLifecycleHook.html,
API_DescribeLifecycleHooks.html, API_DeleteLifecycleHook.html
"""

from collections.abc import Callable, Mapping
from typing import Any

from local_cloud.call import AwsError, Call, Handler, PassOn
from local_cloud.services.autoscaling.groups import group_of
from local_cloud.services.autoscaling.hooks import HOOKS_PER_GROUP, Hook, describe_hook, read_hook
from local_cloud.services.autoscaling.requests import invalid
from local_cloud.services.autoscaling.waits import Waits
from local_cloud.services.ec2.world import Region


class HookCalls:
    """Answers calls about lifecycle hooks."""

    def __init__(self, waits: Waits) -> None:
        """Act on `waits`."""
        self._waits = waits

    def handlers(self) -> Mapping[str, Handler]:
        """Return the operations done here."""
        return {
            "PutLifecycleHook": self._put_hook,
            "DescribeLifecycleHooks": self._describe_hooks,
            "DeleteLifecycleHook": self._delete_hook,
            "CompleteLifecycleAction": self._of_region(self._waits.complete),
            "RecordLifecycleActionHeartbeat": self._of_region(self._waits.record_heartbeat),
        }

    def _put_hook(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        group, name = group_of(call), call.params.get("LifecycleHookName", "")
        hook = read_hook(group.name, call.params, group.hooks.get(name))
        if name not in group.hooks and len(group.hooks) >= HOOKS_PER_GROUP:
            raise AwsError("LimitExceeded", f"The group has {HOOKS_PER_GROUP} lifecycle hooks already.")
        group.hooks[name] = hook
        return {}

    def _describe_hooks(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        group, names = group_of(call), call.params.get("LifecycleHookNames")
        return {
            "LifecycleHooks": [
                describe_hook(hook) for hook in group.hooks.values() if not names or hook.name in names
            ]
        }

    def _delete_hook(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        group, name = group_of(call), call.params["LifecycleHookName"]
        hook: Hook | None = group.hooks.pop(name, None)
        if hook is None:
            raise invalid(f"No Lifecycle Hook found with name {name} for group {group.name}")
        self._waits.end_hook(group.where, hook)
        return {}

    def _of_region(self, act: Callable[[Region, Mapping[str, Any]], None]) -> Handler:
        """Return a handler of a call that changes something, and answers nothing, of a group's."""

        def handle(call: Call, _: PassOn) -> Mapping[str, Any]:
            group_of(call)
            act(Region.of(call), call.params)
            return {}

        return handle
