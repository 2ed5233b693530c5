"""Farshore, deployed on the local cloud: what a test asks of it, does to its world, and finds in the end.

Everything is asked of the API or read from EC2, S3, SSM and the off-site folder; nothing of the app's own is
called or replaced.
"""

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from local_cloud.cloud import Cloud
from local_cloud.signing import signed
from stage import DR_BUCKET, DR_REGION, HOME_BUCKET, HOME_REGION, Stage

Document = dict[str, Any]
NEVER = "cron(0 0 1 1 ? 2199)"
"""A schedule that no test reaches: what is backed up is asked for."""
REGIONS = {"primary": HOME_REGION, "dr": DR_REGION}
BUCKETS = {"primary": HOME_BUCKET, "dr": DR_BUCKET}
KEPT = ("AVAILABLE", "EXPIRED")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API answered."""

    status: int
    document: Any


class Deployment:
    """One stage on one cloud."""

    def __init__(self, cloud: Cloud, stage: Stage) -> None:
        self.cloud = cloud
        self.offsite = Path(stage.where["offsite"])

    # the API

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        key: str | None = None,
        status: int | None = None,
    ) -> Answer:
        """Send a signed request to the API; with `status` any other answer fails the test."""
        headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
        content = json.dumps(body).encode() if body is not None else None
        headers = signed(method, self.cloud.api.url + path, headers, content, region=HOME_REGION)
        connection = http.client.HTTPConnection(urlsplit(self.cloud.api.url).netloc, timeout=60)
        try:
            connection.request(method, path, content, headers)
            response = connection.getresponse()
            answer = Answer(response.status, json.loads(response.read() or b"null"))
        finally:
            connection.close()
        if status is not None:
            assert answer.status == status, f"{method} {path}: {answer}"
        return answer

    def listing(self, what: str, **query: str) -> list[Document]:
        """Fetch all items of a list, however many pages it has."""
        asked = "".join(f"&{name}={quote(value, safe='')}" for name, value in query.items())
        items: list[Document] = []
        cursor = ""
        while True:
            page = self.ask("GET", f"/{what}?limit=100{asked}{cursor}", status=200).document
            items += page["items"]
            if page["cursor"] is None:
                return items
            cursor = f"&cursor={quote(page['cursor'], safe='')}"

    def jobs(self, **query: str) -> list[Document]:
        """List jobs, oldest first."""
        return self.listing("jobs", **query)[::-1]

    def points(self, **query: str) -> list[Document]:
        """List recovery points, oldest first."""
        return self.listing("recovery-points", **query)[::-1]

    def job(self, job_id: str) -> Document:
        """Fetch one job."""
        document: Document = self.ask("GET", f"/jobs/{job_id}", status=200).document
        return document

    def point(self, point_id: str) -> Document:
        """Fetch one recovery point."""
        document: Document = self.ask("GET", f"/recovery-points/{point_id}", status=200).document
        return document

    def put_plan(self, name: str, *rules: Mapping[str, Any], **rest: Any) -> None:
        """Store a plan; it selects the instances tagged `app: NAME` and calls the service NAME."""
        plan = {"service": name, "selection": {"tags": {"app": name}}, **rest, "rules": list(rules)}
        self.ask("PUT", f"/plans/{name}", plan, status=200)

    def back_up(self, plan: str, **which: Any) -> str:
        """Ask for a backup of a plan of one service and one rule; name its job."""
        return self._only_job(self.ask("POST", "/backups", {"plan": plan, **which}, status=202))

    def restore(self, point: Document, vault: str, **target: Any) -> str:
        """Ask for a restore; name its job."""
        body = {"recovery_point": point["id"], "vault": vault, "target": target}
        return self._only_job(self.ask("POST", "/restores", body, status=202))

    def copy(self, point: Document, vault: str) -> str:
        """Ask for a copy; name its job."""
        answer = self.ask("POST", f"/recovery-points/{point['id']}/copies", {"vault": vault}, status=202)
        return self._only_job(answer)

    @staticmethod
    def _only_job(answer: Answer) -> str:
        (job_id,) = answer.document["jobs"]
        return str(job_id)

    # the world

    @property
    def now(self) -> datetime:
        """Return the simulated time."""
        return self.cloud.clock.now()

    def pass_time(self, **span: float) -> datetime:
        """Let simulated time pass."""
        return self.cloud.advance(timedelta(**span))

    def pass_until(self, when: datetime) -> None:
        """Let simulated time pass until `when`."""
        self.cloud.advance(when - self.now)

    def once_written(self, instance: str, name: str, then: Callable[[], object], **span: float) -> None:
        """Let simulated time pass; do something as soon as a script has written a file on an instance."""
        path = self.folder(instance) / name
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

    def ec2(self, region: str = HOME_REGION) -> Any:
        """Give the operator's EC2 client."""
        return self.cloud.client("ec2", region)

    def run_instance(self, app: str, *, volumes: int = 1, wait: bool = True, **tags: str) -> str:
        """Run an instance tagged `app` with data volumes sdf, sdg ...; wait for its agent."""
        devices = [f"/dev/sd{letter}" for letter in "fghijklmnop"[:volumes]]
        ran = self.ec2().run_instances(
            ImageId="ami-12345678",
            InstanceType="t3.micro",
            MinCount=1,
            MaxCount=1,
            BlockDeviceMappings=[{"DeviceName": device, "Ebs": {"VolumeSize": 1}} for device in devices],
            TagSpecifications=[
                {
                    "ResourceType": "instance",
                    "Tags": [{"Key": key, "Value": value} for key, value in {"app": app, **tags}.items()],
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

    def folder(self, instance: str) -> Path:
        """Return the directory that is an instance's disk."""
        return self.cloud.ec2.directory(instance)

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

    def keys(self, vault: str) -> set[str]:
        """List the keys of the objects in a vault."""
        if vault == "offsite":
            files = (path for path in self.offsite.rglob("*") if path.is_file())
            return {str(path.relative_to(self.offsite)) for path in files}
        pages = self.s3(vault).get_paginator("list_objects_v2").paginate(Bucket=BUCKETS[vault])
        return {each["Key"] for page in pages for each in page.get("Contents", ())}

    def read(self, vault: str, key: str) -> bytes:
        """Fetch an object."""
        if vault == "offsite":
            return (self.offsite / key).read_bytes()
        data: bytes = self.s3(vault).get_object(Bucket=BUCKETS[vault], Key=key)["Body"].read()
        return data

    def uploads(self, vault: str) -> list[str]:
        """List the keys of the uploads that are not finished."""
        found = self.s3(vault).list_multipart_uploads(Bucket=BUCKETS[vault])
        return [each["Key"] for each in found.get("Uploads", ())]

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

    def s3(self, vault: str) -> Any:
        return self.cloud.client("s3", REGIONS[vault])

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
        points = self.points()
        return [
            *(f"{job['id']} is {job['state']}: {job['reason']}" for job in self.unfinished()),
            *(finding for vault in REGIONS for finding in self._snapshot_discrepancies(vault, points)),
            *(
                finding
                for vault in (*REGIONS, "offsite")
                for finding in self._file_discrepancies(vault, points)
            ),
            *(f"an upload of {key} is open in {vault}" for vault in REGIONS for key in self.uploads(vault)),
            *(f"{n} copy slots are taken in {vault}" for vault in REGIONS if (n := self.slots_in_use(vault))),
            *(f"a dead letter: {body}" for body in self.dead_letters()),
        ]

    def _snapshot_discrepancies(self, vault: str, points: Iterable[Document]) -> list[str]:
        listed = [
            snapshot
            for point in points
            for artefact in point["artefacts"]
            if artefact["vault"] == vault and artefact["state"] in KEPT
            for snapshot in artefact.get("snapshot_ids", ())
        ]
        rest = {
            snapshot
            for point in points
            for artefact in point["artefacts"]
            if artefact["vault"] == vault and artefact["state"] == "MISSING"
            for snapshot in artefact.get("snapshot_ids", ())
        }
        there = {id: snapshot for id, snapshot in self.snapshots(vault).items() if id not in rest}
        made = {volume for job in self.jobs(kind="restore") for volume in job.get("made", {}).values()}
        return [
            *(f"{each} in {vault} is of no point" for each in there.keys() - set(listed)),
            *(f"{each} is not in {vault}" for each in set(listed) - there.keys()),
            *(f"{each} is listed twice" for each in set(listed) if listed.count(each) > 1),
            *(f"{each} is of no restore" for each in self.restored_volumes(vault).keys() - made),
        ]

    def _file_discrepancies(self, vault: str, points: Iterable[Document]) -> list[str]:
        there = self.keys(vault) - {"restore.sh"}
        listed: set[str] = set()
        for point in points:
            for artefact in point["artefacts"]:
                if artefact["vault"] != vault:
                    continue
                if artefact["state"] in KEPT:
                    listed |= _files_of(point, artefact, there)
                elif artefact["state"] == "MISSING":  # what is still there of it stays
                    there -= _files_of(point, artefact, there)
        return [
            *(f"{key} in {vault} is of no point" for key in there - listed),
            *(f"{key} is not in {vault}" for key in listed - there),
        ]


def _files_of(point: Document, artefact: Document, there: Iterable[str]) -> set[str]:
    """Return the files that an artefact consists of."""
    if "snapshot_ids" in artefact:  # the API shows no folder; its name ends in the point's id
        manifests = {key for key in there if key.endswith(f"-{point['id']}/manifest.json")}
        return manifests or {f"the manifest of {point['id']}"}
    folder = artefact["folder"]
    segments = {f"{folder}segments/{n:06d}" for n in range(1, artefact.get("segments", 0) + 1)}
    return {f"{folder}manifest.json"} | (segments or {artefact["key"]})


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
