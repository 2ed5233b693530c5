"""Hands on what AWS says of instances that start and go to whoever serves them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from chalicelib.aws.events import InstanceEvent
from chalicelib.jobs.tick import isolated


class Listener(Protocol):
    """What serves instances that start, or that go."""

    def notice(self, events: Mapping[str, InstanceEvent]) -> set[str]:
        """Open what the events ask for, once; return the messages that are to be delivered again."""


@dataclass(frozen=True, slots=True)
class InstanceEvents:
    """Tells each listener of events; one that fails keeps none from the others."""

    listeners: Sequence[Listener]

    def notice(self, events: Mapping[str, InstanceEvent]) -> set[str]:
        """Tell of events, by the message they came in.

        Returns: the messages to be delivered again.

        Raises:
            Exception: a listener failed for now: all are to be.
        """
        again: set[str] = set()

        def tell(listener: Listener) -> None:
            again.update(listener.notice(events))

        isolated(((type(each).__name__, partial(tell, each)) for each in self.listeners), "listener")
        return again
