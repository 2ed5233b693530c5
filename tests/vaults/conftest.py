"""The vaults that the contract is held against: every kind that this machine has."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from chalicelib.vaults.offsite import open_offsite
from chalicelib.vaults.s3 import S3Vault
from chalicelib.vaults.vault import Vault
from local.cloud import Cloud

REGION: Final = "eu-central-1"


@dataclass(frozen=True, slots=True)
class Ground:
    """An empty vault, one like it whose bucket or container does not exist, a way to spoil an object."""

    vault: Vault
    missing: Vault
    spoil: Callable[[str, bytes], None]


@pytest.fixture(params=["s3", "local"])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    """Give each kind of vault in turn, empty."""
    if request.param == "s3":
        with Cloud(tmp_path) as cloud:
            yield _s3_ground(cloud)
    else:
        yield _local_ground(tmp_path)


@pytest.fixture
def vault(ground: Ground) -> Vault:
    """Give the vault alone."""
    return ground.vault


@dataclass(frozen=True, slots=True)
class S3Ground:
    """S3 of the local cloud, which is as strict as the real one where a vault meets it."""

    cloud: Cloud

    def vault(self, bucket: str, *, exists: bool = True) -> S3Vault:
        """Make a vault named after its bucket."""
        client = self.cloud.client("s3", REGION)
        if exists:
            client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        return S3Vault(f"the-{bucket}", client, bucket, REGION)


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3Ground]:
    """Give an empty S3."""
    with Cloud(tmp_path) as cloud:
        yield S3Ground(cloud)


def _s3_ground(cloud: Cloud) -> Ground:
    s3 = S3Ground(cloud)
    vault = s3.vault("kept")
    return Ground(vault, s3.vault("not-there", exists=False), vault.put)


def _local_ground(folder: Path) -> Ground:
    container = folder / "kept"
    container.mkdir()

    def open_local(name: str) -> Vault:
        return open_offsite(
            f"the-{name}", provider="local", container=name, options={"key": str(folder)}, credentials={}
        )

    return Ground(
        open_local("kept"), open_local("not-there"), lambda key, data: _write(container / key, data)
    )


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
