"""Shows the story while it happens: a line per event, with the simulated time at which it happened.

Lines are at most 80 columns wide; a longer text continues below its beginning.
"""

import sys
import textwrap
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TextIO

from demo.claims import Claim

ACTS = 6
COLUMNS = 80
MARGIN = 18


@dataclass(slots=True)
class Teller:
    """Writes lines to `out` as they come."""

    out: TextIO = field(default_factory=lambda: sys.stdout)

    def act(self, number: int, title: str) -> None:
        """Begin an act."""
        print(f"\n[{number} of {ACTS}] {title}", file=self.out, flush=True)

    def say(self, at: datetime, text: str) -> None:
        """Show what happened at a simulated time."""
        self._show(f"{at.astimezone(UTC):%m-%d %H:%M:%S}", text)

    def note(self, text: str) -> None:
        """Show more about the line before."""
        self._show("", text)

    def claim(self, claim: Claim) -> None:
        """Show a claim and whether it is true."""
        self._show("true " if claim.true else "FALSE", f"{claim.name}: {claim.seen}")

    def _show(self, margin: str, text: str) -> None:
        first, blank = f"  {margin:>{MARGIN - 4}}  ", " " * MARGIN
        lines = textwrap.wrap(text, COLUMNS, initial_indent=first, subsequent_indent=blank)
        print("\n".join(lines) or first.rstrip(), file=self.out, flush=True)
