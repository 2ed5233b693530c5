"""An instance of a group comes up with its service's data, and saves it before it goes."""

from typing import Any

from stage import HOME_REGION
from tests.support.deployment import Deployment, Document, service_rule

HOOKS = [
    {
        "LifecycleHookName": "up",
        "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING",
        "HeartbeatTimeout": 300,
        "DefaultResult": "ABANDON",
    },
    {
        "LifecycleHookName": "down",
        "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
        "HeartbeatTimeout": 300,
        "DefaultResult": "CONTINUE",
    },
]


class Group:
    """An Auto Scaling group of instances tagged `app: orders`."""

    def __init__(self, app: Deployment, *, desired: int = 1, hooks: Any = HOOKS) -> None:
        self.app = app
        self.autoscaling = app.cloud.client("autoscaling", HOME_REGION)
        data = {
            "ImageId": "ami-12345678",
            "InstanceType": "t3.micro",
            "BlockDeviceMappings": [{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1}}],
        }
        app.ec2().create_launch_template(LaunchTemplateName="orders", LaunchTemplateData=data)
        self.autoscaling.create_auto_scaling_group(
            AutoScalingGroupName="orders",
            LaunchTemplate={"LaunchTemplateName": "orders"},
            MinSize=0,
            MaxSize=200,
            DesiredCapacity=desired,
            AvailabilityZones=["eu-central-1a"],
            LifecycleHookSpecificationList=hooks,
            Tags=[{"Key": "app", "Value": "orders", "PropagateAtLaunch": True}],
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
            self.app.pass_time(seconds=10)
        raise AssertionError((self.states(), self.app.jobs()))

    def replace(self, instance: str) -> None:
        """Have the group terminate an instance and launch another."""
        self.autoscaling.terminate_instance_in_auto_scaling_group(
            InstanceId=instance, ShouldDecrementDesiredCapacity=False
        )


def planned(app: Deployment, *rules: Document, **keys: Any) -> None:
    """Store a plan whose instances come up with the newest backup, and are backed up before they go."""
    launch = {"restore": "file", "hook": "up", "on_failure": "abandon", **keys.pop("on_launch", {})}
    terminate = {"backup": "file", "hook": "down"}
    app.put_plan("orders", *(rules or (service_rule(),)), on_launch=launch, on_terminate=terminate, **keys)


def read(app: Deployment, instance: str, name: str) -> str:
    """Read a file of an instance."""
    return (app.directory(instance) / name).read_text()


def launches(app: Deployment) -> list[Document]:
    """The launch jobs, oldest first."""
    return sorted(app.jobs(kind="launch"), key=lambda job: job["created_at"])


def test_a_replaced_instance_is_backed_up_and_the_new_one_has_its_data(app: Deployment) -> None:
    planned(app, service_rule(script='cat data > "$2" 2>/dev/null || echo first > "$2"', restore="cat > data", verify="test -s data"))
    group = Group(app)
    first = group.only()
    (launch,) = launches(app)
    assert "there is no good point" in launch["reason"]
    (app.directory(first) / "data").write_text("what the first one wrote\n")

    group.replace(first)
    app.pass_time(minutes=2)
    second = group.only()

    assert second != first
    assert read(app, second, "data") == "what the first one wrote\n"
    assert [job["state"] for job in app.jobs(kind="termination")] == ["COMPLETED"]
    assert [job["state"] for job in launches(app)] == ["COMPLETED", "COMPLETED"]
    assert "its verify script passed" in launches(app)[1]["reason"]
