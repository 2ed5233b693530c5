"""What size a backup is expected to have: what is doubted, and what it is measured by."""

import pytest

from chalicelib.plans.expect import Expect, why_suspect
from chalicelib.plans.model import Plan, read_rule

OFF = Expect.model_validate({"shrink": "off"})


@pytest.mark.parametrize(
    ("expect", "size", "before", "why"),
    [
        pytest.param(Expect(), 1, (), "", id="the first is measured by nothing"),
        pytest.param(Expect(), 50, (100,), "", id="half is still right"),
        pytest.param(Expect(), 49, (100,), "more than 50% smaller than the 100", id="less than half"),
        pytest.param(
            Expect(), 20, (20, 1000, 1000, 1000), "smaller than the 1,000", id="one odd size before"
        ),
        pytest.param(Expect(), 40, (60, 60, 60, 900, 900, 9000), "", id="the last five count"),
        pytest.param(
            Expect.model_validate({"shrink": "10%"}),
            89,
            (100,),
            "more than 10% smaller",
            id="a rule's own percentage",
        ),
        pytest.param(OFF, 1, (1000,), "", id="off"),
        pytest.param(Expect(min_bytes=500), 499, (), "less than the 500 expected", id="too few bytes"),
        pytest.param(
            Expect.model_validate({"min_bytes": 500, "shrink": "off"}),
            500,
            (9000,),
            "",
            id="as many as expected",
        ),
    ],
)
def test_what_is_doubted(expect: Expect, size: int, before: tuple[int, ...], why: str) -> None:
    said = why_suspect(expect, size, before)
    assert why in said
    assert bool(said) == bool(why)


@pytest.mark.parametrize(
    ("written", "expect", "back"),
    [
        ({}, Expect(), {"shrink": "50%"}),
        (
            {"shrink": "off", "min_bytes": 7},
            OFF.model_copy(update={"min_bytes": 7}),
            {"shrink": "off", "min_bytes": 7},
        ),
        ({"shrink": False}, OFF, {"shrink": "off"}),
        ({"shrink": "25%"}, Expect.model_validate({"shrink": "25%"}), {"shrink": "25%"}),
    ],
)
def test_what_is_expected_is_read_and_written(
    written: dict[str, object], expect: Expect, back: dict[str, object]
) -> None:
    rule = {"name": "r", "kind": "service", "rpo": "1h", "script": "dump", "lifecycle": {"count": 1}}
    document = {"name": "p", "selection": {"tags": {"a": "b"}}, "rules": [{**rule, "expect": written}]}
    [parsed] = Plan.model_validate(document).rules
    assert getattr(parsed, "expect", None) == expect
    assert parsed.document()["expect"] == back
    assert read_rule(parsed.document()) == parsed
