"""Auto Scaling: groups whose instances come and go in time, and wait for lifecycle hooks on their way.

An instance of a group is an instance of EC2's stand-in. `groups` has what moto keeps, `requests` what is
refused; `scaling` decides how many instances there are, `launches` what they are, `lifecycle` what becomes of
each; `hooks` and `waits` have the lifecycle hooks, `warm_pools` and `refreshes` what their names say;
`activities` and `events` say what happened. The modules named `…_calls` answer the calls.

AWS: https://docs.aws.amazon.com/autoscaling/ec2/APIReference/Welcome.html.
moto: keeps groups, launch configurations, policies, tags; describes them; launches at once, and in silence.
Added: states that last, lifecycle actions, events, replacements, warm pools, refreshes, activities, refusals.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from local_cloud.call import Call, CloudContext, Handler, PassOn
from local_cloud.passing import lock_of
from local_cloud.services.autoscaling.group_calls import GroupCalls
from local_cloud.services.autoscaling.groups import make_groups_ours
from local_cloud.services.autoscaling.hook_calls import HookCalls
from local_cloud.services.autoscaling.instance_calls import InstanceCalls
from local_cloud.services.autoscaling.pool_calls import PoolCalls
from local_cloud.services.autoscaling.scaling import Scaling
from local_cloud.services.autoscaling.targets import Targets
from local_cloud.services.autoscaling.waits import Waits
from local_cloud.services.autoscaling.world import World
from local_cloud.services.ec2 import Ec2
from local_cloud.services.elbv2 import LoadBalancers


class AutoScaling:
    """Auto Scaling of one cloud, all its accounts and regions."""

    service = "autoscaling"

    def __init__(self, ground: CloudContext, ec2: Ec2, balancers: LoadBalancers) -> None:
        """Stand on `ground`; the instances are those of `ec2`, and targets of `balancers`."""
        make_groups_ours()
        self._world = World(ground, ec2)
        self._waits = Waits(self._world)
        targets = Targets(balancers)
        scaling = Scaling(self._world, self._waits, targets)
        self._lifecycle = scaling.lifecycle
        self._calls = (
            GroupCalls(scaling, targets),
            InstanceCalls(self._world, scaling),
            HookCalls(self._waits),
            PoolCalls(self._world, scaling),
        )
        ec2.on_state.append(self._note_state)

    def handlers(self) -> Mapping[str, Handler]:
        """Return what is not moto's alone, by operation."""
        return {
            operation: with_ec2(handler)
            for calls in self._calls
            for operation, handler in calls.handlers().items()
        }

    def clear(self) -> None:
        """Forget what is under way; moto's groups are moto's to reset."""
        self._waits.clear()
        self._lifecycle.clear()

    def _note_state(self, _: str, instance_id: str, state: str) -> None:
        """Have an instance's new state acted on, once EC2 is done with it."""
        if self._lifecycle.knows(instance_id):
            self._world.later(
                timedelta(0),
                lambda: self._lifecycle.ec2_changed(instance_id, state),
                f"{instance_id} is {state}, Auto Scaling hears",
            )


def with_ec2(handler: Handler) -> Handler:
    """Hold EC2's lock, too, while a call is answered."""

    def handle(call: Call, pass_on: PassOn) -> Mapping[str, Any] | None:
        with lock_of("ec2"):
            return handler(call, pass_on)

    return handle
