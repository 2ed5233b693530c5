"""Whether a stage can do its work: each part it depends on as a check with its reason and remedy. Pure.

A check is a row of `CHECKS`: questions about what was looked up beforehand. What is of one vault, region or
queue and could not be looked up hides no other.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Annotated

from chalicelib.aws.buckets import BucketState
from chalicelib.aws.event_bus import RuleState
from chalicelib.aws.kms import Key
from chalicelib.aws.lambda_account import SourceMapping
from chalicelib.aws.queue_state import QueueState
from chalicelib.aws.service_quotas import COPIES, SNAPSHOTS
from chalicelib.catalog.store.examinations import RoundTrip
from chalicelib.catalog.values import Answer, Moment, says
from chalicelib.errors import Denied, FarshoreError, NotFound, VaultMissing
from chalicelib.insight.checks import (
    CheckAnswer,
    CheckState,
    Finding,
    checked,
    failed,
    moment,
    named,
    ok,
    unknown,
    unseen,
    warning,
)
from chalicelib.insight.doctor_view import QUEUES, StageView
from chalicelib.insight.look_ups import Seen, Thing
from chalicelib.jobs.job import CLOCK_SKEW, AnyJob, JobState
from chalicelib.jobs.step_times import in_seconds
from chalicelib.plans.durations import in_words
from chalicelib.plans.values import PRIMARY

# A round trip or probe is old after this time: rights, rules and credentials have changed since.
PROVEN_WITHIN = timedelta(days=30)
ARRIVES_WITHIN = timedelta(minutes=5)
# A tick comes every five minutes, and one may be late.
TICKS_WITHIN = timedelta(minutes=15)
OLDEST_MESSAGE = timedelta(minutes=15)
# Signatures are refused then.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/signature-v4-troubleshooting.html
CLOCK_TOO_WRONG = timedelta(minutes=5)
FULL_PERCENT = 80
# The API and the tick run besides what the queues feed.
BESIDE_QUEUES = 2
ASK = "POST /doctor starts one, or `make doctor`"


class DoctorAnswer(Answer):
    """Whether a stage can do its work."""

    deployment: Annotated[str, says("the home region and the stage")]
    account: Annotated[str | None, says("the account that the functions run in; null where it is not known")]
    region: Annotated[str, says("the region that the functions run in")]
    examined_at: Annotated[Moment, says("when")]
    healthy: Annotated[bool, says("whether no check failed")]
    checks: Annotated[tuple[CheckAnswer, ...], says("each part that the stage depends on")]


class ExaminationAnswer(Answer):
    """What was begun; `GET /doctor` says how it ended."""

    probes: Annotated[dict[str, str], says("the job that probes each vault")]
    regions: Annotated[tuple[str, ...], says("the regions whose event bus was given an event to send home")]
    canary: Annotated[tuple[str, ...], says("the backup jobs of the canary, if one was asked for")]


Question = Callable[[StageView], Iterator[Finding]]


def _each(
    seen: Mapping[str, Seen[Thing]], say: Callable[[str, Thing], Iterator[Finding]]
) -> Iterator[Finding]:
    """Ask about each thing; one that could not be looked up is said to be unknown, by its name."""
    for name, one in seen.items():
        try:
            yield from say(name, one.value)
        except FarshoreError as error:
            finding = unseen(error)
            yield Finding(finding.state, f"{name}: {finding.reason}", finding.remedy)


# the stage


def who_it_is(view: StageView) -> Iterator[Finding]:
    """Find the account, role and region of the functions, and whether the settings call that region home."""
    stage, identity = view.stage, view.identity.value
    if stage.region != stage.home:
        yield failed(
            f"the functions run in {stage.region}, and vault {PRIMARY} is in {stage.home}",
            f"deploy the home stack in {stage.home}, or name a bucket of {stage.region} as {PRIMARY}",
        )
    yield ok(f"{stage.deployment}: account {identity.account}, role {identity.role}, in {stage.region}")


def regions_apart(view: StageView) -> Iterator[Finding]:
    """Find vaults that one disaster would hit together."""
    stage = view.stage
    by_region: dict[str, list[str]] = {}
    for name, config in stage.s3_vaults.items():
        by_region.setdefault(config.region, []).append(name)
    for region, names in sorted(by_region.items()):
        if len(names) > 1:
            yield warning(
                f"vaults {named(sorted(names))} are all in {region}: what hits that region hits each of them",
                "put each vault into a region of its own",
            )
    if not stage.away and not stage.offsite_vaults:
        yield failed(
            f"every vault is in {stage.home}",
            "add a vault in another region (deploy dr-region.yaml there) or in another cloud",
        )
    places = [f"{name} in {config.region}" for name, config in stage.s3_vaults.items()]
    places += [f"{name} at {config.provider}" for name, config in stage.offsite_vaults.items()]
    yield ok(", ".join(places))


# vaults


def buckets_right(view: StageView) -> Iterator[Finding]:
    """Find buckets that are not there, elsewhere, public, or that keep no versions."""
    for name, config in view.stage.s3_vaults.items():
        what = f"vault {name}: bucket {config.bucket}"
        try:
            yield from _bucket(what, config.region, view.buckets[name].value)
        except (NotFound, VaultMissing):
            yield failed(
                f"{what} does not exist",
                "deploy the stack that makes it, or name another bucket in the vaults document",
            )
        except Denied as error:
            if error.operation != "HeadBucket":
                yield unseen(error)
            else:
                yield failed(
                    f"{what} cannot be reached: {error}",
                    "check that it belongs to this account, that its policy denies nothing, and that "
                    "OtherVaultBucketArns names it",
                )
        except FarshoreError as error:
            yield unseen(error)


def _bucket(what: str, region: str, state: BucketState) -> Iterator[Finding]:
    if state.region != region:
        yield failed(
            f"{what} is in {state.region}, and the settings say {region}",
            f"write region {state.region} in the vaults document, or name a bucket of {region}",
        )
        return
    if not state.versioned:
        yield warning(
            f"{what} keeps no versions: what is overwritten or deleted by mistake is gone",
            f"aws s3api put-bucket-versioning --bucket {what.rpartition(' ')[2]} "
            "--versioning-configuration Status=Enabled",
        )
    if state.not_blocked:
        yield failed(
            f"{what} does not block public access ({named(state.not_blocked)} is off)",
            f"turn on all four settings of its public access block (aws s3api put-public-access-block "
            f"--bucket {what.rpartition(' ')[2]} ...)",
        )
    yield ok(f"{what} in {region}")


def keys_usable(view: StageView) -> Iterator[Finding]:
    """Find KMS keys of vaults that are not there, disabled, or in another region."""
    if not view.keys:
        yield ok("no vault names a KMS key: S3 and EBS encrypt with their own")
    for (vault, key_id), seen in view.keys.items():
        what, region = f"vault {vault}: key {key_id}", view.stage.s3_vaults[vault].region
        try:
            yield from _key(what, region, seen.value)
        except NotFound:
            yield failed(
                f"{what} does not exist in {region}", f"make it there, or name another key of {region}"
            )
        except FarshoreError as error:
            yield unseen(error)


def _key(what: str, region: str, key: Key) -> Iterator[Finding]:
    if key.region != region:
        yield failed(f"{what} is in {key.region}, and the vault in {region}", f"name a key of {region}")
    elif key.state == "PendingDeletion":
        yield failed(
            f"{what} is being deleted: with it goes all that it has encrypted",
            "aws kms cancel-key-deletion, then aws kms enable-key",
        )
    elif key.state != "Enabled":
        yield failed(f"{what} is {key.state}", "aws kms enable-key")
    elif key.usage != "ENCRYPT_DECRYPT":
        yield failed(f"{what} is for {key.usage}", "name a symmetric key that encrypts")
    else:
        yield ok(f"{what} is enabled")


def secrets_there(view: StageView) -> Iterator[Finding]:
    """Find secrets of off-site vaults that are not there or are being deleted."""
    with_secret = {
        name: config.credentials for name, config in view.stage.offsite_vaults.items() if config.credentials
    }
    if not with_secret:
        yield ok("no vault has credentials in Secrets Manager")
    for name, secret in with_secret.items():
        what = f"vault {name}: secret {secret}"
        try:
            if at := view.secrets[name].value.deleted_at:
                yield failed(
                    f"{what} is being deleted, since {moment(at)}", "aws secretsmanager restore-secret"
                )
            else:
                yield ok(f"{what} is there")
        except NotFound:
            yield failed(
                f"{what} does not exist in {view.stage.home}",
                "make it (its name begins with farshore/), or name another one in the vaults document",
            )
        except FarshoreError as error:
            yield unseen(error)


def vaults_usable(view: StageView) -> Iterator[Finding]:
    """Find vaults to which the worker could not write, or whose objects it could not read or delete."""
    probes, jobs = view.examined.value.probes, view.probes.value
    for name in view.stage.vaults:
        job = jobs.get(probes.get(name, ""))
        if job is None:
            yield unknown(f"vault {name}: no probe is remembered", ASK)
        else:
            yield from _probe(view, name, job)


def _probe(view: StageView, vault: str, job: AnyJob) -> Iterator[Finding]:
    age = view.now - job.updated_at
    if job.failure is not None:
        yield failed(
            f"vault {vault}: {job.failure.reason}",
            "check the bucket, its policy, its key, and the worker's rights; then POST /doctor again"
            if vault in view.stage.s3_vaults
            else "check the secret's values, the container and the provider; then POST /doctor again",
        )
    elif job.state is not JobState.COMPLETED:
        yield unknown(f"vault {vault}: {job.id} is under way: {job.reason}", "ask again in a minute")
    elif age > PROVEN_WITHIN:
        yield warning(f"vault {vault}: last probed {in_words(timedelta(days=age.days))} ago", ASK)
    else:
        yield ok(f"vault {vault}: {job.reason}, on {moment(job.updated_at)}")


# events


def events_arrive(view: StageView) -> Iterator[Finding]:
    """Find regions whose completion events do not reach the home region."""
    if not view.stage.away:
        yield ok("no other region sends events")
    trips = view.examined.value.trips
    for region in view.stage.away:
        yield from _trip(view, region, trips.get(region))


def _trip(view: StageView, region: str, trip: RoundTrip | None) -> Iterator[Finding]:
    what = f"an event of {region}"
    if trip is None:
        yield unknown(f"{what} was never sent home", ASK)
    elif trip.refused:
        yield failed(
            f"{what} could not be sent: {trip.refused}",
            "allow the role of the api function events:PutEvents there, and see that the region is enabled",
        )
    elif trip.took is not None and view.now - trip.sent_at > PROVEN_WITHIN:
        yield warning(f"{what} last came home on {moment(trip.sent_at)}", ASK)
    elif trip.took is not None:
        yield ok(f"{what} was home in {trip.took.total_seconds():.1f} s, on {moment(trip.sent_at)}")
    elif view.now - trip.sent_at < ARRIVES_WITHIN:
        yield unknown(f"{what} is under way since {trip.sent_at:%H:%M:%S} UTC", "ask again in a minute")
    else:
        yield failed(
            f"{what} of {moment(trip.sent_at)} has not come home: copies there are seen as late as jobs look",
            f"deploy dr-region.yaml in {region} with HomeRegion={view.stage.home}; look at the rule "
            "CompletionsToHome and at the dead letters of the events queue",
        )


def rules_enabled(view: StageView) -> Iterator[Finding]:
    """Find rules that are disabled, and what no rule leads to."""
    yield from _each({"the tick": view.tick_rules, **_queues_named(view.rules)}, _rules)


def _rules(target: str, rules: tuple[RuleState, ...]) -> Iterator[Finding]:
    names = [each.name for each in rules if not each.enabled]
    if not rules:
        yield failed(f"no rule leads to {target}", "deploy the home stack again")
    elif names:
        yield failed(f"{target}: rule {named(names)} is disabled", "aws events enable-rule --name ...")
    else:
        yield ok(f"{target}: {len(rules)} enabled")


def tick_runs(view: StageView) -> Iterator[Finding]:
    """Find whether ticks come, and succeed."""
    ticks = view.ticks.value
    if ticks.last_at is None or view.now - ticks.last_at > TICKS_WITHIN:
        last = f"the last was at {moment(ticks.last_at)}" if ticks.last_at else "none within half an hour"
        yield failed(
            f"ticks are missing, {last}: nothing that is due is opened",
            "ask again five minutes after a deployment; then look at the function Tick: throttled, or is its "
            "rule disabled?",
        )
    elif ticks.failed_at is not None:
        yield warning(
            f"the tick of {moment(ticks.failed_at)} failed", "the log of Tick names the part and the plan"
        )
    else:
        yield ok(f"the last tick began at {moment(ticks.last_at)}")


# queues


def _queues_named(of_queues: Mapping[str, Seen[Thing]]) -> dict[str, Seen[Thing]]:
    return {f"queue {name}": one for name, one in of_queues.items()}


def queues_flow(view: StageView) -> Iterator[Finding]:
    """Find queues that feed no function, and messages that wait too long."""
    yield from _each(_queues_named(view.feeds), _feeds)
    ages = view.ages.value
    for name in QUEUES:
        age, state = ages.get(name, timedelta(0)), view.queues[name].found
        if age > OLDEST_MESSAGE:
            minutes = timedelta(minutes=age // timedelta(minutes=1))
            yield warning(
                f"queue {name}: its oldest message waits for {in_words(minutes)}",
                "look at the function's log, throttles and concurrency",
            )
        elif state is not None:
            yield ok(f"{name} {state.waiting} waiting, {state.in_flight} in work, {state.delayed} later")


def _feeds(queue: str, feeds: tuple[SourceMapping, ...]) -> Iterator[Finding]:
    stopped = [each.state for each in feeds if not each.enabled]
    if not feeds or stopped:
        why = f"its event source mapping is {stopped[0]}" if stopped else "it has no event source mapping"
        yield failed(
            f"{queue} feeds no function: {why}",
            "aws lambda update-event-source-mapping --enabled" if stopped else "deploy the home stack again",
        )


def no_dead_letters(view: StageView) -> Iterator[Finding]:
    """Find messages that nothing could be done with."""
    dead = {f"{name}-dead": view.queues[f"{name}-dead"] for name in QUEUES}
    yield from _each(_queues_named(dead), _dead)


def _dead(queue: str, state: QueueState) -> Iterator[Finding]:
    if state.waiting:
        messages = "message" if state.waiting == 1 else "messages"
        yield warning(
            f"{queue}: {state.waiting} {messages} failed five times",
            "the function's log has the error; redrive them once its cause is gone",
        )
    else:
        yield ok(f"{queue}: empty")


# instances


def agents_online(view: StageView) -> Iterator[Finding]:
    """Find protected instances whose SSM agent could not run the scripts of their plans."""
    agents = view.agents.value
    if not agents.looked_at:
        yield ok("no plan runs a script on an instance that runs now")
        return
    bad = len(agents.offline) + len(agents.silent)
    say = failed if bad == agents.looked_at else warning
    of = f"of {agents.looked_at:,} protected instances"
    if agents.offline:
        yield say(
            f"{len(agents.offline):,} {of}: the SSM agent is offline on {named(agents.offline)}",
            "start the agent, or look at the instance's load and its way to SSM's endpoints",
        )
    if agents.silent:
        yield say(
            f"{len(agents.silent):,} {of}: no SSM agent ever registered on {named(agents.silent)}",
            "give it the agent, a role with AmazonSSMManagedInstanceCore and a way to SSM's endpoints",
        )
    if not bad:
        yield ok(f"the SSM agent is online on all {agents.looked_at:,} protected instances")


# quotas


def quotas_enough(view: StageView) -> Iterator[Finding]:
    """Find regions whose quotas of snapshots or of copies at once are too small."""
    for region, seen in view.quotas.items():
        try:
            quotas = seen.value
        except FarshoreError as error:
            yield unseen(error)
            continue
        if region in view.stage.away:
            yield from _copies(view.stage.copy_slots, region, quotas.get(COPIES))
        yield from _snapshots(view, region, quotas.get(SNAPSHOTS))


def _copies(slots: int, region: str, quota: int | None) -> Iterator[Finding]:
    if quota is None:
        yield unknown(f"{region}: Service Quotas does not say how many copies may run at once", "ask AWS")
    elif slots > quota:
        yield warning(
            f"{region}: CopySlots is {slots}, and the account's quota is {quota} copies at once: EC2 refuses "
            "the others, which are tried again",
            f"set CopySlots to {quota}, or have AWS Support raise the quota",
        )
    elif slots < quota:
        yield ok(f"{region}: {slots} copy slots; the quota is {quota}, so CopySlots may be raised to it")
    else:
        yield ok(f"{region}: {slots} copy slots, the account's quota")


def _snapshots(view: StageView, region: str, quota: int | None) -> Iterator[Finding]:
    try:
        counted = view.snapshots[region].value
    except FarshoreError as error:
        yield unseen(error)
        return
    used = f"{'' if counted.whole else 'more than '}{counted.number:,}"
    if quota is None:
        yield unknown(f"{region}: Service Quotas does not say how many snapshots there may be", "ask AWS")
    elif 100 * counted.number >= FULL_PERCENT * quota:
        yield warning(
            f"{region}: {used} of {quota:,} snapshots are used",
            f'have the quota "{SNAPSHOTS}" raised in Service Quotas, or shorten lifecycles',
        )
    elif not counted.whole:
        yield unknown(
            f"{region}: {used} of {quota:,} snapshots; the time for counting them was over",
            "POST /inventory counts all of them",
        )
    else:
        yield ok(f"{region}: {used} of {quota:,} snapshots")


def functions_may_run(view: StageView) -> Iterator[Finding]:
    """Find whether the account lets as many functions run at once as the queues may feed."""
    concurrency = view.concurrency.value
    limits = [each.most_at_once for seen in view.feeds.values() for each in seen.value]
    wanted = sum(each or concurrency.account for each in limits) + BESIDE_QUEUES
    has = f"{concurrency.unreserved:,} of the account's {concurrency.account:,} are free for any function"
    if concurrency.unreserved < wanted:
        yield warning(
            f"{wanted} functions of the stage may run at once, and {has}: under load the API and the tick "
            "are throttled",
            'have the quota "Concurrent executions" of Lambda raised in Service Quotas (a new account may '
            "have 10)",
        )
    else:
        yield ok(f"{wanted} functions of the stage may run at once; {has}")


# time


def clock_right(view: StageView) -> Iterator[Finding]:
    """Find whether the clock of the functions and AWS's agree."""
    ahead = view.clock.value.ahead
    apart, where = abs(ahead), "ahead of" if ahead > timedelta(0) else "behind"
    remedy = "report it to AWS, as nothing of yours sets it; watch for work done twice after a crash"
    if apart >= CLOCK_TOO_WRONG:
        yield failed(f"AWS's clock is {in_seconds(apart)} {where} the functions'", remedy)
    elif apart > CLOCK_SKEW:
        yield warning(f"AWS's clock is {in_seconds(apart)} {where} the functions'", remedy)
    else:
        yield ok(f"AWS's clock and the functions' agree within {int(CLOCK_SKEW.total_seconds())} s")


CHECKS: Mapping[str, tuple[Question, ...]] = {
    "identity": (who_it_is,),
    "regions": (regions_apart,),
    "buckets": (buckets_right,),
    "keys": (keys_usable,),
    "secrets": (secrets_there,),
    "vaults": (vaults_usable,),
    "events": (events_arrive,),
    "rules": (rules_enabled,),
    "tick": (tick_runs,),
    "queues": (queues_flow,),
    "dead letters": (no_dead_letters,),
    "agents": (agents_online,),
    "quotas": (quotas_enough,),
    "concurrency": (functions_may_run,),
    "clock": (clock_right,),
}


def examination(view: StageView) -> DoctorAnswer:
    """Return whether a stage can do its work, and each check."""
    checks = tuple(checked(name, questions, view) for name, questions in CHECKS.items())
    identity = view.identity.found
    return DoctorAnswer(
        deployment=view.stage.deployment,
        account=identity.account if identity else None,
        region=view.stage.region,
        examined_at=view.now,
        healthy=all(each.state is not CheckState.FAILED for each in checks),
        checks=checks,
    )
