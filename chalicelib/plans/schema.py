"""The JSON schema that a model declares: what editors, the docs and the words of a problem are made from.

It has two keywords of ours beside those of draft 2020-12: `x-default` says in words what holds where a key is
left out, `x-later` which keys are still to come. `errorMessage` is what editors show.
"""

from functools import cache
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import to_jsonable_python

AnyModel = type[BaseModel] | TypeAdapter[Any]


@cache
def schema_of(model: AnyModel) -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) that a model declares."""
    if isinstance(model, TypeAdapter):
        return model.json_schema(schema_generator=_Schema)
    return model.model_json_schema(schema_generator=_Schema)


class _Schema(GenerateJsonSchema):
    """pydantic's schema without titles made of names, and without null, which no key may be."""

    def sort(self, value: Any, parent_key: str | None = None) -> Any:
        """Return the schema in the order of its declaration, and what it refers to by name: which of those is
        built first differs."""
        if parent_key is None and "$defs" in value:
            return {**value, "$defs": dict(sorted(value["$defs"].items()))}
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
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    write = schema.get("serialization", {}).get("function", to_jsonable_python)
    return None if value is None else write(value)
