"""The plan: what the user declares, in the form that all other modules use.

Invariant: `Plan.model_validate(plan.document())` equals the plan.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from chalicelib.errors import InvalidInput, Problem
from chalicelib.plans.declared import Declared, Fault, Maybe, worded
from chalicelib.plans.launches import Identity, OnLaunch, OnTerminate, launch_faults
from chalicelib.plans.objectives import Objectives
from chalicelib.plans.rules import (
    AnyRule,
    CopyTo,
    Kind,
    Rule,
    ServiceRule,
    SnapshotRule,
    read_rule,
    repeated,
)
from chalicelib.plans.selection import Selection
from chalicelib.plans.values import AsSent, Name, ServiceName, TagKey

__all__ = [
    "CopyTo",
    "Kind",
    "Plan",
    "Rule",
    "ServiceRule",
    "SnapshotRule",
    "TagName",
    "parse_plan",
    "read_rule",
    "service_of",
]

# A plan is one DynamoDB item of at most 400 KB, together with the times of its rules:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
LARGEST_PLAN_BYTES = 350 * 1024


class TagName(Declared):
    """The tag whose value is the name of the service."""

    tag: Annotated[
        TagKey,
        Field(
            description="one service per value of this tag; an instance without the tag, or with an empty "
            "one, has no service and is left out"
        ),
    ]


def _text_or_tag(value: Any) -> str:
    return "(tag)" if isinstance(value, dict | TagName) else "(text)"


AnyService = Annotated[
    Annotated[ServiceName, Tag("(text)")] | Annotated[TagName, Tag("(tag)")],
    Discriminator(_text_or_tag),
    worded(
        "a service's name on one line, or {tag: KEY} for one service per value of that tag",
        title="text, or `{tag: KEY}`",
    ),
]


class Plan(Declared):
    """A selection of instances and the rules for them."""

    name: Annotated[Name, Field(description="the plan's name")]
    service: Annotated[
        AnyService,
        Field(
            description="the service the recovery points belong to, which outlives every instance",
            json_schema_extra={"x-default": "the plan's name"},
        ),
    ] = Field(default_factory=lambda given: given["name"])
    selection: Annotated[
        Selection, Field(description="which instances", examples=[{"tags": {"app": "orders"}}])
    ]
    objectives: Annotated[
        Objectives,
        Field(
            exclude_if=lambda promised: not promised.document(),
            description="what is promised, to compare with what is achieved; one that no rule can meet "
            "is reported in a warning",
            examples=[{"rpo": "1h", "rto": "30m"}],
        ),
    ] = Field(default_factory=Objectives)
    rules: Annotated[
        tuple[AnyRule, ...],
        Field(
            strict=False,
            min_length=1,
            max_length=100,
            title="list of 1 to 100 rules",
            description="what is made of the selected instances; each has a name of its own",
        ),
    ]
    on_launch: Annotated[
        Maybe[OnLaunch],
        Field(
            description="what is done with an instance that starts, see below",
            examples=[{"restore": "nightly"}],
        ),
    ] = None
    on_terminate: Annotated[
        Maybe[OnTerminate],
        Field(
            description="what is backed up before an instance goes, see below",
            examples=[{"backup": "nightly"}],
        ),
    ] = None
    identity: Annotated[
        Maybe[Identity],
        Field(
            description="what leads clients to the service, see below; only beside `on_launch.restore`",
            examples=[{"elastic_ip": "eipalloc-0123456789abcdef0"}],
        ),
    ] = None

    def rule(self, name: str) -> Rule | None:
        """Return the rule with this name, or None."""
        return next((rule for rule in self.rules if rule.name == name), None)

    @property
    def hooks(self) -> tuple[str, ...]:
        """The lifecycle hooks that it names, each after its key."""
        named = (("on_launch", self.on_launch), ("on_terminate", self.on_terminate))
        return tuple(f"{key}.hook {each.hook}" for key, each in named if each is not None and each.hook)

    @classmethod
    def ties(cls, given: Mapping[str, Any], context: Any) -> Iterator[Fault]:
        """Yield a fault for each rule whose name an earlier one has."""
        yield from repeated(given, "rules", "name", "every rule of a plan has a name of its own")
        yield from launch_faults(given)


def parse_plan(document: Any, *, vaults: Mapping[str, Mapping[Any, str]], now: datetime) -> Plan:
    """Return the plan that a document declares; `vaults` are the configured ones: by name, how points of each
    kind that the vault can hold get into it.

    Raises:
        InvalidInput: with every problem found.
    """
    plan = Plan.read(document, "plan", AsSent(vaults, now))
    size = len(plan_text(plan).encode())
    if size > LARGEST_PLAN_BYTES:
        why = f"at most {LARGEST_PLAN_BYTES:,} bytes: put long scripts on the instance, or write two plans"
        raise InvalidInput("plan", [Problem("", f"{size:,} bytes with its defaults", why)])
    return plan


def plan_text(plan: Plan) -> str:
    """Return a plan as it is stored."""
    return json.dumps(plan.document(), ensure_ascii=False)


def service_of(plan: Plan, tags: Mapping[str, str]) -> str | None:
    """Return the service of an instance with these tags; None when the tag is missing or empty."""
    match plan.service:
        case TagName(tag=tag):
            return tags.get(tag) or None
        case name:
            return name
