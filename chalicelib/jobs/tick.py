"""The tick: reads once from the catalog what is due, and has each part process its share.

Invariant: what is due follows from the catalog and the clock, never from the tick that finds it. A part that
fails does not stop the others.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, partial
from typing import Protocol

from chalicelib.aws.autoscaling import GroupInstance
from chalicelib.catalog.store import PlanStore, StoredPlan, Table
from chalicelib.catalog.store.services import LineageRecord, ServiceStore
from chalicelib.catalog.store.wake import due
from chalicelib.errors import InvalidInput, Permanent
from chalicelib.jobs.engine import Engine
from chalicelib.observability import NOT_SERVED, count, logger
from chalicelib.plans.due import TICK


@dataclass(frozen=True, slots=True)
class DueWork:
    """What is due: jobs with their times, plans, lineages to retry, points with a due copy, the inventory,
    troubles to be told, plans whose RPOs are to be looked at.

    `stored` has the plans of all of them by name. `watching` reads the plans that look for instances that
    start or go, and `group_instances` lists the instances of every Auto Scaling group, each once for all who
    ask; `hooks_only` says that no plan looks at others than those that wait at a hook.
    """

    jobs: tuple[tuple[str, datetime], ...]
    plans: tuple[str, ...]
    retries: tuple[LineageRecord, ...]
    points: tuple[str, ...]
    inventory: bool
    stored: Mapping[str, StoredPlan]
    hooks_only: bool
    notices: tuple[str, ...]
    rpos: tuple[str, ...]
    watching: Callable[[], Sequence[StoredPlan]]
    group_instances: Callable[[], Sequence[GroupInstance]]


class TickPart(Protocol):
    """A capability's part of the tick."""

    def run(self, due: DueWork) -> None:
        """Process what is due; raise when the tick is to be run again for it."""


@dataclass(frozen=True, slots=True)
class DuePokes:
    """Pokes the jobs that are due."""

    engine: Engine

    def run(self, due: DueWork) -> None:
        """Poke the jobs that are due, and later, on time, those due before the next tick."""
        if due.jobs:
            self.engine.poke_due(due.jobs)


@dataclass(frozen=True, slots=True)
class Tick:
    """Runs the parts, in order."""

    table: Table
    plans: PlanStore
    services: ServiceStore
    group_instances: Callable[[], Iterable[GroupInstance]]
    parts: Mapping[str, TickPart]
    now: Callable[[], datetime]

    def run(self) -> None:
        """Have every part process what is due now.

        Raises:
            Exception: a part is to be run again; the others were run.
        """
        found = due(self.table, self.now(), TICK)
        retries = tuple(self.services.waking(found.lineages))
        names = dict.fromkeys((*found.plans, *(each.lineage.plan for each in retries)))
        stored = {name: plan for name in names if (plan := self._stored(name))}
        plans = tuple(name for name in found.plans if name in stored)
        work = DueWork(
            found.jobs,
            plans,
            retries,
            found.points,
            found.inventory,
            stored,
            found.hooks_only,
            found.notices,
            found.rpos,
            cache(lambda: tuple(plan for name in found.watching if (plan := self._stored(name)))),
            cache(lambda: tuple(self.group_instances()) if found.watching else ()),
        )
        isolated(((name, partial(part.run, work)) for name, part in self.parts.items()), "part")

    def _stored(self, name: str) -> StoredPlan | None:
        """Return the plan; None for one that this version cannot read, which must not delay the others."""
        try:
            return self.plans.get(name)
        except InvalidInput as error:
            logger().error("plan cannot be read", extra={"plan": name, "error": str(error)})
            count(NOT_SERVED, plan=name)
            return None


def isolated(tasks: Iterable[tuple[str, Callable[[], None]]], dimension: str) -> None:
    """Do each task, by the name of its `dimension` (a plan, a region); one that fails stops no other.

    Raises:
        Exception: the last failure that is to be tried again; permanent ones are only logged.
    """
    log = logger()
    later: Exception | None = None
    for name, task in tasks:
        try:
            task()
        except Exception as error:  # whatever it is, it must not stop the others
            log.exception("not served", extra={dimension: name, "error": str(error)})
            count(NOT_SERVED, 1, **{dimension: name})
            later = later if isinstance(error, Permanent) else error
    if later is not None:
        raise later
