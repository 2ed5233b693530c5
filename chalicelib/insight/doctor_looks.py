"""Looks up what a stage is examined by: all at once, each thing for as long as the API has time for it.

API Gateway waits for 29 s, so what is not answered by then is unknown, and the rest is answered all the same.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from chalicelib.aws.buckets import Buckets, BucketState
from chalicelib.aws.ec2 import Ec2
from chalicelib.aws.event_bus import EventBus, RuleState
from chalicelib.aws.kms import Key, Kms
from chalicelib.aws.lambda_account import LambdaAccount
from chalicelib.aws.metrics import Metric, Metrics
from chalicelib.aws.queue_state import Queues
from chalicelib.aws.secrets import Secrets
from chalicelib.aws.service_quotas import EBS, ServiceQuotas
from chalicelib.aws.ssm import Ssm
from chalicelib.aws.sts import Identity, Sts
from chalicelib.catalog.store import PlanStore
from chalicelib.catalog.store.examinations import ExaminationStore, Examined
from chalicelib.errors import FarshoreError
from chalicelib.insight.doctor import DoctorAnswer, examination
from chalicelib.insight.doctor_view import (
    ALL_QUEUES,
    QUEUES,
    AgentsSeen,
    ClockSeen,
    Counted,
    SecretState,
    StageFacts,
    StageView,
    TicksSeen,
)
from chalicelib.insight.look_ups import AtOnce, Begun, Seen, Thing
from chalicelib.insight.readiness import agent_users
from chalicelib.jobs.job import AnyJob
from chalicelib.jobs.store import JobStore
from chalicelib.plans.selection import ec2_filters, matches
from chalicelib.settings import S3VaultConfig

Part = TypeVar("Part")
Name = TypeVar("Name")

# What is looked up first, and what depends on it, have to be answered so long after the beginning.
FIRST_WITHIN, ALL_WITHIN = timedelta(seconds=14), timedelta(seconds=22)
# Snapshots are counted for less than that, so that what was counted until then can be said.
COUNTED_WITHIN = timedelta(seconds=10)
PAGE = 1000
MOST_INSTANCES = 5_000
METRICS_SPAN = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class StageWorld:
    """What is asked; functions return what is of a region."""

    sts: Sts
    buckets: Callable[[str], Buckets]
    kms: Callable[[str], Kms]
    secrets: Secrets
    quotas: Callable[[str], ServiceQuotas]
    functions: LambdaAccount
    bus: EventBus
    queues: Queues
    metrics: Metrics
    ssm: Ssm
    ec2: Callable[[str], Ec2]
    tick: str
    """The function of the tick."""


@dataclass(frozen=True, slots=True)
class Looks:
    """Begins look-ups that have to end `within` so long after the beginning."""

    at_once: AtOnce
    within: timedelta

    def begin(self, what: str, look: Callable[[], Thing]) -> Begun[Thing]:
        """Begin one."""
        return self.at_once.begin(what, look, self.within)

    def each(self, what: str, looks: Mapping[Name, Callable[[], Thing]]) -> dict[Name, Begun[Thing]]:
        """Begin one for each name."""
        return {name: self.begin(f"{what} {name}", look) for name, look in looks.items()}


def ended(begun: Mapping[Name, Begun[Thing]]) -> dict[Name, Seen[Thing]]:
    """Wait for look-ups, each for its time."""
    return {name: each.seen() for name, each in begun.items()}


@dataclass(frozen=True, slots=True)
class Doctor:
    """Examines a stage."""

    stage: StageFacts
    world: StageWorld
    plans: PlanStore
    jobs: JobStore
    examinations: ExaminationStore
    now: Callable[[], datetime]

    def examine(self) -> DoctorAnswer:
        """Return whether the stage can do its work, and each check."""
        with AtOnce() as at_once:
            return examination(self._look(at_once))

    def _look(self, at_once: AtOnce) -> StageView:
        first, then = Looks(at_once, FIRST_WITHIN), Looks(at_once, ALL_WITHIN)
        stage, world, regions = self.stage, self.world, (self.stage.home, *self.stage.away)
        identity = first.begin("identity", self._identity)
        buckets = first.each("bucket of", self._buckets())
        secrets = first.each("secret of", self._secrets())
        queues = first.each("queue", {name: partial(world.queues.state, name) for name in ALL_QUEUES})
        quotas = first.each("quotas of", {region: partial(self._quotas, region) for region in regions})
        counts = first.each(
            "snapshots of", {region: partial(self._count_snapshots, region) for region in regions}
        )
        concurrency = first.begin("concurrency", world.functions.concurrency)
        agents = first.begin("agents", self._agents)
        metrics = first.begin("metrics", self._metrics)
        examined = first.begin("examinations", self.examinations.read)

        who, queues_seen, buckets_seen = identity.seen(), ended(queues), ended(buckets)
        unseen: dict[str, Seen[Any]] = {name: queues_seen[name] for name in QUEUES if queues_seen[name].error}
        arns = {name: each.arn for name in QUEUES if (each := queues_seen[name].found)}
        mappings = {name: partial(world.functions.source_mappings, arn) for name, arn in arns.items()}
        feeds = then.each("what is fed by", mappings)
        from_rules = {name: arn for name, arn in arns.items() if name != "jobs"}
        rules = then.each(
            "rules to", {name: partial(world.bus.rules_to, arn) for name, arn in from_rules.items()}
        )
        tick_rules = then.begin("rules of the tick", partial(self._tick_rules, who))
        keys = {
            (vault, key): then.begin(f"key {key} of vault {vault}", look)
            for (vault, key), look in self._keys(buckets_seen).items()
        }
        examined_seen, metrics_seen = examined.seen(), metrics.seen()
        probes = then.begin("probes", partial(self._probes, examined_seen))
        return StageView(
            stage=stage,
            now=self.now(),
            identity=_part(who, lambda found: found[0]),
            clock=_part(who, lambda found: found[1]),
            examined=examined_seen,
            probes=probes.seen(),
            concurrency=concurrency.seen(),
            agents=agents.seen(),
            ticks=_part(metrics_seen, lambda found: found[0]),
            ages=_part(metrics_seen, lambda found: found[1]),
            tick_rules=tick_rules.seen(),
            buckets=buckets_seen,
            keys=ended(keys),
            secrets=ended(secrets),
            quotas=ended(quotas),
            snapshots=ended(counts),
            queues=queues_seen,
            feeds={**unseen, **ended(feeds)},
            rules={**{name: unseen[name] for name in unseen if name != "jobs"}, **ended(rules)},
        )

    def _buckets(self) -> Mapping[str, Callable[[], BucketState]]:
        return {name: partial(self._bucket, each) for name, each in self.stage.s3_vaults.items()}

    def _bucket(self, vault: S3VaultConfig) -> BucketState:
        return self.world.buckets(vault.region).look(vault.bucket)

    def _secrets(self) -> Mapping[str, Callable[[], SecretState]]:
        named = {name: each.credentials for name, each in self.stage.offsite_vaults.items()}
        return {name: partial(self._secret, secret) for name, secret in named.items() if secret}

    def _keys(self, buckets: Mapping[str, Seen[BucketState]]) -> Mapping[tuple[str, str], Callable[[], Key]]:
        """Return how to look up the keys that the settings name for vaults, and those of their buckets."""
        looks: dict[tuple[str, str], Callable[[], Key]] = {}
        for name, each in self.stage.s3_vaults.items():
            state = buckets[name].found
            for key in (each.kms_key, state.key if state else None):
                if key is not None:
                    looks[name, key] = partial(self._key, each.region, key)
        return looks

    def _key(self, region: str, key: str) -> Key:
        return self.world.kms(region).key(key)

    def _identity(self) -> tuple[Identity, ClockSeen]:
        asked_at = self.now()
        found = self.world.sts.identity()
        between = asked_at + (self.now() - asked_at) / 2
        if found.answered_at is None:
            raise FarshoreError("AWS did not say what time it is", operation="GetCallerIdentity")
        return found, ClockSeen(found.answered_at - between.replace(microsecond=0))

    def _secret(self, secret: str) -> SecretState:
        return SecretState(self.world.secrets.deleted_at(secret))

    def _quotas(self, region: str) -> Mapping[str, int]:
        return self.world.quotas(region).quotas(EBS)

    def _count_snapshots(self, region: str) -> Counted:
        ec2, number, token, until = self.world.ec2(region), 0, None, self.now() + COUNTED_WITHIN
        while True:
            page = ec2.snapshots_page((), PAGE, token)
            number, token = number + len(page.things), page.token
            if token is None or self.now() >= until:
                return Counted(number, whole=token is None)

    def _agents(self) -> AgentsSeen:
        """Look at the agents of the running instances on which plans run scripts, up to a number."""
        names = dict(self._scripted())
        agents = self.world.ssm.agents(names)
        return AgentsSeen(
            len(names),
            tuple(sorted(names[each] for each, agent in agents.items() if not agent.online)),
            tuple(sorted(name for each, name in names.items() if each not in agents)),
        )

    def _scripted(self) -> Iterator[tuple[str, str]]:
        """Yield the running instances on which plans run scripts, each with its name."""
        seen: set[str] = set()
        for _, stored in self.plans.names():
            if stored is None or not agent_users(stored.plan):
                continue
            selection = stored.plan.selection
            for each in self.world.ec2(self.stage.home).instances(ec2_filters(selection, None)):
                if len(seen) == MOST_INSTANCES:
                    return
                if each.state == "running" and each.id not in seen and matches(selection, each.tags):
                    seen.add(each.id)
                    name = each.tags.get("Name")
                    yield each.id, f"{each.id} ({name})" if name else each.id

    def _metrics(self) -> tuple[TicksSeen, Mapping[str, timedelta]]:
        """Ask when the tick last ran, whether that failed, and how old each queue's oldest message is."""
        of_tick = ("AWS/Lambda", "FunctionName", self.world.tick)
        asked = {
            f"tick{name}": Metric(of_tick[0], name, of_tick[1], of_tick[2], "Sum")
            for name in ("Invocations", "Errors")
        }
        asked |= {
            f"age{name}": Metric(
                "AWS/SQS",
                "ApproximateAgeOfOldestMessage",
                "QueueName",
                self.world.queues.name(name),
                "Maximum",
            )
            for name in QUEUES
        }
        found = self.world.metrics.newest(asked, self.now(), METRICS_SPAN)
        ran, failed = found.get("tickInvocations"), found.get("tickErrors")
        ages = {name: timedelta(seconds=each.value) for name in QUEUES if (each := found.get(f"age{name}"))}
        last_failed = failed is not None and (ran is None or failed.at >= ran.at)
        return TicksSeen(ran.at if ran else None, failed.at if failed and last_failed else None), ages

    def _tick_rules(self, identity: Seen[tuple[Identity, ClockSeen]]) -> tuple[RuleState, ...]:
        found, _ = identity.value
        partition = found.arn.split(":")[1]
        where = f"arn:{partition}:lambda:{self.stage.region}:{found.account}:function"
        return self.world.bus.rules_to(f"{where}:{self.world.tick}")

    def _probes(self, examined: Seen[Examined]) -> Mapping[str, AnyJob]:
        return self.jobs.get_many(examined.value.probes.values())


def _part(whole: Seen[Thing], part: Callable[[Thing], Part]) -> Seen[Part]:
    return Seen(part(whole.found) if whole.found is not None else None, whole.error)
