"""What the user declares: a plan, as the rest of Farshore knows it.

`parse_plan` makes it from a document and refuses what is wrong, all of it at once; `to_document` writes it
back, with every default filled in. Invariant: `parse_plan(plan.to_document())` is the plan.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from chalicelib.errors import InvalidInput, Problem
from chalicelib.plans.document import PlanShape, TagShape
from chalicelib.plans.objectives import Objectives
from chalicelib.plans.problems import find_problems
from chalicelib.plans.rules import (
    CopyTo,
    Kind,
    Rule,
    ServiceRule,
    SnapshotRule,
    build_rule,
    is_path,
    patterns_document,
    present,
    read_patterns,
    read_rule,
    rendered,
    rule_document,
)
from chalicelib.plans.selection import Selection

__all__ = [
    "CopyTo",
    "Kind",
    "Plan",
    "Rule",
    "ServiceRule",
    "SnapshotRule",
    "TagName",
    "is_path",
    "parse_plan",
    "read_rule",
    "rule_document",
    "service_of",
]


@dataclass(frozen=True, slots=True)
class TagName:
    """Services are named by the value of this tag."""

    tag: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A selection of instances and the rules for them; rule names are unique in it."""

    name: str
    service: str | TagName
    selection: Selection
    rules: tuple[Rule, ...]
    objectives: Objectives = field(default_factory=Objectives)

    def rule(self, name: str) -> Rule | None:
        """Return a rule by its name."""
        return next((rule for rule in self.rules if rule.name == name), None)

    def to_document(self) -> dict[str, Any]:
        """Write the plan as JSON-able values, with every default filled in."""
        return present(
            name=self.name,
            service={"tag": self.service.tag} if isinstance(self.service, TagName) else self.service,
            selection=present(
                tags=patterns_document(self.selection.tags),
                exclude_tags=patterns_document(self.selection.exclude_tags),
            ),
            objectives=present(rpo=rendered(self.objectives.rpo), rto=rendered(self.objectives.rto)),
            rules=[rule_document(rule) for rule in self.rules],
        )


def parse_plan(document: Mapping[str, Any], *, vaults: Mapping[str, str] | None) -> Plan:
    """Read a plan; `vaults` are the configured ones, by name their kind (`s3`, `libcloud`), None to take
    the vaults of a stored plan as they are.

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
        selection=Selection(read_patterns(shape.selection.tags), read_patterns(shape.selection.exclude_tags)),
        rules=tuple(build_rule(rule) for rule in shape.rules),
        objectives=Objectives(shape.objectives.rpo, shape.objectives.rto),
    )


def service_of(plan: Plan, tags: Mapping[str, str]) -> str | None:
    """Return the service an instance with these tags belongs to; None when it lacks the tag, or the tag is
    empty."""
    match plan.service:
        case TagName(tag):
            return tags.get(tag) or None
        case name:
            return name
