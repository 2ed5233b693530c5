"""Whether a service could be brought back now: each prerequisite as a check with its reason and remedy. Pure.

A check is a row of `CHECKS`: questions, each answered by findings about what was looked up beforehand. A
question whose look-up ended in an error has the answer `unknown`, and the others are asked all the same.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

from chalicelib.aws.autoscaling import LAUNCHING, TERMINATING, LifecycleHook
from chalicelib.aws.ec2_types import Instance
from chalicelib.catalog.values import Answer, says
from chalicelib.errors import FarshoreError
from chalicelib.insight.checks import (
    CheckAnswer,
    CheckState,
    Finding,
    Unanswerable,
    checked,
    failed,
    moment,
    named,
    ok,
    unknown,
    unseen,
    warning,
)
from chalicelib.insight.launch_times import LaunchTimesAnswer
from chalicelib.insight.look_ups import Seen
from chalicelib.insight.readiness_view import Running, ServiceView
from chalicelib.insight.status import StatusRow
from chalicelib.jobs.step_times import in_seconds
from chalicelib.plans.durations import in_words, render_duration
from chalicelib.plans.model import Kind, Plan, ServiceRule, SnapshotRule
from chalicelib.plans.selection import chooses
from chalicelib.plans.values import PRIMARY

# A copy is late when its original was made longer ago than this.
COPIED_WITHIN = timedelta(days=1)
# A proof is old after this time: scripts, data and machines have changed since.
PROVEN_WITHIN = timedelta(days=30)
NONE_RUNS = "start an instance of the service, and ask again"


class ReadinessAnswer(Answer):
    """Whether a service of a plan could be brought back now."""

    service: Annotated[str, says("the service")]
    plan: Annotated[str, says("the plan")]
    ready: Annotated[bool, says("whether no check failed")]
    checks: Annotated[tuple[CheckAnswer, ...], says("each prerequisite")]
    launches: Annotated[LaunchTimesAnswer, says("how long launches and restores took, until each step")]


class ReadinessPage(Answer):
    """A page of services, by plan and name."""

    items: Annotated[tuple[ReadinessAnswer, ...], says("the services")]
    cursor: Annotated[str | None, says("what continues behind them; null on the last page")]


Question = Callable[[ServiceView], Iterator[Finding]]


# data


def ephemeral_volumes(view: ServiceView) -> Iterator[Finding]:
    """Find the instances with instance-store volumes: no snapshot has their data, and it goes with a stop."""
    running, stores = _running(view), view.stores.value
    with_some = [each for each in running.instances if each.type in stores]
    if with_some:
        sizes = ", ".join(f"{kind} {stores[kind]} GB" for kind in sorted({each.type for each in with_some}))
        yield warning(
            f"{named(each.id for each in with_some)}: instance-store volumes ({sizes}), which no snapshot "
            "holds and which are empty after a stop or a replacement",
            "keep data on EBS volumes, or have the script of a service rule back it up",
        )
    else:
        yield ok("no running instance has instance-store volumes")


def data_volumes(view: ServiceView) -> Iterator[Finding]:
    """Find the instances whose data lies on the boot volume, or of which no rule covers anything."""
    bare = [each for each in _running(view).instances if not _data_of(each)]
    rules = [rule for rule in view.plan.rules if isinstance(rule, SnapshotRule)]
    by_script = any(isinstance(rule, ServiceRule) for rule in view.plan.rules)
    own = "put the data on an EBS volume of its own, or back it up with the script of a service rule"
    if not bare:
        yield ok("each running instance has a data volume")
    elif by_script:
        yield ok(f"{named(each.id for each in bare)}: no data volume, but a service rule backs up the data")
    elif not any(rule.volumes.boot for rule in rules):
        yield failed(
            f"{named(each.id for each in bare)}: no data volume, and every rule leaves the boot volume out: "
            "nothing is backed up",
            own,
        )
    else:
        yield warning(
            f"{named(each.id for each in bare)}: no data volume; the data is on the boot volume, which a "
            "new instance gets from its image",
            own,
        )


def uncovered_volumes(view: ServiceView) -> Iterator[Finding]:
    """Find the data volumes that the plan's snapshot rules leave out, all of them."""
    rules = [rule for rule in view.plan.rules if isinstance(rule, SnapshotRule)]
    if not rules:
        return
    attached = [one for each in _running(view).instances for one in _data_of(each)]
    volumes = view.volumes.value
    left_out = [
        one
        for one in attached
        if one in volumes
        and not any(chooses(rule.volumes, boot=False, tags=volumes[one].tags) for rule in rules)
    ]
    if left_out:
        yield warning(
            f"{named(left_out)}: no snapshot rule takes these data volumes",
            "change the rules' volumes.exclude_tags or the volumes' tags, unless they hold nothing to keep",
        )


# addresses


def left_behind(view: ServiceView) -> Iterator[Finding]:
    """Find addresses and interfaces of instances that would not follow the service to another instance."""
    identity = view.plan.identity
    ids = {each.id for each in _running(view).instances}
    own_ip = identity.elastic_ip if identity else None
    own_eni = identity.eni if identity else None
    addresses = [
        f"{each.address} ({each.allocation}) on {each.instance_id}"
        for each in view.elastic_ips.value
        if each.instance_id in ids and each.allocation != own_ip
    ]
    interfaces = [
        f"{interface} on {each.id}"
        for each in _running(view).instances
        for interface in each.interfaces[1:]
        if interface != own_eni
    ]
    if addresses:
        yield warning(
            f"Elastic IP {named(addresses)}: it stays behind when the instance is replaced",
            "name it in the plan's identity.elastic_ip, or let clients use a name or a load balancer",
        )
    if interfaces:
        yield warning(
            f"second network interface {named(interfaces)}: it stays behind when the instance is replaced",
            "name it in the plan's identity.eni, or let clients use a name or a load balancer",
        )
    if not addresses and not interfaces:
        yield ok("no instance has an Elastic IP or a second network interface that would stay behind")


def identity_there(view: ServiceView) -> Iterator[Finding]:
    """Find what the plan's identity names and AWS does not have."""
    for name, there in view.identity.items():
        try:
            if not there.value:
                yield failed(
                    f"the plan's identity names {name}, which does not exist",
                    "make it, or name another one in the plan",
                )
        except FarshoreError as error:
            yield unseen(error)


# agent


def agents_online(view: ServiceView) -> Iterator[Finding]:
    """Find instances whose SSM agent could not run the scripts of the plan."""
    needs = agent_users(view.plan)
    if not needs:
        yield ok("nothing in the plan runs on an instance")
        return
    agents, instances = view.agents.value, _running(view).instances
    silent = [each.id for each in instances if each.id not in agents]
    offline = [each.id for each in instances if each.id in agents and not agents[each.id].online]
    say = failed if len(silent) + len(offline) == len(instances) else warning
    wanted = f"{', '.join(needs)} {'needs' if len(needs) == 1 else 'need'} it"
    if silent:
        yield say(
            f"{named(silent)}: no SSM agent ever registered, and {wanted}",
            "give it the agent, a role with AmazonSSMManagedInstanceCore and a way to SSM's endpoints",
        )
    if offline:
        last = max((agent.last_ping for id in offline if (agent := agents[id]).last_ping), default=None)
        since = f" (last seen {moment(last)})" if last else ""
        yield say(
            f"{named(offline)}: the SSM agent is offline{since}, and {wanted}",
            "start the agent, or look at the instance's load and its way to SSM's endpoints",
        )
    if not silent and not offline:
        yield ok(f"the SSM agent is online on {_number(_running(view))}")


def agent_users(plan: Plan) -> list[str]:
    """Return what in a plan runs scripts on instances, in words."""
    scripts = [rule.name for rule in plan.rules if getattr(rule, "script", None)]
    restores = [rule.name for rule in plan.rules if getattr(rule, "restore", None)]
    rules = [f"rule {name}" for name in dict.fromkeys((*scripts, *restores))]
    return [*rules, *(["on_launch"] if plan.on_launch else [])]


# kinds


def both_kinds(view: ServiceView) -> Iterator[Finding]:
    """Find that a plan makes only one of the two kinds of backup, which are meant to be used together."""
    kinds = {rule.kind for rule in view.plan.rules}
    if kinds == {Kind.SNAPSHOT}:
        yield warning(
            "only snapshots: nothing the application wrote by itself, and nothing for another cloud",
            "add a rule of kind service, whose script asks the application for its data",
        )
    elif kinds == {Kind.SERVICE}:
        yield warning(
            "only service backups: a volume cannot be brought back as it was",
            "add a rule of kind snapshot for the data volumes",
        )
    else:
        yield ok("snapshots and service backups")


# copies


def copied_elsewhere(view: ServiceView) -> Iterator[Finding]:
    """Find rules whose points lie in one region of one cloud only."""
    with_copies = [rule.name for rule in view.plan.rules if rule.vaults & view.apart]
    without = [rule.name for rule in view.plan.rules if rule.name not in with_copies]
    remedy = "add copies: [{vault: ...}] to the rule, into a vault in another region or another cloud"
    if not with_copies:
        yield failed("no rule copies into another region or another cloud", remedy)
    elif without:
        yield warning(f"rule {named(without)}: no copy in another region or another cloud", remedy)
    else:
        yield ok("each rule copies into another region or another cloud")


def copies_arrived(view: ServiceView) -> Iterator[Finding]:
    """Find vaults that lack the newest copies."""
    rows = [row for row in view.status.rules if row.wanted and row.vault in view.apart]
    newest = {
        (row.rule, row.kind): row.newest_at
        for row in view.status.rules
        if row.vault == PRIMARY and row.wanted
    }
    for row in rows:
        yield from _copy(row, newest.get((row.rule, row.kind)), view.now)


def _copy(row: StatusRow, original: datetime | None, now: datetime) -> Iterator[Finding]:
    remedy = f"look at GET /jobs?kind=copy&state=FAILED, and at whether vault {row.vault} can be reached"
    where = f"rule {row.rule}: vault {row.vault}"
    if row.copies_due:
        yield warning(f"{where} lacks copies that failed and are made again: {row.copies_due}", remedy)
    if original is None or (row.newest_at is not None and row.newest_at >= original):
        return
    late = now - original > COPIED_WITHIN
    made = f"the newest point, of {moment(original)}"
    if row.newest_at is None and late:
        yield failed(f"{where} has no copy at all, and lacks {made}", remedy)
    elif late:
        yield warning(f"{where} lacks {made}; its newest is of {moment(row.newest_at)}", remedy)


# proof


def restore_scripts(view: ServiceView) -> Iterator[Finding]:
    """Find rules whose points no script restores, or no script verifies."""
    for rule in view.plan.rules:
        if not isinstance(rule, ServiceRule):
            continue
        if not rule.restore:
            yield failed(
                f"rule {rule.name} has no restore script: its files can be fetched, and not restored",
                "add restore and verify scripts to the rule",
            )
        elif not rule.verify:
            yield warning(
                f"rule {rule.name} has no verify script: no restore of it proves anything",
                "add a verify script to the rule",
            )


def restore_proven(view: ServiceView) -> Iterator[Finding]:
    """Find whether, and how long ago, a restore or a launch of the service was verified."""
    proof = view.proof
    remedy = "restore the newest point onto a spare instance with POST /restores; its verify script proves it"
    if proof.last_at is None:
        looked = "among the newest jobs of" if proof.unread else "as far as jobs are remembered (90 days), of"
        yield failed(f"no restore was ever proven, {looked} {view.status.service}", remedy)
        return
    age = view.now - proof.last_at
    found = f"{proof.job} was verified on {moment(proof.last_at)}"
    if age > PROVEN_WITHIN:
        yield warning(f"{found}, which is {in_words(timedelta(days=age.days))} ago", remedy)
    else:
        yield ok(found)


# hooks


def hooks_there(view: ServiceView) -> Iterator[Finding]:
    """Find what is wrong with the lifecycle hooks that the plan names."""
    if not view.plan.hooks:
        yield ok("the plan names no lifecycle hook")
        return
    groups = _running(view).groups
    if not groups:
        names = " and ".join(view.plan.hooks)
        yield warning(
            f"no running instance is in an Auto Scaling group, so {names} never comes up",
            "run the service in an Auto Scaling group with this hook, or take the hook out of the plan",
        )
    yield from hook_findings(view.plan, {group: view.hooks[group] for group in groups})


def hook_findings(plan: Plan, hooks: Mapping[str, Seen[tuple[LifecycleHook, ...]]]) -> Iterator[Finding]:
    """Find what is wrong with the hooks that a plan names, in groups that have these."""
    launch, terminate = plan.on_launch, plan.on_terminate
    wanted = [
        _WantedHook("on_launch", each.hook, LAUNCHING, each.timeout, abandons=each.on_failure == "abandon")
        for each in (launch,)
        if each is not None and each.hook is not None
    ]
    wanted += [
        _WantedHook("on_terminate", each.hook, TERMINATING, each.timeout)
        for each in (terminate,)
        if each is not None and each.hook is not None
    ]
    for group, looked in hooks.items():
        try:
            found = looked.value
        except FarshoreError as error:
            yield unseen(error)
            continue
        for each in wanted:
            yield from each.findings(group, found)


@dataclass(frozen=True, slots=True)
class _WantedHook:
    """A hook that a plan names: the key that names it, its transition, and the time the plan needs in it."""

    key: str
    name: str
    transition: str
    timeout: timedelta
    abandons: bool = False

    def findings(self, group: str, hooks: Iterable[LifecycleHook]) -> Iterator[Finding]:
        """Yield what is wrong with the hook of a group, or that it is right."""
        what = f"group {group}: lifecycle hook {self.name}"
        found = next((each for each in hooks if each.name == self.name), None)
        if found is None or found.transition != self.transition:
            other = f"is for {found.transition}" if found else "does not exist"
            yield failed(
                f"{what} {other}, and {self.key} waits for it",
                f"put a hook of this name and of transition {self.transition} on the group",
            )
            return
        if found.total < self.timeout:
            yield warning(
                f"{what} keeps an instance for {render_duration(found.total)} at most, and "
                f"{self.key}.timeout is {render_duration(self.timeout)}",
                "give the hook a longer heartbeat timeout (an instance waits for at most 100 of them, or 48 "
                "hours), or shorten the plan's timeout",
            )
        if self.abandons and found.default_result == "CONTINUE":
            yield warning(
                f"{what} has the default result CONTINUE: where Farshore cannot answer in time, an instance "
                "without its data goes into service",
                "give the hook the default result ABANDON, as on_launch.on_failure says",
            )
        waits = f"heartbeat {render_duration(found.heartbeat)}, {render_duration(found.total)} in all"
        yield ok(f"{what}: {waits}, then {found.default_result}")


# objectives


def rpo_met(view: ServiceView) -> Iterator[Finding]:
    """Find whether the RPO achieved is as young as the plan promises, in every vault."""
    rpo = view.status.rpo
    if rpo.objective is None:
        yield ok("the plan promises no RPO")
    elif rpo.met:
        yield ok(f"promised {rpo.objective}, achieved {rpo.achieved}")
    else:
        yield failed(
            f"promised {rpo.objective}, achieved {rpo.achieved or 'nothing: no point is verified'}"
            + ("; a vault that the plan names lags behind" if rpo.achieved else ""),
            "look at GET /status, and at GET /jobs?state=FAILED",
        )


def rto_met(view: ServiceView) -> Iterator[Finding]:
    """Find whether the launches and restores that were measured keep the RTO that the plan promises."""
    promised, slowest = view.plan.objectives.rto, view.measured.slowest()
    if promised is None:
        yield ok("the plan promises no RTO")
    elif slowest is None:
        yield unknown(
            f"promised {render_duration(promised)}, and no restore or launch was measured yet",
            "restore onto a spare instance with POST /restores",
        )
    elif slowest > promised:
        yield failed(
            f"promised {render_duration(promised)}, and the p99 of restores and launches is "
            f"{in_seconds(slowest)}",
            "restore from a nearer vault, use larger instances, or promise more time",
        )
    else:
        measured = f"the p99 of restores and launches is {in_seconds(slowest)}"
        yield ok(f"promised {render_duration(promised)}; {measured}")


CHECKS: Mapping[str, tuple[Question, ...]] = {
    "data": (ephemeral_volumes, data_volumes, uncovered_volumes),
    "addresses": (left_behind, identity_there),
    "agent": (agents_online,),
    "kinds": (both_kinds,),
    "copies": (copied_elsewhere, copies_arrived),
    "proof": (restore_scripts, restore_proven),
    "hooks": (hooks_there,),
    "rpo": (rpo_met,),
    "rto": (rto_met,),
}


def readiness(view: ServiceView) -> ReadinessAnswer:
    """Return whether a service could be brought back now, and each check."""
    checks = tuple(checked(name, questions, view) for name, questions in CHECKS.items())
    return ReadinessAnswer(
        service=view.status.service,
        plan=view.plan.name,
        ready=all(each.state is not CheckState.FAILED for each in checks),
        checks=checks,
        launches=view.measured.answer(),
    )


def _running(view: ServiceView) -> Running:
    """Return the running instances.

    Raises:
        FarshoreError: they could not be looked up, or there is none.
    """
    running = view.running.value
    if not running.instances:
        raise Unanswerable("no instance of the service runs now", NONE_RUNS)
    return running


def _data_of(instance: Instance) -> list[str]:
    return [each.volume_id for each in instance.volumes if not each.boot]


def _number(running: Running) -> str:
    looked = len(running.instances)
    if running.count > looked:
        return f"each of {looked} instances that were looked at, of {running.count:,} that run"
    return f"each of the {looked} running instances" if looked > 1 else "the running instance"
