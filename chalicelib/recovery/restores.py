"""Opens restores at an operator's request: finds the point and its vault, and checks the target."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from chalicelib.aws.ec2 import Ec2, Instance
from chalicelib.catalog.recovery_point import Lineage, RecoveryPoint, SnapshotRef, SnapshotSet
from chalicelib.catalog.store import PlanStore, PointStore
from chalicelib.catalog.store.rules import RuleStore, id_of
from chalicelib.catalog.values import Moment, PlanName, PointRef, RuleName, ServiceName, VaultName
from chalicelib.errors import Conflict, InvalidInput, NotFound, Problem
from chalicelib.jobs.claims import Claims, lock_of_instance
from chalicelib.jobs.engine import Engine
from chalicelib.jobs.job import AnyRequest, JobId, JobKind
from chalicelib.jobs.work import AttachedRestoreWork, ServiceRestoreWork, VolumeRestoreWork
from chalicelib.plans.declared import Declared, Fault, Maybe
from chalicelib.plans.model import Kind, Rule
from chalicelib.plans.words import near
from chalicelib.recovery.data_volumes import data_volumes, taken_device, why_not_of_one
from chalicelib.recovery.requests import (
    WHAT,
    Order,
    RestoreTarget,
    artefact_to_restore,
    newest_at,
    plan_attached_restore,
    plan_service_restore,
    plan_volume_restore,
)


class RestoreOrder(Declared):
    """Which recovery point to restore (by id, or the newest of a service's rule), from where and to where."""

    recovery_point: Annotated[
        Maybe[PointRef], Field(description="what to restore; or else `service` and `rule`")
    ] = None
    service: Annotated[
        Maybe[ServiceName],
        Field(
            description="with `rule`: the newest point of this rule for this service that can be restored; a "
            "suspect or partial one only where there is no other"
        ),
    ] = None
    rule: Annotated[Maybe[RuleName], Field(description="the rule that made it")] = None
    plan: Annotated[
        Maybe[PlanName],
        Field(description="with `service` and `rule`: the plan, where several have such points"),
    ] = None
    at: Annotated[
        Maybe[Moment], Field(description="with `service` and `rule`: the newest point that was made by then")
    ] = None
    vault: Annotated[
        Maybe[VaultName],
        Field(
            description="from where; when left out, `primary` if the point is there, or else another vault "
            "that has it"
        ),
    ] = None
    target: Annotated[
        RestoreTarget,
        Field(description="where to", examples=[{"instance_id": "i-0123456789abcdef0"}]),
    ]
    dry_run: Annotated[bool, Field(description="answer 200 with what `would` be done, without doing it")] = (
        False
    )

    @classmethod
    def ties(cls, given: Mapping[str, Any], context: Any) -> Iterator[Fault]:
        """Yield a fault unless the point is named in exactly one way."""
        by_id, by_rule = "recovery_point" in given, {"service", "rule"} <= given.keys()
        if by_id == by_rule or (by_id and given.keys() & {"service", "rule", "plan", "at"}):
            yield (), "either `recovery_point`, or `service` and `rule` and perhaps `plan` and `at`"


@dataclass(frozen=True, slots=True)
class PlannedRestore:
    """A restore that can be opened, with the snapshots it restores or the rule whose scripts it runs.

    `jobs` is empty until it is opened, and in a dry run.
    """

    request: AnyRequest
    refs: tuple[SnapshotRef, ...] = ()
    script_rule: Rule | None = None
    plan_rules: tuple[Rule, ...] = ()
    jobs: tuple[JobId, ...] = ()


@dataclass(frozen=True, slots=True)
class Restores:
    """Plans and opens restores. `ec2` returns EC2 of a region; `vaults` are all configured ones, by name.

    `staging_vaults` are those in which an off-site copy may be assembled, the best first.
    """

    engine: Engine
    claims: Claims
    points: PointStore
    plans: PlanStore
    rules: RuleStore
    ec2: Callable[[str], Ec2]
    home_region: str
    vaults: Collection[str]
    staging_vaults: Sequence[str]
    now: Callable[[], datetime]

    def plan(self, order: RestoreOrder, key: str) -> PlannedRestore:
        """Return what a restore would do, after all checks; the same `key` always gives the same job.

        Raises:
            NotFound: there is no such point, or none of that age.
            InvalidInput: the target is not one for this kind of point or is not there, or the vault is not
                configured.
            Conflict: another restore works on the instance, it cannot have the point's volumes, or more than
                one plan has such points.
        """
        if order.vault is not None and order.vault not in self.vaults:
            names = sorted(self.vaults)
            expected = f"a configured vault{near(order.vault, names)}; there are {', '.join(names)}"
            raise InvalidInput(WHAT, [Problem("/vault", order.vault, expected)])
        point = self._point(order)
        stored = self.plans.get(point.plan)
        artefact = artefact_to_restore(point, order.vault)
        to = Order(order.vault, order.target, key, self.now())
        plan = stored.plan if stored else None
        refs: tuple[SnapshotRef, ...] = ()
        request: AnyRequest
        if not isinstance(artefact.content, SnapshotSet):
            request = plan_service_restore(point, artefact, plan, to, self.staging_vaults)
        elif order.target.instance_id is not None:
            request = plan_attached_restore(point, artefact, plan, to, self.home_region)
            refs = tuple(self.points.snapshots(point, artefact.vault))
        else:
            refs = tuple(self.points.snapshots(point, artefact.vault))
            request = plan_volume_restore(point, artefact, refs, to)
        refs = self._require_target(request, refs)
        rules = stored.plan.rules if stored else ()
        return PlannedRestore(request, refs, self._script_rule(request, rules), rules)

    def open(self, order: RestoreOrder, key: str) -> PlannedRestore:
        """Plan a restore, and open it unless it is a dry run.

        Raises:
            FarshoreError: see `plan`.
        """
        planned = self.plan(order, key)
        if order.dry_run:
            return planned
        self.rules.put(planned.plan_rules)
        return replace(planned, jobs=self.engine.open([planned.request]))

    def snapshots_of(self, work: object) -> tuple[SnapshotRef, ...]:
        """Return the snapshots that a job makes volumes of; none when its point is forgotten."""
        if not isinstance(work, AttachedRestoreWork | VolumeRestoreWork):
            return ()
        point = self.points.get(work.recovery_point)
        if point is None or point.in_vault(work.vault) is None:
            return ()
        if isinstance(work, AttachedRestoreWork):
            return data_volumes(self.points.snapshots(point, work.vault), None)
        if work.shard is not None:
            return self.points.shard(point, work.vault, work.shard)
        return tuple(self.points.snapshots(point, work.vault))

    def _point(self, order: RestoreOrder) -> RecoveryPoint:
        if order.recovery_point is not None:
            return self.points.require(order.recovery_point)
        named = f"service {order.service}, rule {order.rule}"
        plans = [order.plan] if order.plan else self.points.plans_with(order.service or "", order.rule or "")
        if len(plans) > 1:
            why = f"plans {', '.join(plans)} have points of this service and rule; name one as `plan`"
            raise Conflict(why, operation="restoring", resource=named)
        lineages = [
            Lineage(plan, order.rule or "", kind, order.service or "") for plan in plans for kind in Kind
        ]
        points = [point for lineage in lineages for point in self.points.of_lineage(lineage)]
        newest = newest_at(points, order.at, order.vault)
        if newest is None:
            where = f" in vault {order.vault}" if order.vault else ""
            when = f" made by {order.at:%Y-%m-%d %H:%M:%S} UTC" if order.at else ""
            raise NotFound(f"there is no recovery point that can be restored{where}{when}", resource=named)
        return newest

    def _script_rule(self, request: AnyRequest, rules: Sequence[Rule]) -> Rule | None:
        """Return the rule whose scripts a restore runs, None for one that runs none."""
        wanted = getattr(request.work, "rule", None)
        if wanted is None:
            return None
        of_plan = (rule for rule in rules if id_of(rule) == wanted)
        return next(of_plan, None) or self.rules.get(wanted)

    def _require_target(self, request: AnyRequest, refs: tuple[SnapshotRef, ...]) -> tuple[SnapshotRef, ...]:
        """Check that EC2 knows the target, and that an instance can have the volumes: better refused now than
        failed later. Return the snapshots that volumes are made of."""
        match request.work:
            case ServiceRestoreWork(instance_id=id):
                self._instance(id)
                self._require_free(id, request)
            case AttachedRestoreWork(instance_id=id):
                instance = self._instance(id)
                self._require_free(id, request)
                refs = data_volumes(refs, instance)
                if why := why_not_of_one(refs) or taken_device(refs, instance, self._made_by(request)):
                    raise Conflict(why, operation="restoring", resource=request.work.recovery_point)
            case VolumeRestoreWork(availability_zone=zone, region=region):
                zones = self.ec2(region).availability_zones()
                if zone not in zones:
                    expected = f"a zone of {region}, one of {', '.join(zones)}"
                    raise InvalidInput(WHAT, [Problem("/target/availability_zone", zone, expected)])
        return refs

    def _made_by(self, request: AnyRequest) -> Collection[str]:
        """Return the volumes that the restore has made, when the same request was opened before."""
        job = self.engine.jobs.get(request.id)
        return job.progress.made.values() if job is not None else ()

    def _instance(self, id: str) -> Instance:
        found = self.ec2(self.home_region).instances_by_id([id])
        if not found:
            expected = f"an instance of {self.home_region} that is not terminated"
            raise InvalidInput(WHAT, [Problem("/target/instance_id", id, expected)])
        return found[0]

    def _require_free(self, instance: str, request: AnyRequest) -> None:
        holder = self.claims.lock_holder(lock_of_instance(instance))
        if holder is None or not holder.startswith(JobKind.RESTORE) or holder == request.id:
            return
        job = self.engine.jobs.get(holder)
        if job is not None and not job.state.final:
            raise Conflict(f"{holder} restores onto it now", operation="restoring", resource=instance)
