"""Spot Instances that EC2 takes back: a recommendation to rebalance, a warning, the end two minutes later.

AWS decides when; here the operator does, through the control server.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html,
rebalance-recommendations.html

moto: interrupts nothing.
"""

from datetime import timedelta

from moto.ec2.models.instances import Instance, StateReason

from local_cloud.passing import lock_of
from local_cloud.services.ec2.events import interruption_warned, rebalance_recommended
from local_cloud.services.ec2.instances import Instances
from local_cloud.services.ec2.world import Region, World

NOTICE = timedelta(minutes=2)
ACTIONS = ("terminate", "stop")
TAKEN_BACK = "Server.SpotInstanceTermination"


class Interruptions:
    """Takes Spot Instances back."""

    def __init__(self, world: World, instances: Instances) -> None:
        """Take `instances` back in `world`."""
        self._world = world
        self._instances = instances

    def interrupt(self, instance_id: str, action: str = "terminate") -> None:
        """Warn an instance, and terminate or stop it two minutes later, unless it has ended by then.

        Raises:
            ValueError: there is no such Spot Instance that runs, or no such action.
        """
        if action not in ACTIONS:
            raise ValueError(f"{action!r} is not an action: write {' or '.join(ACTIONS)}")
        with lock_of("ec2"):
            region, instance = self._spot(instance_id)
            zone = str(instance.availability_zone)
            self._world.tell(region, interruption_warned(zone, instance_id, action))

        def take_back() -> None:
            if action == "stop":
                self._instances.stop(region, instance)
            elif instance.state in ("pending", "running", "stopping", "stopped"):
                instance.state_reason = StateReason(f"{TAKEN_BACK}: Spot instance termination", TAKEN_BACK)
                self._instances.terminate(region, instance)

        self._world.later(NOTICE, take_back, f"{instance_id} is interrupted")

    def recommend_rebalance(self, instance_id: str) -> None:
        """Tell that an instance is at a higher risk; nothing else happens.

        Raises:
            ValueError: there is no such Spot Instance that runs.
        """
        with lock_of("ec2"):
            region, _ = self._spot(instance_id)
            self._world.tell(region, rebalance_recommended(region.account, region.name, instance_id))

    def _spot(self, instance_id: str) -> tuple[Region, Instance]:
        region, instance = self._instances.known(instance_id)
        if instance is None or region is None:
            raise ValueError(f"there is no instance {instance_id}")
        if instance.lifecycle != "spot":
            raise ValueError(
                f"{instance_id} is no Spot Instance: launch it with InstanceMarketOptions MarketType=spot"
            )
        if instance.state != "running":
            raise ValueError(f"{instance_id} is {instance.state}, not running")
        return region, instance
