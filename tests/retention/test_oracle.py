"""Months of plans, edits, outages, outsiders and clock jumps: nothing goes that must stay.

Every case is drawn from its seed, and each step is compared with a brute-force oracle: no lifecycle finds
fewer good points than the plan that holds then keeps, in any vault; nothing is deleted before its grace is
over; no point that is not a good scheduled one takes the place of one.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from chalicelib.catalog.recovery_point import Artefact, Origin, PointState
from tests.retention.oracle import Wish, must_stay
from tests.retention.simulated import VAULTS, SimulatedWorld, Wishes

BEGIN = datetime(2026, 1, 1, 2, 30, tzinfo=UTC)
STEPS = 50
SEEDS = [range(first, first + 20) for first in range(0, 120, 20)]
Standing = dict[tuple[str, str], Artefact]
"""How each point stands in each vault."""


@dataclass(frozen=True, slots=True)
class Happening:
    """What happens, and how long after the one before."""

    kind: str
    after: timedelta
    event: Callable[[SimulatedWorld], object]


WEIGHTS = {
    "scheduled": 40,
    "manual": 9,
    "kept": 5,
    "suspect": 9,
    "partial": 5,
    "edit": 5,
    "outsider": 3,
    "outage": 3,
    "hold": 4,
    "undelete": 3,
    "confirm": 3,
    "by hand": 3,
}
EXTRAS = ("manual", "kept", "suspect", "partial", "confirm", "by hand")
MAKING = ("scheduled", "manual", "kept", "suspect", "partial")


def _wish(random: Random) -> Wish:
    min_keep, manual = random.choice([1, 1, 2, 4]), random.choice([1, 2, 5])
    match random.randrange(3):
        case 0:
            return Wish({}, random.randint(1, 8), 0, min_keep, manual)
        case 1:
            return Wish({}, 0, random.choice([6, 48, 240, 1000]), min_keep, manual)
        case _:
            names = random.sample(["hourly", "daily", "weekly", "monthly", "yearly"], random.randint(1, 3))
            return Wish({name: random.randint(1, 5) for name in names}, 0, 0, min_keep, manual)


def _wishes(random: Random) -> Wishes:
    gone, primary, dr = random.random(), _wish(random), _wish(random)
    return Wishes(primary if gone > 0.1 else None, dr if gone > 0.25 else None)


def _story(random: Random) -> list[Happening]:
    """Draw what happens in some months."""
    ids: list[str] = []
    story = []
    for number in range(STEPS):
        kind = random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        hours = random.choice([1, 5, 24, 24, 60])
        if random.random() < 0.03:
            hours = 24 * random.randint(10, 45)  # a pause, or a clock that was set
        target = random.choice(ids or ["none"])
        if kind in MAKING:
            target = f"rp-{number:032d}"
            ids.append(target)
        story.append(Happening(kind, timedelta(hours=hours), _event(kind, target, random)))
    return story


def _event(kind: str, id: str, random: Random) -> Callable[[SimulatedWorld], object]:
    vault, days = random.choice(VAULTS), timedelta(days=random.choice([1, 20, 60]))
    ahead = timedelta(days=random.choice([0] * 30 + [3, 400]))
    hold, wishes = random.choice([None, "audit"]), _wishes(random)
    events: dict[str, Callable[[SimulatedWorld], object]] = {
        "scheduled": lambda world: world.make(id, Origin.SCHEDULE, at=world.now + ahead),
        "manual": lambda world: world.make(id, Origin.REQUEST),
        "kept": lambda world: world.make(id, Origin.REQUEST, keep_until=world.now + days),
        "suspect": lambda world: world.make(id, Origin.RPO, suspect="20 bytes"),
        "partial": lambda world: world.make(id, Origin.REQUEST, left_out=("i-1",)),
        "edit": lambda world: world.edit(wishes),
        "outsider": lambda world: world.lost.add((id, vault)),
        "outage": lambda world: world.down.symmetric_difference_update({vault}),
        "hold": lambda world: world.change(id, hold=hold),
        "undelete": lambda world: world.undelete(id),
        "confirm": lambda world: world.change(id, confirmed="it is right"),
        "by hand": lambda world: world.delete_by_hand(id),
    }
    return events[kind]


def _begin(seed: int) -> tuple[SimulatedWorld, list[Happening]]:
    random = Random(seed)
    grace = timedelta(hours=random.choice([0, 6, 24, 24]))
    return SimulatedWorld(BEGIN, grace, _wishes(random), BEGIN), _story(random)


def _steps(world: SimulatedWorld, story: Iterable[Happening]) -> Iterator[Happening]:
    """Let each thing happen; the lifecycle is the caller's."""
    for happening in story:
        world.now += happening.after
        happening.event(world)
        yield happening


def _standing(world: SimulatedWorld) -> Standing:
    return {(id, vault): point.artefacts[vault] for id, point in world.points.items() for vault in VAULTS}


def _must_stay_in(world: SimulatedWorld, vault: str) -> set[str]:
    """Return what the plan that holds now must keep of what is there and is good or can be undeleted."""
    facts, wish = world.facts(vault), world.plan.of(vault)
    return must_stay(facts.values(), wish, world.now) if wish else set(facts)


@pytest.mark.long
@pytest.mark.parametrize("seeds", SEEDS, ids=lambda seeds: f"from {seeds[0]}")
def test_no_lifecycle_finds_fewer_good_points_than_its_plan_keeps(seeds: range) -> None:
    gone = 0
    for seed in seeds:
        world, story = _begin(seed)
        for happening in _steps(world, story):
            must = {vault: _must_stay_in(world, vault) for vault in VAULTS}
            before = _standing(world)
            world.apply_lifecycle()
            for vault in VAULTS:
                told = f"seed {seed}, {world.now}, {vault}, after {happening.kind}"
                _check(world, vault, must[vault], before, told)
            gone += sum(each.state is PointState.DELETED for each in _standing(world).values())
    assert gone > 500, "a world in which nothing ever goes proves nothing"


def _check(world: SimulatedWorld, vault: str, must: set[str], before: Standing, told: str) -> None:
    """Compare what a lifecycle left in one vault with what had to stay there."""
    after = {id: artefact for (id, where), artefact in _standing(world).items() if where == vault}
    was_good = {id for id in after if before[id, vault].state is PointState.AVAILABLE}
    if vault in world.down:
        assert was_good <= {id for id in after if after[id].state is PointState.AVAILABLE} or (
            world.plan.of(vault) is None
        ), told
        return
    assert world.good(vault) == must, told
    for id, artefact in after.items():
        stood = before[id, vault]
        if artefact.state is PointState.DELETED and stood.state is not PointState.DELETED:
            due = stood.let_go_at is not None and stood.let_go_at <= world.now
            due = due and world.edited_at + world.grace <= world.now
            assert due or not world.grace, f"{told}: {id} went before its grace was over"
        elif artefact.in_grace and not stood.in_grace:
            assert artefact.let_go_at == world.now + world.grace, told


@pytest.mark.long
@pytest.mark.parametrize("seeds", SEEDS[:2], ids=lambda seeds: f"from {seeds[0]}")
def test_no_other_point_takes_the_place_of_a_good_scheduled_one(seeds: range) -> None:
    for seed in seeds:
        world, story = _begin(seed)
        alone, _ = _begin(seed)
        without = [each for each in story if each.kind not in ("confirm", "by hand")]
        both = zip(_steps(world, without), _passing(alone, without), strict=True)
        for happening, _ in both:
            world.apply_lifecycle()
            alone.apply_lifecycle()
            for vault in VAULTS:
                told = f"seed {seed}, {world.now}, {vault}, after {happening.kind}"
                assert world.good(vault, "scheduled") == alone.good(vault, "scheduled"), told


def _passing(world: SimulatedWorld, story: Iterable[Happening]) -> Iterator[Happening]:
    """Let only what concerns scheduled points happen, at the same times."""
    for happening in story:
        world.now += happening.after
        if happening.kind not in EXTRAS:
            happening.event(world)
        yield happening


@pytest.mark.parametrize("seeds", SEEDS[:2], ids=lambda seeds: f"from {seeds[0]}")
def test_there_are_never_fewer_good_points_than_the_strictest_plan_counts(seeds: range) -> None:
    """What is made and taken away counts up and down; a plan cuts the number when a lifecycle looks by it."""
    for seed in seeds:
        world, story = _begin(seed)
        world.plan = _counts(seed, 0)
        least, last = dict.fromkeys(VAULTS, 0), dict.fromkeys(VAULTS, 0)
        for number, happening in enumerate(_steps(world, story), 1):
            if happening.kind == "edit":
                world.plan = _counts(seed, number)
            before = {vault: len(world.good(vault, "scheduled")) for vault in VAULTS}
            world.apply_lifecycle()
            for vault in VAULTS:
                wish, found = world.plan.of(vault), len(world.good(vault, "scheduled"))
                counted = max(0, least[vault] + before[vault] - last[vault])
                least[vault] = min(counted, max(wish.count, wish.min_keep)) if wish else counted
                assert found >= least[vault], f"seed {seed}, {world.now}, {vault}"
                last[vault] = found


def _counts(seed: int, number: int) -> Wishes:
    random = Random(f"{seed} {number}")
    primary, dr = (Wish({}, random.randint(1, 8), 0, random.choice([1, 1, 3]), 2) for _ in VAULTS)
    return Wishes(primary, dr if random.random() > 0.2 else None)
