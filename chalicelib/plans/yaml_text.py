"""Reads a safe subset of YAML.

Anchors, aliases and tags are refused, so nothing refers to itself or multiplies. Scalars are those of YAML
1.2's core schema (https://yaml.org/spec/1.2.2/#103-core-schema) without octal and hexadecimal numbers: `off`,
`0x10`, `12:30:00` and `2026-01-01` stay texts as written, and keys are always texts.
"""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from chalicelib.plans.literals import (
    DEEPEST,
    TOO_DEEP,
    Refused,
    float_of,
    integer_of,
    once,
    refuse_number,
)

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)")
_NOT_A_NUMBER = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_TEXT_TAG = "tag:yaml.org,2002:str"
_CONSTANTS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


def load_yaml(text: str) -> Any:
    """Return the one document of a text.

    Raises:
        Refused: it is not valid YAML, or uses something that is not accepted here.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _Builder().document(yaml.parse(text, Loader=loader))
    except yaml.MarkedYAMLError as fault:
        where = f" in {_line(fault.problem_mark)}" if fault.problem_mark else ""
        raise Refused(f"YAML: {fault.problem or fault.context}{where}") from fault
    except (yaml.YAMLError, UnicodeEncodeError) as fault:
        raise Refused("YAML: texts without control characters and unpaired surrogates") from fault


def _line(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"


class _Builder:
    """Builds a document from YAML's events, one by one, and refuses them before they nest too deep.

    Each open mapping or list is what was read of it so far; a mapping is a list of keys and values in turn.
    """

    def __init__(self) -> None:
        self._open: list[tuple[yaml.Event, list[Any]]] = []
        self._documents: list[Any] = []

    def document(self, events: Iterator[yaml.Event]) -> Any:
        """Return the one document of a stream; None for an empty one."""
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent) and self._documents:
                raise Refused(f"one document: a second one begins in {_line(event.start_mark)}")
            if isinstance(event, yaml.NodeEvent):
                self._node(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._end()
        return self._documents[0] if self._documents else None

    def _node(self, event: yaml.NodeEvent) -> None:
        if event.anchor is not None:  # also that of an alias
            raise Refused(f"no anchors and aliases (& and *): write it out in {_line(event.start_mark)}")
        tag = getattr(event, "tag", None)
        if tag not in (None, "!", _TEXT_TAG):
            raise Refused(f"no tags such as {tag}: leave it out in {_line(event.start_mark)}")
        if isinstance(event, yaml.ScalarEvent):
            self._put(event.value if self._is_text(event) else _scalar(event.value))
            return
        if self._is_key():
            raise Refused(f"keys are texts, and neither lists nor mappings: {_line(event.start_mark)}")
        self._open.append((event, []))
        if len(self._open) > DEEPEST:
            raise Refused(TOO_DEEP)

    def _is_text(self, event: yaml.ScalarEvent) -> bool:
        return bool(event.style) or event.tag is not None or self._is_key()

    def _is_key(self) -> bool:
        """Return whether the next event is a key of a mapping."""
        return bool(self._open) and self._in_mapping() and len(self._open[-1][1]) % 2 == 0

    def _in_mapping(self) -> bool:
        return isinstance(self._open[-1][0], yaml.MappingStartEvent)

    def _end(self) -> None:
        event, parts = self._open.pop()
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        self._put(once(list(zip(parts[::2], parts[1::2], strict=True))) if is_mapping else parts)

    def _put(self, value: Any) -> None:
        (self._open[-1][1] if self._open else self._documents).append(value)


def _scalar(text: str) -> Any:
    """Return the value of a plain scalar."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return integer_of(text)
    if _FLOAT.fullmatch(text):
        return float_of(text)
    if _NOT_A_NUMBER.fullmatch(text):
        refuse_number(text)
    return text
