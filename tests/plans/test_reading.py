"""Texts become documents that say what was written, or are refused with the place and the remedy."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import InvalidInput, Problem
from chalicelib.plans.literals import DEEPEST
from chalicelib.plans.problems import MOST_PROBLEMS
from chalicelib.plans.reading import LARGEST_BYTES, load_document


def refused(text: str, *, is_yaml: bool) -> tuple[Problem, ...]:
    with pytest.raises(InvalidInput) as found:
        load_document(text, is_yaml=is_yaml)
    return found.value.problems


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("off", "off"),
        ("yes", "yes"),
        ("true", True),
        ("0x10", "0x10"),
        ("010", "010"),
        ("0o17", "0o17"),
        ("1_000", "1_000"),
        ("12:30:00", "12:30:00"),
        ("2026-01-01", "2026-01-01"),
        ("16", 16),
        ("-3", -3),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ('"16"', "16"),
        ("'true'", "true"),
        ("!!str 16", "16"),
        ("", None),
        ("~", None),
        ("null", None),
        ("50%", "50%"),
        ("<<", "<<"),
    ],
)
def test_yaml_scalar_is_what_a_person_wrote(written: str, value: Any) -> None:
    assert load_document(f"key: {written}\n", is_yaml=True) == {"key": value}


def test_keys_of_yaml_are_texts() -> None:
    assert load_document("on: 1\n1: a\ntrue: b\n", is_yaml=True) == {"on": 1, "1": "a", "true": "b"}


@pytest.mark.parametrize("is_yaml", [False, True], ids=["JSON", "YAML"])
def test_a_key_that_stands_twice_is_named_with_its_place(is_yaml: bool) -> None:
    text = '{"a": [{"b": 1, "b/c": 2, "b/c": 3}], "d": 1, "d": 2}'
    problems = refused(text, is_yaml=is_yaml)
    assert [problem.pointer for problem in problems] == ["/d", "/a/0/b~1c"]
    assert all("more than once: keep one" in problem.expected for problem in problems)


def test_no_more_problems_are_told_than_a_person_reads() -> None:
    problems = refused("{" + ",".join(f'"k{n}":1,"k{n}":2' for n in range(5_000)) + "}", is_yaml=False)
    assert len(problems) == MOST_PROBLEMS + 1
    assert problems[-1].expected == "4,900 more problems are not listed: fix these first"


BOMB = "a: &a [x, x]\n" + "".join(
    f"{name}: &{name} [*{before}, *{before}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param(BOMB, "no anchors and aliases", id="aliases that multiply"),
        pytest.param("&a [*a]", "no anchors and aliases (& and *): write it out in line 1", id="itself"),
        pytest.param("a: !!python/object:os.system x", "no tags", id="a tag"),
        pytest.param("a: 1\n---\nb: 2\n", "a second one begins in line 2", id="two documents"),
        pytest.param("? [a]\n: b", "neither lists nor mappings", id="a list as a key"),
        pytest.param("a: [", "YAML: ", id="cut off"),
        pytest.param("a: .nan", "no number that can be kept", id="not a number"),
        pytest.param("a: \x01", "control characters", id="a control character"),
        pytest.param("a: \ud800", "unpaired surrogates", id="half of a surrogate pair"),
        pytest.param("[" * 100_000, f"at most {DEEPEST} deep", id="a deep list"),
        pytest.param("- " * 50_000, f"at most {DEEPEST} deep", id="a deep list in blocks"),
        pytest.param("{a: " * 50_000, f"at most {DEEPEST} deep", id="a deep mapping"),
        pytest.param("? " * 50_000, "neither lists nor mappings", id="a deep key"),
        pytest.param("a: " + "9" * 5_000, "at most 40 digits", id="a long number"),
    ],
)
def test_yaml_that_would_harm_or_mislead_is_refused(text: str, says: str) -> None:
    assert says in refused(text, is_yaml=True)[0].expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("", "JSON: Expecting value in line 1", id="nothing"),
        pytest.param('{"a": NaN}', "NaN is no number", id="not a number"),
        pytest.param('{"a": -Infinity}', "-Infinity is no number", id="infinity"),
        pytest.param('{"a": 1e999}', "larger than any number", id="a large number"),
        pytest.param('{"a": ' + "9" * 5_000 + "}", "at most 40 digits", id="a long number"),
        pytest.param('{"a": 0x10}', "JSON: ", id="hexadecimal"),
        pytest.param('{"a": "\\ud800"}', "unpaired surrogates", id="half of a surrogate pair"),
        pytest.param('{"\\ud800": 1}', "surrogate pair", id="half of a surrogate pair in a key"),
        pytest.param("[" * 100_000, f"at most {DEEPEST} deep", id="a deep list"),
        pytest.param('{"a":' * 50_000, f"at most {DEEPEST} deep", id="a deep mapping"),
    ],
)
def test_json_that_would_harm_or_mislead_is_refused(text: str, says: str) -> None:
    assert says in refused(text, is_yaml=False)[0].expected


@pytest.mark.parametrize("is_yaml", [False, True], ids=["JSON", "YAML"])
def test_a_text_that_is_too_large_is_not_read(is_yaml: bool) -> None:
    (problem,) = refused('"' + "x" * LARGEST_BYTES + '"', is_yaml=is_yaml)
    assert (problem.value, problem.expected) == ("262,146 bytes", "at most 262,144 bytes")


@pytest.mark.parametrize("is_yaml", [False, True], ids=["JSON", "YAML"])
def test_brackets_in_texts_are_not_depth(is_yaml: bool) -> None:
    brackets = "[{" * 1_000 + '\\"'
    assert load_document(f'{{"a": "{brackets}"}}', is_yaml=is_yaml) == {"a": "[{" * 1_000 + '"'}


@pytest.mark.parametrize("is_yaml", [False, True], ids=["JSON", "YAML"])
def test_what_is_as_deep_as_may_be_is_read(is_yaml: bool) -> None:
    assert load_document("[" * DEEPEST + "]" * DEEPEST, is_yaml=is_yaml)
    assert refused("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), is_yaml=is_yaml)


texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=8)
documents = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(documents)
def test_what_was_written_is_read_back(document: Any) -> None:
    assert load_document(json.dumps(document), is_yaml=False) == document
    assert load_document(json.dumps(document), is_yaml=True) == document


@given(st.text(st.characters()))
def test_no_text_breaks_the_reading(text: str) -> None:
    for is_yaml in (False, True):
        with contextlib.suppress(InvalidInput):
            json.dumps(load_document(text, is_yaml=is_yaml), allow_nan=False)
