"""Plans in the table, each with the time up to which runs of its rules are opened."""

import heapq
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from chalicelib.catalog.store.items import Item, moment, stamp
from chalicelib.catalog.store.table import Refused, Table
from chalicelib.catalog.store.wake import RPO, WATCHING_ALL, WATCHING_HOOKS, always_waking, waking
from chalicelib.catalog.store.writes import Attr, Write
from chalicelib.errors import NotFound
from chalicelib.plans.model import Plan, Rule, plan_text

_GONE = "gone-plan"


@dataclass(frozen=True, slots=True)
class StoredPlan:
    """A stored plan and the progress of its rules.

    `ran_until` has, by rule, the time up to which its runs are opened; `kept_since`, by rule, the time since
    which its lifecycles are unchanged. The plan is due again at `wake_at`; its lifecycles were last swept on
    `swept_on`. Instances that were made before `launches_since` are not launched for it.
    """

    plan: Plan
    ran_until: Mapping[str, datetime]
    kept_since: Mapping[str, datetime]
    wake_at: datetime
    swept_on: str = ""
    launches_since: datetime | None = None

    def is_swept(self, now: datetime) -> bool:
        """Return whether the plan's lifecycles have been swept on this day (UTC)."""
        return self.swept_on == f"{now:%Y-%m-%d}"


class PlanStore:
    """Stores, removes and lists plans."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def put(self, plan: Plan, now: datetime) -> StoredPlan:
        """Store the plan, to be processed by the next tick.

        A rule that keeps its name continues after its last run; a new one begins now. What expires by a rule
        whose lifecycles have changed can be undeleted for a whole grace from now on.
        """
        known = self.get(plan.name)
        ran_until = {rule.name: known.ran_until.get(rule.name, now) if known else now for rule in plan.rules}
        since = {rule.name: _kept_since(rule, known) or now for rule in plan.rules}
        launches_since = (known and known.launches_since) or now if plan.on_launch else None
        stored = StoredPlan(plan, ran_until, since, now, known.swept_on if known else "", launches_since)
        put = Write(
            ("plan", plan.name),
            put={
                "document": plan_text(plan),
                "ran_until": {rule: stamp(at) for rule, at in ran_until.items()},
                "kept_since": {rule: stamp(at) for rule, at in since.items()},
                "swept_on": stored.swept_on,
                **({"launches_since": stamp(launches_since)} if launches_since else {}),
                "format": 1,
                **waking(now),
            },
        )
        ungone = Write((_GONE, plan.name), deletes=True)
        self._table.commit([put, ungone, *_watching(plan.name, plan), _rpo_look(plan.name, plan, now)])
        return stored

    def get(self, name: str) -> StoredPlan | None:
        """Return the plan, or None."""
        item = self._table.get("plan", name)
        return _stored(item) if item else None

    def require(self, name: str) -> StoredPlan:
        """Return the plan.

        Raises:
            NotFound: there is none.
        """
        stored = self.get(name)
        if stored is None:
            raise NotFound("no such plan", resource=f"plan {name}")
        return stored

    def delete(self, name: str) -> bool:
        """Remove the plan; return whether there was one. Its recovery points stay, and so does its name."""
        removed = Write(("plan", name), deletes=True, condition=Attr("pk").exists())
        gone = Write((_GONE, name), put={"format": 1})
        return not self._table.commit([removed, gone, *_watching(name, None), _rpo_look(name, None)])

    def all(self) -> Iterator[StoredPlan]:
        """Yield every plan in the order of names."""
        return map(_stored, self._table.partition("plan"))

    def names(self) -> Iterator[tuple[str, StoredPlan | None]]:
        """Yield every plan by name, and None for those that were removed."""
        gone = ((item["sk"], None) for item in self._table.partition(_GONE))
        yield from heapq.merge(
            ((each.plan.name, each) for each in self.all()), gone, key=lambda pair: pair[0]
        )

    def mark_run(self, plan: str, rule: str, until: datetime) -> bool:
        """Record that the rule's runs are opened up to `until`.

        Returns: False when the plan or the rule is gone.
        """
        answer = self._table.update(
            "plan",
            plan,
            "SET ran_until.#rule = :until",
            names={"#rule": rule},
            values={":until": stamp(until)},
            condition="attribute_exists(ran_until.#rule)",
        )
        return not isinstance(answer, Refused)

    def sleep(self, stored: StoredPlan, wake_at: datetime) -> None:
        """Set the time at which the plan is due again, unless it was stored again since it was read."""
        self._table.update(
            "plan",
            stored.plan.name,
            "SET wake_at = :later",
            values={":later": stamp(wake_at), ":seen": stamp(stored.wake_at)},
            condition="wake_at = :seen",
        )

    def promised_since(self, plan: str) -> datetime | None:
        """Return since when a plan has its RPO as it is stored; None when it has none."""
        item = self._table.get(RPO, plan)
        return moment(item["since"]) if item else None

    def look_at_rpo(self, plan: str, at: datetime) -> None:
        """Set when the RPOs of the plan's services are looked at next."""
        self._table.update(
            RPO, plan, "SET wake_at = :at", values={":at": stamp(at)}, condition="attribute_exists(pk)"
        )

    def note_sweep(self, plan: str, day: str) -> None:
        """Record the day on which the plan's lifecycles were swept."""
        self._table.update(
            "plan", plan, "SET swept_on = :day", values={":day": day}, condition="attribute_exists(pk)"
        )


def _watching(name: str, plan: Plan | None) -> Iterator[Write]:
    """Yield what has every tick look for instances of the plan that start or go, if that concerns it."""
    wanted = ""
    if plan and (plan.on_launch or plan.on_terminate):
        wanted = WATCHING_HOOKS if plan.on_launch is None or plan.on_launch.hook else WATCHING_ALL
    for kind in (WATCHING_ALL, WATCHING_HOOKS):
        if kind == wanted:
            yield Write((kind, name), put={"format": 1, **always_waking()})
        else:
            yield Write((kind, name), deletes=True)


def _rpo_look(name: str, plan: Plan | None, now: datetime | None = None) -> Write:
    """Return the write that has the next tick look at the RPOs of a plan that promises one."""
    if plan is None or plan.objectives.rpo is None or now is None:
        return Write((RPO, name), deletes=True)
    return Write((RPO, name), put={"format": 1, "since": stamp(now), **waking(now)})


def _kept_since(rule: Rule, known: StoredPlan | None) -> datetime | None:
    """Return since when a rule's lifecycles are unchanged; None when they changed now or the rule is new."""
    before = known.plan.rule(rule.name) if known else None
    if known is None or before is None or before.kind is not rule.kind:
        return None
    return known.kept_since[rule.name] if before.retention == rule.retention else None


def _stored(item: Item) -> StoredPlan:
    ran_until: dict[str, Any] = item["ran_until"]
    since: dict[str, Any] = item["kept_since"]
    return StoredPlan(
        plan=_parsed(item["document"]),
        ran_until={rule: moment(at) for rule, at in ran_until.items()},
        kept_since={rule: moment(at) for rule, at in since.items()},
        wake_at=moment(item["wake_at"]),
        swept_on=item["swept_on"],
        launches_since=moment(item["launches_since"]) if "launches_since" in item else None,
    )


@lru_cache(maxsize=1024)
def _parsed(document: str) -> Plan:
    """Return the plan that a text states; cached, because every tick of a warm Lambda reads the same ones."""
    return Plan.read(json.loads(document), "a stored plan")
