"""Decides which instances, and which of their volumes, a plan covers: by their tags alone.

A value is a pattern of EC2's filter language: `*` is any run of characters, also an empty one, `?` is any one
character, and a backslash makes the next character literal (EC2 API Reference, DescribeInstances,
"Filters"). Keys are literal.

Invariant: `ec2_filters` never leaves out an instance that `matches` accepts; it may let others through.
"""

import fnmatch
import operator
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Annotated

from pydantic import Field

from chalicelib.plans.declared import Declared
from chalicelib.plans.values import TagPatterns

# EC2 User Guide, "List and filter your resources": 50 filters, and 200 values in all of them, in one request;
# whoever lists adds the states.
_MOST_FILTERS = 49
_MOST_VALUES = 190


class Selection(Declared):
    """Instances that have every tag of `tags`, in one of its values, and no tag of `exclude_tags`."""

    tags: Annotated[
        TagPatterns,
        Field(
            min_length=1,
            description="an instance has **all** of these keys, each with **one** of its values; "
            "none at all would select everything, and is refused",
        ),
    ]
    exclude_tags: Annotated[
        TagPatterns,
        Field(
            exclude_if=operator.not_,
            description="an instance with **any** of these is left out, whatever `tags` says",
        ),
    ] = Field(default_factory=dict)


class VolumeChoice(Declared):
    """The volumes of an instance: with or without the boot volume, none with a tag of `exclude_tags`."""

    boot: Annotated[
        bool, Field(description="with the boot volume or without, as in EC2's CreateSnapshots")
    ] = True
    exclude_tags: Annotated[
        TagPatterns,
        Field(
            exclude_if=operator.not_,
            description="volumes with **any** of these are left out; where more than 40 data volumes of an "
            "instance are left out, each of the others is snapshotted by a call of its own",
        ),
    ] = Field(default_factory=dict)


def matches(selection: Selection, tags: Mapping[str, str]) -> bool:
    """Return whether the selection covers an instance with these tags."""
    return all(_has(tags, key, patterns) for key, patterns in selection.tags.items()) and not any(
        _has(tags, key, patterns) for key, patterns in selection.exclude_tags.items()
    )


def tags_to_be_selected(
    selection: Selection, given: Mapping[str, str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return tags, those given among them, with which an instance has every tag of the selection, and the
    keys that have only values with wildcards, so that a value has to be given.

    Whether the given values fit, and whether the instance is excluded, `matches` says.
    """
    tags, missing = dict(given), list[str]()
    for key, patterns in selection.tags.items():
        value = next((literal for each in patterns if (literal := _literal(each)) is not None), None)
        if key not in given and value is None:
            missing.append(key)
        elif value is not None:
            tags.setdefault(key, value)
    return tags, tuple(missing)


def chooses(volumes: VolumeChoice, *, boot: bool, tags: Mapping[str, str]) -> bool:
    """Return whether a volume with these tags, the boot volume or not, is part of the recovery point."""
    if boot and not volumes.boot:
        return False
    return not any(_has(tags, key, patterns) for key, patterns in volumes.exclude_tags.items())


def ec2_filters(
    selection: Selection, only: Mapping[str, Iterable[str]] | None = None
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return filters (name and values) that narrow DescribeInstances to a superset of the selection.

    `only` narrows it further, to instances that have exactly one of these values of each tag.

    Characters that a server may interpret become `?`, and an empty value only asks for the key, so the result
    does not depend on how the server reads a backslash, a bracket or an empty text.
    """
    filters: dict[str, tuple[str, ...]] = {}
    left = _MOST_VALUES - 1
    exactly = {key: tuple(map(_literally, values)) for key, values in (only or {}).items()}
    for key, patterns in {**selection.tags, **exactly}.items():
        values = tuple(dict.fromkeys(_widened(pattern) for pattern in patterns))
        if all(patterns) and len(values) <= left:
            filters[f"tag:{key}"] = values
            left -= len(values)
        else:
            filters.setdefault("tag-key", (key,))
    return tuple(filters.items())[:_MOST_FILTERS]


def _has(tags: Mapping[str, str], key: str, patterns: tuple[str, ...]) -> bool:
    return key in tags and any(fnmatch.fnmatchcase(tags[key], _fnmatch(pattern)) for pattern in patterns)


def _characters(pattern: str) -> Iterator[tuple[str, bool]]:
    """Yield each character and whether it is literal; a backslash at the very end stands for itself."""
    characters = iter(pattern)
    for character in characters:
        if character == "\\":
            yield next(characters, "\\"), True
        else:
            yield character, character not in "*?"


@lru_cache(maxsize=1024)
def _fnmatch(pattern: str) -> str:
    """Return the pattern as fnmatch reads it; literal characters that are special there are in brackets."""
    return "".join(
        f"[{character}]" if plain and character in "*?[" else character
        for character, plain in _characters(pattern)
    )


def _literal(pattern: str) -> str | None:
    """Return the only value that a pattern fits, None when it has wildcards."""
    found = list(_characters(pattern))
    if any(char in "*?" and not plain for char, plain in found):
        return None
    return "".join(char for char, _ in found)


def _literally(value: str) -> str:
    """Return the pattern that only this value fits."""
    return "".join(f"\\{character}" if character in "*?\\" else character for character in value)


def _widened(pattern: str) -> str:
    return "".join(
        "?" if plain and character in "*?\\[" else character for character, plain in _characters(pattern)
    )
