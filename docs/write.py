"""Writes what the docs say of each key from its declaration: tables between markers, and the editors' schema.

`make docs` runs it; a test compares what it would write with what is there. A marker is a line
`<!-- keys: NAME -->`, and what it brings ends at `<!-- end -->`.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from chalicelib.observability import METRICS, Metric
from chalicelib.plans.declared import Declared
from chalicelib.plans.launches import Identity, OnLaunch, OnTerminate
from chalicelib.plans.lifecycle import Lifecycle
from chalicelib.plans.model import Plan
from chalicelib.plans.rules import BaseRule, CopyTo, ServiceRule, SnapshotRule
from chalicelib.plans.schema import schema_of
from chalicelib.plans.words import Schema, flow, listed, resolved
from chalicelib.settings import Bucket, OffsiteVaultConfig, S3VaultConfig, Settings
from docs import api, openapi

HERE = Path(__file__).parent
_MARKED = re.compile(r"(<!-- keys: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_HEAD = "| key | type | default | what it says |\n|---|---|---|---|\n"

Row = tuple[str, ...]


def keys_of(model: type[Declared], path: str = "", *, without: frozenset[str] = frozenset()) -> Iterator[Row]:
    """Yield the row of each key of a model, and of the keys below it; `without` are keys by their place, that
    are described elsewhere: they are left out with what lies below them when they end in a point."""
    whole = schema_of(model)
    yield from _rows(whole, whole, path, without)


def _rows(whole: Schema, mapping: Schema, path: str, without: frozenset[str]) -> Iterator[Row]:
    for name, key in mapping.get("properties", {}).items():
        place, schema = f"{path}{name}", resolved(whole, key)
        if place in without:
            continue
        default = "required" if name in mapping.get("required", ()) else _default(schema)
        yield f"`{place}`", _type(schema), default, schema.get("description", "")
        if f"{place}." not in without:
            yield from _rows_below(whole, schema, place, without)


def _rows_below(whole: Schema, schema: Schema, place: str, without: frozenset[str]) -> Iterator[Row]:
    for option in (schema, *schema.get("oneOf", ()), *schema.get("anyOf", ())):
        yield from _rows(whole, resolved(whole, option), f"{place}.", without)
    if "items" in schema:
        yield from _rows_below(whole, resolved(whole, schema["items"]), f"{place}[]", without)


def _type(schema: Schema) -> str:
    if "const" in schema or "enum" in schema:
        return listed(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if "title" in schema:
        return str(schema["title"])
    if schema.get("anyOf", ())[1:] == [{"type": "null"}]:
        return f"{_type(schema['anyOf'][0])} or null"
    match schema.get("type"):
        case "boolean":
            return "`true` or `false`"
        case "integer" if "maximum" in schema:
            return f"{schema['minimum']:,} to {schema['maximum']:,}"
        case "array":
            return f"list of at most {schema['maxItems']}" if "maxItems" in schema else "list"
        case "object":
            return "mapping"
    return str(schema.get("type", "text")).replace("string", "text")


def _default(schema: Schema) -> str:
    if "x-default" in schema:
        return str(schema["x-default"])
    return f"`{flow(schema['default'])}`" if schema.get("default") not in (None, {}, []) else "none"


def _table(rows: Iterator[Row]) -> str:
    return _HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _own(model: type[Declared], base: type[Declared]) -> str:
    shared = frozenset(f"rules[].{name}" for name in base.model_fields)
    return _table(keys_of(model, "rules[].", without=shared))


def _later() -> str:
    later = {
        **{f"rules[].{key}": says for key, says in BaseRule.later.items()},
        **{f"rules[].copies[].{key}": says for key, says in CopyTo.later.items()},
    }
    rows = "".join(f"| `{key}` | {says} |\n" for key, says in later.items())
    return "| key | what it will say |\n|---|---|\n" + rows


def _metrics() -> str:
    rows = "".join(f"| {_split(metric)} | {metric.counts} |\n" for metric in METRICS)
    return "| metric | counts |\n|---|---|\n" + rows


def _split(metric: Metric) -> str:
    by = f" by {', '.join(f'`{name}`' for name in metric.dimensions)}" if metric.dimensions else ""
    return f"`{metric.name}`{by}"


TABLES: Mapping[str, Callable[[], str]] = {
    "plan": lambda: _table(
        keys_of(Plan, without=frozenset({"rules.", "on_launch.", "on_terminate.", "identity."}))
    ),
    "launches": lambda: _table(
        chain(
            keys_of(OnLaunch, "on_launch."),
            keys_of(OnTerminate, "on_terminate."),
            keys_of(Identity, "identity."),
        )
    ),
    "rule": lambda: _table(
        keys_of(
            BaseRule, "rules[].", without=frozenset({"rules[].lifecycle.", "rules[].copies[].lifecycle."})
        )
    ),
    "snapshot": lambda: _own(SnapshotRule, BaseRule),
    "service": lambda: _own(ServiceRule, BaseRule),
    "lifecycle": lambda: _table(keys_of(Lifecycle, "rules[].lifecycle.")),
    "later": _later,
    "metrics": _metrics,
    "settings": lambda: _table(keys_of(Settings, without=frozenset({"FARSHORE_VAULTS."}))),
    "s3": lambda: _table(keys_of(S3VaultConfig)),
    "libcloud": lambda: _table(keys_of(OffsiteVaultConfig)),
    "buckets": lambda: _table(keys_of(Bucket)),
    **api.tables(keys_of, _table),
}


def with_tables(page: str) -> str:
    """Return a page with each of its tables as the declarations have it."""
    return _MARKED.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}{found[3]}", page)


def plan_schema() -> str:
    """Return the JSON schema of a plan, for editors."""
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A plan of Farshore",
        **schema_of(Plan),
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def written() -> dict[Path, str]:
    """Return the text of each file that is written from the declarations."""
    pages = [page for page in sorted(HERE.glob("*.md")) if _MARKED.search(page.read_text("utf-8"))]
    texts = {page: with_tables(page.read_text("utf-8")) for page in pages}
    return {**texts, HERE / "plan.schema.json": plan_schema(), openapi.WHERE: openapi.text()}


if __name__ == "__main__":
    for path, text in written().items():
        path.write_text(text, "utf-8")
