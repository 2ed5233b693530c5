"""Makes the OpenAPI document of the API from its routes and models.

https://spec.openapis.org/oas/v3.1.1.html. `make docs` writes it beside the code that serves it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from chalicelib.plans.declared import Declared
from chalicelib.plans.reading import LARGEST_BYTES
from chalicelib.plans.schema import schema_of
from chalicelib.triggers.http import JSON, PROBLEM, YAML
from chalicelib.triggers.idempotency import LONGEST_KEY
from chalicelib.triggers.routes import ROUTES, AnyRoute
from docs.examples import examples

EXAMPLES = tuple(examples())
WHERE = Path(__file__).parents[1] / "chalicelib" / "triggers" / "openapi.json"
_PARAMETER = re.compile(r"\{(\w+)\}")
_NAMED = {
    "name": ("the plan's name", "orders"),
    "job_id": ("the job's id", "backup-cde3fc63bce352b2dda6db95"),
    "point_id": ("the recovery point's id", "rp-e16f5c37aa4dfe9b89dade6f"),
}
# Words for people who write plans by hand, and marks of our own, are no part of an API's description.
_OURS = ("errorMessage", "x-")
_PROBLEM_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "description": "What is wrong (RFC 9457).",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"const": "about:blank"},
        "title": {"type": "string", "description": "the status in words"},
        "status": {"type": "integer", "description": "the status"},
        "detail": {"type": "string", "description": "what failed, on what, and why"},
        "errors": {
            "type": "array",
            "description": "where the input is at fault: every fault, a hundred at most",
            "items": {"$ref": "#/components/schemas/Fault"},
        },
    },
}
_FAULT_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "description": "One fault of an input.",
    "required": ["pointer", "value", "expected"],
    "properties": {
        "pointer": {
            "type": "string",
            "description": "a JSON pointer (RFC 6901) into the body, or the query parameter or header",
        },
        "value": {"description": "the value met, cut where it is long"},
        "expected": {"type": "string", "description": "what would be right"},
    },
}
_SHARED = {
    HTTPStatus.BAD_REQUEST: "the body, the query or a header is at fault; `errors` says where",
    HTTPStatus.FORBIDDEN: "API Gateway: the signature is wrong, or the caller may not do this",
    HTTPStatus.INTERNAL_SERVER_ERROR: "a fault of Farshore's; it is in the function's log",
    HTTPStatus.BAD_GATEWAY: "AWS refused",
    HTTPStatus.SERVICE_UNAVAILABLE: "AWS did not answer, or throttles: send it again, with its key",
}
_OF_BODIES = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: f"the body has more than {LARGEST_BYTES:,} bytes",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "the body is of a type that is not read",
}


def openapi() -> dict[str, Any]:
    """Return the whole document."""
    schemas: dict[str, Any] = {"Problem": dict(_PROBLEM_SCHEMA), "Fault": dict(_FAULT_SCHEMA)}
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Farshore",
            "version": "1",
            "summary": "Backs up what runs on EC2 and brings it back.",
            "description": "Requests are signed with IAM credentials (SigV4, service `execute-api`).",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [
            {
                "url": "https://{api}.execute-api.{region}.amazonaws.com/api",
                "description": "the stack's output `EndpointURL`",
                "variables": {"api": {"default": "api-id"}, "region": {"default": "eu-central-1"}},
            }
        ],
        "security": [{"sigv4": []}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "parameters": {
                "IdempotencyKey": {
                    "name": "Idempotency-Key",
                    "in": "header",
                    "description": "has a request done once, however often it is sent within a day",
                    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY},
                    "example": "6d1c1f6e-2f0b-4f3b-9a53-0f6e1f0c7a11",
                }
            },
            "securitySchemes": {
                "sigv4": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "AWS Signature Version 4",
                    "x-amazon-apigateway-authtype": "awsSigv4",
                }
            },
        },
    }


def text() -> str:
    """Return the document as it is served: on one line, as programs read it."""
    return json.dumps(openapi(), ensure_ascii=False, separators=(",", ":")) + "\n"


def operation_id(route: AnyRoute) -> str:
    """Return a name for a route: `get_recovery_points_point_id`."""
    return re.sub(r"\W+", "_", f"{route.method.lower()}{route.path}").strip("_")


def _operation(route: AnyRoute, schemas: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {"operationId": operation_id(route), "summary": route.summary}
    if parameters := [*_in_path(route), *_in_query(route), *_in_headers(route)]:
        operation["parameters"] = parameters
    if route.has_body:
        schema = {"schema": _body(route, schemas)}
        shown = [each.document for each in EXAMPLES if each.route is route and each.status < 300]
        required = "required" in _declared(route.body)
        content = {JSON: schema | _examples(shown), YAML[0]: schema}
        operation["requestBody"] = {"required": required, "content": content}
    operation["responses"] = {
        str(int(status)): answer for status, answer in sorted(_responses(route, schemas).items())
    }
    return operation


def _in_path(route: AnyRoute) -> Iterator[dict[str, Any]]:
    for name in _PARAMETER.findall(route.path):
        description, example = _NAMED[name]
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "description": description,
            "schema": {"type": "string"},
            "example": example,
        }


def _in_query(route: AnyRoute) -> Iterator[dict[str, Any]]:
    whole = _declared(route.query)
    for name, declared in whole.get("properties", {}).items():
        schema = _flat(_cleaned(declared), whole)
        description = schema.pop("description", "")
        yield {"name": name, "in": "query", "description": description, "schema": schema}


def _flat(schema: dict[str, Any], whole: Mapping[str, Any]) -> dict[str, Any]:
    """Return a parameter's schema without references: they are to short lists of words."""
    if "$ref" not in schema:
        return schema
    target = _cleaned(whole["$defs"][schema["$ref"].rpartition("/")[2]])
    return {**target, **{key: value for key, value in schema.items() if key != "$ref"}}


def _in_headers(route: AnyRoute) -> Iterator[dict[str, Any]]:
    if route.once:
        yield {"$ref": "#/components/parameters/IdempotencyKey"}


def _responses(route: AnyRoute, schemas: dict[str, Any]) -> dict[HTTPStatus, Any]:
    good: dict[HTTPStatus, list[type[Declared] | None]] = {}
    for status, model in route.answers:
        good.setdefault(status, []).append(model)
    bad = dict(_SHARED)
    if route.has_body:
        bad |= _OF_BODIES
    if route.missing:
        bad[HTTPStatus.NOT_FOUND] = route.missing
    if route.refused or route.once:
        working = "the first request with this key is still being processed" if route.once else ""
        bad[HTTPStatus.CONFLICT] = "; ".join(filter(None, (route.refused, working)))
    if route.once:
        bad[HTTPStatus.UNPROCESSABLE_ENTITY] = "the `Idempotency-Key` was used before with another body"
    return {
        **{status: _good(route, status, models, schemas) for status, models in good.items()},
        **{status: {"description": why, "content": _problem(route, status)} for status, why in bad.items()},
    }


def _problem(route: AnyRoute, status: HTTPStatus) -> dict[str, Any]:
    if status is HTTPStatus.FORBIDDEN:
        return {JSON: {"schema": {"type": "object", "properties": {"message": {"type": "string"}}}}}
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {PROBLEM: schema | _answered(route, status)}


def _answered(route: AnyRoute, status: HTTPStatus) -> dict[str, Any]:
    return _examples([each.answer for each in EXAMPLES if each.route is route and each.status == status])


def _examples(values: list[Any]) -> dict[str, Any]:
    named = {str(number): {"value": value} for number, value in enumerate(values, 1)}
    return {"examples": named} if named else {}


def _good(
    route: AnyRoute, status: HTTPStatus, models: list[type[Declared] | None], schemas: dict[str, Any]
) -> dict[str, Any]:
    described = [_schema(model, schemas) for model in models if model is not None]
    words = " ".join((model.__doc__ or "").partition("\n")[0] for model in models if model is not None)
    answer: dict[str, Any] = {"description": words or status.phrase}
    if status is not HTTPStatus.NO_CONTENT:
        schema = (
            described[0] if len(described) == 1 else {"anyOf": described} if described else {"type": "object"}
        )
        answer["content"] = {JSON: {"schema": schema} | _answered(route, status)}
    return answer


def _body(route: AnyRoute, schemas: dict[str, Any]) -> dict[str, Any]:
    """Return a reference to the schema of a body; what stands in the path need not stand in it again."""
    reference = _schema(route.body, schemas)
    named = set(_PARAMETER.findall(route.path)) & set(route.body.model_fields)
    if not named:
        return reference
    whole = schemas[route.body.__name__]
    name = f"{route.body.__name__}Body"
    schemas[name] = {**whole, "required": [key for key in whole["required"] if key not in named]}
    return {"$ref": f"#/components/schemas/{name}"}


def _schema(model: type[Declared], schemas: dict[str, Any]) -> dict[str, Any]:
    """Return a reference to a model's schema, and see that it and those it needs are among the schemas."""
    whole = _cleaned(_declared(model))
    for name, schema in {**whole.pop("$defs", {}), model.__name__: whole}.items():
        if schemas.setdefault(name, schema) != schema:
            raise ValueError(f"two models are called {name}")
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _declared(model: type[Declared]) -> dict[str, Any]:
    return schema_of(model)


def _cleaned(schema: Any) -> Any:
    """Return a schema as it stands in OpenAPI: with references into the components, without what is ours."""
    if isinstance(schema, list):
        return [_cleaned(each) for each in schema]
    if isinstance(schema, str):
        return schema.replace("#/$defs/", "#/components/schemas/")
    if not isinstance(schema, Mapping):
        return schema
    return {
        key: _cleaned_properties(value) if key in ("properties", "$defs") else _cleaned(value)
        for key, value in schema.items()
        if not key.startswith(_OURS)
    }


def _cleaned_properties(schemas: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _cleaned(schema) for name, schema in schemas.items()}
