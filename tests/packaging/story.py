"""The main story, small: every kind of job once, on the local cloud, with each call its functions made.

A call that an instance makes through a presigned URL counts as the worker's: the worker presigns, and AWS
asks whether the one who signed may do it
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-presigned-url.html).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from wsgiref.types import WSGIEnvironment

from chalicelib.wiring import farshore
from local_cloud.call import ACCOUNT
from local_cloud.cloud import Cloud
from local_cloud.cloudformation.template import Stack
from local_cloud.lambda_.functions import FUNCTION_KEY
from local_cloud.recognise import Target
from local_cloud.wire import parse
from stage import DR_REGION, HOME_BUCKET, HOME_REGION, open_stage
from tests.packaging.iam.needs import Made
from tests.support.deployment import NEVER, Deployment, Document
from tests.support.farshore import BEGIN
from tests.support.groups import Group

WORKER = "AdvanceJobs"
LIFECYCLE = {"count": 1}
COPIES = {
    "snapshot": [{"vault": "dr", "lifecycle": LIFECYCLE}],
    "service": [{"vault": vault, "lifecycle": LIFECYCLE} for vault in ("dr", "offsite")],
}
SCRIPTS = {
    "script": 'head -c 100000 /dev/urandom > "$2"',
    "restore": "cat > restored",
    "verify": "test -s restored",
    "timeout": "1m",
}


@dataclass
class Witness:
    """Notes the calls of the functions, with the tags that the snapshots, volumes and instances they name
    have at that time."""

    cloud: Cloud
    made: list[Made] = field(default_factory=list)

    def see(self, target: Target, environ: WSGIEnvironment, function: str | None) -> None:
        """Note a call."""
        if target.access_key != FUNCTION_KEY:
            return
        by = WORKER if function is None else function.partition("-")[2]
        params = parse(target, environ)
        tags = self._tags(target.region, params) if target.service == "ec2" else {}
        self.made.append(Made(by, target.service, target.operation, target.region, params, tags))

    def _tags(self, region: str, params: Any) -> dict[str, str]:
        named = params.get("SourceSnapshotId") or params.get("SnapshotId") or params.get("VolumeId")
        named = named or next(iter(params.get("InstanceIds", ())), None)
        if not named:
            return {}
        ec2 = self.cloud.client("ec2", params.get("SourceRegion", region))
        found = ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [named]}])
        return {tag["Key"]: tag["Value"] for tag in found["Tags"]}


@dataclass(frozen=True, slots=True)
class Told:
    """The story's end: the home stack, and every call made."""

    stack: Stack
    made: tuple[Made, ...]


@contextmanager
def told(root: Path) -> Iterator[Told]:
    """Play the story; the stack can be asked as long as the context lasts."""
    farshore.cache_clear()
    with Cloud(root, start_at=BEGIN, signed=True) as cloud, open_stage(root) as stage:
        _, home = stage.deploy(cloud)
        witness = Witness(cloud)
        cloud.calls.on_call.append(witness.see)
        play(Deployment(cloud, stage))
        yield Told(home, tuple(witness.made))
    farshore.cache_clear()


def play(app: Deployment) -> None:
    """Back up by the clock and by request, copy, let go, fail, restore, delete; look at everything."""
    instance = app.run_instance(app="orders", Name="orders")
    app.store_plan("orders", plan())
    app.cloud.advance(timedelta(hours=2))
    app.finish()
    for rule in ("blocks", "files"):
        first, again = (app.post("/backups", {"plan": "orders", "rule": rule}, key=rule) for _ in range(2))
        assert first == again
        app.finish()
        assert app.job(first[0])["state"] == "COMPLETED", app.job(first[0])
    back_up_volume_by_volume(app)
    fail(app)
    files = {"rule": "files", "vault": "offsite", "target": {"instance_id": instance}}
    restore(app, files)
    with home_bucket_unreachable(app):
        restore(app, files)
    for vault, region in (("dr", DR_REGION), ("primary", HOME_REGION)):
        restore(app, {"rule": "blocks", "vault": vault, "target": {"availability_zone": f"{region}a"}})
    restore_onto_instances(app)
    let_go(app)
    replace_an_instance(app)
    start_instances(app)
    app.post("/inventory", {})
    app.finish()
    check_readiness(app)
    assert app.ask("POST", "/doctor", {}).status == 202
    app.finish()
    assert app.get("/doctor")["healthy"]
    for path in ("/plans", "/plans/orders", "/jobs", "/recovery-points", "/status", "/inventory"):
        app.get(path)
    assert app.ask("DELETE", "/plans/orders").status == 200


def replace_an_instance(app: Deployment) -> None:
    """Have a group replace an instance: it is backed up, and its successor restored and configured."""
    rule = {"name": "files", "kind": "service", "schedule": NEVER, "lifecycle": LIFECYCLE, **SCRIPTS}
    for name, launch in (("group", {"restore": "files"}), ("script", {"script": "true"})):
        document = {
            "selection": {"tags": {"app": "group"}},
            "rules": [rule],
            "on_launch": {**launch, "hook": "up", "on_failure": "abandon"},
        }
        ends = {"on_terminate": {"backup": "files", "hook": "down"}} if name == "group" else {}
        app.store_plan(name, {**document, **ends})
    lost = {"match": {"event": "EC2 Instance-launch Lifecycle Action"}, "effect": {"drop": True}, "count": 1}
    app.cloud.faults.replace([lost])
    group = Group(app, tags={"app": "group"})
    first = group.only()
    app.finish()
    app.make_point("group", "files")
    group.replace(first)
    app.finish()
    assert group.only() != first
    lost["match"] = {"event": "EC2 Instance-terminate Lifecycle Action"}
    app.cloud.faults.replace([lost])
    group.drop(group.only())
    app.cloud.advance(timedelta(minutes=12))
    app.finish()
    ended = {job["kind"]: job["state"] for job in app.everything("/jobs") if job["plan"] == "group"}
    assert set(ended.values()) == {"COMPLETED"}, app.everything("/jobs")
    for name in ("group", "script"):
        assert app.ask("DELETE", f"/plans/{name}").status == 200


def start_instances(app: Deployment) -> None:
    """Start instances from a backup, and some on which it cannot be restored, which are terminated."""
    app.run_instance(app="started")
    data = {"ImageId": "ami-12345678", "InstanceType": "t3.micro"}
    app.ec2().create_launch_template(LaunchTemplateName="started", LaunchTemplateData=data)
    subnets = app.ec2().describe_subnets()["Subnets"]
    order: Document = {"service": "started", "rule": "files", "launch_template": {"name": "started"}}
    rule = {"name": "files", "kind": "service", "schedule": NEVER, "lifecycle": LIFECYCLE, **SCRIPTS}
    for state, restore in (("COMPLETED", "cat > restored"), ("FAILED", "exit 3")):
        app.store_plan(
            "started", {"selection": {"tags": {"app": "started"}}, "rules": [rule | {"restore": restore}]}
        )
        app.make_point("started", "files")
        order |= {"on_failure": "terminate", "subnets": [subnets[0]["SubnetId"]]}
        assert app.ask("POST", "/launches", order | {"dry_run": True}).status == 200
        [job] = app.post("/launches", order)
        app.finish()
        assert app.job(job)["state"] == state, app.job(job)
    assert app.ask("DELETE", "/plans/started").status == 200


def plan() -> Document:
    """Return a plan with both kinds of rule, every kind of copy, and a script that fails."""
    selection = {"tags": {"app": "orders"}}
    rules: list[Document] = [
        {"name": "blocks", "kind": "snapshot", "schedule": "cron(0 * * * ? *)", "copies": COPIES["snapshot"]},
        {"name": "files", "kind": "service", "schedule": "cron(5 * * * ? *)", "copies": COPIES["service"]},
        {"name": "broken", "kind": "service", "schedule": "cron(0 0 1 1 ? 2100)", "script": "exit 3"},
    ]
    rules[1] |= SCRIPTS
    return {"selection": selection, "rules": [{"lifecycle": LIFECYCLE} | rule for rule in rules]}


def back_up_volume_by_volume(app: Deployment) -> None:
    """Back up an instance of which more is left out than one CreateSnapshots can leave out; terminate it."""
    ec2 = app.ec2()
    tags = {"instance": {"app": "wide"}, "volume": {"scratch": "yes"}}
    started = ec2.run_instances(
        ImageId="ami-12345678",
        MinCount=1,
        MaxCount=1,
        BlockDeviceMappings=[
            {"DeviceName": f"/dev/sd{first}{second}", "Ebs": {"VolumeSize": 1}}
            for first in "bcd"
            for second in "abcdefghijklmn"
        ],
        TagSpecifications=[
            {"ResourceType": kind, "Tags": [{"Key": key, "Value": value} for key, value in named.items()]}
            for kind, named in tags.items()
        ],
    )
    [instance] = started["Instances"]
    root = instance["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    ec2.delete_tags(Resources=[root], Tags=[{"Key": "scratch"}])
    app.cloud.advance(timedelta(seconds=15))
    blocks = {"name": "wide", "kind": "snapshot", "schedule": "cron(0 0 1 1 ? 2100)", "lifecycle": LIFECYCLE}
    rule = blocks | {"volumes": {"exclude_tags": {"scratch": "yes"}}}
    app.store_plan("wide", {"selection": {"tags": {"app": "wide"}}, "rules": [rule]})
    [job] = app.post("/backups", {"plan": "wide"})
    app.finish()
    assert app.job(job)["state"] == "COMPLETED", app.job(job)
    ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
    app.finish()


def fail(app: Deployment) -> None:
    """Run the script that fails; its upload is aborted."""
    [job] = app.post("/backups", {"plan": "orders", "rule": "broken"})
    app.finish()
    assert app.job(job)["state"] == "FAILED"
    assert not app.uploads()


def restore(app: Deployment, wanted: Document) -> None:
    """Restore what is wanted."""
    [job] = app.post("/restores", {"service": "orders", **wanted})
    app.finish()
    assert app.job(job)["state"] == "COMPLETED", app.job(job)


def restore_onto_instances(app: Deployment) -> None:
    """Attach volumes to an instance, and to one on which the script fails."""
    for state, script in (("COMPLETED", "true"), ("FAILED", "false")):
        blocks = {**plan()["rules"][0], "restore": script}
        app.store_plan("orders", plan() | {"rules": [blocks, *plan()["rules"][1:]]})
        started = app.ec2().run_instances(ImageId="ami-12345678", MinCount=1, MaxCount=1)
        instance = started["Instances"][0]["InstanceId"]
        order = {"service": "orders", "rule": "blocks", "target": {"instance_id": instance}}
        [job] = app.post("/restores", order)
        app.finish()
        assert app.job(job)["state"] == state, app.job(job)


@contextmanager
def home_bucket_unreachable(app: Deployment) -> Iterator[None]:
    """Let every call that concerns the home bucket fail."""
    error = {"code": "AccessDenied", "status": 403, "message": "The region is gone."}
    match = {"service": "s3", "resource": HOME_BUCKET}
    app.cloud.faults.replace([{"match": match, "effect": {"error": error}}])
    yield
    app.cloud.faults.replace([])


def check_readiness(app: Deployment) -> None:
    """Check the readiness of a service in an Auto Scaling group whose plan names a hook and an identity."""
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "app", "Value": "grouped"}]}]
    data = {"ImageId": "ami-12345678", "InstanceType": "t3.micro", "TagSpecifications": tags}
    app.ec2().create_launch_template(LaunchTemplateName="grouped", LaunchTemplateData=data)
    app.cloud.client("autoscaling", HOME_REGION).create_auto_scaling_group(
        AutoScalingGroupName="grouped",
        LaunchTemplate={"LaunchTemplateName": "grouped", "Version": "$Latest"},
        MinSize=1,
        MaxSize=1,
        AvailabilityZones=[f"{HOME_REGION}a"],
    )
    app.cloud.advance(timedelta(minutes=2))
    files = {"name": "files", "kind": "service", "schedule": "cron(0 0 1 1 ? 2100)", **SCRIPTS}
    where = f"arn:aws:elasticloadbalancing:{HOME_REGION}:{ACCOUNT}:targetgroup/grouped/0123456789abcdef"
    identity = {
        "elastic_ip": "eipalloc-0123456789abcdef0",
        "eni": "eni-0123456789abcdef0",
        "dns": {"zone": "Z0123456789ABCDEFGHIJ", "name": "grouped.example.internal"},
        "target_group": where,
    }
    on_launch = {"restore": "files", "hook": "grouped-launch"}
    rules = [{"lifecycle": LIFECYCLE} | files]
    selection = {"tags": {"app": "grouped"}}
    named = {"selection": selection, "rules": rules, "on_launch": on_launch, "identity": identity}
    app.store_plan("grouped", named)
    shown = {each["service"]: each for each in app.get("/readiness")["items"]}
    reasons = {each["check"]: each["reason"] for each in shown["grouped"]["checks"]}
    assert "lifecycle hook grouped-launch does not exist" in reasons["hooks"]
    assert reasons["addresses"].count("which does not exist") == len(identity)


def let_go(app: Deployment) -> None:
    """Delete a point by request, and see that the lifecycle has deleted in every vault; the newest stay."""
    for rule in ("blocks", "files"):
        newest, *_ = app.everything("/recovery-points", rule=rule, state="AVAILABLE")
        assert app.ask("DELETE", f"/recovery-points/{newest['id']}").status == 409
    older = [
        each for each in app.everything("/recovery-points", rule="files") if each["state"] == "AVAILABLE"
    ]
    assert app.ask("DELETE", f"/recovery-points/{older[-1]['id']}").status == 202
    app.finish()
    assert app.point(older[-1]["id"])["state"] == "DELETED"
    reasons = {
        (artefact["vault"], artefact["reason"])
        for point in app.everything("/recovery-points")
        for artefact in point["artefacts"]
        if artefact["state"] == "DELETED"
    }
    for vault in ("primary", "dr", "offsite"):
        assert (vault, "deleted by request") in reasons
        assert (vault, "no longer kept by count 1, min_keep 1") in reasons
