"""The shape of a plan's document, as pydantic checks it: keys, types, bounds. `problems` says in words what
is wrong.

Each type parses what stands in the document (`"1h"` becomes a timedelta) and refuses it with a ValueError
whose text says what would be right. What ties two keys together is not here but in `problems`.
"""

import re
from datetime import timedelta
from functools import partial
from typing import Annotated, Any, Literal, NoReturn

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from chalicelib.plans.durations import DURATION, parse_duration
from chalicelib.plans.schedule import Schedule, zone_named

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_PERCENT = re.compile(r"([1-9][0-9]?)%")
SHRINK = 'a percentage from 1% to 99%, or "off"'
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# Scripts travel inside one SSM command, with the runner; a longer one belongs in a file on the instance.
MOST_SCRIPT_BYTES = 16 * 1024
MOST_POINTS = 100_000


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise ValueError("a name has 1 to 64 letters, digits, _ . or -, and begins with a letter or a digit")
    return text


def _line(text: str, most: int) -> str:
    if not text.strip() or len(text) > most or _CONTROL.search(text):
        raise ValueError(f"a text of 1 to {most} characters on one line")
    return text


def _tag_key(text: str) -> str:
    if "*" in text or "?" in text:
        raise ValueError("wildcards stand in a tag's value, not in its key")
    return _line(text, 128)


def _refuse(expected: str) -> NoReturn:
    raise ValueError(expected)


def _quoted(value: object) -> object:
    if isinstance(value, bool | int | float):
        _refuse('tag values are texts: quote it as it stands on the instance, for example "off" or "1"')
    return value


def _tag_value(text: str) -> str:
    if len(text) > 256:
        raise ValueError("a tag's value has at most 256 characters")
    return text


def _as_list(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _script(text: str) -> str:
    # An editor's CRLF would become part of the last word of each line, a file's name for example.
    text = text.replace("\r\n", "\n")
    if not text.strip() or "\0" in text:
        raise ValueError("a path on the instance that begins with / or ./, or the text of a script")
    if len(text.encode()) > MOST_SCRIPT_BYTES:
        raise ValueError(
            f"at most {MOST_SCRIPT_BYTES} bytes; put a longer script on the instance and give its path"
        )
    return text


def _schedule(text: str) -> str:
    return Schedule.parse(text).expression


def _zone(text: str) -> str:
    return zone_named(text).key


def _duration(least: timedelta, most: timedelta) -> BeforeValidator:
    def parse(value: object) -> timedelta:
        if not isinstance(value, str):
            _refuse(DURATION)
        return parse_duration(value, least=least, most=most)

    return BeforeValidator(parse)


def _shrink(value: object) -> int | None:
    if value in ("off", "0%") or (isinstance(value, bool | int) and not value):  # YAML reads off as false
        return None
    if isinstance(value, str) and (found := _PERCENT.fullmatch(value)):
        return int(found[1])
    _refuse(SHRINK)


Name = Annotated[str, AfterValidator(_name)]
Line = Annotated[str, AfterValidator(partial(_line, most=1024))]
ServiceName = Annotated[str, AfterValidator(partial(_line, most=256))]
TagKey = Annotated[str, AfterValidator(_tag_key)]
TagValue = Annotated[str, BeforeValidator(_quoted), AfterValidator(_tag_value)]
TagPatterns = dict[TagKey, Annotated[list[TagValue], BeforeValidator(_as_list), Field(min_length=1)]]
Script = Annotated[str, AfterValidator(_script)]
Expression = Annotated[str, AfterValidator(_schedule)]
Zone = Annotated[str, AfterValidator(_zone)]
Amount = Annotated[int, Field(ge=1, le=MOST_POINTS)]
Objective = Annotated[timedelta, _duration(timedelta(minutes=1), timedelta(days=3_650))]
Rpo = Annotated[timedelta, _duration(timedelta(minutes=5), timedelta(days=3_650))]
Age = Annotated[timedelta, _duration(timedelta(minutes=1), timedelta(days=36_500))]
Shrink = Annotated[int | None, BeforeValidator(_shrink)]
Timeout = Annotated[timedelta, _duration(timedelta(seconds=1), timedelta(hours=48))]


class Shape(BaseModel):
    """A mapping with known keys only, and no value taken for one of another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class TagShape(Shape):
    """`service: {tag: Name}`."""

    tag: TagKey


class SelectionShape(Shape):
    """`selection`."""

    tags: Annotated[TagPatterns, Field(min_length=1)]
    exclude_tags: TagPatterns = {}


class ObjectivesShape(Shape):
    """`objectives`."""

    rpo: Objective | None = None
    rto: Objective | None = None


class KeepShape(Shape):
    """`lifecycle.keep`."""

    hourly: Amount | None = None
    daily: Amount | None = None
    weekly: Amount | None = None
    monthly: Amount | None = None
    yearly: Amount | None = None


class ManualShape(Shape):
    """`lifecycle.manual`."""

    count: Amount = 5


class LifecycleShape(Shape):
    """`lifecycle`, of a rule and of a copy."""

    keep: KeepShape | None = None
    count: Amount | None = None
    age: Age | None = None
    min_keep: Amount = 1
    manual: ManualShape = ManualShape()


class CopyShape(Shape):
    """One of `copies`."""

    vault: Name
    lifecycle: LifecycleShape | None = None


class RetryShape(Shape):
    """`retry`."""

    attempts: Annotated[int, Field(ge=0, le=10)] = 3
    pause: Annotated[timedelta, _duration(timedelta(minutes=1), timedelta(days=1))] = timedelta(minutes=15)


class VolumesShape(Shape):
    """`volumes` of a snapshot rule."""

    boot: bool = True
    exclude_tags: TagPatterns = {}


class RuleShape(Shape):
    """What rules of both kinds have."""

    name: Name
    schedule: Expression | None = None
    timezone: Zone | None = None
    rpo: Rpo | None = None
    lifecycle: LifecycleShape
    retry: RetryShape = RetryShape()
    copies: Annotated[list[CopyShape], Field(max_length=20)] = []


class SnapshotRuleShape(RuleShape):
    """A rule of kind `snapshot`."""

    kind: Literal["snapshot"]
    volumes: VolumesShape = VolumesShape()


class ExpectShape(Shape):
    """`expect` of a service rule."""

    min_bytes: Annotated[int, Field(ge=1)] | None = None
    shrink: Shrink = 50


class ServiceRuleShape(RuleShape):
    """A rule of kind `service`."""

    kind: Literal["service"]
    script: Script
    restore: Script | None = None
    verify: Script | None = None
    target: Literal["one"] = "one"
    timeout: Timeout = timedelta(hours=1)
    output: Literal["pipe", "file"] = "pipe"
    working_directory: Line | None = None
    expect: ExpectShape = ExpectShape()


def _text_or_tag(value: Any) -> str:
    return "(tag)" if isinstance(value, dict | TagShape) else "(text)"


AnyRuleShape = Annotated[SnapshotRuleShape | ServiceRuleShape, Field(discriminator="kind")]
AnyService = Annotated[
    Annotated[ServiceName, Tag("(text)")] | Annotated[TagShape, Tag("(tag)")], Discriminator(_text_or_tag)
]


class PlanShape(Shape):
    """The whole document."""

    name: Name
    service: AnyService | None = None
    selection: SelectionShape
    objectives: ObjectivesShape = ObjectivesShape()
    rules: Annotated[list[AnyRuleShape], Field(min_length=1, max_length=100)]
