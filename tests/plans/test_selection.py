"""Selection by tags: AND over keys, OR over values, wildcards, NOT; and EC2's filters as a superset."""

import re
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.plans.selection import Selection, VolumeChoice, chooses, ec2_filters, matches


@pytest.mark.parametrize(
    ("patterns", "exclude", "tags", "expected"),
    [
        ({"app": ("orders",)}, {}, {"app": "orders"}, True),
        ({"app": ("orders",)}, {}, {"app": "orders", "more": "tags"}, True),
        ({"app": ("orders",)}, {}, {"app": "Orders"}, False),
        ({"app": ("orders",)}, {}, {"App": "orders"}, False),
        ({"app": ("orders",)}, {}, {}, False),
        # AND over keys, OR over values.
        ({"app": ("orders",), "env": ("prod", "stage")}, {}, {"app": "orders", "env": "stage"}, True),
        ({"app": ("orders",), "env": ("prod", "stage")}, {}, {"app": "orders", "env": "test"}, False),
        ({"app": ("orders",), "env": ("prod", "stage")}, {}, {"env": "prod"}, False),
        # Wildcards.
        ({"app": ("or*",)}, {}, {"app": "orders"}, True),
        ({"app": ("*",)}, {}, {"app": ""}, True),
        ({"app": ("*",)}, {}, {}, False),
        ({"app": ("o?ders",)}, {}, {"app": "orders"}, True),
        ({"app": ("orders?",)}, {}, {"app": "orders"}, False),
        ({"app": ("*or*rs*",)}, {}, {"app": "orders"}, True),
        ({"app": ("*",)}, {}, {"app": "two\nlines"}, True),
        # Characters that other pattern languages would read as their own.
        ({"app": ("a[bc]",)}, {}, {"app": "ab"}, False),
        ({"app": ("a[bc]",)}, {}, {"app": "a[bc]"}, True),
        ({"app": ("a.c",)}, {}, {"app": "abc"}, False),
        ({"app": (r"a\*c",)}, {}, {"app": "a*c"}, True),
        ({"app": (r"a\*c",)}, {}, {"app": "abc"}, False),
        ({"app": (r"a\\c",)}, {}, {"app": "a\\c"}, True),
        ({"app": ("a\\",)}, {}, {"app": "a\\"}, True),
        ({"app": ("",)}, {}, {"app": ""}, True),
        ({"app": ("",)}, {}, {"app": "x"}, False),
        # NOT.
        ({"app": ("orders",)}, {"backup": ("off",)}, {"app": "orders", "backup": "off"}, False),
        ({"app": ("orders",)}, {"backup": ("off",)}, {"app": "orders", "backup": "on"}, True),
        ({"app": ("orders",)}, {"backup": ("*",)}, {"app": "orders", "backup": "on"}, False),
        ({"app": ("orders",)}, {"a": ("1",), "b": ("2",)}, {"app": "orders", "b": "2"}, False),
    ],
)
def test_matches(
    patterns: dict[str, tuple[str, ...]],
    exclude: dict[str, tuple[str, ...]],
    tags: dict[str, str],
    expected: bool,
) -> None:
    assert matches(Selection(tags=patterns, exclude_tags=exclude), tags) is expected


@pytest.mark.parametrize(
    ("volumes", "boot", "tags", "expected"),
    [
        (VolumeChoice(), True, {}, True),
        (VolumeChoice(boot=False), True, {}, False),
        (VolumeChoice(boot=False), False, {}, True),
        (VolumeChoice(exclude_tags={"scratch": ("true",)}), False, {"scratch": "true"}, False),
        (VolumeChoice(exclude_tags={"scratch": ("true",)}), False, {"scratch": "false"}, True),
        (VolumeChoice(exclude_tags={"scratch": ("true",)}), True, {"scratch": "true"}, False),
    ],
)
def test_volumes_chosen(volumes: VolumeChoice, boot: bool, tags: dict[str, str], expected: bool) -> None:
    assert chooses(volumes, boot=boot, tags=tags) is expected


def test_filters_narrow_by_key_and_value() -> None:
    selection = Selection(
        tags={"app": ("orders",), "env": ("prod", "stage*")}, exclude_tags={"backup": ("off",)}
    )
    assert ec2_filters(selection) == (("tag:app", ("orders",)), ("tag:env", ("prod", "stage*")))


def test_filters_ask_for_the_key_alone_where_a_value_is_empty_or_there_are_too_many() -> None:
    assert ec2_filters(Selection(tags={"app": ("", "x")})) == (("tag-key", ("app",)),)
    assert ec2_filters(Selection(tags={"app": tuple(map(str, range(190)))})) == (("tag-key", ("app",)),)


def test_filters_stay_within_what_one_request_may_carry() -> None:
    assert len(ec2_filters(Selection(tags={f"key{number}": ("x",) for number in range(60)}))) == 49
    many = {f"key{number}": tuple(map(str, range(100))) for number in range(3)}
    filters = ec2_filters(Selection(tags=many))
    assert [name for name, _ in filters] == ["tag:key0", "tag-key"]


def test_filters_are_narrowed_to_exact_values_of_a_tag() -> None:
    selection = Selection(tags={"app": ("orders",), "Name": ("db-*",)})
    names = {"Name": ["db-1", "db*2", "db\\3"]}
    assert ec2_filters(selection, names) == (("tag:app", ("orders",)), ("tag:Name", ("db-1", "db?2", "db?3")))
    assert ec2_filters(selection, {"team": ["a"]})[-1] == ("tag:team", ("a",))


def test_many_stars_take_no_long_time() -> None:
    assert not matches(Selection(tags={"app": ("*a" * 100 + "b",)}), {"app": "a" * 256})


def ec2_lets_through(filters: tuple[tuple[str, tuple[str, ...]], ...], tags: Mapping[str, str]) -> bool:
    """Filter as EC2 documents it, with a matcher of its own: wildcards, and a backslash that makes plain."""

    def regex(value: str) -> str:
        tokens = re.findall(r"\\.|.", value, re.DOTALL)
        wild = {"*": ".*", "?": "."}
        return "".join(wild.get(token, re.escape(token[-1])) for token in tokens)

    return all(
        values[0] in tags
        if name == "tag-key"
        else name[4:] in tags
        and any(re.fullmatch(regex(value), tags[name[4:]], re.DOTALL) for value in values)
        for name, values in filters
    )


texts = st.text(alphabet="ab*?\\[]-! ", max_size=5)
patterns = st.dictionaries(
    st.sampled_from(["a", "b", "c"]), st.lists(texts, min_size=1, max_size=3).map(tuple), min_size=1
)


@given(patterns, st.dictionaries(st.sampled_from(["a", "b", "c"]), texts))
def test_filters_never_leave_out_what_is_selected(
    wanted: dict[str, tuple[str, ...]], tags: dict[str, str]
) -> None:
    selection = Selection(tags=wanted)
    if matches(selection, tags):
        assert ec2_lets_through(ec2_filters(selection), tags)


@given(patterns, st.data())
def test_every_value_matches_itself_when_it_is_made_plain(
    wanted: dict[str, tuple[str, ...]], data: st.DataObject
) -> None:
    tags = {key: data.draw(st.sampled_from(values)) for key, values in wanted.items()}
    plain: dict[str, tuple[str, ...]] = {
        key: (re.sub(r"([*?\\])", r"\\\1", value),) for key, value in tags.items()
    }
    assert matches(Selection(tags=plain), tags)
    assert ec2_lets_through(ec2_filters(Selection(tags=plain)), tags)
    assert all(not matches(Selection(tags=plain), {**tags, key: f"{value}x"}) for key, value in tags.items())
