"""The one clock of the local cloud: moto, the handlers and botocore all read the time it sets.

It patches the process's clock (time-machine), lets it tick in real time, and moves it forward on request.
A clock that does not tick stands still while calls are made and functions run, however slow the machine is.
Time passes only from one action of the timeline to the next, as if functions took no time, and a sleep in
between (of the SDK, before a retry) moves the clock instead of waiting.
Invariant: the time it shows never goes back. `time.monotonic` stays real, so waits and patience are counted
in real seconds. One clock at a time per process: the patch is process-wide.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Self, SupportsIndex

import time_machine


class Clock:
    """A clock that, once started, runs by itself (unless disabled) and can be moved forward."""

    def __init__(self, start_at: datetime | None = None, *, ticking: bool = True) -> None:
        """Prepare a clock that will show `start_at` (aware; default: the wall clock) when it starts."""
        self._ticking = ticking
        self._travel = time_machine.travel(start_at or datetime.now(UTC), tick=ticking)
        self._traveller: time_machine.Traveller | None = None
        self._real_sleep = time.sleep

    def __enter__(self) -> Self:
        """Start to govern the process's time."""
        self._traveller = self._travel.start()
        if not self._ticking:
            time.sleep = self._sleep
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the process's wall clock."""
        time.sleep = self._real_sleep
        self._travel.stop()
        self._traveller = None

    def now(self) -> datetime:
        """Return the simulated time, in UTC."""
        return datetime.now(UTC)

    def advance_to(self, when: datetime) -> None:
        """Move to `when`, or stay where we are if that is past."""
        if self._traveller is None:
            raise RuntimeError("the clock has not been started")
        ahead = when - self.now()
        if ahead > timedelta(0):
            self._traveller.shift(ahead)  # `move_to` would also set the process's time zone

    def _sleep(self, seconds: float | SupportsIndex) -> None:
        self.advance_to(self.now() + timedelta(seconds=float(seconds)))
