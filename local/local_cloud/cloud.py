"""Builds the whole local cloud: one clock, one timeline, one endpoint, the stand-ins, the stacks.

    with Cloud(root) as cloud:
        cloud.deploy(plan)
        cloud.advance(timedelta(hours=1))

Invariants: one cloud at a time per process (the clock and moto's state are the process's), and after `reset`
only the servers and their addresses are left.
"""

import json
import logging
import shutil
import threading
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

import botocore.session
from botocore import xform_name
from botocore.config import Config
from moto.core.base_backend import BackendDict
from moto.core.model_instances import reset_model_data

from local_cloud.call import ACCOUNT, CloudContext, Quotas, StandIn
from local_cloud.cloudformation.resources import Workshop
from local_cloud.cloudformation.template import Stack, StackPlan
from local_cloud.control.capacity import Capacity
from local_cloud.control.clock import Clock
from local_cloud.control.faults import Faults, OutsideCall
from local_cloud.control.routes import Control
from local_cloud.control.timeline import Timeline
from local_cloud.endpoint import CallCount, Endpoint
from local_cloud.lambda_.executions import Executions
from local_cloud.lambda_.functions import FUNCTION_KEY, FUNCTION_SECRET, FUNCTION_SESSION, Functions
from local_cloud.lambda_.gateway import Gateway
from local_cloud.lambda_.invocations import Invocations
from local_cloud.server import Server
from local_cloud.services.autoscaling import AutoScaling
from local_cloud.services.dynamodb import DynamoDb
from local_cloud.services.ec2 import Ec2
from local_cloud.services.ec2.buckets import TokenBuckets
from local_cloud.services.elbv2 import LoadBalancers
from local_cloud.services.events.event_bus import EventBus
from local_cloud.services.iam.signatures import Signatures
from local_cloud.services.lambda_account import LambdaAccount
from local_cloud.services.metric_data import MetricData
from local_cloud.services.route53 import Route53
from local_cloud.services.s3 import S3
from local_cloud.services.service_quotas import ServiceQuotas
from local_cloud.services.sqs.queues import Queues
from local_cloud.services.ssm import Ssm
from local_cloud.services.sts import Sts
from local_cloud.short_way import short_way
from local_cloud.signing import OPERATOR_KEY, OPERATOR_SECRET

LOG = logging.getLogger(__name__)
KNOWN_SECRETS = {FUNCTION_KEY: FUNCTION_SECRET, OPERATOR_KEY: OPERATOR_SECRET}
"""What requests may be signed with, by access key."""
IDLE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the three servers listen; 0 is any free port."""

    aws: int = 0
    api: int = 0
    control: int = 0


class Cloud:
    """An AWS on one machine; a context manager."""

    def __init__(
        self,
        root: Path,
        *,
        start_at: datetime | None = None,
        quotas: Quotas | None = None,
        ports: Ports | None = None,
        ticking: bool = True,
        signed: bool = False,
    ) -> None:
        """Prepare a cloud whose instances and volumes are below `root`.

        Where it is not `ticking`, time passes by `advance` alone, and none while functions run. Where it is
        `signed`, unsigned requests to the API are refused, as API Gateway refuses them.
        """
        ports = ports or Ports()
        self.root = root
        self.clock = Clock(start_at, ticking=ticking)
        self.timeline = Timeline(self.clock)
        self.calls = CallCount()
        self.faults = Faults()
        self._quotas = quotas or Quotas()
        self._session = botocore.session.Session()
        self._clients: dict[tuple[str, str], Any] = {}
        self._end = ExitStack()
        self._closing = threading.Event()
        self._keeping_up = threading.Lock()
        self._executions = Executions(self.timeline)
        self._buckets = TokenBuckets(self.clock.now)
        buckets = self._buckets if self._quotas.throttled else None
        self.signatures = Signatures(self.clock.now, KNOWN_SECRETS, {FUNCTION_KEY: FUNCTION_SESSION})
        self._endpoint = Endpoint(
            calls=self.calls,
            faults=self.faults,
            buckets=buckets,
            executions=self._executions,
            signatures=self.signatures,
            call_from_outside=self._call,
        )
        self.aws = Server(self._endpoint, ports.aws)
        self.functions = Functions(self.aws.url, self._executions)
        self.gateway = Gateway(self.clock, self.functions, self.signatures, takes_unsigned=not signed)
        self.api = Server(self.gateway, ports.api)
        self.queues = Queues(self.clock, self.timeline, self.functions)
        invocations = Invocations(self.timeline, self.functions, self.queues.deliver)
        self.bus = EventBus(self.clock, self.timeline, self.faults, invocations, self.queues)
        self._metrics = MetricData(self.clock)
        self.functions.on_end.append(self._metrics.invoked)
        self.functions.on_error.append(self._metrics.failed)
        self._tables = DynamoDb(self.clock, self.timeline, self.faults.staleness)
        self.capacity = Capacity()
        ground = CloudContext(
            self.clock, self.timeline, self.bus.emit, self.root, self._quotas, self.capacity
        )
        self.ec2, self.ssm = machines(ground)
        balancers = LoadBalancers(self.clock)
        self._groups = AutoScaling(ground, self.ec2, balancers)
        self._names = Route53(ground)
        stand_ins: tuple[StandIn, ...] = (
            self.queues,
            self.bus,
            self._tables,
            self.ec2,
            self.ssm,
            self._groups,
            balancers,
            self._names,
            S3(),
            Sts(),
            ServiceQuotas(self._quotas),
            LambdaAccount(self._quotas, self.functions, self.queues),
            self._metrics,
        )
        self._endpoint.attach(stand_ins, past=[self._tables.past])
        control = Control(
            clock=self.clock,
            timeline=self.timeline,
            calls=self.calls,
            faults=self.faults,
            capacity=self.capacity,
            instances=self.ec2.directories,
            spot=self.ec2.interruptions,
        )
        self.control = Server(control, ports.control)

    def __enter__(self) -> Self:
        """Start the clock and serve."""
        self._end.enter_context(self.clock)
        self._end.enter_context(short_way(self.aws.url, self._endpoint))
        for server in (self.aws, self.api, self.control):
            server.start()
            self._end.callback(server.close)
        self._end.callback(self.reset)
        return self

    def __exit__(self, *_: object) -> None:
        """End running scripts, stop serving, give the process its clock back."""
        self._closing.set()
        with self._keeping_up:
            self._end.close()

    def deploy(self, plans: Iterable[StackPlan]) -> list[Stack]:
        """Deploy stacks in order; their own calls are not counted."""
        workshop = Workshop(self.client, self.functions, self.queues, self.bus, self.gateway)
        stacks = [Stack(plan, workshop) for plan in plans]
        for stack in stacks:
            stack.deploy()
        self.calls.clear()
        return stacks

    def reset(self) -> None:
        """Empty the cloud: no resources, no stacks, nothing due, nothing running, no faults, no calls."""
        self._executions.clear()
        for part in (self.ssm, self.ec2):
            part.reset()
        self.timeline.clear()
        for holder in (
            self._groups,
            self._names,
            self.queues,
            self._metrics,
            self.bus,
            self.gateway,
            self.functions,
            self._tables,
            self._buckets,
            self.calls,
        ):
            holder.clear()
        self.faults.replace([])
        self.capacity.replace({})
        BackendDict.reset()
        reset_model_data()  # moto keeps every object that it ever made
        shutil.rmtree(self.root / "instances", ignore_errors=True)
        shutil.rmtree(self.root / "ebs", ignore_errors=True)

    def advance(self, by: timedelta) -> datetime:
        """Let simulated time pass, run all that is due, and return the time."""
        self.timeline.run_until(self.clock.now() + by)
        return self.clock.now()

    def settle(self) -> None:
        """Run all that is due now, wait for running scripts, until nothing more happens."""
        self.timeline.run_until(self.clock.now())

    def keep_up(self) -> None:
        """Run what becomes due as real time passes, until the cloud closes."""
        with self._keeping_up:
            while not self._closing.is_set():
                self.timeline.wait_for_due(IDLE_SECONDS)
                try:
                    self.timeline.run_due()
                except Exception:
                    LOG.exception("an action on the timeline broke")

    def client(self, service: str, region: str) -> Any:
        """Return a boto3 client of the operator's; one is made per service and region."""
        if (service, region) not in self._clients:
            self._clients[service, region] = self._session.create_client(
                service,
                region_name=region,
                endpoint_url=self.aws.url,
                aws_access_key_id=OPERATOR_KEY,
                aws_secret_access_key=OPERATOR_SECRET,
                config=Config(retries={"total_max_attempts": 1}),
            )
        return self._clients[service, region]

    def _call(self, call: OutsideCall) -> None:
        """Make the call of a fault that acts as an outsider."""
        client = self.client(call.service, call.region)
        getattr(client, xform_name(call.operation))(**call.params)

    def put_secret(self, name: str, value: object, region: str) -> None:
        """Keep a secret (a JSON document) in Secrets Manager."""
        self.client("secretsmanager", region).create_secret(Name=name, SecretString=json.dumps(value))


def machines(ground: CloudContext) -> tuple[Ec2, Ssm]:
    """Make EC2 and SSM, and let SSM's agents follow EC2's instances."""
    ec2 = Ec2(ground)
    ssm = Ssm(ground, ec2.directory, ec2.instance_state)

    def ended(region: str, instance_id: str) -> None:
        stops = ec2.instance_state(ACCOUNT, region, instance_id) in ("stopping", "stopped")
        (ssm.stopped if stops else ssm.gone)(region, instance_id)

    ec2.on_running.append(ssm.running)
    ec2.on_gone.append(ended)
    return ec2, ssm
