"""What this package's modules act on: the time, later changes, events, and EC2's instances.

Invariant: one change at a time, under the locks that calls to Auto Scaling and to EC2 hold, always taken in
that order. EC2's notices come while its lock is held, so they are only noted, and acted on in a change of
their own.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from moto.core.exceptions import ServiceException
from moto.ec2.models.instances import Instance

from local_cloud.call import AwsError, CloudContext
from local_cloud.passing import lock_of
from local_cloud.services.ec2 import Ec2
from local_cloud.services.ec2.events import Event
from local_cloud.services.ec2.world import Region


class World:
    """The ground as this package uses it."""

    def __init__(self, ground: CloudContext, ec2: Ec2) -> None:
        """Act on `ground`, and on the instances of `ec2`."""
        self._ground = ground
        self._instances = ec2.instances
        self.quotas = ground.quotas

    def now(self) -> datetime:
        """Return the simulated time, in whole seconds, as the answers show it."""
        return self._ground.clock.now().replace(microsecond=0)

    def exact_now(self) -> datetime:
        """Return the simulated time, for deadlines."""
        return self._ground.clock.now()

    def at(self, when: datetime, change: Callable[[], None], label: str) -> None:
        """Have `change` made at a time."""

        def alone() -> None:
            with lock_of("autoscaling"), lock_of("ec2"):
                change()

        self._ground.timeline.at(when, alone, label)

    def later(self, delay: timedelta, change: Callable[[], None], label: str) -> None:
        """Have `change` made `delay` from now."""
        self.at(self._ground.clock.now() + delay, change, label)

    def soon(self, change: Callable[[], None], label: str) -> None:
        """Have `change` made after what Auto Scaling takes for a step."""
        self.later(self.quotas.scaling_step, change, label)

    def tell(self, region: Region, event: Event) -> None:
        """Put `event` on the region's default bus."""
        self._ground.emit(region.name, event)

    def launch(self, region: Region, params: Mapping[str, Any], tags: Mapping[str, str]) -> Instance:
        """Launch an instance, with tags that only AWS may give.

        Raises:
            AwsError: EC2 refuses it.
        """
        try:
            (instance,) = self._instances.launch(region, params).instances
        except ServiceException as exc:
            raise AwsError(exc.code, exc.message) from exc
        instance.add_tags(dict(tags))
        return instance

    def start(self, region: Region, instance: Instance) -> None:
        """Start a stopped instance."""
        self._instances.start(region, instance)

    def stop(self, region: Region, instance: Instance) -> None:
        """Stop an instance."""
        self._instances.stop(region, instance)

    def terminate(self, region: Region, instance: Instance) -> None:
        """Terminate an instance; termination protection does not protect it from Auto Scaling."""
        self._instances.terminate(region, instance)
