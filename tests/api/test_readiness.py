"""GET /readiness finds, on a cloud as it is, what would keep a service from being brought back."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from stage import HOME_REGION
from tests.support.deployment import NEVER, Deployment, Document

KEPT = {"schedule": NEVER, "lifecycle": {"count": 50}}
COPIED = {"copies": [{"vault": "dr"}]}
VOLUMES = {"name": "volumes", "kind": "snapshot", **KEPT, **COPIED}
FILES = {
    "name": "files",
    "kind": "service",
    "script": 'echo hello > "$2"',
    "restore": "cat > restored",
    "verify": "grep -q hello restored",
    **KEPT,
    **COPIED,
}
CHECKS = ["data", "addresses", "agent", "kinds", "copies", "proof", "hooks", "rpo", "rto"]
GONE = {
    "elastic_ip": "eipalloc-0123456789abcdef0",
    "eni": "eni-0123456789abcdef0",
    "dns": {"zone": "Z0123456789ABCDEFGHIJ", "name": "orders.example.internal"},
    "target_group": (
        f"arn:aws:elasticloadbalancing:{HOME_REGION}:123456789012:targetgroup/gone/0123456789abcdef"
    ),
}


def plan(name: str, *rules: Mapping[str, Any], **keys: Any) -> Document:
    return {"service": name, "selection": {"tags": {"app": name}}, "rules": list(rules), **keys}


def item(app: Deployment, service: str = "orders") -> Document:
    [found] = app.get("/readiness", service=service)["items"]
    assert [each["check"] for each in found["checks"]] == CHECKS
    assert found["ready"] == all(each["state"] != "failed" for each in found["checks"])
    for each in found["checks"]:
        assert each["reason"]
        assert (each["remedy"] is None) == (each["state"] == "ok"), each
    ready: Document = found
    return ready


def check(app: Deployment, name: str, service: str = "orders") -> tuple[str, str]:
    [found] = [each for each in item(app, service)["checks"] if each["check"] == name]
    return found["state"], found["reason"]


def run(
    app: Deployment, kind: str = "t3.micro", *, volumes: int = 1, tags: Mapping[str, str] | None = None
) -> str:
    """Run an instance of a type tagged `app: orders`; its agent is soon online."""
    started = app.ec2().run_instances(
        ImageId="ami-12345678",
        MinCount=1,
        MaxCount=1,
        InstanceType=kind,
        BlockDeviceMappings=[
            {"DeviceName": f"/dev/sd{letter}", "Ebs": {"VolumeSize": 1}} for letter in "fgh"[:volumes]
        ],
        TagSpecifications=[
            {
                "ResourceType": "instance",
                "Tags": [
                    {"Key": key, "Value": value} for key, value in {"app": "orders", **(tags or {})}.items()
                ],
            }
        ],
    )
    app.cloud.advance(timedelta(seconds=15))
    return str(started["Instances"][0]["InstanceId"])


def prove(app: Deployment, instance: str) -> str:
    """Back up, and restore onto the instance; name the restore."""
    app.make_point("orders", "files")
    target = {"instance_id": instance}
    [job] = app.post("/restores", {"service": "orders", "rule": "files", "target": target})
    app.finish()
    assert app.job(job)["state"] == "COMPLETED"
    return job


def refuse(app: Deployment, service: str, operation: str) -> None:
    """Have AWS refuse the functions an operation."""
    error = {"code": "AccessDenied", "status": 403, "message": "You may not."}
    match = {"service": service, "operation": operation, "caller": "function"}
    app.cloud.faults.replace([{"match": match, "effect": {"error": error}}])


def skip(app: Deployment, span: timedelta) -> None:
    """Let time pass without a single tick."""
    app.cloud.faults.replace([{"match": {"event": "Scheduled Event"}, "effect": {"drop": True}}])
    app.cloud.advance(span)


def test_a_service_is_ready_once_it_was_backed_up_copied_and_restored(app: Deployment) -> None:
    instance = run(app)
    app.store_plan("orders", plan("orders", VOLUMES, FILES, objectives={"rpo": "1d", "rto": "30m"}))
    before = {each["check"]: each["state"] for each in item(app)["checks"]}
    assert before == dict.fromkeys(CHECKS, "ok") | {"proof": "failed", "rpo": "failed", "rto": "unknown"}
    assert not item(app)["ready"]
    assert item(app)["launches"]["says"].startswith("no launch and no restore of this service has completed")
    job = prove(app, instance)
    ready = item(app)
    assert {each["state"] for each in ready["checks"]} == {"ok"}
    assert ready["ready"]
    assert check(app, "proof")[1].startswith(f"{job} was verified on ")
    [verified] = ready["launches"]["restores"]
    assert (verified["step"], verified["count"]) == ("verified", 1)
    assert verified["p50"] == verified["p99"]


@pytest.mark.long
def test_a_proof_grows_old(app: Deployment) -> None:
    instance = run(app)
    app.store_plan("orders", plan("orders", FILES))
    prove(app, instance)
    skip(app, timedelta(days=31))
    state, reason = check(app, "proof")
    assert (state, reason.endswith("which is 31 days ago")) == ("warning", True), reason


def test_a_restore_that_no_script_verified_proves_nothing(app: Deployment) -> None:
    instance = run(app)
    unverified = {key: value for key, value in FILES.items() if key != "verify"}
    app.store_plan("orders", plan("orders", unverified))
    prove(app, instance)
    state, reason = check(app, "proof")
    assert state == "failed"
    assert "no restore was ever proven" in reason
    assert "rule files has no verify script" in reason
    [restored] = item(app)["launches"]["restores"]
    assert restored["step"] == "restored"


def test_a_restore_under_another_plan_proves_nothing(app: Deployment) -> None:
    instance = run(app)
    app.store_plan("orders", plan("orders", FILES))
    app.store_plan("other", {**plan("orders", FILES), "name": "other"})
    prove(app, instance)
    states = {each["plan"]: each for each in app.get("/readiness", service="orders")["items"]}
    assert states.keys() == {"orders", "other"}
    proofs = {
        name: each["state"]
        for name, found in states.items()
        for each in found["checks"]
        if each["check"] == "proof"
    }
    assert proofs == {"orders": "ok", "other": "failed"}


def test_data_that_nothing_keeps_is_found(app: Deployment) -> None:
    bare = run(app, volumes=0)
    data_only = {**VOLUMES, "volumes": {"boot": False, "exclude_tags": {"scratch": "yes"}}}
    app.store_plan("orders", plan("orders", data_only))
    assert check(app, "data") == (
        "failed",
        f"{bare}: no data volume, and every rule leaves the boot volume out: nothing is backed up",
    )
    app.store_plan("orders", plan("orders", VOLUMES))
    assert check(app, "data")[0] == "warning"
    app.ec2().terminate_instances(InstanceIds=[bare])
    app.cloud.advance(timedelta(seconds=15))
    assert check(app, "data") == ("unknown", "no instance of the service runs now")
    large = run(app, "m5d.large")
    state, reason = check(app, "data")
    assert (state, reason.startswith(f"{large}: instance-store volumes (m5d.large 75 GB)")) == (
        "warning",
        True,
    )
    app.ec2().terminate_instances(InstanceIds=[large])
    plain = run(app)
    app.store_plan("orders", plan("orders", data_only))
    assert check(app, "data")[0] == "ok"
    [volume] = app.ec2().describe_volumes(
        Filters=[
            {"Name": "attachment.instance-id", "Values": [plain]},
            {"Name": "attachment.device", "Values": ["/dev/sdf"]},
        ]
    )["Volumes"]
    app.ec2().create_tags(Resources=[volume["VolumeId"]], Tags=[{"Key": "scratch", "Value": "yes"}])
    state, reason = check(app, "data")
    assert (state, reason) == ("warning", f"{volume['VolumeId']}: no snapshot rule takes these data volumes")


def test_addresses_that_would_stay_behind_are_found(app: Deployment) -> None:
    instance, ec2 = run(app), app.ec2()
    app.store_plan("orders", plan("orders", FILES))
    assert check(app, "addresses")[0] == "ok"
    ip = ec2.allocate_address(Domain="vpc")
    ec2.associate_address(AllocationId=ip["AllocationId"], InstanceId=instance)
    subnet = ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]["SubnetId"]
    eni = ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
    ec2.attach_network_interface(NetworkInterfaceId=eni, InstanceId=instance, DeviceIndex=1)
    state, reason = check(app, "addresses")
    assert state == "warning"
    assert f"Elastic IP {ip['PublicIp']} ({ip['AllocationId']}) on {instance}" in reason
    assert f"second network interface {eni} on {instance}" in reason
    identity = {"elastic_ip": ip["AllocationId"], "eni": eni}
    app.store_plan("orders", plan("orders", FILES, on_launch={"restore": "files"}, identity=identity))
    assert check(app, "addresses")[0] == "ok"


def test_an_identity_that_does_not_exist_is_found(app: Deployment) -> None:
    run(app)
    app.store_plan("orders", plan("orders", FILES, on_launch={"restore": "files"}, identity=GONE))
    state, reason = check(app, "addresses")
    assert state == "failed"
    for name in (
        f"elastic_ip {GONE['elastic_ip']}",
        f"eni {GONE['eni']}",
        "dns.zone Z0123456789ABCDEFGHIJ",
        f"target_group {GONE['target_group']}",
    ):
        assert f"the plan's identity names {name}, which does not exist" in reason


def test_agents_that_are_offline_or_never_registered_are_found(app: Deployment) -> None:
    app.store_plan("orders", plan("orders", FILES))
    silent = run(app, tags={"local:ssm-agent": "none"})
    assert check(app, "agent") == (
        "failed",
        f"{silent}: no SSM agent ever registered, and rule files needs it",
    )
    lost = run(app)
    assert check(app, "agent")[0] == "warning"
    app.ec2().stop_instances(InstanceIds=[lost])
    app.cloud.advance(timedelta(seconds=60))
    app.ec2().create_tags(Resources=[lost], Tags=[{"Key": "local:ssm-agent", "Value": "none"}])
    app.ec2().start_instances(InstanceIds=[lost])
    app.cloud.advance(timedelta(seconds=60))
    state, reason = check(app, "agent")
    assert state == "failed"
    assert f"{lost}: the SSM agent is offline (last seen 2026-" in reason
    app.store_plan("orders", plan("orders", VOLUMES))
    assert check(app, "agent") == ("ok", "nothing in the plan runs on an instance")


def test_kinds_and_copies_that_are_missing_are_found(app: Deployment) -> None:
    run(app)
    alone = {key: value for key, value in FILES.items() if key != "copies"}
    app.store_plan("orders", plan("orders", alone))
    assert check(app, "kinds")[0] == "warning"
    assert check(app, "copies") == ("failed", "no rule copies into another region or another cloud")
    app.store_plan("orders", plan("orders", alone, VOLUMES))
    assert check(app, "kinds")[0] == "ok"
    assert check(app, "copies") == ("warning", "rule files: no copy in another region or another cloud")


def test_a_copy_that_does_not_arrive_is_found(app: Deployment) -> None:
    run(app)
    app.store_plan("orders", plan("orders", FILES, objectives={"rpo": "1d"}))
    error = {"code": "AccessDenied", "status": 403, "message": "The region is gone."}
    match = {"service": "s3", "resource": "-dr"}
    app.cloud.faults.replace([{"match": match, "effect": {"error": error}}])
    app.post("/backups", {"plan": "orders"})
    app.finish()
    skip(app, timedelta(days=2))
    state, reason = check(app, "copies")
    assert state == "failed"
    assert "rule files: vault dr lacks copies that failed and are made again: 1" in reason
    assert "rule files: vault dr has no copy at all, and lacks the newest point" in reason
    assert check(app, "rpo")[0] == "failed"


def test_an_rto_that_was_not_kept_is_found(app: Deployment) -> None:
    instance = run(app)
    app.store_plan("orders", plan("orders", FILES, objectives={"rto": "1m"}))
    app.make_point("orders", "files")
    [job] = app.post("/restores", {"service": "orders", "rule": "files", "target": {"instance_id": instance}})
    app.faults({"match": {"operation": "SendCommand"}, "effect": {"error": {"code": "ThrottlingException"}}})
    app.pass_time(minutes=2)
    app.faults()
    app.finish()
    assert app.job(job)["state"] == "COMPLETED"
    state, reason = check(app, "rto")
    assert (state, reason.startswith("promised 1m, and the p99 of restores and launches is ")) == (
        "failed",
        True,
    )


def group(app: Deployment, name: str) -> Any:
    """Make an Auto Scaling group of one instance of the service; return the client."""
    scaling = app.cloud.client("autoscaling", HOME_REGION)
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "app", "Value": "orders"}]}]
    data = {"ImageId": "ami-12345678", "InstanceType": "t3.micro", "TagSpecifications": tags}
    app.ec2().create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data)
    scaling.create_auto_scaling_group(
        AutoScalingGroupName=name,
        LaunchTemplate={"LaunchTemplateName": name, "Version": "$Latest"},
        MinSize=1,
        MaxSize=1,
        AvailabilityZones=[f"{HOME_REGION}a"],
    )
    app.cloud.advance(timedelta(minutes=2))
    return scaling


def test_a_lifecycle_hook_that_would_not_work_is_found(app: Deployment) -> None:
    lone = run(app)
    on_launch = {"restore": "files", "hook": "up", "on_failure": "abandon", "timeout": "1h"}
    app.store_plan("orders", plan("orders", FILES, on_launch=on_launch))
    state, reason = check(app, "hooks")
    assert (state, reason.startswith("no running instance is in an Auto Scaling group")) == ("warning", True)
    app.ec2().terminate_instances(InstanceIds=[lone])
    scaling = group(app, "orders-group")

    def put(**hook: Any) -> None:
        scaling.put_lifecycle_hook(AutoScalingGroupName="orders-group", LifecycleHookName="up", **hook)

    what = "group orders-group: lifecycle hook up"
    assert check(app, "hooks") == ("failed", f"{what} does not exist, and on_launch waits for it")
    terminating = "autoscaling:EC2_INSTANCE_TERMINATING"
    put(LifecycleTransition=terminating)
    assert check(app, "hooks") == ("failed", f"{what} is for {terminating}, and on_launch waits for it")
    scaling.delete_lifecycle_hook(AutoScalingGroupName="orders-group", LifecycleHookName="up")
    launching = "autoscaling:EC2_INSTANCE_LAUNCHING"
    put(LifecycleTransition=launching, HeartbeatTimeout=600, DefaultResult="CONTINUE")
    state, reason = check(app, "hooks")
    assert (state, f"{what} has the default result CONTINUE" in reason) == ("warning", True)
    put(LifecycleTransition=launching, HeartbeatTimeout=600, DefaultResult="ABANDON")
    state, reason = check(app, "hooks")
    assert (state, reason.endswith("then ABANDON")) == ("ok", True)


@pytest.mark.parametrize(
    ("service", "operation", "unknown"),
    [
        ("ec2", "DescribeInstances", {"data", "addresses", "agent", "hooks"}),
        ("ec2", "DescribeInstanceTypes", {"data"}),
        ("ec2", "DescribeVolumes", {"data"}),
        ("ec2", "DescribeAddresses", {"addresses"}),
        ("ssm", "DescribeInstanceInformation", {"agent"}),
    ],
)
def test_what_aws_refuses_to_show_is_unknown_and_stops_no_other_check(
    app: Deployment, service: str, operation: str, unknown: set[str]
) -> None:
    run(app)
    app.store_plan("orders", plan("orders", VOLUMES, FILES, on_launch={"restore": "files", "hook": "up"}))
    refuse(app, service, operation)
    found = {each["check"]: each for each in item(app)["checks"]}
    assert {name for name, each in found.items() if each["state"] == "unknown"} == unknown
    for name in unknown:
        assert f"{operation} failed in {HOME_REGION}" in found[name]["reason"]
        assert "You may not." in found[name]["reason"]


def test_a_refused_part_of_an_identity_hides_no_other(app: Deployment) -> None:
    run(app)
    app.store_plan("orders", plan("orders", FILES, on_launch={"restore": "files"}, identity=GONE))
    refuse(app, "route53", "GetHostedZone")
    state, reason = check(app, "addresses")
    assert state == "failed"
    assert "GetHostedZone failed on Z0123456789ABCDEFGHIJ: You may not." in reason
    assert f"target_group {GONE['target_group']}, which does not exist" in reason


@pytest.mark.long
def test_pages_show_each_service_once_and_cost_no_more_for_more_services(app: Deployment) -> None:
    for number in range(7):
        run(app, tags={"Name": f"db-{number}"})
    by_name = plan("orders", VOLUMES, FILES, service={"tag": "Name"})
    app.store_plan("orders", by_name)
    for rule in ("volumes", "files"):
        app.post("/backups", {"plan": "orders", "rule": rule})
    app.finish()
    everything = app.get("/readiness")["items"]
    assert [each["service"] for each in everything] == [f"db-{number}" for number in range(7)]
    pages = list(app.pages("/readiness", limit=3))
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [each["service"] for page in pages for each in page] == [each["service"] for each in everything]
    counted = ("DescribeInstances", "DescribeInstanceTypes", "DescribeVolumes", "DescribeAddresses")
    before = {name: app.cloud.calls.by_operation()["ec2"].get(name, 0) for name in counted}
    app.get("/readiness", plan="orders")
    after = {name: app.cloud.calls.by_operation()["ec2"][name] for name in counted}
    assert {name: after[name] - before[name] for name in counted} == dict.fromkeys(counted, 1)


def test_a_plan_that_selects_nothing_has_an_item_and_one_that_is_gone_has_none(app: Deployment) -> None:
    app.store_plan("orders", plan("orders", FILES))
    assert check(app, "agent") == ("unknown", "no instance of the service runs now")
    run(app)
    app.make_point("orders", "files")
    assert app.ask("DELETE", "/plans/orders").status == 200
    assert len(app.get("/status", service="orders")["items"]) == 1
    assert app.get("/readiness", service="orders") == {"items": [], "cursor": None}


def test_a_filter_that_names_nothing_there_is_says_what_there_is(app: Deployment) -> None:
    app.store_plan("orders", plan("orders", FILES))
    pointer, met, right = app.ask("GET", "/readiness", query={"service": "order"}).fault()
    assert (pointer, met, right.endswith("did you mean orders?; there are orders")) == (
        "/service",
        "order",
        True,
    )
    assert app.ask("GET", "/readiness", query={"limit": "101"}).fault()[0] == "/limit"
