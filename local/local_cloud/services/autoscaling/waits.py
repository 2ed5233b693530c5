"""Lifecycle actions: an instance waits until each of a transition's hooks is completed, abandoned or late.

All hooks of a transition begin at once, each with a token of its own. The wait ends when all have been
completed with CONTINUE, or with the first ABANDON, which ends those that are left. A heartbeat begins the
hook's time anew, but never beyond its global timeout; an action whose time is up ends with the hook's default
result.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks-overview.html and
completing-lifecycle-hooks.html; API_CompleteLifecycleAction.html, API_RecordLifecycleActionHeartbeat.html
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from local_cloud.call import AwsError
from local_cloud.services.autoscaling.events import Way, action_began
from local_cloud.services.autoscaling.hooks import ABANDON, CONTINUE, LAUNCHING, Hook, check_result
from local_cloud.services.autoscaling.world import World
from local_cloud.services.ec2.world import Region


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a wait ended, and in the case of ABANDON why, in AWS's words."""

    result: str
    reason: str = ""


@dataclass(slots=True)
class Action:
    """One hook's part of a wait; `result` is None as long as it is active."""

    hook: Hook
    token: str
    expires_at: datetime
    gives_up_at: datetime
    result: str | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """All that an instance waits for; `then` is called once, with the outcome."""

    where: Region
    instance_id: str
    actions: Sequence[Action]
    then: Callable[[Outcome], None]


class Waits:
    """The instances that wait."""

    def __init__(self, world: World) -> None:
        """Wait in `world`."""
        self._world = world
        self._waits: dict[str, Wait] = {}

    def begin(
        self,
        where: Region,
        instance_id: str,
        hooks: Sequence[tuple[Hook, str]],
        way: Way,
        then: Callable[[Outcome], None],
    ) -> None:
        """Have an instance wait for hooks, each given with its group's ARN, and tell each of them."""
        now = self._world.exact_now()
        actions = [
            Action(hook, str(uuid.uuid4()), now + hook.heartbeat, now + hook.longest_wait)
            for hook, _ in hooks
        ]
        wait = self._waits[instance_id] = Wait(where, instance_id, actions, then)
        for action, (hook, group_arn) in zip(actions, hooks, strict=True):
            self._world.tell(where, action_began(hook, group_arn, action.token, instance_id, way))
            self._watch(wait, action)

    def complete(self, where: Region, params: Mapping[str, Any]) -> None:
        """Do a CompleteLifecycleAction."""
        check_result(result := params.get("LifecycleActionResult", ""), "Lifecycle Action Result")
        wait, action = self._active(where, params)
        self._end(wait, action, result, f"Lifecycle Action Completed with {ABANDON} Result")

    def record_heartbeat(self, where: Region, params: Mapping[str, Any]) -> None:
        """Do a RecordLifecycleActionHeartbeat."""
        wait, action = self._active(where, params)
        action.expires_at = min(self._world.exact_now() + action.hook.heartbeat, action.gives_up_at)
        self._watch(wait, action)

    def end_hook(self, where: Region, hook: Hook) -> None:
        """End the actions of a hook that is deleted: a launch is abandoned, a termination goes on.

        https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DeleteLifecycleHook.html
        """
        result = ABANDON if hook.transition == LAUNCHING else CONTINUE
        for wait in [each for each in self._waits.values() if each.where == where]:
            for action in wait.actions:
                if (action.hook.group, action.hook.name) == (hook.group, hook.name) and action.result is None:
                    self._end(wait, action, result, "Lifecycle Hook Deleted")

    def forget(self, instance_id: str) -> None:
        """End an instance's wait without an outcome; its tokens are not active any more."""
        self._waits.pop(instance_id, None)

    def clear(self) -> None:
        """Forget every wait."""
        self._waits.clear()

    def _active(self, where: Region, params: Mapping[str, Any]) -> tuple[Wait, Action]:
        """Return the action that a call means.

        Raises:
            AwsError: there is none, or it does not wait any more.
        """
        token, instance_id = params.get("LifecycleActionToken"), params.get("InstanceId")
        if not token and not instance_id:
            raise AwsError(
                "ValidationError", "Either Lifecycle Action Token or Instance ID must be specified."
            )
        named = params["AutoScalingGroupName"].rpartition("/")[2], params["LifecycleHookName"]
        for wait in self._waits.values():
            for action in wait.actions:
                if (
                    wait.where == where
                    and token in (None, action.token)
                    and instance_id in (None, wait.instance_id)
                    and (action.hook.group, action.hook.name) == named
                    and action.result is None
                ):
                    return wait, action
        missing = f"token {token}" if token else f"instance ID {instance_id}"
        raise AwsError("ValidationError", f"No active Lifecycle Action found with {missing}")

    def _watch(self, wait: Wait, action: Action) -> None:
        """Have the action end when its time is up, unless that has been moved by then."""

        def check() -> None:
            if action.result is None and self._world.exact_now() >= action.expires_at:
                self._end(wait, action, action.hook.default_result, "Heartbeat Timeout")

        self._world.at(action.expires_at, check, f"{action.hook.name} of {wait.instance_id} times out")

    def _end(self, wait: Wait, action: Action, result: str, reason: str) -> None:
        """Give an action its result, and end the wait if that decides it."""
        if self._waits.get(wait.instance_id) is not wait:
            return
        action.result = result
        if result == CONTINUE and any(each.result is None for each in wait.actions):
            return
        del self._waits[wait.instance_id]
        abandoned = f"Lifecycle Action with token {action.token} was abandoned: {reason}"
        wait.then(Outcome(result, "" if result == CONTINUE else abandoned))
