"""A fresh stage of Farshore on a local cloud."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from chalicelib.wiring import farshore
from local_cloud.cloud import Cloud
from stage import open_stage
from tests.support.deployment import Deployment

BEGIN = datetime(2026, 11, 1, 11, 58, tzinfo=UTC)


@contextmanager
def fresh_stage(cloud: Cloud) -> Iterator[Deployment]:
    """Deploy Farshore on an emptied cloud; its functions keep their clients."""
    cloud.reset()
    shutil.rmtree(cloud.root / "offsite", ignore_errors=True)
    with open_stage(cloud.root) as stage:
        stage.deploy(cloud)
        yield Deployment(cloud, stage)


@contextmanager
def cold_functions() -> Iterator[None]:
    """Have functions start cold, and leave nothing of this cloud to the functions of the next."""
    farshore.cache_clear()
    yield
    farshore.cache_clear()
