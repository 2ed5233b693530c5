"""Look-ups whose errors are kept for those who ask for the results."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from chalicelib.errors import FarshoreError

Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True)
class Seen(Generic[Thing]):
    """What a look-up found, or the error that it ended in."""

    found: Thing | None = None
    error: FarshoreError | None = None

    @property
    def value(self) -> Thing:
        """What was found.

        Raises:
            FarshoreError: the one that the look-up ended in.
        """
        if self.found is None:
            raise self.error or FarshoreError("it was not looked for")
        return self.found


def seen(look: Callable[[], Thing]) -> Seen[Thing]:
    """Look something up; an error of AWS's is kept for those who ask for it."""
    try:
        return Seen(look())
    except FarshoreError as error:
        return Seen(error=error)
