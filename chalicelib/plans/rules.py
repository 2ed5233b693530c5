"""What a rule says: its kind, when it runs, what it makes, how long that is kept and where it is copied.

Frozen values, read from the shapes of `document` and written back as JSON-able values with every default
filled in. Invariant: `read_rule(rule_document(rule)) == rule`, so a job may carry the rule it was opened
under.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from functools import cache
from typing import Any, ClassVar, Literal

from pydantic import TypeAdapter

from chalicelib.plans.document import (
    AnyRuleShape,
    CopyShape,
    ExpectShape,
    LifecycleShape,
    ServiceRuleShape,
    SnapshotRuleShape,
)
from chalicelib.plans.durations import render_duration
from chalicelib.plans.expect import Expect
from chalicelib.plans.lifecycle import Keep, Lifecycle, kept_periods
from chalicelib.plans.schedule import Schedule
from chalicelib.plans.selection import Patterns, VolumeChoice


class Kind(StrEnum):
    """The two kinds of rules and of recovery points."""

    SNAPSHOT = "snapshot"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class CopyTo:
    """A copy of each recovery point into `vault`; without a lifecycle of its own it has the rule's."""

    vault: str
    lifecycle: Lifecycle | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a failed backup is tried again within its period, and the first pause; each one is twice the
    one before."""

    attempts: int = 3
    pause: timedelta = timedelta(minutes=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseRule:
    """What rules of both kinds have; exactly one of `schedule` and `rpo` is set."""

    name: str
    lifecycle: Lifecycle
    schedule: Schedule | None = None
    rpo: timedelta | None = None
    retry: Retry = field(default_factory=Retry)
    copies: tuple[CopyTo, ...] = ()

    @property
    def timezone(self) -> str | None:
        """The schedule's time zone; None for a rule that follows its RPO."""
        return self.schedule.timezone if self.schedule else None

    @property
    def vaults(self) -> frozenset[str]:
        """The vaults that the rule keeps points in."""
        return frozenset(("primary", *(copy.vault for copy in self.copies)))

    @property
    def retention(self) -> Mapping[str, Lifecycle]:
        """What the rule keeps, by vault."""
        return {vault: self.lifecycle_in(vault) for vault in self.vaults}

    def lifecycle_in(self, vault: str) -> Lifecycle:
        """Return what holds in a vault: the copy's own lifecycle, else the rule's."""
        own = next((copy.lifecycle for copy in self.copies if copy.vault == vault), None)
        return own or self.lifecycle


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRule(BaseRule):
    """EBS snapshots of an instance's volumes."""

    kind: ClassVar[Kind] = Kind.SNAPSHOT
    volumes: VolumeChoice = field(default_factory=VolumeChoice)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRule(BaseRule):
    """A file that the user's script makes; each script is a path or a text (`is_path` tells)."""

    kind: ClassVar[Kind] = Kind.SERVICE
    script: str
    restore: str | None = None
    verify: str | None = None
    target: Literal["one"] = "one"
    timeout: timedelta = timedelta(hours=1)
    output: Literal["pipe", "file"] = "pipe"
    working_directory: str | None = None
    expect: Expect = field(default_factory=Expect)


Rule = SnapshotRule | ServiceRule


def is_path(script: str) -> bool:
    """Return whether a script is a path on the instance: one word that begins with / or ./"""
    return script.startswith(("/", "./")) and len(script.split()) == 1 and script == script.strip()


def read_rule(document: Mapping[str, Any]) -> Rule:
    """Read one rule that `rule_document` wrote; any other document is for `parse_plan` to judge."""
    return build_rule(_rule_reader().validate_python(document))


@cache
def _rule_reader() -> TypeAdapter[AnyRuleShape]:
    return TypeAdapter(AnyRuleShape)


def rule_document(rule: Rule) -> dict[str, Any]:
    """Write one rule as it stands in its plan's document; `read_rule` reads it back."""
    document = present(
        name=rule.name,
        kind=rule.kind.value,
        schedule=rule.schedule and rule.schedule.expression,
        timezone=rule.timezone,
        rpo=rendered(rule.rpo),
    )
    match rule:
        case SnapshotRule(volumes=volumes):
            document["volumes"] = present(
                boot=volumes.boot, exclude_tags=patterns_document(volumes.exclude_tags)
            )
        case ServiceRule():
            document |= present(
                script=rule.script,
                restore=rule.restore,
                verify=rule.verify,
                target=rule.target,
                timeout=rendered(rule.timeout),
                output=rule.output,
                working_directory=rule.working_directory,
                expect=_expect_document(rule.expect),
            )
    return document | present(
        lifecycle=_lifecycle_document(rule.lifecycle),
        retry=_retry_document(rule.retry) if rule.schedule else None,
        copies=[
            present(vault=copy.vault, lifecycle=copy.lifecycle and _lifecycle_document(copy.lifecycle))
            for copy in rule.copies
        ],
    )


def build_rule(shape: AnyRuleShape) -> Rule:
    """Make a rule of a shape that was found right."""
    when = Schedule.parse(shape.schedule, shape.timezone or "UTC") if shape.schedule else None
    lifecycle = _lifecycle(shape.lifecycle)
    retry = Retry(shape.retry.attempts, shape.retry.pause)
    copies = tuple(_copy(copy) for copy in shape.copies)
    match shape:
        case SnapshotRuleShape():
            return SnapshotRule(
                name=shape.name,
                lifecycle=lifecycle,
                schedule=when,
                rpo=shape.rpo,
                retry=retry,
                copies=copies,
                volumes=VolumeChoice(shape.volumes.boot, read_patterns(shape.volumes.exclude_tags)),
            )
        case ServiceRuleShape():
            return ServiceRule(
                name=shape.name,
                lifecycle=lifecycle,
                schedule=when,
                rpo=shape.rpo,
                retry=retry,
                copies=copies,
                script=shape.script,
                restore=shape.restore,
                verify=shape.verify,
                target=shape.target,
                timeout=shape.timeout,
                output=shape.output,
                working_directory=shape.working_directory,
                expect=_expect(shape.expect),
            )


def _copy(shape: CopyShape) -> CopyTo:
    return CopyTo(shape.vault, _lifecycle(shape.lifecycle) if shape.lifecycle else None)


def _lifecycle(shape: LifecycleShape) -> Lifecycle:
    keep = Keep(**shape.keep.model_dump(exclude_none=True)) if shape.keep else None
    return Lifecycle(keep, shape.count, shape.age, shape.min_keep, shape.manual.count)


def _expect(shape: ExpectShape) -> Expect:
    return Expect(shape.min_bytes, shape.shrink)


def _expect_document(expect: Expect) -> dict[str, Any]:
    shrink = "off" if expect.shrink is None else f"{expect.shrink}%"
    return present(min_bytes=expect.min_bytes, shrink=shrink)


def read_patterns(tags: Mapping[str, list[str]]) -> Patterns:
    """Take patterns from a shape."""
    return {key: tuple(values) for key, values in tags.items()}


def _lifecycle_document(lifecycle: Lifecycle) -> dict[str, Any]:
    return present(
        keep=dict(kept_periods(lifecycle.keep)) if lifecycle.keep else None,
        count=lifecycle.count,
        age=rendered(lifecycle.age),
        min_keep=lifecycle.min_keep,
        manual={"count": lifecycle.manual},
    )


def _retry_document(retry: Retry) -> dict[str, Any]:
    return {"attempts": retry.attempts, "pause": rendered(retry.pause)}


def patterns_document(patterns: Patterns) -> dict[str, str | list[str]]:
    """Write patterns: one alone as a text, more as a list."""
    return {key: values[0] if len(values) == 1 else list(values) for key, values in patterns.items()}


def rendered(duration: timedelta | None) -> str | None:
    """Write a duration that may be absent."""
    return None if duration is None else render_duration(duration)


def present(**keys: Any) -> dict[str, Any]:
    """Leave out the keys that say nothing."""
    return {key: value for key, value in keys.items() if value is not None and value not in ({}, [])}
