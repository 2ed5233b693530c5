"""Network interfaces: attached and detached in time, to one instance of their zone.

The attachment is `attaching`, then `attached`; it is `detaching` until the interface is free. The first
interface of an instance stays. A terminated instance lets go of those that outlive it.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AttachNetworkInterface.html,
API_DetachNetworkInterface.html, API_DeleteNetworkInterface.html

moto: keeps and describes interfaces; attaches one twice, deletes one in use, and does all at once.
"""

from collections.abc import Mapping
from typing import Any

from moto.ec2.models import elastic_network_interfaces
from moto.ec2.models.elastic_network_interfaces import Attachment, NetworkInterface
from moto.ec2.models.instances import Instance

from local_cloud.call import AwsError, Call, Handler, PassOn
from local_cloud.services.ec2.instance_listing import instances_in
from local_cloud.services.ec2.world import Region, World, required

STATUS = "attachment_status"
"""What an interface of moto's is given where its attachment is not `attached`."""


class TimedAttachment(Attachment):
    """An attachment that says that it is on its way."""

    def __init__(self, eni: NetworkInterface) -> None:
        """Show an interface's attachment."""
        super().__init__(eni)
        self.status = getattr(eni, STATUS, "attached")


class Interfaces:
    """The network interfaces of every account and region."""

    def __init__(self, world: World) -> None:
        """Attach and detach in `world`."""
        self._world = world
        vars(elastic_network_interfaces)["Attachment"] = TimedAttachment

    def handlers(self) -> Mapping[str, Handler]:
        """Return the operations done here."""
        return {
            "AttachNetworkInterface": self.attach,
            "DetachNetworkInterface": self.detach,
            "DeleteNetworkInterface": self.delete,
        }

    def attach(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        """Attach a free interface."""
        region = Region.of(call)
        interface = region.backend.get_network_interface(required(call.params, "NetworkInterfaceId"))
        (instance,) = instances_in(region, [required(call.params, "InstanceId")])
        index = int(required(call.params, "DeviceIndex"))
        _check_free(interface)
        if instance.state not in ("running", "stopped"):
            raise AwsError("IncorrectInstanceState", f"Instance '{instance.id}' is not 'running'.")
        if interface.availability_zone != instance.availability_zone:
            raise AwsError(
                "InvalidParameterCombination",
                "You may not attach a network interface to an instance if they are not in the same "
                "availability zone",
            )
        if index in instance.nics:
            raise AwsError(
                "InvalidParameterValue",
                f"Instance '{instance.id}' already has an interface attached at device index '{index}'.",
            )
        attachment_id = instance.attach_eni(interface, index)
        vars(interface)[STATUS] = "attaching"

        def attached() -> None:
            if interface.attachment_id == attachment_id and vars(interface).get(STATUS) == "attaching":
                del vars(interface)[STATUS]

        self._world.later(self._world.quotas.interface_moving, attached, f"{interface.id} attached")
        return {"AttachmentId": attachment_id, "NetworkCardIndex": 0}

    def detach(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        """Detach an interface that is not an instance's first."""
        region, attachment_id = Region.of(call), required(call.params, "AttachmentId")
        found = [each for each in region.backend.enis.values() if each.attachment_id == attachment_id]
        if not found:
            raise AwsError("InvalidAttachmentID.NotFound", f"The attachment '{attachment_id}' does not exist")
        (interface,) = found
        if interface.device_index == 0:
            raise AwsError(
                "OperationNotPermitted", "The network interface at device index 0 cannot be detached."
            )
        if vars(interface).get(STATUS) != "detaching":
            vars(interface)[STATUS] = "detaching"
            self._world.later(
                self._world.quotas.interface_moving,
                lambda: _let_go(interface, attachment_id),
                f"{interface.id} detached",
            )
        return {}

    def delete(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        """Delete a free interface."""
        region = Region.of(call)
        interface = region.backend.get_network_interface(required(call.params, "NetworkInterfaceId"))
        _check_free(interface)
        region.backend.delete_network_interface(interface.id)
        return {}

    def instance_ended(self, instance: Instance) -> None:
        """Free the interfaces that outlive a terminated instance."""
        for interface in list(instance.nics.values()):
            if not interface.delete_on_termination and interface.device_index != 0:
                _let_go(interface, str(interface.attachment_id))


def _check_free(interface: NetworkInterface) -> None:
    if interface.attachment_id:
        raise AwsError("InvalidNetworkInterface.InUse", f"Interface: [{interface.id}] in use.")


def _let_go(interface: NetworkInterface, attachment_id: str) -> None:
    """Detach an interface, if it still has this attachment."""
    if interface.attachment_id == attachment_id and interface.instance:
        interface.instance.detach_eni(interface)
        vars(interface).pop(STATUS, None)
