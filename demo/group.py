"""The orders' Auto Scaling group: one instance, with lifecycle hooks for its launch and for its end."""

from dataclasses import dataclass

from demo.ground import HOME, DemoCloud

NAME = "orders"
IMAGE = "ami-0123456789abcdef0"
HOOKS = {
    "orders-launch": "autoscaling:EC2_INSTANCE_LAUNCHING",
    "orders-terminate": "autoscaling:EC2_INSTANCE_TERMINATING",
}
IN_SERVICE = "InService"


@dataclass(frozen=True, slots=True)
class Group:
    """The group, and the Elastic IP that its service is known by."""

    ground: DemoCloud

    def create(self, device: str) -> None:
        """Have the group launch its first instance, which no hook waits for."""
        disks = [{"DeviceName": device, "Ebs": {"VolumeSize": 2, "DeleteOnTermination": True}}]
        data = {"ImageId": IMAGE, "InstanceType": "t3.micro", "BlockDeviceMappings": disks}
        self.ground.client("ec2", HOME).create_launch_template(
            LaunchTemplateName=NAME, LaunchTemplateData=data
        )
        self.ground.client("autoscaling", HOME).create_auto_scaling_group(
            AutoScalingGroupName=NAME,
            LaunchTemplate={"LaunchTemplateName": NAME},
            MinSize=1,
            MaxSize=2,
            AvailabilityZones=[f"{HOME}a"],
            Tags=[
                {"Key": key, "Value": value, "PropagateAtLaunch": True}
                for key, value in {"Name": NAME, "app": NAME}.items()
            ],
        )

    def add_hooks(self) -> None:
        """Have every later instance wait until its data is there, or is saved."""
        for name, transition in HOOKS.items():
            self.ground.client("autoscaling", HOME).put_lifecycle_hook(
                AutoScalingGroupName=NAME,
                LifecycleHookName=name,
                LifecycleTransition=transition,
                HeartbeatTimeout=600,
            )

    def states(self) -> dict[str, str]:
        """Return the lifecycle state of each instance."""
        answer = self.ground.client("autoscaling", HOME).describe_auto_scaling_groups(
            AutoScalingGroupNames=[NAME]
        )
        [group] = answer["AutoScalingGroups"]
        return {each["InstanceId"]: each["LifecycleState"] for each in group["Instances"]}

    def replace(self, instance_id: str) -> None:
        """Have the group terminate an instance and launch another."""
        self.ground.client("autoscaling", HOME).terminate_instance_in_auto_scaling_group(
            InstanceId=instance_id, ShouldDecrementDesiredCapacity=False
        )

    def delete(self) -> None:
        """Delete the group with its instances, which no hook can hold up."""
        self.ground.client("autoscaling", HOME).delete_auto_scaling_group(
            AutoScalingGroupName=NAME, ForceDelete=True
        )

    def give_address(self, instance_id: str) -> str:
        """Associate a new Elastic IP with an instance, and return the id of its allocation."""
        ec2 = self.ground.client("ec2", HOME)
        allocation = str(ec2.allocate_address(Domain="vpc")["AllocationId"])
        ec2.associate_address(AllocationId=allocation, InstanceId=instance_id)
        return allocation

    def holder(self, allocation: str) -> str | None:
        """Return the instance that an Elastic IP leads to."""
        [address] = self.ground.client("ec2", HOME).describe_addresses(AllocationIds=[allocation])[
            "Addresses"
        ]
        return address.get("InstanceId") or None
