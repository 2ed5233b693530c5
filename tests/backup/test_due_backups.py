"""What backups are opened for and of: the cause, and what of a service is left out. Pure."""

from datetime import timedelta

import pytest

from chalicelib.backup.due_backups import Covered, Deployment, cause_of, targets_of
from chalicelib.catalog.recovery_point import Origin
from chalicelib.catalog.store.rules import RuleId
from chalicelib.jobs.work import Cause, Terms, backup_request, few_of
from chalicelib.plans.due import DueRun
from chalicelib.plans.lifecycle import Lifecycle
from chalicelib.plans.model import Plan, Rule, SnapshotRule
from chalicelib.plans.selection import Selection
from tests.jobs.made import NOON, SERVICE_RULE, SNAPSHOT_RULE

SCHEDULED = SnapshotRule(name="r", lifecycle=Lifecycle(count=1), schedule="rate(1 hour)")
PLAN = Plan(name="p", service="s", selection=Selection(tags={"app": ("x",)}), rules=(SNAPSHOT_RULE,))


@pytest.mark.parametrize(("rule", "origin"), [(SCHEDULED, Origin.SCHEDULE), (SNAPSHOT_RULE, Origin.RPO)])
def test_a_run_that_is_due_says_what_it_was_made_for(rule: Rule, origin: Origin) -> None:
    assert cause_of(DueRun(NOON, missed=0, late=False), rule).terms == Terms(origin)


@pytest.mark.parametrize(
    ("rule", "left_out"),
    [
        pytest.param(SNAPSHOT_RULE, ("i-2", "i-3"), id="snapshots of a part"),
        pytest.param(SERVICE_RULE, (), id="a script runs on one instance in any case"),
    ],
)
def test_what_was_not_asked_for_is_left_out_of_snapshots(rule: Rule, left_out: tuple[str, ...]) -> None:
    covered = Covered({"s": ("i-1", "i-2", "i-3"), "t": ("i-4",)}).limited_to(["i-1"])
    [target] = targets_of(PLAN, rule, RuleId("rule"), covered, Deployment("test", "eu-central-1"))
    assert (target.instances, target.left_out) == (("i-1",), left_out)
    assert backup_request(target, Cause(NOON, "test")).work.left_out == left_out


def test_of_many_names_the_first_are_told_and_how_many_more() -> None:
    assert few_of(["a", "b"]) == ("a", "b")
    assert few_of([str(number) for number in range(22)])[-2:] == ("19", "2 more")


def test_what_is_said_with_a_key_is_part_of_what_makes_a_backup_one_of_its_kind() -> None:
    terms = (Terms(), Terms(note="a"), Terms(note="b"), Terms(keep=timedelta(days=1)), Terms(held=True))
    identities = [Cause(NOON, "test", "key", terms=each).identity for each in terms]
    assert len(set(identities)) == len(terms)
    assert identities[0] == ("key", "key")
