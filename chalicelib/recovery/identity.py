"""Decides how the identity of a service, what leads clients to it, moves to the instance that it was restored
onto, and back if the launch fails after that. Pure.

The parts go in the order of `Part`, and back in the reverse one, so that addresses are in place before names
lead to them. Every call is decided from what AWS shows now, so that it does not matter where a job was
interrupted. A job decides here while it holds `lock_of_identity`, and stores the progress that
`Identities.act` returns.

Invariants: who had a part is recorded before it is moved. Two instances never have a part: where AWS has no
call that moves it in one step, its holder is released first. Going back takes nothing from an instance that
has got the part meanwhile.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from chalicelib.aws.ec2_network import PRIMARY_INDEX, NetworkInterface
from chalicelib.aws.elbv2 import Target
from chalicelib.aws.route53 import ARecord
from chalicelib.jobs.decision import Fail, Wait
from chalicelib.plans.launches import DnsRecord, Identity
from chalicelib.recovery.identity_state import (
    AddressHolder,
    Associate,
    Attach,
    Call,
    Deregister,
    Detach,
    Disassociate,
    IdentityProgress,
    IdentitySeen,
    InterfaceHolder,
    Move,
    Part,
    PutRecord,
    Record,
    RecordHolder,
    Register,
    TargetHolders,
)

# EC2 sends no event when an interface has been attached or detached; either takes seconds.
LOOK_AGAIN_AFTER = timedelta(seconds=10)
_IN_MOTION = ("attaching", "detaching")


@dataclass(frozen=True, slots=True)
class _Case:
    """What one step is decided from."""

    identity: Identity
    instance_id: str
    progress: IdentityProgress
    seen: IdentitySeen
    now: datetime

    @property
    def group(self) -> str:
        """The target group's ARN."""
        return self.identity.target_group or ""

    @property
    def interface(self) -> NetworkInterface | None:
        """The identity's network interface."""
        return self.seen.interfaces.get(self.identity.eni or "")

    @property
    def address(self) -> str | None:
        """The address that the record is to have; an Elastic IP of the identity is the public one."""
        seen = self.seen
        if self.identity.dns is None or seen.primary is None:
            return None
        if self.identity.dns.address == "private":
            return seen.primary.private_address
        return seen.elastic_ip.public_address if seen.elastic_ip else seen.primary.public_address


def next_move(
    identity: Identity, instance_id: str, progress: IdentityProgress, seen: IdentitySeen, now: datetime
) -> Move | Wait | Fail | None:
    """Return the next call that moves the identity to an instance; None when the instance has all of it.

    As soon as one part cannot be moved to this instance no other is: a `Fail` says what stands in the way and
    what to do about it.
    """
    case = _Case(identity, instance_id, progress, seen, now)
    for obstacle in _obstacles(case):
        return Fail(obstacle)
    for part in _named_by(identity):
        step = _FORWARD[part](case)
        if step is None:
            continue
        if isinstance(step, Wait) or part in progress.touched:
            return step
        return Record(_noting(part, case), f"{step.reason}: recording first who has it")
    return None


def next_move_back(
    identity: Identity, instance_id: str, progress: IdentityProgress, seen: IdentitySeen, now: datetime
) -> Move | Wait | None:
    """Return the next call that gives back what a job took; None when there is nothing more to give back.

    A part that the instance has is released, and given to its earlier holder if that still runs; else it
    stays free. A part that another instance has got meanwhile is left there. `whereabouts` says how it ended.
    """
    case = _Case(identity, instance_id, progress, seen, now)
    for part in reversed(_named_by(identity)):
        if part in progress.touched and part not in progress.not_returned:
            step = _BACK[part](case)
            if step is not None:
                return step
    return None


def whereabouts(identity: Identity, progress: IdentityProgress, seen: IdentitySeen) -> tuple[str, ...]:
    """Return a clause for each part that a job touched: who has it now, and why it was not given back."""
    return tuple(
        f"{_name(part, identity)} {_where(part, identity, progress, seen)}"
        for part in _named_by(identity)
        if part in progress.touched
    )


def _named_by(identity: Identity) -> tuple[Part, ...]:
    return tuple(part for part in Part if getattr(identity, part) is not None)


def _obstacles(case: _Case) -> Iterator[str]:
    """Yield what will keep a part from being moved to the instance, each with what to do about it."""
    identity, seen = case.identity, case.seen
    if case.instance_id not in seen.running or seen.primary is None:
        yield f"the identity cannot be moved to {case.instance_id}, which does not run any more"
        return
    if identity.eni is not None:
        yield from _interface_obstacles(case, seen.primary.availability_zone)
    if identity.elastic_ip is not None and seen.elastic_ip is None:
        yield _missing(_name(Part.ELASTIC_IP, identity))
    if identity.dns is not None:
        yield from _record_obstacles(case, identity.dns)
    if identity.target_group is not None and seen.targets is None:
        yield _missing(f"target group {identity.target_group}")


def _interface_obstacles(case: _Case, zone: str) -> Iterator[str]:
    interface, name = case.interface, _name(Part.ENI, case.identity)
    if interface is None:
        yield _missing(name)
    elif interface.availability_zone != zone:
        yield (
            f"{name} is in {interface.availability_zone} and {case.instance_id} in {zone}, and an interface "
            f"cannot leave its zone: start the service's instances in {interface.availability_zone} only, or "
            "use elastic_ip or dns instead"
        )
    elif interface.instance_id not in (None, case.instance_id) and interface.device_index == PRIMARY_INDEX:
        yield (
            f"{name} is the primary one of {interface.instance_id}, which EC2 does not detach: name a "
            "secondary interface as identity.eni"
        )
    elif interface.attachment_id and interface.instance_id is None:
        yield f"{name} is in use by an AWS service, not by an instance: name another one as identity.eni"


def _record_obstacles(case: _Case, dns: DnsRecord) -> Iterator[str]:
    if not case.seen.zone_exists:
        yield _missing(f"hosted zone {dns.zone}")
    elif case.seen.record is not None and not case.seen.record.simple:
        yield (
            f"record {dns.name} in {dns.zone} is an alias or has a routing policy: name a simple A record as "
            "identity.dns"
        )
    elif case.address is None:
        yield (
            f"{case.instance_id} has no public address for record {dns.name}: set identity.dns.address to "
            "private, add an elastic_ip, or start instances in a subnet that gives them public addresses"
        )


def _missing(name: str) -> str:
    return f"{name} of the plan's identity does not exist here: create it, or change the plan"


def _move_interface(case: _Case) -> Call | Wait | None:
    interface, to, index = case.interface, case.instance_id, case.seen.free_index
    if interface is None or (interface.instance_id == to and interface.status not in _IN_MOTION):
        return None
    if interface.status in _IN_MOTION:
        return _waiting_for(interface, case.now)
    if interface.attachment_id:
        return Detach(
            interface.attachment_id,
            f"detaching network interface {interface.id} from {interface.instance_id}",
        )
    reason = f"attaching network interface {interface.id} to {to} at device index {index}"
    return Attach(interface.id, to, index, reason)


def _move_address(case: _Case) -> Call | None:
    address, primary = case.seen.elastic_ip, case.seen.primary
    if address is None or primary is None or case.seen.has_elastic_ip:
        return None
    holder = case.seen.address_holder
    had = f"{holder.instance_id or holder.interface_id} has it" if holder.interface_id else "it is free"
    reason = f"associating Elastic IP {address.public_address} with {case.instance_id}; {had}"
    return Associate(address.allocation_id, primary.id, None, reason)


def _move_record(case: _Case) -> Call | None:
    dns, record = case.identity.dns, case.seen.record
    if dns is None or case.address is None or (record and record.addresses == (case.address,)):
        return None
    had = f"it has {_listed(record.addresses)}" if record else "there is none yet"
    reason = f"pointing record {dns.name} to {case.address} of {case.instance_id}; {had}"
    return PutRecord(dns, (case.address,), dns.ttl, reason)


def _move_target(case: _Case) -> Call | None:
    """Deregister all others, then register the instance, at the ports that the others had."""
    targets, group, to = case.seen.targets or (), case.group, case.instance_id
    others = tuple(each for each in targets if each.instance_id != to)
    if others:
        return Deregister(group, others, f"deregistering {_ids(others)} from {_short(group)}")
    if targets:
        return None
    before = case.progress.target_group or TargetHolders()
    own = tuple(dict.fromkeys(replace(each, instance_id=to) for each in before.targets)) or (Target(to),)
    return Register(group, own, f"registering {to} with {_short(group)}")


def _noting(part: Part, case: _Case) -> IdentityProgress:
    """Return the progress with who has a part now."""
    progress, seen = case.progress, case.seen
    match part:
        case Part.ENI:
            had = case.interface
            holder = InterfaceHolder(had.instance_id, had.device_index) if had else InterfaceHolder()
            return replace(progress, eni=holder)
        case Part.ELASTIC_IP:
            return replace(progress, elastic_ip=seen.address_holder)
        case Part.DNS:
            record = seen.record or ARecord((), 0)
            before = RecordHolder(record.addresses, record.ttl_seconds, moved_to=case.address or "")
            return replace(progress, dns=before)
        case Part.TARGET_GROUP:
            return replace(progress, target_group=TargetHolders(seen.targets or ()))


def _return_interface(case: _Case) -> Call | Wait | None:
    interface, before = case.interface, case.progress.eni
    if interface is None or before is None or interface.instance_id not in (None, case.instance_id):
        return None
    if interface.status in _IN_MOTION:
        return _waiting_for(interface, case.now)
    if interface.attachment_id:
        reason = f"detaching network interface {interface.id} from {case.instance_id}"
        return Detach(interface.attachment_id, reason, back=True)
    to, index = before.instance_id, before.device_index or 1
    if to is None or to not in case.seen.running:
        return None
    return Attach(interface.id, to, index, f"giving network interface {interface.id} back to {to}", back=True)


def _return_address(case: _Case) -> Call | None:
    seen, before = case.seen, case.progress.elastic_ip
    address = seen.elastic_ip
    if address is None or before is None:
        return None
    if address.association_id:
        if not seen.has_elastic_ip or address.interface_id == before.interface_id:
            return None
        reason = f"taking Elastic IP {address.public_address} from {case.instance_id}"
        return Disassociate(address.association_id, reason)
    interface = seen.interfaces.get(before.interface_id or "")
    if interface is None or interface.instance_id != before.instance_id:
        return None
    if before.instance_id is not None and before.instance_id not in seen.running:
        return None
    reason = f"giving Elastic IP {address.public_address} back to {before.instance_id or interface.id}"
    return Associate(address.allocation_id, interface.id, before.private_address, reason, back=True)


def _return_record(case: _Case) -> Call | None:
    """Write what the record had, while it still has what this job wrote.

    It is written even if the instance with that address is gone. The record must have some address, and it is
    better that it leads nowhere, as it did before, than to a launch that failed.
    """
    dns, before, record = case.identity.dns, case.progress.dns, case.seen.record
    if dns is None or before is None or record is None or not before.addresses:
        return None
    if record.addresses != (before.moved_to,):
        return None
    reason = f"pointing record {dns.name} back to {_listed(before.addresses)}"
    return PutRecord(dns, before.addresses, before.ttl_seconds, reason, back=True)


def _return_target(case: _Case) -> Call | None:
    group, targets, before = case.group, case.seen.targets, case.progress.target_group
    if targets is None or before is None:
        return None
    own = tuple(each for each in targets if each.instance_id == case.instance_id)
    if own:
        reason = f"deregistering {case.instance_id} from {_short(group)}"
        return Deregister(group, own, reason, back=True)
    running = tuple(each for each in before.targets if each.instance_id in case.seen.running)
    if targets or not running:
        return None
    reason = f"registering {_ids(running)} with {_short(group)} again"
    return Register(group, running, reason, back=True)


_FORWARD: Mapping[Part, Callable[[_Case], Call | Wait | None]] = {
    Part.ENI: _move_interface,
    Part.ELASTIC_IP: _move_address,
    Part.DNS: _move_record,
    Part.TARGET_GROUP: _move_target,
}
_BACK: Mapping[Part, Callable[[_Case], Call | Wait | None]] = {
    Part.ENI: _return_interface,
    Part.ELASTIC_IP: _return_address,
    Part.DNS: _return_record,
    Part.TARGET_GROUP: _return_target,
}


def _waiting_for(interface: NetworkInterface, now: datetime) -> Wait:
    way = "to" if interface.status == "attaching" else "from"
    where = f" {way} {interface.instance_id}" if interface.instance_id else ""
    reason = f"waiting for network interface {interface.id}, which is {interface.status}{where}"
    return Wait(now + LOOK_AGAIN_AFTER, reason)


def _where(part: Part, identity: Identity, progress: IdentityProgress, seen: IdentitySeen) -> str:
    said = _holder_said(part, identity, progress, seen)
    kept = progress.not_returned.get(part)
    return f"{said}; giving it back failed: {kept}" if kept else said


def _holder_said(part: Part, identity: Identity, progress: IdentityProgress, seen: IdentitySeen) -> str:
    match part:
        case Part.ENI:
            holder = seen.instance_of(identity.eni)
            return f"is with {holder}" if holder else f"is free{_gone(progress.eni, seen)}"
        case Part.ELASTIC_IP:
            now = seen.address_holder
            has = now.instance_id or now.interface_id
            return f"is with {has}" if has else f"is free{_gone(progress.elastic_ip, seen)}"
        case Part.DNS:
            new = " and did not exist before" if progress.dns and not progress.dns.addresses else ""
            return f"has {_listed(seen.record.addresses)}{new}" if seen.record else "does not exist"
        case Part.TARGET_GROUP:
            return f"has {_ids(seen.targets)}" if seen.targets else "has no target"


def _gone(before: InterfaceHolder | AddressHolder | None, seen: IdentitySeen) -> str:
    if before is None or before.instance_id is None or before.instance_id in seen.running:
        return ""
    return f", because {before.instance_id}, which had it, does not run any more"


def _name(part: Part, identity: Identity) -> str:
    match part:
        case Part.ENI:
            return f"network interface {identity.eni}"
        case Part.ELASTIC_IP:
            return f"Elastic IP {identity.elastic_ip}"
        case Part.DNS:
            return f"record {identity.dns.name if identity.dns else ''}"
        case Part.TARGET_GROUP:
            return _short(identity.target_group or "")


def _short(group: str) -> str:
    """Return a target group by the name in its ARN."""
    return f"target group {group.split('/')[-2]}"


def _ids(targets: Iterable[Target]) -> str:
    return _listed(each.instance_id for each in targets)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))
