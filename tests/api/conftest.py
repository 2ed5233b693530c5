"""One local cloud for these tests; on it a fresh stage for each test, or each module that only looks."""

from collections.abc import Iterator

import pytest

from local_cloud.cloud import Cloud
from tests.support.deployment import Deployment
from tests.support.farshore import BEGIN, cold_functions, fresh_stage


@pytest.fixture(scope="package")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with cold_functions(), Cloud(tmp_path_factory.mktemp("cloud"), start_at=BEGIN, signed=True) as cloud:
        yield cloud


@pytest.fixture
def app(cloud: Cloud) -> Iterator[Deployment]:
    with fresh_stage(cloud) as app:
        yield app
