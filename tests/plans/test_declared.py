"""What is wrong with a document is said from the declaration alone: where, the value, what would be right."""

import json
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from chalicelib.errors import InvalidInput
from chalicelib.plans.declared import Declared, Fault, Maybe, worded
from chalicelib.plans.problems import MOST_PROBLEMS, problems_of
from chalicelib.plans.schema import schema_of
from chalicelib.plans.words import listed, shown


class Shape(StrEnum):
    ROUND = "round"
    SQUARE = "square"


class Box(Declared):
    hides_values = True
    variant_key = "shape"
    shape: Literal[Shape.SQUARE] = Shape.SQUARE
    sides: Annotated[
        tuple[Annotated[int, Field(ge=1, le=1_000)], ...], Field(strict=False, max_length=4)
    ] = ()


class Ball(Declared):
    variant_key = "shape"
    shape: Literal[Shape.ROUND] = Shape.ROUND
    radius: Annotated[float, Field(gt=0)]


class Crate(Declared):
    later: ClassVar = {"lid": "closes it"}

    name: Annotated[str, worded("a short name", title="name"), Field(max_length=4, examples=["tea"])]
    label: str = Field(default_factory=lambda given: given["name"])
    heavy: Maybe[bool] = None
    count: Maybe[int] = None
    things: Annotated[
        tuple[Annotated[Box | Ball, Field(discriminator="shape")], ...], Field(strict=False, min_length=1)
    ]
    pair: Maybe[Annotated[tuple[str, ...], Field(strict=False, min_length=2, max_length=3)]] = None
    marks: dict[Annotated[str, Field(max_length=3)], str] = Field(default_factory=dict)

    @classmethod
    def ties(cls, given: Mapping[str, Any], context: Any) -> Iterator[Fault]:
        if "heavy" in given and "count" in given:
            yield ("count",), "heavy or count, not both"
        if context and given.get("name") in context:
            yield ("name",), "a name that is free"


WHOLE = {"name": "a", "things": [{"shape": "square"}]}


def told(document: Any, context: Any = None) -> dict[str, tuple[Any, str]]:
    with pytest.raises(InvalidInput) as refused:
        Crate.read(document, "the crate", context)
    return {problem.pointer: (problem.value, problem.expected) for problem in refused.value.problems}


@pytest.mark.parametrize(
    ("document", "pointer", "value", "says"),
    [
        (WHOLE | {"name": 7}, "/name", 7, "a short name, such as tea"),
        (WHOLE | {"heavy": "no"}, "/heavy", "no", "true or false"),
        (WHOLE | {"heavy": None}, "/heavy", None, "has no value: write one, or leave the key out"),
        (WHOLE | {"count": 1.0}, "/count", 1.0, "a whole number"),
        (WHOLE | {"things": []}, "/things", [], "a list of at least 1"),
        (WHOLE | {"things": {}}, "/things", {}, "a list of at least 1"),
        (WHOLE | {"things": [3]}, "/things/0", 3, "a mapping with shape: square or round"),
        (WHOLE | {"things": [{}]}, "/things/0/shape", None, "required: square or round"),
        (WHOLE | {"things": [{"shape": "squar"}]}, "/things/0/shape", "squar", "did you mean square?"),
        (WHOLE | {"things": [{"shape": "round"}]}, "/things/0/radius", None, "required: a number above 0"),
        (WHOLE | {"naem": 1}, "/naem", 1, "did you mean name?; the keys here are count, heavy"),
        (WHOLE | {"lid": 1}, "/lid", 1, "not supported yet"),
        (WHOLE | {"a/b~c": 1}, "/a~1b~0c", 1, "an unknown key"),
        (WHOLE | {"marks": {"long": "x"}}, "/marks/long", "long", "a text of 0 to 3 characters"),
        (WHOLE | {"marks": {"(a)": 5}}, "/marks/(a)", 5, "a text"),
        (WHOLE | {"(text)": 5}, "/(text)", 5, "an unknown key; the keys here are count"),
        (WHOLE | {"[key]": 5}, "/[key]", 5, "an unknown key; the keys here are count"),
        (WHOLE | {"pair": ["a"]}, "/pair", ["a"], "a list of 2 to 3"),
        (WHOLE | {"pair": ["a", 1]}, "/pair/1", 1, "a text"),
        (WHOLE | {"name": "\ud800"}, "/name", "\ud800", "surrogate"),
        (WHOLE | {4: 1}, "/4", 4, "keys are texts"),
        (WHOLE | {"heavy": True, "count": 3}, "/count", 3, "heavy or count, not both"),
        ([], "", [], "a mapping with name and things"),
    ],
)
def test_each_kind_of_fault_has_its_words(document: Any, pointer: str, value: Any, says: str) -> None:
    ((place, (met, expected)),) = told(document).items()
    assert (place, met) == (pointer, value)
    assert says in expected


def test_faults_of_options_say_where_a_key_belongs_and_repeat_no_secret() -> None:
    things = [{"shape": "square", "radius": 1}, {"shape": "square", "token": "hunter2"}]
    found = told(WHOLE | {"things": [*things, {"shape": "square", "sides": [1, 0]}]})
    assert found["/things/0/radius"] == ("(not shown)", "belongs where shape is round; leave it out")
    assert found["/things/1/token"][0] == "(not shown)"
    assert found["/things/2/sides/1"] == (0, "a whole number from 1 to 1,000")


def test_ties_are_told_beside_faults_of_types() -> None:
    found = told({"name": "tea", "heavy": 1, "count": 3, "things": [{}]}, context={"tea"})
    assert {place: expected for place, (_, expected) in found.items()} == {
        "/count": "heavy or count, not both",
        "/heavy": "true or false",
        "/name": "a name that is free",
        "/things/0/shape": "required: square or round",
    }


def test_a_hundred_problems_are_told_and_the_rest_counted() -> None:
    found = told(WHOLE | {f"k{number}": 1 for number in range(30_000)})
    assert len(found) == MOST_PROBLEMS + 1
    assert found[""][1] == "29,900 more problems are not listed: fix these first"


def test_an_errors_text_is_short_however_many_problems_it_has() -> None:
    with pytest.raises(InvalidInput) as refused:
        Crate.read(WHOLE | {f"k{number}": 1 for number in range(300)}, "the crate")
    assert str(refused.value).startswith("reading the crate failed: /k0: 1 - an unknown key")
    assert str(refused.value).endswith("; and 91 more")


def test_defaults_are_filled_in_and_what_is_absent_left_out() -> None:
    crate = Crate.read(WHOLE, "the crate")
    document = crate.document()
    assert document == {"name": "a", "label": "a", "things": [{"shape": "square", "sides": []}], "marks": {}}
    assert Crate.read(json.loads(json.dumps(document)), "the crate") == crate


def test_schema_has_the_words_and_no_null() -> None:
    schema = schema_of(Crate)
    assert schema["properties"]["name"]["errorMessage"] == "a short name"
    assert schema["properties"]["heavy"] == {"type": "boolean"}
    assert schema["required"] == ["name", "things"]
    assert schema["$defs"]["Box"]["required"] == ["shape"]


def test_what_is_no_model_is_told_as_well() -> None:
    numbers = TypeAdapter(dict[str, Annotated[int, Field(ge=1)]])
    with pytest.raises(ValidationError) as refused:
        numbers.validate_python({"a": 0}, strict=True)
    (problem,) = problems_of(refused.value, {"a": 0}, numbers)
    assert (problem.pointer, problem.expected) == ("/a", "a whole number of at least 1")


@pytest.mark.parametrize(
    ("value", "short"),
    [("x" * 201, "x" * 200 + "..."), (float("nan"), "nan"), ({"a": 1}, {"a": 1}), ({1}, "{1}")],
)
def test_values_are_shown_short_and_as_json_can(value: Any, short: Any) -> None:
    assert shown(value) == short


@pytest.mark.parametrize(("words", "text"), [("a", "a"), ("ab", "a or b"), ("abc", "a, b or c")])
def test_alternatives_read_as_a_sentence(words: str, text: str) -> None:
    assert listed(words) == text
