"""Checks the filters of an empty list: whether they name something that exists or existed.

Only an empty list has its filters checked, so that other lists cost nothing more. A plan, rule, vault or
service that was removed is known as long as a recovery point or a job names it.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from chalicelib.catalog.store import PlanStore, PointStore
from chalicelib.catalog.store.services import ServiceStore
from chalicelib.errors import InvalidInput, Problem
from chalicelib.jobs.store import JobStore
from chalicelib.plans.model import Plan, TagName
from chalicelib.plans.words import near

# At most this many names are listed, and this many services are read to find the nearest name.
MOST_NAMED = 20
MOST_SERVICES = 500


@dataclass(frozen=True, slots=True)
class KnownNames:
    """Checks the names in filters. `vaults` and `regions` are those of the settings."""

    plans: PlanStore
    services: ServiceStore
    points: PointStore
    jobs: JobStore
    vaults: Collection[str]
    regions: Collection[str]

    def require(self, filters: Mapping[str, str]) -> None:
        """Check the filters of a list that was empty.

        Raises:
            InvalidInput: a filter names no plan, rule, service, vault or region that exists or existed.
        """
        checks: dict[str, Callable[[str, str | None], Iterable[str] | None]] = {
            "plan": self._other_plans,
            "rule": self._other_rules,
            "service": self._other_services,
            "vault": self._other_vaults,
            "region": self._other_regions,
        }
        others = {
            name: known
            for name, value in filters.items()
            if name in checks and (known := checks[name](value, filters.get("plan"))) is not None
        }
        problems = [
            Problem(f"/{name}", filters[name], _expected(name, filters[name], list(known)))
            for name, known in others.items()
        ]
        if problems:
            raise InvalidInput("the query", problems)

    def _other_plans(self, name: str, _: str | None) -> Iterable[str] | None:
        names = [known for known, _ in self.plans.names()]
        return None if name in names else names

    def _other_rules(self, name: str, plan: str | None) -> Iterable[str] | None:
        names = sorted({rule.name for each in self._plans(plan) for rule in each.rules})
        return None if name in names or self._has_points(rule=name) else names

    def _other_services(self, name: str, plan: str | None) -> Iterable[str] | None:
        if (
            self._has_points(service=name)
            or self.jobs.list(filters={"service": name}, limit=1, cursor=None).items
        ):
            return None
        plans = self._plans(plan)
        known = any(
            name == each.service or self.services.of_service(each.name, name) is not None for each in plans
        )
        return None if known else list(islice(self._services(plans), MOST_SERVICES))

    def _services(self, plans: Iterable[Plan]) -> Iterator[str]:
        for plan in plans:
            if isinstance(plan.service, TagName):
                yield from (record.service for record in self.services.of_plan(plan.name))
            else:
                yield plan.service

    def _other_vaults(self, name: str, _: str | None) -> Iterable[str] | None:
        return None if name in self.vaults or self._has_points(vault=name) else sorted(self.vaults)

    def _other_regions(self, name: str, _: str | None) -> Iterable[str] | None:
        return None if name in self.regions else sorted(self.regions)

    def _has_points(self, **filters: str) -> bool:
        return bool(self.points.list(filters=filters, before=None, limit=1, cursor=None).items)

    def _plans(self, name: str | None) -> list[Plan]:
        return [stored.plan for stored in self.plans.all() if name in (None, stored.plan.name)]


def _expected(what: str, value: str, known: list[str]) -> str:
    """Return, in words, which names there are."""
    if not known:
        return f"the name of a {what}: there is none yet"
    more = f" and {len(known) - MOST_NAMED:,} more" if len(known) > MOST_NAMED else ""
    there = ", ".join(known[:MOST_NAMED]) + more
    return f"the name of a {what} that is or was there{near(value, known)}; there are {there}"
