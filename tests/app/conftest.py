"""One local cloud for each test process, and on it, afresh for each test, the packaged app."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from chalicelib.wiring import farshore
from local.cloud import Cloud
from local.stage import Stage, open_stage
from tests.app.deployment import BUCKETS, REGIONS, Deployment, noon

Deploy = Callable[[datetime], Deployment]


@pytest.fixture(scope="package")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cloud, Stage]]:
    """Keep one cloud up: its servers and the functions' clients are made once."""
    root = tmp_path_factory.mktemp("cloud")
    farshore.cache_clear()  # what another cloud of this process had built
    with open_stage(root) as stage, Cloud(root, start_at=datetime(2026, 1, 1, tzinfo=UTC)) as cloud:
        yield cloud, stage
    farshore.cache_clear()


@pytest.fixture
def deploy(ground: tuple[Cloud, Stage]) -> Iterator[Deploy]:
    """Give what deploys the app on an empty cloud at a time of the test's choice, later than now."""
    cloud, stage = ground

    def deployed(at: datetime) -> Deployment:
        cloud.reset()
        cloud.clock.advance_to(at)
        stage.deploy(cloud)
        deployment = Deployment(cloud, stage)
        for vault, bucket in BUCKETS.items():  # it lets nobody in without TLS, which the local cloud has not
            cloud.client("s3", REGIONS[vault]).delete_bucket_policy(Bucket=bucket)
        for path in sorted(deployment.offsite.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        return deployment

    yield deployed
    cloud.reset()


@pytest.fixture
def app(ground: tuple[Cloud, Stage], deploy: Deploy) -> Deployment:
    """The app, just deployed, on the day after the last test's, a minute past noon UTC."""
    cloud, _ = ground
    return deploy(noon(cloud.clock.now() + timedelta(days=1)))
