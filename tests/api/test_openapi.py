"""GET /openapi.json describes the API to programs: valid, complete, and true of what is answered."""

import json
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from chalicelib.triggers.routes import PUT_PLAN, ROUTES
from docs.examples import Example, examples
from docs.openapi import WHERE, openapi
from stage import HOME_TEMPLATE
from tests.support.deployment import Deployment, Document

DESCRIBED = json.loads(WHERE.read_text("utf-8"))
REGISTRY = Registry().with_resource("urn:api", DRAFT202012.create_resource(DESCRIBED))


def faults(schema: Document, value: object) -> list[str]:
    """Return in what a value differs from a schema of the document."""
    anchored = json.loads(json.dumps(schema).replace('"#/components/', '"urn:api#/components/'))
    validator = Draft202012Validator(anchored, registry=REGISTRY)
    return [error.message for error in validator.iter_errors(value)]


def schemas_with_examples(value: Any) -> Iterator[tuple[Document, object]]:
    """Yield each schema in a document that has examples, with each of them."""
    if isinstance(value, dict):
        if isinstance(value.get("examples"), list):
            yield from ((value, example) for example in value["examples"])
        for inner in value.values():
            yield from schemas_with_examples(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from schemas_with_examples(inner)


def test_it_is_valid_openapi_3_1() -> None:
    assert DESCRIBED["openapi"].startswith("3.1")
    validate(DESCRIBED)


def test_it_is_what_the_routes_declare() -> None:
    assert json.loads(json.dumps(openapi())) == DESCRIBED, "run `make docs`"


def test_it_is_served_as_it_is(app: Deployment) -> None:
    answer = app.ask("GET", "/openapi.json")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.document == DESCRIBED


def test_it_has_the_routes_of_the_package_each_of_which_takes_any_method_to_refuse_it() -> None:
    packaged = json.loads(HOME_TEMPLATE.read_text())["Resources"]["RestAPI"]["Properties"]["DefinitionBody"]
    other = "x-amazon-apigateway-any-method"
    for path, methods in DESCRIBED["paths"].items():
        assert packaged["paths"][path].keys() == {*methods, other}
        uri = packaged["paths"][path][other]["x-amazon-apigateway-integration"]["uri"]
        assert {
            str(method["x-amazon-apigateway-integration"]["uri"])
            for method in packaged["paths"][path].values()
        } == {str(uri)}
        assert packaged["paths"][path][other]["security"] == [{"sigv4": []}]
    assert packaged["paths"].keys() == DESCRIBED["paths"].keys()


def test_every_answer_that_is_no_good_one_is_a_problem_document() -> None:
    for path, methods in DESCRIBED["paths"].items():
        for method, operation in methods.items():
            for status, answer in operation["responses"].items():
                if int(status) >= 400 and status != "403":  # that one is API Gateway's own
                    assert list(answer["content"]) == ["application/problem+json"], (path, method, status)


def test_every_post_that_opens_jobs_takes_an_idempotency_key() -> None:
    for route in ROUTES:
        parameters = DESCRIBED["paths"][route.path][route.method.lower()].get("parameters", [])
        takes = {"$ref": "#/components/parameters/IdempotencyKey"} in parameters
        opens = any(status == HTTPStatus.ACCEPTED for status, _ in route.answers)
        assert takes == (route.method == "POST" and opens), route.name


def test_every_key_of_a_request_says_what_it_is() -> None:
    for route in ROUTES:
        for model in (route.query, route.body):
            for key, declared in model.model_fields.items():
                assert declared.description, f"{model.__name__}.{key}"


def test_every_example_of_a_key_is_right() -> None:
    found = list(schemas_with_examples(DESCRIBED["components"]["schemas"]))
    assert len(found) > 20
    for schema, example in found:
        assert not faults(schema, example), (schema, example)


@pytest.mark.parametrize(
    "example", list(examples()), ids=lambda each: f"{each.method} {each.path} {each.status}"
)
def test_every_example_of_the_page_is_what_its_models_say(example: Example) -> None:
    route = example.route
    operation = DESCRIBED["paths"][route.path][route.method.lower()]
    if route.has_body and example.status < 300:
        named = {"name": "web"} if route is PUT_PLAN else {}
        assert route.body.read({**named, **example.document}, "the example")
        assert not faults(operation["requestBody"]["content"]["application/json"]["schema"], example.document)
    [content] = operation["responses"][str(example.status)]["content"].values()
    assert not faults(content["schema"], example.answer)
