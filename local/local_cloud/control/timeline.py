"""Runs all actions of the local cloud, one after the other, in order of simulated time.

Everything asynchronous in the local cloud is an action here: a snapshot that completes, an event on its way,
a message that becomes visible, a schedule. Invariants: actions run one at a time, in order of (due, order of
arrival), never before they are due; simulated time is not moved past an action that is due earlier, nor past
real work (a script on an instance) that still runs, unless that work outlasts the timeline's patience.
"""

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self

from local_cloud.control.clock import Clock

LOG = logging.getLogger(__name__)
Action = Callable[[], object]


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """An action and when it is due; `order` breaks ties by arrival."""

    due: datetime
    order: int
    action: Action = field(compare=False)
    label: str = field(compare=False)


class Work:
    """Real work that simulated time waits for; counted from the moment it is made until it is left.

    Make it before the thread that does the work starts, leave it (`with work:`) in that thread.
    """

    def __init__(self, timeline: "Timeline", label: str) -> None:
        self.label = label
        self.began = time.monotonic()
        self._timeline = timeline

    def __enter__(self) -> Self:
        """Do nothing: the work counts since it was made."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the work and wake the threads that wait for it."""
        self._timeline.ended(self)


class Timeline:
    """The heap of actions, and the pump that runs them."""

    def __init__(self, clock: Clock, *, patience: timedelta = timedelta(seconds=120)) -> None:
        """Run on `clock`; running work stops simulated time for at most `patience` of real time."""
        self._clock = clock
        self._patience = patience.total_seconds()
        self._heap: list[Entry] = []
        self._order = itertools.count()
        self._running: set[Work] = set()
        self._changed = threading.Condition()
        self._pump = threading.RLock()
        self._pumping = False

    def at(self, when: datetime, action: Action, label: str) -> None:
        """Schedule `action` at `when` (aware); if that is past, it runs as soon as possible."""
        with self._changed:
            heapq.heappush(self._heap, Entry(when, next(self._order), action, label))
            self._changed.notify_all()

    def after(self, delay: timedelta, action: Action, label: str) -> None:
        """Schedule `action` `delay` from now."""
        self.at(self._clock.now() + delay, action, label)

    def running(self, label: str) -> Work:
        """Count real work from now on, until the returned context is left."""
        work = Work(self, label)
        with self._changed:
            self._running.add(work)
        return work

    def ended(self, work: Work) -> None:
        """Stop counting `work`."""
        with self._changed:
            self._running.discard(work)
            self._changed.notify_all()

    def run_due(self) -> None:
        """Run what is due now, and what that makes due; simulated time is not moved."""
        with self._alone():
            while entry := self._take(self._clock.now()):
                self._run(entry)

    def run_until(self, when: datetime) -> None:
        """Run all that is due up to `when`, in order, moving the clock, until nothing more happens."""
        with self._alone():
            while True:
                limit = max(when, self._clock.now())
                if entry := self._next_step(limit):
                    self._clock.advance_to(entry.due)
                    self._run(entry)
                elif self._clock.now() < when:
                    self._clock.advance_to(when)
                else:
                    return

    def wait_for_due(self, timeout_seconds: float) -> None:
        """Sleep in real time until an action is due, at most `timeout_seconds`; may return early."""
        with self._changed:
            wait = timeout_seconds
            if self._heap:
                wait = min(wait, (self._heap[0].due - self._clock.now()).total_seconds())
            if wait > 0:
                self._changed.wait(wait)

    def clear(self) -> None:
        """Forget every action and all running work."""
        with self._changed:
            self._heap.clear()
            self._running.clear()
            self._changed.notify_all()

    def _next_step(self, limit: datetime) -> Entry | None:
        """Remove and return the next action due by `limit`, once no running work can add an earlier one."""
        with self._changed:
            while True:
                now = self._clock.now()
                if self._heap and self._heap[0].due <= now:
                    return heapq.heappop(self._heap)
                hold = self._hold_seconds()
                if hold <= 0:
                    return heapq.heappop(self._heap) if self._heap and self._heap[0].due <= limit else None
                if self._heap:
                    hold = min(hold, (self._heap[0].due - now).total_seconds())
                self._changed.wait(hold)

    def _hold_seconds(self) -> float:
        """Return how many real seconds running work may still stop simulated time."""
        now = time.monotonic()
        return max((work.began + self._patience - now for work in self._running), default=0.0)

    def _take(self, limit: datetime) -> Entry | None:
        with self._changed:
            return heapq.heappop(self._heap) if self._heap and self._heap[0].due <= limit else None

    def _run(self, entry: Entry) -> None:
        LOG.debug("%s %s", entry.due.isoformat(), entry.label)
        entry.action()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Be the one thread that runs actions; an action may not run the timeline in turn."""
        with self._pump:
            if self._pumping:
                raise RuntimeError("an action of the timeline may not run the timeline")
            self._pumping = True
            try:
                yield
            finally:
                self._pumping = False
