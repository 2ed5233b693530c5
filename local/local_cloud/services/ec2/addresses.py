"""Elastic IP addresses: on one interface at a time, moved by associating them anew.

Associating moves an address that is elsewhere, and replaces one that the interface has, unless the request
says `AllowReassociation=false`. An instance that is pending takes none, one that is terminated gives its own
back.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AssociateAddress.html, API_ReleaseAddress.html

moto: keeps and describes addresses; refuses to move one by default, and leaves it on both instances.
"""

from collections.abc import Mapping
from typing import Any

from moto.ec2.models.elastic_ip_addresses import ElasticAddress
from moto.ec2.models.elastic_network_interfaces import NetworkInterface
from moto.ec2.models.instances import Instance

from local_cloud.call import AwsError, Call, Handler, PassOn
from local_cloud.services.ec2.instance_listing import instances_in
from local_cloud.services.ec2.world import Region


class Addresses:
    """The Elastic IP addresses of every account and region."""

    def handlers(self) -> Mapping[str, Handler]:
        """Return the operations done here."""
        return {"AssociateAddress": self.associate, "ReleaseAddress": self.release}

    def associate(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        """Give an address to an instance's first interface, or to an interface."""
        region, params = Region.of(call), call.params
        address = _address(region, params)
        instance, interface = _owner(region, params)
        may_move = params.get("AllowReassociation", True)
        if address.eni is interface:
            return {"AssociationId": address.association_id}
        others = [each for each in region.backend.addresses if each.eni is interface]
        if not may_move and (address.eni or others):
            taken = address.allocation_id if address.eni else interface.id
            by = address.association_id or others[0].association_id
            raise AwsError(
                "Resource.AlreadyAssociated",
                f"resource {taken} is already associated with associate-id {by}",
            )
        for each in (*others, *([address] if address.eni else ())):
            region.backend.disassociate_address(address=each.public_ip)
        region.backend.associate_address(
            instance=instance, eni=interface, address=address.public_ip, reassociate=True
        )
        return {"AssociationId": address.association_id}

    def release(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        """Give an address back that nothing uses."""
        region = Region.of(call)
        address = _address(region, call.params)
        if address.eni:
            raise AwsError("InvalidIPAddress.InUse", f"Address {address.public_ip} is in use.")
        region.backend.release_address(address=address.public_ip)
        return {}

    def instance_ended(self, region: Region, instance: Instance) -> None:
        """Take the addresses from a terminated instance."""
        for address in list(region.backend.addresses):
            if address.eni and address.eni in instance.nics.values():
                region.backend.disassociate_address(address=address.public_ip)


def _address(region: Region, params: Mapping[str, Any]) -> ElasticAddress:
    """Return the address that a call means."""
    if allocation_id := params.get("AllocationId"):
        found = [each for each in region.backend.addresses if each.allocation_id == allocation_id]
        if not found:
            raise AwsError(
                "InvalidAllocationID.NotFound", f"The allocation ID '{allocation_id}' does not exist"
            )
        return found[0]
    if public_ip := params.get("PublicIp"):
        return region.backend.address_by_ip([public_ip])[0]
    raise AwsError("MissingParameter", "Either public IP or allocation id must be specified")


def _owner(region: Region, params: Mapping[str, Any]) -> tuple[Instance | None, NetworkInterface]:
    """Return the interface that an address is for, and the instance that it is attached to."""
    if interface_id := params.get("NetworkInterfaceId"):
        interface = region.backend.get_network_interface(interface_id)
        return interface.instance, interface
    (instance,) = instances_in(region, [each for each in [params.get("InstanceId")] if each])
    if instance.state not in ("running", "stopping", "stopped"):
        raise AwsError(
            "InvalidInstanceID",
            f"The {instance.state} instance '{instance.id}' is not in a valid state for this operation.",
        )
    return instance, instance.nics[0]
