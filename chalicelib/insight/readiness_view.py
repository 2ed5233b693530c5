"""What is known of a service when its readiness is checked: each thing looked up, or why it could not be."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from chalicelib.aws.autoscaling import LifecycleHook
from chalicelib.aws.ec2_types import Instance, Volume
from chalicelib.aws.prerequisites import ElasticIp
from chalicelib.aws.ssm import Agent
from chalicelib.insight.launch_times import Measured
from chalicelib.insight.look_ups import Seen
from chalicelib.insight.status import StatusAnswer
from chalicelib.plans.model import Plan

GROUP_TAG = "aws:autoscaling:groupName"


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
