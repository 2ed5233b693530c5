"""How long an instance may wait at a lifecycle hook while a job works on it, and when its group is told.

A group lets an instance wait for the hook's heartbeat, and longer each time one is recorded, up to the hook's
total. Invariants: a job that keeps to `ends_by` tells its group a result before the group decides by itself;
where several plans have work at one wait, the group is told to go on when the last of them is done.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks-overview.html
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from chalicelib.aws.autoscaling import AutoScaling, GroupInstance, LifecycleHook
from chalicelib.errors import Permanent
from chalicelib.jobs.job import AnyJob
from chalicelib.jobs.store import JobStore

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
    """What Auto Scaling shows of a wait: the instance in its group, and the hook; None: there is none.

    One that is `unseen` may wait: Auto Scaling refused to show it. `beside` is a job of another plan that
    still works on the instance at this wait.
    """

    member: GroupInstance | None = None
    hook: LifecycleHook | None = None
    unseen: bool = False
    beside: str = ""

    def waits_at(self, ref: HookRef) -> bool:
        """Return whether the instance waits at this hook, or may do so."""
        if self.hook is None or self.member is None:
            return self.unseen
        return self.member.waits_for(ref.transition)

    def why_not(self, ref: HookRef) -> str:
        """Return why the group waits no more."""
        if self.hook is None:
            return f"group {ref.group} has no lifecycle hook {ref.name} any more"
        state = self.member.state if self.member else "in no group"
        return f"group {ref.group} has decided by itself: the instance is {state} and no longer waits"


@dataclass(frozen=True, slots=True)
class HookWatch:
    """Looks at waits; `is_done` says whether a job has done its part of one before it ends."""

    autoscaling: AutoScaling
    jobs: Callable[[], JobStore]
    is_done: Callable[[AnyJob], bool]

    def observe(self, job: AnyJob, *, tolerant: bool) -> HookSeen:
        """Look at the wait that a job works in, and at the other jobs that do.

        Raises:
            Permanent: Auto Scaling refuses to show it; where `tolerant`, it is unseen instead.
        """
        ref, instance_id = job.work.hook, job.work.instance_id
        beside = self._at_work(job.work.beside)
        try:
            hooks = (each for each in self.autoscaling.hooks(ref.group) if each.name == ref.name)
            members = self.autoscaling.instances([instance_id])
            return HookSeen(members.get(instance_id), next(hooks, None), beside=beside)
        except Permanent:
            if not tolerant:
                raise
            return HookSeen(unseen=True, beside=beside)

    def _at_work(self, ids: Iterable[str]) -> str:
        found = (self.jobs().get(id) for id in ids)
        return next((each.id for each in found if each and not (each.state.final or self.is_done(each))), "")


def ends_by(ref: HookRef | None, hook: LifecycleHook | None, own: datetime) -> datetime:
    """Return when a job has to stop going forward: by its `own` time, and so early that it can undo what it
    did and still tell the group that waits."""
    if ref is None or hook is None:
        return own
    return min(own, ref.since + hook.total - min(FOR_UNDOING, hook.total / 4))


def heartbeat_due(ref: HookRef | None, hook: LifecycleHook | None, last: datetime | None) -> datetime | None:
    """Return when the next heartbeat is to be recorded: half-way to where the wait would end. None: never."""
    if ref is None or hook is None:
        return None
    return (last or ref.since) + hook.heartbeat / 2
