"""The vaults that the contract is held against: every kind that this machine has."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest
from libcloud.storage.providers import get_driver

from chalicelib.vaults.offsite import open_offsite
from chalicelib.vaults.s3 import S3Vault
from chalicelib.vaults.vault import Vault
from local_cloud.cloud import Cloud
from local_cloud.offsite_servers import StorageServer, azurite, swift

REGION: Final = "eu-central-1"


@dataclass(frozen=True, slots=True)
class VaultGround:
    """An empty vault, one like it whose bucket or container does not exist, a way to lay objects into it."""

    vault: Vault
    missing: Vault
    lay: Callable[[str, bytes], None]


@pytest.fixture(
    params=[
        "s3",
        "local",
        "libcloud's s3",
        pytest.param("azurite", marks=pytest.mark.integration("azurite")),
        pytest.param("swift", marks=pytest.mark.integration("swift")),
    ]
)
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VaultGround]:
    """Give each kind of vault in turn, empty."""
    match request.param:
        case "s3":
            with Cloud(tmp_path) as cloud:
                yield _s3_ground(cloud)
        case "local":
            yield _local_ground(tmp_path)
        case "libcloud's s3":
            with Cloud(tmp_path) as cloud:
                lay = S3Ground(cloud).vault("kept").put
                yield replace(_server_ground(_s3_as_any_provider(cloud), "kept"), lay=lay)
        case server:
            offsite: StorageServer = request.getfixturevalue(f"{server}_server")
            container = f"kept-{uuid.uuid4()}"
            get_driver(offsite.provider)(**offsite.options, **offsite.credentials).create_container(container)
            yield _server_ground(offsite, container)


@pytest.fixture(scope="session")
def azurite_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageServer]:
    """Run Azurite as long as the session."""
    with azurite(tmp_path_factory.mktemp("azurite")) as server:
        yield server


@pytest.fixture(scope="session")
def swift_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageServer]:
    """Run Swift as long as the session."""
    with swift(tmp_path_factory.mktemp("swift")) as server:
        yield server


@pytest.fixture
def vault(ground: VaultGround) -> Vault:
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


def _s3_ground(cloud: Cloud) -> VaultGround:
    s3 = S3Ground(cloud)
    vault = s3.vault("kept")
    return VaultGround(vault, s3.vault("not-there", exists=False), vault.put)


def _local_ground(folder: Path) -> VaultGround:
    container = folder / "kept"
    container.mkdir()

    def open_local(name: str) -> Vault:
        return open_offsite(
            f"the-{name}", provider="local", container=name, options={"key": str(folder)}, credentials={}
        )

    return VaultGround(
        open_local("kept"), open_local("not-there"), lambda key, data: _lay(container / key, data)
    )


def _s3_as_any_provider(cloud: Cloud) -> StorageServer:
    address = urlsplit(cloud.aws.url)
    return StorageServer(
        "s3",
        {"host": address.hostname, "port": address.port, "secure": False, "region": REGION},
        {"key": "test", "secret": "test"},
    )


def _server_ground(server: StorageServer, container: str) -> VaultGround:
    def open_at_server(name: str, container: str) -> Vault:
        return open_offsite(
            name,
            provider=server.provider,
            container=container,
            options=server.options,
            credentials=server.credentials,
        )

    vault = open_at_server("the-kept", container)
    return VaultGround(vault, open_at_server("the-not-there", "not-there"), vault.put)


def _lay(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
