"""The main story, small: every kind of job once, on the local cloud, which judges each call by its role.

The vaults of the home region and the DR region are encrypted with keys of the operator's own. A call that an
instance makes through a presigned URL counts as the worker's: the worker presigns, and AWS asks whether the
one who signed may do it (https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-presigned-url.html).
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from wsgiref.types import WSGIEnvironment

from chalicelib.wiring import farshore
from local_cloud.call import ACCOUNT
from local_cloud.cloud import Cloud
from local_cloud.cloudformation.template import StackPlan
from local_cloud.recognise import Target
from local_cloud.services.iam.policies import Policy
from stage import DR_REGION, HOME_BUCKET, HOME_REGION, Stage, open_stage
from tests.support.deployment import NEVER, Deployment, Document
from tests.support.farshore import BEGIN
from tests.support.groups import Group

Grant = tuple[str, str, str]
"""A function, the Sid of a statement of its policy, an action."""
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


@dataclass(frozen=True, slots=True)
class EncryptedStage(Stage):
    """A stage whose buckets and copies are under the operator's keys, by region."""

    keys: Mapping[str, str] = field(default_factory=dict)

    @property
    def vaults_document(self) -> dict[str, Any]:
        """Return the vaults document, with the key of the DR region."""
        document = Stage.vaults_document.fget(self)  # type: ignore[attr-defined]
        return {**document, "dr": {**document["dr"], "kms_key": self.keys[DR_REGION]}}

    def plans(self) -> tuple[StackPlan, StackPlan]:
        """Return the stacks, with the keys of their buckets."""
        away, home = Stage.plans(self)
        return (
            replace(away, parameters={**away.parameters, "KeyArn": self.keys[DR_REGION]}),
            replace(home, parameters={**home.parameters, "VaultKeyArn": self.keys[HOME_REGION]}),
        )


@dataclass(frozen=True, slots=True)
class Told:
    """The story's end: what the functions did, by function, and what their policies say of it."""

    policies: Mapping[str, Policy]
    """By function, as the template calls it."""
    operations: frozenset[tuple[str | None, str]]
    """Function and operation; calls through presigned URLs have no function."""
    needed: frozenset[Grant]
    denials: frozenset[str]

    @property
    def granted(self) -> frozenset[Grant]:
        """Return all that the policies grant."""
        return frozenset(
            (function, statement.sid, action)
            for function, policy in self.policies.items()
            for statement in policy.statements
            for action in statement.actions
        )


@contextmanager
def encrypted_stage(root: Path) -> Iterator[tuple[Cloud, EncryptedStage]]:
    """Keep up a cloud with this stage on it."""
    farshore.cache_clear()
    with Cloud(root, start_at=BEGIN, signed=True) as cloud, open_stage(root) as plain:
        keys = {
            region: cloud.client("kms", region).create_key(KeyUsage="ENCRYPT_DECRYPT")["KeyMetadata"]["Arn"]
            for region in (HOME_REGION, DR_REGION)
        }
        stage = EncryptedStage(plain.offsite, keys=keys)
        stage.deploy(cloud)
        yield cloud, stage
    farshore.cache_clear()


def told(root: Path) -> Told:
    """Play the story."""
    with encrypted_stage(root) as (cloud, stage):
        operations = set[tuple[str | None, str]]()

        def note(target: Target, _: WSGIEnvironment, function: str | None) -> None:
            operations.add((function and logical(function), target.operation))

        cloud.calls.on_call.append(note)
        play(Deployment(cloud, stage), stage.keys[HOME_REGION])
        functions = {each.role_arn: logical(each.name) for each in cloud.functions.all()}
        return Told(
            {name: cloud.roles.policy_of(arn) for arn, name in functions.items()},
            frozenset(operations),
            frozenset(
                (functions[role], sid, action)
                for role, sid, action in cloud.authority.used
                if role in functions
            ),
            frozenset(cloud.authority.denials),
        )


def logical(function: str) -> str:
    """Return what the template calls a function."""
    return function.partition("-")[2]


def play(app: Deployment, key: str) -> None:
    """Back up by the clock and by request, copy, let go, fail, restore, delete; look at everything."""
    instance = launch_encrypted(app, key)
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
    die_after_sending(app)
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
    move_identity(app)
    app.post("/inventory", {})
    app.finish()
    check_readiness(app)
    assert app.ask("POST", "/doctor", {}).status == 202
    app.finish()
    seen = app.get("/doctor")
    assert seen["healthy"], seen["checks"]
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
    profile = {"IamInstanceProfile": {"Name": instance_profile(app)}}
    app.ec2().create_launch_template(LaunchTemplateName="started", LaunchTemplateData=data | profile)
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


def launch_encrypted(app: Deployment, key: str) -> str:
    """Start an instance whose data volume is under a key of the operator's."""
    started = app.ec2().run_instances(
        ImageId="ami-12345678",
        MinCount=1,
        MaxCount=1,
        BlockDeviceMappings=[
            {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1, "Encrypted": True, "KmsKeyId": key}}
        ],
        TagSpecifications=[
            {
                "ResourceType": "instance",
                "Tags": [{"Key": "app", "Value": "orders"}, {"Key": "Name", "Value": "orders"}],
            }
        ],
    )
    app.cloud.advance(timedelta(seconds=10))
    return str(started["Instances"][0]["InstanceId"])


def die_after_sending(app: Deployment) -> None:
    """Kill a worker between the sending of its command and the record of that; the next one finds it."""
    match = {"service": "ssm", "operation": "SendCommand", "caller": "function"}
    app.cloud.faults.replace([{"match": match, "effect": {"kill": "after"}, "count": 1}])
    app.make_point("orders", "files")
    app.cloud.faults.replace([])


def move_identity(app: Deployment) -> None:
    """Start an instance whose identity is taken back when a call fails, and one that gets it all."""
    app.run_instance(app="moved")
    old = app.run_instance(app="holder")
    subnet = app.ec2().describe_subnets()["Subnets"][0]
    made = app.cloud.client("elbv2", HOME_REGION).create_target_group(
        Name="moved", Protocol="TCP", Port=80, VpcId=subnet["VpcId"], TargetType="instance"
    )
    group = made["TargetGroups"][0]["TargetGroupArn"]
    interface = app.ec2().create_network_interface(SubnetId=subnet["SubnetId"])["NetworkInterface"]
    zone = app.cloud.client("route53", "us-east-1").create_hosted_zone(
        Name="example.internal", CallerReference="moved"
    )
    identity = {
        "elastic_ip": app.ec2().allocate_address(Domain="vpc")["AllocationId"],
        "eni": interface["NetworkInterfaceId"],
        "dns": {"zone": zone["HostedZone"]["Id"].rpartition("/")[2], "name": "moved.example.internal"},
        "target_group": group,
    }
    rule = {"name": "files", "kind": "service", "schedule": NEVER, "lifecycle": LIFECYCLE, **SCRIPTS}
    document = {
        "selection": {"tags": {"app": "moved"}},
        "rules": [rule],
        "on_launch": {"restore": "files", "hook": "moved"},
        "identity": identity,
    }
    app.store_plan("moved", document)
    app.make_point("moved", "files")
    order = {
        "service": "moved",
        "rule": "files",
        "launch_template": {"name": "started"},
        "subnets": [subnet["SubnetId"]],
        "identity": True,
        "on_failure": "terminate",
    }
    error = {"code": "InvalidTarget", "status": 400, "message": "No."}
    match = {"service": "elbv2", "operation": "RegisterTargets", "caller": "function"}
    app.cloud.faults.replace([{"match": match, "effect": {"error": error}}])
    for state in ("FAILED", "COMPLETED"):
        [job] = app.post("/launches", order)
        app.finish()
        assert app.job(job)["state"] == state, app.job(job)
        app.cloud.faults.replace([])
        targets = [{"Id": old}]
        app.cloud.client("elbv2", HOME_REGION).register_targets(TargetGroupArn=group, Targets=targets)
    assert app.ask("DELETE", "/plans/moved").status == 200


def instance_profile(app: Deployment) -> str:
    """Make a role that instances have, and return the name of its profile."""
    iam, name = app.cloud.client("iam", "us-east-1"), "started"
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "ec2.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    trust = {"Version": "2012-10-17", "Statement": [statement]}
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    return name


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
    kept = [{**rule, "lifecycle": {"count": 9}} for rule in plan()["rules"]]
    app.store_plan("orders", plan() | {"rules": kept})
    older, _ = (app.make_point("orders", "files") for _ in range(2))
    assert app.ask("DELETE", f"/recovery-points/{older['id']}").status == 202
    app.finish()
    assert app.point(older["id"])["state"] == "DELETED"
    reasons = {
        (artefact["vault"], artefact["reason"])
        for point in app.everything("/recovery-points")
        for artefact in point["artefacts"]
        if artefact["state"] == "DELETED"
    }
    for vault in ("primary", "dr", "offsite"):
        assert (vault, "deleted by request") in reasons
        assert (vault, "no longer kept by count 1, min_keep 1") in reasons
