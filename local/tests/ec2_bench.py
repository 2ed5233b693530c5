"""EC2's stand-in behind the endpoint, with real boto3 clients; nothing else of the local cloud runs."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from little_stack import bare_endpoint
from local_cloud.call import CloudContext, Quotas
from local_cloud.control.clock import Clock
from local_cloud.control.timeline import Timeline
from local_cloud.server import Server
from local_cloud.services.ec2 import Ec2

HOME, AWAY = "eu-central-1", "eu-west-1"
TAGS = [{"ResourceType": "snapshot", "Tags": [{"Key": "farm", "Value": "north"}]}]


class Bench:
    """One EC2 with its clock, its timeline and the events it has told, as (region, event)."""

    def __init__(self, root: Path, clock: Clock) -> None:
        self.clock = clock
        self.timeline = Timeline(clock)
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.quotas = Quotas(throttled=False)
        self.ground = CloudContext(clock, self.timeline, self._tell, root, self.quotas)
        self.ec2 = Ec2(self.ground)
        endpoint = bare_endpoint(clock, self.timeline)
        endpoint.attach([self.ec2])
        self.server = Server(endpoint)
        self.server.start()
        self._clients: dict[str, Any] = {}

    def client(self, region: str = HOME) -> Any:
        """Return a boto3 client of EC2."""
        if region not in self._clients:
            self._clients[region] = boto3.client(
                "ec2",
                region_name=region,
                endpoint_url=self.server.url,
                aws_access_key_id="test",
                aws_secret_access_key="test",
                config=Config(retries={"total_max_attempts": 1}),
            )
        return self._clients[region]

    def wait(self, seconds: float = 60) -> None:
        """Let simulated time pass."""
        self.timeline.run_until(self.clock.now() + timedelta(seconds=seconds))

    def events(self, kind: str) -> list[tuple[str, dict[str, Any]]]:
        """Return region and event of those with this detail-type."""
        return [(region, event) for region, event in self.told if event["detail-type"] == kind]

    def launch(self, *, data: int = 1, region: str = HOME, zone: str = "a", **more: Any) -> str:
        """Run an instance with `data` data volumes of 10 GiB, wait until it runs, and answer its id."""
        devices = [
            {"DeviceName": f"/dev/sd{letter}", "Ebs": {"VolumeSize": 10}} for letter in "fghijk"[:data]
        ]
        answer = self.client(region).run_instances(
            ImageId="ami-12345678",
            MinCount=1,
            MaxCount=1,
            BlockDeviceMappings=devices,
            Placement={"AvailabilityZone": region + zone},
            **more,
        )
        self.wait()
        return str(answer["Instances"][0]["InstanceId"])

    def volumes(self, instance_id: str, region: str = HOME) -> dict[str, str]:
        """Return the volume of each device of an instance."""
        reservations = self.client(region).describe_instances(InstanceIds=[instance_id])["Reservations"]
        mappings = reservations[0]["Instances"][0]["BlockDeviceMappings"]
        return {mapping["DeviceName"]: mapping["Ebs"]["VolumeId"] for mapping in mappings}

    def _tell(self, region: str, event: dict[str, Any]) -> None:
        self.told.append((region, event))


def described(bench: Bench, region: str = HOME, **params: Any) -> list[dict[str, Any]]:
    """Return the snapshots that are listed."""
    found: list[dict[str, Any]] = bench.client(region).describe_snapshots(**params)["Snapshots"]
    return found


def blobs(bench: Bench) -> list[Path]:
    """Return the files that hold the contents of volumes and snapshots."""
    return [path for path in (bench.ground.root / "ebs" / "blobs").rglob("*") if path.is_file()]


def refused(call: Any, **params: Any) -> str:
    """Return the code of the error that a call ends in."""
    with pytest.raises(ClientError) as failure:
        call(**params)
    return str(failure.value.response["Error"]["Code"])
