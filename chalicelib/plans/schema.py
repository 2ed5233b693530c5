"""The JSON schema of a model, from which editors, the docs and the texts of problems are made.

It has two keywords of its own beside those of draft 2020-12: `x-default` says in words what applies when a
key is left out, and `x-later` lists keys that are reserved. `errorMessage` is what editors show.
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
    """pydantic's schema without titles derived from names, and without null, which no key accepts."""

    def sort(self, value: Any, parent_key: str | None = None) -> Any:
        """Return the schema with its properties in declared order, and its definitions sorted by name.

        pydantic builds definitions in an order that varies.
        """
        if parent_key is None and "$defs" in value:
            return {**value, "$defs": dict(sorted(value["$defs"].items()))}
        return value

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Return False: no field gets a title."""
        return False

    def default_schema(self, schema: Any) -> dict[str, Any]:
        """Return a schema with the default as a document writes it, if the key has one."""
        made = self.generate_inner(schema["schema"])
        value = _default(schema)
        return made if value is None else {**made, "default": value}

    def model_schema(self, schema: Any) -> dict[str, Any]:
        """Return a model's schema, in which the discriminator is required."""
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
    """Return the default of a key, None where it is absent or computed from other keys."""
    value = schema.get("default")
    if "default_factory" in schema and not schema.get("default_factory_takes_data"):
        value = schema["default_factory"]()
    while "serialization" not in schema and "schema" in schema:
        schema = schema["schema"]
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    write = schema.get("serialization", {}).get("function", to_jsonable_python)
    return None if value is None else write(value)
