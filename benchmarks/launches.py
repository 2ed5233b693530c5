"""`python -m benchmarks.launches [INSTANCES]`: many launches at once, each with its data from a snapshot.

An Auto Scaling group starts all instances in one step; each waits at its hook until its volume is made,
attached and verified. The cloud keeps EC2's request buckets, and its clock stands still while functions run:
simulated seconds are what agents, volumes and the buckets take, and nothing of this machine. They stand
beside the bound: what one launch alone takes, and the slowest of the buckets that launches draw on
(CreateVolume 100 and 5 a second, AttachVolume 50 and 5).
"""

import sys
from collections import Counter
from datetime import timedelta
from time import monotonic
from typing import Any

from benchmarks import fleet
from benchmarks.memory import peak_mib
from chalicelib.wiring import farshore
from local_cloud.cloud import Cloud
from local_cloud.control.faults import Caller
from stage import HOME_REGION, open_stage

INSTANCES = 100
STEP = timedelta(seconds=1)
LONGEST = timedelta(hours=1)
DEVICE = "/dev/sdg"
PLAN: fleet.Document = {
    "service": "bench",
    "selection": {"tags": {fleet.APP_TAG: fleet.APP}},
    "rules": [
        {
            "name": "nightly",
            "kind": "snapshot",
            "schedule": "cron(0 2 1 1 ? 2100)",
            "volumes": {"boot": False},
            "restore": "test -d volumes/sdg",
            "verify": "true",
            "lifecycle": {"count": 2},
        }
    ],
    "on_launch": {"restore": "nightly", "hook": "up", "on_failure": "abandon"},
}


def main() -> None:
    """Measure, and print a table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else INSTANCES
    alone, _ = measure(1)
    together, calls = measure(count)
    bound = max(alone, alone + _bucket_seconds(count))
    sys.stdout.write(
        f"one launch alone          {alone:6.0f} s simulated\n"
        f"{count} launches at once     {together:6.0f} s simulated\n"
        f"bound of EC2's buckets    {bound:6.0f} s, ratio {together / bound:.2f}\n"
        f"calls of functions        {sum(calls.values()) / count:6.1f} for each launch\n"
        f"peak memory               {peak_mib():6.0f} MiB, the local cloud included\n"
    )


def measure(count: int) -> tuple[float, Counter[str]]:
    """Launch instances at once; return the simulated seconds until the last is in service, and the calls."""
    farshore.cache_clear()  # the functions' clients are those of the cloud before
    with fleet.open_cloud(ticking=False) as cloud, open_stage(cloud.root) as stage:
        stage.deploy(cloud)
        api = fleet.Api(cloud.api.url)
        api.ask("PUT", f"/plans/{fleet.APP}", {**PLAN, "on_launch": {"script": "true", "hook": "none"}})
        _make_point(cloud, api)
        api.ask("PUT", f"/plans/{fleet.APP}", PLAN)
        before = _calls(cloud)
        began, real = cloud.clock.now(), monotonic()
        _start_group(cloud, count)
        while not (ready := _in_service(cloud, count)) and cloud.clock.now() < began + LONGEST:
            cloud.advance(STEP)
        if not ready:
            raise RuntimeError(f"not all of {count} launches ended well: {api.ask('GET', '/jobs')}")
        seconds = (cloud.clock.now() - began).total_seconds()
        sys.stderr.write(f"  {count} launches: {seconds:.0f} s simulated, {monotonic() - real:.0f} s real\n")
        return seconds, _calls(cloud) - before


def _make_point(cloud: Cloud, api: fleet.Api) -> None:
    """Back an instance with one data volume up, and terminate it."""
    ec2 = cloud.client("ec2", HOME_REGION)
    tags = [{"ResourceType": "instance", "Tags": [{"Key": fleet.APP_TAG, "Value": fleet.APP}]}]
    ran = ec2.run_instances(
        ImageId="ami-12345678",
        InstanceType="t3.micro",
        MinCount=1,
        MaxCount=1,
        BlockDeviceMappings=[{"DeviceName": DEVICE, "Ebs": {"VolumeSize": 2}}],
        TagSpecifications=tags,
    )
    cloud.advance(timedelta(minutes=1))
    api.ask("POST", "/backups", {"plan": fleet.APP})
    cloud.advance(timedelta(minutes=5))
    if not api.has("/recovery-points", state="AVAILABLE"):
        raise RuntimeError("the backup was not made")
    ec2.terminate_instances(InstanceIds=[ran["Instances"][0]["InstanceId"]])
    cloud.advance(timedelta(minutes=5))


def _start_group(cloud: Cloud, count: int) -> None:
    ec2, scaling = cloud.client("ec2", HOME_REGION), cloud.client("autoscaling", HOME_REGION)
    data = {"ImageId": "ami-12345678", "InstanceType": "t3.micro"}
    ec2.create_launch_template(LaunchTemplateName=fleet.APP, LaunchTemplateData=data)
    scaling.create_auto_scaling_group(
        AutoScalingGroupName=fleet.APP,
        LaunchTemplate={"LaunchTemplateName": fleet.APP},
        MinSize=0,
        MaxSize=count,
        DesiredCapacity=count,
        AvailabilityZones=[f"{HOME_REGION}a"],
        LifecycleHookSpecificationList=[
            {
                "LifecycleHookName": "up",
                "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING",
                "HeartbeatTimeout": 300,
            }
        ],
        Tags=[{"Key": fleet.APP_TAG, "Value": fleet.APP, "PropagateAtLaunch": True}],
    )


def _in_service(cloud: Cloud, count: int) -> bool:
    groups: Any = cloud.client("autoscaling", HOME_REGION).describe_auto_scaling_groups()
    (group,) = groups["AutoScalingGroups"]
    return [each["LifecycleState"] for each in group["Instances"]].count("InService") == count


def _calls(cloud: Cloud) -> Counter[str]:
    calls = cloud.calls.by_operation(Caller.FUNCTION)
    return Counter({service: sum(operations.values()) for service, operations in calls.items()})


def _bucket_seconds(count: int) -> float:
    """Return how long EC2's buckets let the last of so many volumes wait."""
    return max(0.0, (count - 100) / 5, (count - 50) / 5)


if __name__ == "__main__":
    main()
