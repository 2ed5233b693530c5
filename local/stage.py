"""The operator's part: the stacks of this machine's stage, their parameters, the vaults, the secrets.

This is the only place outside the local cloud that knows the parameters of the packaged templates.
Off-site, a vault is a folder (libcloud's LOCAL provider); a real server is one more entry in `OFFSITES`.

`python -m stage` runs the local cloud with the packaged app on it, until it is interrupted. Ports come from
AWS_PORT, API_PORT and CONTROL_PORT (0 or unset: any free one), the off-site cloud from OFFSITE; with SIGNED=1
unsigned requests to the API are refused. When all is ready, one JSON line on standard output has all
addresses. For people, instructions and all other messages are on standard error.
"""

import gc
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from libcloud.storage.providers import get_driver

from local_cloud.cloud import Cloud, Ports
from local_cloud.cloudformation.intrinsics import TemplateError
from local_cloud.cloudformation.template import Stack, StackPlan
from local_cloud.offsite_servers import StorageServer, azurite, swift
from local_cloud.signing import OPERATOR_KEY, OPERATOR_SECRET

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
        """Return the vaults document; the stack adds `primary`."""
        return {
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
        """Set up this stage in an empty cloud."""
        cloud.put_secret(SECRET, dict(self.offsite.credentials), HOME_REGION)
        return cloud.deploy(self.plans())


@contextmanager
def open_stage(root: Path, offsite: str = "local") -> Iterator[Stage]:
    """Provide what a stage needs outside the cloud, for as long as the context lasts.

    Raises:
        ValueError: there is no such off-site cloud.
    """
    if offsite not in OFFSITES:
        raise ValueError(f"OFFSITE={offsite!r} is not one of {', '.join(sorted(OFFSITES))}")
    with OFFSITES[offsite](root) as vault:
        yield Stage(vault)


def main() -> int:
    """Serve until SIGINT or SIGTERM; return the exit code."""
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    stop = threading.Event()
    gc.set_threshold(50_000, 20, 50)  # a cloud is a million objects that stay
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        ports = Ports(aws=port("AWS_PORT"), api=port("API_PORT"), control=port("CONTROL_PORT"))
        with tempfile.TemporaryDirectory(prefix="farshore-local-", ignore_cleanup_errors=True) as folder:
            serve(Path(folder), ports, stop)
    except (ValueError, OSError, TemplateError) as error:
        print(f"local: {error}", file=sys.stderr)
        return 1
    return 0


def serve(root: Path, ports: Ports, stop: threading.Event) -> None:
    """Run the cloud below `root` until `stop` is set."""
    signed = os.environ.get("SIGNED", "") not in ("", "0")
    with (
        open_stage(root, os.environ.get("OFFSITE") or "local") as stage,
        Cloud(root, ports=ports, signed=signed) as cloud,
    ):
        stage.deploy(cloud)
        threading.Thread(target=cloud.keep_up, name="pump", daemon=True).start()
        urls = {"aws": cloud.aws.url, "api": cloud.api.url, "control": cloud.control.url}
        print(json.dumps({**urls, "vaults": stage.where}), flush=True)
        print(how_to_use(cloud, signed=signed), file=sys.stderr, flush=True)
        stop.wait()


def how_to_use(cloud: Cloud, *, signed: bool) -> str:
    """Return what to paste into a shell, and what can be done then."""
    keys = f"AWS_ACCESS_KEY_ID={OPERATOR_KEY} AWS_SECRET_ACCESS_KEY={OPERATOR_SECRET}"
    sign = f"--aws-sigv4 aws:amz:{HOME_REGION}:execute-api --user {OPERATOR_KEY}:{OPERATOR_SECRET} "
    return f"""\
In another shell:
  export {keys}
  export AWS_DEFAULT_REGION={HOME_REGION} AWS_ENDPOINT_URL={cloud.aws.url}
  export API={cloud.api.url} CONTROL={cloud.control.url}
  aws ec2 describe-instances
  curl {sign if signed else ""}$API/plans
Ctrl-C ends it."""


def port(name: str) -> int:
    """Read a port from the environment.

    Raises:
        ValueError: it is none.
    """
    text = os.environ.get(name) or "0"
    if not text.isdecimal() or int(text) > 65535:
        raise ValueError(f"{name}={text!r} is not a port; write a number up to 65535, 0 for any free one")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
