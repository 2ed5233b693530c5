"""How much of what can be enumerated is played: all of it with EXHAUSTIVE=1, as `.ci/run` does, else a part.

The part is the same in every run. `sample` and `every_other` choose the calls that meet a fault,
`spread_shells` the shells of the runner's tests, and `amount` the lengths of what only grows: days, copies,
instances.
"""

import os
from collections.abc import Mapping, Sequence
from typing import TypeVar

import pytest

from tests.support.shells import SHELLS

T = TypeVar("T")
EXHAUSTIVE = os.environ.get("EXHAUSTIVE", "") not in ("", "0")


ONE_OF = 4


def leave_long_out(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return the tests marked `long` to leave out: of one with parameters all but one, in turn."""
    by_test: dict[str, list[pytest.Item]] = {}
    for item in items if not EXHAUSTIVE else ():
        if item.get_closest_marker("long"):
            by_test.setdefault(item.nodeid.partition("[")[0], []).append(item)
    kept = {
        group[number % len(group)].nodeid for number, group in enumerate(by_test.values()) if len(group) > 1
    }
    return [item for group in by_test.values() for item in group if item.nodeid not in kept]


def amount(whole: int, part: int) -> int:
    """Return how much of something to play."""
    return whole if EXHAUSTIVE else part


def sample(groups: Mapping[tuple[str, str], Sequence[T]], turn: int) -> list[T]:
    """Return the items of all groups, which are named by service and operation, or a part of them.

    The part has one item of every fourth operation, so that four turns play them all.
    """
    if EXHAUSTIVE:
        return [item for group in groups.values() for item in group]
    return [
        group[turn % len(group)]
        for number, group in enumerate(groups.values())
        if (number + turn) % ONE_OF == 0
    ]


def every_other(items: Sequence[T], turn: int) -> list[T]:
    """Return all items, or half of them; the other half at the next turn."""
    return list(items) if EXHAUSTIVE else list(items[turn % 2 :: 2])


def spread_shells(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return the tests to leave out: of each that runs under every shell all but one, in turn."""
    by_test: dict[str, list[pytest.Item]] = {}
    for item in items if not EXHAUSTIVE else ():
        names = [id for shell in SHELLS if (id := _id_under(item, shell))]
        if names:
            test = item.nodeid.replace(names[0], "", 1)
            by_test.setdefault(test, []).append(item)
    kept = {group[number % len(group)].nodeid for number, group in enumerate(by_test.values())}
    return [item for group in by_test.values() for item in group if item.nodeid not in kept]


def _id_under(item: pytest.Item, shell: object) -> str | None:
    """Return a shell's name when the test is run under it."""
    callspec = getattr(item, "callspec", None)
    value = getattr(shell, "values", (shell,))[0]
    runs = callspec is not None and any(each == value for each in callspec.params.values())
    return str(getattr(shell, "id", value)) if runs else None
