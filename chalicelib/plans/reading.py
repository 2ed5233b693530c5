"""Reads a text as a document of mappings, lists, texts, numbers, true, false and null: JSON, or YAML.

What a text could do to its reader is bounded before anything is built: its size, how deep it nests, and in
YAML no anchors, aliases and tags at all, so that nothing refers to itself or multiplies. Scalars are those of
YAML 1.2's core schema (https://yaml.org/spec/1.2.2/#103-core-schema) without octal and hexadecimal numbers:
`off`, `0x10`, `12:30:00` and `2026-01-01` stay the texts they were written as; keys always do.

Invariant: what is returned says what was written, each key once, and is no deeper than `DEEPEST`.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

import yaml

from chalicelib.errors import InvalidInput, Problem
from chalicelib.plans.declared import MOST_PROBLEMS, SURROGATES, Fault, Place, pointer, shown

LARGEST_BYTES = 256 * 1024
DEEPEST = 32
# What may lie in a text that nests, and what may not: the rest of a JSON text opens and closes nothing.
_NESTING = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)")
_NOT_A_NUMBER = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_CONSTANTS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_LONGEST_NUMBER = 40
_SURROGATE = re.compile("[\ud800-\udfff]")
_TEXT_TAG = "tag:yaml.org,2002:str"


class _Refused(ValueError):
    """What is wrong with a text, in words."""


class _NotJson(_Refused):
    """A text is not JSON; it may be YAML still, of which JSON is a part."""


def load_document(text: str, *, is_yaml: bool, what: str = "the body") -> Any:
    """Read a text; one that `is_yaml` may be JSON as well.

    Raises:
        InvalidInput: it is no such text, larger or deeper than a document may be, or says a key twice.
    """
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > LARGEST_BYTES:
        raise _refusal(what, f"{size:,} bytes", f"at most {LARGEST_BYTES:,} bytes")
    try:
        document = _load(text, is_yaml=is_yaml)
    except _Refused as fault:
        raise _refusal(what, text, str(fault)) from fault
    _check(document, what)
    return document


def _load(text: str, *, is_yaml: bool) -> Any:
    try:
        return _load_json(text)
    except _NotJson:
        if not is_yaml:
            raise
        return _load_yaml(text)


def _refusal(what: str, value: str, expected: str) -> InvalidInput:
    return InvalidInput(what, [Problem("", shown(value), expected)])


class _Repeating(dict[str, Any]):
    """A mapping that was written with some keys more than once."""

    repeated: tuple[str, ...] = ()


def _load_json(text: str) -> Any:
    _check_depth(text)
    try:
        return json.loads(
            text,
            object_pairs_hook=_once,
            parse_constant=_refuse_number,
            parse_int=_integer,
            parse_float=_float,
        )
    except json.JSONDecodeError as fault:
        why = f"JSON: {fault.msg} in line {fault.lineno}, column {fault.colno}"
        raise _NotJson(why) from fault


def _check_depth(text: str) -> None:
    depth = 0
    for found in _NESTING.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
        if depth > DEEPEST:
            raise _too_deep()


def _too_deep() -> _Refused:
    return _Refused(f"mappings and lists nest at most {DEEPEST} deep")


def _refuse_number(text: str) -> NoReturn:
    raise _Refused(f"{text[:_LONGEST_NUMBER]} is no number that can be kept: write one, or a text in quotes")


def _integer(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise _Refused(f"a number has at most {_LONGEST_NUMBER} digits: {text[:_LONGEST_NUMBER]}...")
    return int(text)


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _Refused(f"{text[:_LONGEST_NUMBER]} is larger than any number here")
    return number


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) == len(pairs):
        return mapping
    repeating, seen, twice = _Repeating(mapping), set[str](), dict[str, None]()
    for key, _ in pairs:
        if key in seen:
            twice[key] = None
        seen.add(key)
    repeating.repeated = tuple(twice)
    return repeating


def _check(document: Any, what: str) -> None:
    """Refuse a document that says a key twice (which was meant is not for us to choose), or has a text that
    cannot be stored."""
    faults = list(_faults(document, ()))
    problems = [Problem(pointer(place), None, expected) for place, expected in faults[:MOST_PROBLEMS]]
    if len(faults) > MOST_PROBLEMS:
        problems.append(Problem("", None, f"{len(faults) - MOST_PROBLEMS:,} more problems are not listed"))
    if problems:
        raise InvalidInput(what, problems)


def _faults(value: Any, place: Place) -> Iterator[Fault]:
    if isinstance(value, _Repeating):
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


def _load_yaml(text: str) -> Any:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _Builder().document(yaml.parse(text, Loader=loader))
    except yaml.MarkedYAMLError as fault:
        where = f" in {_line(fault.problem_mark)}" if fault.problem_mark else ""
        raise _Refused(f"YAML: {fault.problem or fault.context}{where}") from fault
    except (yaml.YAMLError, UnicodeEncodeError) as fault:
        raise _Refused("YAML: texts without control characters and halves of surrogate pairs") from fault


def _line(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"


class _Builder:
    """Builds one document of YAML's events, which come one by one and are refused before they nest too deep.

    Each open mapping or list is what it has so far: of a mapping a list of its keys and values in turn.
    """

    def __init__(self) -> None:
        self._open: list[tuple[yaml.Event, list[Any]]] = []
        self._documents: list[Any] = []

    def document(self, events: Iterator[yaml.Event]) -> Any:
        """Return the one document of a stream; None for an empty one."""
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent) and self._documents:
                raise _Refused(f"one document: a second one begins in {_line(event.start_mark)}")
            if isinstance(event, yaml.NodeEvent):
                self._node(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._end()
        return self._documents[0] if self._documents else None

    def _node(self, event: yaml.NodeEvent) -> None:
        if event.anchor is not None:  # of an alias, too
            raise _Refused(f"no anchors and aliases (& and *): write it out in {_line(event.start_mark)}")
        tag = getattr(event, "tag", None)
        if tag not in (None, "!", _TEXT_TAG):
            raise _Refused(f"no tags such as {tag}: leave it out in {_line(event.start_mark)}")
        if isinstance(event, yaml.ScalarEvent):
            self._put(event.value if self._is_text(event) else _scalar(event.value))
            return
        if self._is_key():
            raise _Refused(f"keys are texts, and neither lists nor mappings: {_line(event.start_mark)}")
        self._open.append((event, []))
        if len(self._open) > DEEPEST:
            raise _too_deep()

    def _is_text(self, event: yaml.ScalarEvent) -> bool:
        return bool(event.style) or event.tag is not None or self._is_key()

    def _is_key(self) -> bool:
        """Return whether what comes next is a mapping's key."""
        return bool(self._open) and self._in_mapping() and len(self._open[-1][1]) % 2 == 0

    def _in_mapping(self) -> bool:
        return isinstance(self._open[-1][0], yaml.MappingStartEvent)

    def _end(self) -> None:
        event, parts = self._open.pop()
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        self._put(_once(list(zip(parts[::2], parts[1::2], strict=True))) if is_mapping else parts)

    def _put(self, value: Any) -> None:
        (self._open[-1][1] if self._open else self._documents).append(value)


def _scalar(text: str) -> Any:
    """Return what a plain scalar says."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return _integer(text)
    if _FLOAT.fullmatch(text):
        return _float(text)
    if _NOT_A_NUMBER.fullmatch(text):
        _refuse_number(text)
    return text
