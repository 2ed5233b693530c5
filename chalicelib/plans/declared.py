"""What people write, declared once: the base of the models of plans, vaults, settings and requests.

A key's type, bounds, default, `description` and `examples` stand at the key. The parser is pydantic's, the
JSON schema is made from the same declaration, and `problems_of` reads that schema to say in words what is
wrong. It knows no plan: it says of any model where a document differs from it and what would be right.

Invariants: one problem per place, and no text of pydantic's among them; the time is linear in the size of the
document, because only what is told is put into words.
"""

import difflib
import heapq
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, reduce
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import InitErrorDetails, PydanticCustomError, to_jsonable_python

from chalicelib.errors import InvalidInput, Problem

# So many problems are told; one more says how many there are beside them.
MOST_PROBLEMS = 100
LONGEST_VALUE = 200
_TIE, _AGAIN = "tie", "again"
LATER = "not supported yet; leave it out"
_NO_VALUE = "has no value: write one, or leave the key out"
_TEXT_KEY = "keys are texts: quote it"
# Texts that YAML reads as something else.
_WORDS = ("true", "false", "null", "on", "off", "yes", "no")
SURROGATES = "a text without halves of surrogate pairs: such a text cannot be stored"

Place = tuple[str | int, ...]
Schema = Mapping[str, Any]
Fault = tuple[Place, str]
AnyModel = type[BaseModel] | TypeAdapter[Any]
T = TypeVar("T")


class _NeverNull:
    """A key that may be left out and has a value where it stands: an explicit null is refused."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        schema = handler(source)
        return schema["schema"] if schema["type"] == "nullable" else schema


Maybe = Annotated[T | None, _NeverNull()]


def worded(expected: str, *, title: str | None = None) -> Any:
    """Return the annotation that says in words what belongs at a key, and what its type is called; editors
    show both."""
    return Field(title=title, json_schema_extra={"errorMessage": expected})


class Declared(BaseModel):
    """A frozen mapping with known keys only, and no value taken for one of another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    # Keys that are understood and refused until their capability is there, and what each will say.
    later: ClassVar[Mapping[str, str]] = {}
    # The key that tells a model from its siblings: it is required, and has but one value.
    variant_key: ClassVar[str] = "kind"
    # Whether a value that stands under an unknown key may be a secret, and is not repeated.
    hides_values: ClassVar[bool] = False

    @classmethod
    def ties(cls, given: Mapping[str, Any], context: Any) -> Iterator[Fault]:
        """Yield what is wrong with keys that are right alone, each with its place below this mapping.

        `given` is what was sent, whatever its types; what a value's own type refuses is passed over here.
        """
        yield from ()

    @model_validator(mode="wrap")
    @classmethod
    def _tied(cls, given: Any, handler: Any, info: Any) -> Any:
        faults = list(cls.ties(given, info.context)) if isinstance(given, dict) else []
        if not faults:
            return handler(given)
        try:
            handler(given)
        except ValidationError as error:
            found = error.errors(include_url=False)
        else:
            found = []
        raise ValidationError.from_exception_data(
            cls.__name__,
            [_fault(place, expected, value_at(given, place)) for place, expected in faults]
            + [_again(error) for error in found],
        )

    @classmethod
    def read(cls, document: Any, what: str, context: Any = None) -> Self:
        """Read a document.

        Raises:
            InvalidInput: with every problem of `what` it is.
        """
        try:
            return cls.model_validate(document, context=context)
        except ValidationError as error:
            # The text of pydantic's error has the whole input in it.
            raise InvalidInput(what, problems_of(error, document, cls)) from None

    def document(self) -> dict[str, Any]:
        """Return it as JSON-able values, every default filled in; what says nothing is left out."""
        return self.model_dump(mode="json", exclude_none=True)


def _fault(place: Place, expected: str, value: Any) -> InitErrorDetails:
    error = PydanticCustomError(_TIE, "{expected}", {"expected": expected})
    return InitErrorDetails(type=error, loc=place, input=value)


def _again(error: Any) -> InitErrorDetails:
    """Return an error that was found inside, to be raised once more beside others."""
    context = {"type": error["type"], **error.get("ctx", {})}
    kind = PydanticCustomError(_AGAIN, "{type}", context)
    return InitErrorDetails(type=kind, loc=error["loc"], input=error["input"])


@dataclass(frozen=True, slots=True)
class _Spot:
    """A place in a document: what lies there, and the schema of it, which for one option of a union has the
    union beside it."""

    place: Place
    value: Any
    schema: Schema
    union: Schema = field(default_factory=dict)
    parent: "_Spot | None" = None


_Error = tuple[str, Any, Mapping[str, Any]]


def problems_of(error: ValidationError, document: Any, model: AnyModel) -> list[Problem]:
    """Return what is wrong with a document, in the order of its places: where, the value met, what would be
    right."""
    whole = schema_of(model)
    spots: dict[Place, _Spot] = {(): _Spot((), document, whole)}
    found: dict[Place, tuple[Place, _Error]] = {}
    for each in error.errors(include_url=False):
        context = each.get("ctx", {})
        kind = context["type"] if each["type"] == _AGAIN else each["type"]
        # Of these two the first is told at what it is made from, the other where the items are wrong.
        if kind == "default_factory_not_called" or (kind == "too_short" and each["input"]):
            continue
        place = _place(whole, spots, each["loc"], kind)
        if kind == _TIE or place not in found:
            found[place] = (each["loc"], (kind, each["input"], context))
    told = heapq.nsmallest(MOST_PROBLEMS, found, key=_in_order)
    problems = [
        _in_words(whole, replace(_spot(whole, spots, found[at][0]), place=at), found[at][1]) for at in told
    ]
    if len(found) > len(told):
        left = f"{len(found) - len(told):,} more problems are not listed: mend these first"
        problems.append(Problem("", None, left))
    return problems


def _place(whole: Schema, spots: dict[Place, _Spot], loc: Place, kind: str) -> Place:
    """Return where a fault is told; where it is not said which option of a union is meant, at the key that
    says so."""
    if kind == "extra_forbidden":  # there may be thousands, and what they are is looked at for those told
        return (*_spot(whole, spots, loc[:-1]).place, loc[-1])
    spot = _spot(whole, spots, loc)
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        return (*spot.place, resolved(whole, spot.schema)["discriminator"]["propertyName"])
    return spot.place


@cache
def schema_of(model: AnyModel) -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) that a model declares."""
    if isinstance(model, TypeAdapter):
        return model.json_schema(schema_generator=_Schema)
    return model.model_json_schema(schema_generator=_Schema)


class _Schema(GenerateJsonSchema):
    """pydantic's schema without titles made of names, and without null, which no key may be."""

    def sort(self, value: Any, parent_key: str | None = None) -> Any:
        """Return the schema in the order of its declaration."""
        return value

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Return that no field gets a title."""
        return False

    def default_schema(self, schema: Any) -> dict[str, Any]:
        """Return a schema with its default as a document has it, unless that is to be absent."""
        made = self.generate_inner(schema["schema"])
        value = _default(schema)
        return made if value is None else {**made, "default": value}

    def model_schema(self, schema: Any) -> dict[str, Any]:
        """Return a model's schema; a key that tells it from its siblings is required."""
        made = super().model_schema(schema)
        made.pop("title", None)
        properties, tag = made.get("properties", {}), getattr(schema["cls"], "variant_key", "")
        tags = [tag] if "const" in properties.get(tag, {}) else []
        for key in tags:
            made["properties"][key].pop("default", None)
        if tags or "required" in made:
            made["required"] = [*made.get("required", ()), *tags]
        if later := getattr(schema["cls"], "later", None):
            made["x-later"] = dict(later)
        if getattr(schema["cls"], "hides_values", False):
            made["x-secret"] = True
        return made


def _default(schema: Any) -> Any:
    """Return the default of a key, None where it is absent or made of other keys."""
    value = schema.get("default")
    if "default_factory" in schema and not schema.get("default_factory_takes_data"):
        value = schema["default_factory"]()
    while "serialization" not in schema and "schema" in schema:
        schema = schema["schema"]
    if isinstance(value, Declared):
        return value.document()
    write = schema.get("serialization", {}).get("function", to_jsonable_python)
    return None if value is None else write(value)


def resolved(whole: Schema, schema: Schema) -> Schema:
    """Return a schema with what it refers to; what stands beside the reference goes first."""
    if "$ref" not in schema:
        return schema
    target = reduce(lambda here, step: here[step], schema["$ref"].split("/")[1:], whole)
    return {**resolved(whole, target), **{key: value for key, value in schema.items() if key != "$ref"}}


def value_at(document: Any, place: Place) -> Any:
    """Return what lies at a place of a document, None where there is nothing."""
    for part in place:
        if isinstance(document, Mapping):
            document = document.get(part)
        elif isinstance(document, list | tuple) and isinstance(part, int) and part < len(document):
            document = document[part]
        else:
            return None
    return document


def _spot(whole: Schema, spots: dict[Place, _Spot], loc: Place) -> _Spot:
    """Return where pydantic's location is in the document: parts that name its unions are not there."""
    if loc not in spots:
        spots[loc] = _step(whole, _spot(whole, spots, loc[:-1]), loc[-1])
    return spots[loc]


def _step(whole: Schema, spot: _Spot, part: str | int) -> _Spot:
    schema = resolved(whole, spot.schema)
    options = schema.get("discriminator", {}).get("mapping", {})
    if part in options:
        return replace(spot, schema={"$ref": options[part]}, union=schema)
    if isinstance(part, str) and part.startswith("("):  # the tag of a union that has no key of its own
        return replace(spot, schema=_fitting(whole, schema, spot.value))
    if part == "[key]":
        mapping = resolved(whole, spot.parent.schema if spot.parent else {})
        return replace(spot, schema=mapping.get("propertyNames", {"errorMessage": _TEXT_KEY}))
    is_mapping, is_list = isinstance(spot.value, Mapping), isinstance(spot.value, list | tuple)
    if isinstance(part, int) and not is_list and not (is_mapping and part in spot.value):
        return spot  # one, where a list may be
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
    """Return the option of a union without a tag of its own that a value is meant as."""
    options = [resolved(whole, each) for each in schema.get("oneOf", schema.get("anyOf", ()))]
    wanted = "object" if isinstance(value, Mapping) else "string"
    option = next((each for each in options if each.get("type") == wanted), {})
    return option if wanted == "object" else {**option, **schema}


def _in_order(place: Place) -> list[tuple[bool, int, str]]:
    return [(False, part, "") if isinstance(part, int) else (True, 0, str(part)) for part in place]


def _in_words(whole: Schema, spot: _Spot, error: _Error) -> Problem:
    """Return one of pydantic's errors in our words."""
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
    if mapping.get("x-secret"):  # a credential put into the wrong document is not repeated
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


def expectation(schema: Schema) -> str:
    """Return in words what a schema asks for: those it was given, else its type and bounds."""
    words = schema.get("errorMessage") or _plain_words(schema)
    examples = schema.get("examples", ())
    return f"{words}, such as {flow(examples[0])}" if examples else words


def _plain_words(schema: Schema) -> str:
    if "discriminator" in schema:
        tags = schema["discriminator"]
        return f"a mapping with {tags['propertyName']}: {listed(tags['mapping'])}"
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return listed(schema["enum"])
    match schema.get("type"):
        case "integer" | "number" as kind:
            return f"a {'whole ' if kind == 'integer' else ''}number{_span(schema, 'imum')}"
        case "boolean":
            return "true or false"
        case "array":
            return f"a list{_span(schema, 'Items').replace(' from ', ' of ')}"
        case "object":
            required = schema.get("required", ())
            return f"a mapping with {listed(required, 'and')}" if required else "a mapping"
        case "string" | None if "maxLength" in schema:
            return f"a text of {schema.get('minLength', 0)} to {schema['maxLength']} characters"
    return "a text"


def _span(schema: Schema, suffix: str) -> str:
    """Return the bounds of a number or a list in words; `suffix` ends the names of the two."""
    least, most = schema.get(f"min{suffix}"), schema.get(f"max{suffix}")
    match least, most:
        case None, None:
            return ""
        case None, most:
            return f" of at most {most:,}"
        case least, None:
            return f" of at least {least:,}"
    return f" from {least:,} to {most:,}"


def flow(value: Any) -> str:
    """Write an example as YAML's flow style does, on one line."""
    match value:
        case Mapping():
            return "{" + ", ".join(f"{key}: {flow(inner)}" for key, inner in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(flow, value)) + "]"
        case str():
            quoted = not value or value[0] in "*&!%@`\"'[]{}#|>" or ": " in value or value in _WORDS
            return json.dumps(value, ensure_ascii=False) if quoted else value
    return json.dumps(value)


def listed(words: Iterable[Any], joint: str = "or") -> str:
    """Return words as `a, b or c`."""
    *first, last = map(str, words)
    return f"{', '.join(first)} {joint} {last}" if first else last


def near(text: Any, known: Iterable[str]) -> str:
    """Return the question whether the nearest of the known words was meant, "" when none is near."""
    if not isinstance(text, str) or len(text) > LONGEST_VALUE:
        return ""
    by_lower = {word.lower(): word for word in known}
    found = difflib.get_close_matches(text.lower(), by_lower, n=1)
    return f"; did you mean {by_lower[found[0]]}?" if found else ""


def pointer(place: Place) -> str:
    """Write a place as RFC 6901 does."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in place)


def shown(value: Any) -> Any:
    """Return a value as JSON can carry it, and short."""
    value = list(value) if isinstance(value, tuple) else value
    try:
        text = value if isinstance(value, str) else json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        text = value = str(value)
    return value if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."
