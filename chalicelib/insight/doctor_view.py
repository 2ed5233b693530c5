"""What is known of a stage when it is examined: each thing looked up, or why it could not be."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from chalicelib.aws.buckets import BucketState
from chalicelib.aws.event_bus import RuleState
from chalicelib.aws.kms import Key
from chalicelib.aws.lambda_account import Concurrency, SourceMapping
from chalicelib.aws.queue_state import QueueState
from chalicelib.aws.sts import Identity
from chalicelib.catalog.store.examinations import Examined
from chalicelib.insight.look_ups import Seen
from chalicelib.jobs.job import AnyJob
from chalicelib.settings import OffsiteVaultConfig, S3VaultConfig, VaultConfig

# The queues of a stage by the last word of their names; each has dead letters, `NAME-dead`.
QUEUES = ("jobs", "deletions", "events", "launches")
ALL_QUEUES = (*QUEUES, *(f"{name}-dead" for name in QUEUES))


@dataclass(frozen=True, slots=True)
class StageFacts:
    """What the settings say of a stage, and the `region` that its functions run in."""

    deployment: str
    home: str
    region: str
    vaults: Mapping[str, VaultConfig]
    copy_slots: int

    @property
    def s3_vaults(self) -> dict[str, S3VaultConfig]:
        """The vaults in S3."""
        return {name: each for name, each in self.vaults.items() if isinstance(each, S3VaultConfig)}

    @property
    def offsite_vaults(self) -> dict[str, OffsiteVaultConfig]:
        """The vaults in other clouds."""
        return {name: each for name, each in self.vaults.items() if isinstance(each, OffsiteVaultConfig)}

    @property
    def away(self) -> tuple[str, ...]:
        """The other regions that have a vault."""
        return tuple(sorted({each.region for each in self.s3_vaults.values()} - {self.home}))


@dataclass(frozen=True, slots=True)
class SecretState:
    """A secret that exists, and when its deletion was asked for."""

    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AgentsSeen:
    """Of `looked_at` running instances that scripts of plans run on: those whose SSM agent is `offline`, and
    those that are `silent` because none ever registered, by name."""

    looked_at: int = 0
    offline: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Counted:
    """How many there are, or, where the time for counting was over first, at least."""

    number: int
    whole: bool = True


@dataclass(frozen=True, slots=True)
class TicksSeen:
    """When the last tick began, and when one last failed, as far as CloudWatch was asked."""

    last_at: datetime | None = None
    failed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ClockSeen:
    """How far AWS's clock is ahead of this function's; it is known to a second."""

    ahead: timedelta


@dataclass(frozen=True, slots=True)
class StageView:
    """A stage as it is seen now. What is of vaults, regions or queues is found by their names."""

    stage: StageFacts
    now: datetime
    identity: Seen[Identity]
    clock: Seen[ClockSeen]
    examined: Seen[Examined]
    probes: Seen[Mapping[str, AnyJob]]
    concurrency: Seen[Concurrency]
    agents: Seen[AgentsSeen]
    ticks: Seen[TicksSeen]
    ages: Seen[Mapping[str, timedelta]]
    tick_rules: Seen[tuple[RuleState, ...]]
    buckets: Mapping[str, Seen[BucketState]] = field(default_factory=dict)
    keys: Mapping[tuple[str, str], Seen[Key]] = field(default_factory=dict)
    secrets: Mapping[str, Seen[SecretState]] = field(default_factory=dict)
    quotas: Mapping[str, Seen[Mapping[str, int]]] = field(default_factory=dict)
    snapshots: Mapping[str, Seen[Counted]] = field(default_factory=dict)
    queues: Mapping[str, Seen[QueueState]] = field(default_factory=dict)
    feeds: Mapping[str, Seen[tuple[SourceMapping, ...]]] = field(default_factory=dict)
    rules: Mapping[str, Seen[tuple[RuleState, ...]]] = field(default_factory=dict)
