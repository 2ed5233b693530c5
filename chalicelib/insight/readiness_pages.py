"""Looks up what the readiness of services is checked by, a page of services at a time.

However many services there are, a page costs one listing of instances for each of its plans, and one look-up
of each other thing for all its instances together. Of a large service only some instances are looked at.
Invariant: a look-up that fails leaves the others as they are.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from chalicelib.aws.autoscaling import AutoScaling, LifecycleHook
from chalicelib.aws.ec2 import Ec2
from chalicelib.aws.ec2_types import Instance, Volume
from chalicelib.aws.prerequisites import ElasticIp, Prerequisites
from chalicelib.aws.ssm import Agent, Ssm
from chalicelib.catalog.store.rules import RuleStore
from chalicelib.catalog.store.services import ServiceRecord
from chalicelib.errors import NotFound
from chalicelib.insight.cursors import decode_cursor, encode_cursor
from chalicelib.insight.launch_times import Measured, launch_times
from chalicelib.insight.look_ups import Seen, seen
from chalicelib.insight.queries import ReadinessQuery
from chalicelib.insight.readiness import ReadinessPage, readiness
from chalicelib.insight.readiness_view import Proof, Running, ServiceView
from chalicelib.insight.service_pages import ServicePages
from chalicelib.insight.status import service_status
from chalicelib.jobs.job import AnyJob, JobKind
from chalicelib.jobs.store import JobStore
from chalicelib.plans.model import Plan, TagName, service_of
from chalicelib.plans.selection import ec2_filters, matches

# So many running instances of a service are looked at closely; of a service named by its plan so many
# instances are listed.
LOOKED_AT = 20
MOST_LISTED = 1_000
# Of each kind so many jobs of a service are read, newest first, in at most so many pages.
MOST_JOBS = 200
MOST_PAGES = 3


@dataclass(frozen=True, slots=True)
class World:
    """What is asked: EC2, SSM, Auto Scaling and the rest of the home region."""

    ec2: Ec2
    ssm: Ssm
    autoscaling: AutoScaling
    prerequisites: Prerequisites


@dataclass(frozen=True, slots=True)
class Looked:
    """What was looked up for the services of a page together."""

    running: Mapping[tuple[str, str], Seen[Running]]
    stores: Seen[Mapping[str, int]]
    volumes: Seen[Mapping[str, Volume]]
    agents: Seen[Mapping[str, Agent]]
    elastic_ips: Seen[tuple[ElasticIp, ...]]
    interfaces: Seen[frozenset[str]]
    hooks: Mapping[str, Seen[tuple[LifecycleHook, ...]]]


@dataclass(frozen=True, slots=True)
class ReadinessPages:
    """Reads the readiness of services. `apart` are the vaults in another region or cloud than instances."""

    services: ServicePages
    jobs: JobStore
    rules: RuleStore
    world: World
    apart: frozenset[str]
    now: Callable[[], datetime]

    def page(self, query: ReadinessQuery) -> ReadinessPage:
        """Return the readiness of the next services; those of plans that are gone are left out.

        Raises:
            InvalidInput: the cursor is not one of ours.
        """
        after_plan, after_key = decode_cursor(query.cursor, 2)
        found = (
            (plan, record)
            for _, plan, record in self.services.records(query.plan, query.service, (after_plan, after_key))
            if plan is not None
        )
        shown = list(islice(found, query.limit + 1))
        more, shown = len(shown) > query.limit, shown[: query.limit]
        cursor = encode_cursor(shown[-1][0].name, shown[-1][1].key) if more else None
        looked = self._look(shown)
        return ReadinessPage(
            items=tuple(readiness(self._view(plan, record, looked)) for plan, record in shown), cursor=cursor
        )

    def _look(self, shown: Sequence[tuple[Plan, ServiceRecord]]) -> Looked:
        """Look up what the services of a page have in AWS."""
        running = dict(self._running(shown))
        instances = [one for each in running.values() if each.found for one in each.found.instances]
        world, plans = self.world, {plan.name: plan for plan, _ in shown}.values()
        volumes = [each.volume_id for one in instances for each in one.volumes if not each.boot]
        named = [plan.identity.eni for plan in plans if plan.identity and plan.identity.eni]
        hooked = {(plan.name, record.service) for plan, record in shown if plan.hooks}
        groups = {group for key in hooked if (each := running[key].found) for group in each.groups}
        return Looked(
            running=running,
            stores=seen(lambda: world.prerequisites.instance_stores(each.type for each in instances)),
            volumes=seen(lambda: {each.id: each for each in world.ec2.volumes(volumes)}),
            agents=seen(lambda: world.ssm.agents(each.id for each in instances)),
            elastic_ips=seen(world.prerequisites.elastic_ips),
            interfaces=seen(lambda: world.prerequisites.interfaces(named)),
            hooks={group: seen(_hooks_of(world.autoscaling, group)) for group in sorted(groups)},
        )

    def _running(
        self, shown: Sequence[tuple[Plan, ServiceRecord]]
    ) -> Iterator[tuple[tuple[str, str], Seen[Running]]]:
        """Yield the running instances of each service, by plan and service."""
        by_plan: dict[str, tuple[Plan, list[str]]] = {}
        for plan, record in shown:
            by_plan.setdefault(plan.name, (plan, []))[1].append(record.service)
        for name, (plan, services) in by_plan.items():
            listed = seen(_listing(self.world.ec2, plan, services))
            for service in services:
                of_service = listed.found.get(service, Running()) if listed.found is not None else None
                yield (name, service), Seen(of_service, listed.error)

    def _view(self, plan: Plan, record: ServiceRecord, looked: Looked) -> ServiceView:
        now = self.now()
        proof, measured = self._past(plan.name, record.service)
        return ServiceView(
            plan=plan,
            status=service_status(plan.name, plan, record, now),
            now=now,
            running=looked.running[plan.name, record.service],
            stores=looked.stores,
            volumes=looked.volumes,
            agents=looked.agents,
            elastic_ips=looked.elastic_ips,
            identity=dict(self._identity(plan, looked)),
            hooks=looked.hooks,
            proof=proof,
            measured=measured,
            apart=self.apart,
        )

    def _identity(self, plan: Plan, looked: Looked) -> Iterator[tuple[str, Seen[bool]]]:
        """Yield whether each resource that the identity of a plan names exists, by how the plan names it."""
        named, ask = plan.identity, self.world.prerequisites
        if named is None:
            return
        if ip := named.elastic_ip:
            addresses = looked.elastic_ips
            yield f"elastic_ip {ip}", seen(lambda: any(each.allocation == ip for each in addresses.value))
        if eni := named.eni:
            yield f"eni {eni}", seen(lambda: eni in looked.interfaces.value)
        if dns := named.dns:
            yield f"dns.zone {dns.zone}", seen(lambda: _exists(ask.require_zone, dns.zone))
        if group := named.target_group:
            yield f"target_group {group}", seen(lambda: _exists(ask.require_target_group, group))

    def _past(self, plan: str, service: str) -> tuple[Proof, Measured]:
        """Return what the remembered restores and launches of a service prove, and how long they took."""
        restores, some_unread = self._completed(plan, service, JobKind.RESTORE)
        found, more_unread = self._completed(plan, service, JobKind.LAUNCH)
        launches = [job for job in found if job.method == "launch"]
        verified = {job.id for job in restores if self._was_verified(job)}
        times = {job.id: launch_times(job, verified=job.id in verified) for job in (*restores, *launches)}
        verified |= {job.id for job in launches if times[job.id].verified_at is not None}
        last = max(
            (job for job in (*restores, *launches) if job.id in verified),
            key=lambda job: job.updated_at,
            default=None,
        )
        return (
            Proof(
                last_at=last.updated_at if last else None,
                job=last.id if last else "",
                unread=some_unread or more_unread,
            ),
            Measured(tuple(times[job.id] for job in launches), tuple(times[job.id] for job in restores)),
        )

    def _completed(self, plan: str, service: str, kind: JobKind) -> tuple[list[AnyJob], bool]:
        """Return the newest completed jobs of a kind, and whether there may be older ones."""
        filters = {"service": service, "plan": plan, "kind": str(kind), "state": "COMPLETED"}
        found, cursor = list[AnyJob](), None
        for _ in range(MOST_PAGES):
            page = self.jobs.list(filters=filters, limit=MOST_JOBS, cursor=cursor)
            found += page.items
            cursor = page.cursor
            if cursor is None or len(found) >= MOST_JOBS:
                break
        return found, cursor is not None

    def _was_verified(self, restore: AnyJob) -> bool:
        """Return whether a verify script ran in a restore that completed."""
        rule_id = getattr(restore.work, "rule", None)
        rule = self.rules.get(rule_id) if rule_id is not None else None
        return bool(getattr(rule, "verify", None))


def _listing(ec2: Ec2, plan: Plan, services: Sequence[str]) -> Callable[[], Mapping[str, Running]]:
    """Return the look-up of the running instances of some services of a plan."""

    def look() -> Mapping[str, Running]:
        only = {plan.service.tag: services} if isinstance(plan.service, TagName) else None
        listed = ec2.instances(ec2_filters(plan.selection, only))
        by_service: dict[str, list[Instance]] = {}
        for each in listed if only else islice(listed, MOST_LISTED):
            service = service_of(plan, each.tags)
            if service is not None and each.state == "running" and matches(plan.selection, each.tags):
                by_service.setdefault(service, []).append(each)
        return {
            service: Running(tuple(sorted(found, key=lambda each: each.id)[:LOOKED_AT]), len(found))
            for service, found in by_service.items()
        }

    return look


def _hooks_of(autoscaling: AutoScaling, group: str) -> Callable[[], tuple[LifecycleHook, ...]]:
    return lambda: autoscaling.hooks(group)


def _exists(require: Callable[[str], None], name: str) -> bool:
    try:
        require(name)
    except NotFound:
        return False
    return True
