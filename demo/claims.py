"""The claims of the story: each has a name, is checked against what can be seen from outside, and is kept.

A claim that is not true does not stop the story, so that the report shows all; it makes the exit code.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Claim:
    """Something said of the app, whether it is true, and what was seen."""

    name: str
    true: bool
    seen: str


@dataclass(slots=True)
class Claims:
    """The claims so far, in the order they were checked; `tell` is told each."""

    tell: Callable[[Claim], None]
    made: list[Claim] = field(default_factory=list)

    def check(self, name: str, true: bool, seen: str) -> None:
        """Keep a claim and whether it is true; `seen` is the evidence, for or against."""
        claim = Claim(name, bool(true), seen)
        self.made.append(claim)
        self.tell(claim)

    def same(self, name: str, expected: Any, found: Any, seen: str) -> None:
        """Keep the claim that two things are the same; where they are not, both are shown."""
        self.check(
            name, expected == found, seen if expected == found else f"expected {expected}, found {found}"
        )

    @property
    def all_true(self) -> bool:
        """Return whether every claim made so far is true, and there are any."""
        return bool(self.made) and all(claim.true for claim in self.made)
