"""The claims of the story: each has a name and is checked against what can be seen from outside.

A false claim does not stop the story, so that the report shows all; but the exit code is then 1.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Claim:
    """A statement about the app, whether it is true, and the evidence."""

    name: str
    true: bool
    seen: str


@dataclass(slots=True)
class Claims:
    """The claims so far, in the order in which they were checked; `tell` is called with each."""

    tell: Callable[[Claim], None]
    made: list[Claim] = field(default_factory=list)

    def check(self, name: str, true: bool, seen: str) -> None:
        """Record a claim and whether it is true; `seen` is the evidence, for or against it."""
        claim = Claim(name, bool(true), seen)
        self.made.append(claim)
        self.tell(claim)

    def same(self, name: str, expected: Any, found: Any, seen: str) -> None:
        """Record the claim that two things are equal; if they are not, both are shown."""
        self.check(
            name, expected == found, seen if expected == found else f"expected {expected}, found {found}"
        )

    @property
    def all_true(self) -> bool:
        """Return whether there are claims and all of them are true."""
        return bool(self.made) and all(claim.true for claim in self.made)
