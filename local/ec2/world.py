"""What this package's modules act on: regions as moto keeps them, the time, later changes, events.

moto's backends are the store of truth for what moto knows; the other modules add what it lacks, keyed by the
resource's id. Invariant: one change at a time, under the lock that calls to EC2 hold too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from moto.ec2.models import EC2Backend, ec2_backends

from local.call import AwsError, Call, Ground
from local.ec2.events import Event
from local.passing import lock_of


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


class World:
    """The ground as this package uses it."""

    def __init__(self, ground: Ground) -> None:
        """Act on `ground`."""
        self._ground = ground
        self.quotas = ground.quotas
        self.root = ground.root

    def now(self) -> datetime:
        """Return the simulated time, in whole seconds, as the answers show it."""
        return self._ground.clock.now().replace(microsecond=0)

    def later(self, delay: timedelta, change: Callable[[], None], label: str) -> None:
        """Have `change` made `delay` from now."""

        def alone() -> None:
            with lock_of("ec2"):
                change()

        self._ground.timeline.after(delay, alone, label)

    def tell(self, region: Region, event: Event) -> None:
        """Put `event` on the region's default bus."""
        self._ground.emit(region.name, event)


def aware(moment: datetime) -> datetime:
    """Read a time of moto's, which is UTC and does not say so."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def required(params: Mapping[str, Any], name: str) -> Any:
    """Return a parameter that must be there.

    Raises:
        AwsError: it is not.
    """
    if params.get(name) in (None, ""):
        raise AwsError("MissingParameter", f"The request must contain the parameter {name}")
    return params[name]
