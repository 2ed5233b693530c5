"""One local cloud per test process, and on it, afresh for each test, the tests' own little stack."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from moto.core.base_backend import BackendDict

from ec2_bench import Bench
from little_stack import PLANS, LittleStack
from local_cloud import http_pace
from local_cloud.cloud import Cloud
from local_cloud.control.clock import Clock


def pytest_configure() -> None:
    http_pace.quicken()


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with Cloud(tmp_path, start_at=datetime(2030, 1, 1, 12, 0, 30, tzinfo=UTC), signed=True) as cloud:
        yield cloud


@pytest.fixture
def little(cloud: Cloud) -> LittleStack:
    stack, _ = cloud.deploy(PLANS)
    return LittleStack(cloud, stack)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Return a fresh EC2."""
    monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
    BackendDict.reset()
    with Clock(datetime(2026, 3, 1, 12, tzinfo=UTC)) as clock:
        made = Bench(tmp_path, clock)
        yield made
        made.server.close()
