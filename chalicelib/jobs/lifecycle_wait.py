"""How long an instance may wait at a lifecycle hook while a job works on it, and when its group is told.
Pure.

A group lets an instance wait for the hook's heartbeat, and longer each time one is recorded, up to the hook's
total. Invariant: a job that keeps to `ends_by` tells its group a result before the group decides by itself.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks-overview.html
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from chalicelib.aws.autoscaling import GroupInstance, LifecycleHook

# The results that a group can be told.
CONTINUE, ABANDON = "CONTINUE", "ABANDON"
# Undoing what was done takes its time, too: so much of a hook's total is kept for it.
FOR_UNDOING = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class HookRef:
    """The hook that an instance waits at: its group, its name, its transition, and since when."""

    group: str
    name: str
    transition: str
    since: datetime


@dataclass(frozen=True, slots=True)
class HookSeen:
    """What Auto Scaling shows of a wait: the instance in its group, and the hook; None: there is none."""

    member: GroupInstance | None = None
    hook: LifecycleHook | None = None

    def waits_at(self, ref: HookRef) -> bool:
        """Return whether the instance waits at this hook."""
        return self.hook is not None and self.member is not None and self.member.waits_for(ref.transition)

    def why_not(self, ref: HookRef) -> str:
        """Return why the group waits no more."""
        if self.hook is None:
            return f"group {ref.group} has no lifecycle hook {ref.name} any more"
        state = self.member.state if self.member else "in no group"
        return f"group {ref.group} has decided by itself: the instance is {state} and no longer waits"


def ends_by(ref: HookRef, hook: LifecycleHook) -> datetime:
    """Return when a job has to stop going forward, so that it can undo what it did and tell the group."""
    return ref.since + hook.total - min(FOR_UNDOING, hook.total / 4)


def heartbeat_at(hook: LifecycleHook, last: datetime) -> datetime:
    """Return when the next heartbeat is to be recorded: half-way to where the wait would end."""
    return last + hook.heartbeat / 2
