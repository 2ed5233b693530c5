"""Elastic IP addresses and network interfaces of one region: who has them, and moving them.

A thing that does not exist is left out of what is listed. A call that takes something from its holder names
the very association or attachment, so that it takes nothing from a later holder.
Invariant: attaching and associating are sent once. The SDK, repeating one whose answer got lost, would be
refused because of its own first try; the caller looks who has it instead.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/elastic-ip-addresses-eip.html
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-eni.html
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chalicelib.aws.errors import translated_errors
from chalicelib.errors import Conflict, NotFound

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import FilterTypeDef, NetworkInterfaceTypeDef

PAGE = 1000
PRIMARY_INDEX = 0


@dataclass(frozen=True, slots=True)
class NetworkInterface:
    """A network interface; `status` is available, attaching, in-use or detaching.

    Until it is detached it has its instance, its attachment and the device index there. `public_address` is
    that of an Elastic IP, or one that EC2 gave the instance.
    """

    id: str
    status: str
    availability_zone: str
    private_address: str
    public_address: str | None = None
    instance_id: str | None = None
    attachment_id: str | None = None
    device_index: int | None = None


@dataclass(frozen=True, slots=True)
class ElasticIp:
    """An Elastic IP address; while associated, with a private address of a network interface."""

    allocation_id: str
    public_address: str
    association_id: str | None = None
    interface_id: str | None = None
    private_address: str | None = None


class Ec2Network:
    """Elastic IPs and network interfaces. `unretried` is a client with `retries=False`."""

    def __init__(self, client: "EC2Client", *, unretried: "EC2Client") -> None:
        self._client = client
        self._unretried = unretried

    @property
    def _region(self) -> str:
        return self._client.meta.region_name

    def interfaces(self, ids: Iterable[str]) -> dict[str, NetworkInterface]:
        """Return those of the named interfaces that exist, by id."""
        wanted = list(ids)
        found = self._interfaces("network-interface-id", wanted) if wanted else ()
        return {each.id: each for each in found}

    def interfaces_of(self, instance_id: str) -> tuple[NetworkInterface, ...]:
        """Return the interfaces attached to an instance, by device index; those in motion are among them."""
        found = self._interfaces("attachment.instance-id", [instance_id])
        return tuple(sorted(found, key=lambda each: each.device_index or PRIMARY_INDEX))

    def elastic_ip(self, allocation_id: str) -> ElasticIp | None:
        """Return an Elastic IP, None when the account has no such one in the region."""
        wanted: list[FilterTypeDef] = [{"Name": "allocation-id", "Values": [allocation_id]}]
        with translated_errors("DescribeAddresses", allocation_id, self._region):
            answer = self._client.describe_addresses(Filters=wanted)
        for each in answer["Addresses"]:
            return ElasticIp(
                allocation_id=each["AllocationId"],
                public_address=each["PublicIp"],
                association_id=each.get("AssociationId") or None,
                interface_id=each.get("NetworkInterfaceId") or None,
                private_address=each.get("PrivateIpAddress") or None,
            )
        return None

    def associate(
        self, allocation_id: str, interface_id: str, private_address: str | None, *, takes_over: bool
    ) -> None:
        """Associate an Elastic IP with a network interface; None is the interface's primary address.

        An interface is named because an instance that has two of them cannot be. Where the call `takes_over`,
        the address leaves its holder in the same moment; else an address that has a holder is an error.
        https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AssociateAddress.html
        """
        more: Any = {"PrivateIpAddress": private_address} if private_address else {}
        with translated_errors("AssociateAddress", f"{allocation_id} with {interface_id}", self._region):
            self._unretried.associate_address(
                AllocationId=allocation_id,
                NetworkInterfaceId=interface_id,
                AllowReassociation=takes_over,
                **more,
            )

    def disassociate(self, association_id: str) -> None:
        """End an association, unless it is already over."""
        try:
            with translated_errors("DisassociateAddress", association_id, self._region):
                self._client.disassociate_address(AssociationId=association_id)
        except NotFound:
            return

    def attach(self, interface_id: str, instance_id: str, device_index: int) -> None:
        """Begin to attach an interface to an instance of its zone.

        https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AttachNetworkInterface.html
        """
        with translated_errors("AttachNetworkInterface", f"{interface_id} to {instance_id}", self._region):
            self._unretried.attach_network_interface(
                NetworkInterfaceId=interface_id, InstanceId=instance_id, DeviceIndex=device_index
            )

    def detach(self, attachment_id: str) -> None:
        """Begin to detach an interface, unless that is over or under way already.

        https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DetachNetworkInterface.html
        """
        try:
            with translated_errors("DetachNetworkInterface", attachment_id, self._region):
                self._client.detach_network_interface(AttachmentId=attachment_id)
        except NotFound:
            return
        except Conflict as error:
            if error.code != "IncorrectState":
                raise

    def _interfaces(self, name: str, values: list[str]) -> list[NetworkInterface]:
        with translated_errors("DescribeNetworkInterfaces", values[0], self._region):
            pages = self._client.get_paginator("describe_network_interfaces").paginate(
                Filters=[{"Name": name, "Values": values}], PaginationConfig={"PageSize": PAGE}
            )
            return [_interface_from(each) for page in pages for each in page["NetworkInterfaces"]]


def _interface_from(answer: "NetworkInterfaceTypeDef") -> NetworkInterface:
    attachment = answer.get("Attachment") or {}
    status = answer["Status"]
    moving = attachment.get("Status")
    return NetworkInterface(
        id=answer["NetworkInterfaceId"],
        # EC2 shows one that moves as in-use, and its attachment as attaching or detaching.
        status=moving if status == "in-use" and moving in ("attaching", "detaching") else status,
        availability_zone=answer["AvailabilityZone"],
        private_address=answer["PrivateIpAddress"],
        public_address=(answer.get("Association") or {}).get("PublicIp") or None,
        instance_id=attachment.get("InstanceId") or None,
        attachment_id=attachment.get("AttachmentId") or None,
        device_index=attachment.get("DeviceIndex"),
    )
