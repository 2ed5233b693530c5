"""Builds Farshore from its parts; no other module knows which part needs which.

It is built once per process, when a handler first needs it; AWS clients and off-site drivers are made when
they are first used.
"""

import os
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property

from chalicelib.aws.autoscaling import AutoScaling
from chalicelib.aws.buckets import Buckets
from chalicelib.aws.clients import Clients
from chalicelib.aws.ec2 import Ec2
from chalicelib.aws.ec2_launch import Ec2Launch
from chalicelib.aws.ec2_network import Ec2Network
from chalicelib.aws.elbv2 import TargetGroups
from chalicelib.aws.event_bus import EventBus
from chalicelib.aws.kms import Kms
from chalicelib.aws.lambda_account import LambdaAccount
from chalicelib.aws.metrics import Metrics
from chalicelib.aws.prerequisites import Prerequisites
from chalicelib.aws.queue import PokeQueue
from chalicelib.aws.queue_state import Queues
from chalicelib.aws.route53 import Route53
from chalicelib.aws.secrets import Secrets
from chalicelib.aws.service_quotas import ServiceQuotas
from chalicelib.aws.ssm import Ssm
from chalicelib.aws.sts import Sts
from chalicelib.backup.due_backups import Deployment, covered_by
from chalicelib.backup.first_backups import FirstBackups
from chalicelib.backup.opener import BackupOpener
from chalicelib.backup.requests import BackupRequests
from chalicelib.backup.service_scripts import ServiceBackup
from chalicelib.backup.snapshots import SnapshotBackup
from chalicelib.backup.termination_requests import TerminationRequests
from chalicelib.backup.terminations import Termination
from chalicelib.backup.tick import BackupTick
from chalicelib.catalog.location import CATALOG, Location
from chalicelib.catalog.recovery_point import TAG_DEPLOYMENT
from chalicelib.catalog.store import PlanStore, PointStore, Table
from chalicelib.catalog.store.examinations import ExaminationStore
from chalicelib.catalog.store.findings import FindingStore
from chalicelib.catalog.store.instances import InstanceLists
from chalicelib.catalog.store.launching import LaunchingStore
from chalicelib.catalog.store.rules import RuleStore
from chalicelib.catalog.store.services import ServiceStore
from chalicelib.errors import VaultMissing
from chalicelib.insight.doctor_looks import Doctor, StageWorld
from chalicelib.insight.doctor_view import StageFacts
from chalicelib.insight.examinations import Examinations
from chalicelib.insight.known_names import KnownNames
from chalicelib.insight.lists import Lists
from chalicelib.insight.plan_hooks import PlanHooks
from chalicelib.insight.readiness_pages import ReadinessPages, World
from chalicelib.insight.service_pages import ServicePages
from chalicelib.insight.vault_probe import VaultProbe
from chalicelib.inventory.due_inventories import Inventories
from chalicelib.inventory.inventory import Inventory
from chalicelib.inventory.places import SurveyedWorld, Surveys
from chalicelib.jobs.claims import Claims
from chalicelib.jobs.completions import Completions
from chalicelib.jobs.engine import Engine
from chalicelib.jobs.handler import Handlers
from chalicelib.jobs.instance_events import InstanceEvents
from chalicelib.jobs.job import AnyJob, JobKind
from chalicelib.jobs.opening import Opener
from chalicelib.jobs.pacing import Pacer
from chalicelib.jobs.queues import JobQueue, queue_of
from chalicelib.jobs.store import JobStore, JobTypes
from chalicelib.jobs.tick import DuePokes, Tick, TickPart
from chalicelib.jobs.work import launch_id
from chalicelib.plans.model import Plan
from chalicelib.plans.values import PRIMARY
from chalicelib.recovery.attached import AttachedRestore
from chalicelib.recovery.identities import Identities
from chalicelib.recovery.launch_requests import LaunchRequests, restore_request
from chalicelib.recovery.launch_script import LaunchScript, script_request
from chalicelib.recovery.launches import Launch, LaunchOpeners, LaunchWorld
from chalicelib.recovery.restores import Restores
from chalicelib.recovery.services import ServiceRestore
from chalicelib.recovery.start_requests import Starts
from chalicelib.recovery.starts import Start, StartWorld
from chalicelib.recovery.volumes import VolumeRestore
from chalicelib.replication.copy_retries import CopyRetries
from chalicelib.replication.objects import ObjectCopy
from chalicelib.replication.offsite import SegmentCopy
from chalicelib.replication.regions import Destination, SnapshotCopy
from chalicelib.replication.requests import CopyRequests
from chalicelib.replication.segment_hashes import SegmentHashes
from chalicelib.replication.slots import SlotHealer
from chalicelib.retention.artefacts import ArtefactStore
from chalicelib.retention.deletion import Deletions
from chalicelib.retention.expire import Expire
from chalicelib.retention.forecast import Forecaster
from chalicelib.retention.holds import Holds
from chalicelib.retention.plan_changes import PlanChanges
from chalicelib.retention.plan_warnings import Coverage
from chalicelib.retention.sweep import LifecycleSweep
from chalicelib.settings import (
    LONGEST_GRACE,
    OffsiteVaultConfig,
    S3VaultConfig,
    Settings,
    VaultConfig,
    read_settings,
)
from chalicelib.vaults.s3 import S3Vault
from chalicelib.vaults.vault import Vault


def utc_now() -> datetime:
    """Return the present time, in UTC."""
    return datetime.now(UTC)


class Farshore:
    """Every part of one stage, built when first used."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.now = utc_now
        self._clients = Clients(settings.home_region)
        self._own = {TAG_DEPLOYMENT: settings.deployment}
        self._vaults: dict[str, Vault] = {}
        self._ec2: dict[str, Ec2] = {}

    @cached_property
    def table(self) -> Table:
        """The catalog's table."""
        return Table(self._clients.dynamodb(), self.settings.table)

    @cached_property
    def plans(self) -> PlanStore:
        """The plans of the catalog."""
        return PlanStore(self.table)

    @cached_property
    def points(self) -> PointStore:
        """The recovery points of the catalog."""
        return PointStore(self.table)

    @cached_property
    def rules(self) -> RuleStore:
        """The rules that jobs were opened under."""
        return RuleStore(self.table)

    @cached_property
    def services(self) -> ServiceStore:
        """The services of plans, with their lineages."""
        return ServiceStore(self.table)

    @cached_property
    def instance_lists(self) -> InstanceLists:
        """The instance lists of large services."""
        return InstanceLists(self.table)

    @cached_property
    def launching(self) -> LaunchingStore:
        """The instances that are being launched."""
        return LaunchingStore(self.table)

    @cached_property
    def autoscaling(self) -> AutoScaling:
        """Auto Scaling of the home region."""
        return AutoScaling(self._clients.autoscaling())

    @cached_property
    def jobs(self) -> JobStore:
        """The jobs of the catalog."""
        return JobStore(self.table, {kind: JobTypes(h.work, h.progress) for kind, h in self.handlers.items()})

    @cached_property
    def findings(self) -> FindingStore:
        """The findings of inventories."""
        return FindingStore(self.table)

    @cached_property
    def claims(self) -> Claims:
        """Locks and copy slots."""
        return Claims(self.table, self.settings.copy_slots)

    @cached_property
    def queue(self) -> PokeQueue:
        """The queues of jobs."""
        urls: dict[str, str] = {
            JobQueue.JOBS: self.settings.jobs_queue_url,
            JobQueue.DELETIONS: self.settings.deletions_queue_url,
        }
        return PokeQueue(self._clients.sqs(), urls, queue_of)

    @cached_property
    def ssm(self) -> Ssm:
        """Systems Manager of the home region."""
        return Ssm(self._clients.ssm(), unretried=self._clients.ssm(retries=False))

    @cached_property
    def secrets(self) -> Secrets:
        """The credentials of other clouds."""
        return Secrets(self._clients.secrets())

    def ec2(self, region: str) -> Ec2:
        """EC2 of a region."""
        if region not in self._ec2:
            self._ec2[region] = Ec2(
                self._clients.ec2(region),
                region,
                unretried=self._clients.ec2(region, retries=False),
                own=self._own,
            )
        return self._ec2[region]

    @property
    def home_ec2(self) -> Ec2:
        """EC2 of the home region."""
        return self.ec2(self.settings.home_region)

    def vault(self, name: str) -> Vault:
        """Return a vault.

        Raises:
            VaultMissing: the settings name no such vault.
        """
        if name not in self._vaults:
            config = self.settings.vaults.get(name)
            if config is None:
                why = f"it is not configured; there are {', '.join(sorted(self.settings.vaults))}"
                raise VaultMissing(why, operation="opening", resource=f"vault {name}")
            self._vaults[name] = self._open_vault(name, config)
        return self._vaults[name]

    def _open_vault(self, name: str, config: VaultConfig) -> Vault:
        """Return a vault; there is a case for each kind."""
        match config:
            case S3VaultConfig():
                return S3Vault(
                    name,
                    self._clients.s3(config.region),
                    config.bucket,
                    config.region,
                    config.kms_key,
                    unretried=self._clients.s3(config.region, retries=False),
                    own=self._own,
                )
            case OffsiteVaultConfig():
                from chalicelib.vaults.offsite import open_offsite

                return open_offsite(
                    name,
                    provider=config.provider,
                    container=config.container,
                    options=config.options,
                    credentials=self.secrets.secret(config.credentials) if config.credentials else {},
                )

    def s3_vault(self, name: str) -> S3Vault:
        """Return a vault that is known to be in S3.

        Raises:
            VaultMissing: no vault of that name is in S3.
        """
        vault = self.vault(name)
        if not isinstance(vault, S3Vault):
            raise VaultMissing("it is not in S3", operation="opening", resource=f"vault {name}")
        return vault

    @cached_property
    def engine(self) -> Engine:
        """The engine, which advances jobs."""
        pacer = Pacer(self.table, self.settings.buckets)
        opener = Opener(self.table, self.jobs, pacer, self.queue, self.now, self.handlers)
        return Engine(
            self.table,
            self.jobs,
            self.services,
            self.claims,
            pacer,
            self.queue,
            self.now,
            self.handlers,
            opener,
        )

    @cached_property
    def handlers(self) -> Handlers:
        """The handler of every kind of job and method."""
        primary, home = self.s3_vault(PRIMARY), self.home_ec2
        points, rules, methods = self.points, self.rules, self.settings.copy_methods
        hashes = SegmentHashes(self.table)
        parts = (points, self.plans, self.services, self.artefacts, self.settings.grace, self.now)
        inventory = Inventory(self.findings, self.surveys.of, self.now)
        return {
            (JobKind.BACKUP, "snapshot"): SnapshotBackup(
                home, points, rules, self.instance_lists, primary, methods
            ),
            (JobKind.BACKUP, "service"): ServiceBackup(
                home, self.ssm, points, rules, primary, methods, self._launch_of, self.now
            ),
            (JobKind.COPY, "snapshot"): SnapshotCopy(points, self.destination),
            (JobKind.COPY, "object"): ObjectCopy(points, primary, self.s3_vault, self.now),
            (JobKind.COPY, "segments"): SegmentCopy(points, hashes, primary, self.vault, self.now),
            (JobKind.RESTORE, "volume"): VolumeRestore(points, self.ec2),
            (JobKind.RESTORE, "attached"): AttachedRestore(points, rules, self.ec2, self.ssm, self.now),
            (JobKind.RESTORE, "service"): ServiceRestore(
                home, self.ssm, points, rules, self.vault, self.s3_vault, self.now
            ),
            (JobKind.LAUNCH, "launch"): self._launch_handler(),
            (JobKind.LAUNCH, "script"): LaunchScript(home, self.ssm, self.now),
            (JobKind.LAUNCH, "start"): self._start_handler(),
            (JobKind.TERMINATION, "termination"): Termination(
                self.autoscaling,
                lambda: self.jobs,
                lambda job: self.termination_requests.open_backups(job),
                self.now,
            ),
            (JobKind.EXPIRE, "lifecycle"): Expire(*parts),
            (JobKind.EXPIRE, "request"): Expire(*parts, deadline=LONGEST_GRACE + timedelta(days=2)),
            (JobKind.INVENTORY, "region"): inventory,
            (JobKind.INVENTORY, "vault"): inventory,
            (JobKind.INVENTORY, "catalog"): inventory,
            (JobKind.PROBE, "vault"): VaultProbe(self.vault, self.now),
        }

    def _launch_of(self, plan: str, instance_id: str) -> AnyJob | None:
        return self.jobs.get(launch_id(self.settings.deployment, plan, instance_id))

    @cached_property
    def identities(self) -> Identities:
        """Moves what leads clients to services."""
        return Identities(
            self.home_ec2,
            Ec2Network(self._clients.ec2(), unretried=self._clients.ec2(retries=False)),
            Route53(self._clients.route53()),
            TargetGroups(self._clients.elbv2()),
        )

    def _launch_handler(self) -> Launch:
        world = LaunchWorld(
            self.home_ec2,
            self.ssm,
            self.autoscaling,
            self.points,
            self.services,
            self.rules,
            self.identities,
            lambda: self.jobs,
            self.settings.deployment,
            self.now,
        )
        opens = LaunchOpeners(
            lambda job, point, artefact, rule: restore_request(
                job, point, artefact, rule, self.staging_vaults
            ),
            script_request,
            lambda job: self.first_backups.open(job),
        )
        return Launch(world, opens)

    def _start_handler(self) -> Start:
        world = StartWorld(
            self.home_ec2,
            self.launching_ec2,
            lambda: self.jobs,
            lambda job: self.launch_requests.start(job),
            lambda job, why: self.engine.cancel_if_unfinished(job, why),
            self.settings.deployment,
            self.now,
        )
        return Start(world)

    @cached_property
    def launching_ec2(self) -> Ec2Launch:
        """EC2 of the home region, as far as instances are launched."""
        region, clients = self.settings.home_region, self._clients
        unretried = clients.ec2(region, retries=False)
        return Ec2Launch(clients.ec2(region), region, unretried=unretried, own=self._own)

    @cached_property
    def artefacts(self) -> ArtefactStore:
        """Checks and deletes artefacts."""
        return ArtefactStore(self.points, self.vault, self.ec2)

    @cached_property
    def forecaster(self) -> Forecaster:
        """Forecasts what plans let go."""
        return Forecaster(self.points, self.services, self.settings.grace, self.now)

    @cached_property
    def holds(self) -> Holds:
        """Holds points at operators' requests."""
        return Holds(self.table, self.points, self.now)

    @cached_property
    def plan_changes(self) -> PlanChanges:
        """Stores and removes plans."""
        return PlanChanges(
            self.plans,
            self.services,
            self.forecaster,
            lambda plan: covered_by(plan, self.home_ec2),
            lambda: self.inventories.schedule(),
            self.now,
        )

    def wrong_hooks(self, plan: Plan, covered: Coverage) -> tuple[str, ...]:
        """Return what is wrong with the lifecycle hooks that a plan names."""
        instances = (each for ids in covered.services.values() for each in ids)
        return PlanHooks(self.world.autoscaling).warnings(plan, instances)

    @cached_property
    def deletions(self) -> Deletions:
        """Opens deletions at operators' requests."""
        return Deletions(self.engine, self.plans, self.points, self.artefacts, self.now)

    @cached_property
    def backup_requests(self) -> BackupRequests:
        """Opens backups at operators' requests."""
        return BackupRequests(self.plans, self.opener, self.home_ec2, self.now)

    @cached_property
    def copy_requests(self) -> CopyRequests:
        """Opens copies at operators' requests."""
        return CopyRequests(self.engine, self.points, self.settings.copy_methods)

    @property
    def staging_vaults(self) -> tuple[str, ...]:
        """The vaults in which an off-site copy may be put together, the best first."""
        names = (name for name, config in self.settings.vaults.items() if config.stages_files)
        return tuple(sorted(names, key=lambda name: (name != PRIMARY, name)))

    @cached_property
    def launch_requests(self) -> LaunchRequests:
        """What opens launches."""
        return LaunchRequests(
            self.engine,
            self.plans,
            self.rules,
            self.launching,
            self.home_ec2,
            self.autoscaling,
            self.settings.deployment,
            self.now,
        )

    @cached_property
    def termination_requests(self) -> TerminationRequests:
        """What opens the last backups of instances."""
        return TerminationRequests(self.plans, self.opener, self.home_ec2, self.autoscaling, self.now)

    @cached_property
    def first_backups(self) -> FirstBackups:
        """What opens the backups of launches."""
        return FirstBackups(self.plans, self.opener, self.home_ec2, self.now)

    @cached_property
    def instance_events(self) -> InstanceEvents:
        """What is told that instances start and go."""
        return InstanceEvents((self.launch_requests, self.termination_requests))

    @cached_property
    def restores(self) -> Restores:
        """Plans and opens restores at operators' requests."""
        return Restores(
            self.engine,
            self.claims,
            self.points,
            self.plans,
            self.rules,
            self.ec2,
            self.settings.home_region,
            self.settings.vaults,
            self.staging_vaults,
            self.now,
        )

    @cached_property
    def starts(self) -> Starts:
        """Plans and opens starts of instances at operators' requests."""
        return Starts(
            self.engine,
            self.points,
            self.plans,
            self.rules,
            self.services,
            self.launching_ec2,
            self.settings.vaults,
            self.now,
        )

    @cached_property
    def lists(self) -> Lists:
        """Reads lists for the API."""
        regions = {place.region for place in self.places if place.region}
        names = KnownNames(self.plans, self.services, self.points, self.jobs, self.settings.vaults, regions)
        pages = ServicePages(self.plans, self.services, self.now)
        ready = ReadinessPages(pages, self.jobs, self.rules, self.world, self.vaults_apart, self.now)
        refs = self.restores.snapshots_of
        return Lists(self.plans, self.points, self.jobs, self.findings, pages, ready, names, refs)

    @cached_property
    def world(self) -> World:
        """What the readiness of services is looked up in."""
        clients = self._clients
        prerequisites = Prerequisites(clients.ec2(), clients.route53, clients.elbv2)
        return World(self.home_ec2, self.ssm, AutoScaling(clients.autoscaling()), prerequisites)

    @property
    def vaults_apart(self) -> frozenset[str]:
        """The vaults in another region or another cloud than the instances."""
        home, vaults = self.settings.home_region, self.settings.vaults
        return frozenset(name for name, config in vaults.items() if config.snapshot_region != home)

    @cached_property
    def copy_regions(self) -> tuple[str, ...]:
        """The regions that snapshots are copied into."""
        configs = (config for name, config in self.settings.vaults.items() if name != PRIMARY)
        return tuple(sorted({config.snapshot_region for config in configs if config.snapshot_region}))

    def destination(self, vault: str) -> Destination:
        """Return the region of an S3 vault as a destination of snapshot copies.

        Raises:
            VaultMissing: there is no such vault in S3.
        """
        opened = self.s3_vault(vault)
        return Destination(opened.region, opened.kms_key, self.ec2(opened.region), opened)

    @cached_property
    def opener(self) -> BackupOpener:
        """Opens backups for the tick and for requests."""
        deployment = Deployment(self.settings.deployment, self.settings.home_region)
        return BackupOpener(
            self.engine, self.rules, self.instance_lists, self.launching, self.autoscaling, deployment
        )

    @cached_property
    def completions(self) -> Completions:
        """Finds the jobs of completion events."""
        return Completions(self.queue, self.claims, self.ssm, self.ec2, self.examined, self.now)

    @cached_property
    def examined(self) -> ExaminationStore:
        """What examinations of the stage have begun."""
        return ExaminationStore(self.table)

    @cached_property
    def _stage_facts(self) -> StageFacts:
        settings = self.settings
        region = os.environ.get("AWS_REGION", settings.home_region)
        return StageFacts(
            settings.deployment, settings.home_region, region, settings.vaults, settings.copy_slots
        )

    @cached_property
    def doctor(self) -> Doctor:
        """Examines the stage."""
        clients, home = self._clients, self.settings.home_region
        world = StageWorld(
            sts=Sts(clients.sts()),
            buckets=lambda region: Buckets(clients.s3(region), region),
            kms=lambda region: Kms(clients.kms(region)),
            secrets=self.secrets,
            quotas=lambda region: ServiceQuotas(clients.service_quotas(region)),
            functions=LambdaAccount(clients.functions()),
            bus=EventBus(clients.events(home)),
            queues=Queues(clients.sqs(), self.settings.jobs_queue_url),
            metrics=Metrics(clients.cloudwatch()),
            ssm=self.ssm,
            ec2=self.ec2,
            tick=os.environ.get("FARSHORE_TICK_FUNCTION", ""),  # of the api function alone
        )
        return Doctor(self._stage_facts, world, self.plans, self.jobs, self.examined, self.now)

    @cached_property
    def examinations(self) -> Examinations:
        """Begins what examines the stage by doing something."""
        clients = self._clients
        return Examinations(
            self._stage_facts,
            self.engine,
            self.examined,
            lambda region: EventBus(clients.events(region)),
            self.now,
        )

    @cached_property
    def tick(self) -> Tick:
        """The tick; there is a row for each part."""
        parts: dict[str, TickPart] = {
            "jobs": DuePokes(self.engine),
            "copy slots": SlotHealer(self.engine, self.claims, self.ec2, self.copy_regions),
            "copies": CopyRetries(
                self.engine, self.table, self.plans, self.points, self.settings.copy_methods, self.now
            ),
            "launches": self.launch_requests,
            "terminations": self.termination_requests,
            "backups": BackupTick(self.opener, self.plans, self.services, self.home_ec2, self.now),
            "lifecycles": LifecycleSweep(self.engine, self.plans, self.services, self.now),
            "inventories": self.inventories,
        }
        return Tick(self.table, self.plans, self.services, self.autoscaling.all_instances, parts, self.now)

    @cached_property
    def places(self) -> tuple[Location, ...]:
        """The places of which inventories are taken."""
        regions = sorted({self.settings.home_region, *self.copy_regions})
        vaults = sorted(self.settings.vaults)
        return (
            *(Location(region=region) for region in regions),
            *(Location(vault=vault) for vault in vaults),
            CATALOG,
        )

    @cached_property
    def surveys(self) -> Surveys:
        """The surveys of each place."""
        regions = {name: config.snapshot_region for name, config in self.settings.vaults.items()}
        return Surveys(
            SurveyedWorld(self.ec2, self.vault, regions, self.copy_regions),
            self.table,
            self.points,
            self.services,
            self.findings,
            self.claims,
            lambda: self.jobs,
            self.settings.grace,
            self.now,
        )

    @cached_property
    def inventories(self) -> Inventories:
        """Opens inventories."""
        return Inventories(self.engine, self.table, self.places, self.now)


@cache
def farshore() -> Farshore:
    """Return this process's Farshore, built from the environment."""
    return Farshore(read_settings(os.environ))
