"""The interface between the endpoint and the stand-ins: what they are built with, get and return.

A stand-in adds to one service what moto lacks or gets wrong, operation by operation, and passes everything
else on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol
from wsgiref.types import WSGIEnvironment

from werkzeug.wrappers import Response

from local_cloud.control.capacity import Capacity
from local_cloud.control.clock import Clock
from local_cloud.control.timeline import Timeline

ACCOUNT = "123456789012"


@dataclass(frozen=True, slots=True)
class Call:
    """One request to an AWS API, recognised and parsed."""

    service: str
    """Botocore's name of the service: "ec2", "ssm", "s3"."""
    operation: str
    region: str
    account: str
    params: Mapping[str, Any]
    """As boto3 would take them; members that were not sent are absent."""
    access_key: str | None
    environ: WSGIEnvironment
    """The raw request; its body can be read again."""
    behind: timedelta = timedelta(0)
    """How long ago a read may show things as they were, if a fault makes it so."""


class AwsError(Exception):
    """An error that the endpoint renders in the protocol of the service."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        self.code = code
        self.message = message
        self.status = status
        super().__init__(f"{code}: {message}")


PassOn = Callable[[], Response]
"""Pass this request on to moto and return its answer."""

Handler = Callable[[Call, PassOn], Mapping[str, Any] | None]
"""Returns the answer to a call, as boto3 shows it; None stands for moto's own answer, unchanged."""

Emit = Callable[[str, dict[str, Any]], None]
"""Puts an event on a region's default bus: `source`, `detail-type`, `resources`, `detail`."""


class StandIn(Protocol):
    """What completes one service."""

    @property
    def service(self) -> str:
        """Botocore's name of the service."""
        ...

    def handlers(self) -> Mapping[str, Handler]:
        """Return the handlers, by operation; all other operations go to moto."""
        ...


@dataclass(frozen=True, slots=True)
class Quotas:
    """Limits of the account, and how long things take; AWS's defaults, short delays.

    Limits: https://docs.aws.amazon.com/general/latest/gr/ebs-service.html and
    https://docs.aws.amazon.com/general/latest/gr/ec2-service.html. Delays have no documented value: these
    are short enough to work with and long enough that nothing can rely on immediate results.
    """

    snapshots_per_region: int = 100_000
    pending_snapshots: int = 100
    pending_snapshots_per_volume: Mapping[str, int] = field(
        default_factory=lambda: {"gp2": 5, "gp3": 5, "io1": 5, "io2": 5, "standard": 5, "st1": 1, "sc1": 1}
    )
    copies_per_region: int = 20
    concurrent_functions: int = 1_000
    instance_pending: timedelta = timedelta(seconds=2)
    instance_stopping: timedelta = timedelta(seconds=2)
    agent_online_after: timedelta = timedelta(seconds=4)
    snapshot_pending: timedelta = timedelta(seconds=5)
    copy_pending: timedelta = timedelta(seconds=8)
    volume_creating: timedelta = timedelta(seconds=2)
    volume_attaching: timedelta = timedelta(seconds=2)
    volume_detaching: timedelta = timedelta(seconds=2)
    interface_moving: timedelta = timedelta(seconds=2)
    records_pending: timedelta = timedelta(seconds=30)
    event_delay: timedelta = timedelta(milliseconds=500)
    scaling_step: timedelta = timedelta(seconds=1)
    """What Auto Scaling takes from one state to the next."""
    health_check: timedelta = timedelta(seconds=5)
    """What it takes Auto Scaling to notice that an instance does not run."""
    launch_retry: timedelta = timedelta(seconds=60)
    """After which Auto Scaling tries again a launch that failed."""
    throttled: bool = True
    """Whether EC2's request token buckets are kept."""


@dataclass(frozen=True, slots=True)
class CloudContext:
    """What every stand-in is built with."""

    clock: Clock
    timeline: Timeline
    emit: Emit
    root: Path
    """The cloud's folder: instances live in `root/instances/<id>`, volumes and snapshots below `root/ebs`."""
    quotas: Quotas
    capacity: Capacity = field(default_factory=Capacity)
