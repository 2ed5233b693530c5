"""Policies: reads policy documents, and says which statements speak of a need. Pure.

How statements are combined: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html.
Reading a document compiles it. Which statements speak of an action and a resource is remembered, so that only
conditions are left to be judged at a call.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Any

from local_cloud.services.iam.conditions import Context, PolicyError, Test, pattern, read_conditions, texts

READ = frozenset(
    {"Sid", "Effect", "Principal", "Action", "NotAction", "Resource", "NotResource", "Condition"}
)
REMEMBERED = 8192
"""How many pairs of action and resource a set of statements remembers."""
NOTHING: Context = {}


@dataclass(frozen=True, slots=True)
class Need:
    """What IAM asks for at a call: an action on a resource, with the context of that resource."""

    action: str
    resource: str
    context: Context = field(default_factory=dict)
    spoils: str = ""
    """What ends in error later if this is denied, as EBS finds out about a key when it has begun; else the
    call is refused."""
    is_there: bool = True
    """Whether the resource exists. EC2 looks a resource up to judge it by its tags; that one is not there is
    told to whoever may do this to any of its kind."""


class Effect(StrEnum):
    """What a policy says of a need."""

    ALLOW = "Allow"
    DENY = "Deny"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a policy."""

    sid: str
    effect: Effect
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    tests: tuple[Test, ...]
    principals: tuple[tuple[str, str], ...] = ()
    """Kind and name, of a resource's policy; a role's statements have none."""
    other_actions: bool = False
    """Whether it is about all actions but these: `NotAction`."""
    other_resources: bool = False

    def names_action(self, action: str) -> bool:
        """Return whether it is about an action."""
        named = any(pattern(each, re.IGNORECASE).fullmatch(action) for each in self.actions)
        return named != self.other_actions

    def names_resource(self, resource: str) -> bool:
        """Return whether it is about a resource."""
        named = any(pattern(each).fullmatch(resource) for each in self.resources)
        return named != self.other_resources

    def names_principal(self, kind: str, names: Iterable[str]) -> bool:
        """Return whether it is about a principal, who has all these names."""
        wanted = {name for of_kind, name in self.principals if of_kind in (kind, "*")}
        return "*" in wanted or not wanted.isdisjoint(names)

    def holds(self, context: Context) -> bool:
        """Return whether its conditions hold."""
        return all(test(context) for test in self.tests)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a policy says of a need, and the statement that says it."""

    effect: Effect
    statement: Statement | None = None


SILENCE = Verdict(Effect.SILENT)


class Policy:
    """Statements that are judged together: those of a role, or of a resource."""

    def __init__(self, statements: Iterable[Statement]) -> None:
        # What denies is looked at first.
        self.statements = tuple(sorted(statements, key=lambda each: each.effect is not Effect.DENY))
        self._of_action: dict[str, tuple[Statement, ...]] = {}
        self._about: dict[tuple[str, str], tuple[Statement, ...]] = {}

    def about(self, action: str, resource: str) -> tuple[Statement, ...]:
        """Return the statements about an action on a resource, those that deny first."""
        found = self._about.get((action, resource))
        if found is None:
            if len(self._about) >= REMEMBERED:
                self._about.clear()
            found = tuple(each for each in self.of_action(action) if each.names_resource(resource))
            self._about[action, resource] = found
        return found

    def of_action(self, action: str) -> tuple[Statement, ...]:
        """Return the statements about an action, on whichever resource."""
        if action not in self._of_action:
            self._of_action[action] = tuple(each for each in self.statements if each.names_action(action))
        return self._of_action[action]

    def judge(self, need: Need, context: Context = NOTHING) -> Verdict:
        """Return what the first statement says that speaks of a need; `context` is the call's own."""
        for statement in self.about(need.action, need.resource):
            if not statement.tests or _speaks(statement, need, context):
                return Verdict(statement.effect, statement)
        return SILENCE

    @cached_property
    def allows_everything(self) -> bool:
        """Return whether one statement allows all actions on all resources, and none denies anything."""
        everything = [
            each
            for each in self.statements
            if (each.actions, each.resources, each.tests) == (("*",), ("*",), ())
        ]
        return bool(everything) and all(each.effect is Effect.ALLOW for each in self.statements)

    def for_principal(self, kind: str, names: tuple[str, ...]) -> "Policy":
        """Return the part of a resource's policy that is about a principal."""
        return Policy(each for each in self.statements if each.names_principal(kind, names))


def _speaks(statement: Statement, need: Need, context: Context) -> bool:
    """Return whether the conditions of a statement hold."""
    if need.is_there:
        return statement.holds({**context, **need.context})
    return statement.effect is Effect.ALLOW


def read_policy(document: Mapping[str, Any] | str) -> Policy:
    """Return a policy document, compiled; the same text is compiled once.

    Raises:
        PolicyError: it has something that is not read here.
    """
    return _read(document if isinstance(document, str) else json.dumps(document))


@lru_cache(512)
def _read(text: str) -> Policy:
    found = json.loads(text)["Statement"]
    return Policy(_statement(each) for each in (found if isinstance(found, list) else [found]))


def _statement(document: Mapping[str, Any]) -> Statement:
    if unread := sorted(document.keys() - READ):
        raise PolicyError(f"the local cloud does not read {unread[0]} of a policy's statement")
    return Statement(
        sid=document.get("Sid", ""),
        effect=Effect(document["Effect"]),
        actions=texts(document.get("Action", document.get("NotAction"))),
        resources=texts(document.get("Resource", document.get("NotResource", "*"))),
        tests=read_conditions(document.get("Condition", {})),
        principals=_principals(document.get("Principal", {})),
        other_actions="NotAction" in document,
        other_resources="NotResource" in document,
    )


def _principals(document: Mapping[str, Any] | str) -> tuple[tuple[str, str], ...]:
    if isinstance(document, str):
        return ((document, "*"),)
    return tuple((kind, name) for kind, named in document.items() for name in texts(named))
