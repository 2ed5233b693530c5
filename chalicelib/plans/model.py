"""What the user declares: a plan, its rules and their copies, as the rest of Farshore knows them.

Frozen values. `parse_plan` makes them from a document and refuses what is wrong, all of it at once;
`to_document` writes them back, with every default filled in. Invariant: `parse_plan(plan.to_document())` is
the plan.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, ClassVar, Literal

from pydantic import ValidationError

from chalicelib.errors import InvalidInput, Problem
from chalicelib.plans.document import (
    AnyRuleShape,
    CopyShape,
    LifecycleShape,
    PlanShape,
    ServiceRuleShape,
    SnapshotRuleShape,
    TagShape,
)
from chalicelib.plans.durations import render_duration
from chalicelib.plans.lifecycle import Keep, Lifecycle, kept_periods
from chalicelib.plans.objectives import Objectives
from chalicelib.plans.problems import find_problems
from chalicelib.plans.schedule import Schedule
from chalicelib.plans.selection import Patterns, Selection, VolumeChoice


class Kind(StrEnum):
    """The two kinds of rules and of recovery points."""

    SNAPSHOT = "snapshot"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class TagName:
    """Services are named by the value of this tag."""

    tag: str


@dataclass(frozen=True, slots=True)
class CopyTo:
    """A copy of each recovery point into `vault`; without a lifecycle of its own it has the rule's."""

    vault: str
    lifecycle: Lifecycle | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseRule:
    """What rules of both kinds have; exactly one of `schedule` and `rpo` is set."""

    name: str
    lifecycle: Lifecycle
    schedule: Schedule | None = None
    rpo: timedelta | None = None
    copies: tuple[CopyTo, ...] = ()

    @property
    def timezone(self) -> str | None:
        """The schedule's time zone; None for a rule that follows its RPO."""
        return self.schedule.timezone if self.schedule else None

    def lifecycle_in(self, vault: str) -> Lifecycle:
        """Find what holds in a vault: the copy's own lifecycle, else the rule's."""
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


Rule = SnapshotRule | ServiceRule


@dataclass(frozen=True, slots=True)
class Plan:
    """A selection of instances and the rules for them; rule names are unique in it."""

    name: str
    service: str | TagName
    selection: Selection
    rules: tuple[Rule, ...]
    objectives: Objectives = field(default_factory=Objectives)

    def rule(self, name: str) -> Rule | None:
        """Find a rule by its name."""
        return next((rule for rule in self.rules if rule.name == name), None)

    def to_document(self) -> dict[str, Any]:
        """Write the plan as JSON-able values, with every default filled in."""
        return _present(
            name=self.name,
            service={"tag": self.service.tag} if isinstance(self.service, TagName) else self.service,
            selection=_present(
                tags=_patterns_document(self.selection.tags),
                exclude_tags=_patterns_document(self.selection.exclude_tags),
            ),
            objectives=_present(rpo=_rendered(self.objectives.rpo), rto=_rendered(self.objectives.rto)),
            rules=[_rule_document(rule) for rule in self.rules],
        )


def parse_plan(document: Mapping[str, Any], *, vaults: Collection[str] | None) -> Plan:
    """Read a plan; `vaults` are the configured ones, None to take the vaults of a stored plan as they are.

    Raises:
        InvalidInput: with every problem found.
    """
    if not isinstance(document, Mapping):
        raise InvalidInput(
            "plan", [Problem("", document, "a plan is a mapping with name, selection and rules")]
        )
    given = dict(document)
    try:
        shape, errors = PlanShape.model_validate(given), []
    except ValidationError as error:
        shape, errors = None, error.errors(include_url=False)
    problems = find_problems(given, errors, vaults)
    if shape is None or problems:
        raise InvalidInput("plan", problems)
    return Plan(
        name=shape.name,
        service=TagName(shape.service.tag)
        if isinstance(shape.service, TagShape)
        else shape.service or shape.name,
        selection=Selection(_patterns(shape.selection.tags), _patterns(shape.selection.exclude_tags)),
        rules=tuple(_rule(rule) for rule in shape.rules),
        objectives=Objectives(shape.objectives.rpo, shape.objectives.rto),
    )


def service_of(plan: Plan, tags: Mapping[str, str]) -> str | None:
    """Name the service an instance with these tags belongs to; None when it lacks the tag, or the tag is
    empty."""
    match plan.service:
        case TagName(tag):
            return tags.get(tag) or None
        case name:
            return name


def is_path(script: str) -> bool:
    """Tell a path on the instance from the text of a script: a path is one word that begins with / or ./"""
    return script.startswith(("/", "./")) and len(script.split()) == 1 and script == script.strip()


def _rule(shape: AnyRuleShape) -> Rule:
    when = Schedule.parse(shape.schedule, shape.timezone or "UTC") if shape.schedule else None
    lifecycle = _lifecycle(shape.lifecycle)
    copies = tuple(_copy(copy) for copy in shape.copies)
    match shape:
        case SnapshotRuleShape():
            return SnapshotRule(
                name=shape.name,
                lifecycle=lifecycle,
                schedule=when,
                rpo=shape.rpo,
                copies=copies,
                volumes=VolumeChoice(shape.volumes.boot, _patterns(shape.volumes.exclude_tags)),
            )
        case ServiceRuleShape():
            return ServiceRule(
                name=shape.name,
                lifecycle=lifecycle,
                schedule=when,
                rpo=shape.rpo,
                copies=copies,
                script=shape.script,
                restore=shape.restore,
                verify=shape.verify,
                target=shape.target,
                timeout=shape.timeout,
                output=shape.output,
                working_directory=shape.working_directory,
            )


def _copy(shape: CopyShape) -> CopyTo:
    return CopyTo(shape.vault, _lifecycle(shape.lifecycle) if shape.lifecycle else None)


def _lifecycle(shape: LifecycleShape) -> Lifecycle:
    keep = Keep(**shape.keep.model_dump(exclude_none=True)) if shape.keep else None
    return Lifecycle(keep, shape.count, shape.age, shape.min_keep)


def _patterns(tags: Mapping[str, list[str]]) -> Patterns:
    return {key: tuple(values) for key, values in tags.items()}


def _rule_document(rule: Rule) -> dict[str, Any]:
    document = _present(
        name=rule.name,
        kind=rule.kind.value,
        schedule=rule.schedule and rule.schedule.expression,
        timezone=rule.timezone,
        rpo=_rendered(rule.rpo),
    )
    match rule:
        case SnapshotRule(volumes=volumes):
            document["volumes"] = _present(
                boot=volumes.boot, exclude_tags=_patterns_document(volumes.exclude_tags)
            )
        case ServiceRule():
            document |= _present(
                script=rule.script,
                restore=rule.restore,
                verify=rule.verify,
                target=rule.target,
                timeout=_rendered(rule.timeout),
                output=rule.output,
                working_directory=rule.working_directory,
            )
    return document | _present(
        lifecycle=_lifecycle_document(rule.lifecycle),
        copies=[
            _present(vault=copy.vault, lifecycle=copy.lifecycle and _lifecycle_document(copy.lifecycle))
            for copy in rule.copies
        ],
    )


def _lifecycle_document(lifecycle: Lifecycle) -> dict[str, Any]:
    return _present(
        keep=dict(kept_periods(lifecycle.keep)) if lifecycle.keep else None,
        count=lifecycle.count,
        age=_rendered(lifecycle.age),
        min_keep=lifecycle.min_keep,
    )


def _patterns_document(patterns: Patterns) -> dict[str, str | list[str]]:
    return {key: values[0] if len(values) == 1 else list(values) for key, values in patterns.items()}


def _rendered(duration: timedelta | None) -> str | None:
    return None if duration is None else render_duration(duration)


def _present(**keys: Any) -> dict[str, Any]:
    """Leave out the keys that say nothing."""
    return {key: value for key, value in keys.items() if value is not None and value not in ({}, [])}
