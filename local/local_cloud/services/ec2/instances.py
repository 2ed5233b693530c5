"""Instances: from `pending` to `terminated`; each change takes time and makes an event.

An instance's directory exists from the launch until it is terminated; then its volumes are deleted, or
detached if they are to outlive it. A terminated instance is still listed for an hour.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html;
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_StopInstances.html, API_StartInstances.html,
API_TerminateInstances.html, API_RebootInstances.html

moto: keeps the instances; they start, stop and end at once and without events.
Added: states that last, directories, volumes that are deleted or stay, events.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from moto.ec2.models.instances import Instance, Reservation

from local_cloud.call import AwsError, Call, Handler, PassOn
from local_cloud.services.ec2.admission import Admission
from local_cloud.services.ec2.disks import Disks
from local_cloud.services.ec2.events import instance_changed
from local_cloud.services.ec2.instance_listing import describe_reservation, instances_in
from local_cloud.services.ec2.launching import Launching
from local_cloud.services.ec2.volumes import Volumes
from local_cloud.services.ec2.world import Region, World

STATES = {
    "pending": 0,
    "running": 16,
    "shutting-down": 32,
    "terminated": 48,
    "stopping": 64,
    "stopped": 80,
}
SEEN_AFTER_TERMINATION = timedelta(hours=1)

Noticed = Callable[[str, str], None]
"""Called with a region's name and an instance's id."""
StateNoticed = Callable[[str, str, str], None]
"""Called with a region's name, an instance's id and its new state."""


class Instances:
    """The instances of every account and region."""

    def __init__(self, world: World, volumes: Volumes, disks: Disks, admission: Admission) -> None:
        """Launch with `volumes` and `disks`, as far as `admission` lets."""
        self._world = world
        self._volumes = volumes
        self._disks = disks
        self._admission = admission
        self._launching = Launching(volumes, disks, admission)
        self._known: dict[str, tuple[Region, Instance]] = {}
        self.on_running: list[Noticed] = []
        """Called when an instance runs: after its launch, and whenever it is started again."""
        self.on_gone: list[Noticed] = []
        """Called when an instance no longer runs: it stops or terminates."""
        self.on_state: list[StateNoticed] = []
        """Called with every new state."""
        self.on_ended: list[Callable[[Region, Instance], None]] = []
        """Called before an instance becomes `terminated`."""

    def handlers(self) -> Mapping[str, Handler]:
        """Return the operations done here."""
        return {
            "RunInstances": self.run_instances,
            "StartInstances": self.start_instances,
            "StopInstances": self.stop_instances,
            "RebootInstances": self.reboot_instances,
            "TerminateInstances": self.terminate_instances,
        }

    def run_instances(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        """Launch instances; the same client token answers the same reservation."""
        region = Region.of(call)
        reservation = self._launching.launched(region, call.params) or self.launch(region, call.params)
        return describe_reservation(region, reservation.id, reservation.instances)

    def start_instances(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        """Start stopped instances; those that run are left alone."""
        region = Region.of(call)
        changing = self._changing(call, "started", ("stopped", "pending", "running"))
        before = {instance.id: instance.state for instance in changing}
        for instance in changing:
            if instance.state == "stopped":
                zone, instance_type = str(instance.availability_zone), str(instance.instance_type)
                self._admission.admit(region, zone, instance_type, 1, 1)
            self.start(region, instance)
        return {"StartingInstances": [_change(instance, before) for instance in changing]}

    def stop_instances(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        """Stop running instances; those that are stopped are left alone."""
        region = Region.of(call)
        changing = self._changing(call, "stopped", ("running", "stopping", "stopped"))
        before = {instance.id: instance.state for instance in changing}
        for instance in changing:
            if instance.disable_api_stop:
                raise AwsError(
                    "OperationNotPermitted",
                    f"The instance '{instance.id}' may not be stopped. Modify its 'disableApiStop' instance "
                    "attribute and try again.",
                )
        for instance in changing:
            self.stop(region, instance)
        return {"StoppingInstances": [_change(instance, before) for instance in changing]}

    def reboot_instances(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        """Accept a reboot, which changes nothing. (moto would make any instance run.)"""
        instances_in(Region.of(call), call.params.get("InstanceIds", ()))
        return {}

    def terminate_instances(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        """Terminate instances, all or none."""
        region = Region.of(call)
        changing = instances_in(region, call.params.get("InstanceIds", ()))
        before = {instance.id: instance.state for instance in changing}
        for instance in changing:
            if instance.disable_api_termination:
                raise AwsError(
                    "OperationNotPermitted",
                    f"The instance '{instance.id}' may not be terminated. Modify its 'disableApiTermination' "
                    "instance attribute and try again.",
                )
        for instance in changing:
            self.terminate(region, instance)
        return {"TerminatingInstances": [_change(instance, before) for instance in changing]}

    def launch(self, region: Region, params: Mapping[str, Any]) -> Reservation:
        """Launch what a RunInstances with these parameters would."""
        reservation = self._launching.launch(region, params)
        for instance in reservation.instances:
            self._known[instance.id] = (region, instance)
            self._begin_to_run(region, instance)
        return reservation

    def start(self, region: Region, instance: Instance) -> None:
        """Start a stopped instance; any other is left alone."""
        if instance.state == "stopped":
            instance.launch_time = self._world.now()
            self._begin_to_run(region, instance)

    def stop(self, region: Region, instance: Instance) -> None:
        """Stop a running instance; any other is left alone."""
        if instance.state == "running":
            self._set(region, instance, "stopping")
            self._notice(self.on_gone, region, instance)
            self._soon(region, instance, "stopping", self._stopped)

    def terminate(self, region: Region, instance: Instance) -> None:
        """Terminate an instance, unless that is under way."""
        if instance.state not in ("shutting-down", "terminated"):
            self._set(region, instance, "shutting-down")
            self._notice(self.on_gone, region, instance)
            self._soon(region, instance, "shutting-down", self._terminated)

    def state(self, account: str, region: str, instance_id: str) -> str | None:
        """Return an instance's state, None where there is no such instance."""
        where, instance = self.known(instance_id)
        return str(instance.state) if instance and where == Region(account, region) else None

    def known(self, instance_id: str) -> tuple[Region | None, Instance | None]:
        """Return an instance and where it is, or nothing."""
        return self._known.get(instance_id, (None, None))

    def directories(self) -> dict[str, Path]:
        """Return the directory of every instance that is not terminated, by id."""
        return {
            instance_id: self._disks.instance(instance_id)
            for instance_id, (_, instance) in self._known.items()
            if instance.state != "terminated"
        }

    def clear(self) -> None:
        """Forget all instances; their directories stay."""
        self._known.clear()
        self._launching.clear()

    def _begin_to_run(self, region: Region, instance: Instance) -> None:
        self._set(region, instance, "pending")
        self._soon(region, instance, "pending", self._running)

    def _running(self, region: Region, instance: Instance) -> None:
        instance.start()
        self._set(region, instance, "running")
        self._notice(self.on_running, region, instance)

    def _stopped(self, region: Region, instance: Instance) -> None:
        instance.stop()
        self._set(region, instance, "stopped")

    def _terminated(self, region: Region, instance: Instance) -> None:
        """Detach the volumes, the root volume last, and drop the directory."""
        devices = [name for name, _ in instance.get_block_device_mapping]
        for device in sorted(devices, key=lambda name: name == instance.root_device_name):
            block = instance.block_device_mapping[device]
            self._disks.detach(block.volume_id)
            region.backend.detach_volume(block.volume_id, instance.id, device)
            if block.delete_on_termination:
                self._volumes.delete(region, block.volume_id)
        for end in self.on_ended:
            end(region, instance)
        reason = instance.state_reason
        instance.terminate()
        if reason.code:  # moto would say that the user did it
            instance.state_reason = reason
        self._disks.remove_instance(instance.id)
        self._set(region, instance, "terminated")
        self._world.later(
            SEEN_AFTER_TERMINATION, lambda: self._forget(region, instance), f"end of {instance.id}"
        )

    def _forget(self, region: Region, instance: Instance) -> None:
        """Hide a terminated instance."""
        self._known.pop(instance.id, None)
        region.backend.tags.pop(instance.id, None)
        for reservation in list(region.backend.reservations.values()):
            if instance in reservation.instances:
                reservation.instances.remove(instance)
                if not reservation.instances:
                    del region.backend.reservations[reservation.id]

    def _soon(
        self, region: Region, instance: Instance, state: str, change: Callable[[Region, Instance], None]
    ) -> None:
        """Schedule `change` after a while, unless the instance has left `state` by then."""
        quotas = self._world.quotas
        delay = quotas.instance_pending if state == "pending" else quotas.instance_stopping

        def step() -> None:
            if instance.state == state:
                change(region, instance)

        self._world.later(delay, step, f"{instance.id} leaves {state}")

    def _set(self, region: Region, instance: Instance, state: str) -> None:
        """Enter a state and put its event on the bus."""
        instance._state.name, instance._state.code = state, STATES[state]
        self._world.tell(region, instance_changed(region.account, region.name, instance.id, state))
        for notice in self.on_state:
            notice(region.name, instance.id, state)

    def _notice(self, whom: Sequence[Noticed], region: Region, instance: Instance) -> None:
        for one in whom:
            one(region.name, instance.id)

    def _changing(self, call: Call, done: str, allowed: Sequence[str]) -> list[Instance]:
        """Return the instances of a call, all of them in a state that allows the change."""
        found = instances_in(Region.of(call), call.params.get("InstanceIds", ()))
        for instance in found:
            if instance.state not in allowed:
                raise AwsError(
                    "IncorrectInstanceState",
                    f"The instance '{instance.id}' is not in a state from which it can be {done}.",
                )
        return found


def _change(instance: Instance, before: Mapping[str, str]) -> dict[str, Any]:
    """Return a change of state, as EC2 shows it."""
    previous = before[instance.id]
    return {
        "InstanceId": instance.id,
        "CurrentState": {"Code": STATES[instance.state], "Name": instance.state},
        "PreviousState": {"Code": STATES[previous], "Name": previous},
    }
