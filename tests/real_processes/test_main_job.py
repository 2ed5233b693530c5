"""The main job in real processes: the packaged template, deployed on MiniStack with the aws command line.

Each function runs from the zip, in processes of its own, under its own role's policies, and over TLS. The
ground is made once, and the stories run on it one after the other.

What this ground cannot show, from MiniStack 1.5.33's source:
- The gateway's own words: SAM puts `GatewayResponses` into the API's definition, as
  `x-amazon-apigateway-gateway-responses`, and `services/apigateway_v1.py` does not read them there.
- The time from a schedule to its function: the test has the rule's target called, as the rule waits for the
  next five minutes. (It may be called then, too; a tick that comes again changes nothing.)
- The hours until a session of a role ends: MiniStack's have no end.
"""

import hashlib
import json
import os
from pathlib import Path

import pytest
from botocore.credentials import Credentials

from local_cloud.signing import signed
from stage import HOME_REGION
from tests.real_processes.ground import WITHIN, Ground, second_ground
from tests.real_processes.waiting import until
from tests.support.deployment import service_rule, snapshot_rule
from tests.support.thoroughness import EXHAUSTIVE

KEEPS = {
    "script": 'echo run >> runs; cat data > "$2"',
    "restore": "cat > restored",
    "verify": "cmp data restored",
}


@pytest.mark.integration("ministack")
@pytest.mark.timeout(600)
def test_the_main_job_runs_in_real_processes(tmp_path: Path, subtests: pytest.Subtests) -> None:
    with second_ground(tmp_path) as ground:
        killed = killed_at_send_command(ground, "before") if EXHAUSTIVE else None
        leaving = leaving_instance(ground)
        with subtests.test("only correctly signed requests reach the API"):
            only_signed_requests_are_answered(ground)
        with subtests.test("backups are made, copied and restored"):
            backups_are_made_copied_and_restored(ground)
        with subtests.test("an instance that its group ends is backed up before it goes"):
            was_backed_up(ground, leaving)
        with subtests.test("a worker killed after it sent a command sends no second one"):
            leaves_one_command(ground, *killed_at_send_command(ground, "after"))
        with subtests.test("a bad message alone ends in the dead letters"):
            bad_message_ends_in_the_dead_letters(ground)
        with subtests.test("a job without a right fails and names it"):
            missing_right_is_named(ground)
        if killed:
            with subtests.test("a worker killed before it sent a command has one sent"):
                leaves_one_command(ground, *killed)


def only_signed_requests_are_answered(ground: Ground) -> None:
    wrong = Credentials(ground.by.access_key, "not its secret")
    unknown = Credentials("AKIAUNKNOWNUNKNOWN00", "secret")
    assert refusal(ground, {}) == "Missing Authentication Token"
    assert "signature we calculated does not match" in refusal(ground, signature(ground, wrong))
    assert "security token" in refusal(ground, signature(ground, unknown))
    assert ground.send("GET", "/plans", None, signature(ground, ground.by)).status == 200


def signature(ground: Ground, by: Credentials) -> dict[str, str]:
    """Return the headers of a request for the plans, signed by somebody."""
    return signed("GET", f"{ground.api_url}/plans", {}, None, region=HOME_REGION, by=by)


def refusal(ground: Ground, headers: dict[str, str]) -> str:
    """Return the words with which a request for the plans is refused."""
    answer = ground.send("GET", "/plans", None, headers)
    assert answer.status == 403, answer
    return str(answer.document["message"])


def backups_are_made_copied_and_restored(ground: Ground) -> None:
    disk = protected(ground, "orders", scheduled=True)
    (disk / "volumes" / "sdf" / "data").write_bytes(os.urandom(100_000))
    data = (disk / "data").read_bytes()

    ground.tick()
    snapshot = ground.completed(ground.back_up("orders", "snap"))["recovery_point"]
    asked = {"plan": "orders", "kind": "backup"}
    [scheduled] = until(
        lambda: [each for each in ground.everything("/jobs", **asked) if each["rule"] == "file"], WITHIN
    )
    assert scheduled["origin"] == "rpo"
    file = ground.completed(scheduled["id"])["recovery_point"]

    held = ground.held(file, {"primary", "dr", "offsite"})
    assert ground.read("primary", held["primary"]["key"]) == data
    assert ground.read("dr", held["dr"]["key"]) == data
    assert held["offsite"]["sha256"] == hashlib.sha256(data).hexdigest()
    assert ground.held(snapshot, {"primary", "dr"})["dr"]["snapshot_ids"]

    ground.restore(file, "offsite", instance_id=disk.name)
    assert (disk / "restored").read_bytes() == data
    ground.restore(snapshot, "primary", availability_zone=f"{HOME_REGION}a")
    assert restored_contents(ground, disk) == (disk / "volumes" / "sdf" / "data").read_bytes()


def restored_contents(ground: Ground, disk: Path) -> bytes:
    """Attach the one volume that a restore made, and read what the test wrote on its original."""
    ec2 = ground.cloud.client("ec2", HOME_REGION)
    made = [{"Name": "tag-key", "Values": ["farshore:job"]}, {"Name": "status", "Values": ["available"]}]
    [volume] = ec2.describe_volumes(Filters=made)["Volumes"]
    ec2.attach_volume(VolumeId=volume["VolumeId"], InstanceId=disk.name, Device="/dev/sdx")
    copy = disk / "volumes" / "sdx" / "data"
    until(copy.exists, WITHIN)
    return copy.read_bytes()


def leaving_instance(ground: Ground) -> Path:
    """Have a group end an instance that is to be backed up before it goes; return the instance's disk."""
    disk = ground.launch_group("grouped")
    protected(ground, "grouped", disk=disk, on_terminate={"backup": "file", "hook": "down"})
    ground.empty("grouped")
    return disk


def was_backed_up(ground: Ground, disk: Path) -> None:
    """Wait until the instance has left its group: the hook alone would hold it for five minutes."""
    until(lambda: not ground.instances_of("grouped"), WITHIN, lambda: ground.everything("/jobs"))
    [point] = ground.everything("/recovery-points", service="grouped")
    assert point["source"]["instances"] == [disk.name]
    assert point["state"] == "AVAILABLE"


def killed_at_send_command(ground: Ground, moment: str) -> tuple[str, Path]:
    """Kill the worker of a backup `before` or `after` its command is sent; return the job and the disk."""
    disk = protected(ground, f"killed-{moment}")
    with ground.killing_workers(moment) as killed:
        job = ground.back_up(f"killed-{moment}", "file")
        until(lambda: killed, WITHIN, lambda: ground.job(job))
    assert ground.commands(disk) == (moment == "after")
    ground.end_lease(job)
    ground.poke(job)
    return job, disk


def leaves_one_command(ground: Ground, job: str, disk: Path) -> None:
    """Wait for the end of such a job: one that finds no command looks for it for two minutes."""
    ground.completed(job, within=2 * WITHIN)
    assert ground.commands(disk) == 1
    assert (disk / "runs").read_text() == "run\n"


def bad_message_ends_in_the_dead_letters(ground: Ground) -> None:
    sqs, url = ground.client("sqs"), ground.queue_url("events")
    event = {"source": "aws.ec2", "detail-type": "EBS Volume Notification", "resources": []}
    good = json.dumps({**event, "detail": {"event": "createVolume", "result": "available"}})
    bodies = [good, "this is no event", good, good]
    before = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "1"})
    sqs.send_message_batch(
        QueueUrl=url, Entries=[{"Id": str(number), "MessageBody": text} for number, text in enumerate(bodies)]
    )
    until(lambda: ground.messages("events-dead"), WITHIN)
    sqs.set_queue_attributes(QueueUrl=url, Attributes=before)
    assert ground.messages("events-dead") == ["this is no event"]
    assert ground.messages("events") == []


def missing_right_is_named(ground: Ground) -> None:
    protected(ground, "rights")
    with ground.role("AdvanceJobs").without("s3:PutObject"):
        job = ground.ended(ground.back_up("rights", "file"))
    assert job["state"] == "FAILED"
    assert "s3:PutObject" in job["reason"]
    ground.completed(ground.back_up("rights", "file"))


def protected(
    ground: Ground, app: str, *, disk: Path | None = None, scheduled: bool = False, **rest: object
) -> Path:
    """Store a plan with the rules `file` and `snap` for an instance, else for a new one; return its disk."""
    disk = disk or ground.launch(app)
    (disk / "data").write_bytes(os.urandom(300_000))
    file = service_rule(**KEEPS)
    if scheduled:
        del file["schedule"]
        file |= {"rpo": "12h", "copies": [{"vault": "dr"}, {"vault": "offsite"}]}
    snap = snapshot_rule(volumes={"boot": False}, copies=[{"vault": "dr"}])
    plan = {"name": app, "service": app, "selection": {"tags": {"app": app}}, "rules": [file, snap], **rest}
    ground.ask("PUT", f"/plans/{app}", plan, status=200)
    return disk
