"""EC2's stand-in behind the endpoint, with real boto3 clients; nothing else of the local cloud runs."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto.core.base_backend import BackendDict

from local.call import Ground, Quotas
from local.clock import Clock
from local.ec2 import Ec2
from local.server import Server
from local.timeline import Timeline
from tests.local.conftest import bare_endpoint

HOME, AWAY = "eu-central-1", "eu-west-1"


class Bench:
    """One EC2 with its clock, its timeline and the events it has told, as (region, event)."""

    def __init__(self, root: Path, clock: Clock) -> None:
        self.clock = clock
        self.timeline = Timeline(clock)
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.quotas = Quotas(throttled=False)
        self.ground = Ground(clock, self.timeline, self._tell, root, self.quotas)
        self.ec2 = Ec2(self.ground)
        endpoint = bare_endpoint(self.timeline)
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
        """Answer region and event of those with this detail-type."""
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


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Return a fresh EC2."""
    monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
    BackendDict.reset()
    with Clock(datetime(2026, 3, 1, 12, tzinfo=UTC)) as clock:
        made = Bench(tmp_path, clock)
        yield made
        made.server.close()
