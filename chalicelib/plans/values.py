"""The types of a plan's values: names, texts, scripts, paths, amounts.

Each type accepts what people send, normalises it where the meaning is certain (a CR at the end of a line, the
line break that YAML's `|` leaves behind a path), and refuses the rest with a ValueError whose text says what
would be right. Invariant: a value that was read is read again unchanged.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
)

from chalicelib.plans.declared import worded
from chalicelib.plans.schedule import Schedule, zone_named
from chalicelib.plans.words import SURROGATES, near

# The vault that every recovery point is made in.
PRIMARY = "primary"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NAME_WORDS = "a name: 1 to 64 letters, digits, _ . or -, beginning with a letter or a digit"
_SCRIPT_WORDS = "a path on the instance that begins with / or ./, or the text of a script"
# A script travels inside one SSM command, with the runner; a longer one belongs in a file on the instance.
MOST_SCRIPT_BYTES = 16 * 1024
MOST_POINTS = 100_000
SHRINKS_TO_NOTHING = 100
_PERCENT = re.compile(r"([1-9][0-9]?)%")
_SHRINK_WORDS = 'a percentage from 1% to 99%, or "off"'


@dataclass(frozen=True, slots=True)
class AsSent:
    """What a plan is checked against when it is sent: the configured vaults, by name how points of each
    kind that the vault can hold get into it, and the time.

    A stored plan is read without these checks: since it was sent, vaults may be gone and years may be past.
    """

    vaults: Mapping[str, Mapping[Any, str]]
    now: datetime


def sent(info: ValidationInfo) -> AsSent | None:
    """Return what a value is checked against, None where it was stored."""
    return info.context if isinstance(info.context, AsSent) else None


def is_path(script: str) -> bool:
    """Return whether a script is a path on the instance: one word that begins with `/` or `./`."""
    return script.startswith(("/", "./")) and not any(map(str.isspace, script))


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise ValueError(_NAME_WORDS)
    return text


def _line(text: str) -> str:
    if not text.strip() or _CONTROL.search(text):
        raise ValueError("a text on one line, without control characters")
    return text


def _path(text: str, info: ValidationInfo) -> str:
    """Return a path without the blanks around it, as YAML's `|` leaves them."""
    text = _line(text.strip())
    if sent(info) and "{{" in text:
        raise ValueError("a directory without {{: SSM would substitute a parameter")
    return text


def _tag_key(text: str) -> str:
    if "*" in text or "?" in text:
        raise ValueError("wildcards belong in a tag's value, not in its key")
    return _line(text)


def _quoted(value: object) -> object:
    if isinstance(value, bool | int | float):
        raise ValueError(  # noqa: TRY004 - pydantic reads this one
            'tag values are texts: quote it as it is written on the instance, for example "off" or "1"'
        )
    return value


def _script(text: str, info: ValidationInfo) -> str:
    # An editor's CRLF would become part of the last word of each line, for example of a file's name.
    text = text.replace("\r\n", "\n")
    words = text.strip()
    if is_path(words):
        return words
    if not words or "\0" in text:
        raise ValueError(_SCRIPT_WORDS)
    if len(_encoded(text)) > MOST_SCRIPT_BYTES:
        raise ValueError(
            f"at most {MOST_SCRIPT_BYTES} bytes; put a longer script on the instance and give its path"
        )
    if sent(info) and words.startswith(("/", "./")) and "\n" not in words:
        raise ValueError(
            "a path is one word; to pass arguments, write an inline script of two lines, #!/bin/sh and "
            f'exec {words} "$@"'
        )
    return text


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ValueError(SURROGATES) from None


def _shrink(value: object) -> int:
    """Return by how many percent a backup may shrink; "off" means any amount."""
    if value is False or value == "off":  # YAML 1.1 reads off as false
        return SHRINKS_TO_NOTHING
    if isinstance(value, str) and (found := _PERCENT.fullmatch(value)):
        return int(found[1])
    raise ValueError(_SHRINK_WORDS)


def _written_shrink(percent: int) -> str:
    return "off" if percent == SHRINKS_TO_NOTHING else f"{percent}%"


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _one_or_list(patterns: tuple[str, ...]) -> str | list[str]:
    return patterns[0] if len(patterns) == 1 else list(patterns)


def _schedule(text: str, info: ValidationInfo) -> str:
    schedule, held = Schedule.parse(text), sent(info)
    if held and schedule.next_after(held.now) is None:
        raise ValueError(f"a schedule that still runs: all its years are past on {held.now:%Y-%m-%d}")
    return schedule.expression


def _zone(text: str) -> str:
    return zone_named(text).key


def _copied_to(name: str, info: ValidationInfo) -> str:
    """Return the vault's name, or raise when points cannot be copied there."""
    held = sent(info)
    if held is None:
        return name
    targets = sorted(set(held.vaults) - {PRIMARY})
    others = f"the vaults configured for copies are {', '.join(targets)}"
    listed = others if targets else "no other vault is configured"
    if name == PRIMARY:
        raise ValueError(f"every recovery point is made in primary, so it is not copied there; {listed}")
    if name not in targets:
        raise ValueError(f"not a configured vault{near(name, targets)}; {listed}")
    return name


Name = Annotated[str, AfterValidator(_name), worded(_NAME_WORDS, title="name")]
_NAME = {"type": "string", "errorMessage": _NAME_WORDS}
Names = Annotated[
    tuple[Name, ...],
    Field(min_length=1, max_length=10, title="name, or list of names"),
    BeforeValidator(_as_tuple),
    PlainSerializer(_one_or_list),
    WithJsonSchema(
        {
            "anyOf": [_NAME, {"type": "array", "items": _NAME, "minItems": 1, "maxItems": 10}],
            "title": "name, or list of names",
            "errorMessage": "a name, or a list of 1 to 10 names",
        }
    ),
]
ServiceName = Annotated[
    str,
    Field(max_length=256),
    AfterValidator(_line),
    worded("a text of 1 to 256 characters on one line", title="text"),
]
Directory = Annotated[
    str,
    Field(max_length=1024),
    AfterValidator(_path),
    worded("a directory on the instance, on one line", title="path"),
]
TagKey = Annotated[
    str,
    Field(max_length=128),
    AfterValidator(_tag_key),
    worded("the key of a tag: a text of 1 to 128 characters", title="tag key"),
]
TagValue = Annotated[
    str,
    Field(max_length=256),
    BeforeValidator(_quoted),
    worded("a text of at most 256 characters", title="tag value"),
]
_TEXT = {"type": "string", "maxLength": 256, "errorMessage": "a text of at most 256 characters"}
Patterns = Annotated[
    tuple[TagValue, ...],
    Field(min_length=1),
    BeforeValidator(_as_tuple),
    PlainSerializer(_one_or_list),
    WithJsonSchema(
        {
            "anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}],
            "errorMessage": "a text of at most 256 characters, or a list of at least one text",
        }
    ),
]
TagPatterns = Annotated[
    dict[TagKey, Patterns],
    worded("a mapping from tag keys to a text or a list of texts", title="tags"),
    Field(examples=[{"app": "orders", "env": ["prod", "stage*"]}]),
]
Script = Annotated[str, AfterValidator(_script), worded(_SCRIPT_WORDS, title="script")]
Expression = Annotated[
    str,
    AfterValidator(_schedule),
    worded('"cron(...)" or "rate(...)"', title="`cron(...)` or `rate(...)`"),
    Field(examples=["cron(15 2 * * ? *)"]),
]
Zone = Annotated[
    str,
    AfterValidator(_zone),
    worded("a time zone of the IANA database", title="IANA time zone"),
    Field(examples=["Europe/Berlin"]),
]
CopyVault = Annotated[Name, AfterValidator(_copied_to), worded("the name of a vault", title="vault")]
Amount = Annotated[int, Field(ge=1, le=MOST_POINTS, title="amount")]
Shrink = Annotated[
    int,
    PlainValidator(_shrink),
    PlainSerializer(_written_shrink),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "pattern": "^([1-9][0-9]?%|off)$"}, {"const": False}],
            "title": "percentage, or `off`",
            "errorMessage": _SHRINK_WORDS,
        }
    ),
]
