"""The values that requests and answers share (names, ids, times), and the base of all answers.

A request is a `Declared` model of the capability that carries it out; an answer is a model of `insight`. The
API's pages and its OpenAPI document are made from both.
"""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator, WithJsonSchema

from chalicelib.plans.declared import Declared, worded

_MOMENT = "a time with its zone, as RFC 3339 writes it"
_MOMENT_EXAMPLE = "2026-11-22T14:00:00Z"


def rfc3339(moment: datetime) -> str:
    """Return a time in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _moment(value: object) -> datetime:
    if isinstance(value, datetime):
        return value
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is not None and moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):  # the first and last days of the calendar cannot be converted to UTC
        pass
    raise ValueError(f"{_MOMENT}, such as {_MOMENT_EXAMPLE}")


def _flag(value: object) -> object:
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


def number(value: object) -> object:
    """Return the number that a query's text states; any other value unchanged."""
    is_number = isinstance(value, str) and len(value) < 10 and value.isascii() and value.isdecimal()
    return int(value) if is_number and isinstance(value, str) else value


PlanName = Annotated[str, Field(min_length=1, max_length=64, examples=["orders"])]
RuleName = Annotated[str, Field(min_length=1, max_length=64, examples=["nightly"])]
ServiceName = Annotated[str, Field(min_length=1, max_length=256, examples=["orders-db"])]
VaultName = Annotated[str, Field(min_length=1, max_length=64, examples=["dr"])]
RegionName = Annotated[str, Field(min_length=1, max_length=63, examples=["eu-central-1"])]
PointRef = Annotated[str, Field(min_length=1, max_length=128, examples=["rp-e16f5c37aa4dfe9b89dade6f"])]
JobRef = Annotated[str, Field(min_length=1, max_length=128, examples=["backup-cde3fc63bce352b2dda6db95"])]
InstanceRef = Annotated[
    str,
    # https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/resource-ids.html
    Field(pattern="^i-([0-9a-f]{8}|[0-9a-f]{17})$", examples=["i-0123456789abcdef0"]),
    worded("the id of an instance", title="instance id"),
]
Remark = Annotated[str, Field(min_length=1, max_length=1024)]
Moment = Annotated[
    datetime,
    PlainValidator(_moment),
    PlainSerializer(rfc3339),
    WithJsonSchema(
        {
            "type": "string",
            "format": "date-time",
            "title": "time",
            "errorMessage": _MOMENT,
            "examples": [_MOMENT_EXAMPLE],
        }
    ),
]
# All values of a query are texts.
Flag = Annotated[bool, BeforeValidator(_flag), worded("true or false", title="`true` or `false`")]
Count = Annotated[int, Field(ge=0), BeforeValidator(number)]


def says(description: str) -> Any:
    """Return the annotation that describes a key."""
    return Field(description=description)


class Answer(Declared):
    """What the API answers: the keys that were set, also those that are null.

    A key that may be absent is set only when there is something to say.
    """

    def document(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return self.model_dump(mode="json", exclude_unset=True)


def present(**keys: Any) -> dict[str, Any]:
    """Return the keys that have a value."""
    return {key: value for key, value in keys.items() if value is not None}
