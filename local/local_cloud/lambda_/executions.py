"""The invocations that run now: which one makes a call, has the turn, or waits for time to pass.

Environment and standard output are the process's, so one invocation has the turn at a time. While a call
of it hangs, others have the turn; when the call continues, its environment is restored, and no real time has
passed for it. So two invocations overlap only where a test makes a call hang, and between two hangs an
invocation runs alone.

An invocation is recognised by its trace id, which botocore inside Lambda reads from the environment at every
call and sends along. So clients may outlive an invocation, and an invocation may have several threads. Calls
of its other threads, while one of its calls hangs, are counted for the invocation that has the turn.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from datetime import timedelta

from local_cloud.control.strands import Strand, current_strand
from local_cloud.control.timeline import Timeline
from local_cloud.lambda_.traces import read_trace

Surroundings = Callable[[], AbstractContextManager[None]]
"""What the process is to an invocation while it has the turn: its environment, its output."""


class Execution:
    """One invocation, from its begin to its end; its time passes only while it has the turn."""

    def __init__(self, id: str, function: str, seconds: float, surroundings: Surroundings) -> None:
        self.id = id
        self.function = function
        self.surroundings = surroundings
        self.strand = current_strand() or Strand()
        self.changing = threading.RLock()
        self.hanging: set[threading.Event] = set()
        self.held: list[threading.Event] = []
        self.turn: ExitStack | None = None
        self._killed = False
        self.seconds_allowed = self._seconds = seconds
        self._since: float | None = None

    @property
    def seconds_left(self) -> float:
        """Return the real seconds it may yet run."""
        since = self._since
        return self._seconds - (time.monotonic() - since if since is not None else 0.0)

    @property
    def seconds_taken(self) -> float:
        """Return the real seconds it has had the turn."""
        return self.seconds_allowed - self.seconds_left

    @property
    def is_alive(self) -> bool:
        """Return whether it may still call AWS."""
        return not self._killed and self.seconds_left > 0

    def kill(self) -> None:
        """Cut it off."""
        self._killed = True

    def start_clock(self) -> None:
        """Count the time from now on as the invocation's."""
        self._since = time.monotonic()

    def stop_clock(self) -> None:
        """Stop counting the invocation's time."""
        self._seconds, self._since = self.seconds_left, None


class Executions:
    """Every invocation that runs, and the turn they share."""

    def __init__(self, timeline: Timeline) -> None:
        """Use `timeline` to end hangs."""
        self._timeline = timeline
        self._turn = threading.Lock()
        self._running: dict[str, Execution] = {}
        self._latest = ""
        self._over = Execution("", "", 0.0, nullcontext)

    @contextmanager
    def run(self, execution: Execution) -> Iterator[None]:
        """Wait for the turn, and have it, but for hanging calls, as long as the context lasts."""
        with execution.changing:
            self._take_turn(execution)
            self._running[execution.id] = execution
        try:
            yield
        finally:
            with execution.changing:
                del self._running[execution.id]
                self._leave_turn(execution)
            if execution.strand is not current_strand():
                execution.strand.end()

    def of(self, trace_header: str | None) -> Execution:
        """Return the invocation that makes a call; without a header, the one that had the turn last.

        One that is over is answered as one that is not alive.
        """
        trace = read_trace(trace_header) if trace_header else None
        return self._running.get(trace.parent if trace else self._latest, self._over)

    def hang(self, execution: Execution, span: timedelta) -> None:
        """Return when so much simulated time has passed; others may run meanwhile."""
        call = threading.Event()
        with execution.changing:
            execution.hanging.add(call)
            self._leave_turn(execution)
        label = f"a call of {execution.function} goes on"
        self._timeline.after(span, lambda: self._go_on(execution, call), label)
        execution.strand.pause()
        call.wait()

    def clear(self) -> None:
        """Kill what hangs, and see it end."""
        for execution in list(self._running.values()):
            for call in list(execution.hanging):
                execution.kill()
                self._go_on(execution, call)

    def _go_on(self, execution: Execution, call: threading.Event) -> None:
        """End a call's hang; calls that hung together continue when the last of them does."""
        with execution.changing:
            if call not in execution.hanging:
                return
            execution.hanging.remove(call)
            execution.held.append(call)
            if execution.hanging:
                return
            held, execution.held = execution.held, []
            if execution.id in self._running:
                self._take_turn(execution)
        for each in held:
            execution.strand.resume()
            each.set()
        execution.strand.wait()

    def _take_turn(self, execution: Execution) -> None:
        with ExitStack() as turn:
            self._turn.acquire()
            turn.callback(self._turn.release)
            turn.enter_context(execution.surroundings())
            execution.start_clock()
            turn.callback(execution.stop_clock)
            self._latest = execution.id
            execution.turn = turn.pop_all()

    def _leave_turn(self, execution: Execution) -> None:
        if execution.turn is not None:
            turn, execution.turn = execution.turn, None
            turn.close()
