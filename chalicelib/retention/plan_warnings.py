"""Lists what storing a plan changes: every key, and the points, copies and instances that are lost. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from chalicelib.plans.model import Plan, Rule
from chalicelib.plans.words import listed
from chalicelib.retention.forecast import Forecast, RemainingPoints

# At most this many names are listed; there may be thousands.
MOST_NAMED = 10
# The keys that name the members of a list.
_NAMED_BY = ("name", "vault")


class Coverage(Protocol):
    """The instances that a plan selects, by service, and those that lack the tag that names their service."""

    @property
    def services(self) -> Mapping[str, Sequence[str]]:
        """The ids of the instances of each service."""

    @property
    def without_service(self) -> Sequence[str]:
        """The instances that are left out."""


@dataclass(frozen=True, slots=True)
class PlanChange:
    """A plan to be stored, the stored one, what both select now, and the forecast of what goes and stays.

    Without a stored plan `covered_before` is None.
    """

    plan: Plan
    stored: Plan | None
    covered: Coverage
    covered_before: Coverage | None
    forecast: Forecast


@dataclass(frozen=True, slots=True)
class Difference:
    """A key that changes (`rules.nightly.lifecycle.count`), and its two values; None: it is missing."""

    key: str
    before: Any
    after: Any


def differences(before: Any, after: Any, key: str = "") -> Iterator[Difference]:
    """Yield the differences of two documents, in the order of their keys.

    Members of a list that have a name are compared with those of the same name.
    """
    if before == after:
        return
    old, new = _members(before), _members(after)
    if old is None or new is None:
        yield Difference(key, before, after)
        return
    for name in (*old, *(each for each in new if each not in old)):
        yield from differences(old.get(name), new.get(name), f"{key}.{name}" if key else name)


def _members(value: Any) -> Mapping[str, Any] | None:
    """Return the members of a mapping, or of a list of named members, by name; None for anything else."""
    if isinstance(value, Mapping):
        return value
    if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
        return None
    for key in _NAMED_BY:
        if value and all(key in each for each in value):
            return {str(each[key]): each for each in value}
    return None


def losses_by_change(change: PlanChange) -> list[str]:
    """Return what is lost by the change, in sentences with numbers; nothing for a new plan."""
    if change.stored is None:
        return []
    return [
        *_points_let_go(change.forecast),
        *_rules_gone(change, change.stored),
        *_vaults_dropped(change, change.stored),
        *_instances_lost(change),
    ]


def _points_let_go(forecast: Forecast) -> Iterator[str]:
    by_vault = Counter(loss.vault for loss in forecast.losses if loss.newly)
    if by_vault:
        total = _count(by_vault.total(), "recovery point")
        counts = (f"{number:,} in {vault}" for vault, number in sorted(by_vault.items()))
        yield (
            f"{total} that the stored plan keeps are let go ({listed(counts, 'and')}); "
            "until the grace is over they can be undeleted, or the old plan can be stored again"
        )


def _rules_gone(change: PlanChange, stored: Plan) -> Iterator[str]:
    for rule in stored.rules:
        now = change.plan.rule(rule.name)
        if now is not None and now.kind is rule.kind:
            continue
        stays = _what_stays(change.forecast, rule)
        if now is not None:
            yield f"rule {rule.name} is of kind {now.kind} and was of kind {rule.kind}: {stays}"
        elif renamed := _renamed(rule, change):
            yield (
                f"rule {rule.name} seems to be renamed to {renamed}, which begins without recovery points: "
                f"{stays}"
            )
        else:
            yield f"rule {rule.name} is gone: {stays}"


def _renamed(rule: Rule, change: PlanChange) -> str | None:
    """Return the name of the new rule that is equal to this one but for its name."""
    known = {each.name for each in change.stored.rules} if change.stored else set()
    old = {**rule.document(), "name": None}
    same = (
        each
        for each in change.plan.rules
        if each.name not in known and {**each.document(), "name": None} == old
    )
    return next((each.name for each in same), None)


def _vaults_dropped(change: PlanChange, stored: Plan) -> Iterator[str]:
    for rule in stored.rules:
        now = change.plan.rule(rule.name)
        if now is None or now.kind is not rule.kind:
            continue
        for vault in sorted(rule.vaults - now.vaults):
            stays = _what_stays(change.forecast, rule, vault)
            yield f"rule {rule.name} is no longer copied to {vault}: {stays}"


def _what_stays(forecast: Forecast, rule: Rule, vault: str | None = None) -> str:
    """Return, in words, what happens to the points of a rule, or to those in one vault."""
    of_rule = [each for each in forecast.remaining if (each.rule, each.kind) == (rule.name, rule.kind)]
    points = sum(_points(each, vault) for each in of_rule)
    if not points:
        return f"there are no recovery points of it{' there' if vault else ''}"
    services = sum(each.services for each in of_rule)
    return (
        f"its {_count(points, 'point')}{' there' if vault else ''} (of {_count(services, 'service')}) "
        f"{'stay' if points > 1 else 'stays'} and no lifecycle lets {'them' if points > 1 else 'it'} go"
    )


def _points(left: RemainingPoints, vault: str | None) -> int:
    return left.points.get(vault, 0) if vault else max(left.points.values(), default=0)


def _instances_lost(change: PlanChange) -> Iterator[str]:
    before, after = _by_instance(change.covered_before), _by_instance(change.covered)
    lost = sorted(set(before) - set(after))
    if lost:
        services = sorted({before[instance] for instance in lost})
        yield (
            f"{_count(len(lost), 'instance')} of {_named(services)} that the stored plan selects now "
            f"{'are' if len(lost) > 1 else 'is'} no longer selected: {_named(lost)}"
        )
    moved = sorted(each for each in before if each in after and before[each] != after[each])
    if moved:
        examples = (f"{each} from {before[each]} to {after[each]}" for each in moved)
        verb = "change" if len(moved) > 1 else "changes"
        yield (
            f"{_count(len(moved), 'instance')} {verb} the service, and the recovery points so far stay "
            f"with the old one: {_named(examples)}"
        )


def _by_instance(covered: Coverage | None) -> dict[str, str]:
    return {each: service for service, ids in covered.services.items() for each in ids} if covered else {}


def _named(names: Iterable[str]) -> str:
    all_names = list(names)
    more = f" and {len(all_names) - MOST_NAMED:,} more" if len(all_names) > MOST_NAMED else ""
    return ", ".join(all_names[:MOST_NAMED]) + more


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
