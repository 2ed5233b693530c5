"""The one clock of the local cloud: moto, the handlers and botocore all read the time it sets.

It patches the process's clock (time-machine), lets it tick in real time, and moves it forward on request.
Invariant: the time it shows never goes back. `time.monotonic` stays real, so waits and patience are counted
in real seconds. One clock at a time per process: the patch is process-wide.
"""

from datetime import UTC, datetime
from typing import Self

import time_machine


class Clock:
    """A clock that ticks by itself once started, and can be moved forward."""

    def __init__(self, start_at: datetime | None = None) -> None:
        """Prepare a clock that will show `start_at` (aware; default: the wall clock) when it starts."""
        self._travel = time_machine.travel(start_at or datetime.now(UTC), tick=True)
        self._traveller: time_machine.Traveller | None = None

    def __enter__(self) -> Self:
        """Start to govern the process's time."""
        self._traveller = self._travel.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Give the process its wall clock back."""
        self._travel.stop()
        self._traveller = None

    def now(self) -> datetime:
        """Answer the simulated time, in UTC."""
        return datetime.now(UTC)

    def advance_to(self, when: datetime) -> None:
        """Move to `when`, or stay where we are if that is past."""
        if self._traveller is None:
            raise RuntimeError("the clock has not been started")
        if when > self.now():
            self._traveller.move_to(when, tick=True)
