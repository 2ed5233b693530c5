"""EC2's request buckets: kept full, not overrun, and one throttle slows all."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from local_cloud.call import Quotas
from tests.app.conftest import Ground, ground_below
from tests.support.deployment import Deployment, Document, snapshot_rule
from tests.support.thoroughness import amount

INSTANCES = amount(220, 140)
BUCKET, PER_SECOND = 100, 5
TO_MAKE_A_CALL = timedelta(seconds=15)
"""From a job's turn to its call: the message, the function, a loaded machine."""


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Keep a cloud up whose account may have as many pending snapshots as its bucket lets begin."""
    quotas = Quotas(pending_snapshots=10_000, snapshot_pending=timedelta(minutes=2))
    with ground_below(tmp_path_factory.mktemp("paced"), quotas) as ground:
        yield ground


def _fleet(app: Deployment) -> None:
    app.ec2().run_instances(
        ImageId="ami-12345678",
        InstanceType="t3.micro",
        MinCount=INSTANCES,
        MaxCount=INSTANCES,
        BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1}}],
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "app", "Value": "fleet"}]}],
    )
    app.pass_time(minutes=1)
    app.put_plan("fleet", snapshot_rule(volumes={"boot": False}))


def _finish(app: Deployment) -> None:
    end = app.now + timedelta(hours=2)
    while app.unfinished():
        assert app.now < end, app.unfinished()
        app.pass_time(minutes=1)


def _starts(app: Deployment) -> list[datetime]:
    return sorted(snapshot["StartTime"] for snapshot in app.snapshots().values())


def test_a_fleet_begins_as_fast_as_its_bucket_allows_and_is_never_refused(app: Deployment) -> None:
    _fleet(app)
    begin = app.now
    app.back_up("fleet")
    _finish(app)
    starts = _starts(app)
    assert len(starts) == INSTANCES
    assert app.calls("ec2", "CreateSnapshots") == INSTANCES, "a call was refused and made again"
    bound = timedelta(seconds=(INSTANCES - BUCKET) / PER_SECOND)
    assert starts[-1] - begin <= bound * 1.2 + TO_MAKE_A_CALL


@pytest.mark.long
def test_after_a_throttle_all_wait_and_all_begin_in_the_end(app: Deployment) -> None:
    _fleet(app)
    throttle: Document = {"code": "RequestLimitExceeded", "status": 503}
    match = {"service": "ec2", "operation": "CreateSnapshots"}
    app.faults({"match": match, "effect": {"error": throttle}, "skip": 20, "count": 3})
    app.back_up("fleet")
    _finish(app)
    assert len(_starts(app)) == INSTANCES
    assert app.calls("ec2", "CreateSnapshots") <= INSTANCES + 10
    assert {job["state"] for job in app.jobs(kind="backup")} == {"COMPLETED"}
