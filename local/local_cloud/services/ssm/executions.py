"""Commands under way on instances: each runs its steps in a thread of its own, which the timeline waits for.

Invariant: an execution reports its end exactly once, on the timeline, or never if it was abandoned. An
executionTimeout is real time and simulated time too: whichever is over first. Of thousands of commands at a
time only `AT_ONCE` processes run together, which is this machine's limit and not AWS's.

The environment is what a service of systemd's has
(https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html), as the agent is one: no HOME, the
PATH of the system; and what the agent adds (aws/amazon-ssm-agent, agent/executers/executers.go). Nothing of
this process's own environment is in it. Since an instance is a directory, its TMPDIR is there, and its
`usr/local/bin` comes first on its PATH.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from local_cloud.call import CloudContext
from local_cloud.control.timeline import Work
from local_cloud.services.ssm.commands import Command, Invocation, State, StepResult
from local_cloud.services.ssm.documents import Step
from local_cloud.services.ssm.script import Script, ScriptPlace, kill_leftovers

AT_ONCE = 128
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
Report = Callable[[tuple[StepResult, ...]], None]


@dataclass(slots=True, eq=False)
class Execution:
    """One command on one instance, under way."""

    command: Command
    instance_id: str
    report: Report
    script: Script
    stopped_as: State | None = None
    abandoned: bool = False
    thread: threading.Thread | None = field(default=None)


class Executions:
    """All that run; every method may be called from any thread."""

    def __init__(self, ground: CloudContext, directory: Callable[[str], Path]) -> None:
        """Run scripts in `directory(instance_id)`."""
        self._ground = ground
        self._directory = directory
        self._lock = threading.Lock()
        self._running: dict[tuple[str, str], Execution] = {}
        self._used: set[str] = set()
        self._slots = threading.BoundedSemaphore(AT_ONCE)

    def start(self, command: Command, invocation: Invocation, report: Report) -> None:
        """Run the steps of `command`; `report` is called with their results, on the timeline."""
        script = self._script(command, invocation.instance_id, command.steps[0])
        execution = Execution(command, invocation.instance_id, report, script)
        label = f"command {command.command_id} on {invocation.instance_id}"
        work = self._ground.timeline.running(label)
        execution.thread = threading.Thread(target=self._run, args=(execution, work), name=label, daemon=True)
        with self._lock:
            self._running[command.command_id, invocation.instance_id] = execution
            self._used.add(invocation.instance_id)
        execution.thread.start()

    def stop(self, command: Command, instance_id: str, reason: State) -> None:
        """Kill the step that runs and skip the rest; the end is reported as `reason`."""
        with self._lock:
            execution = self._running.get((command.command_id, instance_id))
            if execution is None:
                return
            execution.stopped_as = reason
        execution.script.stop(reason)

    def abandon(self, command: Command, instance_id: str) -> None:
        """Kill the command on the instance; its end is not reported."""
        with self._lock:
            execution = self._running.pop((command.command_id, instance_id), None)
            if execution is None:
                return
            execution.abandoned = True
        execution.script.stop(State.UNDELIVERABLE)

    def clear(self, instance_id: str) -> None:
        """Abandon all that runs on the instance, and kill what earlier commands left behind there."""
        with self._lock:
            running = [each for each in self._running.values() if each.instance_id == instance_id]
        for execution in running:
            self.abandon(execution.command, instance_id)
        if instance_id in self._used:
            kill_leftovers([instance_id])

    def close(self) -> None:
        """Clear every instance, and wait until the threads have ended."""
        with self._lock:
            running = list(self._running.values())
        for execution in running:
            self.abandon(execution.command, execution.instance_id)
            if execution.thread:
                execution.thread.join()
        kill_leftovers(self._used)
        self._used.clear()

    def _run(self, execution: Execution, work: Work) -> None:
        with work:
            results: list[StepResult] = []
            for step in execution.command.steps:
                if not self._prepare(execution, step, first=not results):
                    break
                with self._slots:
                    results.append(self._run_step(step, execution.script))
            self._end(execution, tuple(results))

    def _prepare(self, execution: Execution, step: Step, *, first: bool) -> bool:
        with self._lock:
            if execution.abandoned or (execution.stopped_as and not first):
                return False
            if not first:
                execution.script = self._script(execution.command, execution.instance_id, step)
            return True

    def _run_step(self, step: Step, script: Script) -> StepResult:
        started_at = self._ground.clock.now()
        self._ground.timeline.at(
            started_at + step.timeout,
            lambda: script.stop(State.EXECUTION_TIMED_OUT),
            f"the time of {step.name} is over",
        )
        ended = script.run(step.timeout)
        ended_at = self._ground.clock.now()
        return StepResult(
            step.name, ended.state, ended.exit_code, started_at, ended_at, ended.stdout, ended.stderr
        )

    def _end(self, execution: Execution, results: tuple[StepResult, ...]) -> None:
        with self._lock:
            if execution.abandoned:
                return
            del self._running[execution.command.command_id, execution.instance_id]
        self._ground.timeline.at(
            self._ground.clock.now(),
            lambda: execution.report(results),
            f"command {execution.command.command_id} on {execution.instance_id} ends",
        )

    def _script(self, command: Command, instance_id: str, step: Step) -> Script:
        home = self._directory(instance_id)
        temporary = home / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        wanted = home / step.working_directory
        exists_or_must = Path(step.working_directory).is_absolute() or wanted.is_dir()
        folder = self._ground.root / "ssm" / command.command_id / instance_id
        environment = {
            "PATH": f"{home}/usr/local/bin:{PATH}",
            "TMPDIR": str(temporary),
            "LANG": "C.UTF-8",
            "SSM_COMMAND_ID": command.command_id,
            "AWS_SSM_INSTANCE_ID": instance_id,
            "AWS_SSM_REGION_NAME": command.region,
        }
        return Script(step.script, ScriptPlace(folder, wanted if exists_or_must else home, environment))
