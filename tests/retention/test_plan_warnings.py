"""What storing a plan in place of another costs is said in sentences, with numbers; and every key that
changes. Pure."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from chalicelib.plans.lifecycle import Lifecycle, Pool
from chalicelib.plans.model import Kind, Plan, Rule, ServiceRule, SnapshotRule
from chalicelib.plans.rules import CopyTo
from chalicelib.plans.selection import Selection
from chalicelib.retention.forecast import Forecast, Loss, RemainingPoints
from chalicelib.retention.plan_warnings import Difference, PlanChange, differences, losses_by_change
from tests.jobs.made import HOUR, NOON


@dataclass(frozen=True)
class Selected:
    services: dict[str, tuple[str, ...]] = field(default_factory=dict)
    without_service: tuple[str, ...] = ()


def snapshots(name: str, *vaults: str, count: int = 7) -> Rule:
    copies = tuple(CopyTo(vault=vault) for vault in vaults)
    return SnapshotRule(name=name, lifecycle=Lifecycle(count=count), rpo=HOUR, copies=copies)


def files(name: str) -> Rule:
    return ServiceRule(name=name, lifecycle=Lifecycle(count=7), rpo=HOUR, script="true")


def plan(*rules: Rule) -> Plan:
    return Plan(name="p", service="s", selection=Selection(tags={"app": ("x",)}), rules=rules)


def loss(vault: str, *, newly: bool = True) -> Loss:
    return Loss("rp-1", NOON, vault, "no longer kept", Pool.SCHEDULED, newly)


def left(rule: str, kind: Kind = Kind.SNAPSHOT, services: int = 1, **points: int) -> RemainingPoints:
    return RemainingPoints(rule, kind, services, points)


def change(
    before: Plan | None,
    after: Plan,
    *,
    losses: tuple[Loss, ...] = (),
    stays: tuple[RemainingPoints, ...] = (),
    was: dict[str, tuple[str, ...]] | None = None,
    now: dict[str, tuple[str, ...]] | None = None,
) -> PlanChange:
    covered_before = Selected(was or {}) if before else None
    return PlanChange(after, before, Selected(now or {}), covered_before, Forecast(losses, 0, 0, stays))


HOURLY = plan(snapshots("hourly", "dr"))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (change(None, HOURLY, losses=(loss("primary"),)), []),
        (change(HOURLY, HOURLY, stays=(left("old", primary=3),)), []),
        (
            change(
                HOURLY, HOURLY, losses=(loss("primary"), loss("primary"), loss("dr"), loss("dr", newly=False))
            ),
            [
                "3 recovery points that the stored plan keeps are let go (1 in dr and 2 in primary); "
                "until the grace is over they can be undeleted, or the old plan can be stored again"
            ],
        ),
        (
            change(HOURLY, plan(snapshots("hourly")), stays=(left("hourly", services=2, dr=1_200),)),
            [
                "rule hourly is no longer copied to dr: its 1,200 points there (of 2 services) stay and "
                "no lifecycle lets them go"
            ],
        ),
        (
            change(HOURLY, plan(snapshots("hourly"))),
            ["rule hourly is no longer copied to dr: there are no recovery points of it there"],
        ),
        (
            change(HOURLY, plan(files("nightly")), stays=(left("hourly", primary=1, dr=1),)),
            ["rule hourly is gone: its 1 point (of 1 service) stays and no lifecycle lets it go"],
        ),
        (
            change(HOURLY, plan(snapshots("each-hour", "dr")), stays=(left("hourly", primary=24, dr=7),)),
            [
                "rule hourly seems to be renamed to each-hour, which begins without recovery points: its 24 "
                "points (of 1 service) stay and no lifecycle lets them go"
            ],
        ),
        (
            change(HOURLY, plan(files("hourly")), stays=(left("hourly", primary=24),)),
            [
                "rule hourly is of kind service and was of kind snapshot: its 24 points (of 1 service) stay "
                "and no lifecycle lets them go"
            ],
        ),
        (
            change(HOURLY, HOURLY, was={"a": ("i-1", "i-2"), "b": ("i-3",)}, now={"a": ("i-1",)}),
            [
                "2 instances of a, b that the stored plan selects now are no longer selected: i-2, i-3",
            ],
        ),
        (
            change(HOURLY, HOURLY, was={"a": ("i-1",)}, now={"b": ("i-1",)}),
            [
                "1 instance changes the service, and the recovery points so far stay with the old one: "
                "i-1 from a to b"
            ],
        ),
        (change(HOURLY, HOURLY, was={"a": ("i-1",)}, now={"a": ("i-1", "i-2")}), []),
    ],
    ids=[
        "a new plan",
        "what stays as it was",
        "points let go",
        "a vault dropped",
        "a vault without points dropped",
        "a rule dropped",
        "a rule renamed",
        "another kind",
        "instances lost",
        "another service",
        "an instance more",
    ],
)
def test_what_a_change_costs_is_said_with_numbers(changed: PlanChange, said: list[str]) -> None:
    assert losses_by_change(changed) == said


def test_of_thousands_of_instances_the_first_are_named_and_the_rest_counted() -> None:
    lost = tuple(f"i-{number:04}" for number in range(2_000))
    [said] = losses_by_change(change(HOURLY, HOURLY, was={"a": lost}))
    assert said.startswith(
        "2,000 instances of a that the stored plan selects now are no longer selected: i-0000"
    )
    assert said.endswith(", i-0009 and 1,990 more")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}}, [("b.c", 2, 3)]),
        ({"a": 1}, {"b": 2}, [("a", 1, None), ("b", None, 2)]),
        ({"a": ["x", "y"]}, {"a": ["x"]}, [("a", ["x", "y"], ["x"])]),
        (
            {"rules": [{"name": "r", "n": 1}, {"name": "q"}]},
            {"rules": [{"name": "s"}, {"name": "r", "n": 2}]},
            [("rules.r.n", 1, 2), ("rules.q", {"name": "q"}, None), ("rules.s", None, {"name": "s"})],
        ),
        (
            {"copies": [{"vault": "dr"}]},
            {"copies": [{"vault": "dr", "lifecycle": {"count": 1}}]},
            [("copies.dr.lifecycle", None, {"count": 1})],
        ),
        ({"copies": [{"vault": "dr"}]}, {}, [("copies", [{"vault": "dr"}], None)]),
        ({"service": "s"}, {"service": {"tag": "Name"}}, [("service", "s", {"tag": "Name"})]),
    ],
)
def test_every_key_that_changes_is_told_with_its_values(
    before: Any, after: Any, expected: list[tuple[str, Any, Any]]
) -> None:
    assert list(differences(before, after)) == [Difference(*each) for each in expected]
