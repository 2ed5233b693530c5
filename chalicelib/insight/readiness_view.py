"""What is known of a service when its readiness is checked: each thing looked up, or why it could not be."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from chalicelib.aws.autoscaling import LifecycleHook
from chalicelib.aws.ec2_types import Instance, Volume
from chalicelib.aws.prerequisites import ElasticIp
from chalicelib.aws.ssm import Agent
from chalicelib.errors import FarshoreError
from chalicelib.insight.launch_times import Measured
from chalicelib.insight.status import StatusAnswer
from chalicelib.plans.model import Plan

Thing = TypeVar("Thing")
GROUP_TAG = "aws:autoscaling:groupName"


@dataclass(frozen=True, slots=True)
class Seen(Generic[Thing]):
    """What a look-up found, or the error that it ended in."""

    found: Thing | None = None
    error: FarshoreError | None = None

    @property
    def value(self) -> Thing:
        """What was found.

        Raises:
            FarshoreError: the one that the look-up ended in.
        """
        if self.found is None:
            raise self.error or FarshoreError("it was not looked for")
        return self.found


def seen(look: Callable[[], Thing]) -> Seen[Thing]:
    """Look something up; an error of AWS's is kept for those who ask for it."""
    try:
        return Seen(look())
    except FarshoreError as error:
        return Seen(error=error)


@dataclass(frozen=True, slots=True)
class Running:
    """The running instances of a service that are looked at, and how many there are."""

    instances: tuple[Instance, ...] = ()
    count: int = 0

    @property
    def groups(self) -> tuple[str, ...]:
        """The Auto Scaling groups they are in, by their tags."""
        return tuple(sorted({each.tags[GROUP_TAG] for each in self.instances if GROUP_TAG in each.tags}))


@dataclass(frozen=True, slots=True)
class Proof:
    """The last restore or launch of a service that completed and was verified: its end, and its job.

    `unread` says that there were too many jobs to look at all of them.
    """

    last_at: datetime | None = None
    job: str = ""
    unread: bool = False


@dataclass(frozen=True, slots=True)
class ServiceView:
    """A service of a plan as it is seen now.

    `stores` has the GB of instance store by instance type, `identity` whether each resource that the plan's
    identity names exists, `hooks` the lifecycle hooks by group; `apart` are the vaults in another region or
    cloud than the instances.
    """

    plan: Plan
    status: StatusAnswer
    now: datetime
    running: Seen[Running]
    stores: Seen[Mapping[str, int]] = field(default_factory=lambda: Seen({}))
    volumes: Seen[Mapping[str, Volume]] = field(default_factory=lambda: Seen({}))
    agents: Seen[Mapping[str, Agent]] = field(default_factory=lambda: Seen({}))
    elastic_ips: Seen[tuple[ElasticIp, ...]] = field(default_factory=lambda: Seen(()))
    identity: Mapping[str, Seen[bool]] = field(default_factory=dict)
    hooks: Mapping[str, Seen[tuple[LifecycleHook, ...]]] = field(default_factory=dict)
    proof: Proof = field(default_factory=Proof)
    measured: Measured = field(default_factory=Measured)
    apart: frozenset[str] = frozenset()
