"""Hands on what AWS says of instances that start and go to whoever serves them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from chalicelib.aws.events import InstanceEvent
from chalicelib.observability import count, logger


class Listener(Protocol):
    """What serves instances that start, or that go."""

    def notice(self, events: Mapping[str, InstanceEvent]) -> set[str]:
        """Open what the events ask for, once; return the messages that are to be delivered again."""


@dataclass(frozen=True, slots=True)
class InstanceEvents:
    """Tells each listener of events; one that fails keeps none from the others."""

    listeners: Sequence[Listener]

    def notice(self, events: Mapping[str, InstanceEvent]) -> set[str]:
        """Tell of events, by the message they came in. Returns: the messages to be delivered again."""
        again: set[str] = set()
        for listener in self.listeners:
            try:
                again |= listener.notice(events)
            except Exception:  # it must not keep the events from the other listeners
                logger().exception("events not served", extra={"listener": type(listener).__name__})
                count("EventsNotLookedUp", about=type(listener).__name__)
                again |= events.keys()
        return again
