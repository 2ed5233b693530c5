"""Actions that may pause: each runs in a thread of its own, and its starter continues when it pauses.

The timeline runs one action at a time and waits for it. An action that runs a function may have to wait
until simulated time has passed, which only the timeline can move. So the timeline waits for such an action
only until it is over or pauses, and again once it continues. This makes the order of events the same in every
run: between two pauses an action runs alone.
"""

import threading
from collections.abc import Callable
from contextvars import ContextVar


class Strand:
    """One such action; it pauses while anything in it does."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._pauses = 0
        self._over = False
        self._error: BaseException | None = None

    @property
    def is_over(self) -> bool:
        """Return whether it has ended."""
        return self._over

    def pause(self) -> None:
        """Count one pause more."""
        self._count(1)

    def resume(self) -> None:
        """Count one pause less."""
        self._count(-1)

    def end(self, error: BaseException | None = None) -> None:
        """Be over, or broken by `error`."""
        with self._changed:
            self._over, self._error = True, error
            self._changed.notify_all()

    def wait(self) -> None:
        """Return once it is over or pauses; what broke it is raised, once."""
        with self._changed:
            self._changed.wait_for(lambda: self._over or self._pauses > 0)
            error, self._error = self._error, None
        if error is not None:
            raise error

    def _count(self, more: int) -> None:
        with self._changed:
            self._pauses += more
            self._changed.notify_all()


_CURRENT: ContextVar[Strand | None] = ContextVar("strand", default=None)


def current_strand() -> Strand | None:
    """Return the strand that this thread runs."""
    return _CURRENT.get()


def run_apart(action: Callable[[], None]) -> Strand:
    """Run an action as a strand; return once it is over or pauses."""
    strand = Strand()

    def run() -> None:
        _CURRENT.set(strand)
        try:
            action()
        except BaseException as error:  # noqa: BLE001  whoever waits gets it
            strand.end(error)
        else:
            strand.end()

    threading.Thread(target=run, name="strand", daemon=True).start()
    strand.wait()
    return strand
