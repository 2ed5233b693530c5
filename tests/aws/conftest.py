"""A local cloud without Farshore on it, and the adapters' clients pointed at it as a function's would be."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chalicelib.aws.clients import Clients
from local_cloud.cloud import Cloud

HOME, AWAY = "eu-central-1", "eu-west-1"


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with Cloud(tmp_path, start_at=datetime(2026, 3, 1, 12, tzinfo=UTC)) as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL", made.aws.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        yield made


@pytest.fixture
def clients(cloud: Cloud) -> Clients:
    return Clients(HOME)
