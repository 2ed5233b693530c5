"""The vaults that the contract is held against: every kind that this machine has."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import boto3
import pytest
from botocore.config import Config
from moto import mock_aws

from chalicelib.vaults.offsite import open_offsite
from chalicelib.vaults.s3 import S3Vault
from chalicelib.vaults.vault import Vault

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
        with mock_aws():
            yield _s3_ground()
    else:
        yield _local_ground(tmp_path)


@pytest.fixture
def vault(ground: Ground) -> Vault:
    """Give the vault alone."""
    return ground.vault


@pytest.fixture
def s3_vaults() -> Iterator[Callable[[str], S3Vault]]:
    """Give a way to make S3 vaults, each with a bucket of its own name."""
    with mock_aws():
        yield make_s3_vault


def make_s3_vault(bucket: str, *, exists: bool = True) -> S3Vault:
    client = boto3.client(
        "s3",
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        aws_session_token="a/token+with=signs",
        config=Config(signature_version="s3v4", s3={"addressing_style": "virtual"}),
    )
    if exists:
        client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    return S3Vault(f"the-{bucket}", client, bucket, REGION)


def _s3_ground() -> Ground:
    vault = make_s3_vault("kept")
    return Ground(vault, make_s3_vault("not-there", exists=False), vault.put)


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
