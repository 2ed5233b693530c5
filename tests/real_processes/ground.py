"""The second ground: the packaged app deployed on MiniStack, its instances in the local layer beside it.

Functions, queues, table, buckets, API and policies are MiniStack's. EC2, SSM, Auto Scaling, load balancers
and DNS are the local cloud's, at the endpoint that MiniStack's functions are given for them; there each
function's requests are checked with the secret of its own session, and judged by its own role's policies.
Time is real on both.
"""

import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from local_cloud.call import Quotas
from local_cloud.cloud import Cloud
from local_cloud.cloudformation.template import StackPlan
from local_cloud.recognise import Target
from local_cloud.server import AnswerLostError
from local_cloud.services.events.event_bus import enveloped
from local_cloud.services.iam.sessions import Session
from stage import HOME_REGION, HOME_TEMPLATE, SECRET, Stage, open_stage
from tests.real_processes.carried_events import CarriedEvents, targets_of
from tests.real_processes.ministack import MiniStack, ministack, runtime, session_of, workers_of
from tests.real_processes.role import Role
from tests.real_processes.waiting import until
from tests.support.api import Api, Document
from tests.support.world import BUCKETS, REGIONS

ARTIFACTS = "farshore-artifacts"
QUICK = Quotas(
    instance_pending=timedelta(seconds=0.5),
    agent_online_after=timedelta(seconds=0.5),
    snapshot_pending=timedelta(seconds=1),
    copy_pending=timedelta(seconds=1),
    event_delay=timedelta(milliseconds=100),
    scaling_step=timedelta(seconds=0.5),
)
SMALL = {
    "ImageId": "ami-12345678",
    "InstanceType": "t3.micro",
    "BlockDeviceMappings": [{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1}}],
}
WITHIN = 120
"""Seconds of real time in which what is waited for comes about, also where every function starts cold."""
FINAL = ("COMPLETED", "FAILED", "CANCELLED")


@contextmanager
def second_ground(root: Path) -> Iterator["Ground"]:
    """Keep the second ground up, with its files below `root`."""
    tick = json.loads(HOME_TEMPLATE.read_text("utf-8"))["Resources"]["Tick"]["Properties"]
    assert tick["Runtime"] == runtime(), "install MiniStack with the Python of the template's Runtime"
    with open_stage(root) as stage, Cloud(root / "machines", quotas=QUICK) as cloud:
        threading.Thread(target=cloud.keep_up, name="pump", daemon=True).start()
        with ministack(root / "ministack", cloud.aws.url) as processes:
            ground = Ground(cloud, processes, stage)
            carry = CarriedEvents(processes, REGIONS.values()).carry
            cloud.bus.on_event.append(carry)
            try:
                yield ground
            finally:
                cloud.bus.on_event.remove(carry)


class Ground(Api):
    """Farshore on MiniStack, used as its operator uses it."""

    def __init__(self, cloud: Cloud, processes: MiniStack, stage: Stage) -> None:
        """Deploy a stage with commands of docs/deploy.md; `tests/deploy` runs the scripts around them."""
        self.cloud = cloud
        self.processes = processes
        self.offsite = Path(stage.offsite.where)
        self.client("secretsmanager").create_secret(
            Name=SECRET, SecretString=json.dumps(dict(stage.offsite.credentials))
        )
        self._outputs = self._deploy(*stage.plans())
        address = f"{processes.url}/_aws/execute-api/{self._outputs['RestAPIId']}/api"
        super().__init__(address, processes.operator, processes.tls)
        self.functions = self._functions()
        for name in self.functions:
            self.role(name).allow_batches()
        self._limit_workers()

    def _deploy(self, away: StackPlan, home: StackPlan) -> Mapping[str, str]:
        """Deploy both stacks; return the outputs of the home region's."""
        aws, packaged = self.processes.aws, self.cloud.root.parent / "packaged.yaml"
        aws("s3", "mb", f"s3://{ARTIFACTS}", "--region", home.region)
        aws("cloudformation", "deploy", *deployed(away, away.template))
        package = ["--template-file", str(home.template), "--output-template-file", str(packaged)]
        bucket = ["--s3-bucket", ARTIFACTS]
        aws("cloudformation", "package", "--region", home.region, *package, *bucket)
        aws("cloudformation", "deploy", *deployed(home, packaged), *bucket)
        [stack] = self.client("cloudformation").describe_stacks(StackName=home.name)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    def _functions(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the functions by their names in the template; have the local layer know their roles."""
        found = {}
        for function in self.client("lambda").list_functions()["Functions"]:
            _, name, _ = function["FunctionName"].rsplit("-", 2)
            found[name] = function
            self._admit(function)
        return found

    def _admit(self, function: Mapping[str, Any]) -> None:
        """Have the local layer judge a function's calls by the policies that its role has on MiniStack."""
        name = str(function["Role"]).rpartition("/")[2]
        policies = Role(self.client("iam"), name).documents()
        role_arn = self.cloud.roles.add(name, {"Statement": []}, policies)
        self.cloud.sessions.add(Session(*session_of(function), role_arn, function["FunctionName"]))

    def _limit_workers(self) -> None:
        """Write again as a number how many workers a queue may have.

        MiniStack keeps what a parameter gives as text, where CloudFormation makes a number of it, and cannot
        compare it (`services/lambda_svc.py`, "ESM SQS poller error"). botocore reads a number.
        """
        functions = self.client("lambda")
        for mapping in functions.list_event_source_mappings()["EventSourceMappings"]:
            if limits := mapping.get("ScalingConfig"):
                functions.update_event_source_mapping(UUID=mapping["UUID"], ScalingConfig=limits)

    def client(self, service: str) -> Any:
        """Return the operator's client of a service in the home region."""
        return self.processes.client(service, HOME_REGION)

    def role(self, function: str) -> Role:
        """Return the role of a function."""
        return Role(self.client("iam"), str(self.functions[function]["Role"]).rpartition("/")[2])

    # the app

    def tick(self) -> None:
        """Have the deployed schedule call its function now, as EventBridge does every five minutes."""
        [rule] = [
            each for each in self.client("events").list_rules()["Rules"] if "ScheduleExpression" in each
        ]
        [function] = targets_of(self.processes, HOME_REGION, rule)
        told = {"source": "aws.events", "detail-type": "Scheduled Event", "resources": [rule["Arn"]]}
        event = json.dumps(enveloped(told, HOME_REGION, datetime.now(UTC))).encode()
        self.client("lambda").invoke(FunctionName=function, InvocationType="Event", Payload=event)

    def back_up(self, plan: str, rule: str) -> str:
        """Ask for a backup; name its job."""
        [job] = self.ask("POST", "/backups", {"plan": plan, "rule": rule}, status=202).document["jobs"]
        return str(job)

    def restore(self, point_id: str, vault: str, **target: str) -> Document:
        """Restore a recovery point; return the job, which must have succeeded."""
        body = {"recovery_point": point_id, "vault": vault, "target": target}
        [job] = self.ask("POST", "/restores", body, status=202).document["jobs"]
        return self.completed(job)

    def ended(self, job_id: str, within: float = WITHIN) -> Document:
        """Return a job once it is over."""

        def look() -> Document | None:
            job = self.job(job_id)
            return job if job["state"] in FINAL else None

        return until(look, within, lambda: self.job(job_id))

    def completed(self, job_id: str, within: float = WITHIN) -> Document:
        """Return a job once it is over; it must have succeeded."""
        job = self.ended(job_id, within)
        assert job["state"] == "COMPLETED", job
        return job

    def held(self, point_id: str, vaults: set[str], within: float = WITHIN) -> Mapping[str, Document]:
        """Return a recovery point's artefacts by vault, once it is available in all of these."""

        def look() -> Mapping[str, Document] | None:
            artefacts = self.point(point_id)["artefacts"]
            there = {each["vault"]: each for each in artefacts if each["state"] == "AVAILABLE"}
            return there if there.keys() >= vaults else None

        return until(look, within, lambda: self.point(point_id))

    def read(self, vault: str, key: str) -> bytes:
        """Read an object of a vault in S3."""
        s3 = self.processes.client("s3", REGIONS[vault])
        content: bytes = s3.get_object(Bucket=BUCKETS[vault], Key=key)["Body"].read()
        return content

    # the queues, and workers that die

    def queue_url(self, queue: str) -> str:
        """Return the URL of one of the stage's queues."""
        [url] = [url for url in self.client("sqs").list_queues()["QueueUrls"] if url.endswith(f"-{queue}")]
        return str(url)

    def messages(self, queue: str) -> list[str]:
        """List the bodies of the messages that wait in a queue, and leave them there."""
        asked = {"QueueUrl": self.queue_url(queue), "MaxNumberOfMessages": 10, "VisibilityTimeout": 0}
        return [
            message["Body"] for message in self.client("sqs").receive_message(**asked).get("Messages", ())
        ]

    def poke(self, job_id: str) -> None:
        """Have a worker look at a job now."""
        url = self.queue_url("jobs")
        self.client("sqs").send_message(QueueUrl=url, MessageBody=json.dumps({"job": job_id}))

    def end_lease(self, job_id: str) -> None:
        """Let the lease of a dead worker run out, which takes minutes of real time."""
        self.client("dynamodb").update_item(
            TableName=self._outputs["CatalogTable"],
            Key={"pk": {"S": f"job#{job_id}"}, "sk": {"S": "job"}},
            UpdateExpression="SET lease_until = :past",
            ConditionExpression="attribute_exists(lease_until)",
            ExpressionAttributeValues={":past": {"S": "2000-01-01T00:00:00.000000Z"}},
        )

    @contextmanager
    def killing_workers(self, moment: str) -> Iterator[list[int]]:
        """Kill all that advance jobs `before` or `after` a SendCommand takes effect, which gets no answer.

        Yields the list of the processes killed, which is filled then.
        """
        killed: list[int] = []

        def strike(target: Target, *_: object) -> None:
            if target.operation == "SendCommand" and not killed:
                killed.extend(workers_of(self.functions["AdvanceJobs"]["FunctionName"]))
                for worker in killed:
                    os.kill(worker, signal.SIGKILL)
                raise AnswerLostError

        hooks: list[Any] = self.cloud.calls.on_call if moment == "before" else self.cloud.calls.on_answer
        hooks.append(strike)
        try:
            yield killed
        finally:
            hooks.remove(strike)

    # the instances

    def launch(self, app: str) -> Path:
        """Start an instance with a data volume and wait for its agent; return its disk, a directory."""
        tags = {"ResourceType": "instance", "Tags": [{"Key": "app", "Value": app}]}
        [instance] = self.cloud.client("ec2", HOME_REGION).run_instances(
            MinCount=1, MaxCount=1, TagSpecifications=[tags], **SMALL
        )["Instances"]
        return self._disk(instance["InstanceId"])

    def launch_group(self, app: str) -> Path:
        """Have a group start one; its hook `down` holds those that go, for five minutes at most."""
        data = {"LaunchTemplateName": app, "LaunchTemplateData": SMALL}
        self.cloud.client("ec2", HOME_REGION).create_launch_template(**data)
        hook = {"LifecycleHookName": "down", "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING"}
        groups = self.cloud.client("autoscaling", HOME_REGION)
        groups.create_auto_scaling_group(
            AutoScalingGroupName=app,
            LaunchTemplate={"LaunchTemplateName": app},
            MinSize=0,
            MaxSize=1,
            DesiredCapacity=1,
            AvailabilityZones=[f"{HOME_REGION}a"],
            LifecycleHookSpecificationList=[{**hook, "HeartbeatTimeout": 300}],
            Tags=[{"Key": "app", "Value": app, "PropagateAtLaunch": True}],
        )
        [instance] = until(
            lambda: [each for each in self.instances_of(app) if each["LifecycleState"] == "InService"], WITHIN
        )
        return self._disk(instance["InstanceId"])

    def instances_of(self, group: str) -> list[Document]:
        """List the instances of a group."""
        groups = self.cloud.client("autoscaling", HOME_REGION)
        [found] = groups.describe_auto_scaling_groups(AutoScalingGroupNames=[group])["AutoScalingGroups"]
        return list(found["Instances"])

    def empty(self, group: str) -> None:
        """Have a group end its instances."""
        groups = self.cloud.client("autoscaling", HOME_REGION)
        groups.set_desired_capacity(AutoScalingGroupName=group, DesiredCapacity=0)

    def _disk(self, instance_id: str) -> Path:
        """Wait for the agent of an instance; return its disk."""
        disk = self.cloud.ec2.directory(instance_id)
        self._trust(disk)
        ssm = self.cloud.client("ssm", HOME_REGION)
        this = [{"Key": "InstanceIds", "Values": [disk.name]}]
        until(lambda: ssm.describe_instance_information(Filters=this)["InstanceInformationList"], WITHIN)
        return disk

    def _trust(self, disk: Path) -> None:
        """Have the curl of an instance trust MiniStack, as an instance's trust store has it trust AWS."""
        curl = disk / "usr" / "local" / "bin" / "curl"
        curl.parent.mkdir(parents=True, exist_ok=True)
        certificate = self.processes.certificate.certificate
        curl.write_text(f'#!/bin/sh\nCURL_CA_BUNDLE={certificate} exec {shutil.which("curl")} "$@"\n')
        curl.chmod(0o755)

    def commands(self, disk: Path) -> int:
        """Count the commands that were sent to an instance."""
        return len(self.cloud.client("ssm", HOME_REGION).list_commands(InstanceId=disk.name)["Commands"])


def deployed(plan: StackPlan, template: Path) -> list[str]:
    """Return the arguments of `aws cloudformation deploy` for a stack."""
    parameters = [f"{name}={value}" for name, value in plan.parameters.items()]
    named = ["--stack-name", plan.name, "--region", plan.region, "--template-file", str(template)]
    return [*named, "--capabilities", "CAPABILITY_IAM", "--parameter-overrides", *parameters]
