"""The checks of the doctor, on stages that a local cloud cannot be: all of it pure."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chalicelib.aws.buckets import BucketState
from chalicelib.aws.kms import Key
from chalicelib.aws.lambda_account import Concurrency, SourceMapping
from chalicelib.aws.queue_state import QueueState
from chalicelib.aws.service_quotas import COPIES, SNAPSHOTS
from chalicelib.aws.sts import Identity
from chalicelib.catalog.store.examinations import Examined, RoundTrip
from chalicelib.errors import Denied
from chalicelib.insight.checks import CheckState
from chalicelib.insight.doctor import examination
from chalicelib.insight.doctor_view import (
    ALL_QUEUES,
    QUEUES,
    AgentsSeen,
    ClockSeen,
    Counted,
    StageFacts,
    StageView,
    TicksSeen,
)
from chalicelib.insight.look_ups import Seen
from chalicelib.insight.vault_probe import ProbeProgress
from chalicelib.jobs.job import Failure, JobState
from chalicelib.jobs.work import probe_request
from chalicelib.settings import S3VaultConfig, VaultConfig
from stage import HOME_TEMPLATE
from tests.jobs.made import job_of

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
HOME, AWAY = "eu-central-1", "eu-west-1"
DAY = timedelta(days=1)


def vault(region: str, bucket: str) -> S3VaultConfig:
    return S3VaultConfig(kind="s3", region=region, bucket=bucket)


VAULTS: dict[str, VaultConfig] = {"primary": vault(HOME, "home"), "dr": vault(AWAY, "away")}
STAGE = StageFacts(f"{HOME}/prod", HOME, HOME, VAULTS, 20)
PROBE = job_of(
    probe_request("dr", "asked", NOW - DAY),
    ProbeProgress(),
    state=JobState.COMPLETED,
    updated_at=NOW - DAY,
    reason="31 bytes were written",
)
EXAMINED = Examined({"primary": PROBE.id, "dr": PROBE.id}, {AWAY: RoundTrip(NOW - DAY, timedelta(seconds=1))})
VIEW = StageView(
    stage=STAGE,
    now=NOW,
    identity=Seen(Identity("1", "arn:aws:sts::1:assumed-role/api/x", NOW)),
    clock=Seen(ClockSeen(timedelta(0))),
    examined=Seen(EXAMINED),
    probes=Seen({PROBE.id: PROBE}),
    concurrency=Seen(Concurrency(1000, 900)),
    agents=Seen(AgentsSeen()),
    ticks=Seen(TicksSeen(NOW)),
    ages=Seen({}),
    tick_rules=Seen(()),
    buckets={name: Seen(BucketState(each.region)) for name, each in STAGE.s3_vaults.items()},
    quotas={region: Seen({SNAPSHOTS: 100, COPIES: 20}) for region in (HOME, AWAY)},
    snapshots={region: Seen(Counted(1)) for region in (HOME, AWAY)},
    queues={name: Seen(QueueState(f"arn:{name}", 0, 0, 0)) for name in ALL_QUEUES},
    feeds={name: Seen((SourceMapping("f", True, "Enabled", 5),)) for name in QUEUES},
)


def check(name: str, **changes: Any) -> tuple[CheckState, str]:
    [found] = [each for each in examination(replace(VIEW, **changes)).checks if each.check == name]
    assert (found.remedy is None) == (found.state is CheckState.OK)
    return found.state, found.reason


def of_stage(**changes: Any) -> dict[str, Any]:
    return {"stage": replace(STAGE, **changes)}


def test_functions_in_another_region_than_the_primary_vault_are_found() -> None:
    state, reason = check("identity", **of_stage(region=AWAY))
    assert (state, reason) == ("failed", f"the functions run in {AWAY}, and vault primary is in {HOME}")
    assert check("identity")[1].endswith(f"account 1, role api, in {HOME}")


def test_vaults_that_one_disaster_hits_are_found() -> None:
    both = {"primary": vault(HOME, "home"), "dr": vault(HOME, "away")}
    state, reason = check("regions", **of_stage(vaults=both))
    assert state == "failed"
    assert f"every vault is in {HOME}" in reason
    assert f"vaults dr, primary are all in {HOME}" in reason
    three = {**VAULTS, "dr2": vault(AWAY, "other")}
    buckets = {**VIEW.buckets, "dr2": Seen(BucketState(AWAY))}
    assert check("regions", **of_stage(vaults=three), buckets=buckets)[0] == "warning"
    assert check("regions")[0] == "ok"


@pytest.mark.parametrize(
    ("arn", "state", "usage", "said"),
    [
        (
            f"arn:aws:kms:{HOME}:1:key/k",
            "Enabled",
            "ENCRYPT_DECRYPT",
            f"is in {HOME}, and the vault in {AWAY}",
        ),
        (f"arn:aws:kms:{AWAY}:1:key/k", "PendingImport", "ENCRYPT_DECRYPT", "is PendingImport"),
        (f"arn:aws:kms:{AWAY}:1:key/k", "Enabled", "SIGN_VERIFY", "is for SIGN_VERIFY"),
    ],
)
def test_keys_that_cannot_encrypt_there_are_found(arn: str, state: str, usage: str, said: str) -> None:
    found = check("keys", keys={("dr", "k"): Seen(Key(arn, state, usage))})
    assert found[0] == "failed"
    assert found[1].startswith(f"vault dr: key k {said}")


def test_a_probe_and_a_round_trip_that_are_old_are_said_to_be() -> None:
    later = NOW + 60 * DAY
    assert check("vaults", now=later) == (
        "warning",
        "vault primary: last probed 61 days ago; vault dr: last probed 61 days ago",
    )
    assert check("events", now=later)[0] == "warning"
    assert check("events") == ("ok", f"an event of {AWAY} was home in 1.0 s, on 2026-11-29 12:00 UTC")


def test_a_probe_that_has_failed_counts_before_it_is_cleaned_up() -> None:
    running = replace(PROBE, state=JobState.RUNNING, reason="reading the object back")
    state, reason = check("vaults", probes=Seen({PROBE.id: running}))
    assert state == "unknown"
    assert "is under way: reading the object back" in reason
    failing = replace(running, failure=Failure("no such container", JobState.FAILED, NOW))
    assert check("vaults", probes=Seen({PROBE.id: failing})) == (
        "failed",
        "vault primary: no such container; vault dr: no such container",
    )


def test_snapshots_that_were_not_all_counted_are_unknown_unless_too_many_already() -> None:
    assert check("quotas", snapshots={**VIEW.snapshots, HOME: Seen(Counted(79, whole=False))})[0] == "unknown"
    state, reason = check("quotas", snapshots={**VIEW.snapshots, HOME: Seen(Counted(80, whole=False))})
    assert (state, f"{HOME}: more than 80 of 100 snapshots are used" in reason) == ("warning", True)


def test_a_quota_that_aws_does_not_say_is_unknown() -> None:
    state, reason = check("quotas", quotas={HOME: Seen({SNAPSHOTS: 100}), AWAY: Seen({SNAPSHOTS: 100})})
    assert state == "unknown"
    assert f"{AWAY}: Service Quotas does not say how many copies may run at once" in reason


def test_a_higher_quota_of_copies_is_said_because_copy_slots_may_be_raised() -> None:
    more = {SNAPSHOTS: 100, COPIES: 50}
    state, reason = check("quotas", quotas={HOME: Seen(more), AWAY: Seen(more)})
    assert state == "ok"
    assert "20 copy slots; the quota is 50, so CopySlots may be raised to it" in reason


def test_a_queue_without_a_limit_may_use_the_whole_account() -> None:
    feeds = {**VIEW.feeds, "jobs": Seen((SourceMapping("f", True, "Enabled", None),))}
    assert check("concurrency", feeds=feeds)[0] == "warning"
    assert check("concurrency")[1].startswith("17 functions of the stage may run at once; 900 of")


def test_what_is_refused_for_one_vault_hides_no_other() -> None:
    gone: Seen[BucketState] = Seen(error=Denied("no", operation="GetBucketVersioning"))
    public = Seen(BucketState(HOME, not_blocked=("BlockPublicAcls",)))
    state, reason = check("buckets", buckets={"primary": public, "dr": gone})
    assert state == "failed"
    assert "bucket home does not block public access" in reason
    assert "GetBucketVersioning failed" in reason


def test_only_what_failed_makes_a_stage_unhealthy() -> None:
    rules: Any = {"tick_rules": Seen(error=Denied("no"))}
    assert examination(replace(VIEW, **rules)).healthy
    assert not examination(replace(VIEW, ticks=Seen(TicksSeen()))).healthy


def test_every_queue_of_the_template_is_looked_at() -> None:
    resources = json.loads(HOME_TEMPLATE.read_text())["Resources"].values()
    names = {
        each["Properties"]["QueueName"]["Fn::Sub"].removeprefix("farshore-${Stage}-")
        for each in resources
        if each["Type"] == "AWS::SQS::Queue"
    }
    assert names == set(ALL_QUEUES)
