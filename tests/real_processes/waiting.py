"""Waits in real time, with an end."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def until(look: Callable[[], Found | None], within: float, show: Callable[[], object] = str) -> Found:
    """Return what `look` finds; fail after `within` seconds, with what `show` shows then."""
    give_up, pause = time.monotonic() + within, threading.Event()
    while not (found := look()):
        assert time.monotonic() < give_up, f"not within {within:g} s: {show()}"
        pause.wait(0.2)
    return found
