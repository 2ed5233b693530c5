"""Farshore, deployed on the local cloud: what a test asks of it, does to its world, and finds in the end.

Everything is asked of the API or read from EC2, S3, SSM and the off-site folder; nothing of the app's own is
called or replaced.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from stage import HOME_REGION
from tests.support.api import Answer, Document
from tests.support.findings import discrepancies
from tests.support.world import BUCKETS, NEVER, REGIONS, World

__all__ = ["BUCKETS", "NEVER", "REGIONS", "Answer", "Deployment", "Document", "newest", "noon", "parse_time"]
__all__ += ["service_rule", "snapshot_rule"]


class Deployment(World):
    """One stage on one cloud."""

    def listing(self, what: str, **query: object) -> list[Document]:
        """Return all items of a list, however many pages it has."""
        return self.everything(f"/{what}", limit=100, **query)

    def jobs(self, **query: str) -> list[Document]:
        """List jobs, oldest first."""
        return self.listing("jobs", **query)[::-1]

    def points(self, **query: str) -> list[Document]:
        """List recovery points, oldest first."""
        return self.listing("recovery-points", **query)[::-1]

    def store_plan(self, name: str, plan: Document) -> Document:
        """Store a plan that must be right; return the answer."""
        stored: Document = self.ask("PUT", f"/plans/{quote(name, safe='')}", plan, status=200).document
        return stored

    def put_plan(self, name: str, *rules: Mapping[str, Any], **rest: Any) -> None:
        """Store a plan; it selects the instances tagged `app: NAME` and calls the service NAME."""
        plan = {"service": name, "selection": {"tags": {"app": name}}, **rest, "rules": list(rules)}
        self.store_plan(name, plan)

    def post(self, path: str, body: object, key: str | None = None) -> list[str]:
        """Ask for jobs, which must be accepted; return their ids."""
        jobs: list[str] = self.ask("POST", path, body, key=key, status=202).document["jobs"]
        return jobs

    def back_up(self, plan: str, **which: Any) -> str:
        """Ask for a backup of a plan of one service and one rule; name its job."""
        (job,) = self.post("/backups", {"plan": plan, **which})
        return job

    def make_point(self, plan: str, rule: str) -> Document:
        """Make one recovery point that must be good, with its copies."""
        job = self.back_up(plan, rule=rule)
        self.finish()
        made = self.job(job)
        assert made["state"] == "COMPLETED", made
        return self.point(made["recovery_point"])

    def restore(self, point: Document, vault: str, **target: Any) -> str:
        """Ask for a restore; name its job."""
        body = {"recovery_point": point["id"], "vault": vault, "target": target}
        (job,) = self.post("/restores", body)
        return job

    def copy(self, point: Document, vault: str) -> str:
        """Ask for a copy; name its job."""
        (job,) = self.post(f"/recovery-points/{point['id']}/copies", {"vault": vault})
        return job

    # the world

    @property
    def now(self) -> datetime:
        """Return the simulated time."""
        return self.cloud.clock.now()

    def pass_time(self, **span: float) -> datetime:
        """Let simulated time pass."""
        return self.cloud.advance(timedelta(**span))

    def finish(self, within: timedelta = timedelta(hours=3)) -> None:
        """Let simulated time pass until every job is over."""
        end, step = self.now + within, timedelta(seconds=10)
        while unfinished := self.unfinished():
            assert self.now < end, unfinished
            self.cloud.advance(step)
            step = min(2 * step, timedelta(minutes=5))

    def pass_until(self, when: datetime) -> None:
        """Let simulated time pass until `when`."""
        self.cloud.advance(when - self.now)

    def once_written(self, instance: str, name: str, then: Callable[[], object], **span: float) -> None:
        """Let simulated time pass; do something as soon as a script has written a file on an instance."""
        path = self.directory(instance) / name
        with ThreadPoolExecutor(1) as pool:
            passing = pool.submit(self.pass_time, **span)
            give_up = time.monotonic() + 60
            while not path.exists():
                assert time.monotonic() < give_up, f"no script wrote {name}"
                assert not passing.done(), f"no script wrote {name}"
                threading.Event().wait(0.05)
            then()
            passing.result()

    def skip_to(self, when: datetime) -> None:
        """Let simulated time pass until `when` without a single tick."""
        before = self.cloud.faults.to_document()
        self.faults({"match": {"event": "Scheduled Event"}, "effect": {"drop": True}})
        self.pass_until(when)
        for fault in before:
            del fault["met"]
        self.faults(*before)

    def run_instance(
        self,
        app: str,
        *,
        volumes: int = 1,
        gib: int = 1,
        wait: bool = True,
        tags: Mapping[str, str] | None = None,
        **more: str,
    ) -> str:
        """Run an instance tagged `app` with data volumes sdf, sdg ... of so many GiB; wait for its agent."""
        named = {"app": app, **(tags or {}), **more}
        devices = [f"/dev/sd{letter}" for letter in "fghijklmnop"[:volumes]]
        ran = self.ec2().run_instances(
            ImageId="ami-12345678",
            InstanceType="t3.micro",
            MinCount=1,
            MaxCount=1,
            BlockDeviceMappings=[{"DeviceName": device, "Ebs": {"VolumeSize": gib}} for device in devices],
            TagSpecifications=[
                {
                    "ResourceType": "instance",
                    "Tags": [{"Key": key, "Value": value} for key, value in named.items()],
                }
            ],
        )
        instance = str(ran["Instances"][0]["InstanceId"])
        if wait:
            self.pass_time(seconds=15)
        return instance

    def terminate(self, instance: str) -> None:
        """Terminate an instance."""
        self.ec2().terminate_instances(InstanceIds=[instance])
        self.pass_time(seconds=15)

    def poke(self, job_id: str) -> None:
        """Have another worker look at a job now."""
        sqs = self.cloud.client("sqs", HOME_REGION)
        (url,) = (url for url in sqs.list_queues()["QueueUrls"] if url.endswith("-jobs"))
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"job": job_id}))

    def purge_jobs_queue(self) -> None:
        """Lose every message that waits on the jobs queue."""
        sqs = self.cloud.client("sqs", HOME_REGION)
        for url in sqs.list_queues()["QueueUrls"]:
            if url.endswith("-jobs"):
                sqs.purge_queue(QueueUrl=url)

    def faults(self, *faults: Document) -> None:
        """Put these faults in force, and no others."""
        self.cloud.faults.replace(list(faults))

    def faults_met(self) -> int:
        """Count the matches of the faults in force."""
        return sum(fault["met"] for fault in self.cloud.faults.to_document())

    def calls(self, service: str, operation: str) -> int:
        """Count the calls of an operation since the deployment."""
        return self.cloud.calls.by_operation().get(service, {}).get(operation, 0)

    # what lies there

    def snapshots(self, vault: str = "primary") -> dict[str, Document]:
        """Fetch the account's snapshots in a vault's region, by id."""
        pages = self.ec2(REGIONS[vault]).get_paginator("describe_snapshots").paginate(OwnerIds=["self"])
        return {each["SnapshotId"]: each for page in pages for each in page["Snapshots"]}

    def restored_volumes(self, vault: str = "primary") -> dict[str, Document]:
        """Fetch the volumes that restores made in a vault's region, by id."""
        filters = [{"Name": "tag-key", "Values": ["farshore:job"]}]
        found = self.ec2(REGIONS[vault]).describe_volumes(Filters=filters)["Volumes"]
        return {each["VolumeId"]: each for each in found}

    def take_no_inventory(self) -> None:
        """Have no daily inventory taken: a story of many days is about something else."""
        dynamodb = self.cloud.client("dynamodb", HOME_REGION)
        (table,) = dynamodb.list_tables()["TableNames"]
        dynamodb.update_item(
            TableName=table,
            Key={"pk": {"S": "inventory"}, "sk": {"S": "daily"}},
            UpdateExpression="SET wake_at = :never",
            ExpressionAttributeValues={":never": {"S": "2199-01-01T00:00:00.000000Z"}},
        )

    def dead_letters(self) -> list[str]:
        """List the bodies of the messages that nothing could be done with."""
        sqs = self.cloud.client("sqs", HOME_REGION)
        found: list[str] = []
        for url in sqs.list_queues().get("QueueUrls", ()):
            if url.endswith("-dead"):
                answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0)
                found += [message["Body"] for message in answer.get("Messages", ())]
        return found

    def unfinished(self) -> list[Document]:
        """List the jobs that are not over."""
        return self.listing("jobs", state="QUEUED") + self.listing("jobs", state="RUNNING")

    def slots_in_use(self, vault: str) -> int:
        """Count the copy slots that are taken in a vault's region."""
        dynamodb = self.cloud.client("dynamodb", HOME_REGION)
        (table,) = dynamodb.list_tables()["TableNames"]
        held = dynamodb.query(
            TableName=table,
            KeyConditionExpression="pk = :pk AND begins_with(sk, :slot)",
            ExpressionAttributeValues={
                ":pk": {"S": f"slots#{REGIONS[vault]}"},
                ":slot": {"S": "slot#"},
            },
            ConsistentRead=True,
        )
        return int(held["Count"])

    def discrepancies(self) -> list[str]:
        """Compare the catalog with what lies in the vaults; say what is there too often or not at all."""
        return discrepancies(self)


def snapshot_rule(name: str = "snap", **rest: Any) -> Document:
    """Write a rule that snapshots data volumes, keeps all and is never due by itself."""
    return {"name": name, "kind": "snapshot", "schedule": NEVER, "lifecycle": {"count": 1000}, **rest}


def newest(number: int) -> Document:
    """Write a lifecycle that keeps the newest so many points, and as many of those asked for by hand."""
    return {"count": number, "manual": {"count": number}}


def service_rule(name: str = "file", **rest: Any) -> Document:
    """Write a rule whose script notes its run in `ran`, and whose restore writes `restored`."""
    return {
        "name": name,
        "kind": "service",
        "schedule": NEVER,
        "script": 'echo "$FARSHORE_JOB" >> ran; echo "data of $FARSHORE_JOB" > "$2"',
        "restore": 'echo "$FARSHORE_JOB" >> restores; cat > restored',
        "verify": "grep -q data restored",
        "timeout": "2m",
        "lifecycle": {"count": 1000},
        **rest,
    }


def parse_time(text: str) -> datetime:
    """Read a time as the API writes it."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def noon(day: datetime) -> datetime:
    """Return a minute past noon on a day: no tick is due within four minutes."""
    return day.astimezone(UTC).replace(hour=12, minute=1, second=0, microsecond=0)
