"""Earlier states of items, for reads that are not up to date.

It records nothing until a fault asks for stale reads. Invariant: after `before_write` of every write,
`changed_since` returns every item that was written after a moment, with its state at that moment, as far back
as the fault goes.
"""

import copy
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from local_cloud.services.dynamodb.order import Primary, TableOrder

Before = Mapping[Primary, Any]
"""Items (moto's) as they were, by key; None is one that was not there."""


@dataclass(frozen=True, slots=True)
class Change:
    """A write, and what it wrote over."""

    at: datetime
    table: TableOrder
    primary: Primary
    before: Any


class History:
    """The latest changes of every table, oldest first."""

    def __init__(self, now: Callable[[], datetime], staleness: Callable[[], timedelta]) -> None:
        """At every write, use the present `staleness`."""
        self._now = now
        self._staleness = staleness
        self._changes: deque[Change] = deque()

    @property
    def wanted(self) -> bool:
        """Return whether writes are to be recorded; if not, earlier records are useless."""
        if self._staleness():
            return True
        self._changes.clear()
        return False

    def before_write(self, table: TableOrder, primary: Primary) -> None:
        """Remember an item that is about to be written."""
        now = self._now()
        while self._changes and self._changes[0].at < now - self._staleness():
            self._changes.popleft()
        self._changes.append(Change(now, table, primary, copy.deepcopy(table.items.get(primary))))

    def changed_since(self, moment: datetime, table: TableOrder) -> Before:
        """Return the items of a table that were written after `moment`, as they were then."""
        before: dict[Primary, Any] = {}
        for change in self._changes:
            if change.at > moment and change.table is table:
                before.setdefault(change.primary, change.before)
        return before

    def clear(self) -> None:
        """Forget every change."""
        self._changes.clear()
