"""CloudFormation's intrinsic functions, as far as packaged templates use them.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference.html. One
that is not supported here is an error that names it.
"""

import re
from collections.abc import Mapping
from typing import Any, Protocol

VARIABLE = re.compile(r"\$\{(!?)([^}]+)\}")


class TemplateError(Exception):
    """The template has something that the local cloud does not support, or contradicts itself."""


class Scope(Protocol):
    """The values of names in a template."""

    def ref(self, name: str) -> Any:
        """Return what `Ref` of a parameter, a resource or a pseudo parameter is."""
        ...

    def attribute(self, resource: str, name: str) -> Any:
        """Return an attribute of a resource."""
        ...

    def condition(self, name: str) -> bool:
        """Return whether a condition of the template is true."""
        ...


NOTHING = object()
"""What `AWS::NoValue` resolves to: the member that has it is left out."""


def resolve(value: Any, scope: Scope) -> Any:
    """Return `value` with every intrinsic function in it carried out."""
    if isinstance(value, list):
        return [item for item in (resolve(each, scope) for each in value) if item is not NOTHING]
    if not isinstance(value, Mapping):
        return value
    if len(value) == 1:
        [(name, argument)] = value.items()
        if name in ("Ref", "Condition") or name.startswith("Fn::"):
            return call(name, argument, scope)
    resolved = {name: resolve(each, scope) for name, each in value.items()}
    return {name: each for name, each in resolved.items() if each is not NOTHING}


def call(name: str, argument: Any, scope: Scope) -> Any:
    """Carry out one intrinsic function.

    Raises:
        TemplateError: it is none that is read here.
    """
    match name:
        case "Ref":
            return scope.ref(argument)
        case "Condition":
            return scope.condition(argument)
        case "Fn::GetAtt":
            resource, attribute = argument.split(".", 1) if isinstance(argument, str) else argument
            return scope.attribute(resource, attribute)
        case "Fn::Sub":
            return substitute(argument, scope)
        case "Fn::Join":
            delimiter, items = argument
            return delimiter.join(str(item) for item in resolve(items, scope))
        case "Fn::Select":
            index, items = argument
            return resolve(items, scope)[int(index)]
        case "Fn::Split":
            delimiter, text = argument
            return resolve(text, scope).split(delimiter)
        case "Fn::If":
            condition, then, otherwise = argument
            return resolve(then if scope.condition(condition) else otherwise, scope)
        case "Fn::Equals":
            left, right = resolve(argument, scope)
            return left == right
        case "Fn::Not":
            return not resolve(argument, scope)[0]
        case "Fn::And":
            return all(resolve(argument, scope))
        case "Fn::Or":
            return any(resolve(argument, scope))
    raise TemplateError(f"the local cloud does not read the intrinsic function {name}")


def substitute(argument: Any, scope: Scope) -> str:
    """Carry out `Fn::Sub`, with or without variables of its own."""
    text, variables = (argument, {}) if isinstance(argument, str) else argument

    def replace(match: re.Match[str]) -> str:
        literal, name = match.groups()
        if literal:
            return f"${{{name}}}"
        if name in variables:
            return str(resolve(variables[name], scope))
        resource, dot, attribute = name.partition(".")
        return str(scope.attribute(resource, attribute) if dot else scope.ref(name))

    return VARIABLE.sub(replace, text)
