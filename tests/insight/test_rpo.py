"""How long a service keeps its RPO: by the vault that is furthest behind, and by what is proven."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chalicelib.catalog.recovery_point import Lineage
from chalicelib.catalog.store.notices import About, Notice, Trouble
from chalicelib.catalog.store.services import LineageRecord, Newest, ServiceRecord
from chalicelib.insight.rpo_watch import news
from chalicelib.insight.status import Promise, promise_of
from chalicelib.plans.due import GRACE
from chalicelib.plans.model import Kind, Plan

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SINCE = NOW - timedelta(days=10)
RPO = timedelta(days=1)


def ago(hours: float) -> datetime:
    return NOW - timedelta(hours=hours)


def plan(kind: str = "snapshot", *copies: str, **keys: Any) -> Plan:
    script = {"script": "dump"} if kind == "service" else {}
    rule = {"name": "r", "kind": kind, "schedule": "rate(1 day)", "lifecycle": {"count": 1}, **script}
    rules = [{**rule, "copies": [{"vault": each} for each in copies]}]
    base = {"name": "p", "selection": {"tags": {"app": "x"}}, "objectives": {"rpo": "1d"}, "rules": rules}
    return Plan.model_validate({**base, **keys})


def service(newest: Mapping[str, Newest], kind: Kind = Kind.SNAPSHOT, **more: Any) -> ServiceRecord:
    points = {"counts": dict.fromkeys(newest, 5), "newest": newest}
    record = LineageRecord(Lineage("p", "r", kind, "p"), **(points | {"seen_at": ago(1)} | more))
    return ServiceRecord("p", "p", (record,))


def until(made: Plan, record: ServiceRecord) -> datetime | None:
    promise = promise_of(made, record, SINCE, NOW)
    return promise.until - RPO - GRACE if promise else None


def test_the_vault_that_is_furthest_behind_counts() -> None:
    record = service({"primary": Newest(ago(1)), "dr": Newest(ago(20)), "old": Newest(ago(400))})
    assert until(plan("snapshot", "dr"), record) == ago(20)


def test_a_vault_without_a_point_counts_from_when_the_rpo_was_promised() -> None:
    record = service({"primary": Newest(ago(1))})
    promise = promise_of(plan("snapshot", "dr"), record, SINCE, NOW)
    assert promise is not None
    assert promise.until == SINCE + RPO + GRACE
    assert promise.why == "it has no good point in vault dr; plan p promises an RPO of 1d"


def test_a_file_counts_once_it_was_read_back_and_a_snapshot_at_once() -> None:
    there = {"primary": Newest(ago(1), verified_at=ago(9))}
    assert until(plan("service"), service(there, Kind.SERVICE)) == ago(9)
    assert until(plan("service"), service({"primary": Newest(ago(1))}, Kind.SERVICE)) == SINCE
    assert until(plan("snapshot"), service({"primary": Newest(ago(1))})) == ago(1)


@pytest.mark.parametrize(
    ("more", "began"),
    [
        ({}, ago(1)),
        ({"failing": True}, SINCE),
        ({"awaited": {"dr": 1}}, SINCE),
        ({"seen_at": None}, SINCE),
    ],
)
def test_a_new_service_has_its_rpo_from_its_first_backup_unless_that_fails(
    more: dict[str, Any], began: datetime
) -> None:
    assert until(plan(), service({}, **more)) == began


def test_a_service_of_a_tag_whose_instances_are_long_gone_is_promised_nothing() -> None:
    tagged = plan(service={"tag": "Name"})
    gone = service({"primary": Newest(ago(1_000))}, seen_at=ago(24 * 31))
    assert promise_of(tagged, gone, SINCE, NOW) is None
    assert promise_of(plan(), gone, SINCE, NOW) is not None


def test_a_plan_that_promises_no_rpo_misses_none() -> None:
    assert promise_of(plan(objectives={"rto": "1h"}), service({}), SINCE, NOW) is None


def notice(of: str, over_at: datetime | None = None) -> Notice:
    return Notice(Trouble(About.RPO, "p", of), ago(5), "old", "", over_at, is_told=True, wake_at=None)


def test_only_what_has_changed_is_news() -> None:
    promises = [Promise(name, ago(1), "late") for name in ("new", "known", "again")]
    promises.append(Promise("well", NOW + RPO, "well"))
    known = {"known": notice("known"), "again": notice("again", ago(2)), "well": notice("well")}
    known["gone"] = notice("gone")
    writes = {write.key: write for write in news("p", promises, known, NOW)}
    begun = {of: "since" in writes[Trouble(About.RPO, "p", of).key].sets for of in ("new", "again")}
    ended = {of: "over_at" in writes[Trouble(About.RPO, "p", of).key].sets for of in ("well", "gone")}
    assert begun == {"new": True, "again": True}
    assert ended == {"well": True, "gone": True}
    assert len(writes) == 4
