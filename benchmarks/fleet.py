"""A fleet on a local cloud, used as an operator would: instances, tags, a plan, the clock.

The cloud keeps EC2's request token buckets, for the operator as well: so simulated time passes between the
calls that set up the fleet. Its quota of pending snapshots (100 by default, raised on request) is out of the
way: snapshots are pending for 5 s here and for minutes on AWS, and what is measured is the bucket.
"""

import json
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from local_cloud.call import Quotas
from local_cloud.cloud import Cloud
from stage import HOME_REGION

BEGIN = datetime(2026, 11, 1, 20, 0, tzinfo=UTC)
APP_TAG, APP = "app", "bench"
VOLUMES = ("/dev/sdf", "/dev/sdg")
BATCH = 500
TAGS_AT_ONCE = 100
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
Document = dict[str, Any]


@contextmanager
def open_cloud(*, ticking: bool) -> Iterator[Cloud]:
    """Open a cloud in a folder that goes with it."""
    quotas = Quotas(throttled=True, pending_snapshots=1_000_000)
    with tempfile.TemporaryDirectory(prefix="farshore-bench-", ignore_cleanup_errors=True) as folder:
        root = Path(folder)
        with Cloud(root, start_at=BEGIN, quotas=quotas, ticking=ticking) as cloud:
            yield cloud


def launch(cloud: Cloud, count: int) -> list[str]:
    """Start instances with two data volumes each, wait until they run, and answer their ids."""
    ec2 = cloud.client("ec2", HOME_REGION)
    ids: list[str] = []
    while len(ids) < count:
        size = min(BATCH, count - len(ids))
        started = ec2.run_instances(
            ImageId="ami-12345678",
            InstanceType="t3.micro",
            MinCount=size,
            MaxCount=size,
            BlockDeviceMappings=[{"DeviceName": device, "Ebs": {"VolumeSize": 2}} for device in VOLUMES],
            TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": APP_TAG, "Value": APP}]}],
        )
        ids += [instance["InstanceId"] for instance in started["Instances"]]
        cloud.advance(timedelta(seconds=size / 2))  # RunInstances gets two more a second
    cloud.advance(timedelta(minutes=1))
    return ids


def name(cloud: Cloud, ids: list[str]) -> None:
    """Give every instance a name of its own."""
    ec2 = cloud.client("ec2", HOME_REGION)
    for number, instance in enumerate(ids):
        if number % TAGS_AT_ONCE == 0:
            cloud.advance(timedelta(seconds=TAGS_AT_ONCE / 10))  # CreateTags gets ten more a second
        ec2.create_tags(Resources=[instance], Tags=[{"Key": "Name", "Value": f"{APP}-{number:05}"}])


def count_snapshots(cloud: Cloud) -> dict[str, int]:
    """Count the account's snapshots in the home region by state, once there are tokens to read with."""
    cloud.advance(timedelta(minutes=1))
    pages = cloud.client("ec2", HOME_REGION).get_paginator("describe_snapshots")
    states: dict[str, int] = {}
    for page in pages.paginate(OwnerIds=["self"], PaginationConfig={"PageSize": 1000}):
        for snapshot in page["Snapshots"]:
            states[snapshot["State"]] = states.get(snapshot["State"], 0) + 1
    return states


@dataclass(frozen=True, slots=True)
class Api:
    """The app's API."""

    url: str

    def ask(self, method: str, path: str, body: Document | None = None, **query: str) -> Document:
        """Send a request that must be answered well.

        Raises:
            RuntimeError: it was not; the text is the answer's.
        """
        url = self.url + path + (f"?{urlencode(query)}" if query else "")
        content = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if content is not None else {}
        request = urllib.request.Request(url, content, headers, method=method)  # noqa: S310 (on loopback)
        try:
            with DIRECT.open(request) as answer:
                document: Document = json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                text = error.read().decode()
            raise RuntimeError(f"{method} {path} answered {error.code}: {text}") from error
        return document

    def everything(self, path: str, **query: str) -> Iterator[Document]:
        """Yield all items of a list, page by page."""
        cursor: dict[str, str] = {}
        while True:
            page = self.ask("GET", path, None, **query, **cursor)
            yield from page["items"]
            if page["cursor"] is None:
                return
            cursor = {"cursor": page["cursor"]}

    def has(self, path: str, **query: str) -> bool:
        """Return whether a list has an item."""
        return next(self.everything(path, **query), None) is not None
