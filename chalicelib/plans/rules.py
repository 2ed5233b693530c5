"""A rule: its kind, when it runs, what it makes, how long that is kept and where it is copied.

Invariant: `read_rule(rule.document()) == rule`, so a job may carry the rule it was opened under.
"""

import operator
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta, tzinfo
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, ClassVar, Literal
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, TypeAdapter

from chalicelib.plans.declared import Declared, Fault, Maybe, worded
from chalicelib.plans.durations import Duration
from chalicelib.plans.expect import Expect
from chalicelib.plans.lifecycle import Lifecycle, LifecycleKey
from chalicelib.plans.schedule import Schedule
from chalicelib.plans.selection import VolumeChoice
from chalicelib.plans.values import (
    PRIMARY,
    AsSent,
    CopyVault,
    Directory,
    Expression,
    Name,
    Script,
    Zone,
)
from chalicelib.plans.words import LATER

_WHEN = 'required: "cron(...)" or "rate(...)", such as "cron(15 2 * * ? *)"'


class Kind(StrEnum):
    """The kinds of rules and of recovery points."""

    SNAPSHOT = "snapshot"
    SERVICE = "service"


class CopyTo(Declared):
    """A copy of each recovery point in `vault`; without a lifecycle of its own the rule's applies."""

    later: ClassVar = {"encrypt_to": "public keys an off-site copy is encrypted for"}

    vault: Annotated[
        CopyVault,
        Field(description="a configured vault other than `primary`; each at most once"),
    ]
    lifecycle: Annotated[
        Maybe[LifecycleKey],
        Field(
            description="what is kept in that vault; without it, the rule's lifecycle applies",
            json_schema_extra={"x-default": "the rule's"},
        ),
    ] = None


class Retry(Declared):
    """How a scheduled run that failed is tried again before the next one is due."""

    attempts: Annotated[int, Field(ge=0, le=10, title="0 to 10", description="tries; 0 for none")] = 3
    pause: Annotated[
        timedelta,
        Duration(timedelta(minutes=1), timedelta(days=1)),
        Field(description="how long after the first failure; the time doubles with each further one"),
    ] = timedelta(minutes=15)


class BaseRule(Declared):
    """The keys that rules of both kinds have. Exactly one of `schedule` and `rpo` is given.

    A backup of every instance of a service is `paced_by` the EC2 call that it makes for each; one that is
    made on one instance is not.
    """

    paced_by: ClassVar[str | None] = None
    later: ClassVar = {"hooks": "quiesce and resume an application around a snapshot"}

    name: Annotated[Name, Field(description="unique in the plan")]
    kind: Annotated[
        Kind,
        Field(
            title="`snapshot` or `service`",
            description="EBS snapshots of the volumes, or a file that a script makes; see below for the keys "
            "of each",
        ),
    ]
    schedule: Annotated[
        Maybe[Expression],
        Field(
            description="when it runs; a schedule whose years are over is refused",
            json_schema_extra={"x-default": "exactly one of `schedule` and `rpo`"},
        ),
    ] = None
    timezone: Annotated[
        Zone,
        Field(
            description="the clock that `cron(...)` reads, and that the hours, days, weeks, months and years "
            "of `lifecycle.keep` are of; `rate(...)` counts elapsed time in any zone"
        ),
    ] = "UTC"
    rpo: Annotated[
        Maybe[Annotated[timedelta, Duration(timedelta(minutes=5), timedelta(days=3_650))]],
        Field(
            description="runs where the newest point would otherwise grow older than this before the next "
            "tick; no less than 5m, the time between two ticks",
            json_schema_extra={"x-default": "exactly one of `schedule` and `rpo`"},
        ),
    ] = None
    retry: Annotated[
        Maybe[Retry],
        Field(
            description="a run that failed is tried again before the next one is due, see below; not with an "
            "`rpo`, whose rule runs again by itself",
            examples=[{"attempts": 3, "pause": "15m"}],
            json_schema_extra={"x-default": "`{attempts: 3, pause: 15m}`"},
        ),
    ] = Field(default_factory=lambda given: Retry() if given.get("schedule") else None)
    lifecycle: Annotated[LifecycleKey, Field(description="what is kept, see below")]
    copies: Annotated[
        tuple[Annotated[CopyTo, Field(examples=[{"vault": "dr"}])], ...],
        Field(
            strict=False,
            max_length=20,
            exclude_if=operator.not_,
            description="the vaults each recovery point is copied to",
            examples=[[{"vault": "dr"}]],
        ),
    ] = ()
    restore: Annotated[
        Maybe[Script],
        Field(
            description="brings it back: a file, which comes on standard input and as a path; or volumes, "
            "which are attached when it runs, and which it mounts"
        ),
    ] = None
    verify: Annotated[
        Maybe[Script],
        Field(description="runs after a restore; its exit code is the proof; only beside `restore`"),
    ] = None
    timeout: Annotated[
        timedelta,
        Duration(timedelta(seconds=1), timedelta(hours=48)),
        Field(
            description="the scripts are ended and the job fails when they run longer; tries over a bad "
            "network end a little before; SSM ends none before 5s, and none may run longer than 48 hours"
        ),
    ] = timedelta(hours=1)
    working_directory: Annotated[
        Maybe[Directory],
        Field(
            description="where the scripts run",
            json_schema_extra={"x-default": "the SSM agent's"},
        ),
    ] = None

    @property
    def times(self) -> Schedule | None:
        """The schedule; None for a rule that follows an RPO."""
        return Schedule.parse(self.schedule, self.timezone) if self.schedule else None

    @property
    def attempts(self) -> int:
        """How many times a scheduled run that failed is tried again."""
        return self.retry.attempts if self.retry else 0

    @property
    def zone(self) -> tzinfo:
        """The time zone of its schedule and of the periods of its lifecycles."""
        return ZoneInfo(self.timezone)

    @property
    def vaults(self) -> frozenset[str]:
        """The vaults that the rule keeps points in."""
        return frozenset((PRIMARY, *(copy.vault for copy in self.copies)))

    @property
    def retention(self) -> Mapping[str, tuple[Lifecycle, str]]:
        """What the rule keeps in each vault, with the time zone of its periods."""
        return {vault: (self.lifecycle_in(vault), self.timezone) for vault in self.vaults}

    def lifecycle_in(self, vault: str) -> Lifecycle:
        """Return the lifecycle of a vault: the copy's own, else the rule's."""
        own = next((copy.lifecycle for copy in self.copies if copy.vault == vault), None)
        return own or self.lifecycle

    @classmethod
    def ties(cls, given: Mapping[str, Any], context: Any) -> Iterator[Fault]:
        """Yield what is wrong with when it runs, a proof of a restore that there is none of, and vaults that
        are named twice."""
        if "schedule" in given and "rpo" in given:
            yield ("rpo",), "a rule has exactly one of schedule and rpo: leave one out"
        if "schedule" not in given and "rpo" not in given:
            yield ("schedule",), f"{_WHEN}; or rpo, such as 1h"
        if given.get("retry") is not None and "schedule" not in given:
            why = "leave it out: a rule that follows its RPO runs again by itself until it is met"
            yield ("retry",), why
        if given.get("verify") is not None and "restore" not in given:
            yield ("verify",), "verify runs after restore: say restore too, or leave it out"
        yield from repeated(given, "copies", "vault", "a rule copies into a vault once")
        yield from _copies_not_held(given, context)


def _copies_not_held(given: Mapping[str, Any], context: Any) -> Iterator[Fault]:
    """Yield the copies into vaults that cannot hold points of the rule's kind."""
    holds = context.vaults if isinstance(context, AsSent) else {}
    kind, copies = str(given.get("kind")), given.get("copies")
    for number, copy in enumerate(copies if isinstance(copies, list) else ()):
        vault = copy.get("vault") if isinstance(copy, Mapping) else None
        if isinstance(vault, str) and vault in holds and kind not in holds[vault]:
            others = ", ".join(name for name in sorted(holds) if kind in holds[name] and name != PRIMARY)
            why = f"a vault that holds points of kind {kind}: {others or 'there is none beside primary'}"
            yield ("copies", number, "vault"), why


def repeated(given: Mapping[str, Any], key: str, name: str, expected: str) -> Iterator[Fault]:
    """Yield a fault for each item of a list whose name an earlier one has."""
    items = given.get(key)
    seen: set[str] = set()
    for number, item in enumerate(items if isinstance(items, Sequence) else ()):
        value = item.get(name) if isinstance(item, Mapping) else getattr(item, name, None)
        if isinstance(value, str):
            if value in seen:
                yield (key, number, name), expected
            seen.add(value)


class SnapshotRule(BaseRule):
    """EBS snapshots of an instance's volumes."""

    paced_by: ClassVar = "CreateSnapshots"

    kind: Annotated[Literal[Kind.SNAPSHOT], Field(description="EBS snapshots of the instances' volumes")] = (
        Kind.SNAPSHOT
    )
    volumes: Annotated[
        VolumeChoice,
        Field(
            description="which of the instance's volumes",
            examples=[{"boot": False, "exclude_tags": {"scratch": "true"}}],
        ),
    ] = Field(default_factory=VolumeChoice)


def _one(value: object) -> object:
    if value == "each":
        raise ValueError(f"target: each is {LATER}, or say one")
    return value


class ServiceRule(BaseRule):
    """A file that the user's script makes."""

    kind: Annotated[Literal[Kind.SERVICE], Field(description="a file that a script makes")] = Kind.SERVICE
    script: Annotated[
        Script,
        Field(description="makes the backup: `SCRIPT <service> <output>`, exit code 0 and at least one byte"),
    ]
    target: Annotated[
        Literal["one"],
        BeforeValidator(_one),
        Field(description="one representative instance of each service runs the script"),
    ] = "one"
    output: Annotated[
        Literal["pipe", "file"],
        Field(
            description="`pipe`: uploaded while it is written; `file`: for a script that must seek in its "
            "output, or puts another file in its place. The backup ends when the script has exited and "
            "nothing holds its output open"
        ),
    ] = "pipe"
    expect: Annotated[
        Expect,
        Field(
            description="the size a backup is expected to have; another one is *suspect*, see below",
            examples=[{"min_bytes": 1_000_000, "shrink": "50%"}],
        ),
    ] = Field(default_factory=Expect)


Rule = SnapshotRule | ServiceRule
AnyRule = Annotated[
    Rule,
    Field(discriminator="kind"),
    worded("a mapping with name, kind, schedule or rpo, and lifecycle", title="rule"),
]


def read_rule(document: Mapping[str, Any]) -> Rule:
    """Return a rule from its stored document."""
    return _rules().validate_python(document)


@cache
def _rules() -> TypeAdapter[Rule]:
    return TypeAdapter(AnyRule)
