"""Reads JSON or YAML text as mappings, lists, texts, numbers, true, false and null.

Before anything is built, limits are enforced on the size of the text, the depth of nesting and the length of
numbers. `yaml_text` has what only YAML needs.

Invariant: the result says what was written, has each key once, and is no deeper than `DEEPEST`.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from chalicelib.errors import InvalidInput, Problem
from chalicelib.plans.declared import Fault
from chalicelib.plans.literals import (
    DEEPEST,
    TOO_DEEP,
    Refused,
    Repeating,
    float_of,
    integer_of,
    once,
    refuse_number,
)
from chalicelib.plans.problems import MOST_PROBLEMS, not_listed
from chalicelib.plans.words import SURROGATES, Place, pointer, shown

LARGEST_BYTES = 256 * 1024
# Brackets, and texts, in which brackets do not count; an unterminated text is skipped as a whole.
_NESTING = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")


class _NotJson(Refused):
    """The text is not JSON; it may still be YAML, which includes JSON."""


def load_document(text: str, *, is_yaml: bool, what: str = "the body") -> Any:
    """Return the document that a text states; with `is_yaml` it may be YAML or JSON.

    Raises:
        InvalidInput: it cannot be read, is too large or too deep, or has a key twice.
    """
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > LARGEST_BYTES:
        raise _refusal(what, f"{size:,} bytes", f"at most {LARGEST_BYTES:,} bytes")
    try:
        document = _load(text, is_yaml=is_yaml)
    except Refused as fault:
        raise _refusal(what, text, str(fault)) from fault
    _check(document, what)
    return document


def _load(text: str, *, is_yaml: bool) -> Any:
    try:
        return _load_json(text)
    except _NotJson:
        if not is_yaml:
            raise
    from chalicelib.plans.yaml_text import load_yaml  # late: start-up is faster without

    return load_yaml(text)


def _refusal(what: str, value: str, expected: str) -> InvalidInput:
    return InvalidInput(what, [Problem("", shown(value), expected)])


def _load_json(text: str) -> Any:
    _check_depth(text)
    try:
        return json.loads(
            text,
            object_pairs_hook=once,
            parse_constant=refuse_number,
            parse_int=integer_of,
            parse_float=float_of,
        )
    except json.JSONDecodeError as fault:
        why = f"JSON: {fault.msg} in line {fault.lineno}, column {fault.colno}"
        raise _NotJson(why) from fault


def _check_depth(text: str) -> None:
    depth = 0
    for found in _NESTING.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
        if depth > DEEPEST:
            raise _NotJson(TOO_DEEP)


def _check(document: Any, what: str) -> None:
    """Refuse a document that has a key twice, or a text that cannot be stored.

    We do not guess which of the two was meant.
    """
    faults = list(_faults(document, ()))
    problems = [Problem(pointer(place), None, expected) for place, expected in faults[:MOST_PROBLEMS]]
    if problems:
        raise InvalidInput(what, problems + not_listed(len(faults) - MOST_PROBLEMS))


def _faults(value: Any, place: Place) -> Iterator[Fault]:
    if isinstance(value, Repeating):
        yield from (
            ((*place, key), "this key stands here more than once: keep one") for key in value.repeated
        )
    if isinstance(value, dict):
        for key, inner in value.items():
            if _SURROGATE.search(key):
                yield place, f"the key {key!a} has half of a surrogate pair: it cannot be stored"
            yield from _faults(inner, (*place, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _faults(inner, (*place, number))
    elif isinstance(value, str) and _SURROGATE.search(value):
        yield place, SURROGATES
