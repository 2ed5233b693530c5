"""The operator's part: the stacks of this machine's stage, their parameters, the vaults, the secrets.

This is the only place that knows what the packaged templates ask of their operator. Off-site, a vault is a
folder (libcloud's LOCAL provider); a real server is one more entry in `OFFSITES`.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.cloud import Cloud
from local.template import Stack, StackPlan

CHECKOUT = Path(__file__).parent.parent
HOME_TEMPLATE = CHECKOUT / "build" / "package" / "sam.json"
DR_TEMPLATE = CHECKOUT / ".chalice" / "dr-region.yaml"
HOME_REGION, DR_REGION = "eu-central-1", "eu-west-1"
HOME_BUCKET, DR_BUCKET = "farshore-vault-home", "farshore-vault-dr"
SECRET = "farshore/offsite"


@dataclass(frozen=True, slots=True)
class Offsite:
    """A vault in another cloud: its entry in the vaults document, its credentials, where to look at it."""

    document: Mapping[str, Any]
    credentials: Mapping[str, Any]
    where: str


@contextmanager
def local_folder(root: Path) -> Iterator[Offsite]:
    """Keep the off-site vault in a folder below `root`."""
    folder = root / "offsite" / "farshore"
    folder.mkdir(parents=True, exist_ok=True)
    document = {"kind": "libcloud", "provider": "local", "container": folder.name, "credentials": SECRET}
    yield Offsite(document, {"key": str(folder.parent)}, str(folder))


OFFSITES: Mapping[str, Callable[[Path], AbstractContextManager[Offsite]]] = {"local": local_folder}
"""What a cloud off-site can be, by name; each is kept up for as long as its context lasts."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything a cloud needs to become this stage."""

    offsite: Offsite

    @property
    def vaults_document(self) -> dict[str, Any]:
        """Answer the vaults document."""
        return {
            "primary": {"kind": "s3", "region": HOME_REGION, "bucket": HOME_BUCKET},
            "dr": {"kind": "s3", "region": DR_REGION, "bucket": DR_BUCKET},
            "offsite": dict(self.offsite.document),
        }

    @property
    def where(self) -> dict[str, str]:
        """Answer where each vault can be looked at."""
        return {"primary": f"s3://{HOME_BUCKET}", "dr": f"s3://{DR_BUCKET}", "offsite": self.offsite.where}

    def plans(self) -> tuple[StackPlan, StackPlan]:
        """Answer the stacks: the DR region's first, since events and copies go there from home."""
        home = {
            "Stage": "local",
            "Vaults": json.dumps(self.vaults_document),
            "VaultBucketName": HOME_BUCKET,
            "OtherVaultBucketArns": f"arn:aws:s3:::{DR_BUCKET}",
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
