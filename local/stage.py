"""The operator's part: the stacks of this machine's stage, their parameters, the vaults, the secrets.

This is the only place that knows what the packaged templates ask of their operator. Off-site, a vault is a
folder (libcloud's LOCAL provider); a real server is one more entry in `OFFSITES`.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from libcloud.storage.providers import get_driver

from local.cloud import Cloud
from local.offsite_servers import StorageServer, azurite, swift
from local.template import Stack, StackPlan

CHECKOUT = Path(__file__).parent.parent
HOME_TEMPLATE = CHECKOUT / "build" / "package" / "sam.json"
DR_TEMPLATE = CHECKOUT / ".chalice" / "dr-region.yaml"
HOME_REGION, DR_REGION = "eu-central-1", "eu-west-1"
HOME_BUCKET, DR_BUCKET = "farshore-vault-home", "farshore-vault-dr"
SECRET = "farshore/offsite"
CONTAINER = "farshore"


@dataclass(frozen=True, slots=True)
class Offsite:
    """A vault in another cloud: its entry in the vaults document, its credentials, where to look at it."""

    document: Mapping[str, Any]
    credentials: Mapping[str, Any]
    where: str


@contextmanager
def local_folder(root: Path) -> Iterator[Offsite]:
    """Keep the off-site vault in a folder below `root`."""
    folder = root / "offsite" / CONTAINER
    folder.mkdir(parents=True, exist_ok=True)
    document = {"kind": "libcloud", "provider": "local", "container": CONTAINER, "credentials": SECRET}
    yield Offsite(document, {"key": str(folder.parent)}, str(folder))


def served(
    start: Callable[[Path], AbstractContextManager[StorageServer]], *commands: str
) -> Callable[[Path], AbstractContextManager[Offsite]]:
    """Keep the off-site vault in a container of a real server, which `commands` make up."""

    @contextmanager
    def serve(root: Path) -> Iterator[Offsite]:
        lacking = [command for command in commands if shutil.which(command) is None]
        if lacking:
            raise ValueError(f"this off-site cloud needs {', '.join(lacking)}, not installed on this machine")
        folder = root / "offsite"
        folder.mkdir(parents=True, exist_ok=True)
        with start(folder) as server:
            get_driver(server.provider)(**server.options, **server.credentials).create_container(CONTAINER)
            document = {
                "kind": "libcloud",
                "provider": server.provider,
                "container": CONTAINER,
                "credentials": SECRET,
                "options": dict(server.options),
            }
            yield Offsite(document, server.credentials, f"{server.provider}://{CONTAINER}")

    return serve


OFFSITES: Mapping[str, Callable[[Path], AbstractContextManager[Offsite]]] = {
    "local": local_folder,
    "azurite": served(azurite, "azurite-blob"),
    "swift": served(swift, "swift-proxy-server", "swift-ring-builder", "memcached"),
}
"""What a cloud off-site can be, by name; each is kept up for as long as its context lasts."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything a cloud needs to become this stage; `grace` is how long what is let go can be taken back."""

    offsite: Offsite
    grace: str = "0"

    @property
    def vaults_document(self) -> dict[str, Any]:
        """Return the vaults document."""
        return {
            "primary": {"kind": "s3", "region": HOME_REGION, "bucket": HOME_BUCKET},
            "dr": {"kind": "s3", "region": DR_REGION, "bucket": DR_BUCKET},
            "offsite": dict(self.offsite.document),
        }

    @property
    def where(self) -> dict[str, str]:
        """Return where each vault can be looked at."""
        return {"primary": f"s3://{HOME_BUCKET}", "dr": f"s3://{DR_BUCKET}", "offsite": self.offsite.where}

    def plans(self) -> tuple[StackPlan, StackPlan]:
        """Return the stacks: the DR region's first, since events and copies go there from home."""
        home = {
            "Stage": "local",
            "Vaults": json.dumps(self.vaults_document),
            "VaultBucketName": HOME_BUCKET,
            "OtherVaultBucketArns": f"arn:aws:s3:::{DR_BUCKET}",
            "Grace": self.grace,
            "LogLevel": "WARNING",
        }
        away = {"BucketName": DR_BUCKET, "HomeRegion": HOME_REGION}
        return (
            StackPlan("farshore-dr", DR_TEMPLATE, DR_REGION, away),
            StackPlan("farshore", HOME_TEMPLATE, HOME_REGION, home),
        )

    def deploy(self, cloud: Cloud) -> list[Stack]:
        """Make an empty cloud this stage."""
        cloud.put_secret(SECRET, dict(self.offsite.credentials), HOME_REGION)
        return cloud.deploy(self.plans())


@contextmanager
def open_stage(root: Path, offsite: str = "local") -> Iterator[Stage]:
    """Make ready what a stage needs outside the cloud, for as long as the context lasts.

    Raises:
        ValueError: there is no such off-site cloud.
    """
    if offsite not in OFFSITES:
        raise ValueError(f"OFFSITE={offsite!r} is not one of {', '.join(sorted(OFFSITES))}")
    with OFFSITES[offsite](root) as vault:
        yield Stage(vault)
