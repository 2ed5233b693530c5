"""The filters of EC2's Describe calls, and their pages.

Filters: a resource passes if every filter has a value that matches; `*` stands for any characters, `?`
for one, a backslash takes the next character as it is; values are case-sensitive and a call may have 200
of them (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Filtering.html).

Pages: `MaxResults` from 5 to 1,000, and a token that says where to continue
(https://docs.aws.amazon.com/AWSEC2/latest/APIReference/Query-Requests.html#api-pagination). A page is cut
before it is filtered, so that it may be short or empty and yet have a token, as that page warns; only a
filter of ids without wildcards is applied first, or a call for some of many things would read all of them.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from local_cloud.call import AwsError

Resource = Mapping[str, Any]
Field = Callable[[Resource], Iterable[Any]]
"""What a filter looks at: the values a resource has for it."""

T = TypeVar("T")

VALUES_PER_CALL = 200
SMALLEST_PAGE = 5
LARGEST_PAGE = 1000


def member(*path: str) -> Field:
    """Return the field that yields the members at `path`; lists on the way are followed item by item."""

    def values(resource: Any, ahead: Sequence[str] = path) -> Iterable[Any]:
        if isinstance(resource, list):
            for item in resource:
                yield from values(item, ahead)
        elif not ahead:
            yield resource
        elif ahead[0] in resource:
            yield from values(resource[ahead[0]], ahead[1:])

    return values


TAG_FIELDS: dict[str, Field] = {
    "tag-key": member("Tags", "Key"),
    "tag-value": member("Tags", "Value"),
}


def _tag(key: str) -> Field:
    return lambda resource: [tag["Value"] for tag in resource.get("Tags", ()) if tag["Key"] == key]


def passes(filters: Sequence[Mapping[str, Any]], fields: Mapping[str, Field]) -> Callable[[Resource], bool]:
    """Return the test that `filters` describe.

    Raises:
        AwsError: a filter is unknown or incomplete, or there are too many values.
    """
    if sum(len(one.get("Values", ())) for one in filters) > VALUES_PER_CALL:
        raise AwsError(
            "FilterLimitExceeded",
            f"The maximum number of filter values specified on a single call is {VALUES_PER_CALL}",
        )
    tests = [_test(one, fields) for one in filters]
    return lambda resource: all(test(resource) for test in tests)


def by_id_and_tags(
    filters: Sequence[Mapping[str, Any]], fields: Mapping[str, Field], id_filter: str
) -> Callable[[Resource], bool]:
    """Return the part of the test that needs only a resource's id and tags.

    Asked first, it saves putting together what a call for a few of many resources will not show.
    """
    names = [one.get("Name") or "" for one in filters]
    cheap = [name == id_filter or name.startswith("tag:") for name in names]
    return passes([one for one, is_cheap in zip(filters, cheap, strict=True) if is_cheap], fields)


def exact_values(filters: Sequence[Mapping[str, Any]], name: str) -> set[str] | None:
    """Return what the filters of a name let pass; None where there is none without wildcards."""
    sets = []
    for one in filters:
        values = [_pieces(value) for value in one.get("Values", ())]
        if one.get("Name") == name and not any("*" in pieces or "?" in pieces for pieces in values):
            sets.append({"".join(piece[-1] for piece in pieces) for pieces in values})
    return set.intersection(*sets) if sets else None


def things_of(things: Mapping[str, T], ids: Iterable[str] | None) -> list[T]:
    """Return the things of some ids that are there, or all of them."""
    return list(things.values()) if ids is None else [things[one] for one in ids if one in things]


def _test(one: Mapping[str, Any], fields: Mapping[str, Field]) -> Callable[[Resource], bool]:
    name = one.get("Name") or "null"
    key = name.removeprefix("tag:")
    field = _tag(key) if key != name else {**TAG_FIELDS, **fields}.get(name)
    if field is None:
        raise AwsError("InvalidParameterValue", f"The filter '{name}' is invalid")
    patterns = [_pattern(value) for value in one.get("Values", ())]
    return lambda resource: any(
        pattern.fullmatch(_text(value)) for value in field(resource) for pattern in patterns
    )


def _pattern(value: str) -> re.Pattern[str]:
    """Turn a filter's value into a pattern for the whole of a resource's value."""
    special = {"*": ".*", "?": "."}
    pieces = (special.get(piece) or re.escape(piece[-1]) for piece in _pieces(value))
    return re.compile("".join(pieces), re.DOTALL)


def _pieces(value: str) -> list[str]:
    """Return the characters of a filter's value, each with the backslash before it, if any."""
    return re.findall(r"\\.|.", value, re.DOTALL)


def _text(value: Any) -> str:
    """Return a value as filters name it."""
    if isinstance(value, bool):
        return str(value).lower()
    if hasattr(value, "isoformat"):
        return f"{value:%Y-%m-%dT%H:%M:%S}.000Z"
    return str(value)


def page(
    items: Iterable[T], params: Mapping[str, Any], key: Callable[[T], str], *, ids: str = ""
) -> tuple[list[T], str | None]:
    """Cut the page of `items` that `params` ask for, and make the token of the next one.

    `key` orders the items and is unique; an item that goes between two calls makes no other be
    skipped. `ids` is EC2's name of the parameter that cannot be combined with `MaxResults`, where it
    was used.
    """
    ordered = sorted(items, key=key)
    size = params.get("MaxResults")
    token = params.get("NextToken")
    if size is not None and ids:
        raise AwsError(
            "InvalidParameterCombination",
            f"The parameter {ids} cannot be used with the parameter maxResults",
        )
    if size is not None and size < SMALLEST_PAGE:
        raise AwsError(
            "InvalidParameterValue",
            f"Value ( {size} ) for parameter maxResults is invalid. "
            f"Expecting a value greater than {SMALLEST_PAGE}.",
        )
    if token:
        last = _read_token(token)
        ordered = [item for item in ordered if key(item) > last]
    if size is None:
        return ordered, None
    found = ordered[: min(size, LARGEST_PAGE)]
    return found, _make_token(key(found[-1])) if len(found) < len(ordered) else None


def _make_token(last: str) -> str:
    return base64.urlsafe_b64encode(json.dumps({"after": last}).encode()).decode()


def _read_token(token: str) -> str:
    try:
        return str(json.loads(base64.urlsafe_b64decode(token.encode()))["after"])
    except (binascii.Error, ValueError, KeyError, TypeError) as exc:
        raise AwsError(
            "InvalidPaginationToken", "The specified pagination token is not valid or is expired."
        ) from exc
