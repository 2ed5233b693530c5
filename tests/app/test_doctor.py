"""The doctor: each test breaks one thing of a stage and sees the one check that fails, with its remedy."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from chalicelib.insight.doctor import CHECKS
from chalicelib.wiring import farshore
from local_cloud.call import Quotas
from stage import DR_BUCKET, DR_REGION, HOME_BUCKET, HOME_REGION, SECRET
from tests.app.conftest import Ground, ground_below
from tests.support.deployment import NEVER, Deployment, Document, noon

SCRIPT = 'echo hi > "$2"'
FILES = {"name": "files", "kind": "service", "schedule": NEVER, "script": SCRIPT, "lifecycle": {"count": 9}}
READS = ("Batch", "Describe", "Get", "Head", "List", "Query")


def checks(app: Deployment) -> dict[str, Document]:
    """Return the checks by name; each that is not ok has a remedy."""
    answer = app.ask("GET", "/doctor", status=200).document
    found = {each["check"]: each for each in answer["checks"]}
    assert list(found) == list(CHECKS)
    assert answer["healthy"] == all(each["state"] != "failed" for each in found.values())
    for each in found.values():
        assert each["reason"]
        assert (each["remedy"] is None) == (each["state"] == "ok"), each
    return found


def only(app: Deployment, name: str, state: str) -> tuple[str, str]:
    """Return the reason and remedy of the one check that is neither ok nor begun by POST."""
    found = checks(app)
    bad = {each["check"]: each["state"] for each in found.values() if each["state"] != "ok"}
    for begun in {"vaults", "events"} - {name}:
        bad.pop(begun, None)
    assert bad == {name: state}, found
    return found[name]["reason"], found[name]["remedy"]


def examine(app: Deployment, **span: float) -> dict[str, Document]:
    """Have vaults probed and events sent, let time pass, and return the checks."""
    app.ask("POST", "/doctor", {}, status=202)
    app.pass_time(**(span or {"minutes": 1}))
    return checks(app)


@pytest.fixture
def ticked(app: Deployment) -> Deployment:
    """The app after its first ticks."""
    app.pass_time(minutes=6)
    return app


def test_a_stage_that_works_is_healthy_in_every_check(ticked: Deployment) -> None:
    before = {each["check"]: each["state"] for each in checks(ticked).values()}
    assert before == dict.fromkeys(CHECKS, "ok") | {"vaults": "unknown", "events": "unknown"}
    found = examine(ticked)
    assert {each["state"] for each in found.values()} == {"ok"}, found
    for vault in ("primary", "dr", "offsite"):
        assert f"vault {vault}: 31 bytes were written, read back and deleted in" in found["vaults"]["reason"]
        assert not [key for key in ticked.keys(vault) if "probe" in key]
    assert f"an event of {DR_REGION} was home in" in found["events"]["reason"]
    answer = ticked.ask("GET", "/doctor").document
    assert (answer["deployment"], answer["region"]) == (f"{HOME_REGION}/local", HOME_REGION)
    assert f"account {answer['account']}" in found["identity"]["reason"]


def test_looking_changes_nothing(ticked: Deployment) -> None:
    ticked.cloud.calls.clear()
    checks(ticked)
    made = {name for each in ticked.cloud.calls.by_operation().values() for name in each}
    assert not [name for name in made if not name.startswith(READS)]
    assert ticked.jobs() == []


def test_a_post_with_one_key_begins_one_examination(ticked: Deployment) -> None:
    first, again = (ticked.ask("POST", "/doctor", {}, key="k", status=202).document for _ in range(2))
    assert first == again
    assert len(ticked.jobs(kind="probe")) == 3


# buckets and keys


def dr(app: Deployment) -> Any:
    return app.s3("dr")


def test_a_bucket_that_is_gone_is_found(ticked: Deployment) -> None:
    dr(ticked).delete_bucket(Bucket=DR_BUCKET)
    reason, remedy = only(ticked, "buckets", "failed")
    assert f"vault dr: bucket {DR_BUCKET} does not exist" in reason
    assert remedy.startswith("deploy the stack that makes it")


def test_a_bucket_in_another_region_is_found(ticked: Deployment) -> None:
    dr(ticked).delete_bucket(Bucket=DR_BUCKET)
    elsewhere = {"CreateBucketConfiguration": {"LocationConstraint": "eu-north-1"}}
    ticked.cloud.client("s3", "eu-north-1").create_bucket(Bucket=DR_BUCKET, **elsewhere)
    reason, remedy = only(ticked, "buckets", "failed")
    assert f"bucket {DR_BUCKET} is in eu-north-1, and the settings say {DR_REGION}" in reason
    assert remedy.startswith("write region eu-north-1 in the vaults document")


def test_a_bucket_of_somebody_else_is_found(ticked: Deployment) -> None:
    error = {"code": "403", "status": 403, "message": "Forbidden"}
    ticked.faults({"match": {"operation": "HeadBucket", "resource": DR_BUCKET}, "effect": {"error": error}})
    reason, remedy = only(ticked, "buckets", "failed")
    assert f"vault dr: bucket {DR_BUCKET} cannot be reached" in reason
    assert "belongs to this account" in remedy


def test_a_bucket_without_versions_is_found(ticked: Deployment) -> None:
    off = {"Status": "Suspended"}
    dr(ticked).put_bucket_versioning(Bucket=DR_BUCKET, VersioningConfiguration=off)
    reason, remedy = only(ticked, "buckets", "warning")
    assert f"bucket {DR_BUCKET} keeps no versions" in reason
    assert remedy == (
        f"aws s3api put-bucket-versioning --bucket {DR_BUCKET} --versioning-configuration Status=Enabled"
    )


def test_a_bucket_that_may_be_made_public_is_found(ticked: Deployment) -> None:
    ticked.s3("primary").delete_public_access_block(Bucket=HOME_BUCKET)
    reason, remedy = only(ticked, "buckets", "failed")
    assert f"bucket {HOME_BUCKET} does not block public access (BlockPublicAcls, " in reason
    assert f"--bucket {HOME_BUCKET}" in remedy


def with_key(app: Deployment, region: str = DR_REGION) -> tuple[Any, str]:
    """Have the DR vault's bucket encrypted by a key; return KMS and the key."""
    kms = app.cloud.client("kms", region)
    key = kms.create_key(KeyUsage="ENCRYPT_DECRYPT")["KeyMetadata"]["Arn"]
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}}
    dr(app).put_bucket_encryption(Bucket=DR_BUCKET, ServerSideEncryptionConfiguration={"Rules": [rule]})
    return kms, key


def test_a_key_that_is_disabled_or_being_deleted_is_found(ticked: Deployment) -> None:
    kms, key = with_key(ticked)
    assert f"vault dr: key {key} is enabled" in checks(ticked)["keys"]["reason"]
    kms.disable_key(KeyId=key.rpartition("/")[2])
    assert only(ticked, "keys", "failed") == (f"vault dr: key {key} is Disabled", "aws kms enable-key")
    kms.schedule_key_deletion(KeyId=key.rpartition("/")[2])
    reason, remedy = only(ticked, "keys", "failed")
    assert f"key {key} is being deleted" in reason
    assert remedy.startswith("aws kms cancel-key-deletion")


def test_a_key_that_is_gone_is_found(ticked: Deployment) -> None:
    _, key = with_key(ticked, "eu-north-1")
    reason, remedy = only(ticked, "keys", "failed")
    assert reason == f"vault dr: key {key} does not exist in {DR_REGION}"
    assert remedy == f"make it there, or name another key of {DR_REGION}"


# off-site


def test_a_secret_that_is_being_deleted_or_gone_is_found(ticked: Deployment) -> None:
    secrets = ticked.cloud.client("secretsmanager", HOME_REGION)
    secrets.delete_secret(SecretId=SECRET, RecoveryWindowInDays=7)
    reason, remedy = only(ticked, "secrets", "failed")
    assert f"vault offsite: secret {SECRET} is being deleted, since 20" in reason
    assert remedy.startswith("aws secretsmanager restore-secret")
    secrets.restore_secret(SecretId=SECRET)
    secrets.delete_secret(SecretId=SECRET, ForceDeleteWithoutRecovery=True)
    reason, remedy = only(ticked, "secrets", "failed")
    assert f"secret {SECRET} does not exist in {HOME_REGION}" in reason
    assert "make it" in remedy


def test_a_secret_that_the_worker_may_not_read_fails_the_probe_alone(ticked: Deployment) -> None:
    farshore.cache_clear()  # a process reads a secret once
    error = {"code": "AccessDeniedException", "message": "You may not."}
    ticked.faults({"match": {"operation": "GetSecretValue"}, "effect": {"error": error}})
    found = examine(ticked)
    assert found["vaults"]["state"] == "failed"
    assert found["vaults"]["reason"].startswith(f"vault offsite: GetSecretValue failed on {SECRET}")
    assert "check the secret's values" in found["vaults"]["remedy"]
    assert found["secrets"]["state"] == "ok"
    farshore.cache_clear()


def test_a_container_that_is_missing_is_found(ticked: Deployment) -> None:
    ticked.offsite.rmdir()
    try:
        found = examine(ticked)
        assert found["vaults"]["state"] == "failed"
        assert "vault offsite has no container farshore" in found["vaults"]["reason"]
    finally:
        ticked.offsite.mkdir()


def test_a_vault_that_refuses_an_object_is_found_and_nothing_is_left(ticked: Deployment) -> None:
    error = {"code": "AccessDenied", "status": 403, "message": "The key may not be used."}
    match = {"service": "s3", "operation": "PutObject", "resource": DR_BUCKET}
    ticked.faults({"match": match, "effect": {"error": error}})
    found = examine(ticked)
    assert found["vaults"]["state"] == "failed"
    assert "The key may not be used." in found["vaults"]["reason"]
    assert "its key, and the worker's rights" in found["vaults"]["remedy"]


def test_a_probe_that_may_not_delete_names_what_it_left(ticked: Deployment) -> None:
    error = {"code": "AccessDenied", "status": 403, "message": "You may not delete."}
    ticked.faults({"match": {"service": "s3", "operation": "DeleteObject"}, "effect": {"error": error}})
    found = examine(ticked)
    assert "You may not delete." in found["vaults"]["reason"]
    left = [job["left"] for job in ticked.jobs(kind="probe", state="FAILED")]
    assert sorted(key for [name] in left for key in [name.partition(" ")[2]]) == sorted(
        key for vault in ("primary", "dr") for key in ticked.keys(vault)
    )


# events


def lose(app: Deployment) -> None:
    app.faults({"match": {"event": "Farshore Round Trip"}, "effect": {"drop": True}})


def disable_away(app: Deployment) -> None:
    [rule] = app.cloud.client("events", DR_REGION).list_rules()["Rules"]
    app.cloud.client("events", DR_REGION).disable_rule(Name=rule["Name"])


def forward_nothing(app: Deployment) -> None:
    events = app.cloud.client("events", DR_REGION)
    [rule] = events.list_rules()["Rules"]
    pattern = json.loads(rule["EventPattern"]) | {"source": ["aws.ec2"]}
    events.put_rule(Name=rule["Name"], EventPattern=json.dumps(pattern))


@pytest.mark.parametrize("break_it", [lose, disable_away, forward_nothing])
def test_an_event_that_does_not_come_home_is_found(
    ticked: Deployment, break_it: Callable[[Deployment], None]
) -> None:
    break_it(ticked)
    found = examine(ticked, minutes=1)
    assert found["events"]["state"] == "unknown"
    assert "is under way since" in found["events"]["reason"]
    ticked.pass_time(minutes=5)
    reason, remedy = only(ticked, "events", "failed")
    assert f"an event of {DR_REGION} of 20" in reason
    assert f"deploy dr-region.yaml in {DR_REGION} with HomeRegion={HOME_REGION}" in remedy


def test_a_bus_that_refuses_the_event_is_found_at_once(ticked: Deployment) -> None:
    error = {"code": "AccessDeniedException", "message": "You may not put."}
    ticked.faults({"match": {"operation": "PutEvents"}, "effect": {"error": error}})
    found = examine(ticked)
    assert found["events"]["state"] == "failed"
    assert "could not be sent: PutEvents failed" in found["events"]["reason"]
    assert "events:PutEvents" in found["events"]["remedy"]


def test_an_event_of_another_deployment_is_not_taken_for_ours(ticked: Deployment) -> None:
    lose(ticked)
    ticked.ask("POST", "/doctor", {}, status=202)
    ticked.faults()
    detail = json.dumps({"event": "roundTrip", "token": "of-another"})
    entry = {"Source": "farshore.doctor", "DetailType": "Farshore Round Trip", "Detail": detail}
    ticked.cloud.client("events", DR_REGION).put_events(Entries=[entry])
    ticked.pass_time(minutes=1)
    assert checks(ticked)["events"]["state"] == "unknown"
    assert ticked.dead_letters() == []


# ticks, rules, queues


def tick_rule(app: Deployment) -> str:
    rules = app.cloud.client("events", HOME_REGION).list_rules()["Rules"]
    [name] = [each["Name"] for each in rules if "ScheduleExpression" in each]
    return str(name)


def test_a_tick_whose_rule_is_disabled_is_found_twice(ticked: Deployment) -> None:
    ticked.cloud.client("events", HOME_REGION).disable_rule(Name=tick_rule(ticked))
    reason, remedy = only(ticked, "rules", "failed")
    assert f"the tick: rule {tick_rule(ticked)} is disabled" in reason
    assert remedy.startswith("aws events enable-rule")
    ticked.pass_time(minutes=20)
    found = checks(ticked)
    assert found["tick"]["state"] == "failed"
    assert found["tick"]["reason"].startswith("ticks are missing, the last was at 20")
    assert "look at the function Tick" in found["tick"]["remedy"]


def test_rules_of_events_that_are_disabled_or_gone_are_found(ticked: Deployment) -> None:
    events = ticked.cloud.client("events", HOME_REGION)
    names = [each["Name"] for each in events.list_rules()["Rules"]]
    [completions] = [name for name in names if name.endswith("EbsCompletions")]
    events.disable_rule(Name=completions)
    assert f"queue events: rule {completions} is disabled" in only(ticked, "rules", "failed")[0]
    for name in names:
        if name.endswith(("LifecycleActions", "InstanceStarts", "SpotWarnings")):
            events.remove_targets(Rule=name, Ids=["launches-queue"])
    assert "no rule leads to queue launches" in only(ticked, "rules", "failed")[0]


def test_a_tick_that_fails_is_found(ticked: Deployment) -> None:
    error = {"code": "ValidationException", "message": "No."}
    ticked.faults({"match": {"service": "dynamodb", "operation": "Query"}, "effect": {"error": error}})
    ticked.pass_time(minutes=5)
    ticked.faults()
    reason, remedy = only(ticked, "tick", "warning")
    assert reason.startswith("the tick of 20")
    assert "the log of Tick" in remedy


def test_a_queue_that_feeds_no_function_is_found_and_so_are_its_old_messages(ticked: Deployment) -> None:
    functions = ticked.cloud.client("lambda", HOME_REGION)
    [mapping] = [
        each
        for each in functions.list_event_source_mappings()["EventSourceMappings"]
        if each["EventSourceArn"].endswith("-deletions")
    ]
    functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    reason, remedy = only(ticked, "queues", "failed")
    assert reason == "queue deletions feeds no function: its event source mapping is Disabled"
    assert remedy == "aws lambda update-event-source-mapping --enabled"
    ticked.ask("POST", "/inventory", {}, status=202)
    ticked.pass_time(minutes=20)
    reason, _ = only(ticked, "queues", "failed")
    assert "queue deletions: its oldest message waits for 20 minutes" in reason


def test_dead_letters_are_found(ticked: Deployment) -> None:
    sqs = ticked.cloud.client("sqs", HOME_REGION)
    [url] = [url for url in sqs.list_queues()["QueueUrls"] if url.endswith("-events-dead")]
    sqs.send_message(QueueUrl=url, MessageBody="{}")
    reason, remedy = only(ticked, "dead letters", "warning")
    assert reason == "queue events-dead: 1 message failed five times"
    assert "redrive" in remedy


# instances, time


def test_agents_that_are_offline_or_never_registered_are_found_by_name(ticked: Deployment) -> None:
    ticked.put_plan("orders", FILES)
    online = ticked.run_instance("orders", Name="one")
    assert checks(ticked)["agents"]["reason"] == "the SSM agent is online on all 1 protected instances"
    without: Any = {"local:ssm-agent": "none"}
    silent = ticked.run_instance("orders", Name="two", **without)
    ec2 = ticked.ec2()
    ec2.stop_instances(InstanceIds=[online])
    ticked.pass_time(seconds=60)
    ec2.create_tags(Resources=[online], Tags=[{"Key": "local:ssm-agent", "Value": "none"}])
    ec2.start_instances(InstanceIds=[online])
    ticked.pass_time(seconds=60)
    reason, remedy = only(ticked, "agents", "failed")
    assert f"1 of 2 protected instances: the SSM agent is offline on {online} (one)" in reason
    assert f"1 of 2 protected instances: no SSM agent ever registered on {silent} (two)" in reason
    assert "start the agent" in remedy
    assert "AmazonSSMManagedInstanceCore" in remedy


@pytest.mark.parametrize(("skew", "state"), [("90s", "warning"), ("10m", "failed")])
def test_a_clock_that_is_wrong_is_found(ticked: Deployment, skew: str, state: str) -> None:
    ticked.faults({"match": {"service": "sts"}, "effect": {"skew": skew}})
    reason, remedy = only(ticked, "clock", state)
    assert reason.startswith("AWS's clock is ")
    assert reason.endswith(" ahead of the functions'")
    assert "report it to AWS" in remedy


@pytest.mark.long
@pytest.mark.parametrize(
    ("service", "operation", "unknown"),
    [
        ("sts", "GetCallerIdentity", {"identity", "clock", "rules"}),
        ("s3", "GetBucketVersioning", {"buckets"}),
        ("secretsmanager", "DescribeSecret", {"secrets"}),
        ("sqs", "GetQueueAttributes", {"dead letters", "queues", "rules", "concurrency"}),
        ("events", "DescribeRule", {"rules"}),
        ("lambda", "ListEventSourceMappings", {"queues", "concurrency"}),
        ("lambda", "GetAccountSettings", {"concurrency"}),
        ("cloudwatch", "GetMetricData", {"tick", "queues"}),
        ("service-quotas", "ListServiceQuotas", {"quotas"}),
        ("ec2", "DescribeSnapshots", {"quotas"}),
    ],
)
def test_what_aws_refuses_to_show_is_unknown_and_stops_no_other_check(
    ticked: Deployment, service: str, operation: str, unknown: set[str]
) -> None:
    error = {"code": "AccessDenied", "status": 403, "message": "You may not."}
    ticked.faults({"match": {"service": service, "operation": operation}, "effect": {"error": error}})
    found = checks(ticked)
    states = {name: each["state"] for name, each in found.items() if name not in ("vaults", "events")}
    assert {name for name, state in states.items() if state != "ok"} == unknown, found
    for name in unknown:
        assert states[name] == "unknown"
        assert "You may not." in found[name]["reason"]
        assert "allow the role of the api function this call" in found[name]["remedy"]


# a small account


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    quotas = Quotas(copies_per_region=5, snapshots_per_region=2, concurrent_functions=10)
    with ground_below(tmp_path_factory.mktemp("small"), quotas) as ground:
        yield ground


def test_quotas_that_are_too_small_are_found(small: Ground) -> None:
    cloud, stage = small
    cloud.clock.advance_to(noon(cloud.clock.now() + timedelta(days=1)))
    stage.deploy(cloud)
    app = Deployment(cloud, stage)
    app.pass_time(minutes=6)
    found = checks(app)
    assert found["quotas"]["state"] == "warning"
    assert f"{DR_REGION}: CopySlots is 20, and the account's quota is 5" in found["quotas"]["reason"]
    assert "set CopySlots to 5" in found["quotas"]["remedy"]
    assert found["concurrency"]["state"] == "warning"
    assert found["concurrency"]["reason"].startswith(
        "67 functions of the stage may run at once, and 10 of the account's 10 are free"
    )
    assert "Concurrent executions" in found["concurrency"]["remedy"]
    app.ec2().create_volume(AvailabilityZone=f"{HOME_REGION}a", Size=1)
    [volume] = app.ec2().describe_volumes()["Volumes"]
    for _ in range(2):
        app.pass_time(seconds=5)
        app.ec2().create_snapshot(VolumeId=volume["VolumeId"])
    found = checks(app)
    assert f"{HOME_REGION}: 2 of 2 snapshots are used" in found["quotas"]["reason"]
    assert "Service Quotas" in found["quotas"]["remedy"]
