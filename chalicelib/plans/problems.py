"""Explains what is wrong with a document, in our words, from pydantic's errors and the schema.

It works for any model and knows nothing of plans. Invariants: one problem per place, and none in pydantic's
words; the time is linear in the size of the document, because only the problems that are listed are worded.
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from chalicelib.errors import Problem
from chalicelib.plans.schema import AnyModel, schema_of
from chalicelib.plans.words import (
    AGAIN,
    LATER,
    SURROGATES,
    TIE,
    Place,
    Schema,
    expectation,
    listed,
    near,
    pointer,
    resolved,
    shown,
    value_at,
)

# At most this many problems are listed; one more says how many were left out.
MOST_PROBLEMS = 100
_NO_VALUE = "has no value: write one, or leave the key out"
_TEXT_KEY = "keys are texts: quote it"


@dataclass(frozen=True, slots=True)
class _Spot:
    """A place in a document: its value and its schema; an option of a union also has the union's schema."""

    place: Place
    value: Any
    schema: Schema
    union: Schema = field(default_factory=dict)
    parent: "_Spot | None" = None


_Error = tuple[str, Any, Mapping[str, Any]]


def problems_of(error: ValidationError, document: Any, model: AnyModel) -> list[Problem]:
    """Return what is wrong with a document, in the order of places: place, value, what would be right."""
    whole = schema_of(model)
    spots: dict[Place, _Spot] = {(): _Spot((), document, whole)}
    found: dict[Place, tuple[Place, _Error]] = {}
    for each in error.errors(include_url=False):
        context = each.get("ctx", {})
        kind = context["type"] if each["type"] == AGAIN else each["type"]
        if kind == "default_factory_not_called" or _is_of_its_items(kind, each["input"], context):
            continue  # reported at the value it is made from
        place = _place(whole, spots, each["loc"], kind)
        if kind == TIE or place not in found:
            found[place] = (each["loc"], (kind, each["input"], context))
    told = heapq.nsmallest(MOST_PROBLEMS, found, key=_in_order)
    problems = [
        _in_words(whole, replace(_spot(whole, spots, found[at][0]), place=at), found[at][1]) for at in told
    ]
    return problems + not_listed(len(found) - len(told))


def not_listed(number: int) -> list[Problem]:
    """Return what is said of the problems beyond `MOST_PROBLEMS`, if there are any."""
    left = f"{number:,} more problems are not listed: fix these first"
    return [Problem("", None, left)] if number > 0 else []


def _is_of_its_items(kind: str, value: Any, context: Mapping[str, Any]) -> bool:
    """Return whether a list is too short only because some of its items are invalid."""
    return kind == "too_short" and len(value) >= int(context["min_length"])


def _place(whole: Schema, spots: dict[Place, _Spot], loc: Place, kind: str) -> Place:
    """Return the place at which a fault is reported.

    Where the document does not say which option of a union is meant, it is the key that should say so.
    """
    if kind == "extra_forbidden":  # there may be thousands: only those that are listed are looked up
        return (*_spot(whole, spots, loc[:-1]).place, loc[-1])
    spot = _spot(whole, spots, loc)
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        return (*spot.place, resolved(whole, spot.schema)["discriminator"]["propertyName"])
    return spot.place


def _spot(whole: Schema, spots: dict[Place, _Spot], loc: Place) -> _Spot:
    """Return the place in the document that pydantic's location means, without the parts that name unions."""
    if loc not in spots:
        spots[loc] = _step(whole, _spot(whole, spots, loc[:-1]), loc[-1])
    return spots[loc]


def _step(whole: Schema, spot: _Spot, part: str | int) -> _Spot:
    schema = resolved(whole, spot.schema)
    options = schema.get("discriminator", {}).get("mapping", {})
    if part in options:
        return replace(spot, schema={"$ref": options[part]}, union=schema)
    is_mapping, is_list = isinstance(spot.value, Mapping), isinstance(spot.value, list | tuple)
    is_union = "oneOf" in schema or "anyOf" in schema
    if is_union and isinstance(part, str) and part.startswith("("):  # the tag of an option
        return replace(spot, schema=_fitting(whole, schema, spot.value))
    if part == "[key]" and not (is_mapping and part in spot.value):
        mapping = resolved(whole, spot.parent.schema if spot.parent else {})
        return replace(spot, schema=mapping.get("propertyNames", {"errorMessage": _TEXT_KEY}))
    if isinstance(part, int) and not is_list and not (is_mapping and part in spot.value):
        return spot  # a single value where a list is allowed, too
    inner = _items(whole, schema) if is_list else _property(schema, part)
    return _Spot((*spot.place, part), value_at(spot.value, (part,)), inner, parent=spot)


def _items(whole: Schema, schema: Schema) -> Schema:
    options = [schema, *(resolved(whole, each) for each in schema.get("anyOf", ()))]
    return next((each["items"] for each in options if "items" in each), {})


def _property(schema: Schema, part: str | int) -> Schema:
    found = schema.get("properties", {}).get(part)
    if found is None:
        found = next(iter(schema.get("patternProperties", {}).values()), schema.get("additionalProperties"))
    return found if isinstance(found, Mapping) else {}


def _fitting(whole: Schema, schema: Schema, value: Any) -> Schema:
    """Return the option that a value is meant as, of a union without a discriminator."""
    options = [resolved(whole, each) for each in schema.get("oneOf", schema.get("anyOf", ()))]
    wanted = "object" if isinstance(value, Mapping) else "string"
    option = next((each for each in options if each.get("type") == wanted), {})
    return option if wanted == "object" else {**option, **schema}


def _in_order(place: Place) -> list[tuple[bool, int, str]]:
    return [(False, part, "") if isinstance(part, int) else (True, 0, str(part)) for part in place]


def _in_words(whole: Schema, spot: _Spot, error: _Error) -> Problem:
    """Return one of pydantic's errors as a problem in our words."""
    kind, value, context = error
    schema = resolved(whole, spot.schema)
    match kind:
        case "missing":
            return _problem(spot, None, f"required: {expectation(schema)}")
        case "extra_forbidden":
            return _unknown_key(whole, spot, value)
        case "invalid_key":
            return _problem(spot, value, _TEXT_KEY)
        case "union_tag_not_found" | "union_tag_invalid":
            tags = schema["discriminator"]["mapping"]
            tag = value_at(value, spot.place[-1:])
            if tag is None:
                return _problem(spot, None, f"required: {listed(tags)}")
            return _problem(spot, tag, f"{listed(tags)}{near(tag, tags)}")
        case "tie":
            return _problem(spot, value, context["expected"])
        case _ if value is None and spot.place:
            return _problem(spot, value, _NO_VALUE)
        case "value_error":
            return _problem(spot, value, str(context["error"]))
        case "string_unicode":
            return _problem(spot, value, SURROGATES)
    return _problem(spot, value, expectation(schema))


def _problem(spot: _Spot, value: Any, expected: str) -> Problem:
    return Problem(pointer(spot.place), shown(value), expected)


def _unknown_key(whole: Schema, spot: _Spot, value: Any) -> Problem:
    key = str(spot.place[-1])
    mapping = resolved(whole, spot.parent.schema if spot.parent else {})
    union = spot.parent.union if spot.parent else {}
    if mapping.get("x-secret"):  # a credential put into the wrong document must not be repeated
        value = "(not shown)"
    if key in mapping.get("x-later", {}):
        return _problem(spot, value, LATER)
    for tag, option in union.get("discriminator", {}).get("mapping", {}).items():
        if key in resolved(whole, {"$ref": option}).get("properties", {}):
            name = union["discriminator"]["propertyName"]
            return _problem(spot, value, f"belongs where {name} is {tag}; leave it out")
    known = sorted(mapping.get("properties", ()))
    here = f"the keys here are {', '.join(known)}" if known else "there are no keys here"
    return _problem(spot, value, f"an unknown key{near(key, known)}; {here}")
