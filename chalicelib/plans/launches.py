"""What a plan does when an instance of it starts, and before one goes; and what names and addresses lead to
the instance that a service was restored onto."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field

from chalicelib.plans.declared import Declared, Fault, Maybe, worded
from chalicelib.plans.durations import Duration
from chalicelib.plans.values import Name, Names, Script

# https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_PutLifecycleHook.html
HookName = Annotated[
    str,
    Field(min_length=1, max_length=255, pattern=r"^[A-Za-z0-9\-_/]+$", examples=["orders-launch"]),
    worded("the name of a lifecycle hook: 1 to 255 letters, digits, - _ and /", title="lifecycle hook"),
]
_ONE_OF = ("restore", "backup", "script")


class OnLaunch(Declared):
    """What is done with an instance that starts for the first time, once its SSM agent answers."""

    restore: Annotated[
        Maybe[Name],
        Field(
            description="the rule whose newest good point of the instance's service is restored onto it, "
            "with the rule's `restore` and `verify` scripts; or, instead:"
        ),
    ] = None
    backup: Annotated[
        Maybe[Name], Field(description="the rule that backs the service up for the first time; or:")
    ] = None
    script: Annotated[
        Maybe[Script], Field(description="a script that configures the instance: `SCRIPT <service>`")
    ] = None
    hook: Annotated[
        Maybe[HookName],
        Field(
            description="the lifecycle hook of its Auto Scaling group, for the transition "
            "`autoscaling:EC2_INSTANCE_LAUNCHING`: the instance is kept out of service until this is done. "
            "Without one, whatever instance of the plan starts is meant"
        ),
    ] = None
    on_failure: Annotated[
        Literal["continue", "abandon"],
        Field(
            description="what the group is told when it fails: `abandon` has it replace the instance; only "
            "beside `hook`"
        ),
    ] = "continue"
    required: Annotated[
        bool,
        Field(
            description="whether the launch is abandoned where there is no point to restore yet; else the "
            "instance starts empty"
        ),
    ] = False
    timeout: Annotated[
        timedelta,
        Duration(timedelta(minutes=2), timedelta(hours=47)),
        Field(description="how long all of it may take; never longer than the hook lets the instance wait"),
    ] = timedelta(hours=1)

    @classmethod
    def ties(cls, given: Mapping[str, Any], context: Any) -> Iterator[Fault]:
        """Yield that not just one thing is to be done, and keys that only count beside another."""
        there = [key for key in _ONE_OF if given.get(key) is not None]
        if len(there) != 1:
            yield (), "exactly one of restore, backup and script"
        if given.get("on_failure") == "abandon" and "hook" not in given:
            yield ("on_failure",), "continue: without a hook no group waits to be told; name the hook, too"
        if given.get("required") is True and "restore" not in given:
            yield ("required",), "only beside restore: leave it out"


class OnTerminate(Declared):
    """What is backed up before an instance goes."""

    backup: Annotated[
        Names,
        Field(description="the rule, or the rules, that back its service up once more", examples=["nightly"]),
    ]
    hook: Annotated[
        Maybe[HookName],
        Field(
            description="the lifecycle hook of its Auto Scaling group, for the transition "
            "`autoscaling:EC2_INSTANCE_TERMINATING`: the instance is kept running until the backups are "
            "made. Without one, a backup begins on a spot interruption, a rebalance recommendation or a stop "
            "(then of snapshot rules alone), and is made as far as the time allows"
        ),
    ] = None
    timeout: Annotated[
        timedelta,
        Duration(timedelta(minutes=1), timedelta(hours=47)),
        Field(description="how long the instance is kept for it at most; then it goes, whatever is made"),
    ] = timedelta(minutes=15)


class DnsRecord(Declared):
    """A record of Route 53 that has the instance's address."""

    zone: Annotated[
        str,
        Field(pattern=r"^[A-Z0-9]{1,32}$", examples=["Z0123456789ABCDEFGHIJ"], description="the hosted zone"),
        worded("the id of a hosted zone", title="hosted zone id"),
    ]
    name: Annotated[
        str,
        Field(
            min_length=1,
            max_length=255,
            pattern=r"^[A-Za-z0-9_*-]+(\.[A-Za-z0-9_-]+)+\.?$",
            examples=["orders.example.internal"],
            description="the record's name, an `A` record",
        ),
        worded("a domain name", title="domain name"),
    ]
    address: Annotated[
        Literal["private", "public"], Field(description="which of the instance's IPv4 addresses it has")
    ] = "private"
    ttl: Annotated[int, Field(ge=1, le=86_400, title="seconds", description="how long it may be cached")] = 60


class Identity(Declared):
    """What leads clients to the service: moved to the instance that it was restored onto, once verified."""

    elastic_ip: Annotated[
        Maybe[str],
        Field(
            pattern=r"^eipalloc-[0-9a-f]{8,17}$",
            examples=["eipalloc-0123456789abcdef0"],
            description="an Elastic IP address, by its allocation",
        ),
        worded("the allocation of an Elastic IP", title="allocation id"),
    ] = None
    eni: Annotated[
        Maybe[str],
        Field(
            pattern=r"^eni-[0-9a-f]{8,17}$",
            examples=["eni-0123456789abcdef0"],
            description="a network interface that is attached as the second one; in the instance's zone",
        ),
        worded("a network interface", title="network interface id"),
    ] = None
    dns: Annotated[
        Maybe[DnsRecord],
        Field(
            description="a record of Route 53",
            examples=[{"zone": "Z0123456789ABCDEFGHIJ", "name": "orders.example.internal"}],
        ),
    ] = None
    target_group: Annotated[
        Maybe[str],
        Field(
            pattern=r"^arn:aws[a-z-]*:elasticloadbalancing:[a-z0-9-]+:[0-9]{12}:targetgroup/[A-Za-z0-9-]+/[0-9a-f]{16}$",
            examples=[
                "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/orders/0123456789abcdef"
            ],
            description="a target group whose targets are instances; the one before is deregistered",
        ),
        worded("the ARN of a target group", title="target group ARN"),
    ] = None

    @classmethod
    def ties(cls, given: Mapping[str, Any], context: Any) -> Iterator[Fault]:
        """Yield that nothing is named."""
        if not given:
            yield (), "at least one of elastic_ip, eni, dns and target_group"


def launch_faults(given: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield what is wrong with `on_launch`, `on_terminate` and `identity` beside the rules of a plan."""
    rules = {
        rule["name"]: rule
        for rule in _listed(given.get("rules"))
        if isinstance(rule, Mapping) and isinstance(rule.get("name"), str)
    }
    launch, terminate = given.get("on_launch"), given.get("on_terminate")
    if isinstance(launch, Mapping):
        for key in ("restore", "backup"):
            yield from _unknown(launch.get(key), ("on_launch", key), rules)
        rule = rules.get(launch["restore"]) if isinstance(launch.get("restore"), str) else None
        if rule is not None and not rule.get("restore"):
            yield ("on_launch", "restore"), "a rule with a `restore` script, which puts the data in its place"
    if isinstance(terminate, Mapping):
        wanted = terminate.get("backup")
        yield from _unknown(wanted, ("on_terminate", "backup"), rules)
        for number, name in enumerate(_listed(wanted)):
            yield from _unknown(name, ("on_terminate", "backup", number), rules)
    if given.get("identity") is not None:
        if not (isinstance(launch, Mapping) and launch.get("restore")):
            yield ("identity",), "only beside on_launch.restore: it moves when a restore was verified"
        if isinstance(given.get("service"), Mapping):
            yield ("identity",), "one service: those named by a tag would all have the same identity"


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else ()


def _unknown(name: Any, place: tuple[str | int, ...], rules: Mapping[str, Any]) -> Iterator[Fault]:
    if isinstance(name, str) and name not in rules:
        yield place, f"a rule of this plan: {', '.join(rules) or 'there is none'}"
