"""What a role allows, judged as IAM judges identity policies; the roles are those of the template.

Only what these policies hold is known here, anything else is an error: statements that allow, patterns in
resources, the operators `Null`, `StringEquals` and, for a key with one value, `ForAllValues:StringEquals`.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from local_cloud.cloudformation.intrinsics import Scope, resolve


@dataclass(frozen=True, slots=True)
class Need:
    """What IAM asks for a call: an action on a resource, with the condition keys of the request."""

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a policy."""

    sid: str
    actions: frozenset[str]
    resources: tuple[str, ...]
    condition: Mapping[str, Mapping[str, str | list[str]]]

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> "Statement":
        """Read a statement whose intrinsic functions are resolved."""
        assert document["Effect"] == "Allow"
        assert document.keys() <= {"Sid", "Effect", "Action", "Resource", "Condition"}
        return cls(
            document["Sid"],
            frozenset(document["Action"]),
            tuple(_listed(document["Resource"])),
            document.get("Condition", {}),
        )

    def allows(self, need: Need) -> bool:
        """Return whether the statement allows it."""
        return (
            need.action in self.actions
            and any(_matches(pattern, need.resource) for pattern in self.resources)
            and all(
                _holds(operator, key, _listed(wanted), need.context)
                for operator, keys in self.condition.items()
                for key, wanted in keys.items()
            )
        )


@dataclass(frozen=True, slots=True)
class Role:
    """The statements of one function's role."""

    statements: tuple[Statement, ...]

    def allowing(self, need: Need) -> list[tuple[str, str]]:
        """Return the statements that allow it, each with the action."""
        return [(each.sid, need.action) for each in self.statements if each.allows(need)]

    def grants(self) -> Iterator[tuple[str, str]]:
        """Name everything the role allows: statement and action."""
        for statement in self.statements:
            for action in statement.actions:
                yield statement.sid, action


def roles_of(template: Mapping[str, Any], scope: Scope) -> dict[str, Role]:
    """Return the role of each function, by the function's logical name."""
    resources = template["Resources"]
    roles = {}
    for name, resource in resources.items():
        if resource["Type"] == "AWS::Serverless::Function":
            role = resources[resource["Properties"]["Role"]["Fn::GetAtt"][0]]["Properties"]
            documents = resolve([policy["PolicyDocument"] for policy in role["Policies"]], scope)
            statements = (each for document in documents for each in document["Statement"])
            roles[name] = Role(tuple(map(Statement.read, statements)))
    return roles


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _matches(pattern: str, resource: str) -> bool:
    """Compare as IAM does: `*` is any text, `?` any character, letters count as they are."""
    wild = {"*": ".*", "?": "."}
    return re.fullmatch("".join(wild.get(each, re.escape(each)) for each in pattern), resource) is not None


def _holds(operator: str, key: str, wanted: list[str], context: Mapping[str, str]) -> bool:
    match operator:
        case "Null":
            return [str(key not in context).lower()] == wanted
        case "StringEquals":
            return key in context and context[key] in wanted
        case "ForAllValues:StringEquals":
            return key not in context or context[key] in wanted
    raise AssertionError(f"this test does not know the condition operator {operator}")
