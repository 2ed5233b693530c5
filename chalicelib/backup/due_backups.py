"""Decides which backups to make: which are due, of which services, on which instances.

Invariant: there is one request per plan, rule, service and cause, however often an instance is listed or a
tick is repeated.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta

from chalicelib.aws.ec2 import Ec2
from chalicelib.catalog.recovery_point import Lineage, Origin
from chalicelib.catalog.store.rules import RuleId
from chalicelib.catalog.store.services import LineageRecord
from chalicelib.jobs.work import MOST_NAMED, Cause, Target, Terms
from chalicelib.plans.due import GRACE, TICK, DueRun, due_by_rpo, due_run
from chalicelib.plans.model import Plan, Rule, TagName, service_of
from chalicelib.plans.selection import ec2_filters, matches

# When no instance of a service named by a tag was seen for this long, it is no longer expected: its runs no
# longer count as missed. `GET /status` shows it while it has points.


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where backups are made: the name of this deployment, distinct within the account, and its region."""

    deployment: str
    region: str


@dataclass(frozen=True, slots=True)
class Covered:
    """What a plan covers now: instance ids by service, and selected instances without the service's tag.

    By service, also the instances that were left out on request. `unseen` says why EC2 could not be read.
    """

    services: Mapping[str, tuple[str, ...]]
    without_service: tuple[str, ...] = ()
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unseen: str = ""
    launching: tuple[str, ...] = ()

    def limited_to(self, instances: Iterable[str]) -> "Covered":
        """Return the part that covers only these instances."""
        wanted = set(instances)
        meant = {name: tuple(i for i in ids if i in wanted) for name, ids in self.services.items()}
        return Covered(
            {name: ids for name, ids in meant.items() if ids},
            self.without_service,
            {name: tuple(i for i in ids if i not in wanted) for name, ids in self.services.items()},
        )

    def without(self, launching: Collection[str]) -> "Covered":
        """Return what remains without instances that have no data yet, because they are being launched."""
        there = {name: tuple(i for i in ids if i not in launching) for name, ids in self.services.items()}
        gone = {i for ids in self.services.values() for i in ids if i in launching}
        return Covered(
            {name: ids for name, ids in there.items() if ids},
            self.without_service,
            launching=tuple(sorted(gone)),
        )

    def of(self, service: str) -> "Covered":
        """Return the part that covers one service."""
        left_out = {service: self.left_out[service]} if service in self.left_out else {}
        return Covered({service: self.services[service]}, left_out=left_out)


def covered_by(plan: Plan, ec2: Ec2) -> Covered:
    """Return the instances that the plan selects, by service; each instance once, ordered by id."""
    selected = {
        instance.id: instance.tags
        for instance in ec2.instances(ec2_filters(plan.selection))
        if matches(plan.selection, instance.tags)
    }
    services: dict[str, list[str]] = {}
    without_service: list[str] = []
    for instance_id in sorted(selected):
        service = service_of(plan, selected[instance_id])
        if service is None:
            without_service.append(instance_id)
        else:
            services.setdefault(service, []).append(instance_id)
    return Covered({name: tuple(ids) for name, ids in services.items()}, tuple(without_service))


def due_by_schedule(rule: Rule, served_until: datetime, now: datetime) -> DueRun | None:
    """Return the due run of a scheduled rule: the latest since the last that ran. Pure."""
    return due_run(rule.times, served_until, now) if rule.times else None


def due_by_age(rule: Rule, newest: datetime | None, now: datetime) -> DueRun | None:
    """Return the run that a service needs to keep its newest point younger than the rule's RPO. Pure."""
    return due_by_rpo(rule.rpo, newest, TICK, now) if rule.rpo else None


def next_look(plan: Plan, now: datetime) -> datetime:
    """Return when a plan is due next: when a rule runs next, and daily for its lifecycles. Pure.

    A rule that follows its RPO is checked by every tick.
    """
    if any(rule.rpo is not None for rule in plan.rules):
        return now
    midnight = datetime.combine(now.date() + timedelta(days=1), time(), now.tzinfo)
    runs = (rule.times.next_after(now) for rule in plan.rules if rule.times)
    return min(midnight, *(run for run in runs if run is not None))


def cause_of(run: DueRun, rule: Rule) -> Cause:
    """Return why a backup is made: its nominal time, whether it is late, and how many runs were missed."""
    reason = f"due at {run.nominal_at:%Y-%m-%d %H:%M} UTC"
    if run.late:
        reason += ", late"
    if run.missed:
        reason += f", {run.missed} runs before it were missed"
    origin = Origin.SCHEDULE if rule.schedule else Origin.RPO
    return Cause(run.nominal_at, reason, late=run.late, terms=Terms(origin))


def cause_of_try(record: LineageRecord, rule: Rule, now: datetime) -> Cause:
    """Return why a failed backup is tried again. Pure."""
    retry = record.retry
    if retry is None:
        raise ValueError(f"{record.lineage} has nothing to try again")
    tries = retry.tries + 1
    run = f"the run due at {retry.nominal_at:%Y-%m-%d %H:%M} UTC"
    reason = f"try {tries + 1} of {rule.attempts + 1} of {run}, after: {retry.reason}"
    late = now - retry.nominal_at > GRACE
    return Cause(retry.nominal_at, reason, late=late, tries=tries, terms=Terms(Origin.SCHEDULE))


def targets_of(
    plan: Plan, rule: Rule, rule_id: RuleId, covered: Covered, place: Deployment
) -> tuple[Target, ...]:
    """Return the targets of a rule's backups: one for each service. Pure.

    A script runs on one instance only, so only what is made of every instance can be partial.
    """
    return tuple(
        Target(
            Lineage(plan.name, rule.name, rule.kind, service),
            rule_id,
            instances,
            place.deployment,
            place.region,
            covered.left_out.get(service, ()) if rule.paced_by else (),
            rule.paced_by,
        )
        for service, instances in covered.services.items()
    )


def missed_by(
    plan: Plan, rule: Rule, covered: Covered, records: Iterable[LineageRecord], now: datetime
) -> dict[str, str]:
    """Return why each service that a rule should back up, and cannot, is missed. Pure."""
    known = {
        each.lineage.service: each
        for each in records
        if (each.lineage.rule, each.lineage.kind) == (rule.name, rule.kind)
    }
    if isinstance(plan.service, TagName):
        seen = (each for each in known.values() if each.is_expected(now))
        expected = {each.lineage.service for each in seen}
        expected |= set() if covered.services or expected else {plan.name}
    else:
        expected = {plan.service}
    missed = sorted(expected - covered.services.keys())
    return {service: _why(plan, service, covered, known.get(service)) for service in missed}


def _why(plan: Plan, service: str, covered: Covered, record: LineageRecord | None) -> str:
    if covered.unseen:
        return f"EC2 did not say what plan {plan.name} selects ({_last_seen(record)}): {covered.unseen}"
    of = f" of {service}" if covered.services else ""
    waits = ", ".join(covered.launching[:MOST_NAMED])
    but = f" but {waits}, whose launch is not over" if waits else ""
    return f"plan {plan.name} selects no instance{of}{but} ({_last_seen(record)})"


def _last_seen(record: LineageRecord | None) -> str:
    if record is None or record.seen_at is None:
        return "none was ever seen"
    which = f"last seen {', '.join(record.seen)}" if record.seen else "last seen"
    return f"{which} on {record.seen_at:%Y-%m-%d %H:%M} UTC"
