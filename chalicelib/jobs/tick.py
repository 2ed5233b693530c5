"""The tick: asks the catalog once what should have moved by now, and has each part do its own.

Invariant: what is due follows from the catalog and the clock, never from the tick that finds it. A part that
fails stops no other.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Protocol

from chalicelib.catalog.store import PlanStore, StoredPlan, Table
from chalicelib.catalog.store.services import LineageRecord, ServiceStore
from chalicelib.catalog.store.wake import due
from chalicelib.errors import InvalidInput, Permanent
from chalicelib.jobs.engine import Engine
from chalicelib.observability import count, logger
from chalicelib.plans.due import TICK


@dataclass(frozen=True, slots=True)
class DueWork:
    """What should have moved: jobs with their moments, the names of plans, lineages whose try is due, points
    with a copy that is, and whether an inventory is. `stored` has the plans of all of them by name."""

    jobs: tuple[tuple[str, datetime], ...]
    plans: tuple[str, ...]
    retries: tuple[LineageRecord, ...]
    points: tuple[str, ...]
    inventory: bool
    stored: Mapping[str, StoredPlan]


class TickPart(Protocol):
    """A capability's part of the tick."""

    def run(self, due: DueWork) -> None:
        """Do what is due; raise when the tick is to be run again for it."""


@dataclass(frozen=True, slots=True)
class DuePokes:
    """Pokes the jobs that should have moved."""

    engine: Engine

    def run(self, due: DueWork) -> None:
        """Poke the jobs that are due, and those that are before the next tick, then."""
        if due.jobs:
            self.engine.poke_due(due.jobs)


@dataclass(frozen=True, slots=True)
class Tick:
    """Runs the parts, in order."""

    table: Table
    plans: PlanStore
    services: ServiceStore
    parts: Mapping[str, TickPart]
    now: Callable[[], datetime]

    def run(self) -> None:
        """Have every part do what is due now.

        Raises:
            Exception: a part is to be run again; the others have been run.
        """
        found = due(self.table, self.now(), TICK)
        retries = tuple(self.services.waking(found.lineages))
        names = dict.fromkeys((*found.plans, *(each.lineage.plan for each in retries)))
        stored = {name: plan for name in names if (plan := self._stored(name))}
        plans = tuple(name for name in found.plans if name in stored)
        work = DueWork(found.jobs, plans, retries, found.points, found.inventory, stored)
        isolated(((name, partial(part.run, work)) for name, part in self.parts.items()), "part")

    def _stored(self, name: str) -> StoredPlan | None:
        """Return the plan; None for one that this version cannot read, which must not hold up the others."""
        try:
            return self.plans.get(name)
        except InvalidInput as error:
            logger().error("plan not readable", extra={"plan": name, "error": str(error)})
            count("NotServed", plan=name)
            return None


def isolated(tasks: Iterable[tuple[str, Callable[[], None]]], dimension: str) -> None:
    """Do each task, by the name of its `dimension` (a plan, a region); one that fails stops no other.

    Raises:
        Exception: the last failure that is to be tried again; a permanent one is logged and dropped.
    """
    log = logger()
    later: Exception | None = None
    for name, task in tasks:
        try:
            task()
        except Exception as error:  # whatever it is, it must not stop the others
            log.exception("not served", extra={dimension: name, "error": str(error)})
            count("NotServed", 1, **{dimension: name})
            later = later if isinstance(error, Permanent) else error
    if later is not None:
        raise later
