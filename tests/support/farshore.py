"""Farshore deployed on a local cloud, used as its users use it: HTTP to the API, AWS calls, the clock."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from chalicelib.wiring import farshore
from local_cloud.cloud import Cloud
from stage import HOME_REGION, open_stage
from tests.support.api import Answer, Document
from tests.support.world import NEVER, World

__all__ = ["BEGIN", "NEVER", "Answer", "Document", "Farshore", "cold_functions", "fresh_stage"]

BEGIN = datetime(2026, 11, 1, 11, 58, tzinfo=UTC)
FINAL = ("COMPLETED", "FAILED", "CANCELLED")


class Farshore(World):
    """One fresh stage; nothing is in it but what a test brings."""

    def launch(self, **tags: str) -> str:
        """Start an instance with a data volume, whose agent is soon online."""
        data_volume = {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 2}}
        started = self.ec2().run_instances(
            ImageId="ami-12345678",
            MinCount=1,
            MaxCount=1,
            InstanceType="t3.micro",
            TagSpecifications=[
                {
                    "ResourceType": "instance",
                    "Tags": [{"Key": name, "Value": text} for name, text in tags.items()],
                }
            ],
            BlockDeviceMappings=[data_volume],
        )
        self.cloud.advance(timedelta(seconds=10))
        return str(started["Instances"][0]["InstanceId"])

    def put_plan(self, name: str, plan: Document) -> Document:
        """Store a plan that must be right."""
        answer = self.ask("PUT", f"/plans/{quote(name, safe='')}", plan)
        assert answer.status == 200, answer.text
        stored: Document = answer.document
        return stored

    def post(self, path: str, body: object, key: str | None = None) -> list[str]:
        """Ask for jobs, which must be accepted, and answer their ids."""
        answer = self.ask("POST", path, body, key=key)
        assert answer.status == 202, answer.text
        jobs: list[str] = answer.document["jobs"]
        return jobs

    def back_up(self, plan: str, rule: str) -> Document:
        """Make one recovery point that must be good, with its copies."""
        [job] = self.post("/backups", {"plan": plan, "rule": rule})
        self.finish()
        made = self.job(job)
        assert made["state"] == "COMPLETED", made
        return self.point(made["recovery_point"])

    def finish(self, within: timedelta = timedelta(hours=3)) -> None:
        """Let time pass until every job is over."""
        end, step = self.cloud.clock.now() + within, timedelta(seconds=10)
        while unfinished := [job for job in self.everything("/jobs") if job["state"] not in FINAL]:
            assert self.cloud.clock.now() < end, unfinished
            self.cloud.advance(step)
            step = min(2 * step, timedelta(minutes=5))

    def snapshots(self, region: str = HOME_REGION) -> set[str]:
        """List our snapshots in a region."""
        found = self.ec2(region).describe_snapshots(OwnerIds=["self"])
        return {each["SnapshotId"] for each in found["Snapshots"]}


@contextmanager
def fresh_stage(cloud: Cloud) -> Iterator[Farshore]:
    """Deploy Farshore on an emptied cloud; its functions keep their clients."""
    cloud.reset()
    shutil.rmtree(cloud.root / "offsite", ignore_errors=True)
    with open_stage(cloud.root) as stage:
        stage.deploy(cloud)
        yield Farshore(cloud, stage)


@contextmanager
def cold_functions() -> Iterator[None]:
    """Have functions start cold, and leave nothing of this cloud to the functions of the next."""
    farshore.cache_clear()
    yield
    farshore.cache_clear()
