"""Farshore deployed on a local cloud, used as its users use it: HTTP to the API, AWS calls, the clock."""

import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from chalicelib.wiring import farshore
from local_cloud.cloud import Cloud
from local_cloud.signing import signed
from stage import DR_BUCKET, DR_REGION, HOME_BUCKET, HOME_REGION, Stage, open_stage

BEGIN = datetime(2026, 11, 1, 11, 58, tzinfo=UTC)
BUCKETS = {"primary": (HOME_BUCKET, HOME_REGION), "dr": (DR_BUCKET, DR_REGION)}
FINAL = ("COMPLETED", "FAILED", "CANCELLED")
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
Document = dict[str, Any]
NEVER = "cron(0 0 1 1 ? 2199)"
"""The schedule of a rule that runs only when it is asked to."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API answered."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def document(self) -> Any:
        """The JSON of the body."""
        return json.loads(self.text)

    def problem(self, status: int) -> Document:
        """Return the problem document, having seen that it is a whole one (RFC 9457) of this status."""
        assert self.status == status, self.text
        assert self.headers["Content-Type"] == "application/problem+json", self.text
        problem: Document = self.document
        assert problem["status"] == status
        assert problem["type"] == "about:blank"
        assert problem["title"]
        assert problem["detail"]
        return problem

    def fault(self, status: int = 400) -> tuple[str, Any, str]:
        """Return the one fault of an input: pointer, value and what would be right."""
        [error] = self.problem(status)["errors"]
        return error["pointer"], error["value"], error["expected"]

    def faults(self, status: int = 400) -> dict[str, str]:
        """Return what would be right, by pointer."""
        return {error["pointer"]: error["expected"] for error in self.problem(status)["errors"]}


class Farshore:
    """One fresh stage; nothing is in it but what a test brings."""

    def __init__(self, cloud: Cloud, stage: Stage) -> None:
        self.cloud = cloud
        self.offsite = Path(stage.offsite.where)

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, object] | None = None,
        content_type: str = "application/json",
        key: str | None = None,
    ) -> Answer:
        """Send a signed request; a body that is bytes is sent as it is, anything else as JSON."""
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {"Content-Type": content_type} if content is not None else {}
        if key is not None:
            headers["Idempotency-Key"] = key
        asked = f"?{urlencode(query, safe='', quote_via=quote)}" if query else ""
        url = self.cloud.api.url + path + asked
        headers = signed(method, url, headers, content, region=HOME_REGION)
        request = urllib.request.Request(url, content, headers, method=method)  # noqa: S310 (our own address)
        try:
            with DIRECT.open(request) as answer:
                return Answer(answer.status, dict(answer.headers), answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, dict(error.headers), error.read().decode())

    def get(self, path: str, **query: object) -> Any:
        """Ask for what must be there."""
        answer = self.ask("GET", path, query=query)
        assert answer.status == 200, answer.text
        return answer.document

    def everything(self, path: str, **query: object) -> list[Document]:
        """List all there is, page by page."""
        return [item for page in self.pages(path, **query) for item in page]

    def pages(self, path: str, **query: object) -> Iterator[list[Document]]:
        """Follow the cursors of a list."""
        cursor: Document = {}
        while True:
            page = self.get(path, **query, **cursor)
            yield page["items"]
            if page["cursor"] is None:
                return
            cursor = {"cursor": page["cursor"]}

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

    def directory(self, instance: str) -> Path:
        """Return where an instance's files lie."""
        return self.cloud.ec2.directory(instance)

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

    def job(self, job: str) -> Document:
        """Return a job."""
        found: Document = self.get(f"/jobs/{job}")
        return found

    def point(self, point: str) -> Document:
        """Return a recovery point."""
        found: Document = self.get(f"/recovery-points/{point}")
        return found

    def finish(self, within: timedelta = timedelta(hours=3)) -> None:
        """Let time pass until every job is over."""
        end, step = self.cloud.clock.now() + within, timedelta(seconds=10)
        while unfinished := [job for job in self.everything("/jobs") if job["state"] not in FINAL]:
            assert self.cloud.clock.now() < end, unfinished
            self.cloud.advance(step)
            step = min(2 * step, timedelta(minutes=5))

    def ec2(self, region: str = HOME_REGION) -> Any:
        """Answer EC2 of a region."""
        return self.cloud.client("ec2", region)

    def keys_in(self, vault: str) -> set[str]:
        """List the objects in a vault."""
        if vault == "offsite":
            return {str(file.relative_to(self.offsite)) for file in self.offsite.rglob("*") if file.is_file()}
        bucket, region = BUCKETS[vault]
        listed = self.cloud.client("s3", region).list_objects_v2(Bucket=bucket)
        return {entry["Key"] for entry in listed.get("Contents", ())}

    def read(self, vault: str, key: str) -> bytes:
        """Read an object of a vault."""
        if vault == "offsite":
            return (self.offsite / key).read_bytes()
        bucket, region = BUCKETS[vault]
        content: bytes = self.cloud.client("s3", region).get_object(Bucket=bucket, Key=key)["Body"].read()
        return content

    def spoil(self, vault: str, key: str, content: bytes | None) -> None:
        """Put other bytes in an object's place, or with None remove it."""
        if vault == "offsite":
            file = self.offsite / key
            file.unlink() if content is None else file.write_bytes(content)
            return
        bucket, region = BUCKETS[vault]
        s3 = self.cloud.client("s3", region)
        if content is None:
            s3.delete_object(Bucket=bucket, Key=key)
        else:
            s3.put_object(Bucket=bucket, Key=key, Body=content)

    def uploads(self) -> list[str]:
        """List the multipart uploads that were begun and not ended, in every bucket."""
        return [
            f"{bucket}:{upload['Key']}"
            for bucket, region in BUCKETS.values()
            for upload in self.cloud.client("s3", region)
            .list_multipart_uploads(Bucket=bucket)
            .get("Uploads", ())
        ]

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
