"""Each check of readiness on what was looked up: tables of what is found, how bad it is, and what is said."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chalicelib.aws.autoscaling import LAUNCHING, TERMINATING, LifecycleHook
from chalicelib.aws.ec2_types import AttachedVolume, Instance, Volume
from chalicelib.aws.prerequisites import ElasticIp
from chalicelib.aws.ssm import Agent
from chalicelib.catalog.recovery_point import Lineage
from chalicelib.catalog.store.services import LineageRecord, Newest, ServiceRecord
from chalicelib.errors import Denied, Throttled
from chalicelib.insight.checks import CheckAnswer
from chalicelib.insight.launch_times import LaunchTimes, Measured
from chalicelib.insight.look_ups import Seen
from chalicelib.insight.readiness import CHECKS, readiness
from chalicelib.insight.readiness_view import Proof, Running, ServiceView
from chalicelib.insight.status import service_status
from chalicelib.plans.model import Kind, Plan

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
GROUP = {"aws:autoscaling:groupName": "orders-group"}
FILES = {"name": "files", "kind": "service", "script": "dump", "restore": "load", "verify": "look"}
BLOCKS = {"name": "blocks", "kind": "snapshot"}
DATA_ONLY = {**BLOCKS, "volumes": {"boot": False}}
TO_DR = {"copies": [{"vault": "dr"}]}
IP, ENI = "eipalloc-0123456789abcdef0", "eni-0123456789abcdef0"
DENIED = Denied("not allowed", operation="DescribeIt", code="UnauthorizedOperation")
FORBIDDEN: Seen[Any] = Seen(error=DENIED)


def plan_of(*rules: Mapping[str, Any], **keys: Any) -> Plan:
    shared = {"schedule": "cron(0 3 * * ? *)", "lifecycle": {"count": 3}}
    made = [{**shared, **rule} for rule in rules or (FILES, BLOCKS)]
    named = {"name": "p", "service": "s", "selection": {"tags": {"app": "x"}}}
    return Plan.model_validate({**named, "rules": made, **keys})


def instance(id: str = "i-1", *, data: bool = True, **more: Any) -> Instance:
    volumes = [AttachedVolume(f"boot-{id}", "/dev/sda1", boot=True)]
    volumes += [AttachedVolume(f"data-{id}", "/dev/sdf", boot=False)] if data else []
    default: dict[str, Any] = {"type": "t3.micro", "interfaces": ("eni-1",), "tags": {}}
    return Instance(id, "running", "a", **{**default, **more}, volumes=tuple(volumes))


def running(*instances: Instance, count: int | None = None) -> Seen[Running]:
    return Seen(Running(instances, len(instances) if count is None else count))


def view_of(plan: Plan | None = None, *records: LineageRecord, **more: Any) -> ServiceView:
    """Return a service in good order under a plan, but for what is said."""
    plan = plan or plan_of()
    view = ServiceView(
        plan=plan,
        status=service_status(plan.name, plan, ServiceRecord("s\x1f", "s", records), NOW),
        now=NOW,
        running=running(instance()),
        agents=Seen({"i-1": Agent(online=True)}),
        proof=Proof(NOW - DAY, "restore-1"),
        apart=frozenset(("dr", "offsite")),
    )
    return replace(view, **more)


def checked(name: str, view: ServiceView) -> CheckAnswer:
    [found] = [each for each in readiness(view).checks if each.check == name]
    assert found.reason
    assert (found.remedy is None) == (found.state == "ok")
    return found


def state_of(name: str, view: ServiceView) -> str:
    return str(checked(name, view).state)


def test_a_service_in_good_order_is_ready() -> None:
    answer = readiness(view_of(plan_of({**FILES, **TO_DR}, {**BLOCKS, **TO_DR})))
    assert [each.check for each in answer.checks] == list(CHECKS)
    assert {str(each.state) for each in answer.checks} == {"ok"}
    assert answer.ready


@pytest.mark.parametrize(
    ("rules", "has", "state", "words"),
    [
        ([BLOCKS], {}, "ok", "each running instance has a data volume"),
        ([BLOCKS], {"data": False}, "warning", "the data is on the boot volume"),
        ([DATA_ONLY], {"data": False}, "failed", "nothing is backed up"),
        ([DATA_ONLY, FILES], {"data": False}, "ok", "a service rule backs up the data"),
        ([FILES], {"data": False}, "ok", "a service rule backs up the data"),
        ([FILES], {"type": "m5d.large"}, "warning", "i-1: instance-store volumes (m5d.large 75 GB)"),
        ([DATA_ONLY], {"data": False, "type": "m5d.large"}, "failed", "nothing is backed up"),
    ],
)
def test_data_where_nothing_keeps_it_is_found(
    rules: list[Mapping[str, Any]], has: dict[str, Any], state: str, words: str
) -> None:
    view = view_of(plan_of(*rules), running=running(instance(**has)), stores=Seen({"m5d.large": 75}))
    found = checked("data", view)
    assert (found.state, words in found.reason) == (state, True), found


@pytest.mark.parametrize(
    ("rules", "tags", "state"),
    [
        ([BLOCKS], {}, "ok"),
        ([{**BLOCKS, "volumes": {"exclude_tags": {"scratch": "*"}}}], {"scratch": "yes"}, "warning"),
        ([{**BLOCKS, "volumes": {"exclude_tags": {"scratch": "*"}}}], {}, "ok"),
        (
            [{**BLOCKS, "volumes": {"exclude_tags": {"scratch": "*"}}}, {**BLOCKS, "name": "all"}],
            {"scratch": "yes"},
            "ok",
        ),
        ([FILES], {"scratch": "yes"}, "ok"),
    ],
)
def test_a_data_volume_that_every_snapshot_rule_leaves_out_is_found(
    rules: list[Mapping[str, Any]], tags: dict[str, str], state: str
) -> None:
    volume = Volume("data-i-1", "in-use", "a", 1, "gp3", tags, None)
    found = checked("data", view_of(plan_of(*rules), volumes=Seen({volume.id: volume})))
    assert (found.state, "data-i-1" in found.reason) == (state, state == "warning")


RESTORED = {"on_launch": {"restore": "files"}}


@pytest.mark.parametrize(
    ("keys", "ips", "interfaces", "state", "words"),
    [
        ({}, (), ("eni-1",), "ok", "would stay behind"),
        ({}, (ElasticIp(IP, "192.0.2.1", "i-1"),), ("eni-1",), "warning", f"192.0.2.1 ({IP}) on i-1"),
        ({}, (ElasticIp(IP, "192.0.2.1", "i-9"),), ("eni-1",), "ok", ""),
        ({}, (ElasticIp(IP, "192.0.2.1"),), ("eni-1",), "ok", ""),
        ({}, (), ("eni-1", ENI), "warning", f"second network interface {ENI} on i-1"),
        (
            {**RESTORED, "identity": {"elastic_ip": IP}},
            (ElasticIp(IP, "192.0.2.1", "i-1"),),
            ("eni-1",),
            "ok",
            "",
        ),
        ({**RESTORED, "identity": {"eni": ENI}}, (), ("eni-1", ENI), "ok", ""),
        ({**RESTORED, "identity": {"eni": ENI}}, (), ("eni-1", "eni-2"), "warning", "eni-2 on i-1"),
        (
            {**RESTORED, "identity": {"eni": ENI}},
            (ElasticIp(IP, "192.0.2.1", "i-1"),),
            ("eni-1", ENI),
            "warning",
            "Elastic IP",
        ),
    ],
)
def test_an_address_that_would_stay_behind_is_found(
    keys: dict[str, Any], ips: tuple[ElasticIp, ...], interfaces: tuple[str, ...], state: str, words: str
) -> None:
    view = view_of(plan_of(**keys), running=running(instance(interfaces=interfaces)), elastic_ips=Seen(ips))
    found = checked("addresses", view)
    assert (found.state, words in found.reason) == (state, True), found


def test_an_identity_that_does_not_exist_is_found_and_one_that_was_not_seen_is_said_beside_it() -> None:
    identity = {
        f"elastic_ip {IP}": Seen(found=True),
        f"eni {ENI}": Seen(found=False),
        "dns.zone Z1": FORBIDDEN,
    }
    found = checked("addresses", view_of(identity=identity))
    assert found.state == "failed"
    assert found.reason == f"the plan's identity names eni {ENI}, which does not exist; {DENIED}"


ON, OFF = Agent(online=True), Agent(online=False, last_ping=NOW - HOUR)


@pytest.mark.parametrize(
    ("rules", "keys", "agents", "state", "words"),
    [
        ([FILES], {}, {"i-1": ON, "i-2": ON}, "ok", "online on each of the 2 running instances"),
        ([FILES], {}, {"i-1": ON, "i-2": OFF}, "warning", "i-2: the SSM agent is offline (last seen 2026-11"),
        ([FILES], {}, {"i-1": ON}, "warning", "i-2: no SSM agent ever registered, and rule files needs it"),
        ([FILES], {}, {"i-1": OFF}, "failed", "i-2: no SSM agent ever registered"),
        ([FILES], {}, {}, "failed", "i-1, i-2: no SSM agent ever registered"),
        ([BLOCKS], {}, {}, "ok", "nothing in the plan runs on an instance"),
        ([BLOCKS], {"on_launch": {"script": "set-up"}}, {}, "failed", "and on_launch needs it"),
        ([BLOCKS, FILES], RESTORED, {}, "failed", "and rule files, on_launch need it"),
    ],
)
def test_an_agent_that_could_not_run_a_script_is_found(
    rules: list[Mapping[str, Any]], keys: dict[str, Any], agents: dict[str, Agent], state: str, words: str
) -> None:
    both = running(instance(), instance("i-2"))
    found = checked("agent", view_of(plan_of(*rules, **keys), running=both, agents=Seen(agents)))
    assert (found.state, words in found.reason) == (state, True), found


def test_of_a_large_service_it_says_how_many_were_looked_at() -> None:
    found = checked("agent", view_of(running=running(instance(), count=5_000)))
    assert found.reason.endswith("online on each of 1 instances that were looked at, of 5,000 that run")


def test_of_many_instances_the_first_are_named() -> None:
    many = [instance(f"i-{number}", data=False) for number in range(9)]
    found = checked("data", view_of(plan_of(BLOCKS), running=running(*many)))
    assert found.reason.startswith("i-0, i-1, i-2, i-3, i-4 and 4 more: no data volume")


@pytest.mark.parametrize(
    ("rules", "state"), [([FILES, BLOCKS], "ok"), ([FILES], "warning"), ([BLOCKS], "warning")]
)
def test_a_plan_of_one_kind_of_backup_is_found(rules: list[Mapping[str, Any]], state: str) -> None:
    assert state_of("kinds", view_of(plan_of(*rules))) == state


def record(**newest: datetime | None) -> LineageRecord:
    """Return the lineage of the rule `files`, with the newest point of each vault."""
    there = {vault: Newest(at, at) for vault, at in newest.items() if at is not None}
    return LineageRecord(Lineage("p", "files", Kind.SERVICE, "s"), newest=there)


def awaited(found: LineageRecord, number: int) -> LineageRecord:
    return replace(found, awaited={"dr": number})


@pytest.mark.parametrize(
    ("rules", "records", "state", "words"),
    [
        ([FILES, BLOCKS], [], "failed", "no rule copies into another region"),
        ([{**FILES, "copies": [{"vault": "near"}]}], [], "failed", "no rule copies into another region"),
        ([{**FILES, **TO_DR}, BLOCKS], [], "warning", "rule blocks: no copy in another region"),
        ([{**FILES, **TO_DR}], [], "ok", "each rule copies"),
        ([{**FILES, **TO_DR}], [record(primary=NOW - HOUR)], "ok", "each rule copies"),
        ([{**FILES, **TO_DR}], [record(primary=NOW - 2 * DAY)], "failed", "vault dr has no copy at all"),
        ([{**FILES, **TO_DR}], [record(primary=NOW - 2 * DAY, dr=NOW - 2 * DAY)], "ok", "each rule copies"),
        (
            [{**FILES, **TO_DR}],
            [record(primary=NOW - 2 * DAY, dr=NOW - 3 * DAY)],
            "warning",
            "vault dr lacks the newest point, of 2026-11-20 12:00 UTC; its newest is of 2026-11-19 12:00 UTC",
        ),
        ([{**FILES, **TO_DR}], [record(primary=NOW - HOUR, dr=NOW - 3 * DAY)], "ok", "each rule copies"),
        (
            [{**FILES, **TO_DR}],
            [awaited(record(primary=NOW - HOUR, dr=NOW - 2 * HOUR), 2)],
            "warning",
            "lacks copies that failed and are made again: 2",
        ),
    ],
)
def test_copies_that_are_not_where_they_should_be_are_found(
    rules: list[Mapping[str, Any]], records: list[LineageRecord], state: str, words: str
) -> None:
    found = checked("copies", view_of(plan_of(*rules), *records))
    assert (found.state, words in found.reason) == (state, True), found


@pytest.mark.parametrize(
    ("rule", "proof", "state", "words"),
    [
        (FILES, Proof(NOW - DAY, "restore-1"), "ok", "restore-1 was verified on 2026-11-21 12:00 UTC"),
        (FILES, Proof(NOW - 30 * DAY, "restore-1"), "ok", "restore-1"),
        (FILES, Proof(NOW - 31 * DAY, "restore-1"), "warning", "which is 31 days ago"),
        (FILES, Proof(), "failed", "no restore was ever proven, as far as jobs are remembered (90 days)"),
        (FILES, Proof(unread=True), "failed", "no restore was ever proven, among the newest jobs"),
        ({**FILES, "verify": None}, Proof(NOW, "launch-1"), "warning", "rule files has no verify script"),
        ({**FILES, "restore": None, "verify": None}, Proof(NOW, "r"), "failed", "has no restore script"),
        (BLOCKS, Proof(NOW - DAY, "restore-1"), "ok", "restore-1"),
    ],
)
def test_a_restore_that_nothing_proves_is_found(
    rule: Mapping[str, Any], proof: Proof, state: str, words: str
) -> None:
    given = {key: value for key, value in rule.items() if value is not None}
    found = checked("proof", view_of(plan_of(given), proof=proof))
    assert (found.state, words in found.reason) == (state, True), found


HOOKED = {"on_launch": {"restore": "files", "hook": "up", "on_failure": "abandon", "timeout": "1h"}}
LEAVING = {"on_terminate": {"backup": "files", "hook": "down", "timeout": "15m"}}


def hook(name: str = "up", transition: str = LAUNCHING, **more: Any) -> LifecycleHook:
    default: dict[str, Any] = {"heartbeat": HOUR, "total": 48 * HOUR, "default_result": "ABANDON"}
    return LifecycleHook("orders-group", name, transition, **{**default, **more})


@pytest.mark.parametrize(
    ("keys", "tags", "hooks", "state", "words"),
    [
        ({}, GROUP, (), "ok", "names no lifecycle hook"),
        (RESTORED, GROUP, (), "ok", "names no lifecycle hook"),
        (HOOKED, {}, (), "warning", "no running instance is in an Auto Scaling group, so on_launch.hook up"),
        (HOOKED, GROUP, (), "failed", "group orders-group: lifecycle hook up does not exist"),
        (HOOKED, GROUP, (hook("other"),), "failed", "does not exist"),
        (HOOKED, GROUP, (hook("up", TERMINATING),), "failed", f"up is for {TERMINATING}"),
        (HOOKED, GROUP, (hook(),), "ok", "heartbeat 1h, 2d in all, then ABANDON"),
        (HOOKED, GROUP, (hook(total=HOUR),), "ok", "1h in all"),
        (HOOKED, GROUP, (hook(total=HOUR / 2),), "warning", "for 30m at most, and on_launch.timeout is 1h"),
        (HOOKED, GROUP, (hook(default_result="CONTINUE"),), "warning", "the default result CONTINUE"),
        (LEAVING, GROUP, (hook("down", TERMINATING, default_result="CONTINUE"),), "ok", "then CONTINUE"),
        (LEAVING, GROUP, (hook("down"),), "failed", f"down is for {LAUNCHING}"),
        ({**HOOKED, **LEAVING}, GROUP, (hook(),), "failed", "hook down does not exist, and on_terminate"),
    ],
)
def test_a_lifecycle_hook_that_would_not_work_is_found(
    keys: dict[str, Any], tags: dict[str, str], hooks: tuple[LifecycleHook, ...], state: str, words: str
) -> None:
    view = view_of(plan_of(**keys), running=running(instance(tags=tags)), hooks={"orders-group": Seen(hooks)})
    found = checked("hooks", view)
    assert (found.state, words in found.reason) == (state, True), found


def test_a_group_that_was_not_seen_does_not_hide_another() -> None:
    groups = [{"aws:autoscaling:groupName": name} for name in ("a", "b")]
    view = view_of(
        plan_of(**HOOKED),
        running=running(instance(tags=groups[0]), instance("i-2", tags=groups[1])),
        hooks={"a": Seen(error=DENIED), "b": Seen(())},
    )
    found = checked("hooks", view)
    assert found.state == "failed"
    assert found.reason == f"group b: lifecycle hook up does not exist, and on_launch waits for it; {DENIED}"


@pytest.mark.parametrize(
    ("objectives", "newest", "state", "words"),
    [
        ({}, None, "ok", "promises no RPO"),
        ({"rpo": "1d"}, NOW - HOUR, "ok", "promised 1d, achieved 1h"),
        ({"rpo": "1d"}, NOW - 2 * DAY, "failed", "promised 1d, achieved 2d"),
        ({"rpo": "1d"}, None, "failed", "achieved nothing: no point is verified"),
    ],
)
def test_an_rpo_that_is_not_kept_is_found(
    objectives: dict[str, str], newest: datetime | None, state: str, words: str
) -> None:
    found = checked("rpo", view_of(plan_of(FILES, objectives=objectives), record(primary=newest)))
    assert (found.state, words in found.reason) == (state, True), found


TEN_MINUTES = Measured(restores=(LaunchTimes(NOW, verified_at=NOW + timedelta(minutes=10)),))


@pytest.mark.parametrize(
    ("objectives", "measured", "state", "words"),
    [
        ({}, TEN_MINUTES, "ok", "promises no RTO"),
        ({"rto": "10m"}, TEN_MINUTES, "ok", "promised 10m; the p99 of restores and launches is 10m"),
        ({"rto": "9m"}, TEN_MINUTES, "failed", "promised 9m, and the p99 of restores and launches is 10m"),
        ({"rto": "9m"}, Measured(), "unknown", "no restore or launch was measured yet"),
    ],
)
def test_an_rto_that_was_not_kept_is_found(
    objectives: dict[str, str], measured: Measured, state: str, words: str
) -> None:
    found = checked("rto", view_of(plan_of(objectives=objectives), measured=measured))
    assert (found.state, words in found.reason) == (state, True), found


@pytest.mark.parametrize(
    ("unseen", "unknown"),
    [
        ({"running": FORBIDDEN}, {"data", "addresses", "agent", "hooks"}),
        ({"stores": FORBIDDEN}, {"data"}),
        ({"volumes": FORBIDDEN}, {"data"}),
        ({"agents": FORBIDDEN}, {"agent"}),
        ({"elastic_ips": FORBIDDEN}, {"addresses"}),
        ({"identity": {f"eni {ENI}": FORBIDDEN}}, {"addresses"}),
        ({"hooks": {"orders-group": FORBIDDEN}}, {"hooks"}),
    ],
)
def test_what_was_not_seen_is_unknown_and_stops_no_other_check(
    unseen: dict[str, Any], unknown: set[str]
) -> None:
    rules = ({**FILES, **TO_DR}, {**BLOCKS, **TO_DR})
    good = view_of(
        plan_of(*rules, **HOOKED),
        running=running(instance(tags=GROUP)),
        hooks={"orders-group": Seen((hook(),))},
    )
    answer = readiness(replace(good, **unseen))
    assert {each.check for each in answer.checks if each.state == "unknown"} == unknown
    assert {each.check for each in answer.checks if each.state == "ok"} == CHECKS.keys() - unknown
    for each in answer.checks:
        if each.check in unknown:
            assert str(DENIED) in each.reason
            assert each.remedy == "allow the role of the api function this call"
    assert answer.ready


def test_a_refusal_for_the_moment_is_asked_again() -> None:
    throttled: Seen[Any] = Seen(error=Throttled("too often", operation="DescribeAddresses"))
    assert checked("addresses", view_of(elastic_ips=throttled)).remedy == "ask again"


def test_where_no_instance_runs_nothing_is_said_of_instances() -> None:
    answer = readiness(view_of(plan_of(**HOOKED), running=Seen(Running())))
    said = {each.check: each for each in answer.checks if each.state == "unknown"}
    assert said.keys() == {"data", "addresses", "agent", "hooks"}
    assert {each.reason for each in said.values()} == {"no instance of the service runs now"}


def test_what_is_worst_is_said_first_and_decides() -> None:
    view = view_of(
        plan_of(DATA_ONLY),
        running=running(instance(data=False, type="m5d.large")),
        stores=Seen({"m5d.large": 75}),
    )
    found = checked("data", view)
    assert found.state == "failed"
    assert found.reason.index("nothing is backed up") < found.reason.index("instance-store volumes")
    assert not readiness(view).ready
