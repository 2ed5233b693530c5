"""Look-ups whose errors are kept for those who ask for the results, one after the other or all at once."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Generic, Self, TypeVar

from chalicelib.errors import FarshoreError
from chalicelib.insight.checks import Unanswerable

Thing = TypeVar("Thing")
MOST_AT_ONCE = 64


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


@dataclass(frozen=True, slots=True)
class Begun(Generic[Thing]):
    """A look-up that was begun; it is waited for until `until`, by `time.monotonic`."""

    what: str
    future: Future[Thing]
    until: float

    def seen(self) -> Seen[Thing]:
        """Return what it found, or the error that it ended in, or that it has not ended in time."""
        try:
            return seen(lambda: self.future.result(max(0.0, self.until - time.monotonic())))
        except TimeoutError:
            remedy = "ask again; if it stays so, look for what keeps the api function from an answer"
            return Seen(error=Unanswerable(f"{self.what}: no answer in time", remedy))


class AtOnce:
    """A context in which look-ups run at once, each in a thread of its own.

    Those that have not ended in time are left to themselves: nothing here waits for them.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(MOST_AT_ONCE)
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def begin(self, what: str, look: Callable[[], Thing], within: timedelta) -> Begun[Thing]:
        """Begin a look-up, which has to end `within` so long after the context was entered."""
        return Begun(what, self._pool.submit(look), self._began + within.total_seconds())
