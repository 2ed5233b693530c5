"""Conditions of policy statements: reads a `Condition` block into tests of a request's context. Pure.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html; several
values of a key: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html.
The names of keys are case-insensitive: here they are in lower case, in conditions and in contexts. An
operator that is not read here is an error, as a condition that is not judged would be tested nowhere.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any

Values = str | tuple[str, ...]
"""What a context has for a key: one value, or several where the key has several."""
Context = Mapping[str, Values]
Test = Callable[[Context], bool]
LITERAL = re.compile(r"\$\{[*?$]\}")
"""A wildcard that stands for itself."""


class PolicyError(ValueError):
    """A policy has something that is not read here."""


def read_conditions(block: Mapping[str, Mapping[str, Any]]) -> tuple[Test, ...]:
    """Return the tests of a `Condition` block, all of which must hold.

    Raises:
        PolicyError: an operator or a value is not read here.
    """
    return tuple(
        _test(operator, key.lower(), texts(wanted))
        for operator, keys in block.items()
        for key, wanted in keys.items()
    )


def texts(value: Any) -> tuple[str, ...]:
    """Return a value of a policy, alone or in a list, as texts.

    Raises:
        PolicyError: it has a policy variable.
    """
    found = value if isinstance(value, list) else [value]
    written = tuple(str(each).lower() if isinstance(each, bool) else str(each) for each in found)
    if variables := [each for each in written if "${" in LITERAL.sub("", each)]:
        raise PolicyError(f"the local cloud does not read the policy variable in {variables[0]}")
    return written


@lru_cache(4096)
def pattern(text: str, flags: int = 0) -> re.Pattern[str]:
    """Return the expression of a pattern: `*` is any text, `?` any character, all others are literal.

    `${*}` is the character itself: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html.
    """
    wild = {"*": ".*", "?": "."}
    parts = re.findall(r"\$\{[*?$]\}|.", text, re.DOTALL)
    written = (re.escape(each[2]) if len(each) > 1 else wild.get(each, re.escape(each)) for each in parts)
    return re.compile("".join(written), flags | re.DOTALL)


def _test(operator: str, key: str, wanted: tuple[str, ...]) -> Test:
    quantifier, _, name = operator.rpartition(":")
    if name == "Null":
        (missing,) = (each == "true" for each in wanted)
        return lambda context: (key not in context) == missing
    name, optional = (name.removesuffix("IfExists"), True) if name.endswith("IfExists") else (name, False)
    negated = "Not" in name
    matches = _matcher(name.replace("Not", "", 1), wanted)
    without = optional or (quantifier == "ForAllValues" if quantifier else negated)
    if quantifier not in ("", "ForAllValues", "ForAnyValue"):
        raise PolicyError(f"the local cloud does not read the condition operator {operator}")
    each_must = quantifier == "ForAllValues" or (negated and not quantifier)
    over: Callable[[Iterable[bool]], bool] = all if each_must else any

    def holds(context: Context) -> bool:
        given = context.get(key)
        if not given:
            return without
        values = (given,) if isinstance(given, str) else given
        return over(matches(value) != negated for value in values)

    return holds


def _matcher(name: str, wanted: tuple[str, ...]) -> Callable[[str], bool]:
    """Return whether a value matches one of those wanted, by an operator without its `Not`."""
    lowered = frozenset(each.lower() for each in wanted)
    match name:
        case "StringEquals":
            return frozenset(wanted).__contains__
        case "StringEqualsIgnoreCase" | "Bool":
            return lambda value: value.lower() in lowered
        case "StringLike":
            patterns = [pattern(each) for each in wanted]
            return lambda value: any(each.fullmatch(value) for each in patterns)
        case "ArnEquals" | "ArnLike":
            return lambda value: any(_arn_matches(each, value) for each in wanted)
        case "IpAddress":
            networks = [ip_network(each, strict=False) for each in wanted]
            return lambda value: any(ip_address(value) in each for each in networks)
        case "NumericEquals":
            return lambda value: any(float(value) == float(each) for each in wanted)
        case "NumericLessThan":
            return lambda value: any(float(value) < float(each) for each in wanted)
        case "NumericLessThanEquals":
            return lambda value: any(float(value) <= float(each) for each in wanted)
        case "NumericGreaterThan":
            return lambda value: any(float(value) > float(each) for each in wanted)
        case "NumericGreaterThanEquals":
            return lambda value: any(float(value) >= float(each) for each in wanted)
    raise PolicyError(f"the local cloud does not read the condition operator {name}")


def _arn_matches(wanted: str, value: str) -> bool:
    """Compare ARNs part by part, so that a wildcard does not reach into the next part."""
    parts, given = wanted.split(":", 5), value.split(":", 5)
    return len(parts) == len(given) and all(
        pattern(one).fullmatch(other) for one, other in zip(parts, given, strict=True)
    )
