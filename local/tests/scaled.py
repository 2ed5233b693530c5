"""An Auto Scaling group on a local cloud, with real boto3 clients and a queue that its events reach."""

import json
from datetime import timedelta
from typing import Any

from little_stack import HOME, policy_of_queue
from local_cloud.cloud import Cloud

ZONES = [f"{HOME}a", f"{HOME}b"]
LAUNCHING, TERMINATING = "autoscaling:EC2_INSTANCE_LAUNCHING", "autoscaling:EC2_INSTANCE_TERMINATING"


class Scaled:
    """A cloud, a launch template named `web`, and groups named `web` unless they are named."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.scaling = cloud.client("autoscaling", HOME)
        self.ec2 = cloud.client("ec2", HOME)
        self._sqs = cloud.client("sqs", HOME)
        self._queue = self._sqs.create_queue(QueueName="told")["QueueUrl"]
        self._seen: list[dict[str, Any]] = []
        events = cloud.client("events", HOME)
        pattern = {"source": ["aws.autoscaling", "aws.ec2"]}
        rule = events.put_rule(Name="told", EventPattern=json.dumps(pattern))["RuleArn"]
        arn = f"arn:aws:sqs:{HOME}:123456789012:told"
        policy = {"Policy": policy_of_queue(arn, rule)}
        self._sqs.set_queue_attributes(QueueUrl=self._queue, Attributes=policy)
        events.put_targets(Rule="told", Targets=[{"Id": "told", "Arn": arn}])
        self.ec2.create_launch_template(
            LaunchTemplateName="web",
            LaunchTemplateData={
                "ImageId": "ami-12345678",
                "InstanceType": "t3.micro",
                "BlockDeviceMappings": [
                    {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1, "DeleteOnTermination": False}}
                ],
                "TagSpecifications": [
                    {"ResourceType": "instance", "Tags": [{"Key": "from", "Value": "template"}]},
                    {"ResourceType": "volume", "Tags": [{"Key": "disk", "Value": "yes"}]},
                ],
            },
        )

    def create(self, desired: int = 1, *, name: str = "web", **more: Any) -> None:
        """Create a group of `desired` instances."""
        self.scaling.create_auto_scaling_group(
            **{
                "AutoScalingGroupName": name,
                "LaunchTemplate": {"LaunchTemplateName": "web"},
                "MinSize": 0,
                "MaxSize": 10,
                "DesiredCapacity": desired,
                "AvailabilityZones": ZONES,
                **more,
            }
        )

    def hook(self, transition: str, name: str = "hook", **more: Any) -> None:
        """Put a hook on the group."""
        self.scaling.put_lifecycle_hook(
            AutoScalingGroupName="web", LifecycleHookName=name, LifecycleTransition=transition, **more
        )

    def complete(self, result: str = "CONTINUE", name: str = "hook", **whom: str) -> None:
        """Complete a lifecycle action."""
        self.scaling.complete_lifecycle_action(
            AutoScalingGroupName="web", LifecycleHookName=name, LifecycleActionResult=result, **whom
        )

    def wait(self, seconds: float = 20) -> None:
        """Let simulated time pass."""
        self.cloud.advance(timedelta(seconds=seconds))

    def group(self, name: str = "web") -> dict[str, Any]:
        """Return a group as it is described."""
        (group,) = self.scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])[
            "AutoScalingGroups"
        ]
        found: dict[str, Any] = group
        return found

    def states(self, name: str = "web") -> dict[str, str]:
        """Return the lifecycle state of each instance of a group."""
        return {each["InstanceId"]: each["LifecycleState"] for each in self.group(name)["Instances"]}

    def only(self) -> str:
        """Return the group's only instance."""
        (instance_id,) = self.states()
        return instance_id

    def instance(self, instance_id: str) -> dict[str, Any]:
        """Return an instance as EC2 describes it."""
        (group,) = self.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"]
        found: dict[str, Any] = group["Instances"][0]
        return found

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Return the events of a detail-type that have come by now, in order."""
        self.cloud.settle()
        while messages := self._sqs.receive_message(
            QueueUrl=self._queue, MaxNumberOfMessages=10, VisibilityTimeout=43200
        ).get("Messages"):
            self._seen += [json.loads(message["Body"]) for message in messages]
        return [event for event in self._seen if event["detail-type"] == kind]
