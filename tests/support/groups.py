"""An Auto Scaling group of a service's instances, with lifecycle hooks for launches and terminations."""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from stage import HOME_REGION
from tests.support.world import World

HOOKS = [
    {
        "LifecycleHookName": "up",
        "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING",
        "DefaultResult": "ABANDON",
    },
    {
        "LifecycleHookName": "down",
        "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
        "DefaultResult": "CONTINUE",
    },
]


class Group:
    """An Auto Scaling group of instances tagged `app: orders`."""

    def __init__(
        self,
        app: World,
        *,
        desired: int = 1,
        hooks: Any = HOOKS,
        device: str | None = "/dev/sdf",
        tags: Mapping[str, str] = MappingProxyType({}),
        heartbeat: int = 300,
    ) -> None:
        self.app = app
        self.autoscaling = app.cloud.client("autoscaling", HOME_REGION)
        disks = [{"DeviceName": device, "Ebs": {"VolumeSize": 1}}] if device else []
        data = {"ImageId": "ami-12345678", "InstanceType": "t3.micro", "BlockDeviceMappings": disks}
        app.ec2().create_launch_template(LaunchTemplateName="orders", LaunchTemplateData=data)
        self.autoscaling.create_auto_scaling_group(
            AutoScalingGroupName="orders",
            LaunchTemplate={"LaunchTemplateName": "orders"},
            MinSize=0,
            MaxSize=200,
            DesiredCapacity=desired,
            AvailabilityZones=["eu-central-1a"],
            LifecycleHookSpecificationList=[{**each, "HeartbeatTimeout": heartbeat} for each in hooks],
            Tags=[
                {"Key": key, "Value": value, "PropagateAtLaunch": True}
                for key, value in {"app": "orders", **tags}.items()
            ],
        )

    def states(self) -> dict[str, str]:
        """The lifecycle state of each instance."""
        (group,) = self.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=["orders"])[
            "AutoScalingGroups"
        ]
        return {each["InstanceId"]: each["LifecycleState"] for each in group["Instances"]}

    def only(self, state: str = "InService", minutes: int = 20) -> str:
        """Return the one instance, once it is in this state."""
        for _ in range(minutes * 6):
            if list(self.states().values()) == [state]:
                return next(iter(self.states()))
            self.app.cloud.advance(timedelta(seconds=10))
        raise AssertionError(self.states())

    def replace(self, instance: str) -> None:
        """Have the group terminate an instance and launch another."""
        self.autoscaling.terminate_instance_in_auto_scaling_group(
            InstanceId=instance, ShouldDecrementDesiredCapacity=False
        )

    def drop(self, instance: str) -> None:
        """Have the group terminate an instance, and not replace it."""
        self.autoscaling.terminate_instance_in_auto_scaling_group(
            InstanceId=instance, ShouldDecrementDesiredCapacity=True
        )
