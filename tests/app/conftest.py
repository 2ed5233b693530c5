"""One local cloud for each test process, and on it, afresh for each test, the packaged app."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from chalicelib.wiring import farshore
from local_cloud.call import Quotas
from local_cloud.cloud import Cloud
from stage import Stage, open_stage
from tests.support.deployment import Deployment, noon

Deploy = Callable[[datetime], Deployment]
Ground = tuple[Cloud, Stage]


@contextmanager
def ground_below(root: Path, quotas: Quotas, *, ticking: bool = False) -> Iterator[Ground]:
    """Keep one cloud up: its servers and the functions' clients are made once."""
    farshore.cache_clear()  # what another cloud of this process had built
    with (
        open_stage(root) as stage,
        Cloud(
            root, start_at=datetime(2026, 1, 1, tzinfo=UTC), quotas=quotas, ticking=ticking, signed=True
        ) as cloud,
    ):
        yield cloud, stage
    farshore.cache_clear()


@pytest.fixture(scope="package")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Give the cloud that this process's tests share; a module may have one of its own."""
    with ground_below(tmp_path_factory.mktemp("cloud"), Quotas()) as ground:
        yield ground


@pytest.fixture
def deploy(ground: Ground) -> Iterator[Deploy]:
    """Give what deploys the app on an empty cloud at a time of the test's choice, later than now."""
    cloud, stage = ground

    def deployed(at: datetime) -> Deployment:
        cloud.reset()
        cloud.clock.advance_to(at)
        stage.deploy(cloud)
        deployment = Deployment(cloud, stage)
        for path in sorted(deployment.offsite.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        return deployment

    yield deployed
    cloud.reset()


@pytest.fixture
def app(ground: Ground, deploy: Deploy) -> Deployment:
    """The app, just deployed, on the day after the last test's, a minute past noon UTC."""
    cloud, _ = ground
    return deploy(noon(cloud.clock.now() + timedelta(days=1)))
