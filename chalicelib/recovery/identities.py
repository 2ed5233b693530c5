"""Looks at the identity of a service in AWS, and makes the calls that `identity` decides."""

from dataclasses import dataclass, replace

from chalicelib.aws.ec2 import Ec2
from chalicelib.aws.ec2_network import Ec2Network
from chalicelib.aws.elbv2 import Target, TargetGroups
from chalicelib.aws.route53 import ARecord, Route53
from chalicelib.errors import NotFound, Permanent
from chalicelib.plans.launches import DnsRecord, Identity
from chalicelib.recovery.identity_state import (
    Associate,
    Attach,
    Call,
    Deregister,
    Detach,
    Disassociate,
    IdentityProgress,
    IdentitySeen,
    Move,
    PutRecord,
    Record,
    Register,
)


@dataclass(frozen=True, slots=True)
class Identities:
    """Observes and moves identities; all but Route 53 in the home region."""

    ec2: Ec2
    network: Ec2Network
    route53: Route53
    target_groups: TargetGroups

    def observe(self, identity: Identity, instance_id: str, progress: IdentityProgress) -> IdentitySeen:
        """Look at the instance, at each part that the plan names, and at those who had them before.

        What the plan names and does not exist is no error: the other parts can still be given back.
        """
        elastic_ip = self.network.elastic_ip(identity.elastic_ip) if identity.elastic_ip else None
        record, zone_exists = self._record(identity.dns)
        instances = self.ec2.instances_by_id(sorted({instance_id, *progress.instances}))
        interfaces = {
            identity.eni,
            elastic_ip.interface_id if elastic_ip else None,
            progress.elastic_ip.interface_id if progress.elastic_ip else None,
        }
        return IdentitySeen(
            running=frozenset(each.id for each in instances if each.state == "running"),
            own=self.network.interfaces_of(instance_id),
            interfaces=self.network.interfaces(sorted(filter(None, interfaces))),
            elastic_ip=elastic_ip,
            record=record,
            zone_exists=zone_exists,
            targets=self._targets(identity.target_group),
        )

    def act(self, move: Move, progress: IdentityProgress) -> IdentityProgress:
        """Make one call; return the progress to store.

        Going back, a call that will never succeed ends its part only, so that the others are given back.

        Raises:
            FarshoreError: the call failed.
        """
        if isinstance(move, Record):
            return move.progress
        try:
            change = self._call(move)
        except Permanent as error:
            if not move.back:
                raise
            return replace(progress, not_returned={**progress.not_returned, move.part: str(error)})
        return replace(progress, dns_change=change) if change else progress

    def _call(self, move: Call) -> str | None:
        match move:
            case Detach():
                self.network.detach(move.attachment_id)
            case Attach():
                self.network.attach(move.interface_id, move.instance_id, move.device_index)
            case Associate():
                self.network.associate(
                    move.allocation_id, move.interface_id, move.private_address, takes_over=not move.back
                )
            case Disassociate():
                self.network.disassociate(move.association_id)
            case PutRecord(dns=dns):
                return self.route53.upsert(dns.zone, dns.name, move.addresses, move.ttl_seconds)
            case Deregister():
                self.target_groups.deregister(move.group, move.targets)
            case Register():
                self.target_groups.register(move.group, move.targets)
        return None

    def _record(self, dns: DnsRecord | None) -> tuple[ARecord | None, bool]:
        """Return the record, and whether its zone exists."""
        try:
            return self.route53.a_record(dns.zone, dns.name) if dns else None, True
        except NotFound:
            return None, False

    def _targets(self, group: str | None) -> tuple[Target, ...] | None:
        try:
            return self.target_groups.targets(group) if group else None
        except NotFound:
            return None
