"""Words for parts of documents and schemas, used in error texts. Pure."""

import difflib
import json
from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any

# Our own types of errors: keys that contradict each other, and an error raised again beside those.
TIE, AGAIN = "tie", "again"
LATER = "not supported yet; leave it out"
LONGEST_VALUE = 200
SURROGATES = "a text without unpaired surrogates: they cannot be stored"
# Texts that YAML would read as another type.
_NO_TEXTS = ("true", "false", "null")

Place = tuple[str | int, ...]
Schema = Mapping[str, Any]


def resolved(whole: Schema, schema: Schema) -> Schema:
    """Return a schema with its reference resolved; keywords beside the reference take precedence."""
    if "$ref" not in schema:
        return schema
    target = reduce(lambda here, step: here[step], schema["$ref"].split("/")[1:], whole)
    return {**resolved(whole, target), **{key: value for key, value in schema.items() if key != "$ref"}}


def value_at(document: Any, place: Place) -> Any:
    """Return the value at a place of a document, None where there is none."""
    for part in place:
        if isinstance(document, Mapping):
            document = document.get(part)
        elif isinstance(document, list | tuple) and isinstance(part, int) and part < len(document):
            document = document[part]
        else:
            return None
    return document


def expectation(schema: Schema) -> str:
    """Return in words what a schema asks for: its own words, else its type and bounds."""
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
    """Return the bounds of a number or a list in words; `suffix` is how the two keywords end."""
    least, most = schema.get(f"min{suffix}"), schema.get(f"max{suffix}")
    match least, most:
        case None, None:
            above = schema.get("exclusiveMinimum")
            return "" if above is None else f" above {above:,}"
        case None, most:
            return f" of at most {most:,}"
        case least, None:
            return f" of at least {least:,}"
    return f" from {least:,} to {most:,}"


def flow(value: Any) -> str:
    """Return an example in YAML's flow style, on one line."""
    match value:
        case Mapping():
            return "{" + ", ".join(f"{key}: {flow(inner)}" for key, inner in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(flow, value)) + "]"
        case str():
            quoted = not value or value[0] in "*&!%@`\"'[]{}#|>" or ": " in value or value in _NO_TEXTS
            return json.dumps(value, ensure_ascii=False) if quoted else value
    return json.dumps(value)


def listed(words: Iterable[Any], joint: str = "or") -> str:
    """Return words as `a, b or c`."""
    *first, last = map(str, words)
    return f"{', '.join(first)} {joint} {last}" if first else last


def near(text: Any, known: Iterable[str]) -> str:
    """Return the question whether the closest of the known words was meant, or "" when none is close."""
    if not isinstance(text, str) or len(text) > LONGEST_VALUE:
        return ""
    by_lower = {word.lower(): word for word in known}
    found = difflib.get_close_matches(text.lower(), by_lower, n=1)
    return f"; did you mean {by_lower[found[0]]}?" if found else ""


def pointer(place: Place) -> str:
    """Return a place as a JSON pointer (RFC 6901)."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in place)


def shown(value: Any) -> Any:
    """Return a value that JSON can carry, shortened."""
    value = list(value) if isinstance(value, tuple) else value
    try:
        text = value if isinstance(value, str) else json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        text = value = str(value)
    return value if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."
