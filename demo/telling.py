"""Tells the story while it happens: a line per event, with the simulated time at which it happened."""

import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TextIO

from demo.claims import Claim


@dataclass(slots=True)
class Teller:
    """Writes lines to `out` as they come."""

    out: TextIO = field(default_factory=lambda: sys.stdout)

    def act(self, title: str) -> None:
        """Begin an act."""
        print(f"\n{title}", file=self.out, flush=True)

    def say(self, at: datetime, text: str) -> None:
        """Tell what happened at a simulated time."""
        print(f"  {at.astimezone(UTC):%Y-%m-%d %H:%M:%S}  {text}", file=self.out, flush=True)

    def note(self, text: str) -> None:
        """Tell more about the line before."""
        print(f"  {'':19}  {text}", file=self.out, flush=True)

    def claim(self, claim: Claim) -> None:
        """Tell a claim and whether it is true."""
        mark = "true " if claim.true else "FALSE"
        print(f"  {mark:>19}  {claim.name}: {claim.seen}", file=self.out, flush=True)
