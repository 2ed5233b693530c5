"""How much of what can be enumerated is played: all of it with EXHAUSTIVE=1, as `.ci/run` does, else a third.

The third is spread evenly, begins elsewhere in each test, and is the same in every run. Interruptions are
spread over calls, the runner's tests over shells.
"""

import os
from collections.abc import Sequence
from typing import TypeVar

import pytest

from tests.shells import SHELLS

T = TypeVar("T")
EXHAUSTIVE = os.environ.get("EXHAUSTIVE", "") not in ("", "0")
ONE_OF = 3


def spread(items: Sequence[T], first: int) -> Sequence[T]:
    """Return all items, or every third one, beginning with the one at `first` (modulo 3)."""
    return items if EXHAUSTIVE else items[first % ONE_OF :: ONE_OF]


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
