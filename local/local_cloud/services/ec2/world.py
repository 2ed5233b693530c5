"""What the modules of this package share: regions as moto keeps them, the time, later changes, events.

moto's backends are the store of truth for what moto knows; the other modules add what it lacks, keyed by the
resource's id. Invariant: one change at a time, under the lock that calls to EC2 hold too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from moto.ec2.exceptions import InvalidInstanceIdError
from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.models.instances import Instance, Reservation

from local_cloud.call import AwsError, Call, CloudContext
from local_cloud.passing import lock_of
from local_cloud.services.ec2.events import Event


@dataclass(frozen=True, slots=True)
class Region:
    """A region of an account; equal ones are the same one."""

    account: str
    name: str

    @classmethod
    def of(cls, call: Call) -> "Region":
        """Return where a call is made."""
        return cls(call.account, call.region)

    @property
    def backend(self) -> EC2Backend:
        """Return moto's part of it."""
        return ec2_backends[self.account][self.name]

    def reservation_of(self, instance_id: str) -> Reservation | None:
        """Return the reservation that an instance is in, if there is such an instance."""
        state = vars(self.backend)  # which moto empties when it is reset
        index: InstanceIndex = state.setdefault("instance_index", InstanceIndex(self.backend.reservations))
        return index.reservation_of(instance_id)

    def instances(self, ids: Sequence[str]) -> list[Instance]:
        """Return instances by id, in the order of `ids`.

        Raises:
            InvalidInstanceIdError: one does not exist.
        """
        found = {
            instance.id: instance
            for one in ids
            for instance in getattr(self.reservation_of(one), "instances", ())
        }
        if missing := [one for one in ids if one not in found]:
            raise InvalidInstanceIdError(missing)
        return [found[one] for one in ids]


class InstanceIndex:
    """Which reservation each instance of a region is in.

    moto looks through all reservations, and copies each, whenever it is asked for one instance: with
    thousands of them that is most of what a call takes.
    """

    def __init__(self, reservations: Mapping[str, Reservation]) -> None:
        """Follow moto's `reservations`, of which the newest come last."""
        self._reservations = reservations
        self._known: dict[str, Reservation] = {}
        self._seen: set[str] = set()

    def reservation_of(self, instance_id: str) -> Reservation | None:
        """Return the reservation that an instance is in; None where it is gone or was never there."""
        if instance_id not in self._known:
            self._look_at_the_newest()
        found = self._known.get(instance_id)
        return found if found and self._reservations.get(found.id) is found else None

    def _look_at_the_newest(self) -> None:
        for reservation in reversed(self._reservations.values()):  # type: ignore[call-overload]  # an OrderedDict
            if reservation.id in self._seen:
                return
            self._seen.add(reservation.id)
            self._known |= {instance.id: reservation for instance in reservation.instances}


class World:
    """The ground as this package uses it."""

    def __init__(self, ground: CloudContext) -> None:
        """Act on `ground`."""
        self._ground = ground
        self.quotas = ground.quotas
        self.root = ground.root

    def now(self) -> datetime:
        """Return the simulated time in whole seconds, as answers show it."""
        return self._ground.clock.now().replace(microsecond=0)

    def later(self, delay: timedelta, change: Callable[[], None], label: str) -> None:
        """Schedule `change` `delay` from now."""

        def alone() -> None:
            with lock_of("ec2"):
                change()

        self._ground.timeline.after(delay, alone, label)

    def tell(self, region: Region, event: Event) -> None:
        """Put `event` on the region's default bus."""
        self._ground.emit(region.name, event)


def aware(moment: datetime) -> datetime:
    """Return a time of moto as an aware one; moto's times are UTC without saying so."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def required(params: Mapping[str, Any], name: str) -> Any:
    """Return a parameter that must be there.

    Raises:
        AwsError: it is not.
    """
    if params.get(name) in (None, ""):
        raise AwsError("MissingParameter", f"The request must contain the parameter {name}")
    return params[name]
