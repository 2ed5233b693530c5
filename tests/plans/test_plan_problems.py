"""What is wrong with a plan: every fault at once, its place, its value, and what would be right."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import InvalidInput, Problem
from chalicelib.plans.model import parse_plan
from chalicelib.settings import OffsiteVaultConfig, S3VaultConfig

NOW = datetime(2026, 11, 22, tzinfo=UTC)
S3, OFFSITE = S3VaultConfig.copy_methods, OffsiteVaultConfig.copy_methods
VAULTS = {
    "primary": S3VaultConfig.copy_methods,
    "dr": S3VaultConfig.copy_methods,
    "azure": S3VaultConfig.copy_methods,
}
SNAPSHOT = {"name": "daily", "kind": "snapshot", "schedule": "cron(0 2 * * ? *)", "lifecycle": {"count": 7}}
SERVICE = {
    "name": "nightly",
    "kind": "service",
    "schedule": "cron(15 2 * * ? *)",
    "script": "/opt/backup",
    "lifecycle": {"count": 7},
}


def problems(document: Any) -> list[Problem]:
    with pytest.raises(InvalidInput) as refused:
        parse_plan(document, vaults=VAULTS, now=NOW)
    return list(refused.value.problems)


def plan(**keys: Any) -> dict[str, Any]:
    return {"name": "orders", "selection": {"tags": {"app": "orders"}}, "rules": [SNAPSHOT], **keys}


def rule(**keys: Any) -> dict[str, Any]:
    return plan(rules=[{**SNAPSHOT, **keys}])


def service(**keys: Any) -> dict[str, Any]:
    return plan(rules=[{**SERVICE, **keys}])


def without(rule: dict[str, Any], *keys: str) -> dict[str, Any]:
    return plan(rules=[{key: value for key, value in rule.items() if key not in keys}])


@pytest.mark.parametrize(
    ("document", "pointer", "value", "says"),
    [
        # Names.
        (plan(name="-orders"), "/name", "-orders", "beginning with a letter or a digit"),
        (plan(name="a" * 65), "/name", "a" * 65, "1 to 64"),
        (plan(name="orders\n"), "/name", "orders\n", "1 to 64"),
        (plan(name="bestellungen-ü"), "/name", "bestellungen-ü", "letters, digits"),
        (plan(name=7), "/name", 7, "a name: 1 to 64"),
        (rule(name=""), "/rules/0/name", "", "1 to 64"),
        (rule(name="../up"), "/rules/0/name", "../up", "1 to 64"),
        (plan(service=" "), "/service", " ", "on one line"),
        (plan(service="a\nb"), "/service", "a\nb", "on one line"),
        (plan(service=["a"]), "/service", ["a"], "or {tag: KEY}"),
        (plan(service={"tag": 1}), "/service/tag", 1, "the key of a tag"),
        (plan(service={"tag": "Name", "tags": "x"}), "/service/tags", "x", "did you mean tag?"),
        # Keys that are missing or unknown.
        (without(SNAPSHOT, "name"), "/rules/0/name", None, "required: a name"),
        (without(SNAPSHOT, "kind"), "/rules/0/kind", None, "required: snapshot or service"),
        (without(SNAPSHOT, "lifecycle"), "/rules/0/lifecycle", None, "required: a mapping with exactly one"),
        (without(SNAPSHOT, "schedule"), "/rules/0/schedule", None, "or rpo, such as 1h"),
        (without(SERVICE, "script"), "/rules/0/script", None, "required: a path on the instance"),
        (plan(slection={}), "/slection", {}, "did you mean selection?"),
        (rule(shedule="x"), "/rules/0/shedule", "x", "did you mean schedule?"),
        (rule(zzz=1), "/rules/0/zzz", 1, "the keys here are copies, kind, lifecycle, name"),
        (rule(lifecycle={"counts": 3, "count": 3}), "/rules/0/lifecycle/counts", 3, "did you mean count?"),
        (plan(**{"a/b~c": 1}), "/a~1b~0c", 1, "an unknown key"),
        (rule(script="/opt/backup"), "/rules/0/script", "/opt/backup", "belongs where kind is service"),
        (service(volumes={}), "/rules/0/volumes", {}, "belongs where kind is snapshot"),
        (rule(kind="servce"), "/rules/0/kind", "servce", "did you mean service?"),
        (rule(kind=7), "/rules/0/kind", 7, "snapshot or service"),
        (rule(kind=["service"]), "/rules/0/kind", ["service"], "snapshot or service"),
        # Selection.
        (plan(selection={}), "/selection/tags", None, "required: a mapping from tag keys"),
        (plan(selection={"tags": {}}), "/selection/tags", {}, "a mapping from tag keys"),
        (plan(selection={"tags": ["app"]}), "/selection/tags", ["app"], "a mapping from tag keys"),
        (plan(selection={"tags": {"app": []}}), "/selection/tags/app", [], "a list of at least one text"),
        (
            plan(selection={"tags": {"app": {"x": "y"}}}),
            "/selection/tags/app",
            {"x": "y"},
            "or a list of at least one text",
        ),
        (plan(selection={"tags": {"a": "x" * 257}}), "/selection/tags/a", "x" * 200 + "...", "at most 256"),
        (plan(selection={"tags": {"a*": "x"}}), "/selection/tags/a*", "a*", "not in its key"),
        (
            plan(selection={"tags": {"a": "x"}, "exclude_tags": {"backup": False}}),
            "/selection/exclude_tags/backup",
            False,
            'quote it as it is written on the instance, for example "off"',
        ),
        (plan(selection={"tags": {"a": ["x", 1]}}), "/selection/tags/a/1", 1, "tag values are texts"),
        (plan(selection={"tags": {"a": 1.5}}), "/selection/tags/a", 1.5, "tag values are texts"),
        # Schedules.
        (
            rule(schedule="cron(0 25 * * ? *)"),
            "/rules/0/schedule",
            "cron(0 25 * * ? *)",
            "hours: '25' is not within 0-23",
        ),
        (
            rule(schedule="cron(0 0 31 2 ? *)"),
            "/rules/0/schedule",
            "cron(0 0 31 2 ? *)",
            "there is no such date",
        ),
        (rule(schedule="0 2 * * *"), "/rules/0/schedule", "0 2 * * *", 'write "cron('),
        (rule(schedule=5), "/rules/0/schedule", 5, '"cron(...)" or "rate(...)"'),
        (rule(timezone="Europe/Berln"), "/rules/0/timezone", "Europe/Berln", "did you mean Europe/Berlin?"),
        (rule(rpo="1h"), "/rules/0/rpo", "1h", "exactly one of schedule and rpo"),
        # Durations.
        (plan(objectives={"rpo": 3600}), "/objectives/rpo", 3600, "90s, 15m, 1h or 30d"),
        (plan(objectives={"rto": "1 hour"}), "/objectives/rto", "1 hour", "90s, 15m, 1h or 30d"),
        (plan(objectives={"rpo": "0h"}), "/objectives/rpo", "0h", "from 1m to 3650d"),
        (service(timeout="0s"), "/rules/0/timeout", "0s", "from 1s to 2d"),
        (service(timeout="49h"), "/rules/0/timeout", "49h", "from 1s to 2d"),
        (rule(lifecycle={"age": "40000d"}), "/rules/0/lifecycle/age", "40000d", "to 36500d"),
        # Lifecycles.
        (rule(lifecycle={}), "/rules/0/lifecycle", {}, "exactly one of keep, count and age"),
        (rule(lifecycle={"min_keep": 2}), "/rules/0/lifecycle", {"min_keep": 2}, "exactly one of"),
        (
            rule(lifecycle={"count": 1, "age": "1d"}),
            "/rules/0/lifecycle",
            {"count": 1, "age": "1d"},
            "exactly one of",
        ),
        (rule(lifecycle={"keep": {}}), "/rules/0/lifecycle/keep", {}, "at least one of hourly"),
        (rule(lifecycle={"keep": {"daily": 0}}), "/rules/0/lifecycle/keep/daily", 0, "from 1 to 100,000"),
        (rule(lifecycle={"keep": 7}), "/rules/0/lifecycle/keep", 7, "at least one of hourly"),
        (rule(lifecycle={"count": "7"}), "/rules/0/lifecycle/count", "7", "a whole number"),
        (rule(lifecycle={"count": True}), "/rules/0/lifecycle/count", True, "a whole number"),
        (rule(lifecycle={"count": 7.0}), "/rules/0/lifecycle/count", 7.0, "a whole number"),
        (rule(lifecycle={"count": -1}), "/rules/0/lifecycle/count", -1, "from 1 to"),
        (rule(lifecycle={"count": 7, "min_keep": 0}), "/rules/0/lifecycle/min_keep", 0, "from 1 to"),
        (rule(lifecycle="forever"), "/rules/0/lifecycle", "forever", "exactly one of"),
        (
            rule(lifecycle={"count": 1, "manual": {"count": 0}}),
            "/rules/0/lifecycle/manual/count",
            0,
            "from 1 to",
        ),
        (rule(lifecycle={"count": 1, "manual": 5}), "/rules/0/lifecycle/manual", 5, "such as {count: 5}"),
        # What is expected.
        (rule(expect={}), "/rules/0/expect", {}, "belongs where kind is service"),
        (service(expect="big"), "/rules/0/expect", "big", "such as {min_bytes: 1000000, shrink: 50%}"),
        (service(expect={"min_bytes": 0}), "/rules/0/expect/min_bytes", 0, "a whole number of bytes"),
        (service(expect={"shrink": "100%"}), "/rules/0/expect/shrink", "100%", "from 1% to 99%"),
        (service(expect={"shrink": 50}), "/rules/0/expect/shrink", 50, 'from 1% to 99%, or "off"'),
        (service(expect={"shrink": True}), "/rules/0/expect/shrink", True, "from 1% to 99%"),
        (service(expect={"shrnk": "5%"}), "/rules/0/expect/shrnk", "5%", "did you mean shrink?"),
        # Copies.
        (rule(copies=[{"vault": "drr"}]), "/rules/0/copies/0/vault", "drr", "did you mean dr?"),
        (rule(copies=[{"vault": "mars"}]), "/rules/0/copies/0/vault", "mars", "copies are azure, dr"),
        (rule(copies=[{"vault": "primary"}]), "/rules/0/copies/0/vault", "primary", "is made in primary"),
        (
            rule(copies=[{"vault": "dr"}, {"vault": "dr"}]),
            "/rules/0/copies/1/vault",
            "dr",
            "copies into a vault once",
        ),
        (rule(copies=["dr"]), "/rules/0/copies/0", "dr", "such as {vault: dr}"),
        (rule(copies={"vault": "dr"}), "/rules/0/copies", {"vault": "dr"}, "a list of at most 20"),
        (
            rule(copies=[{"vault": "dr", "lifecycle": {}}]),
            "/rules/0/copies/0/lifecycle",
            {},
            "exactly one of",
        ),
        # Rules and scripts.
        (plan(rules=[]), "/rules", [], "a list of 1 to 100"),
        (plan(rules={"a": 1}), "/rules", {"a": 1}, "a list of 1 to 100"),
        (plan(rules=["hourly"]), "/rules/0", "hourly", "a mapping with name, kind"),
        (plan(rules=[SNAPSHOT, SNAPSHOT]), "/rules/1/name", "daily", "a name of its own"),
        (service(script=""), "/rules/0/script", "", "a path on the instance"),
        (service(script="a\0b"), "/rules/0/script", "a\0b", "a path on the instance"),
        (service(script="x" * 16_385), "/rules/0/script", "x" * 200 + "...", "at most 16384 bytes"),
        (service(verify="/v"), "/rules/0/verify", "/v", "verify runs after restore"),
        (rule(verify="/v"), "/rules/0/verify", "/v", "verify runs after restore"),
        (service(output="tape"), "/rules/0/output", "tape", "pipe or file"),
        (service(working_directory=""), "/rules/0/working_directory", "", "on one line"),
        (rule(volumes={"boot": "no"}), "/rules/0/volumes/boot", "no", "true or false"),
        (rule(volumes={"boots": True}), "/rules/0/volumes/boots", True, "did you mean boot?"),
        # Keys without a value.
        (rule(timezone=None), "/rules/0/timezone", None, "has no value"),
        (plan(selection={"tags": {"backup": None}}), "/selection/tags/backup", None, "has no value"),
        (plan(selection={"tags": {"a": "\ud800"}}), "/selection/tags/a", "\ud800", "surrogate"),
        (service(script="\ud800"), "/rules/0/script", "\ud800", "surrogate"),
        # The design's keys whose capability is still to come.
        # What happens when an instance starts, and before one goes.
        (plan(on_launch={"restore": "weekly"}), "/on_launch/restore", "weekly", "a rule of this plan: "),
        (plan(on_launch={"backup": "weekly"}), "/on_launch/backup", "weekly", "a rule of this plan: "),
        (plan(on_launch={}), "/on_launch", {}, "exactly one of restore, backup and script"),
        (
            plan(on_launch={"script": "true", "on_failure": "abandon"}),
            "/on_launch/on_failure",
            "abandon",
            "without a hook no group waits",
        ),
        (
            plan(on_launch={"script": "true", "required": True}),
            "/on_launch/required",
            True,
            "only beside restore",
        ),
        (plan(on_launch={"script": "true", "hook": "a b"}), "/on_launch/hook", "a b", "a lifecycle hook"),
        (plan(on_terminate={"backup": "weekly"}), "/on_terminate/backup", "weekly", "a rule of this plan: "),
        (plan(on_terminate={"backup": []}), "/on_terminate/backup", [], "1 to 10 names"),
        (plan(identity={}), "/identity", {}, "at least one of elastic_ip"),
        (
            plan(identity={"elastic_ip": "eipalloc-0123456789abcdef0"}),
            "/identity",
            {"elastic_ip": "eipalloc-0123456789abcdef0"},
            "only beside on_launch.restore",
        ),
        (rule(hooks={"pre": "x"}), "/rules/0/hooks", {"pre": "x"}, "not supported yet"),
        (service(target="each"), "/rules/0/target", "each", "not supported yet"),
        (service(target="all"), "/rules/0/target", "all", "one"),
        (
            rule(copies=[{"vault": "azure", "encrypt_to": ["age1x"]}]),
            "/rules/0/copies/0/encrypt_to",
            ["age1x"],
            "not supported yet",
        ),
    ],
)
def test_fault_is_said_with_its_place_its_value_and_the_remedy(
    document: dict[str, Any], pointer: str, value: Any, says: str
) -> None:
    found = problems(document)
    assert [(problem.pointer, problem.value) for problem in found] == [(pointer, value)]
    assert says in found[0].expected


@pytest.mark.parametrize("document", [None, [], "orders", 7])
def test_what_is_no_mapping_is_no_plan(document: Any) -> None:
    assert problems(document) == [Problem("", document, "a mapping with name, selection and rules")]


def test_empty_document_lacks_all_that_is_required() -> None:
    assert [problem.pointer for problem in problems({})] == ["/name", "/rules", "/selection"]


def test_every_fault_is_found_at_once() -> None:
    document = plan(
        name="",
        surprise=1,
        rules=[
            {**SNAPSHOT, "schedule": "cron(0 25 * * ? *)", "rpo": "1h", "copies": [{"vault": "mars"}]},
            {**SERVICE, "name": "daily", "timeout": 5, "target": "each"},
            {"kind": "service"},
        ],
    )
    assert [problem.pointer for problem in problems(document)] == [
        "/name",
        "/rules/0/copies/0/vault",
        "/rules/0/rpo",
        "/rules/0/schedule",
        "/rules/1/name",
        "/rules/1/target",
        "/rules/1/timeout",
        "/rules/2/lifecycle",
        "/rules/2/name",
        "/rules/2/schedule",
        "/rules/2/script",
        "/surprise",
    ]


def test_where_no_vault_for_copies_is_configured_it_says_so() -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_plan(rule(copies=[{"vault": "dr"}]), vaults={"primary": S3VaultConfig.copy_methods}, now=NOW)
    assert refused.value.problems[0].expected == "not a configured vault; no other vault is configured"


def test_yaml_that_reads_words_as_booleans_and_dates_is_met() -> None:
    document = yaml.safe_load(
        """
        name: 2026-11-22
        on: true
        selection: {tags: {app: orders}, exclude_tags: {backup: off, keep: 1}}
        rules: []
        """
    )
    found = {problem.pointer: problem for problem in problems(document)}
    assert found["/name"].value == "2026-11-22"
    assert found["/selection/exclude_tags/backup"].value is False
    assert "quote it" in found["/selection/exclude_tags/keep"].expected
    assert "keys are texts: quote it" in {problem.expected for problem in found.values()}


def edited(change: Callable[[Any], Any], document: Any) -> Any:
    match document:
        case dict():
            return {key: edited(change, value) for key, value in document.items()}
        case list():
            return [edited(change, value) for value in document]
    return change(document)


def refusal(document: Any) -> tuple[Problem, ...]:
    try:
        parse_plan(document, vaults=VAULTS, now=NOW)
    except InvalidInput as refused:
        return refused.problems
    return ()


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8) | st.integers() | st.booleans() | st.none(), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = [
    "name",
    "service",
    "selection",
    "objectives",
    "rules",
    "on_launch",
    "tags",
    "lifecycle",
    "kind",
    "copies",
]


@given(st.data())
def test_no_document_whatever_breaks_the_reading(data: st.DataObject) -> None:
    whole = plan(service={"tag": "Name"}, rules=[SNAPSHOT, {**SERVICE, "copies": [{"vault": "dr"}]}])
    documents = st.one_of(
        st.dictionaries(st.sampled_from(KEYS), junk | st.lists(st.dictionaries(st.sampled_from(KEYS), junk))),
        st.just(whole).map(lambda it: edited(lambda value: data.draw(st.just(value) | junk), it)),
    )
    document = data.draw(documents)
    found = refusal(document)
    for problem in found:
        json.dumps(problem.value, allow_nan=False)
        assert problem.pointer == "" or problem.pointer.startswith("/")
        assert problem.expected
        assert "pydantic" not in problem.expected
        assert "Input should be" not in problem.expected
    pointers = [problem.pointer for problem in found]
    assert len(pointers) == len(set(pointers))


def test_a_rule_copies_only_into_vaults_that_hold_its_kind() -> None:
    document = rule(copies=[{"vault": "azure"}])
    with pytest.raises(InvalidInput) as refused:
        parse_plan(document, vaults={**VAULTS, "azure": OffsiteVaultConfig.copy_methods}, now=NOW)
    (problem,) = refused.value.problems
    assert problem.pointer == "/rules/0/copies/0/vault"
    assert problem.expected == "a vault that holds points of kind snapshot: dr"
