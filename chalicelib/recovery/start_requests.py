"""Opens starts of instances at an operator's request: finds the plan, the point and the places, and checks
that what is launched will be what the plan selects.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field

from chalicelib.aws.ec2_launch import DEFAULT_VERSION, Ec2Launch, LaunchTemplate, Place, TemplateFound
from chalicelib.catalog.recovery_point import Artefact, Lineage, RecoveryPoint, SnapshotSet
from chalicelib.catalog.store import PlanStore, PointStore
from chalicelib.catalog.store.rules import RuleStore, id_of
from chalicelib.catalog.store.services import ServiceStore
from chalicelib.catalog.values import PlanName, RuleName, ServiceName, VaultName
from chalicelib.errors import Conflict, InvalidInput, NotFound, Permanent, Problem
from chalicelib.jobs.engine import Engine
from chalicelib.jobs.job import JobId, JobRequest
from chalicelib.jobs.work import StartWork, start_request
from chalicelib.plans.declared import Declared, Fault, Maybe, worded
from chalicelib.plans.launches import OnLaunch
from chalicelib.plans.model import Plan, Rule, TagName
from chalicelib.plans.selection import matches, tags_to_be_selected
from chalicelib.plans.values import TagKey, TagValue
from chalicelib.plans.words import near
from chalicelib.recovery.data_volumes import data_volumes, why_not_of_one
from chalicelib.recovery.launch_progress import newest_good

WHAT = "the launch request"
MOST_INSTANCES = 200
RESERVED = ("aws:", "farshore:")

SubnetRef = Annotated[
    str,
    Field(pattern=r"^subnet-[0-9a-f]{8,17}$", examples=["subnet-0123456789abcdef0"]),
    worded("the id of a subnet", title="subnet id"),
]
ZoneName = Annotated[
    str,
    Field(min_length=1, max_length=64, examples=["eu-central-1a"]),
    worded("an availability zone", title="zone"),
]


class TemplateRef(Declared):
    """A launch template of EC2, by `id` or by `name`."""

    id: Annotated[
        Maybe[str],
        Field(pattern=r"^lt-[0-9a-f]{8,17}$", examples=["lt-0123456789abcdef0"], description="its id; or:"),
        worded("the id of a launch template", title="launch template id"),
    ] = None
    name: Annotated[
        Maybe[str], Field(min_length=3, max_length=128, examples=["orders"], description="its name")
    ] = None
    version: Annotated[
        str,
        Field(
            pattern=r"^(\$Default|\$Latest|[1-9][0-9]{0,9})$",
            examples=["$Latest"],
            description="its version: a number, `$Default` or `$Latest`",
        ),
        worded("a version number, $Default or $Latest", title="version"),
    ] = DEFAULT_VERSION

    @classmethod
    def ties(cls, given: Mapping[str, Any], context: Any) -> Iterator[Fault]:
        """Yield a fault unless it is named in exactly one way."""
        if ("id" in given) == ("name" in given):
            yield (), "exactly one of id and name"


class StartOrder(Declared):
    """Which service to start instances for, from which launch template, how many, where, and from which
    rule's backups."""

    service: Annotated[ServiceName, Field(description="the service")]
    plan: Annotated[
        Maybe[PlanName], Field(description="the service's plan, where several plans have this service")
    ] = None
    launch_template: Annotated[
        TemplateRef,
        Field(description="what is launched", examples=[{"name": "orders"}]),
    ]
    count: Annotated[int, Field(ge=1, le=MOST_INSTANCES, description="how many instances")] = 1
    subnets: Annotated[
        Maybe[tuple[SubnetRef, ...]],
        Field(
            strict=False,
            min_length=1,
            max_length=20,
            description="where: several share the instances evenly; where one has no room, the others take "
            "its share",
        ),
    ] = None
    availability_zones: Annotated[
        Maybe[tuple[ZoneName, ...]],
        Field(
            strict=False,
            min_length=1,
            max_length=20,
            description="the same by zones, in the default VPC; with neither, where the launch template "
            "says, or in the first zone that has room",
        ),
    ] = None
    instance_type: Annotated[
        Maybe[str],
        Field(
            pattern=r"^[a-z0-9-]+\.[a-z0-9-]+$",
            examples=["m7i.large"],
            description="instead of the launch template's",
        ),
        worded("a type of instance", title="instance type"),
    ] = None
    rule: Annotated[
        Maybe[RuleName],
        Field(description="whose newest good point is restored; when left out, that of `on_launch.restore`"),
    ] = None
    vault: Annotated[
        Maybe[VaultName],
        Field(
            description="from where; when left out, `primary` if the point is there, or else another vault "
            "that has it"
        ),
    ] = None
    tags: Annotated[
        Maybe[dict[TagKey, TagValue]],
        worded("a mapping from tag keys to texts", title="mapping"),
        Field(
            max_length=30,
            examples=[{"env": "prod"}],
            description="tags of the instances, beside those by which the plan selects them; needed for keys "
            "that the plan selects with wildcards alone",
        ),
    ] = None
    identity: Annotated[
        bool,
        Field(
            description="whether the plan's `identity` moves to the instance once it is verified; only for "
            "one instance"
        ),
    ] = False
    on_failure: Annotated[
        Literal["keep", "terminate"],
        Field(description="what becomes of the instances whose launch does not succeed"),
    ] = "keep"
    dry_run: Annotated[bool, Field(description="answer 200 with what `would` be done, without doing it")] = (
        False
    )

    @classmethod
    def ties(cls, given: Mapping[str, Any], context: Any) -> Iterator[Fault]:
        """Yield a fault for places that are named twice, an identity of many, and tags that are reserved."""
        if "subnets" in given and "availability_zones" in given:
            yield ("availability_zones",), "not beside subnets: leave it out"
        for key in ("subnets", "availability_zones"):
            named = given.get(key)
            if isinstance(named, list | tuple) and len(set(map(str, named))) < len(named):
                yield (key,), "each only once"
        if given.get("identity") is True and given.get("count", 1) != 1:
            yield ("identity",), "false: only one instance can have it; or count: 1"
        tags = given.get("tags")
        for name in tags if isinstance(tags, Mapping) else ():
            if str(name).lower().startswith(RESERVED):
                yield ("tags", name), "a tag that does not begin with aws: or farshore:"


@dataclass(frozen=True, slots=True)
class PlannedStart:
    """A start that can be opened, with what a dry run shows of it: the point, the rule whose scripts run, and
    the vCPUs that the instances have together. `jobs` is empty until it is opened."""

    request: JobRequest[StartWork]
    point: RecoveryPoint
    rule: Rule
    vcpus: int
    age: timedelta
    jobs: tuple[JobId, ...] = ()


@dataclass(frozen=True, slots=True)
class Starts:
    """Plans and opens starts of instances in the home region; `vaults` are all configured ones, by name."""

    engine: Engine
    points: PointStore
    plans: PlanStore
    rules: RuleStore
    services: ServiceStore
    launching: Ec2Launch
    vaults: Collection[str]
    now: Callable[[], datetime]

    def open(self, order: StartOrder, key: str) -> PlannedStart:
        """Plan a start, and open it unless it is a dry run.

        Raises:
            FarshoreError: see `plan`.
        """
        planned = self.plan(order, key)
        if order.dry_run:
            return planned
        self.rules.put([planned.rule])
        return replace(planned, jobs=self.engine.open([planned.request]))

    def plan(self, order: StartOrder, key: str) -> PlannedStart:
        """Return what a start would do, after all checks; the same `key` always gives the same job.

        Raises:
            NotFound: no plan has this service, or there is no such plan.
            Conflict: several plans have it, or there is no good point to restore.
            InvalidInput: a rule, vault, template, type or place cannot be used, or the plan would not select
                what is launched.
        """
        plan = self._plan(order)
        rule = _rule(order, plan)
        template = self._template(order)
        kind = order.instance_type or template.instance_type
        if not kind:
            expected = "a type of instance, as the launch template has none"
            raise InvalidInput(WHAT, [Problem("/instance_type", None, expected)])
        places = self._places(order, template, kind)
        tags = _tags(order, plan, template)
        point, artefact = self._point(order, plan, rule)
        on_launch = OnLaunch(restore=rule.name, required=True)
        if plan.on_launch:
            on_launch = on_launch.model_copy(update={"timeout": plan.on_launch.timeout})
        work = StartWork(
            recovery_point=point.id,
            vault=artefact.vault,
            rule=id_of(rule),
            on_launch=on_launch,
            template=LaunchTemplate(template.id, template.version, kind),
            count=order.count,
            places=places,
            tags=tags,
            spread=bool(order.subnets or order.availability_zones),
            identity=plan.identity if order.identity else None,
            terminates=order.on_failure == "terminate",
        )
        now = self.now()
        request = start_request(plan.name, order.service, work, key, now)
        vcpus = self.launching.vcpus(kind) * order.count
        return PlannedStart(request, point, rule, vcpus, now - point.created_at)

    def _plan(self, order: StartOrder) -> Plan:
        if order.plan is not None:
            plan = self.plans.require(order.plan).plan
            if isinstance(plan.service, str) and plan.service != order.service:
                expected = f"{plan.service}, the service of plan {plan.name}"
                raise InvalidInput(WHAT, [Problem("/service", order.service, expected)])
            return _checked(order, plan)
        found = [stored.plan for stored in self.plans.all() if self._has(stored.plan, order.service)]
        if not found:
            raise NotFound("no plan has this service", resource=f"service {order.service}")
        if len(found) > 1:
            names = ", ".join(plan.name for plan in found)
            why = f"plans {names} have this service; name one as `plan`"
            raise Conflict(why, operation="starting instances", resource=f"service {order.service}")
        return _checked(order, found[0])

    def _has(self, plan: Plan, service: str) -> bool:
        if isinstance(plan.service, TagName):
            return self.services.of_service(plan.name, service) is not None
        return plan.service == service

    def _point(self, order: StartOrder, plan: Plan, rule: Rule) -> tuple[RecoveryPoint, Artefact]:
        if order.vault is not None and order.vault not in self.vaults:
            names = sorted(self.vaults)
            expected = f"a configured vault{near(order.vault, names)}; there are {', '.join(names)}"
            raise InvalidInput(WHAT, [Problem("/vault", order.vault, expected)])
        lineage = Lineage(plan.name, rule.name, rule.kind, order.service)
        points = self.points.of_lineage(lineage)
        found = newest_good(points, self.launching.region, order.vault)
        what = f"service {order.service}, rule {rule.name}"
        if found is None:
            where = f" in vault {order.vault}" if order.vault else ""
            why = f"there is no good recovery point{where} that instances here can be restored from"
            raise Conflict(
                f"{why}; there are {len(points)} in all", operation="starting instances", resource=what
            )
        point, artefact = found
        if isinstance(artefact.content, SnapshotSet):
            refs = data_volumes(self.points.snapshots(point, artefact.vault), None)
            if why_not := why_not_of_one(refs):
                raise Conflict(why_not, operation="starting instances", resource=point.id)
        return point, artefact

    def _template(self, order: StartOrder) -> TemplateFound:
        ref = order.launch_template
        named = {"id": ref.id} if ref.id else {"name": ref.name or ""}
        try:
            return self.launching.template(named, ref.version)
        except (NotFound, Permanent) as refusal:
            expected = f"a launch template of {self.launching.region} and one of its versions: {refusal.why}"
            raise InvalidInput(WHAT, [Problem("/launch_template", ref.document(), expected)]) from refusal

    def _places(self, order: StartOrder, template: TemplateFound, kind: str) -> tuple[Place, ...]:
        """Return where instances are launched, in order; each is in a zone that offers the type."""
        offering = self.launching.zones_offering(kind)
        if not offering:
            expected = f"a type of instance that EC2 offers in {self.launching.region}"
            raise InvalidInput(WHAT, [Problem("/instance_type", kind, expected)])
        if order.subnets:
            return self._subnets(order.subnets, template, kind, offering)
        if order.availability_zones:
            if template.subnet or template.is_placed:
                expected = "left out: the launch template says where; or name `subnets`"
                raise InvalidInput(
                    WHAT, [Problem("/availability_zones", list(order.availability_zones), expected)]
                )
            return tuple(
                Place(_offered(zone, zone, f"/availability_zones/{number}", kind, offering))
                for number, zone in enumerate(order.availability_zones)
            )
        if template.subnet or template.is_placed:
            return (Place(),)
        return (Place(template.zone),) if template.zone else tuple(map(Place, offering))

    def _subnets(
        self, ids: Collection[str], template: TemplateFound, kind: str, offering: Collection[str]
    ) -> tuple[Place, ...]:
        if template.is_placed:
            expected = (
                "left out: the launch template has network interfaces or a placement of its own, beside "
                "which EC2 takes no subnet"
            )
            raise InvalidInput(WHAT, [Problem("/subnets", list(ids), expected)])
        zones = self.launching.zones_of_subnets(ids)
        expected = f"a subnet of {self.launching.region}"
        unknown = [
            Problem(f"/subnets/{number}", each, expected)
            for number, each in enumerate(ids)
            if each not in zones
        ]
        if unknown:
            raise InvalidInput(WHAT, unknown)
        return tuple(
            Place(_offered(zones[each], each, f"/subnets/{number}", kind, offering), each)
            for number, each in enumerate(ids)
        )


def _offered(zone: str, value: str, pointer: str, kind: str, offering: Collection[str]) -> str:
    if zone not in offering:
        expected = f"a place in a zone that has {kind}: {', '.join(offering)}"
        raise InvalidInput(WHAT, [Problem(pointer, value, expected)])
    return zone


def _checked(order: StartOrder, plan: Plan) -> Plan:
    if order.identity and plan.identity is None:
        expected = f"false: plan {plan.name} has no `identity`"
        raise InvalidInput(WHAT, [Problem("/identity", True, expected)])
    return plan


def _rule(order: StartOrder, plan: Plan) -> Rule:
    """Return the rule that is restored from; it has a script that puts the data in its place."""
    name = order.rule or (plan.on_launch.restore if plan.on_launch else None)
    fit = [rule.name for rule in plan.rules if rule.restore]
    rule = plan.rule(name) if name else None
    if rule is None or not rule.restore:
        there = f"there are {', '.join(fit)}" if fit else "there is none"
        expected = (
            f"a rule of plan {plan.name} with a `restore` script{near(name, fit) if name else ''}; {there}"
        )
        raise InvalidInput(WHAT, [Problem("/rule", name, expected)])
    return rule


def _tags(order: StartOrder, plan: Plan, template: TemplateFound) -> Mapping[str, str]:
    """Return tags with which the plan selects an instance, as one of the service. Pure."""
    given = dict(order.tags or {})
    if isinstance(plan.service, TagName):
        named = given.setdefault(plan.service.tag, order.service)
        if named != order.service:
            expected = f"{order.service}, as this tag names the service"
            raise InvalidInput(WHAT, [Problem(f"/tags/{plan.service.tag}", named, expected)])
    tags, missing = tags_to_be_selected(plan.selection, given)
    if missing:
        patterns = {key: list(plan.selection.tags[key]) for key in missing}
        raise InvalidInput(
            WHAT,
            [
                Problem(f"/tags/{key}", None, f"a value that plan {plan.name} selects: {', '.join(fits)}")
                for key, fits in patterns.items()
            ],
        )
    if not matches(plan.selection, tags):
        expected = f"tags that plan {plan.name} selects and does not exclude"
        raise InvalidInput(WHAT, [Problem("/tags", tags, expected)])
    if not matches(plan.selection, {**template.tags, **tags}):
        expected = f"one whose tags plan {plan.name} does not exclude; it has {dict(template.tags)}"
        raise InvalidInput(WHAT, [Problem("/launch_template", order.launch_template.document(), expected)])
    return tags
