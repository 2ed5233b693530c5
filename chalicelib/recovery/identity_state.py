"""The values that moving an identity works with: its parts, their holders before and now, the calls. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from chalicelib.aws.ec2_network import PRIMARY_INDEX, ElasticIp, NetworkInterface
from chalicelib.aws.elbv2 import Target
from chalicelib.aws.route53 import ARecord
from chalicelib.plans.launches import DnsRecord


class Part(StrEnum):
    """A part of an identity, by its key in the plan; in the order in which they are moved."""

    ENI = "eni"
    ELASTIC_IP = "elastic_ip"
    DNS = "dns"
    TARGET_GROUP = "target_group"


@dataclass(frozen=True, slots=True)
class InterfaceHolder:
    """Who had the network interface: the instance, and the device index there. None: it was free."""

    instance_id: str | None = None
    device_index: int | None = None


@dataclass(frozen=True, slots=True)
class AddressHolder:
    """Who had the Elastic IP: an interface, at one of its addresses, and its instance. None: it was free."""

    instance_id: str | None = None
    interface_id: str | None = None
    private_address: str | None = None


@dataclass(frozen=True, slots=True)
class RecordHolder:
    """What the record had, nothing if there was none; and the new instance's address that it gets."""

    addresses: tuple[str, ...]
    ttl_seconds: int
    moved_to: str


@dataclass(frozen=True, slots=True)
class TargetHolders:
    """What the target group had."""

    targets: tuple[Target, ...] = ()


@dataclass(frozen=True, slots=True)
class IdentityProgress:
    """Who had each part before a job began to move it; None: the job has not touched it.

    `dns_change` is the last change of the record, for GetChange. `not_returned` are the parts that could not
    be given back, each with why: they stay as they are.
    """

    eni: InterfaceHolder | None = None
    elastic_ip: AddressHolder | None = None
    dns: RecordHolder | None = None
    target_group: TargetHolders | None = None
    dns_change: str | None = None
    not_returned: Mapping[Part, str] = field(default_factory=dict)

    @property
    def touched(self) -> tuple[Part, ...]:
        """The parts that the job has begun to move, in order."""
        return tuple(part for part in Part if getattr(self, part) is not None)

    @property
    def instances(self) -> frozenset[str]:
        """The instances that had a part before."""
        holders = (self.eni, self.elastic_ip, *(self.target_group.targets if self.target_group else ()))
        return frozenset(each.instance_id for each in holders if each and each.instance_id)


@dataclass(frozen=True, slots=True)
class IdentitySeen:
    """What AWS shows now.

    `running` are those that run of the instance and the earlier holders. `own` are the interfaces attached to
    the instance, by device index. `interfaces`, by id, are the identity's own, the one that has the Elastic
    IP, and the one that had it. A part that the plan names and that does not exist is None; for the record
    that is right, unless its zone does not exist either.
    """

    running: frozenset[str]
    own: tuple[NetworkInterface, ...] = ()
    interfaces: Mapping[str, NetworkInterface] = field(default_factory=dict)
    elastic_ip: ElasticIp | None = None
    record: ARecord | None = None
    zone_exists: bool = True
    targets: tuple[Target, ...] | None = None

    @property
    def primary(self) -> NetworkInterface | None:
        """The instance's primary interface."""
        return next((each for each in self.own if each.device_index == PRIMARY_INDEX), None)

    @property
    def free_index(self) -> int:
        """The first device index after the primary one that no interface of the instance has."""
        used = {each.device_index for each in self.own}
        return next(index for index in range(1, len(used) + 2) if index not in used)

    @property
    def has_elastic_ip(self) -> bool:
        """Whether the instance has the Elastic IP, on whichever of its interfaces."""
        interface = self.elastic_ip.interface_id if self.elastic_ip else None
        return interface is not None and interface in {each.id for each in self.own}

    @property
    def address_holder(self) -> AddressHolder:
        """Who has the Elastic IP now."""
        address = self.elastic_ip
        if address is None or address.interface_id is None:
            return AddressHolder()
        return AddressHolder(
            self.instance_of(address.interface_id), address.interface_id, address.private_address
        )

    def instance_of(self, interface_id: str | None) -> str | None:
        """Return the instance that an interface is attached to."""
        interface = self.interfaces.get(interface_id or "")
        return interface.instance_id if interface else None


@dataclass(frozen=True, slots=True)
class Record:
    """Record who has a part, before it is moved: `progress` has it. No call is made."""

    progress: IdentityProgress
    reason: str


@dataclass(frozen=True, slots=True)
class Detach:
    """Begin to detach the network interface."""

    attachment_id: str
    reason: str
    back: bool = False
    part = Part.ENI


@dataclass(frozen=True, slots=True)
class Attach:
    """Begin to attach the network interface, which is free."""

    interface_id: str
    instance_id: str
    device_index: int
    reason: str
    back: bool = False
    part = Part.ENI


@dataclass(frozen=True, slots=True)
class Associate:
    """Associate the Elastic IP with an interface; going `back` only if it is free."""

    allocation_id: str
    interface_id: str
    private_address: str | None
    reason: str
    back: bool = False
    part = Part.ELASTIC_IP


@dataclass(frozen=True, slots=True)
class Disassociate:
    """Free the Elastic IP from one association, on its way back."""

    association_id: str
    reason: str
    back = True
    part = Part.ELASTIC_IP


@dataclass(frozen=True, slots=True)
class PutRecord:
    """Write the record."""

    dns: DnsRecord
    addresses: tuple[str, ...]
    ttl_seconds: int
    reason: str
    back: bool = False
    part = Part.DNS


@dataclass(frozen=True, slots=True)
class Deregister:
    """Deregister targets."""

    group: str
    targets: tuple[Target, ...]
    reason: str
    back: bool = False
    part = Part.TARGET_GROUP


@dataclass(frozen=True, slots=True)
class Register:
    """Register targets."""

    group: str
    targets: tuple[Target, ...]
    reason: str
    back: bool = False
    part = Part.TARGET_GROUP


Call = Detach | Attach | Associate | Disassociate | PutRecord | Deregister | Register
Move = Record | Call
