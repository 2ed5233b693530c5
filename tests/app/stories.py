"""What may be interrupted: a story for each kind of job and each way it is done."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from tests.support.deployment import (
    BUCKETS,
    REGIONS,
    Deployment,
    Document,
    service_rule,
    snapshot_rule,
)
from tests.support.groups import HOOKS, Group

MOUNT = 'echo "$FARSHORE_JOB" >> restores; cat volumes/sdf/data volumes/sdg/data > mounted'


@dataclass(frozen=True, slots=True)
class Story:
    """What is interrupted: what it needs, done undisturbed; how it starts; what its end looks like."""

    prepare: Callable[[Deployment], str]
    """Make the plan and the instance; name the instance."""
    before: Callable[[Deployment, str], Document]
    start: Callable[[Deployment, Document], str]
    end: Callable[[Deployment, Document, Document], object]
    state: str = "COMPLETED"


def _much_left_out(app: Deployment) -> str:
    """Plan a rule that leaves out more data volumes of an instance than one CreateSnapshots can."""
    instance = app.run_instance("orders")
    app.put_plan("orders", snapshot_rule(volumes={"exclude_tags": {"scratch": "yes"}}))
    ec2 = app.ec2()
    tags = [{"ResourceType": "volume", "Tags": [{"Key": "scratch", "Value": "yes"}]}]
    devices = [f"/dev/sd{first}{second}" for first in "bcd" for second in "abcdefghijklmn"][:41]
    made = [
        ec2.create_volume(Size=1, AvailabilityZone="eu-central-1a", TagSpecifications=tags)["VolumeId"]
        for _ in devices
    ]
    app.pass_time(seconds=15)
    for volume, device in zip(made, devices, strict=True):
        ec2.attach_volume(VolumeId=volume, InstanceId=instance, Device=device)
    return instance


def _nothing(app: Deployment, instance: str) -> Document:
    return {"instance": instance}


def _point_made(app: Deployment, instance: str) -> Document:
    job_id = app.back_up("orders")
    app.pass_time(seconds=45)
    return {"instance": instance, "point": app.point(app.job(job_id)["recovery_point"])}


def _point_there(app: Deployment, instance: str) -> Document:
    points = app.points()
    return {"instance": instance, "point": points[0]} if points else _point_made(app, instance)


def _older_point(app: Deployment, instance: str) -> Document:
    """Return the oldest point there is, and have a newer one."""
    older = app.points(state="AVAILABLE")[:1]
    _point_made(app, instance)
    if not older:
        return _older_point(app, instance)
    return {"instance": instance, "point": older[0]}


def _planned(*rules: Document) -> Callable[[Deployment], str]:
    def prepare(app: Deployment) -> str:
        instance = app.run_instance("orders")
        app.put_plan("orders", *rules)
        return instance

    return prepare


def _delete(app: Deployment, context: Document) -> str:
    answer = app.ask("DELETE", f"/recovery-points/{context['point']['id']}", status=202)
    return str(answer.document["jobs"][0])


def _made_point(app: Deployment, job: Document, context: Document) -> object:
    return _shape(app.point(job["recovery_point"]))


def _made_file(app: Deployment, job: Document, context: Document) -> object:
    return _shape(app.point(job["recovery_point"])), _runs(app, job, context, "ran")


def _to_attach(*, script: str = MOUNT) -> Callable[[Deployment], str]:
    """Plan a rule whose restore script reads the volumes; have an instance with data on two."""

    def prepare(app: Deployment) -> str:
        instance = app.run_instance("orders", volumes=2)
        for device in ("sdf", "sdg"):
            (app.directory(instance) / "volumes" / device / "data").write_text(f"data of {device}")
        app.put_plan(
            "orders", snapshot_rule(restore=script, verify="grep -q sdg volumes/sdg/data", timeout="2m")
        )
        return instance

    return prepare


def _fresh_instance(app: Deployment, instance: str) -> Document:
    """Have an instance of its own for each restore; its data volumes would stand in the next one's way."""
    made = _point_there(app, instance)
    for reservation in app.ec2().describe_instances()["Reservations"]:
        for each in reservation["Instances"]:
            if each["InstanceId"] != instance and each["State"]["Name"] == "running":
                app.ec2().terminate_instances(InstanceIds=[each["InstanceId"]])
    return {**made, "onto": app.run_instance("fresh", volumes=0)}


def _attached(app: Deployment, job: Document, context: Document) -> object:
    """Describe what of a restore is attached, and what its script saw."""
    mine = [
        volume for volume in app.restored_volumes().values() if _tags(volume)["farshore:job"] == job["id"]
    ]
    attachments = sorted(
        (each["Device"], each["State"], each["InstanceId"] == context["onto"])
        for volume in mine
        for each in volume["Attachments"]
    )
    seen = app.directory(context["onto"]) / "mounted"
    onto = {"instance": context["onto"]}
    return len(mine), attachments, seen.read_text(), _runs(app, job, onto, "restores")


def _made_volumes(app: Deployment, job: Document, context: Document) -> object:
    restored = app.restored_volumes(job["vault"]).values()
    mine = [volume for volume in restored if _tags(volume)["farshore:job"] == job["id"]]
    return sorted((volume["State"], volume["Size"]) for volume in mine)


def _restored(app: Deployment, job: Document, context: Document) -> object:
    written = (app.directory(context["instance"]) / "restored").read_bytes()
    original = next(each for each in context["point"]["artefacts"] if each["vault"] == "primary")
    return written == app.read("primary", original["key"]), _runs(app, job, context, "restores")


def _runs(app: Deployment, job: Document, context: Document, log: str) -> object:
    """Count how often the user's script of a job ran, and the commands sent for it."""
    lines = (app.directory(context["instance"]) / log).read_text().split()
    commands = app.cloud.client("ssm", "eu-central-1").get_paginator("list_commands").paginate()
    sent = [command["Comment"] for page in commands for command in page["Commands"]]
    return lines.count(job["id"]), sum(comment.startswith(f"farshore {job['id']} ") for comment in sent)


def _gone(app: Deployment, job: Document, context: Document) -> object:
    return _shape(app.point(context["point"]["id"]))


def _orphan_known(app: Deployment, instance: str) -> Document:
    """Have a snapshot that a job made unheard, and an inventory that has seen it."""
    known = set(app.snapshots())
    job_id = app.back_up("orders")
    app.pass_time(seconds=1)
    [own] = [each for id, each in app.snapshots().items() if id not in known]
    spare = app.ec2().create_snapshot(
        VolumeId=own["VolumeId"],
        Description=own["Description"],
        TagSpecifications=[{"ResourceType": "snapshot", "Tags": own["Tags"]}],
    )
    app.pass_time(seconds=45)
    assert app.job(job_id)["state"] == "COMPLETED"
    _inventory(app, {"region": REGIONS["primary"]})
    app.pass_time(seconds=45)
    return {"instance": instance, "where": {"region": REGIONS["primary"]}, "orphan": spare["SnapshotId"]}


def _loss_suspected(app: Deployment, instance: str) -> Document:
    """Have a point whose object is gone, and an inventory that has seen so once."""
    made = _point_made(app, instance)
    [artefact] = made["point"]["artefacts"]
    app.s3("primary").delete_object(Bucket=BUCKETS["primary"], Key=artefact["key"])
    job_id = _inventory(app, {"vault": "primary"})
    app.pass_time(seconds=45)
    app.ask("POST", f"/jobs/{job_id}/cancel", status=202)
    app.pass_time(minutes=11)
    return {**made, "where": {"vault": "primary"}}


def _inventory(app: Deployment, where: Document) -> str:
    [job_id] = app.ask("POST", "/inventory", where, status=202).document["jobs"]
    return str(job_id)


def _orphan_gone(app: Deployment, job: Document, context: Document) -> object:
    found = app.listing("inventory", region=REGIONS["primary"])
    return context["orphan"] in app.snapshots(), [each["what"] for each in found]


def _loss_marked(app: Deployment, job: Document, context: Document) -> object:
    point = app.point(context["point"]["id"])
    found = [each["what"] for each in app.listing("inventory", vault="primary")]
    [status] = app.listing("status")
    counted = status["points"].get("service", {}).get("primary", 0)
    return _shape(point), point["id"] in found, counted - len(app.points(state="AVAILABLE"))


def _to_start(app: Deployment) -> str:
    """Have a plan, and a launch template of instances that it is for."""
    data = {"ImageId": "ami-12345678", "InstanceType": "t3.micro"}
    app.ec2().create_launch_template(LaunchTemplateName="orders", LaunchTemplateData=data)
    return _planned(service_rule())(app)


def _only_it(app: Deployment, instance: str) -> Document:
    """Terminate what earlier jobs have started."""
    made = _point_there(app, instance)
    if earlier := _started(app):
        app.ec2().terminate_instances(InstanceIds=earlier)
    return made


def _start(app: Deployment, context: Document) -> str:
    order = {"service": "orders", "rule": "file", "launch_template": {"name": "orders"}}
    [job_id] = app.ask("POST", "/launches", order, status=202).document["jobs"]
    return str(job_id)


def _started(app: Deployment, job_id: str = "*") -> list[str]:
    """List the instances that a job, or any, has started and that are not terminated."""
    wanted = [
        {"Name": "tag:farshore:job", "Values": [job_id]},
        {"Name": "instance-state-name", "Values": ["pending", "running"]},
    ]
    found = app.ec2().describe_instances(Filters=wanted)["Reservations"]
    return [each["InstanceId"] for reservation in found for each in reservation["Instances"]]


def _all_started(app: Deployment, job: Document, context: Document) -> object:
    """Count what a job has started, and how often the data was restored onto each."""
    started = _started(app, job["id"])
    launches = [each for each in app.jobs(kind="launch") if each["method"] == "launch"]
    restored = [len((app.directory(each) / "restores").read_text().split()) for each in started]
    of_them = [each["state"] for each in launches if any(id in each["reason"] for id in started)]
    return sorted(job["made"]) == sorted(started), restored, of_them


def _of_group(*rules: Document, **keys: Any) -> Callable[[Deployment], str]:
    """Plan launches and last backups of a group's instances; have the group, still without an instance."""

    def prepare(app: Deployment) -> str:
        instance = app.run_instance("orders")
        app.put_plan("orders", *rules, **keys)
        app.back_up("orders")
        app.pass_time(minutes=1)
        app.terminate(instance)
        hooks = HOOKS if "on_terminate" in keys else HOOKS[:1]
        Group(app, desired=0, hooks=hooks, heartbeat=3600, device="/dev/sdz")
        return instance

    return prepare


def _launch(app: Deployment, context: Document) -> str:
    """Have the group launch another instance; name the launch."""
    known = {job["id"] for job in app.jobs(kind="launch")}
    _resize(app, 1)
    return _new_job(app, "launch", known)


def _terminate(app: Deployment, context: Document) -> str:
    """Have the group terminate its instance; name the job of its last backup."""
    known = {job["id"] for job in app.jobs(kind="termination")}
    _resize(app, -1)
    return _new_job(app, "termination", known)


def _resize(app: Deployment, by: int) -> None:
    autoscaling = app.cloud.client("autoscaling", REGIONS["primary"])
    [group] = autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
    autoscaling.set_desired_capacity(
        AutoScalingGroupName=group["AutoScalingGroupName"], DesiredCapacity=group["DesiredCapacity"] + by
    )


def _desired(app: Deployment) -> int:
    autoscaling = app.cloud.client("autoscaling", REGIONS["primary"])
    [group] = autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
    return int(group["DesiredCapacity"])


def _new_job(app: Deployment, kind: str, known: Collection[str]) -> str:
    """Let time pass until there is a job of this kind; name it."""
    for _ in range(60):
        new = [job["id"] for job in app.jobs(kind=kind) if job["id"] not in known]
        if new:
            return str(new[0])
        app.pass_time(seconds=1)
    raise AssertionError(f"no {kind} was opened")


def _none_left(app: Deployment, instance: str) -> Document:
    """Have a group without instances."""
    _resize(app, -_desired(app))
    while _members(app):
        app.pass_time(minutes=5)
    return {}


def _one_left(app: Deployment, instance: str) -> Document:
    """Have a group of one instance, in service."""
    if not _members(app):
        _resize(app, 1)
    while list(_members(app).values()) != ["InService"]:
        app.pass_time(minutes=1)
    [member] = _members(app)
    return {"instance": member}


def _members(app: Deployment) -> dict[str, str]:
    autoscaling = app.cloud.client("autoscaling", REGIONS["primary"])
    [group] = autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
    return {each["InstanceId"]: each["LifecycleState"] for each in group["Instances"]}


def _launched(app: Deployment, job: Document, context: Document) -> object:
    """Describe the instance after a launch: its state in the group, and what it has got, how often."""
    app.pass_time(minutes=1)  # the group lets it in after it was told
    [(member, state)] = _members(app).items()
    restores = (app.directory(member) / "restores").read_text().split()
    devices = sorted(
        (each["Device"], each["State"])
        for volume in app.restored_volumes().values()
        for each in volume["Attachments"]
        if each["InstanceId"] == member
    )
    return state, len(restores), devices


def _saved(app: Deployment, job: Document, context: Document) -> object:
    """Describe what is left of an instance after its last backup, and that backup."""
    backups = [each for each in app.jobs(kind="backup") if context["instance"] in each["reason"]]
    made = [_shape(app.point(each["recovery_point"])) for each in backups]
    return _members(app), [each["state"] for each in backups], made


AT_HOOKS: Document = {
    "on_launch": {"restore": "file", "hook": "up", "on_failure": "abandon"},
    "on_terminate": {"backup": "file", "hook": "down"},
}
ALL_COPIES = [{"vault": "dr"}, {"vault": "offsite"}]
STORIES = {
    "backup by snapshot": Story(
        _planned(snapshot_rule()), _nothing, lambda app, _: app.back_up("orders"), _made_point
    ),
    "backup by snapshot, volume by volume": Story(
        _much_left_out, _nothing, lambda app, _: app.back_up("orders"), _made_point
    ),
    "backup by script": Story(
        _planned(service_rule()), _nothing, lambda app, _: app.back_up("orders"), _made_file
    ),
    "backup by a script that fails": Story(
        _planned(service_rule(script='echo "$FARSHORE_JOB" >> ran; echo half > "$2"; exit 3')),
        _nothing,
        lambda app, _: app.back_up("orders"),
        _made_file,
        "FAILED",
    ),
    "copy of snapshots": Story(
        _planned(snapshot_rule()), _point_made, lambda app, made: app.copy(made["point"], "dr"), _made_point
    ),
    "copy of an object": Story(
        _planned(service_rule()), _point_made, lambda app, made: app.copy(made["point"], "dr"), _made_point
    ),
    "copy in segments": Story(
        _planned(service_rule()),
        _point_made,
        lambda app, made: app.copy(made["point"], "offsite"),
        _made_point,
    ),
    "restore of volumes": Story(
        _planned(snapshot_rule()),
        _point_there,
        lambda app, made: app.restore(made["point"], "primary", availability_zone="eu-central-1a"),
        _made_volumes,
    ),
    "restore of volumes onto an instance": Story(
        _to_attach(),
        _fresh_instance,
        lambda app, made: app.restore(made["point"], "primary", instance_id=made["onto"]),
        _attached,
    ),
    "restore of volumes that its script refuses": Story(
        _to_attach(script=f"{MOUNT}; exit 3"),
        _fresh_instance,
        lambda app, made: app.restore(made["point"], "primary", instance_id=made["onto"]),
        _attached,
        "FAILED",
    ),
    "restore of a service": Story(
        _planned(service_rule()),
        _point_there,
        lambda app, made: app.restore(made["point"], "primary", instance_id=made["instance"]),
        _restored,
    ),
    "restore of a service from off-site": Story(
        _planned(service_rule(copies=[{"vault": "offsite"}])),
        _point_there,
        lambda app, made: app.restore(made["point"], "offsite", instance_id=made["instance"]),
        _restored,
    ),
    "launch with a file": Story(_of_group(service_rule(), **AT_HOOKS), _none_left, _launch, _launched),
    "launch with volumes": Story(
        _of_group(
            snapshot_rule(
                "file", volumes={"boot": False}, restore='echo "$FARSHORE_JOB" >> restores', timeout="2m"
            ),
            on_launch=AT_HOOKS["on_launch"],
        ),
        _none_left,
        _launch,
        _launched,
    ),
    "termination": Story(_of_group(service_rule(), **AT_HOOKS), _one_left, _terminate, _saved),
    "deletion of snapshots": Story(
        _planned(snapshot_rule(copies=[{"vault": "dr"}])), _older_point, _delete, _gone
    ),
    "inventory of a region": Story(
        _planned(snapshot_rule(volumes={"boot": False})),
        _orphan_known,
        lambda app, context: _inventory(app, context["where"]),
        _orphan_gone,
    ),
    "inventory of a vault": Story(
        _planned(service_rule()),
        _loss_suspected,
        lambda app, context: _inventory(app, context["where"]),
        _loss_marked,
    ),
    "probe of a vault": Story(
        lambda app: app.run_instance("orders"),
        _nothing,
        lambda app, context: str(app.ask("POST", "/doctor", {}, status=202).document["probes"]["dr"]),
        lambda app, job, context: [key for key in app.keys("dr") if "probe" in key],
    ),
    "start of instances": Story(_to_start, _only_it, _start, _all_started),
    "deletion of files": Story(_planned(service_rule(copies=ALL_COPIES)), _older_point, _delete, _gone),
}


def _shape(point: Document) -> Document:
    """Describe a point by what does not differ between one run and the next."""
    return {
        "state": point["state"],
        "size": point["size_bytes"],
        "artefacts": {
            each["vault"]: (
                each["state"],
                len(each.get("snapshot_ids", ())),
                each.get("segments"),
                each["verified_at"] is not None,
            )
            for each in point["artefacts"]
        },
    }


def _tags(resource: Document) -> dict[str, Any]:
    return {tag["Key"]: tag["Value"] for tag in resource["Tags"]}
