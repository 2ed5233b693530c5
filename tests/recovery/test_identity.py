"""Where the identity of a service moves next. Pure."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from chalicelib.aws.ec2_network import ElasticIp, NetworkInterface
from chalicelib.aws.elbv2 import Target
from chalicelib.aws.route53 import ARecord
from chalicelib.jobs.codec import from_text, to_text
from chalicelib.jobs.decision import Fail, Wait
from chalicelib.plans.launches import DnsRecord, Identity
from chalicelib.recovery.identity import LOOK_AGAIN_AFTER, next_move, next_move_back, whereabouts
from chalicelib.recovery.identity_state import (
    AddressHolder,
    Associate,
    Attach,
    Deregister,
    Detach,
    Disassociate,
    IdentityProgress,
    IdentitySeen,
    InterfaceHolder,
    Part,
    PutRecord,
    Record,
    RecordHolder,
    Register,
    TargetHolders,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ZONE, OTHER_ZONE = "eu-central-1a", "eu-central-1b"
ENI, IP = "eni-00000001", "eipalloc-00000001"
GROUP = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/orders/0123456789abcdef"
DNS = DnsRecord(zone="Z1", name="orders.internal")
OLD, NEW, THIRD = "i-old", "i-new", "i-third"
ALL_RUN = frozenset({OLD, NEW, THIRD})
OLD_PRIMARY = NetworkInterface("eni-old", "in-use", ZONE, "10.0.0.1", "3.0.0.1", OLD, "attach-old", 0)
NEW_PRIMARY = NetworkInterface("eni-new", "in-use", ZONE, "10.0.0.2", "3.0.0.2", NEW, "attach-new", 0)
THIRD_PRIMARY = NetworkInterface("eni-third", "in-use", ZONE, "10.0.0.3", None, THIRD, "attach-third", 0)

ONLY_ENI = Identity(eni=ENI)
ONLY_IP = Identity(elastic_ip=IP)
ONLY_DNS = Identity(dns=DNS)
ONLY_GROUP = Identity(target_group=GROUP)
WHOLE = Identity(eni=ENI, elastic_ip=IP, dns=DNS, target_group=GROUP)

FROM_OLD = IdentityProgress(
    eni=InterfaceHolder(OLD, 1),
    elastic_ip=AddressHolder(OLD, "eni-old", "10.0.0.1"),
    dns=RecordHolder(("10.0.0.1",), 300, "10.0.0.2"),
    target_group=TargetHolders((Target(OLD, 5432),)),
)
FROM_NOBODY = IdentityProgress(
    eni=InterfaceHolder(), elastic_ip=AddressHolder(), dns=RecordHolder((), 0, "10.0.0.2"),
    target_group=TargetHolders(),
)  # fmt: skip


def eni(holder: str | None = None, status: str = "in-use", index: int = 1) -> NetworkInterface:
    """Return the identity's interface: with an instance, or free."""
    if holder is None:
        return NetworkInterface(ENI, "available", ZONE, "10.0.0.9")
    return NetworkInterface(ENI, status, ZONE, "10.0.0.9", None, holder, f"attach-{holder}", index)


def ip(interface: NetworkInterface | None = None) -> ElasticIp:
    """Return the identity's Elastic IP: with an interface, or free."""
    if interface is None:
        return ElasticIp(IP, "5.0.0.5")
    return ElasticIp(IP, "5.0.0.5", f"assoc-{interface.id}", interface.id, interface.private_address)


def record(*addresses: str, **more: Any) -> ARecord:
    return ARecord(addresses, 300, **more)


def seen(own: tuple[NetworkInterface, ...] = (NEW_PRIMARY,), **shown: Any) -> IdentitySeen:
    """Show AWS; unless something else is said, all parts are with the old instance, and all run."""
    interface = shown.pop("eni", eni(OLD))
    interfaces = {each.id: each for each in (OLD_PRIMARY, *own, THIRD_PRIMARY, interface) if each}
    if interface is not None and interface.instance_id == NEW:
        own = (*own, interface)
    found: dict[str, Any] = {
        "running": ALL_RUN,
        "elastic_ip": ip(OLD_PRIMARY),
        "record": record("10.0.0.1"),
        "targets": (Target(OLD, 5432),),
    }
    return IdentitySeen(own=own, interfaces=interfaces, **{**found, **shown})


ALL_MOVED = seen(
    eni=eni(NEW), elastic_ip=ip(NEW_PRIMARY), record=record("10.0.0.2"), targets=(Target(NEW, 5432),)
)


def forward(identity: Identity, shown: IdentitySeen, progress: IdentityProgress = FROM_OLD) -> Any:
    return next_move(identity, NEW, progress, shown, NOW)


def back(identity: Identity, shown: IdentitySeen, progress: IdentityProgress = FROM_OLD) -> Any:
    return next_move_back(identity, NEW, progress, shown, NOW)


def bare(step: Any) -> Any:
    """Return a move without its words, to compare what it does."""
    return replace(step, reason="") if step is not None else None


@pytest.mark.parametrize(
    ("identity", "shown", "expected"),
    [
        pytest.param(ONLY_ENI, seen(), Detach("attach-i-old", ""), id="an interface is detached first"),
        pytest.param(
            ONLY_ENI,
            seen(eni=eni(OLD, "detaching")),
            Wait(NOW + LOOK_AGAIN_AFTER, ""),
            id="its detaching is waited for",
        ),
        pytest.param(ONLY_ENI, seen(eni=eni()), Attach(ENI, NEW, 1, ""), id="a free interface is attached"),
        pytest.param(
            ONLY_ENI,
            seen(own=(NEW_PRIMARY, replace(NEW_PRIMARY, id="eni-b", device_index=1)), eni=eni()),
            Attach(ENI, NEW, 2, ""),
            id="a device index that is taken is left out",
        ),
        pytest.param(
            ONLY_ENI,
            seen(eni=eni(NEW, "attaching")),
            Wait(NOW + LOOK_AGAIN_AFTER, ""),
            id="its attaching is waited for",
        ),
        pytest.param(ONLY_ENI, seen(eni=eni(NEW)), None, id="an attached interface stays"),
        pytest.param(
            ONLY_IP,
            seen(),
            Associate(IP, "eni-new", None, ""),
            id="an address moves in one call",
        ),
        pytest.param(
            ONLY_IP, seen(elastic_ip=ip()), Associate(IP, "eni-new", None, ""), id="a free address moves, too"
        ),
        pytest.param(ONLY_IP, seen(elastic_ip=ip(NEW_PRIMARY)), None, id="an address that is there stays"),
        pytest.param(
            Identity(eni=ENI, elastic_ip=IP),
            seen(eni=eni(NEW), elastic_ip=ip(eni(NEW))),
            None,
            id="an address of the interface came with it",
        ),
        pytest.param(
            ONLY_DNS, seen(), PutRecord(DNS, ("10.0.0.2",), 60, ""), id="a record gets the private address"
        ),
        pytest.param(
            ONLY_DNS, seen(record=None), PutRecord(DNS, ("10.0.0.2",), 60, ""), id="a record is created"
        ),
        pytest.param(ONLY_DNS, seen(record=record("10.0.0.2")), None, id="a record that is right stays"),
        pytest.param(
            ONLY_DNS,
            seen(record=record("10.0.0.1", "10.0.0.2")),
            PutRecord(DNS, ("10.0.0.2",), 60, ""),
            id="a record loses all other addresses",
        ),
        pytest.param(
            ONLY_GROUP,
            seen(targets=(Target(OLD, 5432), Target(NEW, 5432))),
            Deregister(GROUP, (Target(OLD, 5432),), ""),
            id="the old target is deregistered first",
        ),
        pytest.param(
            ONLY_GROUP,
            seen(targets=()),
            Register(GROUP, (Target(NEW, 5432),), ""),
            id="the new target gets the port of the old one",
        ),
        pytest.param(ONLY_GROUP, seen(targets=(Target(NEW, 5432),)), None, id="one that is registered stays"),
    ],
)
def test_a_part_takes_its_next_step(identity: Identity, shown: IdentitySeen, expected: Any) -> None:
    assert bare(forward(identity, shown)) == expected


def test_a_first_target_is_registered_at_the_groups_own_port() -> None:
    assert bare(forward(ONLY_GROUP, seen(targets=()), FROM_NOBODY)) == Register(GROUP, (Target(NEW),), "")


def test_a_public_record_gets_the_elastic_ip_of_the_identity() -> None:
    public = DnsRecord(zone="Z1", name="orders.example.com", address="public")
    alone, with_ip = Identity(dns=public), Identity(dns=public, elastic_ip=IP)
    assert forward(alone, seen(elastic_ip=None)).addresses == ("3.0.0.2",)
    assert forward(with_ip, seen(elastic_ip=ip(NEW_PRIMARY))).addresses == ("5.0.0.5",)


@pytest.mark.parametrize("part", Part)
def test_who_has_a_part_is_recorded_before_it_is_moved(part: Part) -> None:
    identity = WHOLE.model_copy(update={other: None for other in Part if other != part})
    step = forward(identity, seen(), IdentityProgress())
    assert isinstance(step, Record)
    assert step.progress.touched == (part,)
    assert getattr(step.progress, part) == getattr(FROM_OLD, part)
    assert not isinstance(forward(identity, seen(), step.progress), Record)


@pytest.mark.parametrize("part", Part)
def test_a_part_that_the_instance_has_already_is_never_touched(part: Part) -> None:
    identity = WHOLE.model_copy(update={other: None for other in Part if other != part})
    assert forward(identity, ALL_MOVED, IdentityProgress()) is None
    assert back(identity, ALL_MOVED, IdentityProgress()) is None


def test_addresses_move_before_the_names_that_lead_to_them() -> None:
    moved: dict[str, Any] = {"eni": eni()}
    steps = [forward(WHOLE, seen(**moved)).part]
    for change in (
        {"eni": eni(NEW)},
        {"elastic_ip": ip(NEW_PRIMARY)},
        {"record": record("10.0.0.2")},
    ):
        moved |= change
        steps.append(forward(WHOLE, seen(**moved)).part)
    assert steps == list(Part)
    assert forward(WHOLE, ALL_MOVED) is None


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        pytest.param(
            seen(running=frozenset({OLD})),
            "the identity cannot be moved to i-new, which does not run any more",
            id="the instance is gone",
        ),
        pytest.param(
            seen(eni=None),
            f"network interface {ENI} of the plan's identity does not exist here: create it, or change the "
            "plan",
            id="no such interface",
        ),
        pytest.param(
            seen(eni=replace(eni(OLD), availability_zone=OTHER_ZONE)),
            f"network interface {ENI} is in {OTHER_ZONE} and i-new in {ZONE}, and an interface cannot leave "
            f"its zone: start the service's instances in {OTHER_ZONE} only, or use elastic_ip or dns instead",
            id="another zone",
        ),
        pytest.param(
            seen(eni=eni(OLD, index=0)),
            f"network interface {ENI} is the primary one of i-old, which EC2 does not detach: name a "
            "secondary interface as identity.eni",
            id="a primary interface",
        ),
        pytest.param(
            seen(eni=replace(eni(OLD), instance_id=None)),
            f"network interface {ENI} is in use by an AWS service, not by an instance: name another one as "
            "identity.eni",
            id="an interface of a service",
        ),
        pytest.param(
            seen(elastic_ip=None),
            f"Elastic IP {IP} of the plan's identity does not exist here: create it, or change the plan",
            id="no such address",
        ),
        pytest.param(
            seen(record=None, zone_exists=False),
            "hosted zone Z1 of the plan's identity does not exist here: create it, or change the plan",
            id="no such zone",
        ),
        pytest.param(
            seen(record=record(simple=False)),
            "record orders.internal in Z1 is an alias or has a routing policy: name a simple A record as "
            "identity.dns",
            id="an alias",
        ),
        pytest.param(
            seen(targets=None),
            f"target group {GROUP} of the plan's identity does not exist here: create it, or change the plan",
            id="no such target group",
        ),
    ],
)
def test_nothing_moves_when_one_part_cannot(shown: IdentitySeen, said: str) -> None:
    assert forward(WHOLE, shown, IdentityProgress()) == Fail(said)


def test_a_public_record_needs_a_public_address() -> None:
    identity = Identity(dns=DnsRecord(zone="Z1", name="orders.example.com", address="public"))
    step = forward(identity, seen(own=(replace(NEW_PRIMARY, public_address=None),), elastic_ip=None))
    assert isinstance(step, Fail)
    assert "i-new has no public address for record orders.example.com" in step.reason


@pytest.mark.parametrize(
    ("identity", "shown", "expected"),
    [
        pytest.param(
            ONLY_ENI, seen(eni=eni(NEW)), Detach("attach-i-new", "", back=True), id="an interface is detached"
        ),
        pytest.param(
            ONLY_ENI, seen(eni=eni(NEW, "attaching")), Wait(NOW + LOOK_AGAIN_AFTER, ""), id="once attached"
        ),
        pytest.param(
            ONLY_ENI, seen(eni=eni(NEW, "detaching")), Wait(NOW + LOOK_AGAIN_AFTER, ""), id="and waited for"
        ),
        pytest.param(
            ONLY_ENI, seen(eni=eni()), Attach(ENI, OLD, 1, "", back=True), id="and attached where it was"
        ),
        pytest.param(ONLY_ENI, seen(eni=eni(OLD)), None, id="an interface that is back stays"),
        pytest.param(
            ONLY_IP, seen(elastic_ip=ip(NEW_PRIMARY)), Disassociate("assoc-eni-new", ""), id="an IP is freed"
        ),
        pytest.param(
            ONLY_IP,
            seen(elastic_ip=ip()),
            Associate(IP, "eni-old", "10.0.0.1", "", back=True),
            id="and associated with the very address it had",
        ),
        pytest.param(ONLY_IP, seen(), None, id="an IP that is back stays"),
        pytest.param(
            ONLY_DNS,
            seen(record=record("10.0.0.2")),
            PutRecord(DNS, ("10.0.0.1",), 300, "", back=True),
            id="a record gets back what it had",
        ),
        pytest.param(ONLY_DNS, seen(), None, id="a record that is back stays"),
        pytest.param(
            ONLY_GROUP,
            seen(targets=(Target(NEW, 5432),)),
            Deregister(GROUP, (Target(NEW, 5432),), "", back=True),
            id="a target is deregistered",
        ),
        pytest.param(
            ONLY_GROUP,
            seen(targets=()),
            Register(GROUP, (Target(OLD, 5432),), "", back=True),
            id="and the old one registered",
        ),
        pytest.param(ONLY_GROUP, seen(), None, id="a target that is back stays"),
    ],
)
def test_a_part_takes_its_next_step_back(identity: Identity, shown: IdentitySeen, expected: Any) -> None:
    assert bare(back(identity, shown)) == expected


def test_names_go_back_before_addresses() -> None:
    returned: dict[str, Any] = {
        "eni": eni(NEW),
        "elastic_ip": ip(NEW_PRIMARY),
        "record": record("10.0.0.2"),
        "targets": (Target(NEW, 5432),),
    }
    steps = [back(WHOLE, seen(**returned)).part]
    for change in (
        {"targets": (Target(OLD, 5432),)},
        {"record": record("10.0.0.1")},
        {"elastic_ip": ip(OLD_PRIMARY)},
    ):
        returned |= change
        steps.append(back(WHOLE, seen(**returned)).part)
    assert steps == list(reversed(Part))
    assert back(WHOLE, seen()) is None


def test_nothing_is_taken_from_an_instance_that_has_it_meanwhile() -> None:
    third = seen(
        eni=eni(THIRD),
        elastic_ip=ip(THIRD_PRIMARY),
        record=record("10.0.0.3"),
        targets=(Target(THIRD, 5432),),
    )
    assert back(WHOLE, third) is None
    assert back(ONLY_ENI, seen(eni=eni(THIRD, "attaching"))) is None


def test_a_target_group_that_a_third_instance_shares_only_loses_the_new_one() -> None:
    shared = seen(targets=(Target(NEW, 5432), Target(THIRD, 5432)))
    assert bare(back(ONLY_GROUP, shared)) == Deregister(GROUP, (Target(NEW, 5432),), "", back=True)


def test_nothing_is_given_to_an_instance_that_does_not_run() -> None:
    free = seen(running=frozenset({NEW}), eni=eni(), elastic_ip=ip(), targets=())
    assert back(WHOLE, free) is None
    assert whereabouts(WHOLE, FROM_OLD, free) == (
        f"network interface {ENI} is free, because i-old, which had it, does not run any more",
        f"Elastic IP {IP} is free, because i-old, which had it, does not run any more",
        "record orders.internal has 10.0.0.1",
        "target group orders has no target",
    )


def test_what_was_free_is_freed_again() -> None:
    assert back(ONLY_IP, seen(elastic_ip=ip(NEW_PRIMARY)), FROM_NOBODY) is not None
    assert back(ONLY_ENI, seen(eni=eni(NEW)), FROM_NOBODY) is not None
    assert back(WHOLE, seen(eni=eni(), elastic_ip=ip(), targets=()), FROM_NOBODY) is None


def test_a_record_that_did_not_exist_before_stays_and_is_named() -> None:
    moved = seen(record=record("10.0.0.2"))
    assert back(ONLY_DNS, moved, FROM_NOBODY) is None
    assert whereabouts(ONLY_DNS, FROM_NOBODY, moved) == (
        "record orders.internal has 10.0.0.2 and did not exist before",
    )


def test_an_address_goes_back_to_an_interface_without_an_instance() -> None:
    before = IdentityProgress(elastic_ip=AddressHolder(None, ENI, "10.0.0.9"))
    step = back(ONLY_IP, seen(eni=eni(), elastic_ip=ip()), before)
    assert bare(step) == Associate(IP, ENI, "10.0.0.9", "", back=True)


def test_a_part_that_could_not_be_given_back_is_left_and_named() -> None:
    moved = seen(elastic_ip=ip(NEW_PRIMARY), targets=(Target(NEW, 5432),))
    stuck = replace(FROM_OLD, not_returned={Part.TARGET_GROUP: "no such target group"})
    identity = Identity(elastic_ip=IP, target_group=GROUP)
    assert back(identity, moved, stuck).part == Part.ELASTIC_IP
    assert whereabouts(identity, stuck, moved) == (
        f"Elastic IP {IP} is with i-new",
        "target group orders has i-new; giving it back failed: no such target group",
    )


def test_parts_that_are_gone_do_not_keep_the_others_from_going_back() -> None:
    gone = seen(eni=None, elastic_ip=None, record=None, zone_exists=False, targets=(Target(NEW, 5432),))
    assert back(WHOLE, gone).part == Part.TARGET_GROUP
    assert back(WHOLE, replace(gone, targets=None)) is None


def test_reasons_name_the_part_the_holder_and_the_instance() -> None:
    reasons = [forward(each, seen()).reason for each in (ONLY_ENI, ONLY_IP, ONLY_DNS, ONLY_GROUP)]
    assert reasons == [
        f"detaching network interface {ENI} from i-old",
        "associating Elastic IP 5.0.0.5 with i-new; i-old has it",
        "pointing record orders.internal to 10.0.0.2 of i-new; it has 10.0.0.1",
        "deregistering i-old from target group orders",
    ]


def test_progress_is_stored_and_read() -> None:
    kept = replace(FROM_OLD, dns_change="C1", not_returned={Part.ENI: "why"})
    assert from_text(IdentityProgress, to_text(kept)) == kept
    assert from_text(IdentityProgress, to_text(IdentityProgress())) == IdentityProgress()
    assert kept.instances == {OLD}
